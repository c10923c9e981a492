"""Drawn services: their truth against formulas, their optimum against plain enumeration, what a scenario promises."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from itertools import product
from pathlib import Path

import pytest
from benchmarks.optimizer.contract import Axis
from benchmarks.optimizer.optimum import optimum, optimum_cached, values
from benchmarks.optimizer.scenarios import SCENARIOS, Draw, Scenario, draw
from benchmarks.optimizer.services import ERRORS, ORDINARY, SLOW, Pod, tightest

from trimtab.workload import WorkloadSpec

MEAN_S = 0.02
drawn = lru_cache(draw)


def idle(error_percent: float) -> WorkloadSpec:
    """A container that only waits, exponentially, 20 ms on average."""
    return WorkloadSpec.model_validate(
        {
            "name": "idle",
            "target": {"deployment": "d", "service": "s", "container": "c", "selector": {"app": "d"}},
            "load": {"requestsPerSecond": 10},
            "request": {
                "cpu": "1us",
                "dependency": {"mean": "20ms", "distribution": "Exponential"},
                "concurrency": 256,
                "queue": 1024,
                "timeout": "5s",
                "errorPercent": error_percent,
            },
            "memory": {"runtime": "64Mi", "liveSet": "64Mi"},
            "slo": {"latencyThreshold": "100ms", "maxSlowPercent": 5, "maxErrorPercent": 1},
            "buckets": ["100ms", "1s"],
        }
    )


@pytest.mark.parametrize("containers", [1, 2, 3, 4])
def test_times_add_up_along_the_chain(containers: int) -> None:
    """The sum of n exponential times is Erlang(n): P(> t) = exp(-x) sum_{k<n} x^k / k!, x = t / mean."""
    pod = Pod((idle(1.0),) * containers, 0.1, {SLOW: 0.05, ERRORS: 0.05})
    point = {f"{n}{i}": v for i in range(containers) for n, v in (("cpu", 4.0), ("memory", 2.0))}
    truth = pod.truth(point, 10.0)
    x = 0.1 / MEAN_S
    expected = math.exp(-x) * sum(x**k / math.factorial(k) for k in range(containers))
    assert truth.slow == pytest.approx(expected, rel=0.01)
    assert truth.errors == pytest.approx(1 - 0.99**containers, rel=1e-6)
    assert truth.ratios({SLOW: 0.05, ERRORS: 0.02})[ERRORS] == pytest.approx(truth.errors / 0.02)


def test_too_little_memory_is_killed_and_so_infeasible() -> None:
    pod = Pod((idle(0.1),), 1.0, {SLOW: 0.5, ERRORS: 0.5})
    plenty, little = (pod.truth({"cpu0": 4.0, "memory0": gib}, 10.0) for gib in (1.0, 0.1))
    assert pod.feasible(plenty)
    assert little.kills_per_hour == pytest.approx(60.0)  # below the need: once per spike interval of a minute
    assert not pod.feasible(little)


def coarse(made: Draw, indices: tuple[int, ...]) -> Draw:
    """The same service with a grid of few values, equally far apart, the baseline among them (the 20th step)."""
    apart = indices[1] - indices[0]
    axes = tuple(
        Axis(a.name, round(a.step * indices[0], 9), round(a.step * indices[-1], 9), round(a.step * apart, 9))
        for a in made.task.axes
    )
    return replace(made, task=replace(made.task, axes=axes))


@pytest.mark.parametrize(
    ("scenario", "d", "indices"),
    [("stationary", 2, (4, 8, 12, 16, 20, 24)), ("interior-optimum", 2, (8, 12, 16, 20)),
     ("stationary", 4, (8, 14, 20, 26)), ("barely-feasible", 4, (14, 17, 20, 23)),
     ("stationary", 8, (14, 20, 26))],
)  # fmt: skip
@pytest.mark.thorough
def test_the_optimum_is_that_of_plain_enumeration(scenario: Scenario, d: int, indices: tuple[int, ...]) -> None:
    made = coarse(drawn(scenario, d, 1), indices)
    grids = [values(a) for a in made.task.axes]
    points = (dict(zip(made.baseline, each, strict=True)) for each in product(*grids))
    best = min(
        made.task.cost(x) for x in points if made.pod.feasible(made.pod.truth(x, made.peak, made.after))
    )  # fmt: skip
    found = optimum(made)
    assert found.cost == pytest.approx(best)
    assert found.point is not None
    assert made.pod.feasible(made.pod.truth(found.point, made.peak, made.after))


def test_an_optimum_is_kept_on_disk(tmp_path: Path) -> None:
    made = coarse(drawn("stationary", 2, 1), (8, 12, 16, 20))
    first = optimum_cached(made, tmp_path, "1")
    (kept,) = tmp_path.iterdir()
    kept.write_text('{"point": null, "cost": 7.0}')
    assert first.cost != 7.0
    assert optimum_cached(made, tmp_path, "1").cost == 7.0
    assert optimum_cached(made, tmp_path, "2").cost == first.cost


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_baseline_is_what_the_scenario_says(scenario: Scenario) -> None:
    made = drawn(scenario, 2, 1)
    limits, peak = made.pod.limits, made.pod.truth(made.baseline, made.peak, made.after)
    usual = made.pod.truth(made.baseline, made.days.load, made.after)
    if scenario == "infeasible-start":
        assert 1.15 <= usual.slow / limits[SLOW] <= 2.0
    elif scenario == "barely-feasible":
        assert 0.93 <= peak.slow / limits[SLOW] <= 0.981
    else:
        assert 0.099 <= peak.slow / limits[SLOW] <= 0.501
        assert tightest(made.pod, made.baseline, made.peak, made.after) <= 0.9
    assert all(made.baseline[a.name] == pytest.approx(20 * a.step) for a in made.task.axes)
    if scenario == "regime-change":
        assert 10 <= made.days.change <= 20
        assert made.regime_at(made.days.change - 1) == ORDINARY
        assert made.regime_at(made.days.change) != ORDINARY or made.days.before < 1
    if scenario == "interior-optimum":
        for name, best in made.cost.best.items():
            assert made.cost.of(name, best) < min(made.cost.of(name, best * f) for f in (0.9, 1.1))


def test_a_seed_is_one_service() -> None:
    one, other = draw("diurnal", 2, 5), draw("diurnal", 2, 5)
    assert one == other
    assert one != draw("diurnal", 2, 6)
    with pytest.raises(ValueError, match="even d"):
        draw("diurnal", 3, 5)
