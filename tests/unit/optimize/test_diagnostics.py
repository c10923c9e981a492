"""Diversity and effective dimension against cases whose answer is known."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.unit.optimize.toy import SLOW, Service, play, search, web, web_study

from trimtab.domain.study import ArmOutcome, Study, TrialOutcome
from trimtab.domain.trial import Purpose
from trimtab.optimize.designer import recommend, suggest
from trimtab.optimize.diagnostics import diversity, effective_dimension
from trimtab.optimize.encoding import Encoder
from trimtab.optimize.kernel import Inputs
from trimtab.optimize.safe import Belief, believe


def searched(*places: tuple[str, int], purpose: Purpose = Purpose.SEARCH) -> Study:
    arms = [ArmOutcome(web(cpu, mebibytes), None, ()) for cpu, mebibytes in places]
    return web_study(outcomes=tuple(TrialOutcome(i, purpose, 0.0, arm, None) for i, arm in enumerate(arms)))


def test_opposite_corners_are_as_diverse_as_can_be() -> None:
    assert diversity(searched(("0.2", 256), ("2.5", 2560))) == pytest.approx(1.0)


def test_one_side_of_the_square() -> None:
    assert diversity(searched(("0.2", 256), ("2.5", 256))) == pytest.approx(1 / math.sqrt(2))


def test_the_same_place_again_is_no_diversity_and_no_loss_of_it() -> None:
    twice = searched(("0.2", 256), ("2.5", 2560), ("2.5", 2560))
    assert diversity(twice) == pytest.approx(1.0)
    assert diversity(searched(("0.2", 256), ("0.2", 256))) is None


@pytest.mark.parametrize("purpose", [Purpose.BASELINE, Purpose.REPLICATE, Purpose.VERIFICATION])
def test_only_the_search_counts(purpose: Purpose) -> None:
    assert diversity(searched(("0.2", 256), ("2.5", 2560), purpose=purpose)) is None


@dataclass(frozen=True)
class Plane:
    """A surrogate whose mean is linear in the unit cube."""

    slopes: tuple[float, float]

    def predict(self, at: Inputs) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return at.u @ np.asarray(self.slopes), np.ones(len(at.u))


def planes(*slopes: tuple[float, float]) -> Belief:
    belief = believe(web_study(constraints=(SLOW,)), {})
    models = cast(Any, tuple(Plane(s) for s in slopes))
    return replace(belief, encoder=Encoder(belief.study.space), models=models)  # both axes are as long


@pytest.mark.parametrize(
    ("slopes", "dimension"),
    [
        (((1.0, 0.0),), 1.0),
        (((1.0, -1.0),), 2.0),
        (((2.0, 1.0),), 25 / 17),
        (((1.0, 0.0), (0.0, 1.0)), 2.0),  # each bound depends on another parameter
    ],
)
def test_effective_dimension(slopes: tuple[tuple[float, float], ...], dimension: float) -> None:
    assert effective_dimension(planes(*slopes), web("1.5", 1536)) == pytest.approx(dimension)


def test_without_any_effect_there_is_no_dimension() -> None:
    assert effective_dimension(planes((0.0, 0.0)), web("1.5", 1536)) is None
    assert effective_dimension(planes(), web("1.5", 1536)) is None


def test_a_search_has_both() -> None:
    run = play(web_study(search=search(seed=3)), Service(), suggest, recommend, 9)
    last = run.proposals[-1].diagnostics
    assert last.diversity is not None
    assert 0.0 < last.diversity < 1.0
    assert last.effective_dimension is not None
    assert 1.0 <= last.effective_dimension <= 2.0
    assert run.proposals[0].diagnostics.diversity is None
