"""The end of an Experiment: choose, verify by fresh trials judged alone, publish. "Keep the baseline" is an answer."""

from __future__ import annotations

import hashlib
from statistics import NormalDist

from trimtab.control import asking, expense, pauses
from trimtab.control.actions import Decision, EmitEvent, PublishRecommendation, Severity
from trimtab.control.arms import cost_model, pod_changes
from trimtab.control.context import Context, Held, hold, stopped
from trimtab.control.objectives import changes, compare, front_points, improves, objective_outlooks
from trimtab.control.outlook import outlook
from trimtab.control.peaking import at_peak, seen_of_peak
from trimtab.control.saving import saving_of
from trimtab.control.scale_point import compared, scale_changes
from trimtab.control.snapshot import AskRecommendation
from trimtab.control.start import start_trial
from trimtab.control.study import build_study
from trimtab.control.summary import margin, to_repair
from trimtab.domain.cost import CostModel
from trimtab.domain.kube import Target
from trimtab.domain.names import recommendation_name
from trimtab.domain.quantity import percent
from trimtab.domain.space import Assignment
from trimtab.domain.state import ConditionType, ExperimentPhase, RecommendationState
from trimtab.domain.study import NoAnswer, Recommended, Study
from trimtab.domain.trial import Purpose, Suggestion, Trial, TrialPhase

MAX_CANDIDATES = 3
KEEP = "keep the baseline: "
MAX_RETRIES = 2


def finish(context: Context, reason: str, held: Held | None = None) -> Decision:
    """Ask for a recommendation, verify it, publish it. `held`: no verification may start now."""
    target, record, spec = context.seen.target, context.state.target, context.spec
    assert isinstance(target, Target)
    assert record is not None
    failed = _failed_candidates(context)
    held = held or pauses.scheduled(context, verification=True)
    state = context.state
    trials, started, before = context.seen.trials, state.started or 0.0, state.spoilt_before
    study = build_study(spec, target, record, trials, started, state.floors, failed, spoilt_before=before)
    if len(failed) >= MAX_CANDIDATES:
        return _keep(context, study, f"{len(failed)} candidates failed their verification")
    candidate = context.state.candidate
    if candidate is not None and candidate not in failed:
        waits = _waits(context, held, candidate)  # before the model is asked: it may wait for hours
        if waits is not None:
            return waits
    pause = asking.resting(context)
    if pause is not None:
        return pause
    answer = context.seen.recommended(study)
    if answer is None:
        return context.say(f"search over ({reason}): choosing a recommendation").ask(AskRecommendation(study))
    if isinstance(answer, NoAnswer):
        return asking.in_vain(context, answer.message)
    context = asking.answered(context).update(retry_at=None)
    if answer.keep_baseline:
        return _keep(context, study, answer.message)
    if spec.verification.replicates == 0:
        return _publish(context, study, answer, verified=False)
    number = _next(context, answer.assignment)
    if number is None:
        return _proven(context, study, answer)
    refused = expense.refused(context, answer.assignment, spec.verification.replicates - number)
    if refused:
        text = spec.space.describe(answer.assignment)
        return _keep(context, study, f"{text} could not be verified: {refused}")
    context = context.enter(ExperimentPhase.VERIFYING).update(candidate=answer.assignment)
    return _waits(context, held, answer.assignment) or _verify(context, answer, number)


def _waits(context: Context, held: Held | None, candidate: Assignment) -> Decision | None:
    """None when the verification trial of a candidate that is due, if one is, may start now."""
    number = _next(context, candidate)
    if number is None:
        return None
    waits = held or at_peak(context, _passed(context, candidate), number)
    return hold(context, waits) if isinstance(waits, Held) else waits


def _next(context: Context, candidate: Assignment) -> int | None:
    """The number of the verification trial that is due, None when it is verified or was tried too often in vain."""
    fresh = _verifications(context, candidate)
    undecided = sum(1 for t in fresh if t.phase is TrialPhase.INCONCLUSIVE)
    if _proved(context, candidate) or undecided > MAX_RETRIES:
        return None
    return 1 + len(_passed(context, candidate))


def _proven(context: Context, study: Study, answer: Recommended) -> Decision:
    """The answer itself when fresh trials verified it, else the baseline: nothing unverified is recommended."""
    if _proved(context, answer.assignment):
        return _publish(context, study, answer, verified=True)
    text = context.spec.space.describe(answer.assignment)
    return _keep(context, study, f"{text} could not be verified, {MAX_RETRIES + 1} fresh trials were inconclusive")


def _keep(context: Context, study: Study, why: str) -> Decision:
    """End with the baseline as the answer; where that was to be repaired, without one: it is none."""
    answer = Recommended(study.baseline, True, 0.0, (), f"{KEEP}{why.removeprefix(KEEP)}")
    broken = to_repair(context)
    if not broken:
        return _publish(context, study, answer, verified=True)
    remedy = "raise the max of parameters, widen the bound, or repair the service"
    message = f"the baseline breaks {', '.join(broken)}; {why.removeprefix(KEEP)}{expense.standing(context)}; {remedy}"
    return stopped(context.update(candidate=None), "BaselineInfeasible", message)


def _proved(context: Context, candidate: Assignment) -> bool:
    return len(_passed(context, candidate)) >= context.spec.verification.replicates


def _passed(context: Context, candidate: Assignment) -> tuple[Trial, ...]:
    """The fresh trials of a candidate that kept every bound."""
    return tuple(t for t in _verifications(context, candidate) if t.phase is TrialPhase.SUCCEEDED)


def _verify(context: Context, answer: Recommended, number: int) -> Decision:
    spec = context.spec
    text = spec.space.describe(answer.assignment)
    context = context.say(f"verifying {text} ({number} of {spec.verification.replicates})")
    suggestion = Suggestion(
        assignment=answer.assignment,
        purpose=Purpose.VERIFICATION,
        seed=spec.search.seed,
        by_model=False,
        safety_probability=None,
        acquisition=None,
        predictions=answer.predictions,
        model_digest="",
        fit_seconds=0.0,
        search_seconds=0.0,
        reason="fresh replicate, judged alone",
    )
    return start_trial(context, suggestion)


def _verifications(context: Context, assignment: Assignment) -> tuple[Trial, ...]:
    record = context.state.target
    assert record is not None
    return tuple(
        t
        for t in context.seen.trials
        if t.purpose is Purpose.VERIFICATION
        and t.assignment == assignment
        and t.environment.template_hash == record.template_hash
    )


def _failed_candidates(context: Context) -> tuple[Assignment, ...]:
    """Assignments whose verification broke a bound, or whose pooled fresh evidence does not clear every bound, or does
    not show that a measured objective improves."""
    found: list[Assignment] = []
    for trial in context.seen.trials:
        if trial.purpose is not Purpose.VERIFICATION or trial.assignment in found:
            continue
        fresh, passed = _verifications(context, trial.assignment), _passed(context, trial.assignment)
        broke = any(t.phase is TrialPhase.INFEASIBLE for t in fresh)
        complete = len(passed) >= max(1, context.spec.verification.replicates)
        if broke or (complete and not (_certified(context, passed) and _better(context, trial.assignment, passed))):
            found.append(trial.assignment)
    return tuple(found)


def _certified(context: Context, fresh: tuple[Trial, ...]) -> bool:
    """The upper confidence bound of every constraint, pooled over the fresh replicates alone, is within its bound."""
    return all(margin(c, fresh, NormalDist().inv_cdf(c.confidence)) for c in context.spec.constraints)


def _worth(context: Context, saving: float) -> str:
    """`saves 31.0 %`, or `costs 12.0 % more, and keeps p95-under-100ms, which the baseline breaks`."""
    if saving >= 0:
        return f"saves {100 * saving:.1f} %"
    broken = to_repair(context)
    keeps = f", and keeps {', '.join(broken)}, which the baseline breaks" if broken else ""
    return f"costs {-100 * saving:.1f} % more{keeps}"


def _better(context: Context, assignment: Assignment, fresh: tuple[Trial, ...]) -> bool:
    """Fresh trials show that an objective improves; that the cost is lower is known, and a repair has no other end than
    to keep the bounds."""
    spec, target, record = context.spec, context.seen.target, context.state.target
    if not isinstance(target, Target) or record is None or to_repair(context):
        return True
    cost = cost_model(spec, target, record)
    return (spec.is_cost and cost.known) or improves(spec, cost, record.baseline, assignment, fresh)


def _publish(context: Context, study: Study, answer: Recommended, verified: bool) -> Decision:
    spec, record, identity = context.spec, context.state.target, context.seen.experiment
    target, surroundings = context.seen.target, context.seen.surroundings
    assert record is not None
    assert isinstance(target, Target)
    assert surroundings is not None
    cost, chosen = cost_model(spec, target, record), answer.assignment
    text = spec.space.describe(chosen)
    digest = hashlib.sha256(f"{identity.uid}|{record.template_hash}|{text}".encode()).hexdigest()[:12]
    fresh = _passed(context, chosen)
    worth_of = fresh or tuple(
        t for t in context.seen.trials if t.phase is TrialPhase.SUCCEEDED and t.assignment == chosen
    )
    saved = saving_of(cost, record.baseline, chosen, worth_of)
    objectives = objective_outlooks(spec, cost, record.baseline, chosen, answer.objectives, fresh)
    money = f"${saved.before:.3f} -> ${saved.after:.3f} per hour"
    worth = f"{text} {_worth(context, saved.fraction)} ({money})"
    if objectives and not spec.is_cost:
        worth = f"{text}: {changes(spec, objectives)}"
        worth += "" if any(o.is_cost for o in spec.objectives) else f"; cost {money}"
    seen = seen_of_peak(context, fresh)
    peak = "" if seen is None else f"; verified at {percent(seen)} of the usual peak load"
    found = f"{worth}{'' if verified else ', NOT verified'}; {answer.message}{peak}"
    message = f"{answer.message} (${saved.before:.3f} per hour)" if answer.keep_baseline else found
    scale = scale_changes(spec, target, surroundings, record.baseline, chosen)
    moved = compared(scale.before, scale.after)
    message += f"; pods are added above {moved}" if moved else ""
    message += expense.standing(context)
    state = RecommendationState(
        digest=digest,
        assignment=chosen,
        keep_baseline=answer.keep_baseline,
        saving=saved.fraction,
        saving_low=saved.low,
        saving_high=saved.high,
        cost_before=saved.before,
        cost_after=saved.after,
        verified=verified,
        config_map=recommendation_name(identity.name),
        template_hash=record.template_hash,
        message=message,
        slis=outlook(spec, study.constraints, answer.predictions, fresh),
        objectives=objectives,
        front=front_points(answer.front),
        seen_of_peak=seen,
    )
    reason = "KeepBaseline" if answer.keep_baseline else "Verified" if verified else "Unverified"
    improvement = _improvement(context, cost, answer, fresh)
    context = context.update(
        recommendation=state, candidate=None, finished=context.now, saving=saved.fraction, improvement=improvement
    )
    context = context.set(ConditionType.RECOMMENDATION_READY, True, reason, message)
    context = context.set(ConditionType.READY, True, "Completed", "the experiment is complete")
    context = context.enter(ExperimentPhase.COMPLETED, message)
    publish = PublishRecommendation(state, target.name, pod_changes(spec, target, chosen), scale)
    return context.do(publish, EmitEvent(Severity.NORMAL, "RecommendationReady", message))


def _improvement(context: Context, cost: CostModel, answer: Recommended, fresh: tuple[Trial, ...]) -> float | None:
    """Of a first objective that is not the cost: as fresh trials measured, else as the model expects."""
    objective, record = context.spec.objectives[0], context.state.target
    if objective.is_cost or record is None:
        return None
    seen = compare(objective, cost, record.baseline, answer.assignment, fresh) if fresh else None
    if seen is not None:
        return seen.improvement
    return answer.objectives[0].improvement if answer.objectives else 0.0
