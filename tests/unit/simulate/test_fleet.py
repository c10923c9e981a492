"""A service that an autoscaler scales, without noise: against cases that are worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.unit.simulate.stories import START, web_truth

from trimtab.domain.space import Resource
from trimtab.simulate.fleet import STEP_S, Aim, Busy, Fleet, Play
from trimtab.workload import OfferedLoad, Resources, WorkloadSpec, evaluate, rounded
from trimtab.workload.hpa import DOWN, UP, Hpa, Memory, Policy, Rules, decide, utilization
from trimtab.workload.units import GIB

FloatArray = NDArray[np.float64]
CORES = Resources.equal(2.0, GIB)
DAY = round(86400 / STEP_S)


def workload(**startup: float) -> WorkloadSpec:
    """The example's service: 375 us of CPU a request, and 20 millicores."""
    web = web_truth().workload
    return web.model_copy(update={"startup": web.startup.model_copy(update=startup)})


def fleet(least: int = 2, most: int = 40, target: float = 0.5, **startup: float) -> Fleet:
    return Fleet((workload(**startup), CORES), Hpa(least, most), (Aim(Resource.CPU, target, 2.0),))


def steady(load: float, steps: int = 40) -> FloatArray:
    return np.full(steps, load)


def square(low: float, high: float, half: int, steps: int) -> FloatArray:
    """So many steps low, as many high, and so on."""
    return np.where(np.arange(steps) // half % 2, high, low).astype(float)


def slow(play: Play) -> float:
    return play.ratio(lambda b: b.slow_fraction(0.1))


def use(each: float) -> float:
    """Cores of a pod at a load, as the autoscaler sees them: a part of the request."""
    return utilization(evaluate(workload(), CORES, rounded(each)).cpu_usage_cores, 2.0)


def test_steady_load_ends_where_the_target_is_met() -> None:
    play = fleet().play(steady(20_000.0), first=2)
    final = int(play.pods[-1])
    assert use(20_000.0 / final) <= 0.55
    assert use(20_000.0 / (final - 2)) > 0.5
    assert play.pods[:2].tolist() == [2, 4]  # as far as one can see: they use no more than their limit


def test_from_above_it_comes_to_the_fewest_that_it_keeps() -> None:
    for load in (9_000.0, 20_000.0, 31_000.0):
        few = int(fleet().fewest(np.array([load]))[0])
        assert use(load / few) <= 0.55
        assert use(load / (few - 1)) > 0.55
        assert fleet().play(steady(load), first=few).pods[-1] == few
        assert fleet().play(steady(load), first=few - 1).pods[-1] > few - 1


def test_the_fewest_keep_to_the_bounds() -> None:
    loads = np.array([100.0, 1e6])
    assert fleet(least=3, most=7).fewest(loads).tolist() == [3, 7]
    idle = replace(fleet(least=3), aims=(Aim(Resource.MEMORY, 0.01, GIB),))
    assert idle.fewest(loads).tolist() == [40, 40]


def test_what_never_passes_the_target_adds_no_pod() -> None:
    lazy = fleet(least=3, target=0.95)  # with the tolerance that is more than all of the limit
    assert lazy.fewest(np.array([1e5])).tolist() == [3]
    assert lazy.play(steady(1e5), first=3).pods.max() == 3


def test_of_two_metrics_the_needier_decides() -> None:
    both = replace(fleet(), aims=(Aim(Resource.CPU, 0.5, 2.0), Aim(Resource.CPU, 0.25, 2.0)))
    alone = replace(fleet(), aims=(Aim(Resource.CPU, 0.25, 2.0),))
    loads = np.geomspace(2_000.0, 20_000.0, 30)
    assert both.fewest(loads).tolist() == alone.fewest(loads).tolist()
    assert both.play(loads).pods.tolist() == alone.play(loads).pods.tolist()


def test_a_metric_that_says_nothing_keeps_from_scaling_down() -> None:
    blind = replace(fleet(), blind=True)
    assert blind.play(steady(4_000.0, 100), first=20).pods[-1] == 20
    assert fleet().play(steady(4_000.0, 100), first=20).pods[-1] < 20
    assert blind.play(steady(60_000.0), first=20).pods[-1] > 20


def test_requests_are_conserved() -> None:
    loads = OfferedLoad.of(workload()).series(START + STEP_S * np.arange(400)) * square(0.5, 1.5, 40, 400)
    play = fleet(base=40.0, cold_percent=50.0).play(loads)
    assert np.bincount(play.at, play.requests) == pytest.approx(loads * STEP_S)
    assert (play.serving <= play.pods).all()
    assert len(play.serving) == len(play.loads) == 400


def test_more_load_never_has_fewer_pods_when_settled() -> None:
    found = fleet().fewest(np.geomspace(100.0, 100_000.0, 200))
    assert (np.diff(found) >= 0).all()
    settled = [fleet().settled(float(load)) for load in np.geomspace(1_000.0, 60_000.0, 40)]
    assert settled == sorted(settled)


def test_a_higher_target_has_fewer_pods() -> None:
    loads = OfferedLoad.of(workload()).series(START + STEP_S * np.arange(DAY))
    means = [fleet(target=target).play(loads).mean_pods for target in (0.3, 0.4, 0.5, 0.6, 0.7)]
    assert means == sorted(means, reverse=True)
    assert means[0] > 2 * means[-1]


def test_a_short_window_swings_and_a_long_one_does_not() -> None:
    loads = square(20_000.0, 40_000.0, 8, 960)  # two minutes low, two minutes high
    by_window = {}
    for window in (0.0, 60.0, 300.0):
        one = replace(fleet(), hpa=Hpa(2, 40, down=replace(DOWN, window=window)))
        by_window[window] = one.play(loads, first=20)
    assert by_window[0.0].events_per_hour == pytest.approx(30, abs=2)  # every change of the load
    assert by_window[60.0].events_per_hour == pytest.approx(30, abs=2)
    assert by_window[300.0].events_per_hour < 1
    assert by_window[300.0].mean_pods > by_window[0.0].mean_pods


def test_down_waits_for_its_window() -> None:
    loads = np.where(np.arange(100) < 20, 40_000.0, 20_000.0)
    play = fleet().play(loads, first=20)
    fallen = int(np.argmax(play.pods < play.pods[19]))
    assert fallen == 20 + 20  # 300 s after the last step that wanted as many


def test_a_policy_limits_the_pace() -> None:
    slowly = Rules(0.0, (Policy(False, 1, 60.0),))
    one = replace(fleet(), hpa=Hpa(2, 40, down=slowly))
    play = one.play(steady(4_000.0, 41), first=20)
    assert play.pods.tolist() == [20, *(19 - i // 4 for i in range(40))]


def test_pods_that_start_slowly_leave_the_load_to_the_others() -> None:
    loads = np.where(np.arange(30) < 5, 20_000.0, 50_000.0)
    quick, late = (fleet(base=base).play(loads, first=10) for base in (1.0, 60.0))
    more = int(np.argmax(late.pods > 10))
    assert more == int(np.argmax(quick.pods > 10)) == 6
    assert (
        late.serving[6:10].tolist() == [10] * 4
    )  # 61 s, so that the middle of the fifth step is the first to see them
    assert (late.serving[10:] > 10).all()
    assert quick.serving[6] == quick.pods[6] > 10
    loaded = [p.breach_seconds_per_hour(lambda b: b.load_rps / 1e4, 0.4) for p in (quick, late)]
    assert loaded == pytest.approx([3600 / 30, 3600 * 5 / 30])


def test_a_pod_without_metrics_is_not_taken_away_again() -> None:
    """Four pods are enough for what three are not; without caution about the fourth, three would be wanted again."""
    one = replace(fleet(least=3), hpa=Hpa(3, 40, down=replace(DOWN, window=0.0)))
    edge = next(load for load in np.arange(6_000.0, 9_000.0, 50.0) if use(load / 3) > 0.55)
    assert one.play(steady(edge), first=3).pods.tolist() == [3] + [4] * 39


def test_pods_that_are_not_ready_do_not_make_it_add_more() -> None:
    loads = np.where(np.arange(30) < 5, 20_000.0, 30_000.0)
    late = fleet(base=120.0).play(loads, first=10)
    assert late.pods.max() <= fleet(base=1.0).play(loads, first=10).pods.max() + 1


def test_the_youngest_pods_go_first() -> None:
    loads = np.array([20_000.0] * 5 + [50_000.0] * 2 + [10_000.0] * 10)
    one = replace(fleet(base=300.0), hpa=Hpa(2, 40, down=replace(DOWN, window=0.0)))
    play = one.play(loads, first=10)
    assert play.pods.max() > 10
    assert play.serving.max() == 10
    assert play.pods[-1] < 10


def test_cold_pods_are_slower() -> None:
    loads = square(20_000.0, 50_000.0, 8, 240)
    down = replace(DOWN, window=0.0)
    warm, cold = (
        replace(fleet(base=1.0, cold_percent=percent, cold_for=20.0), hpa=Hpa(2, 40, down=down)).play(loads, first=10)
        for percent in (0.0, 200.0)
    )
    assert slow(cold) > slow(warm)


def test_busy_nodes_make_pods_slower_in_their_minutes() -> None:
    burst = Resources(0.5, 2.0, GIB, GIB)
    usual = Fleet((workload(), burst), Hpa(10, 10), (Aim(Resource.CPU, 0.5, 0.5),))
    tight = Busy((workload(), Resources.equal(0.5, GIB)), np.arange(40) >= 30)
    ratios = usual.play(steady(14_000.0), busy=tight).ratios(lambda b: b.slow_fraction(0.1))
    assert ratios[:30].max() < 0.1 < 0.9 < ratios[30:].min()


def test_breach_seconds_are_those_of_the_steps_in_breach() -> None:
    one = Fleet((workload(), CORES), Hpa(5, 5), (Aim(Resource.CPU, 0.5, 2.0),))
    loads = np.where(np.arange(240) % 24 < 3, 30_000.0, 5_000.0)
    play = one.play(loads)
    assert play.breach_seconds_per_hour(lambda b: b.slow_fraction(0.1), 0.05) == pytest.approx(3600 * 3 / 24)
    assert play.events_per_hour == 0.0


def test_it_decides_as_the_controller_does_step_by_step() -> None:
    """Where pods start at once, the play is the plain loop, but for the step in which new ones have no metrics."""
    rng = np.random.default_rng(5)
    loads = 25_000.0 * np.exp(0.35 * np.convolve(rng.standard_normal(420), np.ones(20) / 4.5, "valid"))
    one = replace(fleet(least=4, base=0.0, cpu=0.0), hpa=Hpa(4, 30, down=Rules(120.0, DOWN.policies), up=UP))
    pods, memory, plain = 12, Memory({12: 0.0}), []
    for step, load in enumerate(loads):
        plain.append(pods)
        seen = one.seen(evaluate(*one.run, rounded(load / pods)), pods)
        pods = decide(one.hpa, seen, pods, memory, (step + 1) * STEP_S)
    assert len(set(plain)) > 5
    played = one.play(loads, first=12).pods
    assert np.mean(played == plain) > 0.9
    assert np.abs(played - plain).mean() < 0.015 * np.mean(plain)


def test_what_is_known_is_not_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A day takes some 20 ms once its behaviours are known, so nothing else may be asked of the model."""
    loads = OfferedLoad.of(workload()).series(START + STEP_S * np.arange(DAY)) * square(0.7, 1.3, 60, DAY)
    known = fleet(target=0.45).play(loads)
    monkeypatch.setattr("trimtab.simulate.fleet.evaluate", lambda *_: pytest.fail("computed again"))
    again = fleet(target=0.45).play(loads)
    assert again.pods.tolist() == known.pods.tolist()
    assert len(again.behaviours) < 60 < len(set(loads))
