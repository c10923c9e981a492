"""What a workload can answer: an Experiment's SLIs as questions to its noise-free model.

The pods of a workload expose the series of `columns.py`, under the names of the local playground. A query that asks for
anything else is refused by the name of its SLI, with what there is; nothing is answered by guessing.

A pod without noise has steady rates, so a ratio of counters is a ratio of rates, and a PromQL expression is what the
simulated store would answer over series that grow evenly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trimtab.domain.measurement import NoData
from trimtab.domain.spec import QuantileQuery, RatioQuery, ScalingQuery, Sli, SlowRatioQuery, ValueQuery
from trimtab.ports import PodSet
from trimtab.simulate.columns import EXTRA, HISTOGRAM, WORKING_SET, Key, columns_of
from trimtab.simulate.offers import NotOffered
from trimtab.simulate.promql import NotSimulated, Selector, instant, selectors
from trimtab.simulate.tracks import Track
from trimtab.slo.promql import MAX_RANGE_SECONDS, inject, with_matchers
from trimtab.workload import PodBehaviour, Resources, WorkloadSpec, evaluate
from trimtab.workload.cfs import PERIOD_S
from trimtab.workload.units import GIB

FloatArray = NDArray[np.float64]

PODS: Final = PodSet("simulated", ("arm",))
OOM_EVENTS: Final = "container_oom_events_total"
GAUGES: Final = (WORKING_SET, "up")
SCRAPE_S: Final = 15.0
TIMES: Final = tuple(SCRAPE_S * k for k in range(int(MAX_RANGE_SECONDS / SCRAPE_S) + 2))

Value = float | NoData
Answer = Callable[[PodBehaviour, int], Value]


@dataclass(frozen=True)
class Question:
    """An SLI that the workload can answer. `of(behaviour, pods)` is its value for `pods` pods that behave alike."""

    sli: str
    of: Answer


def question(sli: Sli, workload: WorkloadSpec) -> Question:
    """The SLI as a question to the model.

    Raises:
        NotOffered: the workload has no such metric; names the SLI and what the workload offers.
    """
    try:
        match sli.query:
            case RatioQuery():
                return Question(sli.name, _ratio(sli.query.counters, workload))
            case SlowRatioQuery(histogram, threshold):
                return Question(sli.name, _slow(histogram, threshold, sli.query.labels, workload))
            case QuantileQuery(histogram, quantile):
                _histogram(histogram, sli.query.labels, workload)
                return Question(sli.name, lambda b, _: b.latency.quantile(quantile))
            case ValueQuery(query, _, samples):
                return Question(sli.name, _expression(query, samples, workload))
            case ScalingQuery():
                raise TypeError(f"{sli.name}: how pods scale is no property of a single one")
    except (_Unanswered, NotSimulated) as gap:
        words = f"{gap} is not simulated" if isinstance(gap, NotSimulated) else str(gap)
        problem = f"the workload {workload.name} cannot answer it: {words}"
        raise NotOffered(f"spec.slis[{sli.name}]", problem, f"it offers {describe(workload)}") from None
    raise TypeError(f"no SLI query: {sli.query!r}")


def unscaled(sli: Sli, target: str) -> NotOffered:
    """An SLI that asks how pods scale where nothing scales them."""
    problem = f"no HorizontalPodAutoscaler scales the arms of Deployment {target}"
    remedy = "give the autoscaler's manifest with another -f, and set traffic.mode: HTTPRoute"
    return NotOffered(f"spec.slis[{sli.name}]", problem, remedy)


def describe(workload: WorkloadSpec) -> str:
    """What there is, in one line: metrics with their labels, and the histogram's bounds."""
    labels: dict[str, dict[str, list[str]]] = {}
    for name, pairs in _keys(workload):
        own = labels.setdefault(name, {})
        for key, value in pairs:
            own.setdefault(key, []).append(value)
    labels[f"{HISTOGRAM}_bucket"] = {"le": ["..."]}
    names = [
        name + "".join(f"{{{key}={'|'.join(values)}}}" for key, values in own.items()) for name, own in labels.items()
    ]
    bounds = ", ".join(f"{bound:g}" for bound in workload.buckets)
    return f"{', '.join(names)}; bucket bounds {bounds} s"


class _Unanswered(Exception):
    """Why a query has no answer, in words."""


# Series of a steady pod


def _keys(workload: WorkloadSpec) -> tuple[Key, ...]:
    return (*columns_of(workload, True, True).keys, (OOM_EVENTS, ()), *((name, ()) for name in GAUGES))


def _steady(workload: WorkloadSpec, behaviour: PodBehaviour) -> FloatArray:
    """Of each key: a counter's rate per second, or a gauge's value; shape (len(_keys),)."""
    late, periods = behaviour.latency.timed_out, 1.0 / PERIOD_S
    counts = {
        "failed": behaviour.load_rps * (behaviour.error_ratio - late),
        "unavailable": behaviour.load_rps * late,
        "cpu_seconds": behaviour.cpu_usage_cores,
        "periods": periods,
        "throttled": periods * behaviour.throttled_ratio,
        "latency_sum": behaviour.load_rps * behaviour.latency.mean_s,
    }
    buckets = behaviour.load_rps * behaviour.latency.bucket_probabilities(workload.buckets)
    rates = np.append(buckets, [counts[name] for name in EXTRA]) @ columns_of(workload, True, True).transform
    return np.append(rates, [behaviour.oom_per_s, behaviour.working_set_bytes, 1.0])


@dataclass(frozen=True)
class _SteadySource:
    """Implements `promql.Source`: pods that have served evenly for longer than any range."""

    workload: WorkloadSpec
    behaviour: PodBehaviour
    pods: int

    def matching(self, selector: Selector) -> Iterator[Track]:
        """Series that match."""
        values = _steady(self.workload, self.behaviour)
        for pod in range(self.pods):
            for (name, pairs), value in zip(_keys(self.workload), values, strict=True):
                labels = _labels(name, pairs, pod)
                if selector.matches(labels):
                    steps = [1.0] * len(TIMES) if name in GAUGES else TIMES
                    yield Track(labels, list(TIMES), [float(value) * step for step in steps])


def _labels(name: str, pairs: Sequence[tuple[str, str]], pod: int = 0) -> tuple[tuple[str, str], ...]:
    own = {"__name__": name, "namespace": PODS.namespace, "pod": f"{PODS.workloads[0]}-0-{pod}"}
    return tuple(sorted((own | dict(pairs)).items()))


def _selected(expression: str, workload: WorkloadSpec) -> FloatArray:
    """Which keys a vector selector picks: ones and zeros, shape (len(_keys),).

    Raises:
        _Unanswered: none.
    """
    (selector,) = selectors(expression)
    known = _keys(workload)
    picked = np.array([float(selector.matches(_labels(*key))) for key in known])
    if not picked.any():
        named = any(name == selector.name for name, _ in known)
        raise _Unanswered(f"no series of {selector.name} matches it" if named else f"there is no {selector.name}")
    return picked


# Questions


def _ratio(counters: tuple[tuple[str, str], ...], workload: WorkloadSpec) -> Answer:
    """Of several spellings the first whose total there is, as in a store."""
    gaps = []
    for spelling, whole in counters:
        try:
            everything, part = (_selected(inject(text, PODS), workload) for text in (whole, spelling))
        except _Unanswered as gap:
            gaps.append(gap)
            continue
        return lambda b, _: _share(_steady(workload, b), part, everything)
    raise gaps[0]


def _share(rates: FloatArray, part: FloatArray, everything: FloatArray) -> Value:
    whole = float(rates @ everything)
    return max(float(rates @ part), 0.0) / whole if whole > 0 else NoData("no requests")


def _histogram(names: tuple[str, ...], matchers: str, workload: WorkloadSpec) -> None:
    if HISTOGRAM not in names:
        raise _Unanswered(f"there is no histogram {' or '.join(names)}")
    _selected(with_matchers(f"{HISTOGRAM}_count", PODS, matchers), workload)


def _slow(names: tuple[str, ...], threshold: float, matchers: str, workload: WorkloadSpec) -> Answer:
    _histogram(names, matchers, workload)
    if not any(math.isclose(threshold, bound) for bound in workload.buckets):
        near = sorted(sorted(workload.buckets, key=lambda bound: abs(bound - threshold))[:2])
        raise _Unanswered(f"{threshold:g} is no bucket bound; the nearest are {' and '.join(f'{b:g}' for b in near)}")
    return lambda b, _: b.slow_fraction(threshold)


def _expression(query: str, samples: str | None, workload: WorkloadSpec) -> Answer:
    """A PromQL expression, evaluated at the end of the steady series."""
    for text in (query, *(() if samples is None else (samples,))):
        for selector in selectors(inject(text, PODS)):
            if not any(selector.matches(_labels(*key)) for key in _keys(workload)):
                raise _Unanswered(f"no series matches {selector.name or 'a selector without a name'}")
    rows = instant(_SteadySource(workload, _at_ease(workload), 1), inject(query, PODS), TIMES[-1])
    if len(rows) > 1:
        raise _Unanswered(f"it yields {len(rows)} series for one pod; aggregate it, for example with avg() or sum()")
    return lambda behaviour, pods: _one(query, _SteadySource(workload, behaviour, pods))


def _one(query: str, source: _SteadySource) -> Value:
    rows = instant(source, inject(query, PODS), TIMES[-1])
    if len(rows) != 1:
        return NoData("no series" if not rows else f"{len(rows)} series")
    value = rows[0][1]
    return float(value) if math.isfinite(value) else NoData("the expression has no finite value")


@lru_cache(maxsize=16)
def _at_ease(workload: WorkloadSpec) -> PodBehaviour:
    """A pod with plenty of everything, to try an expression on."""
    return evaluate(workload, Resources.equal(16.0, 64 * GIB), 1.0)


__all__ = ["Question", "Value", "describe", "question", "unscaled"]
