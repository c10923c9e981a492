"""The optimizer for programs outside Kubernetes."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trimtab.domain.trial import Purpose
from trimtab.optimize import Bound, Choices, Counts, Optimizer, Range, Suggestion, designer

SPACE = {
    "cpu": Range(0.2, 2.0, step=0.05, scale="Log", safer="Higher"),
    "memory": Range(0.25, 2.0, step=0.0625, scale="Log", safer="Higher"),
}
BOUNDS = {"p95": Bound(max=0.3, kind="Latency")}
BASELINE = {"cpu": 2.0, "memory": 2.0}
SE = 0.02


def cost(x: dict[str, Any]) -> float:
    return 0.032 * float(x["cpu"]) + 0.004 * float(x["memory"])


def p95(x: dict[str, Any]) -> float:
    """Feasible from cpu = 0.61 on with enough memory."""
    return 0.05 + 0.1 / max(float(x["cpu"]) - 0.2, 0.02) * (1 + (0.4 / float(x["memory"])) ** 4)


OPTIMUM = min(
    cost({"cpu": c, "memory": m})
    for c in np.arange(0.2, 2.0001, 0.05)
    for m in np.arange(0.25, 2.0001, 0.0625)
    if p95({"cpu": c, "memory": m}) <= 0.3
)


def made(**changes: Any) -> Optimizer:
    given: dict[str, Any] = {
        "space": SPACE, "objective": cost, "constraints": BOUNDS, "baseline": BASELINE, "seed": 3, **changes
    }  # fmt: skip
    return Optimizer(**given)


def played(optimizer: Optimizer, trials: int, at_once: int = 1) -> list[dict[str, Any]]:
    """What was tried."""
    rng, tried = np.random.default_rng(1), []
    while len(tried) < trials:
        asked = optimizer.ask(at_once)
        if not asked:
            break
        for suggestion in asked:
            tried.append(suggestion.assignment)
            value = p95(suggestion.assignment) * math.exp(SE * rng.standard_normal())
            optimizer.tell(suggestion, {"p95": (value, SE * value)})
    return tried


@pytest.mark.parametrize("at_once", [pytest.param(1, marks=pytest.mark.thorough), 3])
def test_it_finds_what_is_cheap_and_holds_and_tries_nothing_that_is_grossly_unsafe(at_once: int) -> None:
    optimizer = made()
    tried = played(optimizer, 20, at_once)
    found = optimizer.recommend()
    assert found is not None
    assert p95(found.assignment) <= 0.3
    assert 1 - found.saving == pytest.approx(cost(found.assignment) / cost(BASELINE))
    assert found.saving >= 0.9 * (1 - OPTIMUM / cost(BASELINE))
    assert found.predicted["p95"][0] < 1
    assert sum(p95(x) > 0.3 for x in tried) <= 2
    assert max(map(p95, tried)) < 0.45
    assert tried[:2] == [BASELINE, BASELINE]


def test_the_same_history_gives_the_same_suggestions() -> None:
    assert played(made(), 9) == played(made(), 9)
    assert played(made(), 9) != played(made(seed=4), 9)


def test_several_at_once_differ_and_wait_for_the_baseline() -> None:
    optimizer = made()
    first = optimizer.ask(4)
    assert [s.assignment for s in first] == [BASELINE, BASELINE]
    assert optimizer.stopped == "tell what the baseline measured first, or forget it"
    assert optimizer.ask() == []
    for each in first:
        optimizer.tell(each, {"p95": (p95(each.assignment), 0.002)})
    second = optimizer.ask(4)
    assert len({tuple(s.assignment.items()) for s in second}) == 4
    assert optimizer.stopped == ""
    assert [s.number for s in second] == [2, 3, 4, 5]
    assert {tuple(s.assignment.items()) for s in optimizer.ask(2)}.isdisjoint(
        tuple(s.assignment.items()) for s in second
    )


def test_why_something_was_tried_is_kept_so_that_the_schedule_is_the_operators() -> None:
    optimizer, purposes = made(), []
    for _ in range(12):
        (asked,) = optimizer.ask()
        purposes.append(asked.purpose)
        optimizer.tell(dict(asked.assignment), {"p95": (p95(asked.assignment), 0.002)})
    assert purposes[:5] == ["Baseline", "Baseline", "Initial", "Initial", "Initial"]
    searching = purposes[5:]
    assert searching.count("Replicate") <= 2  # after four in a row, not each time


def test_a_failure_is_not_tried_again() -> None:
    optimizer = made(safe=False)
    played(optimizer, 6)
    (next_one,) = optimizer.ask()
    optimizer.tell(next_one, failure="OOMKilled", context={"load": 20.0})
    assert all(s.assignment != next_one.assignment for _ in range(3) for s in optimizer.ask())


def test_without_safety_the_whole_grid_is_open() -> None:
    bold, careful = made(safe=False), made()
    third = [played(each, 8)[2]["cpu"] for each in (bold, careful)]
    assert third[0] < 1.4 <= third[1]  # a step of more than 30 %
    found = bold.recommend()
    assert found is None or p95(found.assignment) <= 0.3


def test_choices_and_ranges_around_zero() -> None:
    space = {"gc": Choices(("serial", "zgc")), "shift": Range(-1.0, 1.0, step=0.25)}
    factor = {"serial": 1.0, "zgc": 0.6}
    worth = lambda x: 3.0 + float(x["shift"]) - (x["gc"] == "zgc")  # noqa: E731
    optimizer = Optimizer(space, worth, {"p95": Bound(max=1.2)}, {"gc": "serial", "shift": 0.0}, seed=1, safe=False)
    for _ in range(14):
        for each in optimizer.ask():
            value = factor[str(each.assignment["gc"])] - 0.4 * float(each.assignment["shift"])
            optimizer.tell(each, {"p95": (value, 0.01)}, control={"p95": (1.0, 0.01)})
    found = optimizer.recommend()
    assert found is not None
    assert found.assignment == {"gc": "zgc", "shift": -1.0}


def test_a_choice_that_was_never_tried_gets_one_trial_at_the_baseline() -> None:
    space = {"gc": Choices(("serial", "zgc")), "cpu": Range(0.5, 2.0, step=0.1, safer="Higher")}
    optimizer = Optimizer(
        space, lambda x: float(x["cpu"]), {"p95": Bound(max=1.0)}, {"gc": "serial", "cpu": 2.0}, seed=1
    )
    tried = []
    for _ in range(10):
        for each in optimizer.ask():
            cpu = float(each.assignment["cpu"])
            tried += [cpu] if each.assignment["gc"] == "zgc" else []
            optimizer.tell(each, {"p95": ((1.2 if each.assignment["gc"] == "serial" else 2.5) / cpu, 0.01)})
    assert tried == [2.0]


def test_what_it_is_told_without_having_asked_counts() -> None:
    optimizer = made()
    optimizer.tell(BASELINE, {"p95": (0.1, 0.001)}, at=1.8e9)
    optimizer.tell(BASELINE, {"p95": (0.1, 0.001)})
    optimizer.tell({"cpu": 1.0, "memory": 1.0}, {"p95": (0.18, 0.002)})
    found = optimizer.recommend()
    assert found is not None
    assert found.assignment == {"cpu": 1.0, "memory": 1.0}
    assert found.message.startswith("1 complete trial")


def test_nothing_better_is_no_recommendation_and_says_why_it_stops() -> None:
    optimizer = made(constraints={"p95": Bound(max=0.1, kind="Latency")})
    for each in optimizer.ask(2):
        optimizer.tell(each, {"p95": (0.15, 0.001)})
    assert optimizer.ask() == []
    assert "the baseline itself stands at 1.50 x the bound of p95" in optimizer.stopped
    assert optimizer.recommend() is None
    assert optimizer.kept.startswith("keep the baseline: ")


def test_what_was_told_without_a_bound_is_not_recommended() -> None:
    """Errors are told of the baseline alone: nobody knows whether what is cheaper keeps their bound."""
    errors = Bound(max=0.01, kind="Errors")
    recommended = []
    for told in (2, 100):
        optimizer, trials = made(**CPU, objective=cheap, constraints={**BOUNDS, "errors": errors}), 0
        for _ in range(8):
            for each in optimizer.ask():
                reading = {"errors": (0.001, 0.0003)} if trials < told else {}
                optimizer.tell(each, {"p95": (0.1 + 0.1 / float(each.assignment["cpu"]), 0.003), **reading})
                trials += 1
        recommended.append(optimizer.recommend())
        assert optimizer.diagnostics is not None
        assert (optimizer.diagnostics.incomplete > 2) is (told == 2)
        if told == 2:
            assert optimizer.kept.startswith("keep the baseline: none of 1 evaluated assignments saves")
            assert optimizer.kept.endswith("trials were told without every bound")
        else:
            assert optimizer.kept == ""
    assert recommended[0] is None
    assert recommended[1] is not None


BAD: tuple[tuple[dict[str, Any], str], ...] = (
    ({"space": {}}, "space: give at least one parameter"),
    ({"space": {"cpu": Range(2.0, 1.0, 0.1)}}, "cpu: low 2.0 must not be above high 1.0"),
    ({"space": {"cpu": Range(0.0, 1.0, 0.1, scale="Log")}}, "cpu: a Log scale begins above 0"),
    ({"space": {"kind": Choices(("a", "a"))}}, "kind: choices must be given, each once"),
    ({"constraints": {"p95": Bound()}}, "p95: give one of max and min"),
    ({"constraints": {"p95": Bound(max=1.0, min=0.5)}}, "p95: give one of max and min"),
    ({"constraints": {"p95": Bound(max=-1.0)}}, "p95: max: -1.0 is not above 0"),
    ({"baseline": {"cpu": 2.0}}, "missing ['memory']"),
    ({"baseline": {**BASELINE, "disk": 1.0}}, "unknown ['disk']"),
    ({"baseline": {"cpu": math.nan, "memory": 1.0}}, "cpu: nan is not a finite number"),
    ({"probability": 1.0}, "probability: 1.0 is not above 0.5 and below 1"),
)


@pytest.mark.parametrize(("changes", "message"), BAD, ids=lambda x: x if isinstance(x, str) else "")
def test_what_makes_no_sense_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the message is compared below
        made(**changes)
    assert message in str(refused.value)


def test_bad_measurements_are_refused_and_lose_nothing() -> None:
    optimizer = made()
    first, _ = optimizer.ask(2)
    for told, message in (
        ({"p99": (1.0, 0.1)}, "p99: not among the constraints (p95)"),
        ({"p95": (math.nan, 0.1)}, "p95: (nan, 0.1) is not a value"),
        ({}, "give at least one, or a failure"),
    ):
        with pytest.raises(ValueError) as refused:  # noqa: PT011 - the message is compared below
            optimizer.tell(first, told)
        assert message in str(refused.value)
    with pytest.raises(ValueError, match="context: load: -1"):
        optimizer.tell(first, {"p95": (0.1, 0.01)}, context={"load": -1.0})
    assert optimizer.ask() == []  # both still wait
    optimizer.tell(first, {"p95": (0.1, 0.01)})
    assert optimizer.ask() == []


@pytest.mark.thorough
def test_the_operator_does_not_load_it() -> None:
    """Importing the package costs no numpy; the name is found when it is asked for."""
    loaded = "assert ('numpy' in sys.modules) is"
    code = f"import sys, trimtab.optimize as o; {loaded} False; o.Optimizer; {loaded} True"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    import trimtab.optimize

    with pytest.raises(AttributeError, match="Nothing"):
        _ = trimtab.optimize.Nothing  # type: ignore[attr-defined]


@pytest.mark.thorough
def test_the_example_runs() -> None:
    script = Path(__file__).parents[3] / "examples" / "library" / "tune.py"
    done = subprocess.run([sys.executable, script], check=True, timeout=120, capture_output=True, text=True)
    *_, recommended, truth = done.stdout.splitlines()
    assert recommended.startswith("recommended: cpu 0.")
    value = float(truth.split(" is ")[1].split(" s,")[0])
    assert 0.2 < value <= 0.3


def waiting(x: dict[str, Any]) -> float:
    """A latency with its least value at cpu = 1.25: what more CPU gains, noisy neighbours take."""
    return 0.1 + 0.08 * math.log(float(x["cpu"]) / 1.25) ** 2


def searched(optimizer: Optimizer, trials: int) -> Optimizer:
    rng = np.random.default_rng(2)
    for _ in range(trials):
        for suggestion in optimizer.ask():
            found, bound = waiting(suggestion.assignment), p95({**BASELINE, **suggestion.assignment})
            noise = math.exp(0.01 * rng.standard_normal())
            optimizer.tell(suggestion, {"wait": (found * noise, 0.01 * found), "p95": (bound, 0.01 * bound)})
    return optimizer


CPU = {"space": {"cpu": SPACE["cpu"]}, "baseline": {"cpu": 2.0}}


def test_a_measured_objective_finds_its_least_value() -> None:
    best = searched(made(**CPU, objective="wait"), 12).recommend()
    assert best is not None
    assert waiting(best.assignment) <= 0.1 * 1.01
    mean, sd = best.objectives["wait"]
    assert abs(mean - waiting(best.assignment)) <= 3 * sd
    assert best.saving == pytest.approx(1 - 0.1 / waiting({"cpu": 2.0}), abs=0.03)
    assert best.front == ()


def test_a_pair_has_a_front() -> None:
    best = searched(made(**CPU, objective=(cheap, "wait"), acquisition="HypervolumeEI"), 12).recommend()
    assert best is not None
    assert best.assignment == best.front[0].assignment
    costs = [point.objectives["cost"][0] for point in best.front]
    waits = [point.objectives["wait"][0] for point in best.front]
    assert costs == sorted(costs)
    assert waits == sorted(waits, reverse=True)
    assert len(best.front) > 1


def cheap(x: dict[str, Any]) -> float:
    return 0.032 * float(x["cpu"])


def test_a_bounded_quantity_may_be_the_objective_too() -> None:
    optimizer = made(**CPU, objective="p95")
    optimizer.tell({"cpu": 2.0}, {"p95": (0.1, 0.01)})
    (outcome,) = optimizer._now().outcomes
    assert [r.constraint for r in outcome.canary.readings] == ["p95", "objective/p95"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"objective": ("a", "a")}, "a pair of two that differ"),
        ({"objective": ("a", "b", "c")}, "a pair of two that differ"),
        ({"objective": (cost, cheap)}, "at least one must be measured"),
        ({"objective": (cost, "cost")}, "rename the measured one"),
        ({"objective": "wait", "acquisition": "UCB"}, "use ConstrainedEI or NoisyEI"),
        ({"objective": (cost, "wait"), "acquisition": "NoisyEI"}, "use ConstrainedEI or HypervolumeEI"),
        ({"acquisition": "NoisyEI"}, "is for measured objectives"),
    ],
)
def test_objectives_that_make_no_sense_are_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        made(**changes)


def test_what_is_measured_must_be_known() -> None:
    with pytest.raises(ValueError, match=r"speed: not among the constraints and objectives \(p95, wait\)"):
        made(objective="wait").tell(BASELINE, {"speed": (1.0, 0.1)})


def test_counts_say_more_than_their_ratio_when_there_are_few() -> None:
    """No bad one of 60 does not show that a bound of 2 % holds (3 / 60 could be); none of 6,000 does."""
    forecasts = []
    for total in (60, 6000):
        optimizer = made()
        for _ in range(2):
            optimizer.tell(BASELINE, {"p95": Counts(0, total)})
        forecasts.append(optimizer.predict(BASELINE)["p95"])
    few, many = forecasts
    assert many.median < few.median
    with pytest.raises(ValueError, match="0 <= bad <= total"):
        made().tell(BASELINE, {"p95": Counts(5, 4)})
    with pytest.raises(ValueError, match="overdispersion >= 1"):
        made().tell(BASELINE, {"p95": Counts(1, 4, 0.5)})


def test_it_says_what_it_expects_once_the_baseline_was_measured() -> None:
    optimizer = made(peak_load=20.0)
    assert optimizer.predict(BASELINE) == {}
    for load in (10.0, 20.0):
        optimizer.tell(BASELINE, {"p95": (0.01 * load, 0.001)}, context={"load": load})
    low, high = (optimizer.predict(BASELINE, load=load)["p95"] for load in (10.0, 20.0))
    assert low.median == pytest.approx(0.1 / 0.3, rel=0.1)
    assert high.median == pytest.approx(0.2 / 0.3, rel=0.1)
    assert optimizer.predict(BASELINE)["p95"] == high  # the peak
    far = optimizer.predict({"cpu": 0.5, "memory": 0.5})["p95"]
    assert far.sd > 2 * high.sd
    assert far.between == high.between > 0
    with pytest.raises(ValueError, match="load"):
        optimizer.predict(BASELINE, load=-1.0)


def test_what_is_tried_need_only_be_safe_at_the_load_that_is_expected() -> None:
    """After the same history: for a quiet night a bolder suggestion than for the peak."""

    def asked(expected: dict[str, float] | None) -> Suggestion:
        optimizer = made(peak_load=100.0, initial=4)
        for cpu, value in ((2.0, 0.1), (2.0, 0.1), (1.6, 0.12), (1.3, 0.145), (1.1, 0.17)):
            at = {"cpu": cpu, "memory": 2.0}
            optimizer.tell(at, {"p95": (value, SE * value)}, context={"load": 50.0})
        (found,) = optimizer.ask(context=expected)
        return found

    careful, bold = asked(None), asked({"load": 50.0})
    assert cost(bold.assignment) < cost(careful.assignment)
    assert bold.safety_probability is not None
    assert bold.safety_probability > 0.95
    with pytest.raises(ValueError, match="is not above 0"):
        asked({"load": -1.0})


def test_what_only_a_night_saw_is_not_recommended_for_the_day() -> None:
    """The same two readings of one assignment, at the peak's load and at half of it: raised by two per octave only the
    first ones leave room below the bound."""

    def recommended(load: float) -> bool:
        optimizer = made(peak_load=100.0)
        for cpu, value, seen in ((2.0, 0.04, 100.0), (2.0, 0.04, 50.0), (1.5, 0.05, load), (1.5, 0.05, load)):
            reading = (value, SE * value)
            optimizer.tell({"cpu": cpu, "memory": 2.0}, {"p95": reading}, context={"load": seen})
        return optimizer.recommend() is not None

    assert recommended(100.0)
    assert recommended(60.0)  # 2 x 0.74 octaves: 0.05 stands for 0.22
    assert not recommended(25.0)  # for 2.7


def test_after_a_release_the_baseline_is_measured_anew_and_nothing_is_known_to_be_safe() -> None:
    optimizer = made(initial=4)
    tried = played(optimizer, 12)
    assert min(float(x["cpu"]) for x in tried) < 1.0
    assert optimizer.recommend() is not None
    optimizer.released()
    assert optimizer.recommend() is None
    after = played(optimizer, 4)
    assert after[:2] == [BASELINE, BASELINE]
    lowest = math.floor(0.7 * BASELINE["cpu"] / 0.05) * 0.05 - 0.051  # one step limit below the baseline
    assert all(float(x["cpu"]) > lowest for x in after[2:3])
    assert [s.number for s in optimizer.ask()] == [16]


def test_a_suggestion_that_was_given_up_waits_no_more_and_teaches_nothing() -> None:
    optimizer = made()
    first, second = optimizer.ask(2)
    assert optimizer.ask() == []
    optimizer.forget(first)
    (again,) = optimizer.ask()
    assert (again.assignment, again.purpose, again.number) == (BASELINE, "Baseline", 1)
    for each in (second, again):
        optimizer.tell(each, {"p95": (p95(each.assignment), 0.002)})
    asked = optimizer.ask(3)
    optimizer.forget(dict(asked[1].assignment))
    assert len(optimizer._now().outcomes) == 2
    assert [dict(x) for x in optimizer._now().pending] == [
        {name: pytest.approx(Decimal(str(v))) for name, v in each.assignment.items()} for each in (asked[0], asked[2])
    ]
    for gone in (asked[1], second, {"cpu": 0.5, "memory": 0.5}):
        with pytest.raises(ValueError, match="forget: nothing waits for cpu="):
            optimizer.forget(gone)
    with pytest.raises(TypeError, match="assignment: give a dict of values by name, not None"):
        optimizer.forget(None)  # type: ignore[arg-type]


def test_a_suggestion_says_whether_a_model_made_it() -> None:
    optimizer, by_model = made(), []
    for _ in range(8):
        (asked,) = optimizer.ask()
        by_model.append(asked.by_model)
        assert asked.fallback == ""
        optimizer.tell(asked, {"p95": (p95(asked.assignment), 0.002)})
    assert by_model == [False] * 5 + [True] * 3


def test_a_model_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ArithmeticError("no such number")

    optimizer = made()
    played(optimizer, 6)
    monkeypatch.setattr(designer, "believe", broken)
    (asked,) = optimizer.ask()
    assert not asked.by_model
    assert asked.fallback == "the optimizer failed: ArithmeticError: no such number"
    told = optimizer.diagnostics
    assert told is not None
    assert (told.fallback, told.fit_seconds) == (asked.fallback, None)


def test_the_health_of_the_model_is_shown() -> None:
    optimizer = made()
    assert optimizer.diagnostics is None
    played(optimizer, 9)
    (asked,) = optimizer.ask()
    told = optimizer.diagnostics
    assert told is not None
    assert (told.outcomes, told.fallback, told.undefined) == (9, "", "")
    assert told.verified_points >= 2
    assert told.safe_points > 0
    assert 1.0 <= told.kappa <= 2.0
    assert told.coverage is not None
    assert set(told.lengthscales) == {"p95"}
    assert set(told.lengthscales["p95"]) == {"cpu", "memory"}
    assert told.fit_seconds is not None
    assert told.fit_seconds > 0
    other = made()
    played(other, 9)
    assert other.ask()[0].assignment == asked.assignment
    assert other.diagnostics is not None
    assert other.diagnostics.digest == told.digest != ""


def test_an_objective_without_a_value_somewhere_is_told() -> None:
    optimizer = made(**CPU, objective=lambda x: x["cpu"] if x["cpu"] >= 1.5 else math.log(-1))
    for _ in range(12):
        for each in optimizer.ask():
            assert float(each.assignment["cpu"]) >= 1.5
            optimizer.tell(each, {"p95": (0.1 + 0.1 / float(each.assignment["cpu"]), 0.002)})
    assert optimizer.diagnostics is not None
    assert optimizer.diagnostics.undefined.startswith("the objective raised ValueError")


def test_what_was_told_again_goes_on_as_before() -> None:
    """How to keep a search over a restart: what was suggested and told, with its times, as JSON."""
    first, second, rows = made(), made(), []
    for number in range(7):
        (asked,) = first.ask()
        told: dict[str, Any] = {"measurements": {"p95": (p95(asked.assignment), 0.002)}, "at": 1.8e9 + 900.0 * number}
        rows.append(json.dumps([asdict(asked), told]))
        first.tell(asked, **told)
    for suggestion, told in map(json.loads, rows):
        second.tell(Suggestion(**suggestion), **told)
    assert [t.purpose for t in second._now().outcomes].count(Purpose.INITIAL) == 3
    assert first.ask() == second.ask()


def test_a_baseline_that_breaks_a_bound_can_be_repaired() -> None:
    """From what is too small to what holds: every trial has at least as much of everything."""
    start = {"cpu": 0.5, "memory": 1.0}
    refusing = made(baseline=start)
    played(refusing, 10)
    assert "the baseline itself stands at" in refusing.stopped
    optimizer = made(baseline=start, infeasible_baseline="Repair")
    tried = played(optimizer, 12)
    first = next(x for x in tried if p95(x) <= 0.3)
    for each in tried[: tried.index(first) + 1]:
        assert all(float(each[name]) >= least for name, least in start.items())
    found = optimizer.recommend()
    assert found is not None
    assert p95(found.assignment) <= 0.3
    assert found.saving < 0
