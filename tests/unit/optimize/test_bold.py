"""The search without a safe set: for models of a service and known functions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from trimtab.optimize import Bound, Optimizer, Range

LINE = {"x": Range(0.0, 10.0, step=0.01)}


def needs(least: float, x: dict[str, Any]) -> float:
    """Within the bound 1 from x = `least` on."""
    return math.exp(0.2 * (least - float(x["x"])))


def found(optimizer: Optimizer, trials: int, least: float, error: float = 0.0) -> list[tuple[float, str]]:
    """(x, purpose) of each trial."""
    rng, tried = np.random.default_rng(5), []
    for _ in range(trials):
        asked = optimizer.ask()
        if not asked:
            break
        value = needs(least, asked[0].assignment) * math.exp(error * rng.standard_normal())
        optimizer.tell(asked[0], {"slow": (value, error * value)})
        tried.append((float(asked[0].assignment["x"]), asked[0].purpose))
    return tried


def made(baseline: float) -> Optimizer:
    return Optimizer(
        LINE, lambda x: 1 + float(x["x"]), {"slow": Bound(max=1.0)}, {"x": baseline}, safe=False, min_improvement=1e-6
    )


def test_an_optimum_on_a_fine_grid_is_found_to_the_step_and_recommended_without_a_margin() -> None:
    optimizer = made(10.0)
    tried = found(optimizer, 14, least=3.37)
    assert min(x for x, _ in tried if x >= 3.37) == pytest.approx(3.37)
    answer = optimizer.recommend()
    assert answer is not None
    assert answer.assignment["x"] == pytest.approx(3.37)


def test_what_was_measured_exactly_is_not_measured_again() -> None:
    tried = found(made(10.0), 14, least=3.37)
    assert [purpose for _, purpose in tried[:2]] == ["Baseline", "Baseline"]
    rest = [x for x, _ in tried[1:]]
    assert len(set(rest)) == len(rest)


def test_noise_is_measured_again_and_the_recommendation_keeps_a_margin() -> None:
    optimizer = made(10.0)
    tried = found(optimizer, 20, least=3.37, error=0.05)
    assert "Replicate" in {purpose for _, purpose in tried}
    answer = optimizer.recommend()
    assert answer is None or answer.assignment["x"] >= 3.37


def test_a_start_that_is_cheap_and_infeasible_does_not_hide_what_is_dearer() -> None:
    tried = found(made(1.0), 12, least=3.37)
    assert min(x for x, _ in tried if x >= 3.37) < 3.6


def test_it_stops_when_nothing_is_cheaper() -> None:
    optimizer = made(10.0)
    tried = found(optimizer, 30, least=-1.0)
    assert min(x for x, _ in tried) == 0.0
    assert len(tried) < 30
    assert "none that was not tried saves anything" in optimizer.stopped
