"""The Designer as pure functions: the same study gives the same answer, in any process, and nothing is raised."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter

import numpy as np

from trimtab.domain.cost import CostModel
from trimtab.domain.space import Assignment
from trimtab.domain.study import (
    Diagnostics,
    Hold,
    HoldReason,
    NoAnswer,
    ObjectiveValue,
    Proposal,
    Recommended,
    Study,
    Symptom,
)
from trimtab.domain.trial import Prediction, Purpose, Suggestion
from trimtab.optimize import bold, branches, categories, dimension, pareto, sobol
from trimtab.optimize import recommend as recommending
from trimtab.optimize.acquisition import Choice, choose, confirmed_saving
from trimtab.optimize.conditional import canonical
from trimtab.optimize.diagnostics import diagnose, diversity
from trimtab.optimize.drift import since_change
from trimtab.optimize.objective import referenced
from trimtab.optimize.readings import exact, gather
from trimtab.optimize.repair import increase
from trimtab.optimize.safe import DECIMALS, Belief, believe, inside, is_safe, trusted_boxes, verified
from trimtab.optimize.schedule import (
    BASELINES,
    banned,
    baseline_infeasible,
    complete_baselines,
    like_pending,
    next_purpose,
    suggestion_seed,
    unusable,
)
from trimtab.optimize.scores import log_feasibility
from trimtab.optimize.stopping import nothing_left, out_of_patience, out_of_trials

OUTLIER = "measures it once more: it lies far from what all others say"
MODEL_VERSION = "gp-6"
SOBOL = "Sobol"
REPLICATES_TO_STOP = 3
CLOSING_TRIALS = 2
FAR_LOAD = 0.5  # octaves
_NO_MODEL = Diagnostics(outcomes=0, verified_points=1, safe_points=0, kappa=1.0, coverage=None)

Timer = Callable[[], float]


def suggest(study: Study, timer: Timer = perf_counter) -> Proposal:
    """What to try next, a typed Hold, or that nothing can be told; never raises. A model that fails is stood in for by
    space-filling trials.

    `timer` (seconds) only feeds `fit_seconds` and `search_seconds`; simulations pass a constant.
    """
    try:
        study = canonical(study)
        found = _suggest(study, timer)
        return replace(found, diagnostics=replace(found.diagnostics, diversity=diversity(study)))
    except Exception as error:  # the port's promise: a defect here must not stop the operator
        return sobol.without_model(study, f"the optimizer failed: {type(error).__name__}: {error}")


def recommend(study: Study) -> Recommended | NoAnswer:
    """The best evaluated assignment that holds with a margin (the cheapest by default), or the baseline; never
    raises."""
    try:
        return _recommend(canonical(study))
    except Exception as error:  # as above; that a model failed is no reason to end with the baseline
        return NoAnswer(f"the optimizer failed: {type(error).__name__}: {error}")


def expect(study: Study, assignment: Assignment, load: float | None) -> list[tuple[Prediction, float]]:
    """What the model expects of an assignment at a load (requests per second per pod; None: the peak), by bound, with
    tau, the standard deviation between trials. Nothing before the baseline's trials.

    Raises:
        NumericalFailure: a surrogate cannot even be conditioned in prior mode.
    """
    study, _ = since_change(referenced(canonical(study)))
    if unusable(study) or complete_baselines(study) < BASELINES:
        return []
    belief = believe(study, gather(study))
    z = None if load is None else belief.loads.z(load)
    mean, sd = belief.predict(belief.encoder.encode([assignment]), z)
    return [
        (Prediction(t.name, float(mean[j, 0]), float(sd[j, 0])), model.scales.tau)
        for j, (t, model) in enumerate(zip(belief.targets, belief.models, strict=True))
    ]


def _suggest(study: Study, timer: Timer) -> Proposal:
    counted = replace(_NO_MODEL, outcomes=len(study.outcomes))
    hold = unusable(study) or out_of_trials(study)
    if hold is not None:
        return Proposal(hold, counted)
    started = timer()
    study, drift = since_change(referenced(study))
    evidence = gather(study)
    if complete_baselines(study) >= BASELINES:
        hold = None if study.search.repair else baseline_infeasible(study, evidence)
        if hold is not None:
            return Proposal(hold, counted)
    if complete_baselines(study) < BASELINES or study.search.designer == SOBOL:
        simple = sobol.suggest(study)
        return replace(simple, diagnostics=replace(simple.diagnostics, symptoms=(*drift, *dimension.told(study))))
    belief = believe(study, evidence)
    fitted = timer()
    members = verified(belief)
    belief = replace(belief, held=dimension.idle(belief, members[0]) if members else ())
    choice, purpose = _decide(belief, members)
    diagnostics = diagnose(belief, members, choice.safe_points)
    if isinstance(purpose, Hold):
        return Proposal(purpose, _symptoms(diagnostics, drift, belief, 0.0))
    suggestion = _suggestion(belief, choice, purpose, fitted - started, timer() - fitted)
    return Proposal(
        suggestion, _symptoms(diagnostics, drift, belief, suggestion.fit_seconds + suggestion.search_seconds)
    )


def _symptoms(diagnostics: Diagnostics, drift: tuple[Symptom, ...], belief: Belief, seconds: float) -> Diagnostics:
    """With what is wrong apart from the single models."""
    crowd = dimension.told(belief.study, belief.held, seconds)
    return replace(diagnostics, symptoms=(*drift, *crowd, *diagnostics.symptoms))


def _decide(belief: Belief, members: list[Assignment]) -> tuple[Choice, Purpose | Hold]:
    """The next point and its purpose, or a Hold in place of the purpose."""
    study, forbidden = belief.study, banned(belief.study, belief.evidence)
    if exact(study) and belief.aims.known:
        return _boldly(belief, forbidden)
    good = recommending.recommendable(belief)
    if belief.repairing and not good:
        return _repair(belief, forbidden)
    incumbent = members[0]
    purpose = next_purpose(study, incumbent)
    answer = good[0] if good else study.baseline
    choice = choose(belief, members, answer, forbidden, suggestion_seed(study))
    settled, repeated = incumbent == study.baseline or incumbent in good, _repeatable(belief, members)
    due = purpose is Purpose.REPLICATE or (not settled and _closing(belief, incumbent, choice, answer))
    again, why = (repeated, "measures the incumbent again") if due else (_doubtful(belief), OUTLIER)
    if again is not None and again not in forbidden:
        return replace(choice, assignment=again, rule="Replicate", value=None, reason=why), Purpose.REPLICATE
    fresh = categories.untried(study, forbidden)
    if fresh is not None:
        found = replace(choice, assignment=fresh, rule="Initial", value=None, reason=categories.REASON)
        return found, Purpose.INITIAL
    if choice.exhausted:
        return choice, Hold(HoldReason.SPACE_EXHAUSTED, choice.reason)
    out = forbidden | {trial.canary.assignment for trial in study.outcomes}
    given = _wanted(belief, members, out)
    if given is not None:
        found = replace(choice, assignment=given, rule="Given", value=None, reason="given by warmStart.assignments")
        return found, purpose if purpose is Purpose.INITIAL else Purpose.SEARCH
    if purpose is Purpose.INITIAL:
        place = _initial(belief, members, choice, out)
        if place is not None:
            return place, Purpose.INITIAL
    else:
        purpose = Purpose.SEARCH
    stop = out_of_patience(study, *_incumbents(belief, members))
    away = _elsewhere(belief, members, forbidden) if stop is None else None
    if away is not None:
        return away, purpose
    if stop is None and choice.rule != "Improve":
        stop = nothing_left(study, choice.optimistic_saving)
    if stop is None and choice.assignment is not None:
        return choice, purpose
    return _again(belief, repeated, choice, stop, settled)


def _repeatable(belief: Belief, members: list[Assignment]) -> Assignment:
    """The best of V that may be measured again now: what was measured at far less load than is expected is in V by the
    model alone, and must be in S like anything new."""
    ahead = belief.loads.ahead - FAR_LOAD
    for x in members:
        rows = belief.evidence[x].observations.values() if x in belief.evidence else ()
        seen = max((belief.loads.z(row.load) for of_bound in rows for row in of_bound), default=-math.inf)
        if x == belief.study.baseline or seen >= ahead or is_safe(belief, *belief.ahead(belief.encoder.encode([x])))[0]:
            return x
    return belief.study.baseline


def _elsewhere(belief: Belief, members: list[Assignment], forbidden: set[Assignment]) -> Choice | None:
    """The next step in another category that promises more, when it is its turn."""
    seed = suggestion_seed(belief.study)
    held = replace(belief, held=(*belief.held, *branches.names(belief)))
    for others in branches.other_branches(belief, members, seed):
        found = choose(held, others, others[0], forbidden, seed)
        if found.assignment is not None:
            return replace(found, reason=found.reason or branches.REASON)
    return None


def _repair(belief: Belief, forbidden: set[Assignment]) -> tuple[Choice, Purpose | Hold]:
    """Nothing can be recommended and the baseline breaks a bound: more resources, or the end."""
    study, choice = belief.study, increase(belief, forbidden, suggestion_seed(belief.study))
    if choice.assignment is None:
        return choice, Hold(HoldReason.SPACE_EXHAUSTED, choice.reason)
    known = belief.evidence.get(choice.assignment)
    purpose = Purpose.REPLICATE if known is not None and known.clean else Purpose.SEARCH
    return choice, out_of_patience(study, study.baseline) or purpose


def _incumbents(belief: Belief, members: list[Assignment]) -> list[Assignment]:
    """The best verified assignment; of two objectives, the front of what is verified."""
    if len(belief.study.objectives) < 2:
        return members[:1]
    return [members[i] for i in pareto.front(belief.aims.means(members).T)]


def _boldly(belief: Belief, forbidden: set[Assignment]) -> tuple[Choice, Purpose | Hold]:
    """The same where nothing has to be safe and every trial repeats itself: nothing limits a step, and nothing is
    measured again."""
    study = belief.study
    incumbent = bold.cheapest_within(belief) or study.baseline
    choice = bold.choose(belief, forbidden, suggestion_seed(study))
    if next_purpose(study, incumbent) is Purpose.INITIAL:
        out = forbidden | {trial.canary.assignment for trial in study.outcomes}
        place = _initial(belief, [incumbent], choice, out)
        if place is not None:
            return place, Purpose.INITIAL
    stop = out_of_patience(study, incumbent)
    if stop is None and choice.assignment is None:
        stop = Hold(HoldReason.CONVERGED, choice.reason)
    return choice, Purpose.SEARCH if stop is None else stop


def _wanted(belief: Belief, members: list[Assignment], out: set[Assignment]) -> Assignment | None:
    """The first assignment that is to be tried early, was not tried yet, and is safe and within reach by now."""
    study, grid = belief.study, belief.grid
    if not study.wanted:
        return None
    limits = trusted_boxes(belief, members)
    for assignment in study.wanted:
        at = grid.locate(assignment)
        if at is None or assignment in out:
            continue
        point = np.asarray([at], dtype=np.int64)
        safe = is_safe(belief, *belief.ahead(grid.encode(point)))[0]
        if safe and inside(point, limits, grid.rest)[0] and grid.admissible(point)[0]:
            return assignment
    return None


def _doubtful(belief: Belief) -> Assignment | None:
    """What is to be measured once more, since it lies far from what all others say. Each trial measures the baseline
    anyway."""
    return next((x for x in belief.doubtful if x != belief.study.baseline), None)


def _closing(belief: Belief, incumbent: Assignment, choice: Choice, answer: Assignment) -> bool:
    """Whether the last trials are better spent on making the incumbent recommendable than on a new one."""
    study = belief.study
    if study.max_trials - study.index > CLOSING_TRIALS:
        return False
    if choice.rule != "Improve" or choice.assignment is None:
        return True
    return confirmed_saving(belief, incumbent, answer) >= confirmed_saving(belief, choice.assignment, answer)


def _again(
    belief: Belief, incumbent: Assignment, choice: Choice, stop: Hold | None, settled: bool
) -> tuple[Choice, Purpose | Hold]:
    """Nothing new is worth a trial: measure the incumbent until it can be recommended, at most three times in a row."""
    study = belief.study
    streak = 0
    for trial in reversed(study.outcomes):
        if trial.canary.assignment != incumbent:
            break
        streak += 1
    if stop is not None and settled:
        return choice, stop
    if streak >= REPLICATES_TO_STOP or incumbent in study.pending:
        if stop is not None:
            return choice, stop
        reason = HoldReason.CONVERGED if incumbent != study.baseline else HoldReason.NO_SAFE_POINT
        what = choice.reason or f"{choice.safe_points} safe points"
        return choice, Hold(reason, f"{what} after {streak} trials of {study.space.describe(incumbent)} in a row")
    why = f"{choice.reason or _nothing(study)}: measures the incumbent again"
    return replace(choice, assignment=incumbent, rule="Replicate", value=None, reason=why), Purpose.REPLICATE


def _nothing(study: Study) -> str:
    return "nothing safe is better" if study.objectives else "nothing safe is cheaper"


def _initial(belief: Belief, members: list[Assignment], choice: Choice, out: set[Assignment]) -> Choice | None:
    """The first Sobol point in the step limits of the incumbent that is safe; None when none is."""
    study = belief.study
    places = [x for x in sobol.spread(study, members[0]) if x not in out and not like_pending(study, x)]
    if not places:
        return None
    safe = is_safe(belief, *belief.ahead(belief.encoder.encode(places)))
    if not safe.any():
        return None
    place = places[int(np.argmax(safe))]
    return replace(choice, assignment=place, rule="Initial", value=None, reason="space-filling among safe points")


def _suggestion(
    belief: Belief, choice: Choice, purpose: Purpose, fit_seconds: float, search_seconds: float
) -> Suggestion:
    study = belief.study
    assignment = choice.assignment
    assert assignment is not None
    mean, sd = belief.ahead(belief.encoder.encode([assignment]))
    reason = choice.reason or _improvement(belief, assignment)
    return Suggestion(
        assignment=assignment,
        purpose=purpose,
        seed=suggestion_seed(study),
        by_model=choice.rule not in ("Initial", "Given"),
        safety_probability=round(float(np.exp(log_feasibility(mean, sd))[0]), DECIMALS) if belief.models else None,
        acquisition=choice.value,
        predictions=belief.predictions(assignment),
        model_digest=digest(belief),
        fit_seconds=fit_seconds,
        search_seconds=search_seconds,
        reason=reason,
        explores=choice.rule == "Expand",
        expected_load=study.expected_load,
        usual_peak=study.usual_peak,
    )


def _improvement(belief: Belief, assignment: Assignment) -> str:
    best = "the best of the safe points within the step limits"
    if belief.aims.known:
        share = belief.aims.saving(assignment)
        if share < 0:
            return f"costs {-share:.1%} more than the baseline, {best}"
        return f"saves {share:.1%} of the baseline's cost, {best}"
    words = (f"{v.name} is expected {abs(v.improvement):.1%} {_way(v)}" for v in belief.aims.values(assignment))
    return f"{', '.join(words)} than at the baseline, {best}"


def _way(value: ObjectiveValue) -> str:
    return "better" if value.improvement >= 0 else "worse"


def digest(belief: Belief) -> str:
    """Identifies code version, data and scales."""
    study = belief.study
    parts = [MODEL_VERSION, study, [tuple(float(t) + 0.0 for t in model.theta) for model in belief.models]]
    parts += ["Repair"] if study.search.repair else []
    parts += [study.waiting] if study.waiting else []
    parts += [study.expected_load] if study.expected_load is not None else []
    parts += [("usual peak", study.usual_peak)] if study.usual_peak is not None else []
    early = [o.index for o in (*study.outcomes, *study.inherited, *study.hints) if o.early]
    parts += [("early", early)] if early else []
    if study.objectives or study.cost_limit is not None:
        measured = [tuple(float(t) + 0.0 for t in model.theta) for model in belief.aims.models]
        parts += [study.objectives, study.measured, study.cost_limit, measured]
    if isinstance(study.cost, CostModel) and not study.cost.known:
        parts += [study.cost.scale, study.cost.usual, study.cost.share]
    parts += [study.driven] if study.driven is not None else []
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def _recommend(study: Study) -> Recommended | NoAnswer:
    hold = unusable(study)
    if hold is not None and hold.reason is HoldReason.NUMERICAL:
        return NoAnswer(hold.message)
    if hold is not None:
        return recommending.keep_baseline(study, f"keep the baseline: {hold.message}")
    if not study.outcomes:
        return recommending.keep_baseline(study, "keep the baseline: nothing has been evaluated")
    study, _ = since_change(referenced(study))
    belief = believe(study, gather(study))
    answer = recommending.recommend(belief)
    if answer.keep_baseline:
        return answer
    from trimtab.optimize.crosscheck import disagreement

    problem = disagreement(belief, answer.assignment)
    if problem:
        return recommending.keep_baseline(study, f"keep the baseline: two implementations disagree on {problem}")
    return answer


__all__ = ["digest", "expect", "recommend", "suggest"]
