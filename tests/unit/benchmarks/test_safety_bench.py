"""The safety benchmark: its series are what they say, its rivals count as they should, its cap is the operator's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from benchmarks.safety import caps, early, intervals, report
from benchmarks.safety.cells import BASE, Cell, cells
from benchmarks.safety.measure import Found, Median, Rate, Way, measure
from benchmarks.safety.play import phi_of, play
from benchmarks.safety.rivals import NEVER, Errors, at_the_end, calibrated, in_a_row, in_total, seconds_needed
from benchmarks.safety.series import (
    NOISES,
    PHI,
    WARM_TICKS,
    autoregressive,
    batches,
    draw,
    gauge,
    heavy,
    independent,
    negative_binomial,
    spread,
    wandering,
)

from trimtab.runtime.caps import judge_cap


def cell(position: str, noise: str) -> Cell:
    return next(c for c in cells() if c.position.name == position and c.noise.name == noise)


@pytest.mark.parametrize(
    ("shape", "phi", "over"),
    [(independent, 1.0, 1), (negative_binomial, PHI, 1), (batches, PHI, 1), (heavy, PHI, 1), (spread, PHI, 24)],
)
def test_clustered_errors_have_the_variance_that_they_should(shape, phi: float, over: int) -> None:  # type: ignore[no-untyped-def]
    found = shape(np.random.default_rng(1), np.full((500, 240), 4.0))
    counts = found.reshape(500, -1, over).sum(axis=2)
    assert counts.mean() == pytest.approx(4.0 * over, rel=0.02)
    assert counts.var() / counts.mean() == pytest.approx(phi, rel=0.1)


def test_what_is_alike_for_a_while_is() -> None:
    rng = np.random.default_rng(2)
    assert np.corrcoef(autoregressive(rng, (20_000, 2), 1.0).T)[0, 1] == pytest.approx(np.exp(-1), abs=0.02)
    assert np.corrcoef(autoregressive(rng, (20_000, 2), np.inf).T)[0, 1] == pytest.approx(0.0, abs=0.02)
    seen = gauge(rng, 0.0, 0.2, (3, 4))
    assert seen.shape == (3, 4, 8)
    assert [len(set(window)) for window in seen[0]] == [3, 3, 3, 3]  # two scrapes, and the one of the window's start


def test_the_split_moves_and_an_outage_hits_both() -> None:
    moving, outage = (next(n for n in NOISES if n.name == name) for name in ("moving split", "both double"))
    found = draw(np.random.default_rng(3), moving, BASE, BASE, 50)
    assert found.canary.total[:, 0].mean() == pytest.approx(100, rel=0.05)
    assert found.control.total[:, 0].mean() == pytest.approx(300, rel=0.05)
    worse = draw(np.random.default_rng(3), outage, BASE, BASE, 200)
    for arm in (worse.canary, worse.control):
        halves = arm.errors[:, :WARM_TICKS].mean(), arm.errors[:, -WARM_TICKS:].mean()
        assert halves[1] / halves[0] == pytest.approx(2.0, rel=0.1)


def test_the_history_tells_how_errors_cluster() -> None:
    noise = next(n for n in NOISES if n.name == "clustered: every tick")
    assert phi_of(np.random.default_rng(4), noise, BASE) == pytest.approx(PHI * 1.095, rel=0.1)


def test_the_same_seed_plays_the_same_and_a_bad_canary_is_found() -> None:
    bad = cell("5 times the errors, ratio named", "independent")
    first, again = (play(bad, 5, 7)[1] for _ in range(2))
    assert first == again
    assert all(e.tick is not None and e.reason in {"WorseThanControl", "AbortRule"} for e in first)
    assert [e.tick for e in play(cell("equal arms", "independent"), 3, 7)[1]] == [None] * 3


@pytest.mark.thorough
@pytest.mark.parametrize(
    "name", ["errors at 95 % of the SLO, no ratio named", "gauge at 95 % of the bound", "slow at 95 % of the bound"]
)
def test_canaries_within_their_bounds_stay(name: str) -> None:
    """What the rules once withdrew for nothing: up to 56 % of these trials."""
    noise = "clustered: rare nines" if name.startswith("errors") else "latency alike for 60 s"
    found = measure(cell(name, noise), 120, 11)
    assert found.ways[0].withdrawn.value <= 0.02


def test_failed_checks_are_counted() -> None:
    failed = np.array([[1, 1, 0, 1, 1, 1, 0, 0], [0] * 8, [1, 0, 1, 0, 1, 0, 1, 1]], dtype=bool)
    assert in_a_row(failed).tolist() == [60.0, NEVER, NEVER]
    assert in_total(failed).tolist() == [60.0, NEVER, 80.0]


def test_one_test_at_the_end_is_as_sure_as_it_says() -> None:
    tolerated = replace(BASE, errors=1.2 * BASE.errors)
    errors = Errors.of(draw(np.random.default_rng(5), NOISES[0], tolerated, BASE, 4000))
    assert (at_the_end(errors, 1.0) < NEVER).mean() == pytest.approx(0.01, abs=0.006)
    assert seconds_needed(3, 3.0) == pytest.approx(3 * seconds_needed(3, 1.0), abs=20)
    assert calibrated(NOISES[0], 500).absolute_row > 1.2 * BASE.errors


def test_no_experiment_spends_more_than_its_cap() -> None:
    for number, plan in enumerate(caps.PLANS):
        found = caps.play(plan, number)
        assert found.over <= 1.0
        assert found.trials >= 1
    ample = caps.play(caps.AMPLE, 1)
    assert (ample.trials, ample.whole) == (caps.MAX_TRIALS, caps.MAX_TRIALS)


def test_trials_side_by_side_are_asked_together(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = next(p for p in caps.BESIDE if p.bad_ratio == 1.0 and not p.starts_bad and p.reserves < 5.0)
    assert caps.play(plan, 3).over <= 1.0
    monkeypatch.setattr(caps, "judge_cap", lambda record, readings, view, _: judge_cap(record, readings, view))
    assert caps.play(plan, 3).over > 1.0, "each for itself they spend more than there is"


def test_coverage_has_an_upper_limit_only_where_the_quantity_is_identified() -> None:
    ratio = intervals.Covered("ratio", Rate(1000, 1000), 0.3)
    assert (ratio.promised, ratio.verdict) == ("92 to 98", "MISSED")
    coarse = replace(ratio, most=None)
    assert (coarse.promised, coarse.verdict) == ("at least 92", "kept")
    assert replace(coarse, inside=Rate(900, 1000)).verdict == "MISSED"
    assert "| 30 |" in report.coverage([ratio])


@pytest.mark.parametrize("step", [2.5, 7.5, 10.0])
def test_noise_is_alike_for_as_long_whatever_its_step(step: float) -> None:
    """Bad events of half a minute and of the next: their covariance over their variance."""
    rng, many, size = np.random.default_rng(6), 3000, int(120 / step)
    for shape, expected in ((spread, 0.24), (wandering, 0.72)):
        mean = np.full((many, size), 500.0 * step)
        found = shape(rng, mean, step).reshape(many, 4, -1).sum(axis=2)
        one, two = found[:, 1] - 15_000, found[:, 2] - 15_000
        assert np.mean(one * two) / np.mean(one**2) == pytest.approx(expected, abs=0.05)


@pytest.mark.thorough
def test_independent_readings_are_covered() -> None:
    found = {c.name: c for c in intervals.measure(60, 1)}
    assert found["ratio 5%, load and errors independent"].inside.value >= 0.88
    assert found["value, alike for 0 s"].inside.value >= 0.88


@pytest.mark.thorough
def test_a_trial_at_its_bound_is_not_shown_to_be_good() -> None:
    found = {(s.position, s.noise): s for s in early.measure(25, 1, ("independent",))}
    assert found["half of the bound and of the control", "independent"].shown.value >= 0.9
    assert found["at the bound, equal arms", "independent"].shown.value <= 0.1
    assert found["at the bound, equal arms", "independent"].verdict in {"kept", "MISSED"}


def test_figures_have_intervals_and_verdicts() -> None:
    assert Rate(0, 2000).interval[1] == pytest.approx(0.0019, abs=0.0001)
    assert Median.of([10.0] * 30 + [float(NEVER)] * 70) == Median(None, None, None)
    assert Median.of([float(x) for x in range(101)]).value == 50.0
    own = Way("own", Rate(30, 2000), Median.of([600.0] * 30))
    found = Found("equal arms", "independent", 0.01, None, (own,), (("abortRule AbortRule", 30),))
    assert found.verdict == "MISSED"
    assert replace(found, most=0.0151).verdict == "kept, not beyond doubt"
    assert replace(found, most=0.03).verdict == "kept"
    assert replace(found, most=None, median_s=500.0).verdict == "MISSED"
    assert "| equal arms | independent | 1.50 [1.05, 2.13] | 1 | MISSED | AbortRule 30 |" in report.withdrawals([found])
