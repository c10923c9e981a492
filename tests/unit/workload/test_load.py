"""Offered load: a pure function of time and seed."""

from __future__ import annotations

import numpy as np
import pytest

from trimtab.workload import OfferedLoad, noise
from trimtab.workload.load import DAY_S
from trimtab.workload.spec import FlashCrowd, LoadSpec, RandomCrowds

MONDAY = 4 * DAY_S  # 1970-01-05


def spec(**fields: object) -> LoadSpec:
    return LoadSpec.model_validate({"requestsPerSecond": 1000.0, "peakHour": 14.0, **fields})


def test_the_day_swings_around_its_mean() -> None:
    load = OfferedLoad(spec(dailySwingPercent=20), 1)
    day = load.series(MONDAY + np.arange(0.0, DAY_S, 60.0))
    assert day.mean() == pytest.approx(1000.0, rel=1e-6)
    assert load.at(MONDAY + 14 * 3600) == pytest.approx(1200.0)
    assert load.at(MONDAY + 2 * 3600) == pytest.approx(800.0)
    assert load.peak_rps == pytest.approx(1200.0)


def test_weekends_are_quieter() -> None:
    load = OfferedLoad(spec(weekendPercent=50), 1)
    assert [load.at(MONDAY + day * DAY_S) for day in range(7)] == [1000.0] * 5 + [500.0] * 2


def test_noise_depends_on_time_and_seed_alone() -> None:
    noisy = spec(noisePercent=10)
    t = MONDAY + np.arange(0.0, 200_000.0, 30.0)
    first, again, other = OfferedLoad(noisy, 3), OfferedLoad(noisy, 3), OfferedLoad(noisy, 4)
    assert np.array_equal(first.series(t), np.array([again.at(x) for x in t[:3]] + list(again.series(t[3:]))))
    assert not np.allclose(first.series(t), other.series(t))
    relative = first.series(t) / 1000.0
    assert relative.mean() == pytest.approx(1.0, abs=0.01)
    assert relative.std() == pytest.approx(0.1, rel=0.1)
    assert first.expected(t[5]) == pytest.approx(1000.0)


def test_noise_of_a_moment_and_of_a_long_time_is_the_same() -> None:
    t = MONDAY + np.arange(0.0, 6000.0, 7.0)
    whole = noise.smooth(3, "load", t, 60.0)
    assert np.array_equal(whole[40:50], noise.smooth(3, "load", t[40:50], 60.0))
    assert noise.smooth(3, "load", t[:0], 60.0).shape == (0,)


def test_noise_is_smooth_and_forgets() -> None:
    load = OfferedLoad(spec(noisePercent=10, noiseInterval="60s"), 3)
    t = np.arange(0.0, 500_000.0, 7.0)
    x = np.log(load.series(t))
    near, far = (np.corrcoef(x, np.log(load.series(t + lag)))[0, 1] for lag in (3.0, 180.0))
    assert near > 0.95
    assert abs(far) < 0.1


def test_a_scheduled_crowd_ramps_up_and_away() -> None:
    crowd = FlashCrowd.model_validate({"atHour": 9, "factor": 3, "ramp": "1m", "duration": "10m"})
    load = OfferedLoad(spec().model_copy(update={"flash_crowds": (crowd,)}), 1)
    nine = MONDAY + 9 * 3600
    minutes = {-1: 1000.0, 0: 1000.0, 0.5: 2000.0, 1: 3000.0, 6: 3000.0, 11: 3000.0, 11.5: 2000.0, 12: 1000.0}
    assert [load.at(nine + m * 60) for m in minutes] == pytest.approx(list(minutes.values()))
    assert load.peak_rps == pytest.approx(3000.0)


def test_a_crowd_of_one_day_comes_once_and_nobody_could_have_known() -> None:
    crowd = {"date": "1970-01-05", "atHour": 9, "factor": 3, "ramp": "1m", "duration": "10m"}
    load = OfferedLoad(spec().model_copy(update={"flash_crowds": (FlashCrowd.model_validate(crowd),)}), 1)
    nine = MONDAY + 9 * 3600
    assert [load.at(nine + m * 60) for m in (0, 6, 12)] == pytest.approx([1000.0, 3000.0, 1000.0])
    assert [load.at(nine + d * DAY_S + 360) for d in (-1, 1, 7)] == pytest.approx([1000.0] * 3)
    assert load.expected(nine + 360) == load.peak_rps == pytest.approx(1000.0)


def test_random_crowds_come_as_often_as_they_should() -> None:
    crowds = RandomCrowds.model_validate({"perDay": 4, "factor": 3, "ramp": "1m", "duration": "5m"})
    load = OfferedLoad(spec().model_copy(update={"random_crowds": crowds}), 8)
    busy = load.series(np.arange(0.0, 60 * DAY_S, 60.0)) > 1000.0
    begins = int((np.diff(busy.astype(int)) > 0).sum())
    assert 180 <= begins <= 300
    assert load.series(np.arange(0.0, 60 * DAY_S, 60.0)).max() <= 3000.0 * 1.7
    assert load.expected(0.0) == pytest.approx(1000.0)
