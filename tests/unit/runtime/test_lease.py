"""What of leadership needs no cluster."""

from __future__ import annotations

import re

import pytest

from trimtab.runtime.lease import LeaseTiming, Stamp, micro_time, unique_identity
from trimtab.runtime.targetlock import Claim


@pytest.mark.parametrize(
    ("unix", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000000Z"),
        (1_700_000_000.25, "2023-11-14T22:13:20.250000Z"),
        (1_709_210_096.000001, "2024-02-29T12:34:56.000001Z"),
    ],
)
def test_micro_time_is_utc(unix: float, text: str) -> None:
    assert micro_time(unix) == text


def test_micro_time_ignores_the_local_time_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert micro_time(0.0) == "1970-01-01T00:00:00.000000Z"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("text", ["", "x", "x/", "/", "x/-1", "x/1.5", "x/\u0663", "x/2147483647", "x/" + "9" * 5000])
def test_what_no_lease_can_have_counted_is_no_stamp(text: str) -> None:
    assert Stamp.parse(text) == Stamp(text, -1)


@pytest.mark.parametrize("stamp", [Stamp("a", 0), Stamp("host/with_slash", 12), Stamp("b", 2147483646)])
def test_a_stamp_is_read_as_it_was_written(stamp: Stamp) -> None:
    assert Stamp.parse(str(stamp)) == stamp


def test_every_process_is_another_candidate() -> None:
    assert unique_identity() != unique_identity()
    assert re.fullmatch(r".+_[0-9a-f-]{36}", unique_identity())


@pytest.mark.parametrize("duration", [3.0, 15.0, 60.0, 120.0])
def test_a_renewal_fits_twice_into_the_deadline(duration: float) -> None:
    timing = LeaseTiming.of_duration(duration)
    assert 2 * (timing.retry_period + timing.request_timeout) <= timing.renew_deadline + timing.request_timeout
    assert timing.renew_deadline < timing.duration


def test_the_usual_durations() -> None:
    assert LeaseTiming.of_duration(15.0) == LeaseTiming(15.0, 10.0, 2.0, 3.0)


def test_the_lock_is_named_after_the_target() -> None:
    assert Claim("0a1b", "shop", "web", "uid").lease_name == "trimtab-target-0a1b"
