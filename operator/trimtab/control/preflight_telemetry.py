"""Preflight of what decides: do the SLIs answer, would a trial see enough requests, can the alarms fire?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from trimtab.control.preflight_findings import Problem, note, problem
from trimtab.control.preflight_power import certifiable, decidable, findable, sampled
from trimtab.domain.quantity import format_duration, percent
from trimtab.domain.spec import ErrorBudget, ExperimentSpec
from trimtab.ports import SliProbe
from trimtab.slo.budget import history_short
from trimtab.slo.verdict import needed_slis

MIN_SCRAPES = 4  # in any window, for a rate to mean something


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
    for sli in needed_slis(spec):
        if sli.name in answered:
            yield from sampled(spec, sli, answered[sli.name], pods)
    for constraint in spec.constraints:
        probe_of = answered.get(constraint.sli)
        if probe_of is not None and not constraint.guard_only:
            yield from decidable(spec, constraint, probe_of, pods)
        if probe_of is not None and constraint.guard_only:
            yield from certifiable(spec, constraint, probe_of, pods)
        if probe_of is not None and constraint.max_error_ratio is not None:
            yield from findable(spec, constraint, constraint.max_error_ratio, probe_of, pods)
    yield from _windows(spec, answered)
    for budget in spec.budgets:
        yield from _alarms(budget)
        yield from _history(budget, answered.get(budget.sli))


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
        what = f"not even an outage of {format_duration(pause.window)} burns {percent(pause.fraction)} of the budget"
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
