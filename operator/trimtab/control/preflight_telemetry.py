"""Preflight of what decides: do the SLIs answer, would a trial see enough requests, can the alarms fire?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from trimtab.control.preflight_findings import Problem, note, problem
from trimtab.domain.quantity import format_duration
from trimtab.domain.spec import (
    ErrorBudget,
    ExperimentSpec,
    OutcomeConstraint,
    QuantileQuery,
    RatioQuery,
    SlowRatioQuery,
)
from trimtab.ports import SliProbe
from trimtab.slo.budget import history_short
from trimtab.slo.evidence import level
from trimtab.slo.power import MOST_RATIO, least_ratio_found, requests_needed, undecidable
from trimtab.slo.sequential import DEFAULT_OVERDISPERSION

MIN_SCRAPES = 4  # in any window, for a rate to mean something
RELATIVE_STANDARD_ERRORS = 3.3
FINE = 1.5  # times the tolerated ratio: what is found at that is said to nobody
_REPAIR = "repair the service first, raise max, or set spec.search.infeasibleBaseline: Repair"


def telemetry_problems(spec: ExperimentSpec, probes: tuple[SliProbe, ...], pods: int) -> Iterator[Problem]:
    """Everything about SLIs, bounds and budgets. `pods` share the load with the arms."""
    unknown = next((p for p in probes if p.reason == "UnknownStore"), None)
    if unknown is not None:
        yield problem(unknown.reason, "spec.telemetry.store", unknown.problem, unknown.remedy)
        return
    for probe in probes:
        if probe.reason:
            yield problem(probe.reason, f"spec.slis[{probe.sli}]", probe.problem, probe.remedy)
    answered = {p.sli: p for p in probes if not p.reason}
    for constraint in spec.constraints:
        probe_of = answered.get(constraint.sli)
        if probe_of is not None and not constraint.guard_only:
            yield from _decidable(spec, constraint, probe_of, pods)
        if probe_of is not None and constraint.guard_only:
            yield from _certifiable(spec, constraint, probe_of, pods)
        if probe_of is not None and constraint.max_error_ratio is not None:
            yield from _findable(spec, constraint, constraint.max_error_ratio, probe_of, pods)
    yield from _windows(spec, answered)
    for budget in spec.budgets:
        yield from _alarms(budget)
        yield from _history(budget, answered.get(budget.sli))


# Power


def arm_requests(spec: ExperimentSpec, rate: float, pods: int) -> float:
    """Requests that one arm sees in one trial, of `rate` per second for the whole service.

    The probe measured the service without arms; they take their part of the same load.
    """
    return rate * spec.arm_share(pods) * spec.trial.duration


def _decidable(spec: ExperimentSpec, constraint: OutcomeConstraint, probe: SliProbe, pods: int) -> Iterator[Problem]:
    """A bound that no trial could ever decide is refused, with what would decide it."""
    query, field = spec.sli(constraint.sli).query, f"spec.constraints[{constraint.name}]"
    if isinstance(query, (RatioQuery, SlowRatioQuery)):
        yield from _ratio_decidable(spec, constraint, probe, pods, field)
    elif isinstance(query, QuantileQuery):
        if probe.coarse and (constraint.maximum is not None or constraint.minimum is not None):
            yield _coarse(constraint, query, field)
            return
        words = undecidable(spec, constraint, probe, pods)
        if words is not None:
            yield problem("Undecidable", field, words.problem, words.remedy)


def _coarse(constraint: OutcomeConstraint, query: QuantileQuery, field: str) -> Problem:
    """A p95 of 0.30 reads 15 to 27 % too high between the bounds of a classic histogram: it proves no bound."""
    what = f"it bounds the {100 * query.quantile:g} % quantile of a histogram that tells it to a bucket only"
    if constraint.maximum is None:
        return problem("CoarseQuantile", field, what, "use native histograms with exponential buckets")
    instead = f"bound the slow ratio: threshold {constraint.maximum:g}, max {1 - query.quantile:.6g}"
    return problem("CoarseQuantile", field, what, f"{instead}; or use native histograms with exponential buckets")


def _ratio_decidable(
    spec: ExperimentSpec, constraint: OutcomeConstraint, probe: SliProbe, pods: int, field: str
) -> Iterator[Problem]:
    if probe.requests_per_second is None:
        return
    seen, ratio = arm_requests(spec, probe.requests_per_second, pods), probe.bad_ratio
    needed = 0.0
    if constraint.maximum is not None:
        if ratio is not None and ratio >= constraint.maximum:
            what = f"the target itself is at {100 * ratio:.3g} %, the bound is {100 * constraint.maximum:.3g} %"
            if not spec.search.repair:
                yield problem("BaselineInfeasible", field, what, _REPAIR)
                return
            yield note("BaselineInfeasible", field, f"{what}: trials look for settings that hold it")
            ratio = constraint.maximum / 2  # what is looked for; nobody knows it yet
        needed = requests_needed(constraint.maximum, ratio or 0.0, constraint.confidence)
    if constraint.relative is not None and constraint.relative.max_increase_ratio and ratio:
        needed = max(needed, _relative_needed(constraint.relative.max_increase_ratio, ratio, _replicates(spec)))
    if constraint.relative is not None and constraint.relative.max_increase and ratio:
        needed = max(needed, _increase_needed(constraint.relative.max_increase, ratio, _replicates(spec)))
    yield from _enough(spec, field, needed, seen, ratio, pods)


def _certifiable(spec: ExperimentSpec, constraint: OutcomeConstraint, probe: SliProbe, pods: int) -> Iterator[Problem]:
    """A bound that only guards is proven by the verification alone: it is said before when that will hardly do."""
    verification, ratio = spec.verification, probe.bad_ratio or 0.0
    counted = isinstance(spec.sli(constraint.sli).query, (RatioQuery, SlowRatioQuery))
    if not counted or constraint.maximum is None or probe.requests_per_second is None or not verification.replicates:
        return
    field, bound = f"spec.constraints[{constraint.name}]", f"{100 * constraint.maximum:.3g} %"
    if ratio >= constraint.maximum:
        what = f"the target itself is at {100 * ratio:.3g} %, so no verification will certify {bound}"
        yield note("HardlyCertified", field, what, "repair the service first, or raise max")
        return
    seen = probe.requests_per_second * spec.arm_share(pods) * verification.duration * verification.replicates
    needed = requests_needed(constraint.maximum, ratio, constraint.confidence)
    if needed <= seen:
        return
    none = requests_needed(constraint.maximum, 0.0, constraint.confidence)
    what = (
        f"the {verification.replicates} trials of the verification see about {seen:,.0f} requests an arm together; to "
        f"certify {bound} takes {none:,.0f} without any bad one, and {needed:,.0f} at today's {100 * ratio:.3g} %"
    )
    remedy = "raise spec.verification.duration or replicates, or spec.canary.replicas"
    yield note("HardlyCertified", field, what, remedy)


def _findable(
    spec: ExperimentSpec, constraint: OutcomeConstraint, delta: float, probe: SliProbe, pods: int
) -> Iterator[Problem]:
    """What the sequential test cannot find in one trial is said before, not promised."""
    if probe.requests_per_second is None or probe.bad_ratio is None:
        return
    seen = arm_requests(spec, probe.requests_per_second, pods)
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
    numbers = f"a trial of {format_duration(spec.trial.duration)} sees about {seen:,.0f} requests an arm, {needed:,.0f}"
    if needed <= seen:
        if ratio and needed * DEFAULT_OVERDISPERSION > seen:
            yield note("ClusteredErrors", field, f"{numbers} decide it if errors are independent, {clustered}")
        return
    if needed <= seen * _replicates(spec):
        together = f"only {math.ceil(needed / seen)} trials together do, {clustered}"
        yield note("PooledEvidence", field, f"{numbers} decide it: {together}")
        return
    if seen < 1:
        yield problem("Undecidable", field, f"{numbers} are needed", "send traffic to the target first")
        return
    duration = format_duration(math.ceil(spec.trial.duration * needed / seen))
    replicas = _replicas_for(spec, needed / seen, pods)
    larger = f" or spec.canary.replicas to {replicas}" if replicas is not None else ""
    remedy = f"set spec.trial.duration to {duration}{larger}, or, for rare errors, set errors: GuardOnly"
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


# Windows and alarms


def _windows(spec: ExperimentSpec, probes: Mapping[str, SliProbe]) -> Iterator[Problem]:
    """Every window must hold some scrapes, or what is read from it is an accident."""
    intervals = [p.scrape_interval for p in probes.values() if p.scrape_interval is not None]
    if not intervals:
        return
    scrape = max(intervals)
    least = MIN_SCRAPES * scrape
    windows = [("spec.trial.duration", spec.trial.duration)]
    if spec.trial.screen is not None:
        windows.append(("spec.trial.fidelity.screen", spec.trial.screen))
    if spec.verification.replicates:
        windows.append(("spec.verification.duration", spec.verification.duration))
    windows += [
        (f"spec.errorBudgets[{b.name}].rollbackOnBurnRate", pair.short)
        for b in spec.budgets
        for pair in b.rollback_on_burn
    ]
    for field, seconds in windows:
        if seconds < least:
            what = f"{format_duration(seconds)} hold fewer than {MIN_SCRAPES} scrapes of {format_duration(scrape)}"
            yield problem("WindowTooShort", field, what, f"use {format_duration(math.ceil(least))} or more")
    if spec.safety.stale_after < 2 * scrape:
        what = f"{format_duration(spec.safety.stale_after)} pass between two scrapes of {format_duration(scrape)}"
        remedy = f"use {format_duration(math.ceil(3 * scrape))} or more"
        yield problem("WindowTooShort", "spec.safety.staleAfter", what, remedy)


def _alarms(budget: ErrorBudget) -> Iterator[Problem]:
    """An alarm that not even a complete outage could raise protects nothing."""
    bad, field = 1 - budget.objective, f"spec.errorBudgets[{budget.name}]"
    pause = budget.pause_on_burn
    if pause is not None and round(pause.fraction * budget.window / pause.window * bad, 9) >= 1:
        most = 100 * pause.window / budget.window / bad
        what = f"not even an outage of {format_duration(pause.window)} burns {100 * pause.fraction:.3g} % of the budget"
        remedy = f"set percent under {most:.3g}, or lengthen its window"
        yield problem("CannotFire", f"{field}.pauseOnBurn", what, remedy)
    for pair in budget.rollback_on_burn:
        if round(pair.factor * bad, 9) >= 1:
            what = f"a factor of {pair.factor:.3g} is more than an outage burns ({1 / bad:.3g})"
            yield problem("CannotFire", f"{field}.rollbackOnBurnRate", what, f"set factor under {1 / bad:.3g}")


def _history(budget: ErrorBudget, probe: SliProbe | None) -> Iterator[Problem]:
    if probe is None or probe.history is None or not history_short(budget, probe.history):
        return
    what = (
        f"the metrics reach back {format_duration(probe.history)} of {format_duration(budget.window)}; until they do, "
        "the budget is the observed rate times the window"
    )
    yield note("HistoryShort", f"spec.errorBudgets[{budget.name}].window", what)
