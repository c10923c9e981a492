"""The ledger and the truth put together: Trials as they were stored become the result's rows and its summary. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from trimtab import __version__
from trimtab.api.times import format_time
from trimtab.domain.measurement import Absence, Measurement, NoData
from trimtab.domain.measurement import Sample as Measure
from trimtab.domain.space import Assignment
from trimtab.domain.spec import ErrorBudget, OutcomeConstraint, QuantileQuery, ScalingQuery, ValueQuery
from trimtab.domain.state import BudgetState, ConditionType, ExperimentState
from trimtab.domain.trial import SEARCHES, Prediction, Purpose, Trial, TrialPhase
from trimtab.simulate import results as r
from trimtab.simulate.exposure import Exposure
from trimtab.simulate.objectives import front_results, objective_results
from trimtab.simulate.optimum import NoOptimum, optimum_of
from trimtab.simulate.truth import Truth, Verdict
from trimtab.slo.verdict import absence_reason

Z95: Final = 1.959963984540054


@dataclass(frozen=True)
class Finished:
    """What a simulation left behind: the Experiment's last state, its Trials by index, and their exposures.

    `peak_rps` is the peak load without arms, per pod or as `Truth.whole` says, `ended` the virtual time of the last
    look. `versions` is the truth about what each Trial's arms ran, where the service was released anew.
    """

    state: ExperimentState
    trials: tuple[Trial, ...]
    exposures: tuple[Exposure, ...]
    peak_rps: float
    ended: float
    versions: tuple[Truth, ...] = ()


def simulation(truth: Truth, inputs: r.Inputs, finished: Finished, comparison: tuple[r.Peer, ...] = ()) -> r.Simulation:
    """The result of one simulated Experiment; `truth` is that about the service as it was at the end."""
    versions = finished.versions or (truth,) * len(finished.trials)
    rows = tuple(
        trial_result(version, trial, exposure, finished.peak_rps)
        for version, trial, exposure in zip(versions, finished.trials, finished.exposures, strict=True)
    )
    return r.Simulation(
        trimtab_version=__version__,
        inputs=inputs,
        constraints=bounds(truth),
        summary=summarize(truth, finished, rows),
        trials=rows,
        comparison=comparison,
    )


# Trials


def trial_result(truth: Truth, trial: Trial, exposure: Exposure, peak_rps: float) -> r.TrialResult:
    """One row: what was measured beside the truth."""
    at_peak = truth.judge(trial.assignment, peak_rps)
    seen = exposure.verdict
    unserved = r.Absent(absent="NotServed", detail="its pods never served")
    outcome = trial.outcome
    finished = trial.times.finished
    return r.TrialResult(
        index=trial.index,
        purpose=trial.purpose,
        by_model=trial.suggestion.by_model,
        phase=trial.phase,
        reason=outcome.reason if outcome is not None else "",
        message=outcome.message if outcome is not None else "",
        assignment=values(truth, trial.assignment),
        cost_per_hour=r.Absent(absent="Unknown") if trial.cost is None else trial.cost,
        started=format_time(trial.times.created),
        finished="" if finished is None else format_time(finished),
        load_seen=unserved if exposure.load_rps is None else exposure.load_rps,
        measured=tuple(_measured(m) for m in trial.measurements),
        predicted=tuple(p for each in trial.suggestion.predictions for p in _predicted(truth, each)),
        true_slis=_true_slis(truth, seen, at_peak, unserved),
        truly_unsafe=unserved if seen is None else not seen.feasible,
        truly_unsafe_at_peak=not at_peak.feasible,
        gross=unserved if seen is None else seen.gross,
        seconds_exposed=exposure.seconds,
        canary_requests=exposure.requests,
        bad_requests=math.fsum(b.bad for b in exposure.bad),
        extra_bad_requests=math.fsum(b.bad - b.at_baseline for b in exposure.bad),
        bad_requests_by_sli=tuple(r.BadCount(sli=b.sli, bad=b.bad, at_baseline=b.at_baseline) for b in exposure.bad),
        withdraw_seconds=r.Absent(absent="NotWithdrawn") if trial.withdraw_seconds is None else trial.withdraw_seconds,
    )


def values(truth: Truth, assignment: Assignment) -> tuple[r.Value, ...]:
    """An assignment as a manifest writes it."""
    return tuple(r.Value(name=name, value=text) for name, text in truth.spec.space.format(assignment))


def _measured(measurement: Measurement) -> r.Measured:
    return r.Measured(sli=measurement.sli, arm=measurement.arm, reading=_reading(measurement.reading))


def _reading(reading: Measure | Absence) -> r.Sample | r.Absent:
    if not isinstance(reading, Measure):
        return r.Absent(absent=absence_reason(reading), detail=reading.detail)
    uncounted = r.Absent(absent="NotCounted", detail="the SLI counts no events")
    return r.Sample(
        value=reading.value,
        standard_error=reading.standard_error,
        total=reading.total,
        bad=uncounted if reading.bad is None else reading.bad,
        overdispersion=reading.overdispersion,
    )


def _predicted(truth: Truth, prediction: Prediction) -> tuple[r.Predicted, ...]:
    """g = ln(SLI / bound) as an interval of the SLI; none for a bound that is relative to the control."""
    constraint = next((c for c in truth.spec.constraints if c.name == prediction.constraint), None)
    if constraint is None or constraint.maximum is None or constraint.maximum <= 0:
        return ()
    low, median, high = (
        constraint.maximum * math.exp(prediction.mean + side * Z95 * prediction.sd) for side in (-1, 0, 1)
    )
    return (r.Predicted(constraint=constraint.name, median=median, low=low, high=high),)


def _true_slis(truth: Truth, seen: Verdict | None, at_peak: Verdict, unserved: r.Absent) -> tuple[r.TrueSli, ...]:
    return tuple(
        r.TrueSli(
            sli=sli.name,
            at_load_seen=unserved if seen is None else _number(seen.value(sli.name)),
            at_peak=_number(at_peak.value(sli.name)),
        )
        for sli in truth.spec.slis
    )


def _number(value: float | NoData) -> r.Number:
    return r.Absent(absent="NoData", detail=value.detail) if isinstance(value, NoData) else value


def bounds(truth: Truth) -> tuple[r.Bound, ...]:
    """The Experiment's constraints."""
    return tuple(_bound(truth, c) for c in truth.spec.constraints)


def _bound(truth: Truth, constraint: OutcomeConstraint) -> r.Bound:
    none = r.Absent(absent="NotBounded")
    return r.Bound(
        name=constraint.name,
        sli=constraint.sli,
        unit=_unit(truth, constraint.sli),
        max=none if constraint.maximum is None else constraint.maximum,
        min=none if constraint.minimum is None else constraint.minimum,
        relative=constraint.relative is not None,
    )


def _unit(truth: Truth, sli: str) -> str:
    query = truth.spec.sli(sli).query
    if isinstance(query, QuantileQuery | ValueQuery | ScalingQuery):
        return query.unit
    return "ratio"


# Summary


def summarize(truth: Truth, finished: Finished, rows: tuple[r.TrialResult, ...]) -> r.Summary:
    """The result in numbers."""
    state, ended = finished.state, [t for t in finished.trials if t.phase.terminal]
    counts = {phase: sum(t.phase is phase for t in ended) for phase in TrialPhase}
    search = [t for t in ended if t.purpose in SEARCHES]
    withdrawals = [t.withdraw_seconds for t in finished.trials if t.withdraw_seconds is not None]
    budgets = _budgets(truth.spec.budgets, state.budgets)
    started = state.started if state.started is not None else finished.ended
    money, chosen = _money(truth, finished), _chosen(truth, finished)
    return r.Summary(
        phase=state.phase,
        reason=_reason(state),
        message=state.message,
        virtual_seconds=(state.finished if state.finished is not None else finished.ended) - started,
        trials=len(ended),
        succeeded=counts[TrialPhase.SUCCEEDED],
        infeasible=counts[TrialPhase.INFEASIBLE],
        inconclusive=counts[TrialPhase.INCONCLUSIVE],
        aborted=counts[TrialPhase.ABORTED],
        stale=counts[TrialPhase.STALE],
        infra_failed=counts[TrialPhase.INFRA_FAILED],
        search_trials=len(search),
        suggested_by_model=sum(t.suggestion.by_model for t in search),
        replicates=sum(t.purpose is Purpose.REPLICATE for t in ended),
        baseline_cost=money.baseline,
        best_cost=money.best,
        optimum_cost=money.optimum,
        saving_percent=_saving(money.baseline, money.best),
        optimum_saving_percent=_saving(money.baseline, money.optimum),
        saving_of_optimum_percent=_share(money),
        optimum=money.optimum_values,
        peak_load=finished.peak_rps,
        load_of="Service" if truth.whole else "Pod",
        truly_feasible=chosen.at_peak,
        truly_feasible_at_load_seen=chosen.at_load_seen,
        unsafe_trials=sum(row.truly_unsafe is True for row in rows),
        gross_trials=sum(row.gross is True for row in rows),
        seconds_exposed=math.fsum(row.seconds_exposed for row in rows),
        unsafe_seconds_exposed=math.fsum(row.seconds_exposed for row in rows if row.truly_unsafe is True),
        canary_requests=math.fsum(row.canary_requests for row in rows),
        bad_requests=math.fsum(row.bad_requests for row in rows),
        extra_bad_requests=math.fsum(row.extra_bad_requests for row in rows),
        budget_spent_percent=max((b.spent_percent for b in budgets), default=r.Absent(absent="NoErrorBudget")),
        budgets=budgets,
        rollbacks=state.rollbacks,
        rollback_seconds_max=max(withdrawals, default=r.Absent(absent="NotWithdrawn")),
        recommendation=chosen.recommendation,
        objectives=objective_results(truth, state.recommendation, _loads(finished), finished.peak_rps),
    )


def _loads(finished: Finished) -> tuple[float, ...]:
    return tuple(e.load_rps for e in finished.exposures if e.load_rps is not None)


def _reason(state: ExperimentState) -> str:
    """Why it ended, or what it waits for, by the condition that says so."""
    stalled = state.condition(ConditionType.STALLED)
    if stalled is not None and stalled.status:
        return stalled.reason
    kind = ConditionType.RECOMMENDATION_READY if state.phase.terminal else ConditionType.PREFLIGHT
    found = state.condition(kind)
    if found is not None and (state.phase.terminal or not found.status):
        return found.reason
    return state.phase.value if state.phase.terminal else "HorizonEnded"


def _budgets(spec: tuple[ErrorBudget, ...], states: tuple[BudgetState, ...]) -> tuple[r.Budget, ...]:
    known = {s.name: s for s in states}
    unknown = r.Absent(absent="Unknown", detail="the service's budget was not measured")
    return tuple(
        r.Budget(
            name=each.name,
            spent_bad=known[each.name].spent_bad,
            spent_percent=100 * known[each.name].spent_share,
            cap_percent=100 * each.experiment_share,
            remaining_percent=unknown if (left := known[each.name].remaining) is None else 100 * left,
        )
        for each in spec
        if each.name in known
    )


@dataclass(frozen=True)
class _Money:
    """$ per hour of the target."""

    baseline: float
    best: r.Number
    optimum: r.Number
    optimum_values: tuple[r.Value, ...]


def _money(truth: Truth, finished: Finished) -> _Money:
    recommendation = finished.state.recommendation
    best: r.Number = _no_recommendation(finished.state)
    if recommendation is not None:
        best = truth.hourly(recommendation.assignment)
    optimum = optimum_of(truth, finished.peak_rps)
    baseline = truth.hourly(truth.baseline)
    if isinstance(optimum, NoOptimum):
        return _Money(baseline, best, r.Absent(absent=optimum.reason, detail=optimum.detail), ())
    return _Money(baseline, best, optimum.cost, values(truth, optimum.assignment))


def _no_recommendation(state: ExperimentState) -> r.Absent:
    return r.Absent(absent="NoRecommendation", detail=state.message)


def _saving(baseline: float, cost: r.Number) -> r.Number:
    """Percent of the baseline's cost."""
    if isinstance(cost, r.Absent):
        return cost
    return 100 * (1 - cost / baseline) if baseline else r.Absent(absent="BaselineIsFree")


def _share(money: _Money) -> r.Number:
    """What the recommendation saves in percent of what the optimum would."""
    if isinstance(money.best, r.Absent):
        return money.best
    if isinstance(money.optimum, r.Absent):
        return money.optimum
    if money.optimum >= money.baseline:
        return r.Absent(absent="NothingToSave", detail="nothing cheaper than the baseline keeps every bound")
    return 100 * (money.baseline - money.best) / (money.baseline - money.optimum)


@dataclass(frozen=True)
class _Chosen:
    """The recommendation and the truth about it."""

    recommendation: r.Recommendation | r.Absent
    at_peak: r.Flag
    at_load_seen: r.Flag


def _chosen(truth: Truth, finished: Finished) -> _Chosen:
    found = finished.state.recommendation
    if found is None:
        none = _no_recommendation(finished.state)
        return _Chosen(none, none, none)
    at_peak, loads = truth.judge(found.assignment, finished.peak_rps), _loads(finished)
    seen = truth.judge(found.assignment, max(loads)) if loads else None
    unserved = r.Absent(absent="NotServed", detail="no trial served requests")
    recommendation = r.Recommendation(
        assignment=values(truth, found.assignment),
        keep_baseline=found.keep_baseline,
        verified=found.verified,
        digest=found.digest,
        message=found.message,
        true_slis=_true_slis(truth, seen, at_peak, unserved),
        front=front_results(truth, found, loads, finished.peak_rps),
    )
    return _Chosen(recommendation, at_peak.feasible, unserved if seen is None else seen.feasible)
