"""Preflight of power: would a trial see enough requests to decide a bound, and does the target keep it today?

What a trial will see is reckoned from the last hours (`SliProbe.expected_per_second`), not from the moment: a search
lasts longer than a peak.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from trimtab.control.machine import EXTENSION
from trimtab.control.preflight_findings import Problem, note, problem
from trimtab.domain.measurement import Sample
from trimtab.domain.quantity import format_duration, percent
from trimtab.domain.spec import (
    ExperimentSpec,
    OutcomeConstraint,
    QuantileQuery,
    RatioQuery,
    ScalingQuery,
    Sli,
    SlowRatioQuery,
    ValueQuery,
)
from trimtab.ports import SliProbe
from trimtab.slo.evidence import level
from trimtab.slo.power import MOST_RATIO, least_ratio_found, requests_needed
from trimtab.slo.promql import adds_up
from trimtab.slo.sequential import DEFAULT_OVERDISPERSION
from trimtab.slo.words import show

TAIL_EVENTS = 10  # beyond a quantile, for it to mean something
RELATIVE_STANDARD_ERRORS = 3.3
FINE = 1.5  # times the tolerated ratio: what is found at that is said to nobody
_REPAIR = "repair the service first, {}, or set spec.search.infeasibleBaseline: Repair"
_NO_TRAFFIC = "send traffic to the target first"


def arm_requests(spec: ExperimentSpec, rate: float, pods: int) -> float:
    """Requests that one arm sees in one trial, of `rate` per second for the whole service.

    The probe measured the service without arms; they take their part of the same load.
    """
    return rate * spec.arm_share(pods) * spec.trial.duration


def sampled(spec: ExperimentSpec, sli: Sli, probe: SliProbe, pods: int) -> Iterator[Problem]:
    """`minSamples` that not even a trial of twice the duration sees is refused: each would end TooFewSamples. What only
    an extended one sees is said."""
    rate = probe.expected_per_second
    if rate is None or not isinstance(sli.query, (RatioQuery, SlowRatioQuery, QuantileQuery)):
        return
    per_second, windows = rate * spec.arm_share(pods), [("trial", spec.trial.duration)]
    if spec.verification.replicates:
        windows.append(("verification", spec.verification.duration))
    short = [(name, seconds) for name, seconds in windows if per_second * seconds < sli.min_samples]
    if not short:
        return
    name, seconds = min(short, key=lambda w: w[1])
    seen, field = per_second * seconds, f"spec.slis[{sli.name}].minSamples"
    what = f"{_sees(name, seconds, seen)}, {sli.min_samples:,} are asked for"
    if seen < 1:
        yield problem("Undecidable", field, what, _NO_TRAFFIC)
        return
    fields = " and ".join(f"spec.{each}.duration" for each, _ in short)
    remedy = f"{_larger(spec, fields, seconds, sli.min_samples / seen, pods)}, or lower it"
    longest = _longest(spec, seconds)
    if per_second * longest >= sli.min_samples:
        yield note("AlwaysExtended", field, f"{what}: each will be extended to {format_duration(longest)}", remedy)
        return
    extended = f", also when it is extended to {format_duration(longest)}" if longest > seconds else ""
    yield problem("Undecidable", field, f"{what}: it ends TooFewSamples{extended}", remedy)


def _longest(spec: ExperimentSpec, duration: float) -> float:
    """Seconds for which a trial is measured at most: an extension must end before its deadline."""
    extended = EXTENSION * duration
    return extended if spec.trial.warm_up + extended < spec.trial.deadline else duration


def _sees(name: str, seconds: float, requests: float) -> str:
    return f"a {name} of {format_duration(seconds)} sees about {requests:,.0f} requests an arm"


def _larger(spec: ExperimentSpec, fields: str, seconds: float, times: float, pods: int) -> str:
    """What makes a window of so many seconds see so many times as much."""
    replicas = _replicas_for(spec, times, pods)
    larger = f" or spec.canary.replicas to {replicas}" if replicas is not None else ""
    return f"set {fields} to {format_duration(math.ceil(seconds * times))}{larger}"


def decidable(spec: ExperimentSpec, constraint: OutcomeConstraint, probe: SliProbe, pods: int) -> Iterator[Problem]:
    """A bound that no trial could ever decide is refused, with what would decide it; so is one that the target breaks,
    unless the Experiment is there to repair it."""
    query, field = spec.sli(constraint.sli).query, f"spec.constraints[{constraint.name}]"
    bounded = constraint.maximum is not None or constraint.minimum is not None
    if isinstance(query, QuantileQuery) and probe.coarse and bounded:
        yield _coarse(constraint, query, field)
        return
    broken = _broken(spec, constraint, probe, pods)
    if broken is not None and not (spec.search.repair or broken.of_all):
        yield problem("BaselineInfeasible", field, broken.words, _REPAIR.format(broken.widen))
        return
    if broken is not None:
        then = (
            "trials look for settings that hold it"
            if spec.search.repair
            else "a trial whose control breaks it does not count"
        )
        yield note("BaselineInfeasible", field, f"{broken.words}: {then}")
    if isinstance(query, (RatioQuery, SlowRatioQuery)):
        yield from _ratio_decidable(spec, constraint, probe, pods, field)
    elif isinstance(query, QuantileQuery):
        yield from _quantile_decidable(spec, query, probe, pods, field)


@dataclass(frozen=True)
class _Broken:
    """That the target breaks a bound today. `of_all`: known only of all of its pods together, not of an arm."""

    words: str
    widen: str
    of_all: bool


def _broken(spec: ExperimentSpec, constraint: OutcomeConstraint, probe: SliProbe, pods: int) -> _Broken | None:
    """None where the target keeps the bound, or where nobody knows. A ratio at its bound breaks it, as no number of
    requests would show it to be below."""
    sli = spec.sli(constraint.sli)
    found = Sample(probe.bad_ratio, 0.0, 0.0) if probe.bad_ratio is not None else probe.level
    if not isinstance(found, Sample) or isinstance(sli.query, ScalingQuery):  # how arms scale no target shows
        return None
    of_all = isinstance(sli.query, ValueQuery) and adds_up(sli.query.query)
    value = found.value * spec.arm_share(pods) if of_all else found.value
    whose = "an arm's part of the target" if of_all else "the target itself"
    words = f"{whose} is at {show(sli, value)}, "
    most, least = constraint.maximum, constraint.minimum
    if most is not None and (value > most or (probe.bad_ratio is not None and value >= most)):
        return _Broken(f"{words}the bound is {show(sli, most)}", "raise max", of_all)
    if least is not None and value < least and found.below is None:
        return _Broken(f"{words}the bound is {show(sli, least)} or more", "lower min", of_all)
    return None


def _coarse(constraint: OutcomeConstraint, query: QuantileQuery, field: str) -> Problem:
    """A p95 of 0.30 reads 15 to 27 % too high between the bounds of a classic histogram: it proves no bound."""
    what = f"it bounds the {100 * query.quantile:g} % quantile of a histogram that tells it to a bucket only"
    if constraint.maximum is None:
        return problem("CoarseQuantile", field, what, "use native histograms with exponential buckets")
    instead = f"bound the slow ratio: threshold {constraint.maximum:g}, max {1 - query.quantile:.6g}"
    return problem("CoarseQuantile", field, what, f"{instead}; or use native histograms with exponential buckets")


def _quantile_decidable(
    spec: ExperimentSpec, query: QuantileQuery, probe: SliProbe, pods: int, field: str
) -> Iterator[Problem]:
    rate = probe.expected_per_second
    if rate is None:
        return
    seen, needed = arm_requests(spec, rate, pods), TAIL_EVENTS / min(query.quantile, 1 - query.quantile)
    if seen >= needed:
        return
    what = (
        f"{_sees('trial', spec.trial.duration, seen)}, {needed:,.0f} are needed for {TAIL_EVENTS} beyond the quantile"
    )
    larger = (
        _larger(spec, "spec.trial.duration", spec.trial.duration, needed / seen, pods) if seen >= 1 else _NO_TRAFFIC
    )
    yield problem("Undecidable", field, what, larger)


def _ratio_decidable(
    spec: ExperimentSpec, constraint: OutcomeConstraint, probe: SliProbe, pods: int, field: str
) -> Iterator[Problem]:
    rate, ratio, needed = probe.expected_per_second, probe.bad_ratio, 0.0
    if rate is None:
        return
    seen = arm_requests(spec, rate, pods)
    if constraint.maximum is not None:
        if ratio is not None and ratio >= constraint.maximum:
            ratio = constraint.maximum / 2  # what is looked for; nobody knows it yet
        needed = requests_needed(constraint.maximum, ratio or 0.0, constraint.confidence)
    if constraint.relative is not None and constraint.relative.max_increase_ratio and ratio:
        needed = max(needed, _relative_needed(constraint.relative.max_increase_ratio, ratio, _replicates(spec)))
    if constraint.relative is not None and constraint.relative.max_increase and ratio:
        needed = max(needed, _increase_needed(constraint.relative.max_increase, ratio, _replicates(spec)))
    yield from _enough(spec, field, needed, seen, ratio, pods)


def certifiable(spec: ExperimentSpec, constraint: OutcomeConstraint, probe: SliProbe, pods: int) -> Iterator[Problem]:
    """A bound that only guards is proven by the verification alone: it is said before when that will hardly do."""
    verification, field = spec.verification, f"spec.constraints[{constraint.name}]"
    if not verification.replicates:
        return
    broken = _broken(spec, constraint, probe, pods)
    if broken is not None:
        what = f"{broken.words}, so no verification will certify it"
        yield note("HardlyCertified", field, what, f"repair the service first, or {broken.widen}")
        return
    rate, counted = probe.expected_per_second, isinstance(spec.sli(constraint.sli).query, (RatioQuery, SlowRatioQuery))
    if not counted or constraint.maximum is None or rate is None:
        return
    ratio, bound = probe.bad_ratio or 0.0, percent(constraint.maximum)
    seen = rate * spec.arm_share(pods) * verification.duration * verification.replicates
    needed = requests_needed(constraint.maximum, ratio, constraint.confidence)
    if needed <= seen:
        return
    none = requests_needed(constraint.maximum, 0.0, constraint.confidence)
    what = (
        f"the {verification.replicates} trials of the verification see about {seen:,.0f} requests an arm together; to "
        f"certify {bound} takes {none:,.0f} without any bad one, and {needed:,.0f} at today's {percent(ratio)}"
    )
    remedy = "raise spec.verification.duration or replicates, or spec.canary.replicas"
    yield note("HardlyCertified", field, what, remedy)


def findable(
    spec: ExperimentSpec, constraint: OutcomeConstraint, delta: float, probe: SliProbe, pods: int
) -> Iterator[Problem]:
    """What the sequential test cannot find in one trial is said before, not promised."""
    if probe.expected_per_second is None or probe.bad_ratio is None:
        return
    seen = arm_requests(spec, probe.expected_per_second, pods)
    least = least_ratio_found(delta, level(spec), probe.bad_ratio, seen)
    if least is not None and least <= FINE * delta:
        return
    found = f"it finds {least:.2g} times" if least is not None else f"it does not even find {MOST_RATIO:g} times"
    what = (
        f"{seen:,.0f} requests an arm at {100 * probe.bad_ratio:.2g} % are too few for the sequential test to tell "
        f"{delta:g} times the control's from little more: {found} as many in half of the trials"
    )
    remedy = (
        "raise spec.trial.duration or spec.canary.replicas to find less; abort, max and the verdict guard meanwhile"
    )
    yield note("SmallRatiosUnseen", f"spec.constraints[{constraint.name}].sequential", what, remedy)


def _relative_needed(increase: float, ratio: float, replicates: int) -> float:
    """Requests per arm and trial so that 3.3 standard errors of ln(canary / control) over all replicates fit into
    ln(1 + increase); se^2 = 2 / (ratio n)."""
    allowed = math.log1p(increase) * math.sqrt(replicates) / RELATIVE_STANDARD_ERRORS
    return 2.0 / (ratio * allowed**2)


def _increase_needed(increase: float, ratio: float, replicates: int) -> float:
    """The same for canary - control and an increase in the ratio itself; se^2 = 2 ratio (1 - ratio) / n."""
    allowed = increase * math.sqrt(replicates) / RELATIVE_STANDARD_ERRORS
    return 2.0 * ratio * (1 - ratio) / allowed**2


def _replicates(spec: ExperimentSpec) -> int:
    return max(spec.trial.max_replicates, spec.verification.replicates, 1)


def _enough(
    spec: ExperimentSpec, field: str, needed: float, seen: float, ratio: float | None, pods: int
) -> Iterator[Problem]:
    """Evidence is pooled over the trials of one assignment, so the replicates together must suffice.

    How bad events cluster is only known from the pods once a trial runs; `needed` is of independent ones.
    """
    clustered = f"{DEFAULT_OVERDISPERSION:g} times as many where errors cluster threefold"
    numbers = f"{_sees('trial', spec.trial.duration, seen)}, {needed:,.0f}"
    if needed <= seen:
        if ratio and needed * DEFAULT_OVERDISPERSION > seen:
            yield note("ClusteredErrors", field, f"{numbers} decide it if errors are independent, {clustered}")
        return
    if needed <= seen * _replicates(spec):
        together = f"only {math.ceil(needed / seen)} trials together do, {clustered}"
        yield note("PooledEvidence", field, f"{numbers} decide it: {together}")
        return
    if seen < 1:
        yield problem("Undecidable", field, f"{numbers} are needed", _NO_TRAFFIC)
        return
    larger = _larger(spec, "spec.trial.duration", spec.trial.duration, needed / seen, pods)
    remedy = f"{larger}, or, for rare errors, set errors: GuardOnly"
    yield problem("Undecidable", field, f"{numbers} are needed, {clustered}", remedy)


def _replicas_for(spec: ExperimentSpec, times: float, pods: int) -> int | None:
    """Canary replicas with which an arm sees so many times as much, None when they would take too large a share, or
    where its share does not come from them."""
    if spec.route is not None:
        return None
    now, arms = spec.canary.replicas, 2
    wanted = times * now / (pods + arms * now)  # of the load, by one arm
    if arms * wanted >= 1:
        return None
    replicas = math.ceil(wanted * pods / (1 - arms * wanted))
    return replicas if arms * replicas / (pods + arms * replicas) <= spec.canary.max_share else None


__all__ = ["arm_requests", "certifiable", "decidable", "findable", "sampled"]
