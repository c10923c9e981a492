"""Too many parameters: groups move by a common factor first, what is idle is held, and both are said."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from tests.unit.optimize.chain import CONTAINERS, Chain, best_found, chain_study
from tests.unit.optimize.toy import MI, Run, counts, play, search, web_study

from trimtab.domain.space import (
    Assignment,
    Categorical,
    Numeric,
    Parameter,
    PlainValue,
    Scale,
    SearchSpace,
    When,
    crowded,
)
from trimtab.domain.study import ArmOutcome, ConstraintReading, Study, SymptomKind, TrialOutcome
from trimtab.domain.trial import Purpose, Suggestion
from trimtab.optimize.designer import recommend, suggest
from trimtab.optimize.dimension import idle, told
from trimtab.optimize.encoding import Encoder, Grid
from trimtab.optimize.grouping import grouped, groups
from trimtab.optimize.readings import gather
from trimtab.optimize.safe import along_groups, believe, boxes, verified
from trimtab.optimize.steps import axis, below_floor, within_steps

TRIALS = 30


def still() -> float:
    return 0.0


def chain_run(containers: int, seed: int, trials: int = TRIALS) -> Run:
    study = chain_study(containers, seed, max_trials=trials)
    return play(study, Chain(containers=containers), lambda s: suggest(s, still), recommend, trials)


def plain(name: str, direction: int, low: str = "1", when: When | None = None) -> Parameter:
    return Parameter(
        name, PlainValue(direction), Numeric(Decimal(low), Decimal(9), Decimal(1), Scale.LINEAR), when=when
    )


def test_eight_parameters_stand_each_alone() -> None:
    assert groups(chain_study(4).space) == tuple(range(8))
    assert Encoder(chain_study(4).space).groups.tolist() == list(range(8))
    assert not grouped(chain_study(4))


def test_groups_are_by_resource_and_only_of_what_has_a_common_factor() -> None:
    assert groups(chain_study(5).space) == (0, 1) * 5
    assert Encoder(chain_study(5).space).groups.tolist() == [0, 1] * 5
    kind = Parameter("kind", PlainValue(), Categorical(("a", "b")))
    mixed = SearchSpace((
        plain("up", 1), plain("down", -1), plain("free", 0), plain("up2", 1), kind,
        plain("zero", 1, "0"), plain("some", 1, when=When("kind", ("a",))), plain("down2", -1), plain("up3", 1),
    ))  # fmt: skip
    assert groups(mixed) == (0, 1, 2, 0, 3, 4, 5, 1, 0)


@pytest.mark.parametrize(
    ("parameters", "trials", "found"),
    [(2, 12, False), (3, 29, True), (3, 30, False), (8, 80, False), (8, 79, True), (9, 1000, True)],
)
def test_ten_trials_each_are_advised(parameters: int, trials: int, found: bool) -> None:
    assert crowded(parameters, trials) is found


def test_a_line_is_the_baseline_times_a_factor_on_the_grid_and_above_the_floors() -> None:
    """Half of 1.2, 0.6, 1.0, 0.3, 0.8 cores, to 50m; memory of c0 no lower than 700 MiB, which is 704 on the grid."""
    study = chain_study(5, floors=(("mem0", 700.0 * MI),))
    (cpus, cpu_rows), (sizes, size_rows) = Grid(study, Encoder(study.space)).lines(np.asarray([0.5]))
    names = study.space.names
    assert [names[i] for i in cpus] == [f"cpu{i}" for i in range(5)]
    cores = [axis(study.space.parameters[i].domain)[k] for i, k in zip(cpus, cpu_rows[0], strict=True)]
    assert cores == [Decimal(c) for c in ("0.6", "0.3", "0.5", "0.15", "0.4")]
    mebibytes = [
        int(Decimal(axis(study.space.parameters[i].domain)[k])) // MI for i, k in zip(sizes, size_rows[0], strict=True)
    ]
    assert mebibytes == [704, 320, 448, 192, 320]  # 224 lies between 192 and 256: the lower of two as near


def factors(study: Study, x: Assignment, prefix: str) -> list[tuple[float, float]]:
    """Interval of the factors that round to each value of a group: the value, half a step more or less."""
    found = []
    for p in study.space.parameters:
        if p.name.startswith(prefix):
            assert isinstance(p.domain, Numeric)
            base, half = float(study.baseline.number(p.name)), float(p.domain.step) / 2
            value = float(x.number(p.name))
            found.append(((value - half) / base, (value + half) / base))
    return found


@pytest.mark.thorough
def test_groups_move_first_and_then_single_parameters() -> None:
    """Each search by the model has common factors, or is few moves of one parameter from what was tried before."""
    run = chain_run(5, 1)
    space, kinds = run.study.space, []
    for index, suggestion in enumerate(run.suggestions):
        x = suggestion.assignment
        if suggestion.purpose is Purpose.SEARCH and suggestion.by_model:
            spans = [factors(run.study, x, prefix) for prefix in ("cpu", "mem")]
            # The factors are 1.7 % apart.
            common = all(max(low for low, _ in s) <= 1.02 * min(high for _, high in s) for s in spans)
            moved = [sum(x[n] != s.assignment[n] for n in space.names) for s in run.suggestions[:index]]
            assert common or min(moved) <= 4
            kinds.append(common)
        assert within_steps(space, x, [run.study.baseline, *(s.assignment for s in run.suggestions[:index])])
    assert kinds[0]
    assert not all(kinds)


def test_candidates_keep_the_limits_the_floors_and_what_is_held() -> None:
    study = chain_study(5, floors=(("mem0", 900.0 * MI),))
    belief = believe(study, {})
    limits = boxes(study, [study.baseline])
    start = np.asarray([int(i) for i in belief.grid.locate(study.baseline) or ()])
    points = along_groups(belief.grid, limits, start, 0)
    assert len(points) > 20
    for point in points[:: max(1, len(points) // 40)]:
        x = belief.grid.assignment(point)
        assert within_steps(study.space, x, [study.baseline])
        assert not below_floor(study, x)
    limits[:, 2, :] = start[2]
    held = along_groups(belief.grid, limits, start, 0)
    assert len(held)
    assert set(held[:, 2]) == {start[2]}


@pytest.mark.thorough
@pytest.mark.parametrize("containers", [5, 6])
def test_many_parameters_are_tuned_safely_all_the_same(containers: int) -> None:
    """d = 10 and 12 in 30 trials: most of what a coordinate search on the truth finds, hardly ever unsafe."""
    service = Chain(containers=containers)
    most = best_found(chain_study(containers), service)
    shares, unsafe, gross, trials = [], 0, 0, 0
    for seed in range(4):
        run = chain_run(containers, seed)
        assert run.recommended is not None
        assert service.worst(run.recommended.assignment, 33.0) <= 0
        shares.append(run.recommended.saving / most)
        unsafe, gross, trials = unsafe + run.unsafe, gross + run.gross, trials + len(run.suggestions)
    print(f"d={2 * containers}: shares {shares}, {unsafe} unsafe and {gross} gross of {trials}")
    assert min(shares) > 0.85
    assert unsafe <= 3
    assert gross == 0


def test_it_is_said_from_the_first_trial_on() -> None:
    study = chain_study(5, max_trials=30)
    (symptom,) = suggest(study).diagnostics.symptoms
    assert (symptom.kind, symptom.constraint) == (SymptomKind.DIMENSIONALITY, "")
    assert symptom.message == (
        "10 parameters for 30 trials, 10 each are advised; "
        "those of one resource move by a common factor of the baseline first"
    )
    later = replace(study, index=15)
    assert told(later)[0].message.endswith("; each moves by itself now")
    few = web_study(max_trials=12)
    assert told(few) == ()
    assert "a suggestion took 3 s" in told(few, (), 3.0)[0].message
    assert told(few, (), 0.4) == ()


@dataclass(frozen=True)
class Price:
    """$ per hour: `big` dear, `nothing` and `cheap` all but free."""

    def hourly(self, assignment: Assignment) -> float:
        rest = 0.0001 * float(assignment.number("nothing")) + 0.0001 * float(assignment.number("cheap"))
        return float(assignment.number("big")) + rest


IDLE = SearchSpace((plain("big", 1), plain("nothing", 1), plain("cheap", 1)))
TOP = Assignment.of({"big": Decimal(9), "nothing": Decimal(9), "cheap": Decimal(9)})


def idle_study(trials: int, **changes: Any) -> Study:
    """Slow requests fall with `big` and `cheap`; `nothing` changes nothing."""
    rng, outcomes = np.random.default_rng(5), []
    for i in range(trials):
        values = [9, 9, 9] if i < 2 else [int(v) for v in rng.integers(5, 10, 3)]
        x = Assignment(tuple((n, Decimal(v)) for n, v in zip(IDLE.names, values, strict=True)))
        arms = []
        for a in (x, TOP):
            g = -1.0 - 0.3 * (float(a.number("big")) - 5) - 0.3 * (float(a.number("cheap")) - 5)
            readings = [ConstraintReading("slow", counts(round(4e6 * 0.05 * math.exp(g)), 4e6))]
            readings.append(ConstraintReading("errors", counts(round(4e6 * 0.0005 * math.exp(g)), 4e6)))
            arms.append(ArmOutcome(a, 28.0, tuple(readings)))
        purpose = Purpose.BASELINE if i < 2 else Purpose.SEARCH
        outcomes.append(TrialOutcome(i, purpose, 1.8e9 + 3600 * i, arms[0], arms[1]))
    made = web_study(
        space=IDLE, baseline=TOP, cost=Price(), outcomes=tuple(outcomes), search=search(initial=2), max_trials=29
    )
    return replace(made, index=trials, now=1.8e9 + 3600.0 * trials, **changes)


def test_what_changes_neither_cost_nor_bounds_is_held_and_said() -> None:
    """`cheap` costs nothing either, but it makes room, so it stays free."""
    study = idle_study(20)
    belief = believe(study, gather(study))
    incumbent = verified(belief)[0]
    assert idle(belief, incumbent) == ("nothing",)
    proposal = suggest(study)
    assert isinstance(proposal.answer, Suggestion)
    assert proposal.answer.assignment["nothing"] == incumbent["nothing"]
    (symptom,) = [s for s in proposal.diagnostics.symptoms if s.kind is SymptomKind.DIMENSIONALITY]
    assert "holds nothing, on which less than 1 % of the cost and of any bound depends" in symptom.message


def test_nothing_is_held_before_it_was_measured_or_where_trials_are_enough() -> None:
    for study in (idle_study(10), idle_study(20, max_trials=30)):
        belief = believe(study, gather(study))
        assert idle(belief, verified(belief)[0]) == ()


@pytest.mark.thorough
def test_what_could_still_save_is_not_held() -> None:
    """CPU of every container is worth more than 1 %, whatever the bounds say."""
    assert all(float(cpu) > 0.1 for _, _, cpu, _ in CONTAINERS)
    run = chain_run(5, 2)
    study = run.study
    belief = believe(study, gather(study))
    assert not [n for n in idle(belief, verified(belief)[0]) if n.startswith("cpu")]
