"""The Experiment's status, both ways. What is written reads back as the same state, to the millisecond."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeVar

from pydantic import BaseModel

from trimtab.api import assignment
from trimtab.api import experiment_status as wire
from trimtab.api.problems import Problem, Unreadable, read
from trimtab.api.times import format_seconds, format_time, parse_time
from trimtab.domain.errors import InvalidSpec
from trimtab.domain.space import Assignment, SearchSpace
from trimtab.domain.spec import ExperimentSpec, Objective
from trimtab.domain.state import (
    BudgetState,
    Condition,
    ConditionType,
    ExperimentState,
    Figures,
    Floor,
    FrontPoint,
    FrontValue,
    HandledRequest,
    Interval,
    ObjectiveOutlook,
    RecommendationState,
    ScaledBy,
    SliOutlook,
    TargetRecord,
)
from trimtab.domain.study import Diagnostics, Symptom, SymptomKind
from trimtab.domain.trial import TrialPhase

T = TypeVar("T")
_BUDGET_TIMES = ("clear_since", "observed", "metrics_since")
_TRUTH = {True: "True", False: "False", None: "Unknown"}
_COUNTED = {
    "succeeded": TrialPhase.SUCCEEDED,
    "infeasible": TrialPhase.INFEASIBLE,
    "inconclusive": TrialPhase.INCONCLUSIVE,
    "aborted": TrialPhase.ABORTED,
    "stale": TrialPhase.STALE,
    "infra_failed": TrialPhase.INFRA_FAILED,
}


def _copied(cls: type[T], source: object, **changed: Any) -> T:
    """An object of `cls`, a dataclass or a model, whose fields are the source's of the same name, except `changed`.

    What a status carries has the same names on both sides; written out are only the fields that have another form.
    """
    names = cls.model_fields if issubclass(cls, BaseModel) else cls.__annotations__
    return cls(**{name: getattr(source, name) for name in names if name not in changed}, **changed)


def read_state(status: Any, space: SearchSpace | None) -> ExperimentState:
    """The state that a status carries; an absent status is the initial state.

    Raises:
        Unreadable: corrupted by hand, or written by a version with other meanings.
    """
    if not status:
        return ExperimentState()
    found = read(wire.ExperimentStatus, status, "status")
    try:
        return _state(found, space)
    except InvalidSpec as error:
        raise Unreadable((Problem("status", str(error), "restore it, or delete the Experiment"),)) from error


def _state(s: wire.ExperimentStatus, space: SearchSpace | None) -> ExperimentState:
    return _copied(
        ExperimentState,
        s,
        spec_digest=s.spec_digest or "",
        started=_moment(s.started),
        finished=_moment(s.finished),
        conditions=tuple(_condition(c) for c in s.conditions if c.type in set(ConditionType)),
        target=_target(s.target, space),
        active=s.active_trials,
        counts=_counts(s.counts),
        incumbent=_values(s.incumbent.assignment, space) if s.incumbent is not None else None,
        incumbent_trial=(s.incumbent.trial or "") if s.incumbent is not None else "",
        candidate=_values(s.candidate, space),
        recommendation=_recommendation(s.recommendation, space),
        budgets=tuple(_budget(b) for b in s.budgets),
        floors=tuple(_copied(Floor, f) for f in s.floors),
        handled=tuple(_copied(HandledRequest, h, at=parse_time(h.at)) for h in s.handled_requests),
        diagnostics=_diagnostics(s.diagnostics),
        figures=_copied(Figures, s.figures) if s.figures is not None else None,
        retry_at=_moment(s.retry_at),
        scrape_interval=s.scrape_interval_seconds,
    )


def _moment(text: str | None) -> float | None:
    return parse_time(text) if text is not None else None


def _values(items: assignment.WireAssignment | None, space: SearchSpace | None) -> Assignment | None:
    return assignment.read(items, space) if items is not None else None


def _condition(c: wire.Condition) -> Condition:
    truth = {text: value for value, text in _TRUTH.items()}[c.status]
    changed = parse_time(c.last_transition_time)
    return Condition(ConditionType(c.type), truth, c.reason, c.message, changed, c.observed_generation)


def _target(t: wire.TargetStatus | None, space: SearchSpace | None) -> TargetRecord | None:
    if t is None:
        return None
    scaled = _copied(ScaledBy, t.autoscaler) if t.autoscaler is not None else None
    return TargetRecord(t.uid, t.template_hash, assignment.read(t.baseline, space), scaled)


def _counts(c: wire.Counts | None) -> tuple[tuple[str, int], ...]:
    found = ((phase.value, getattr(c, name)) for name, phase in _COUNTED.items()) if c is not None else ()
    return tuple((phase, count) for phase, count in found if count is not None)


def _recommendation(r: wire.Recommendation | None, space: SearchSpace | None) -> RecommendationState | None:
    if r is None:
        return None
    outlooks = tuple(_copied(SliOutlook, o, **_intervals(Interval, o)) for o in r.slis)
    objectives = tuple(_copied(ObjectiveOutlook, o, **_intervals(Interval, o)) for o in r.objectives)
    front = tuple(
        FrontPoint(assignment.read(p.assignment, space), tuple(_copied(FrontValue, v) for v in p.objectives))
        for p in r.front
    )
    values = assignment.read(r.assignment, space)
    return _copied(RecommendationState, r, assignment=values, slis=outlooks, objectives=objectives, front=front)


_Outlook = SliOutlook | ObjectiveOutlook | wire.SliOutlook | wire.ObjectiveOutlook


def _intervals(cls: type[T], outlook: _Outlook) -> dict[str, T | None]:
    """What was predicted and measured, as intervals of the other side."""
    found = {name: getattr(outlook, name) for name in ("predicted", "verified", "control")}
    return {name: _copied(cls, interval) if interval is not None else None for name, interval in found.items()}


def _budget(b: wire.BudgetStatus) -> BudgetState:
    times = {name: _moment(getattr(b, name)) for name in _BUDGET_TIMES}
    return _copied(BudgetState, b, **times)


def _diagnostics(d: wire.DiagnosticsStatus | None) -> Diagnostics | None:
    if d is None:
        return None
    scales = tuple((s.constraint, s.parameter, s.value) for s in d.lengthscales)
    known = [s for s in d.symptoms if s.kind in set(SymptomKind)]
    symptoms = tuple(_copied(Symptom, s, kind=SymptomKind(s.kind)) for s in known)
    return _copied(Diagnostics, d, lengthscales=scales, symptoms=symptoms)


# domain to wire


def write_state(state: ExperimentState, spec: ExperimentSpec | None) -> dict[str, Any]:
    """The status that carries this state, display strings of the columns included."""
    space = spec.space if spec is not None else None
    status = _copied(
        wire.ExperimentStatus,
        state,
        conditions=tuple(_write_condition(c) for c in state.conditions),
        display=_display(state, spec),
        spec_digest=state.spec_digest or None,
        started=_write_moment(state.started),
        finished=_write_moment(state.finished),
        target=_write_target(state.target, space),
        active_trials=state.active,
        counts=_write_counts(state.counts),
        incumbent=_write_incumbent(state, space),
        candidate=_write_values(state.candidate, space),
        recommendation=_write_recommendation(state.recommendation, space),
        budgets=tuple(_write_budget(b) for b in state.budgets),
        floors=tuple(_copied(wire.FloorStatus, f) for f in state.floors),
        handled_requests=tuple(_copied(wire.Handled, h, at=format_time(h.at)) for h in state.handled),
        diagnostics=_write_diagnostics(state.diagnostics),
        figures=_copied(wire.FiguresStatus, state.figures) if state.figures is not None else None,
        retry_at=_write_moment(state.retry_at),
        scrape_interval_seconds=state.scrape_interval,
    )
    return status.wire()


def _write_moment(seconds: float | None) -> str | None:
    return format_time(seconds) if seconds is not None else None


def _write_values(values: Assignment | None, space: SearchSpace | None) -> tuple[assignment.AssignedText, ...] | None:
    return assignment.write(values, space) if values is not None else None


@lru_cache(maxsize=1024)  # most are as they were at the last write
def _write_condition(c: Condition) -> wire.Condition:
    return wire.Condition(
        type=c.type.value,
        status=_TRUTH[c.status],
        reason=c.reason or c.type.value,
        message=c.message,
        last_transition_time=format_seconds(c.changed),
        observed_generation=c.generation,
    )


def _write_target(t: TargetRecord | None, space: SearchSpace | None) -> wire.TargetStatus | None:
    if t is None:
        return None
    return wire.TargetStatus(
        uid=t.uid,
        template_hash=t.template_hash,
        baseline=assignment.write(t.baseline, space),
        autoscaler=_copied(wire.AutoscalerStatus, t.scaled) if t.scaled is not None else None,
    )


def _write_counts(counts: tuple[tuple[str, int], ...]) -> wire.Counts | None:
    names = {phase.value: name for name, phase in _COUNTED.items()}
    return wire.Counts(**{names[phase]: count for phase, count in counts}) if counts else None


def _write_incumbent(state: ExperimentState, space: SearchSpace | None) -> wire.Incumbent | None:
    if state.incumbent is None and not state.incumbent_trial:
        return None
    return wire.Incumbent(trial=state.incumbent_trial or None, assignment=_write_values(state.incumbent, space))


def _write_recommendation(r: RecommendationState | None, space: SearchSpace | None) -> wire.Recommendation | None:
    if r is None:
        return None
    outlooks = tuple(_copied(wire.SliOutlook, o, **_intervals(wire.Interval, o)) for o in r.slis)
    objectives = tuple(_copied(wire.ObjectiveOutlook, o, **_intervals(wire.Interval, o)) for o in r.objectives)
    front = tuple(
        wire.FrontPoint(
            assignment=assignment.write(p.assignment, space),
            objectives=tuple(_copied(wire.FrontValue, v) for v in p.objectives),
        )
        for p in r.front
    )
    values = assignment.write(r.assignment, space)
    return _copied(wire.Recommendation, r, assignment=values, slis=outlooks, objectives=objectives, front=front)


def _write_budget(b: BudgetState) -> wire.BudgetStatus:
    times = {name: _write_moment(getattr(b, name)) for name in _BUDGET_TIMES}
    return _copied(wire.BudgetStatus, b, **times)


def _write_diagnostics(d: Diagnostics | None) -> wire.DiagnosticsStatus | None:
    if d is None:
        return None
    scales = tuple(wire.Lengthscale(constraint=c, parameter=p, value=v) for c, p, v in d.lengthscales)
    symptoms = tuple(_copied(wire.SymptomStatus, s, kind=s.kind.value) for s in d.symptoms)
    return _copied(wire.DiagnosticsStatus, d, lengthscales=scales, symptoms=symptoms)


def _display(state: ExperimentState, spec: ExperimentSpec | None) -> wire.Display:
    saving = state.recommendation.saving if state.recommendation is not None else state.saving
    known = [b.remaining for b in state.budgets if b.remaining is not None]
    return wire.Display(
        trials=f"{state.trials_counted}/{spec.stopping.max_trials}" if spec is not None else str(state.trials_counted),
        saving=_percent(saving) if spec is None or spec.objectives[0].is_cost else _change(state, spec.objectives[0]),
        slo={True: "Held", False: "Broken", None: ""}[state.slo_held],
        budget=_percent(min(known)) if known else "",
        message=state.message,
        active=", ".join(state.active),
    )


def _change(state: ExperimentState, objective: Objective) -> str:
    """`p95 -15%`; "" while nothing was found."""
    if state.improvement is None:
        return ""
    sign = 1 if objective.maximize else -1
    return f"{objective.name} {sign * 100 * state.improvement:+.0f}%"


def _percent(fraction: float | None) -> str:
    return f"{100 * fraction:.0f}%" if fraction is not None else ""
