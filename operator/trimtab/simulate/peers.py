"""The rules of other rightsizers on the same load and workload, beside Trimtab.

The rules are written from their public documentation, with the default settings; none of them looks at an SLO, so what
is counted is what their rule costs and breaks, not what their authors promise.

- hold: change nothing.
- vpa: Vertical Pod Autoscaler 1.x, mode Recreate (its recommender and updater). Target = the 90th percentile of CPU use
  and of the daily memory peak, plus 15 %. Both come from histograms (first bucket 0.01 cores or 10 MB, each 5 % wider)
  whose samples halve their weight every 24 hours. Pods are replaced when a request leaves [lower, upper] (the 50th and
  95th percentile plus 15 %, widened while the history is short), and after 12 hours when the change is 10 % or more.
  Limits keep their ratio to requests. It has seen 8 days of the baseline; floors 25m and 250Mi.
- krr: Robusta KRR's simple strategy, applied once. CPU request = the 95th percentile of 14 days, no CPU limit; memory
  request and limit = the maximum of 14 days plus 15 %. Floors 10m and 100Mi.
- random: as many search trials as Trimtab, at random places of the grid with no thought for safety, one after the
  other; then the cheapest that held every bound while it was tried (judged without noise, which favours it).
- default-hpa: Kubernetes' default behavior of the target's autoscaler (300 s down, 0 s up, tolerance 10 %), with its
  bounds and targets as they are.
- trimtab: the simulated Experiment; its recommendation is applied when it is ready.

Where an autoscaler scales the target it goes on doing so, whatever the rule: vpa and krr set the requests of which its
target is a share.

CPU use is a minute's mean. What OOM kills do to VPA's memory target is left out: the model counts expected kills.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Generic

import numpy as np
from numpy.typing import NDArray

from trimtab.control.progress import duration_of
from trimtab.domain.space import Assignment, ContainerResource, Numeric
from trimtab.domain.trial import SEARCHES, Purpose, Trial
from trimtab.simulate.collect import Finished
from trimtab.simulate.horizon import Days, S, Segment, minutes_between
from trimtab.simulate.results import Peer
from trimtab.simulate.scaled_days import ScaledDays, Sized
from trimtab.simulate.truth import Truth
from trimtab.workload import UNLIMITED, Resources, noise
from trimtab.workload.units import MIB

FloatArray = NDArray[np.float64]

SEARCHING: Final = SEARCHES | {Purpose.INITIAL, Purpose.REPLICATE}
DAY_S: Final = 86400.0
HOUR_S: Final = 3600.0
MARGIN: Final = 1.15
VPA_HISTORY_DAYS: Final = 8.0
VPA_HALF_LIFE_S: Final = 24 * HOUR_S
VPA_GROWTH: Final = 1.05
VPA_LEAST: Final = (0.025, 250 * MIB)
VPA_FIRST_BUCKET: Final = (0.01, 1e7)
VPA_STAY_S: Final = 12 * HOUR_S
VPA_CHANGE: Final = 0.10
KRR_HISTORY_DAYS: Final = 14.0
KRR_CPU_PERCENTILE: Final = 95.0
KRR_LEAST: Final = (0.010, 100 * MIB)
TRIAL_OVERHEAD_S: Final = 60.0
"""Of a random trial: starting its pods and taking them away."""
ATTEMPTS: Final = 50


@dataclass(frozen=True)
class Played(Generic[S]):
    """What a rule did: its segments over the horizon, and how often it replaced the target's pods."""

    segments: tuple[Segment[S], ...]
    restarts: int = 0


def hold(horizon: Days[S], _finished: Finished) -> Played[S]:
    """Change nothing."""
    return Played((Segment(horizon.start, horizon.resized(horizon.baseline)),))


def default_hpa(horizon: ScaledDays, _finished: Finished) -> Played[Sized]:
    """Kubernetes' own behavior, from the beginning on."""
    return Played((Segment(horizon.start, horizon.usual_behavior()),))


def trimtab(horizon: Days[S], finished: Finished) -> Played[S]:
    """The Experiment as it ran: arms beside the target, and the recommendation from its end on."""
    now = horizon.resized(horizon.baseline)
    segments = [Segment(horizon.start, now)]
    for trial in finished.trials:
        begun, ended = trial.times.warming_up, trial.times.draining
        if begun is None:
            continue
        segments += [
            Segment(begun, now, horizon.arm(horizon.setting(trial.assignment)), horizon.arm(now)),
            Segment(finished.ended if ended is None else ended + (trial.withdraw_seconds or 0.0), now),
        ]
    answer = finished.state.recommendation
    if answer is None or answer.keep_baseline:
        return Played(tuple(segments))
    at = finished.state.finished if finished.state.finished is not None else finished.ended
    return Played((*segments, Segment(at, horizon.setting(answer.assignment))), 1)


def random_search(horizon: Days[S], finished: Finished) -> Played[S]:
    """As many trials as Trimtab's search, anywhere."""
    truth, now, start = horizon.truth, horizon.resized(horizon.baseline), horizon.start
    spec = truth.spec
    seconds = spec.trial.warm_up + duration_of(spec, Purpose.SEARCH)
    tries = sum(_is_search(t) for t in finished.trials)
    segments, held = [Segment(start, now)], []
    for index in range(tries):
        assignment = _random_place(horizon, index)
        begun = start + index * (seconds + TRIAL_OVERHEAD_S) + TRIAL_OVERHEAD_S
        canary, control = horizon.arm(horizon.setting(assignment)), horizon.arm(now)
        segments += [Segment(begun, now, canary, control), Segment(begun + seconds, now)]
        if horizon.held(assignment, begun, seconds):
            held.append(assignment)
    if not held:
        return Played(tuple(segments))
    best = min(held, key=truth.hourly)
    return Played((*segments, Segment(segments[-1].start, horizon.setting(best))), 1)


def _is_search(trial: Trial) -> bool:
    return trial.purpose in SEARCHING


def _random_place(horizon: Days[S], index: int) -> Assignment:
    """A place of the grid that keeps the parameter constraints; the baseline where none is found."""
    truth, seed = horizon.truth, horizon.offered.seed
    for attempt in range(ATTEMPTS):
        values = []
        for parameter in truth.spec.space.parameters:
            axis = parameter.domain.grid() if isinstance(parameter.domain, Numeric) else parameter.domain.values
            share = float(noise.uniform(seed, f"random/{parameter.name}", index * ATTEMPTS + attempt)[0])
            values.append((parameter.name, axis[int(share * len(axis))]))
        place = Assignment(tuple(values))
        if truth.spec.space.violated(place) is None:
            return place
    return truth.baseline


def krr(horizon: Days[S], _finished: Finished) -> Played[S]:
    """One recommendation from 14 days of the baseline."""
    times = minutes_between(horizon.start - KRR_HISTORY_DAYS * DAY_S, horizon.start)
    cpu, memory = horizon.usage(horizon.baseline, times)
    cores = max(_up_to(float(np.percentile(cpu, KRR_CPU_PERCENTILE)), 1e-3), KRR_LEAST[0])
    size = max(_up_to(float(memory.max()) * MARGIN, MIB), KRR_LEAST[1])
    changed = Resources(cores, UNLIMITED, size, size)
    return Played((Segment(horizon.start, horizon.resized(changed)),), int(changed != horizon.baseline))


# Vertical Pod Autoscaler


class _Decaying:
    """A histogram whose samples lose half of their weight in a day; a percentile is the upper end of its bucket."""

    def __init__(self, first: float) -> None:
        self._first = first
        self._weights: FloatArray = np.zeros(400)
        self._reference = 0.0

    def add(self, values: FloatArray, times: FloatArray) -> None:
        """Samples at these times; shape (m,) each."""
        latest = float(times.max())
        if latest > self._reference:
            self._weights *= 2.0 ** ((self._reference - latest) / VPA_HALF_LIFE_S)
            self._reference = latest
        np.add.at(self._weights, self._bucket(values), 2.0 ** ((times - self._reference) / VPA_HALF_LIFE_S))

    def percentile(self, share: float) -> float:
        """The least bucket end below which this share of the weight lies."""
        cumulative = np.cumsum(self._weights)
        bucket = int(np.searchsorted(cumulative, share * cumulative[-1]))
        return self._start(min(bucket, len(self._weights) - 2) + 1)

    def _bucket(self, values: FloatArray) -> NDArray[np.int64]:
        widths = np.log1p(values * (VPA_GROWTH - 1.0) / self._first) / math.log(VPA_GROWTH)
        return np.clip(np.floor(widths + 1e-9).astype(np.int64), 0, len(self._weights) - 1)

    def _start(self, bucket: int) -> float:
        return self._first * (VPA_GROWTH**bucket - 1.0) / (VPA_GROWTH - 1.0)


def vpa(horizon: Days[S], _finished: Finished) -> Played[S]:
    """Recommendations once an hour from decaying histograms; pods are replaced by the updater's rules."""
    cpu, memory = _Decaying(VPA_FIRST_BUCKET[0]), _Decaying(VPA_FIRST_BUCKET[1])
    baseline = now = horizon.baseline
    begun = horizon.start - VPA_HISTORY_DAYS * DAY_S
    past = minutes_between(begun, horizon.start)
    used, held = horizon.usage(now, past)
    cpu.add(used, past)
    for day in np.array_split(np.arange(len(past)), int(VPA_HISTORY_DAYS)):
        memory.add(held[day].max(keepdims=True), past[day][-1:])
    segments, changed_at, peak = [Segment(horizon.start, horizon.resized(now))], -math.inf, 0.0
    for start in np.arange(horizon.start, horizon.end, HOUR_S):
        target, low, high = (_vpa_bound(cpu, memory, which, start - begun) for which in ("target", "lower", "upper"))
        wanted = _with_limits(baseline, *target)
        outside = any(not a <= x <= b for x, a, b in zip(_requests(now), low, high, strict=True))
        due = outside or (start - changed_at >= VPA_STAY_S and _change(now, wanted) >= VPA_CHANGE)
        if due and wanted != now:
            segments.append(Segment(float(start), horizon.resized(wanted)))
            now, changed_at = wanted, float(start)
        times = minutes_between(float(start), min(float(start) + HOUR_S, horizon.end))
        if not len(times):
            break
        used, held = horizon.usage(now, times)
        cpu.add(used, times)
        peak = max(peak, float(held.max()))
        if (start + HOUR_S - horizon.start) % DAY_S < HOUR_S:
            memory.add(np.array([peak]), times[-1:])
            peak = 0.0
    return Played(tuple(segments), len(segments) - 1)


def _vpa_bound(cpu: _Decaying, memory: _Decaying, which: str, history_s: float) -> tuple[float, float]:
    """(cores, bytes) of the target or of the bounds outside of which a pod is replaced."""
    days = history_s / DAY_S
    share, widened = {
        "target": (0.9, 1.0),
        "lower": (0.5, (1.0 + 0.001 / days) ** -2.0),
        "upper": (0.95, 1.0 + 1.0 / days),
    }[which]
    found = (h.percentile(share) * MARGIN * widened for h in (cpu, memory))
    cores, size = (max(value, least) for value, least in zip(found, VPA_LEAST, strict=True))
    return _up_to(cores, 1e-3), _up_to(size, 1.0)


def _requests(resources: Resources) -> tuple[float, float]:
    return resources.cpu_request, resources.memory_request


def _with_limits(before: Resources, cores: float, size: float) -> Resources:
    """These requests, with limits in the ratio that they had."""
    cpu_ratio = before.cpu_limit / before.cpu_request if before.cpu_request else 1.0
    memory_ratio = before.memory_limit / before.memory_request if before.memory_request else 1.0
    return Resources(cores, cores * cpu_ratio, size, size * memory_ratio)


def _change(now: Resources, wanted: Resources) -> float:
    """The sum over resources of how far the request would move."""
    pairs = zip(_requests(now), _requests(wanted), strict=True)
    return sum(abs(b - a) / a if a else 1.0 for a, b in pairs)


def _up_to(value: float, step: float) -> float:
    return math.ceil(value / step - 1e-9) * step


Rule = Callable[[Any, Finished], Played[Any]]
DEFAULT_HPA: Final = "default-hpa"
RULES: Final[dict[str, Rule]] = {
    "hold": hold, "vpa": vpa, "krr": krr, "random": random_search, DEFAULT_HPA: default_hpa, "trimtab": trimtab,
}  # fmt: skip


def incomparable(truth: Truth, names: tuple[str, ...] = ()) -> str:
    """Why these rules cannot answer the same question, in words; "" when they can."""
    if truth.workload.releases:
        return "the workload has releases: the rules are played on one version of the service"
    if truth.autoscaler is not None:
        return ""
    if DEFAULT_HPA in names:
        return f"{DEFAULT_HPA}: no HorizontalPodAutoscaler scales the target in this Experiment"
    others = [p.name for p in truth.spec.space.parameters if not isinstance(p.locus, ContainerResource)]
    return f"{', '.join(others)}: the rules set container resources and nothing else" if others else ""


def compare(horizon: Days[Any], finished: Finished, names: tuple[str, ...]) -> tuple[Peer, ...]:
    """Trimtab first, then the rules that were asked for, each over the whole horizon."""
    return tuple(_peer(horizon, name, RULES[name](horizon, finished)) for name in dict.fromkeys(("trimtab", *names)))


def _peer(horizon: Days[S], name: str, played: Played[S]) -> Peer:
    played = replace(played, segments=tuple(s for s in played.segments if s.start < horizon.end))
    score = horizon.score(played.segments)
    return Peer(
        name=name,
        final_cost_per_hour=score.final_cost,
        mean_cost_per_hour=score.mean_cost,
        violation_minutes=score.violation_minutes,
        unsafe_canary_minutes=score.unsafe_canary_minutes,
        oom_kills=score.oom_kills,
        restarts=played.restarts,
        setting=horizon.shown(played.segments[-1].target),
    )
