"""What the library is given: refused at once, by name and with what would do, and never half taken."""

from __future__ import annotations

import inspect
import math
import traceback
from collections.abc import Callable
from dataclasses import fields
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from trimtab.domain.space import MAX_GRID
from trimtab.optimize import Bound, Choices, Counts, Optimizer, Order, Range, Ratio, Sum
from trimtab.optimize.library_inputs import Acquisition
from trimtab.optimize.scores import SCORES

NAN, INF = math.nan, math.inf
KIND, VALUE = TypeError, ValueError
CPU = Range(0.25, 2.0, step=0.05, scale="Log", safer="Higher")
MEMORY = Range(1.0, 4.0, step=0.5, safer="Higher")
P95 = Bound(max=0.3, kind="Latency")


def made(**changes: Any) -> Optimizer:
    given: dict[str, Any] = {
        "space": {"cpu": CPU, "memory": MEMORY},
        "objective": lambda x: 0.03 * x["cpu"] + 0.004 * x["memory"],
        "constraints": {"p95": P95},
        "baseline": {"cpu": 2.0, "memory": 4.0},
        **changes,
    }
    return Optimizer(**given)


def cpu(**changes: Any) -> dict[str, Any]:
    """A space whose CPU is given otherwise."""
    given = {"low": 0.25, "high": 2.0, "step": 0.05, **changes}
    return {"space": {"cpu": Range(**given), "memory": MEMORY}}


def gc(values: Any, **changes: Any) -> dict[str, Any]:
    space = {"cpu": CPU, "memory": MEMORY, "gc": Choices(values, **changes)}
    return {"space": space, "baseline": {"cpu": 2.0, "memory": 4.0, "gc": "a"}}


def threads(when: Any) -> dict[str, Any]:
    space = {"gc": Choices(("a", "b")), "threads": Range(1, 4, step=1, when=when)}
    return {"space": space, "baseline": {"gc": "a", "threads": 1}, "objective": lambda _: 1.0}


def pool(*terms: Any, most: Any = 7.0) -> dict[str, Any]:
    return {"rules": [Sum("pool", terms, most)]}


ONE, TWO = ("cpu", 1.0), ("memory", 1.0)
REFUSED: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    # Shapes.
    "space: a list": ({"space": [CPU]}, KIND, "space: give a dict of Range and Choices by name, not [Range("),
    "space: numbers": ({"space": {1: CPU}}, KIND, "space: give a dict of Range and Choices by name"),
    "space: a pair": ({"space": {"cpu": (0.25, 2)}}, KIND, "cpu: give a Range or Choices, not (0.25, 2)"),
    "constraints: a list": ({"constraints": [P95]}, KIND, "constraints: give a dict of bounds by name"),
    "constraints: a number": ({"constraints": {"p95": 0.3}}, KIND, "p95: give a Bound like Bound(max=0.3), not"),
    "constraints: none": ({"constraints": {}}, VALUE, "constraints: give at least one Bound"),
    "baseline: a list": ({"baseline": [2.0, 4.0]}, KIND, "baseline: give a dict of values by name, not [2.0, 4.0]"),
    "baseline: a text": ({"baseline": {"cpu": "2", "memory": 4.0}}, KIND, "cpu: '2' is not a number"),
    "baseline: a truth": ({"baseline": {"cpu": True, "memory": 4.0}}, KIND, "cpu: True is not a number"),
    "objective: a number": ({"objective": 5}, KIND, "objective: give a function of an assignment, the name of a"),
    "objective: a list": ({"objective": ["p95"]}, KIND, "a tuple of two of these, not ['p95']"),
    "objective: a number in a pair": ({"objective": ("p95", 5)}, KIND, "a tuple of two of these, not 5"),
    "rules: one": ({"rules": Order("o", "cpu", "memory")}, KIND, "rules: give a list of Order, Sum and Ratio, not"),
    "rules: a text": ({"rules": ["x"]}, KIND, "rules: 'x' is no Order, Sum or Ratio"),
    "rules: no terms": (pool("cpu"), KIND, 'rules: pool: give terms like (("a", 1.0), ("b", 1.0)), not'),
    "rules: a term of one": (pool(("cpu",)), KIND, "rules: pool: give terms like"),
    "floors: a list": ({"floors": [1.0]}, KIND, "floors: give a dict of least values by name, not [1.0]"),
    "choices: letters": (gc("abc"), KIND, "gc: choices: give a tuple of values, not 'abc'"),
    "choices: a list in them": (gc((["a"], "b")), KIND, "gc: the choice ['a'] is no text, number, True or False"),
    "choices: none": (gc(()), VALUE, "gc: choices must be given, each once; these are none"),
    "choices: alike": (gc((1, "1")), VALUE, "gc: choices must be given, each once; these are 1, 1"),
    "when: a text": (threads("gc"), KIND, 'threads: when: give a pair like ("gc", ["parallel"]), not \'gc\''),
    "when: letters": (threads(("gc", "b")), KIND, "threads: when: give a pair like"),
    "when: three": (threads(("gc", ["b"], 1)), KIND, "threads: when: give a pair like"),
    "safe": ({"safe": None}, KIND, "safe: give True or False, not None"),
    # Names of choices.
    "acquisition": ({"acquisition": "EI"}, VALUE, "acquisition: 'EI' is none of ConstrainedEI, UCB, PI, Thompson"),
    "scale": (cpu(scale="log"), VALUE, "cpu: scale: 'log' is none of Linear, Log, Logit; write 'Log'"),
    "safer": (cpu(safer="up"), VALUE, "cpu: safer: 'up' is none of Higher, Lower, Unknown"),
    "kind": ({"constraints": {"p95": Bound(max=1, kind="latency")}}, VALUE, "p95: kind: 'latency' is none of"),  # type: ignore[arg-type]
    "infeasible_baseline": ({"infeasible_baseline": "repair"}, VALUE, "is none of Refuse, Repair; write 'Repair'"),
    "repair without safety": ({"infeasible_baseline": "Repair", "safe": False}, VALUE, "Repair needs safe=True"),
    # Numbers.
    "low": (cpu(low="a"), KIND, "cpu: low: 'a' is not a number"),
    "high": (cpu(high=INF), VALUE, "cpu: high: inf is not a finite number"),
    "step": (cpu(step=0), VALUE, "cpu: step: 0 is not above 0"),
    "steps": (cpu(step=1.7e-4), VALUE, "cpu: step 0.00017 divides the range into more than 10000"),
    "percent": (cpu(high=120, scale="Logit"), VALUE, "cpu: a Logit scale is for percentages from 0 to 100"),
    "max_decrease: percent": (cpu(max_decrease=30), VALUE, "max_decrease: 30 is not above 0 and at most 1; it is"),
    "max_decrease: nan": (cpu(max_decrease=NAN), VALUE, "cpu: max_decrease: nan is not a finite number"),
    "max_decrease: negative": (cpu(max_decrease=-1), VALUE, "cpu: max_decrease: -1 is not above 0"),
    "max_increase: percent": (cpu(max_increase=50), VALUE, "cpu: max_increase: 50 is not above 0 and at most 10"),
    "max": ({"constraints": {"p95": Bound(max=NAN)}}, VALUE, "p95: max: nan is not a finite number"),
    "min": ({"constraints": {"p95": Bound(min="a")}}, KIND, "p95: min: 'a' is not a number"),  # type: ignore[arg-type]
    "peak_load: nan": ({"peak_load": NAN}, VALUE, "peak_load: nan is not a finite number"),
    "peak_load: negative": ({"peak_load": -1}, VALUE, "peak_load: -1 is not above 0"),
    "peak_load: infinite": ({"peak_load": INF}, VALUE, "peak_load: inf is not a finite number"),
    "min_improvement: nan": ({"min_improvement": NAN}, VALUE, "min_improvement: nan is not a finite number"),
    "min_improvement: percent": ({"min_improvement": 1}, VALUE, "at least 0 and below 1; it is a fraction"),
    "max_trials: nan": ({"max_trials": NAN}, KIND, "max_trials: nan is not a whole number"),
    "max_trials: none": ({"max_trials": 0}, VALUE, "max_trials: 0 is not at least 1"),
    "patience": ({"patience": -1}, VALUE, "patience: -1 is not at least 1"),
    "initial: 0": ({"initial": 0}, VALUE, "initial: 0 is not at least 2"),
    "initial: negative": ({"initial": -3}, VALUE, "initial: -3 is not at least 2"),
    "seed: a text": ({"seed": "a"}, KIND, "seed: 'a' is not a whole number"),
    "seed: negative": ({"seed": -1}, VALUE, "seed: -1 is not at least 0"),
    "probability: percent": ({"probability": 95}, VALUE, "probability: 95 is not above 0.5 and below 1; 0.95 is"),
    # The objective where the search starts.
    "objective: nan": ({"objective": lambda _: NAN}, VALUE, "objective: it is nan at the baseline; it must be"),
    "objective: none": ({"objective": lambda _: None}, VALUE, "objective: it is None at the baseline"),
    "objective: zero": ({"objective": lambda _: 0.0}, VALUE, "objective: it is 0.0 at the baseline"),
    "objective: raises": ({"objective": lambda x: x["cpus"]}, VALUE, "it raised KeyError: 'cpus' at the baseline"),
    # Rules and floors.
    "sum: nan": (pool(("cpu", NAN)), VALUE, "rules: pool: the weight of cpu: nan is not a finite number"),
    "sum: no maximum": (pool(ONE, most=NAN), VALUE, "rules: pool: maximum: nan is not a finite number"),
    "sum: nowhere": (pool(ONE, TWO, most=1.0), VALUE, "pool holds nowhere in this space: its sum is at least 1.25"),
    "order: nowhere": (
        {"rules": [Order("o", "memory", "cpu")], "floors": {"memory": 3.0}}, VALUE,
        "rules: o holds nowhere in this space: memory is at least 3, cpu at most 2",
    ),
    "ratio: nowhere": (
        {"rules": [Ratio("r", "memory", "cpu", 0.4)]}, VALUE,
        "rules: r holds nowhere in this space: memory is at least 1, 0.4 x cpu at most 0.8",
    ),
    "order: broken": ({"rules": [Order("o", "memory", "cpu")]}, VALUE, "o is broken by the baseline (cpu=2 memory=4)"),
    "sums that contradict": (
        {"rules": [Sum("least", (("cpu", -1.0),), -1.5), Sum("most", (ONE,), 1.0)]}, VALUE, "rules: most is broken by",
    ),
    "floor: unknown": ({"floors": {"disk": 1.0}}, VALUE, "floors: disk is no numeric parameter of this space"),
    "floor: nan": ({"floors": {"memory": NAN}}, VALUE, "floors: memory: nan is not a finite number"),
    "floor: above": ({"floors": {"memory": 9}}, VALUE, "floors: memory: 9 is not at most 4; the values of"),
}  # fmt: skip


@pytest.mark.parametrize("row", REFUSED)
def test_what_makes_no_sense_is_refused_at_once(row: str) -> None:
    changes, kind, words = REFUSED[row]
    with pytest.raises(kind) as refused:
        made(**changes)
    assert type(refused.value) is kind
    assert words in str(refused.value)


def test_the_acquisition_functions_are_those_that_there_are() -> None:
    assert set(get_args(Acquisition)) == set(SCORES)


def test_the_grid_has_the_limit_of_the_api() -> None:
    whole = made(**cpu(low=1.0, high=3.0, step=2.0 / MAX_GRID))
    assert whole._now().space["cpu"].domain.count == MAX_GRID + 1
    with pytest.raises(ValueError, match="divides the range into more than 10000"):
        made(**cpu(low=1.0, high=3.0, step=1.99 / MAX_GRID))


TOLD: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    **{
        f"measurement: {each!r}": ({"measurements": {"p95": each}}, KIND, "p95: give (value, standard error) in")
        for each in (None, "x", 0.1, (0.1,), (0.1, 0.1, 0.1), (None, 0.1), ("a", "b"), (True, 0.1))
    },
    "measurement: negative": ({"measurements": {"p95": (-1, 0.1)}}, VALUE, "p95: (-1.0, 0.1) is not a value >= 0"),
    "measurements: a list": ({"measurements": [1]}, KIND, "measurements: give a dict of (value, standard error)"),
    "measurements: none": ({"measurements": {}}, VALUE, "measurements: give at least one, or a failure"),
    "counts": ({"measurements": {"p95": Counts("1", 4)}}, KIND, "has what is not a number"),  # type: ignore[arg-type]
    "control: a list": ({"control": [1]}, KIND, "control: give a dict of (value, standard error) by name, not [1]"),
    "control: none": ({"control": {"p95": None}}, KIND, "p95: give (value, standard error) in numbers"),
    "context: a text": ({"context": {"load": "x"}}, KIND, "context: load: 'x' is not a number"),
    "context: a number": ({"context": 5}, KIND, "context: give a dict of a load by name, not 5"),
    "context: unknown": ({"context": {"rate": 5}}, VALUE, "context: 'rate' is not known; give load"),
    "failure": ({"failure": "Boom"}, VALUE, "failure: 'Boom' is none of OOMKilled, CrashLoop, ReadinessLost"),
    "at: nan": ({"at": NAN}, VALUE, "at: nan is not a finite number"),
    "at: infinite": ({"at": INF}, VALUE, "at: inf is not a finite number"),
    "at: a text": ({"at": "now"}, KIND, "at: 'now' is not a number"),
    "tried: nothing": ({"tried": None}, KIND, "assignment: give a dict of values by name, not None"),
    "tried: infinite": ({"tried": {"cpu": INF, "memory": 1}}, VALUE, "cpu: inf is not a finite number"),
    "tried: without an objective": ({"tried": {"cpu": 0.9, "memory": 1}}, VALUE, "objective: it raised ValueError"),
}  # fmt: skip


def priced(x: dict[str, Any]) -> float:
    if x["cpu"] < 1.0:
        raise ValueError("no price")
    return float(x["cpu"])


@pytest.mark.parametrize("row", TOLD)
def test_nothing_is_learned_from_what_is_refused(row: str) -> None:
    changes, kind, words = TOLD[row]
    optimizer = made(objective=priced)
    waiting, _ = optimizer.ask(2)
    before = optimizer._now()
    with pytest.raises(kind) as refused:
        optimizer.tell(**{"tried": waiting, "measurements": {"p95": (0.1, 0.01)}, **changes})
    assert words in str(refused.value)
    assert optimizer._now() == before
    assert optimizer.ask() == []  # the baseline still waits


@pytest.mark.parametrize(("n", "kind"), [(1.5, TypeError), ("2", TypeError), (True, TypeError), (-1, ValueError)])
def test_a_number_of_suggestions_is_whole(n: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="n: "):
        made().ask(n)


def test_values_come_back_as_they_were_given() -> None:
    space = {
        "threads": Range(1, 16, step=1), "share": Range(0, 1, step=0.5), "size": Choices((1, 2.5, "large")),
        "cache": Choices((True, False)), "depth": Range(np.int64(1), np.int64(4), step=np.int64(1)),
    }  # fmt: skip
    seen: list[dict[str, Any]] = []
    baseline = {"threads": 4, "share": 0.5, "size": 2.5, "cache": True, "depth": 2}

    def cost(x: dict[str, Any]) -> float:
        seen.append(x)
        return float(x["threads"])

    optimizer = Optimizer(space, cost, {"p95": P95}, baseline, safe=False, seed=1)
    for _ in range(6):
        for each in optimizer.ask():
            optimizer.tell(each, {"p95": (0.1, 0.0)})
            seen.append(each.assignment)
    assert len({repr(x) for x in seen}) > 5
    for x in seen:
        assert (type(x["threads"]), type(x["share"]), type(x["depth"])) == (int, float, int)
        assert x["size"] in (1, 2.5, "large")
        assert type(x["cache"]) is bool
    optimizer.tell({**baseline, "threads": 2.5}, {"p95": (0.1, 0.0)})
    assert seen[-1]["threads"] == 2.5  # between two values of the grid
    with pytest.raises(ValueError, match=r"size: True is none of 1, 2\.5, large"):
        optimizer.tell({**baseline, "size": True}, {"p95": (0.1, 0.0)})


def test_a_condition_names_values_as_they_were_given() -> None:
    space = {"pools": Choices((1, 2)), "second": Range(1, 4, step=1, when=("pools", [2]))}
    optimizer = Optimizer(space, lambda x: float(x["pools"]), {"p95": P95}, {"pools": 2, "second": 4}, safe=False)
    optimizer.tell({"pools": 1}, {"p95": (0.1, 0.0)})
    (outcome,) = optimizer._now().outcomes
    assert outcome.canary.assignment["second"] == Decimal(4)


JUNK: tuple[Any, ...] = (
    None, True, -1, 0, 3, 10**400, NAN, -INF, 1e308, 5e-324, "x", b"x", (), ("a", "b"), ["a"], {}, {"a": 1}, {1: 2}, 1j,
    object(), len, np.asarray([1, 2]), np.float32(0.5), Decimal("0.3"), Fraction(1, 3), CPU, P95, Sum("s", (ONE,), 5.0),
)  # fmt: skip
CHOSEN = {"space": {"cpu": CPU, "gc": Choices(("a", "b"))}, "baseline": {"cpu": 2.0, "gc": "a"}}
PLACES: dict[str, Callable[[Any], Optimizer]] = {
    **{
        name: lambda junk, name=name: made(**{name: junk})  # type: ignore[misc]
        for name in inspect.signature(Optimizer).parameters
    },
    **{f"Range.{f.name}": lambda junk, name=f.name: made(**cpu(**{name: junk})) for f in fields(Range)},  # type: ignore[misc]
    "Choices.values": lambda junk: made(**gc(junk)),
    "Choices.values[1]": lambda junk: made(**gc(("a", junk))),
    "baseline[gc]": lambda junk: made(**{**CHOSEN, "baseline": {"cpu": 2.0, "gc": junk}}),
    **{
        f"Bound.{name}": lambda junk, name=name: made(constraints={"p95": Bound(**{"max": 1.0, name: junk})})  # type: ignore[misc]
        for name in ("max", "min", "kind")
    },
    "Sum.terms": lambda junk: made(rules=[Sum("s", junk, 7.0)]),
    "Sum.maximum": lambda junk: made(**pool(ONE, most=junk)),
    "Sum.weight": lambda junk: made(**pool(("cpu", junk))),
    "Ratio.maximum": lambda junk: made(rules=[Ratio("r", "cpu", "memory", junk)]),
    "Order.lower": lambda junk: made(rules=[Order("o", junk, "memory")]),
    "floors[cpu]": lambda junk: made(floors={"cpu": junk}),
    "objective's value": lambda junk: made(objective=lambda _: junk),
    "objective's value elsewhere": lambda junk: made(objective=lambda x: 2.0 if x["cpu"] == 2.0 else junk),
    **{
        f"tell.{name}": lambda junk, name=name: told(**{name: junk})  # type: ignore[misc]
        for name in ("tried", "measurements", "failure", "context", "control", "at")
    },
    "measurements[p95]": lambda junk: told(measurements={"p95": junk}),
    "a standard error": lambda junk: told(measurements={"p95": (0.1, junk)}),
    "Counts.total": lambda junk: told(measurements={"p95": Counts(1, junk)}),
    "load": lambda junk: told(context={"load": junk}),
}


def told(**changes: Any) -> Optimizer:
    optimizer = made()
    optimizer.tell(**{"tried": {"cpu": 1.0, "memory": 4.0}, "measurements": {"p95": (0.1, 0.01)}, **changes})
    return optimizer


@pytest.mark.parametrize("place", PLACES)
def test_whatever_is_given_is_refused_by_the_library_itself_or_taken(place: str) -> None:
    """Every kind of thing in every place: no exception from further down, and none once it was taken."""
    for junk in JUNK:
        try:
            optimizer = PLACES[place](junk)
        except (TypeError, ValueError) as refused:
            *_, last = traceback.extract_tb(refused.__traceback__)
            assert Path(last.filename).name.startswith("library"), (place, junk, refused)  # noqa: PT017
            assert ": " in str(refused), (place, junk, refused)  # noqa: PT017
        else:
            assert optimizer.ask() or optimizer.stopped
            assert "failed" not in optimizer.stopped


def test_a_range_of_one_value_is_held() -> None:
    optimizer = made(space={"cpu": CPU, "memory": Range(4.0, 4.0, step=0.5)})
    for _ in range(5):
        for each in optimizer.ask():
            assert each.assignment["memory"] == 4.0
            optimizer.tell(each, {"p95": (0.1 + 0.1 / float(each.assignment["cpu"]), 0.002)})
    assert {float(t.canary.assignment.number("cpu")) for t in optimizer._now().outcomes} - {2.0}


def test_a_sum_below_zero_may_be_met_exactly() -> None:
    least = Sum("least", (("cpu", -1.0), ("memory", -1.0)), -6.0)
    optimizer = made(rules=[least])
    assert [each.assignment for each in optimizer.ask(2)] == [{"cpu": 2.0, "memory": 4.0}] * 2


def test_rules_hold_for_what_an_inactive_parameter_has() -> None:
    """While `threads` is not active it is the baseline's 8, which lies outside its range."""
    space = {"gc": Choices(("a", "b")), "threads": Range(1, 4, step=1, when=("gc", ["b"])), "cpu": Range(1, 8, step=1)}
    rule = Sum("busy", (("threads", -1.0),), -6.0)
    baseline = {"gc": "a", "threads": 8, "cpu": 8}
    assert Optimizer(space, lambda x: x["cpu"], {"p95": P95}, baseline, rules=[rule]).ask()
