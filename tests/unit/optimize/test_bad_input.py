"""Whatever it is given, the optimizer answers with a type: nothing is raised out of the Designer port or the library.

Rows of the promise: NaN, infinite or missing measurements, duplicate points, constant outputs, an empty safe set, an
infeasible baseline, contradictory sum constraints, a grid of one point. `test_designer.py` has one example of each;
here they meet every shape of study: many parameters, conditional ones, bounds relative to the control.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.unit.optimize import test_conditional as conditional
from tests.unit.optimize.chain import Chain, chain_study
from tests.unit.optimize.test_acquisition import history
from tests.unit.optimize.toy import ERRORS, SLOW, play, search

from trimtab.domain.measurement import Sample
from trimtab.domain.space import Assignment, Numeric, SearchSpace, Sum
from trimtab.domain.spec import SliKind
from trimtab.domain.study import (
    ArmOutcome,
    ConstraintReading,
    ConstraintTarget,
    FailureKind,
    HardFailure,
    Hold,
    HoldReason,
    NoAnswer,
    Recommended,
    Study,
    TrialOutcome,
)
from trimtab.domain.trial import Suggestion
from trimtab.optimize import Bound, Choices, Optimizer, Range, designer
from trimtab.optimize.designer import recommend, suggest


def small() -> Study:
    return history(7)


def wide() -> Study:
    """Ten parameters: groups."""
    study = chain_study(5, max_trials=30)
    return play(study, Chain(containers=5), lambda s: suggest(s, lambda: 0.0), recommend, 6).study


def switched() -> Study:
    """Conditional parameters."""
    at = conditional.at
    return conditional.study(
        *conditional.BEFORE, at("2.4", "a", "serial", 2), at("3", "b", "parallel", 3), at("2", "b", "parallel", 2)
    )


def beside() -> Study:
    """Bounds relative to the control."""
    study = history(7)
    more = ConstraintTarget("slow", SliKind.LATENCY, 1.0, relative_increase=0.02)
    return replace(study, constraints=(more, replace(ERRORS, relative_margin=0.5)))


SHAPES: dict[str, Study] = {}


def shape(name: str) -> Study:
    made: dict[str, Callable[[], Study]] = {"small": small, "wide": wide, "switched": switched, "beside": beside}
    if name not in SHAPES:
        study = made[name]()
        SHAPES[name] = replace(study, index=len(study.outcomes))
    return SHAPES[name]


def each_arm(study: Study, change: Callable[[ArmOutcome], ArmOutcome], last: int = 1000) -> Study:
    """The last trials with both arms changed."""
    begin = max(0, len(study.outcomes) - last)
    trials = tuple(
        replace(t, canary=change(t.canary), control=None if t.control is None else change(t.control))
        for t in study.outcomes[begin:]
    )
    return replace(study, outcomes=(*study.outcomes[:begin], *trials))


def reading(sample: Sample) -> Callable[[ArmOutcome], ArmOutcome]:
    found = tuple(ConstraintReading(name, sample) for name in ("slow", "errors"))
    return lambda arm: replace(arm, readings=found)


def contradictory(study: Study) -> Study:
    """Two sums that no assignment keeps: at most a tenth of the least sum, and its negative."""
    terms = tuple((p.name, 1.0) for p in study.space.parameters if isinstance(p.domain, Numeric))
    least = sum(
        study.space.human(p.name, p.domain.minimum) for p in study.space.parameters if isinstance(p.domain, Numeric)
    )
    rules = (Sum("above", tuple((n, -w) for n, w in terms), -least), Sum("below", terms, 0.1 * least))
    return replace(study, space=SearchSpace(study.space.parameters, rules))


def one_point(study: Study) -> Study:
    parameters = tuple(
        replace(
            p,
            when=None,
            domain=replace(p.domain, maximum=p.domain.minimum)
            if isinstance(p.domain, Numeric)
            else replace(p.domain, values=p.domain.values[:1]),
        )
        for p in study.space.parameters
    )
    baseline = Assignment(
        tuple((p.name, p.domain.minimum if isinstance(p.domain, Numeric) else p.domain.values[0]) for p in parameters)
    )
    return replace(study, space=SearchSpace(parameters), baseline=baseline, outcomes=(), index=0)


NAN, INF = Sample(math.nan, math.nan, math.nan, math.nan), Sample(math.inf, math.inf, math.inf, math.inf)
WORST = Sample(0.5, 0.008, 4000, 2000)
ROWS: dict[str, Callable[[Study], Study]] = {
    "nan": lambda s: each_arm(s, reading(NAN)),
    "nan at the end": lambda s: each_arm(s, reading(NAN), 3),
    "infinite": lambda s: each_arm(s, reading(INF)),
    "infinite at the end": lambda s: each_arm(s, reading(INF), 3),
    "missing": lambda s: each_arm(s, lambda arm: replace(arm, readings=())),
    "missing at the end": lambda s: each_arm(s, lambda arm: replace(arm, readings=()), 3),
    "duplicate points": lambda s: replace(s, outcomes=(s.outcomes[:3] * 2 + s.outcomes[-1:] * 9)),
    "constant outputs": lambda s: each_arm(s, reading(Sample(0.001, 0.0005, 4000, 4))),
    "constant at zero": lambda s: each_arm(s, reading(Sample(0.0, 0.0, 4000, 0))),
    "empty safe set": lambda s: replace(s, peak_load=1e7),
    "infeasible baseline": lambda s: each_arm(s, reading(WORST)),
    "contradictory sums": contradictory,
    "a grid of one point": one_point,
}
HOLDS = {
    "contradictory sums": HoldReason.SPACE_EXHAUSTED,
    "a grid of one point": HoldReason.SPACE_EXHAUSTED,
    "infeasible baseline": HoldReason.BASELINE_INFEASIBLE,
}
NAMES = ("small", "wide", "switched", "beside")


def typed(study: Study) -> Suggestion | Hold | NoAnswer:
    """The answers to a study, looked at: in form, in numbers, and in what is forbidden whatever else holds."""
    proposal, recommended = suggest(study, lambda: 0.0), recommend(study)
    answer = proposal.answer
    if isinstance(answer, Suggestion):
        assert tuple(answer.assignment) == study.space.names
        assert answer.assignment == study.baseline or study.space.violated(answer.assignment) is None
        assert all(math.isfinite(p.mean) and math.isfinite(p.sd) and p.sd >= 0 for p in answer.predictions)
        assert answer.safety_probability is None or 0 <= answer.safety_probability <= 1
    else:
        assert isinstance(answer, Hold | NoAnswer)
        assert answer.message
    assert isinstance(recommended, Recommended | NoAnswer)
    assert recommended.message
    if isinstance(recommended, Recommended):
        assert math.isfinite(recommended.saving)
        assert recommended.keep_baseline or study.space.violated(recommended.assignment) is None
    return answer


@pytest.fixture(autouse=True)
def _no_defect_is_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The port catches whatever a defect raises; here it would hide one."""

    def fail(_study: Study, why: str) -> Any:
        raise AssertionError(why)

    monkeypatch.setattr(designer.sobol, "without_model", fail)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("row", ROWS)
def test_every_row_has_a_typed_answer_in_every_shape_of_study(row: str, name: str) -> None:
    study = ROWS[row](shape(name))
    answer = typed(study)
    beside_its_control = name == "beside" and row == "infeasible baseline"  # both arms are bad alike
    if row in HOLDS and not beside_its_control:
        assert isinstance(answer, Hold), answer
        assert answer.reason is HOLDS[row]
    if "at the end" not in row and row in ("nan", "infinite", "missing"):
        # Nothing was ever read, so the baseline is measured again, or its attempts were enough.
        assert getattr(answer, "assignment", study.baseline) == study.baseline
    if row == "empty safe set" and isinstance(answer, Suggestion):
        assert answer.assignment in {t.canary.assignment for t in study.outcomes}


FAST = (Phase.explicit, Phase.reuse, Phase.generate)  # a study takes too long to be shortened
numbers = st.one_of(
    st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0, -1.0, 1e-300, 5e-324, 1e300, 1.0]),
    st.floats(allow_nan=True, allow_infinity=True),
)
samples = st.builds(Sample, numbers, numbers, numbers, st.none() | numbers, numbers)
loads = st.none() | numbers


@pytest.mark.thorough
@settings(deadline=None, max_examples=40, phases=FAST, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["small", "switched", "beside"]), st.data())
def test_any_numbers_in_any_trials_have_a_typed_answer(name: str, data: st.DataObject) -> None:
    study = shape(name)
    trials = []
    for trial in study.outcomes:
        if not data.draw(st.booleans()):
            trials.append(trial)
            continue
        sample, load = data.draw(samples), data.draw(loads)
        arm = replace(reading(sample)(trial.canary), load=load)
        changed = replace(
            trial,
            canary=arm,
            control=data.draw(st.sampled_from([trial.control, None, arm])),
            finished=data.draw(st.sampled_from([trial.finished, math.nan, 0.0, 1e18])),
            truncated=data.draw(st.booleans()),
            learnable=data.draw(st.booleans()),
            failure=data.draw(st.sampled_from([None, HardFailure(FailureKind.CRASH, None)])),
        )
        trials.append(changed)
    answer = typed(replace(study, outcomes=tuple(trials), peak_load=data.draw(loads)))
    assert isinstance(answer, Suggestion | Hold)


def service() -> Optimizer:
    return Optimizer(
        {"cpu": Range(0.5, 4.0, step=0.25, scale="Log", safer="Higher"), "gc": Choices(("a", "b"))},
        lambda x: float(x["cpu"]),
        {"p95": Bound(max=0.3, kind="Latency")},
        {"cpu": 4.0, "gc": "a"},
        seed=1,
    )


def refused(optimizer: Optimizer, asked: Any, measured: tuple[float, float], load: float | None) -> str:
    """Why `tell` did not take it, "" when it did."""
    try:
        optimizer.tell(asked, {"p95": measured}, context=None if load is None else {"load": load})
    except ValueError as problem:
        return str(problem)
    return ""


@settings(deadline=None, max_examples=15, phases=FAST, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(numbers, numbers, st.none() | numbers), min_size=1, max_size=7))
def test_the_library_refuses_by_name_or_learns(told: list[tuple[float, float, float | None]]) -> None:
    """Never an exception but ValueError from `tell`, never one from `ask` or `recommend`."""
    optimizer = service()
    for value, error, load in told:
        asked = optimizer.ask()
        if not asked:
            assert optimizer.stopped
            break
        words = refused(optimizer, asked[0], (value, error), load)
        assert words.startswith(("p95: ", "context: ")) or not words
        if words:
            optimizer.tell(asked[0], {"p95": (0.2, 0.01)})
    optimizer.ask()
    optimizer.recommend()


LIBRARY: dict[str, tuple[dict[str, Any], float, str]] = {
    "duplicate points": ({}, 0.2, ""),
    "constant outputs": ({}, 0.1, ""),
    "infeasible baseline": ({}, 0.6, "the baseline itself stands at 2.00 x the bound of p95"),
    "empty safe set": ({"probability": 0.999999}, 0.299, ""),
    "rules that leave the baseline alone": (
        {"rules": [Sum("least", (("cpu", -1.0),), -4.0)]}, 0.2, "of the cost is left",
    ),
    "a grid of one point": (
        {"space": {"gc": Choices(("a",))}, "baseline": {"gc": "a"}, "objective": lambda _: 1.0}, 0.2, "has 1 points",
    ),
    "a range of one point": (
        {"space": {"cpu": Range(4.0, 4.0, step=0.25)}}, 0.2, "has 1 points",
    ),
    "a step beyond the range": (
        {"space": {"cpu": Range(4.0, 5.0, step=2.0)}}, 0.2, "has 1 points",
    ),
    "an objective that is NaN somewhere": (
        {"objective": lambda x: x["cpu"] if x["cpu"] >= 3.0 else math.nan}, 0.2, "; the objective is nan at cpu=2.75",
    ),
    "an objective that raises somewhere": (
        {"objective": lambda x: x["cpu"] if x["cpu"] >= 3.0 else 1 / 0}, 0.2, "; the objective raised ZeroDivision",
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", LIBRARY)
def test_every_row_through_the_library(row: str) -> None:
    changes, value, words = LIBRARY[row]
    made = {
        "space": {"cpu": Range(0.5, 4.0, step=0.25, scale="Log", safer="Higher")},
        "objective": lambda x: float(x["cpu"]),
        "constraints": {"p95": Bound(max=0.3, kind="Latency")},
        "baseline": {"cpu": 4.0},
        **changes,
    }
    optimizer = Optimizer(**made)
    for _ in range(12):
        for each in optimizer.ask():
            assert float(each.assignment.get("cpu", 4.0)) >= 3.0 or row in ("duplicate points", "constant outputs")
            optimizer.tell(each, {"p95": (value, 0.001)})
            if row == "duplicate points":
                optimizer.tell(each.assignment, {"p95": (value, 0.001)})
    optimizer.recommend()
    assert words in optimizer.stopped
    if words:
        assert optimizer.ask() == []


def test_rules_of_the_library_name_numeric_parameters() -> None:
    given_space = {"cpu": Range(0.5, 4.0, step=0.25), "gc": Choices(("a", "b"))}
    for rule in (Sum("pool", (("cpu", 1.0), ("gc", 1.0)), 2.0), Sum("pool", (("gc", 1.0), ("cpu", 1.0)), 2.0)):
        with pytest.raises(ValueError, match="rules: pool needs numeric parameters, gc is none"):
            Optimizer(given_space, lambda _: 1.0, {}, {"cpu": 1.0, "gc": "a"}, rules=[rule])


def test_a_rule_is_kept_by_all_that_is_asked() -> None:
    pool = Sum("pool", (("a", 1.0), ("b", 2.0)), 6.0)
    space = {n: Range(0.5, 4.0, step=0.25, safer="Higher") for n in ("a", "b")}
    optimizer = Optimizer(
        space, lambda x: 10.0 - float(x["a"]), {"p95": Bound(max=1.0)}, {"a": 1.0, "b": 2.0}, safe=False, rules=[pool]
    )
    for _ in range(9):
        for each in optimizer.ask():
            assert float(each.assignment["a"]) + 2 * float(each.assignment["b"]) <= 6.0 + 1e-9
            optimizer.tell(each, {"p95": (0.5, 0.01)})


def test_a_study_of_nothing() -> None:
    study = replace(history(2), outcomes=(), constraints=(), index=0)
    assert isinstance(typed(study), Suggestion)
    empty = TrialOutcome(0, history(2).outcomes[0].purpose, 0.0, ArmOutcome(study.baseline, None, ()), None)
    assert isinstance(typed(replace(study, constraints=(SLOW,), outcomes=(empty,), search=search())), Suggestion)
    assert Decimal(1) == study.space.parameters[0].parse("1")
