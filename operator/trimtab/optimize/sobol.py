"""Space-filling trials inside the step limits of what is verified; needs no model and no numpy.

It is the Designer of `designer: Sobol`, gives the initial trials their places, and stands in when a fit did not end in
time. Without a model nobody knows how steep a bound is, so a trial goes only as far as the slack that the verified
assignment's own measurements show.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator

from trimtab.domain.space import Assignment, Parameter
from trimtab.domain.study import Diagnostics, Hold, HoldReason, NoAnswer, Proposal, Study
from trimtab.domain.trial import Purpose, Suggestion
from trimtab.optimize.categories import REASON, untried
from trimtab.optimize.conditional import canonical
from trimtab.optimize.grouping import groups
from trimtab.optimize.objective import allowed, observed_value, referenced
from trimtab.optimize.readings import Evidence, broken_below, gather
from trimtab.optimize.schedule import banned, like_pending, next_purpose, repairing, suggestion_seed, unusable
from trimtab.optimize.steps import axis, more_is_better, nearest, no_more, reach

BITS = 30
ATTEMPTS = 64
FULL_SLACK = math.log(5.0)
FULL_SHARE = 0.75
# (degree s, coefficients a, initial m) per dimension from the second: Joe and Kuo, SIAM J. Sci. Comput. 30 (2008) 2635.
_DIRECTIONS: tuple[tuple[int, int, tuple[int, ...]], ...] = (
    (1, 0, (1,)),
    (2, 1, (1, 3)),
    (3, 1, (1, 3, 1)),
    (3, 2, (1, 1, 1)),
    (4, 1, (1, 1, 3, 3)),
    (4, 4, (1, 3, 5, 13)),
    (5, 2, (1, 1, 5, 5, 17)),
    (5, 4, (1, 1, 5, 5, 5)),
    (5, 7, (1, 1, 7, 11, 19)),
    (5, 11, (1, 1, 5, 1, 1)),
    (5, 13, (1, 1, 1, 3, 11)),
)
MAX_DIMENSIONS = len(_DIRECTIONS) + 1


def sobol(index: int, dimensions: int, seed: int | None = None) -> tuple[float, ...]:
    """The `index`-th Sobol point in [0, 1)^dimensions; with a seed, digitally shifted (Cranley-Patterson in base 2).

    Dimensions beyond 12 reuse the first ones under another shift.
    """
    gray = index ^ (index >> 1)
    point = []
    for dimension in range(dimensions):
        value = 0 if seed is None else _hash(seed, dimension) >> (64 - BITS)
        for bit, direction in enumerate(_direction_numbers(dimension % MAX_DIMENSIONS)):
            if gray >> bit & 1:
                value ^= direction
        point.append(value / 2.0**BITS)
    return tuple(point)


def suggest(study: Study, fallback: str = "") -> Proposal:
    """The next assignment without a model; pure, deterministic, milliseconds.

    `fallback` says why the model did not answer; it goes into the diagnostics.
    """
    study = referenced(canonical(study))
    evidence = gather(study)
    members = verified(study, evidence)
    incumbent = members[0] if members else study.baseline
    diagnostics = Diagnostics(
        outcomes=len(study.outcomes),
        verified_points=len(members),
        safe_points=0,
        kappa=1.0,
        coverage=None,
        fallback=fallback,
    )
    purpose = next_purpose(study, incumbent)
    if purpose is Purpose.BASELINE:
        return Proposal(_suggestion(study, study.baseline, purpose, "the baseline first"), diagnostics)
    if purpose is Purpose.REPLICATE:
        return Proposal(_suggestion(study, incumbent, purpose, "measures the incumbent again"), diagnostics)
    tried = {trial.canary.assignment for trial in study.outcomes}
    forbidden = tried | banned(study, evidence)
    if not members:
        return Proposal(_raised(study, forbidden), diagnostics)
    fresh = untried(study, banned(study, evidence))
    if fresh is not None:
        return Proposal(_suggestion(study, fresh, Purpose.INITIAL, REASON), diagnostics)
    for start in members:
        for assignment in spread(study, start, evidence):
            if assignment in forbidden or like_pending(study, assignment):
                continue
            if _may_be_better(study, assignment, members[0]):
                reason = f"space-filling within the step limits of {study.space.describe(start)}"
                return Proposal(_suggestion(study, assignment, purpose, reason), diagnostics)
    what = "new" if study.objectives else "new, cheaper"
    hold = Hold(HoldReason.SPACE_EXHAUSTED, f"no {what} point within the step limits of {len(members)} verified ones")
    return Proposal(hold, diagnostics)


def _raised(study: Study, forbidden: set[Assignment]) -> Suggestion | NoAnswer:
    """The baseline with as much more of everything as one step allows. What comes after that is the model's."""
    values = []
    for parameter in study.space.parameters:
        first, last = reach(parameter, study.baseline[parameter.name])
        at = {1: last, -1: first, 0: nearest(parameter, study.baseline[parameter.name])}[more_is_better(parameter)]
        values.append((parameter.name, axis(parameter.domain)[at]))
    raised = Assignment(tuple(values))
    if raised in forbidden or study.space.violated(raised) is not None:
        return NoAnswer("without a model no further increase is known")
    return _suggestion(study, raised, Purpose.SEARCH, "more of everything, as the baseline breaks a bound")


def _may_be_better(study: Study, assignment: Assignment, best: Assignment) -> bool:
    """It is cheaper, or nobody knows without a model."""
    return bool(study.objectives) or study.cost.hourly(assignment) < study.cost.hourly(best)


def without_model(study: Study, why: str) -> Proposal:
    """The answer when no model can be asked: space-filling, or the Hold that any designer would give; never raises."""
    try:
        hold = unusable(study)
        if hold is None:
            return suggest(study, why)
        answer: Hold | NoAnswer = hold
    except Exception as error:  # a study that breaks both designers must not stop the operator
        answer = NoAnswer(f"{why}; the fallback failed too: {type(error).__name__}: {error}")
    return Proposal(answer, Diagnostics(len(study.outcomes), 1, 0, 1.0, None, fallback=why))


def verified(study: Study, evidence: dict[Assignment, Evidence]) -> list[Assignment]:
    """The baseline, unless it is to be repaired, and what its own measurements show safe, the best (by default the
    cheapest) first."""
    out = {study.baseline, *study.excluded}
    found = [x for x, own in evidence.items() if x not in out and own.verifies(study.constraints)]
    found += [] if repairing(study, evidence) else [study.baseline]
    return sorted(found, key=lambda x: (observed_value(study, x), x.items_))


def spread(study: Study, start: Assignment, evidence: dict[Assignment, Evidence] | None = None) -> Iterator[Assignment]:
    """Admissible grid points between `start` and the cheap end of its step limits, in Sobol order; where the cost alone
    is not the objective, between all of its limits.

    With `evidence` the box shrinks with the slack of `start`, and points at or below a withdrawn one are left out.
    """
    seed, coordinates = study.search.seed, groups(study.space)
    share = 1.0 if evidence is None else _share(study, start, evidence)
    ranges = [_range(study, p, start, share) for p in study.space.parameters]
    corners = broken_below(study)
    bad = [] if evidence is None else [x for x, own in evidence.items() if own.contradicts(study.constraints)]
    for attempt in range(ATTEMPTS):
        point = sobol(study.index + attempt + 1, max(coordinates, default=-1) + 1, seed)
        # First in the cheaper half: what is close to the start costs a trial and teaches little.
        half = attempt < ATTEMPTS // 2
        assignment = Assignment(
            tuple(
                (p.name, axis(p.domain)[_pick(near, far, (1 + u) / 2 if half and priced else u)])
                for p, (near, far, priced), u in zip(
                    study.space.parameters, ranges, (point[c] for c in coordinates), strict=True
                )
            )
        )
        assignment = study.space.canonical(assignment, study.baseline)
        if not allowed(study, assignment):
            continue
        if any(all(float(assignment.number(n)) <= v for n, v in corner) for corner in corners):
            continue
        if any(no_more(study.space, assignment, x) for x in bad):
            continue
        yield assignment


def _pick(near: int, far: int, u: float) -> int:
    """The index at share u in [0, 1) of the way from `near` to `far`, both included."""
    steps = min(int(u * (abs(far - near) + 1)), abs(far - near))
    return near + steps if far >= near else near - steps


def _range(study: Study, parameter: Parameter, start: Assignment, share: float) -> tuple[int, int, bool]:
    """Indices of the start and its cheaper step limit, True; or of both limits, False, where price does not tell."""
    first, last = reach(parameter, start[parameter.name], study.baseline[parameter.name])
    here = min(max(nearest(parameter, start[parameter.name]), first), last)
    if isinstance(start[parameter.name], str):  # a safe start says nothing of other categories
        return (here, here, False) if study.safe else (first, last, False)
    values = axis(parameter.domain)
    floor = max((v for name, v in study.floors if name == parameter.name), default=0.0)
    while first < here and float(values[first]) < floor * (1 - 1e-9):
        first += 1
    low = study.cost.hourly(start.replace(parameter.name, values[first]))
    high = study.cost.hourly(start.replace(parameter.name, values[last]))
    down, up = _shrunk(here - first, share), _shrunk(last - here, share)
    if low == high or study.objectives:
        return here - down, here + up, False
    return here, here - down if low < high else here + up, True


def _shrunk(steps: int, share: float) -> int:
    return 0 if steps <= 0 else max(1, int(steps * share))


def _share(study: Study, start: Assignment, evidence: dict[Assignment, Evidence]) -> float:
    """How much of a step to take: three quarters with a slack of ln 5 (or nothing measured), none without slack."""
    own = evidence.get(start)
    intervals = [] if own is None else [own.interval(t.name) for t in study.constraints if not t.guard_only]
    slack = min((-i[2] for i in intervals if i is not None), default=FULL_SLACK)
    return FULL_SHARE * min(max(slack / FULL_SLACK, 0.0), 1.0)


def _suggestion(study: Study, assignment: Assignment, purpose: Purpose, reason: str) -> Suggestion:
    seen = len(study.outcomes), *map(study.space.format, study.pending)
    text = repr((study.search.seed, study.index, study.space.format(assignment), *seen))
    return Suggestion(
        assignment=assignment,
        purpose=purpose,
        seed=suggestion_seed(study),
        by_model=False,
        safety_probability=None,
        acquisition=None,
        predictions=(),
        model_digest="sobol-" + hashlib.sha256(text.encode()).hexdigest()[:16],
        fit_seconds=0.0,
        search_seconds=0.0,
        reason=reason,
    )


def _direction_numbers(dimension: int) -> tuple[int, ...]:
    """Direction numbers scaled by 2^30 of one dimension (the first is van der Corput's)."""
    if dimension == 0:
        return tuple(1 << (BITS - 1 - i) for i in range(BITS))
    degree, coefficients, initial = _DIRECTIONS[dimension - 1]
    v = [m << (BITS - 1 - i) for i, m in enumerate(initial)]
    for i in range(degree, BITS):
        value = v[i - degree] ^ (v[i - degree] >> degree)
        for k in range(1, degree):
            if coefficients >> (degree - 1 - k) & 1:
                value ^= v[i - k]
        v.append(value)
    return tuple(v)


def _hash(seed: int, dimension: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{dimension}".encode()).digest()[:8], "big")
