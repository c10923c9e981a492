"""Windows and freezes: when a trial may start, until when, and what is said meanwhile."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.domain.cron import parse_cron
from trimtab.domain.schedule import FROZEN, OUTSIDE, Closure, Course, Freeze, Schedule, ScheduleWindow

BERLIN = ZoneInfo("Europe/Berlin")
HOUR, MINUTE = 3600.0, 60.0
TRIAL = Course(usual=13 * MINUTE, longest=45 * MINUTE)


def at(month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0) -> float:
    return datetime(2026, month, day, hour, minute, second, tzinfo=BERLIN).timestamp()


def window(cron: str, hours: float) -> ScheduleWindow:
    return ScheduleWindow(parse_cron(cron, "cron"), hours * HOUR)


OFFICE = window("0 9 * * 1-5", 7)
XMAS = Freeze(at(12, 24), at(12, 28), "Christmas")


def schedule(*windows: ScheduleWindow, freezes: tuple[Freeze, ...] = (), withdraw: bool = False) -> Schedule:
    return Schedule(BERLIN, windows, freezes, withdraw)


def closed(found: Closure | None) -> Closure:
    assert found is not None
    return found


class TestClosure:
    def test_open_from_the_first_moment_to_before_the_last(self) -> None:
        office = schedule(OFFICE)
        assert office.closure(at(3, 9, 9)) is None
        assert office.closure(at(3, 9, 15, 59, 59)) is None
        assert office.closure(at(3, 9, 16)) is not None
        assert office.closure(at(3, 9, 8, 59, 59)) is not None

    def test_it_says_until_when(self) -> None:
        found = closed(schedule(OFFICE).closure(at(3, 7, 12)))
        assert found.reason == OUTSIDE
        assert found.until == at(3, 9, 9)
        assert found.words == "outside its schedule until Mon 2026-03-09 09:00 Europe/Berlin"

    def test_without_windows_it_is_always_open_but_for_freezes(self) -> None:
        frozen = schedule(freezes=(XMAS,))
        assert frozen.closure(at(12, 23, 23, 59, 59)) is None
        found = closed(frozen.closure(at(12, 24)))
        assert found.reason == FROZEN
        assert found.words == "frozen until Mon 2026-12-28 00:00 Europe/Berlin: Christmas"
        assert frozen.closure(at(12, 28)) is None

    def test_a_freeze_ends_when_the_next_window_opens(self) -> None:
        found = closed(schedule(OFFICE, freezes=(XMAS,)).closure(at(12, 25, 10)))
        assert (found.reason, found.until) == (FROZEN, at(12, 28, 9))

    def test_freezes_that_follow_each_other_are_one(self) -> None:
        more = Freeze(at(12, 27), at(12, 30)), Freeze(at(12, 30), at(12, 31))
        assert closed(schedule(freezes=(XMAS, *more)).closure(at(12, 25))).until == at(12, 31)

    def test_windows_that_touch_or_overlap_are_one(self) -> None:
        both = schedule(OFFICE, window("0 16 * * 1-5", 2), window("30 17 * * 1-5", 1))
        assert both.closes(at(3, 9, 10), 86400.0) == at(3, 9, 18, 30)
        always = schedule(window("0 * * * *", 1))
        assert always.closes(at(3, 9, 10), 86400.0) == at(3, 10, 10)

    def test_a_window_over_midnight_and_a_whole_weekend(self) -> None:
        night = schedule(window("0 22 * * 1-5", 8))
        assert night.closure(at(3, 7, 5, 59)) is None  # Saturday: begun on Friday
        assert closed(night.closure(at(3, 7, 6))).until == at(3, 9, 22)
        weekend = schedule(window("0 20 * * 5", 60))
        assert weekend.closes(at(3, 7, 12), 7 * 86400.0) == at(3, 9, 8)

    def test_a_length_is_elapsed_time_when_clocks_change(self) -> None:
        night = schedule(window("0 22 * * *", 8))
        assert night.closes(at(3, 28, 23), 86400.0) == at(3, 29, 7)
        assert night.closes(at(10, 24, 23), 86400.0) == at(10, 25, 5)

    def test_no_end_in_sight_is_said(self) -> None:
        found = closed(schedule(OFFICE, freezes=(Freeze(at(1, 1), at(1, 1) + 20 * 365 * 86400.0),)).closure(at(3, 9)))
        assert found.until is not None  # in twenty years
        never = Schedule(BERLIN, (ScheduleWindow(parse_cron("0 0 30 2 *", "cron"), HOUR),))
        assert closed(never.closure(at(3, 9))) == Closure(
            OUTSIDE, "outside its schedule with no time for a trial in sight", None
        )


class TestTooLate:
    def test_a_trial_that_is_finished_may_outlive_its_window(self) -> None:
        assert schedule(OFFICE).too_late(at(3, 9, 15, 59), TRIAL) is None

    def test_one_that_would_be_withdrawn_must_usually_end_in_time(self) -> None:
        office = schedule(OFFICE, withdraw=True)
        assert office.too_late(at(3, 9, 15, 47), TRIAL) is None
        found = closed(office.too_late(at(3, 9, 15, 47, 1), TRIAL))
        assert (found.reason, found.until) == (OUTSIDE, at(3, 10, 9))
        assert found.words == (
            "outside its schedule until Tue 2026-03-10 09:00 Europe/Berlin: too little time before its window's end at "
            "Mon 2026-03-09 16:00 Europe/Berlin"
        )

    def test_no_trial_that_is_finished_lasts_into_a_freeze(self) -> None:
        release = schedule(OFFICE, freezes=(Freeze(at(3, 9, 12), at(3, 9, 14), "release"),))
        assert release.too_late(at(3, 9, 11, 15), TRIAL) is None
        found = closed(release.too_late(at(3, 9, 11, 15, 1), TRIAL))
        assert (found.reason, found.until) == (FROZEN, at(3, 9, 14))

    def test_where_it_is_withdrawn_its_usual_length_counts(self) -> None:
        release = schedule(freezes=(Freeze(at(3, 9, 12), at(3, 9, 14)),), withdraw=True)
        assert release.too_late(at(3, 9, 11, 47), TRIAL) is None
        assert release.too_late(at(3, 9, 11, 48), TRIAL) is not None

    def test_windows_that_are_too_short_never_let_one_start(self) -> None:
        short = schedule(window("0 * * * *", 0.2), withdraw=True)
        found = closed(short.too_late(at(3, 9, 10), TRIAL))
        assert found.until is None
        assert short.first_start(at(3, 9), Course(12 * MINUTE, HOUR)) == at(3, 9)


@given(
    begin=st.integers(0, 14 * 288),
    lengths=st.lists(st.sampled_from([0.5, 1, 7, 30]), min_size=1, max_size=3),
    crons=st.lists(
        st.sampled_from(["0 9 * * 1-5", "30 22 * * *", "0 */6 * * *", "15 2 * * 0"]), min_size=3, max_size=3
    ),
    frozen=st.lists(st.tuples(st.integers(0, 14 * 24), st.integers(1, 72)), max_size=3),
    withdraw=st.booleans(),
)
@pytest.mark.thorough
def test_the_first_start_is_the_first_moment_that_nothing_speaks_against(
    begin: int, lengths: list[float], crons: list[str], frozen: list[tuple[int, int]], withdraw: bool
) -> None:
    """Against a plain look at every five minutes, over the jump of the clock."""
    first = at(3, 22) + 300.0 * begin
    freezes = tuple(Freeze(at(3, 22) + HOUR * b, at(3, 22) + HOUR * (b + n), "") for b, n in frozen)
    made = schedule(*(window(c, n) for c, n in zip(crons, lengths, strict=False)), freezes=freezes, withdraw=withdraw)
    course = Course(20 * MINUTE, 45 * MINUTE)
    found = made.first_start(first, course)
    moments = (first + 300.0 * k for k in range(21 * 288))
    plain = next((m for m in moments if made.closure(m) is None and made.too_late(m, course) is None), None)
    assert found == plain
    if found is not None and withdraw:
        assert made.closes(found, course.usual) == found + course.usual


def test_open_time_is_counted_over_windows() -> None:
    office = schedule(OFFICE)
    assert office.end_of_time(at(3, 6, 18), 9 * HOUR) == at(3, 10, 11)
    assert schedule(freezes=(XMAS,)).end_of_time(at(12, 23, 23), 2 * HOUR) == at(12, 28, 1)


@pytest.mark.parametrize("withdraw", [False, True])
@pytest.mark.thorough
def test_many_short_windows_are_looked_through_in_bounded_time(withdraw: bool) -> None:
    minutes = schedule(*[window("*/2 * * * *", 1 / 60)] * 16, withdraw=withdraw)
    assert minutes.first_start(at(3, 9), TRIAL) == (None if withdraw else at(3, 9))
