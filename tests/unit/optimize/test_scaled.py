"""The cost where an autoscaler decides how many pods there are: what it aims at is known, the rest is measured."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache

import numpy as np
import pytest
from scipy.stats import norm
from tests.unit.optimize.toy import ERRORS, HOUR, SLOW, WEB_COST, counts, resource, search

from trimtab.domain.cost import CostModel, CostTerm, Filling, ScalePoint
from trimtab.domain.measurement import Sample
from trimtab.domain.space import Assignment, AutoscalerField, Numeric, Parameter, Resource, Scale, SearchSpace
from trimtab.domain.spec import Objective, ObjectiveTerm, SliKind
from trimtab.domain.study import PODS, ArmOutcome, ConstraintReading, ConstraintTarget, Recommended, Study, TrialOutcome
from trimtab.domain.trial import Suggestion
from trimtab.optimize.data import load_scale
from trimtab.optimize.designer import digest, recommend, suggest
from trimtab.optimize.encoding import Encoder, Grid
from trimtab.optimize.queueing import MOST_FULL, QUEUED, STEEPEST, Pods, rise
from trimtab.optimize.readings import gather
from trimtab.optimize.recommend import pruned
from trimtab.optimize.room import pods_of, room
from trimtab.optimize.safe import Belief, believe

WORK, LEAST = 0.0092, 6.0
TARGET = Parameter(
    "target",
    AutoscalerField("CPUUtilization"),
    Numeric(Decimal(30), Decimal(90), Decimal(5), Scale.LOGIT, integer=True),
)
SPACE = SearchSpace((resource("cpu", Resource.CPU, "0.4", "2.5", "0.1"), TARGET))
BASELINE = Assignment.of({"cpu": Decimal("1.0"), "target": Decimal(45)})
COST = CostModel(
    replicas=12,
    prices=WEB_COST.prices,
    terms=(CostTerm("cpu", Resource.CPU, container="app"),),
    fixed_bytes=2.0**30,
    scale=ScalePoint(Resource.CPU, parameter="target"),
    usual=0.45,
    share=0.1,
)

assert COST.scale is not None
FILLING = Filling(COST.scale, COST.terms, (CostTerm("cpu", Resource.CPU, 2.0, "app"),), 0.0)
HARDEST = 1.1


@dataclass(frozen=True)
class Fleet:
    """Truth: pods that keep their use at the target, never fewer than LEAST; each an M/M/1 queue whose limit is twice
    the request."""

    load: float = 12 * 0.45 / WORK
    noise: float = 0.03

    def pods(self, x: Assignment, load: float) -> float:
        return max(load * WORK / (float(x.number("target")) / 100 * float(x.number("cpu"))), LEAST)

    def slow(self, x: Assignment, load: float) -> float:
        rate = 2 * float(x.number("cpu")) / WORK - load / self.pods(x, load)
        return min(0.002 + math.exp(-rate * 0.03), 1.0)

    def cost(self, x: Assignment, load: float) -> float:
        return self.pods(x, load) * COST.pod_hourly(x)

    def usually(self, x: Assignment) -> float:
        """Its cost over the loads that trials see, against the baseline's at the same."""
        loads = [self.load * math.exp(0.08 * z) for z in norm.ppf((np.arange(20) + 0.5) / 20)]
        share = sum(self.cost(x, each) / self.cost(BASELINE, each) for each in loads) / len(loads)
        return float(share * self.cost(BASELINE, self.load))

    def arm(self, x: Assignment, load: float, effect: float, rng: np.random.Generator) -> ArmOutcome:
        """Its load is how hard its pods are driven, times what they are at the target."""
        slow = min(self.slow(x, load) * effect, 1.0)
        readings = (
            ConstraintReading("slow", counts(int(rng.binomial(4000, slow)), 4000)),
            ConstraintReading("errors", counts(int(rng.binomial(4000, 0.0005)), 4000)),
        )
        return ArmOutcome(x, load / self.pods(x, load) * COST.pods(x), readings)

    def counted(self, x: Assignment, load: float, rng: np.random.Generator) -> ConstraintReading:
        """Pods of those that are expected, over the same of the control."""
        ratio = self.pods(x, load) / COST.pods(x) / (self.pods(BASELINE, load) / COST.pods(BASELINE))
        return ConstraintReading(
            PODS, Sample(ratio * (1 + self.noise * rng.standard_normal()), self.noise * ratio, 1.0)
        )


def study(**changes: object) -> Study:
    made = Study(
        space=SPACE,
        baseline=BASELINE,
        cost=COST,
        constraints=(SLOW, ERRORS),
        outcomes=(),
        pending=(),
        search=search(seed=3),
        probability=0.95,
        index=0,
        now=1.8e9,
        peak_load=Fleet().load,
        objectives=(Objective("cost", False, (ObjectiveTerm(1.0),)),),
        measured=(ConstraintTarget(PODS, SliKind.VALUE, 1.0),),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Measured(Fleet):
    """The same with pods whose use is measured: how hard they are driven is known, and their number is not rounded."""

    noise: float = 0.01

    def arm(self, x: Assignment, load: float, effect: float, rng: np.random.Generator) -> ArmOutcome:
        """Its load is use over scale point."""
        use = load / self.pods(x, load) * WORK
        return replace(super().arm(x, load, effect, rng), load=use / FILLING.scale.of(x, COST.terms))


@cache
def searched(trials: int = 24, by_use: bool = False) -> tuple[Study, Recommended]:
    fleet, found, rng = Fleet(), study(), np.random.default_rng(5)
    if by_use:
        fleet, found = Measured(), study(peak_load=HARDEST, driven=FILLING)
    for index in range(trials):
        now = found.now + HOUR * index
        answer = suggest(replace(found, index=index, now=now)).answer
        if not isinstance(answer, Suggestion):
            break
        load, effect = fleet.load * math.exp(0.08 * rng.standard_normal()), math.exp(0.05 * rng.standard_normal())
        canary, control = (fleet.arm(x, load, effect, rng) for x in (answer.assignment, BASELINE))
        canary = replace(canary, readings=(*canary.readings, fleet.counted(answer.assignment, load, rng)))
        outcome = TrialOutcome(index, answer.purpose, now + 600, canary, control)
        found = replace(found, outcomes=(*found.outcomes, outcome))
    done = replace(found, index=trials, now=found.now + HOUR * trials)
    recommended = recommend(done)
    assert isinstance(recommended, Recommended)
    return done, recommended


def test_pods_follow_the_scale_point() -> None:
    assert COST.pods(BASELINE) == pytest.approx(12.0)
    assert COST.pods(Assignment.of({"cpu": Decimal("0.5"), "target": Decimal(90)})) == pytest.approx(12.0)
    assert COST.pods(Assignment.of({"cpu": Decimal("1.0"), "target": Decimal(90)})) == pytest.approx(6.0)


def test_a_side_car_counts_for_the_whole_pod_and_not_for_a_container() -> None:
    whole = ScalePoint(Resource.CPU, fixed=0.5, utilization=0.5)
    assert whole.of(BASELINE, COST.terms) == pytest.approx(0.75)
    assert replace(whole, container="app", fixed=0.0).of(BASELINE, COST.terms) == pytest.approx(0.5)
    assert replace(whole, container="other", fixed=0.5).of(BASELINE, COST.terms) == pytest.approx(0.25)


def test_the_grid_prices_as_the_cost_does() -> None:
    grid = Grid(study(), Encoder(SPACE, BASELINE))
    points = grid.all_points()[::7]
    assert grid.hourly(points) == pytest.approx([COST.hourly(grid.assignment(p)) for p in points])


@pytest.mark.thorough
def test_the_model_finds_what_pods_cost_in_truth() -> None:
    """Also where the least number of pods keeps the autoscaler from what it aims at."""
    done, _ = searched()
    belief = believe(done, gather(done))
    tried = {o.canary.assignment for o in done.outcomes}
    assert len(tried) > 5
    expected = belief.aims.means([*tried])[0]
    truth = [Fleet().usually(x) for x in tried]
    assert expected == pytest.approx(truth, rel=0.12)


def test_the_search_comes_near_the_cheapest_that_holds() -> None:
    done, recommended = searched()
    fleet = Fleet()
    axes = [p.domain.grid() for p in SPACE.parameters if isinstance(p.domain, Numeric)]
    grid = [Assignment(tuple(zip(SPACE.names, v, strict=True))) for v in itertools.product(*axes)]
    best = min(fleet.usually(x) for x in grid if fleet.slow(x, fleet.load) <= SLOW.bound)
    before, after = (fleet.usually(x) for x in (BASELINE, recommended.assignment))
    assert fleet.slow(recommended.assignment, fleet.load) <= SLOW.bound
    assert (before - after) / (before - best) > 0.8
    assert recommended.saving == pytest.approx(1 - after / before, abs=0.04)
    assert all(fleet.slow(o.canary.assignment, fleet.load) <= SLOW.bound for o in done.outcomes)


def test_by_measured_use_the_search_comes_as_near_and_holds_with_pods_as_busy_as_they_get() -> None:
    _, recommended = searched(by_use=True)
    fleet, best = Measured(), recommended.assignment
    before, after = (fleet.usually(x) for x in (BASELINE, best))
    busy = HARDEST * FILLING.scale.of(best, COST.terms) / WORK
    assert fleet.slow(best, fleet.load) <= SLOW.bound
    assert 0.002 + math.exp(-(2 * float(best.number("cpu")) / WORK - busy) * 0.03) <= SLOW.bound
    assert after < 0.75 * before
    assert recommended.saving == pytest.approx(1 - after / before, abs=0.03)


def test_the_fuller_pods_are_the_steeper_a_bound_is() -> None:
    done, _ = searched(by_use=True)
    belief = believe(done, gather(done))
    loads = belief.loads
    octaves = loads.peak - loads.usual
    assert octaves > 0
    assert room(belief, SLOW, None) == pytest.approx(STEEPEST * octaves)
    usual = HARDEST * 2.0**-octaves
    steps = np.linspace(math.log2(0.5 * usual), math.log2(0.5 * HARDEST), 2001)
    slopes = QUEUED * 4.0**steps / (1 - 2.0**steps)

    def needed(full: float, seen: float | None = None) -> float:
        return float(room(belief, SLOW, Pods(full, 1.0), seen=seen))

    assert needed(0.5) == pytest.approx(float(np.trapezoid(slopes, steps)), rel=1e-4)
    assert needed(2.0) == pytest.approx(float(rise(MOST_FULL / 2**octaves, MOST_FULL, None)))
    assert needed(2.0) > needed(0.8) > needed(0.8, seen=-0.05) > 0
    assert needed(0.5, seen=0.2) == 0.0, "harder than the peak"
    many = np.asarray(room(belief, SLOW, Pods(np.asarray([0.2, 0.5]), np.asarray([1.0, 2.0]))))
    assert many.tolist() == [pytest.approx(needed(full)) for full in (0.2, 0.5)]
    assert many[1] > 3 * many[0]
    assert room(belief, replace(SLOW, relative_margin=0.1), Pods(0.8, 1.0)) == 0.0


def test_pods_that_get_through_many_requests_in_the_time_of_the_bound_need_less_room() -> None:
    done, _ = searched(by_use=True)
    known = replace(done, driven=replace(FILLING, turns=((SLOW.name, 40.0),)))
    unknown = replace(done, driven=replace(FILLING, turns=((SLOW.name, None),)))
    belief = believe(known, gather(known))

    def needed(by: Belief, cores: float, target: ConstraintTarget = SLOW) -> float:
        return float(room(by, target, Pods(0.7, cores)))

    waiting = needed(believe(unknown, gather(unknown)), 5.0)
    octaves = belief.loads.peak - belief.loads.usual
    after = 0.7 * HARDEST
    before = after * 2.0**-octaves
    assert waiting == pytest.approx(math.log(1 / SLOW.bound) * (after - before) / (1 - after))
    assert needed(belief, 1.4) == pytest.approx(waiting)
    assert needed(belief, 1.6) < 0.8 * waiting
    assert needed(belief, 1.4, ERRORS) == pytest.approx(needed(believe(done, gather(done)), 1.4, ERRORS))
    pods = pods_of(belief, BASELINE)
    assert pods is not None
    assert [float(pods.full), float(pods.cores)] == [pytest.approx(0.225), pytest.approx(2.0)]
    assert pods_of(replace(belief, study=replace(known, driven=replace(FILLING, fixed=None))), BASELINE) is None
    assert digest(belief) != digest(believe(done, gather(done)))


def test_no_change_is_undone_to_what_was_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A larger pod gets more to do from its autoscaler, so more CPU may be too little memory."""
    done, _ = searched(by_use=True)
    belief = believe(done, gather(done))
    both = (x for x in belief.evidence if all(x[name] != BASELINE[name] for name in SPACE.names))
    best = next(x for x in both if x.replace("cpu", BASELINE["cpu"]) not in belief.evidence)
    monkeypatch.setattr("trimtab.optimize.recommend.WORTHLESS", 1.0)  # whatever the change saves
    assert pruned(belief, best) in belief.evidence
    fixed = replace(belief, study=replace(done, cost=replace(COST, scale=None)))
    assert pruned(fixed, best) not in belief.evidence


def test_how_full_pods_are_is_read_off_encoded_points() -> None:
    encoder = Encoder(SPACE, BASELINE)
    grid = Grid(study(), encoder)
    points = grid.all_points()[::7]
    found = grid.pods(FILLING, grid.encode(points))
    assert found is not None
    assert found.full == pytest.approx([FILLING.of(grid.assignment(p)) for p in points])
    assert found.cores == pytest.approx([FILLING.cores(grid.assignment(p)) for p in points])
    fixed = replace(FILLING, scale=ScalePoint(Resource.CPU, fixed=0.5, utilization=0.6), limits=(), fixed=1.0)
    found = grid.pods(replace(fixed, requests=()), grid.encode(points))
    assert found is not None
    assert np.asarray(found.full).tolist() == [pytest.approx(0.3)] * len(points)
    assert np.asarray(found.cores).tolist() == [1.0] * len(points)
    assert grid.pods(replace(FILLING, fixed=None), grid.encode(points)) is None


def test_what_has_no_limit_is_as_steep_as_ever() -> None:
    assert replace(FILLING, fixed=None).of(BASELINE) is None
    assert replace(FILLING, fixed=None).cores(BASELINE) is None


def test_another_share_or_scale_point_is_another_model() -> None:
    done, _ = searched()

    def of(cost: CostModel) -> str:
        changed = replace(done, cost=cost)
        return digest(believe(changed, gather(changed)))

    assert len({of(COST), of(replace(COST, share=0.05)), of(replace(COST, usual=0.5))}) == 3
    driven = replace(done, driven=FILLING)
    assert digest(believe(driven, gather(driven))) != of(COST)


def test_a_trial_that_did_not_count_its_pods_teaches_its_bounds_all_the_same() -> None:
    done, _ = searched()
    last = done.outcomes[-1]
    blind = replace(last.canary, readings=tuple(r for r in last.canary.readings if r.constraint != PODS))
    changed = replace(done, outcomes=(*done.outcomes[:-1], replace(last, canary=blind)))
    belief = believe(changed, gather(changed))
    assert load_scale(changed) == load_scale(done)
    assert np.isfinite(belief.aims.means([last.canary.assignment])).all()
