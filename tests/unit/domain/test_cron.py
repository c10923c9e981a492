"""Five cron fields in a time zone, also on the two days on which clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.domain.cron import last_start, next_start, parse_cron
from trimtab.domain.errors import InvalidSpec

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu")


def starts(text: str, zone: ZoneInfo, after: datetime, count: int) -> list[str]:
    """The next ones, as a clock on the wall shows them, with what it is ahead of UTC."""
    cron, moment, found = parse_cron(text, "cron"), after.timestamp(), []
    for _ in range(count):
        following = next_start(cron, zone, moment)
        assert following is not None
        moment = following
        found.append(datetime.fromtimestamp(moment, zone).strftime("%a %d.%m. %H:%M %z"))
    return found


def berlin(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=BERLIN)  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("0 9 * * 1-5", ["Fri 06.03. 09:00 +0100", "Mon 09.03. 09:00 +0100"]),
        ("0 9 * * mon-FRI", ["Fri 06.03. 09:00 +0100", "Mon 09.03. 09:00 +0100"]),
        ("0 9 * * 7", ["Sun 08.03. 09:00 +0100", "Sun 15.03. 09:00 +0100"]),
        ("0 9 * * 5-7", ["Fri 06.03. 09:00 +0100", "Sat 07.03. 09:00 +0100", "Sun 08.03. 09:00 +0100"]),
        ("30,45 22 * * *", ["Thu 05.03. 22:30 +0100", "Thu 05.03. 22:45 +0100", "Fri 06.03. 22:30 +0100"]),
        ("10-20/5 0 * * *", ["Fri 06.03. 00:10 +0100", "Fri 06.03. 00:15 +0100", "Fri 06.03. 00:20 +0100"]),
        ("0 8/6 * * *", ["Thu 05.03. 14:00 +0100", "Thu 05.03. 20:00 +0100", "Fri 06.03. 08:00 +0100"]),
        ("0 0 1 */3 *", ["Wed 01.04. 00:00 +0200", "Wed 01.07. 00:00 +0200"]),
        ("0 0 31 jan,apr *", ["Sun 31.01. 00:00 +0100"]),
        ("0 12 13 * 5", ["Fri 06.03. 12:00 +0100", "Fri 13.03. 12:00 +0100"]),  # either of the two, as cron has it
        ("0 12 13 * */2", ["Sat 13.06. 12:00 +0200"]),  # a field that begins with * does not restrict by itself
    ],
)
def test_what_the_fields_mean(text: str, wanted: list[str]) -> None:
    assert starts(text, BERLIN, berlin(2026, 3, 5, 12, 0), len(wanted)) == wanted


def test_a_start_is_later_than_what_was_asked_and_the_last_one_may_be_that_very_moment() -> None:
    cron, nine = parse_cron("0 9 * * *", "cron"), berlin(2026, 3, 5, 9).timestamp()
    assert next_start(cron, BERLIN, nine) == nine + 86400
    assert last_start(cron, BERLIN, nine, 3600.0) == nine
    assert last_start(cron, BERLIN, nine + 3600, 3600.0) == nine
    assert last_start(cron, BERLIN, nine + 3601, 3600.0) is None
    assert last_start(cron, BERLIN, nine - 1, 86400.0) == nine - 86400


class TestClocksJumpAhead:
    """Berlin, 29 March 2026: 02:00 is followed by 03:00."""

    def test_a_time_that_does_not_exist_is_the_moment_of_the_jump(self) -> None:
        assert starts("30 2 * * *", BERLIN, berlin(2026, 3, 28, 12), 2) == [
            "Sun 29.03. 03:00 +0200", "Mon 30.03. 02:30 +0200",
        ]  # fmt: skip

    def test_every_half_hour_stays_half_an_hour_of_real_time(self) -> None:
        after = berlin(2026, 3, 29, 1, 0)
        cron, moment, found = parse_cron("*/30 * * * *", "cron"), after.timestamp(), []
        for _ in range(6):
            following = next_start(cron, BERLIN, moment)
            assert following is not None
            found.append(following - moment)
            moment = following
        assert found == [1800.0] * 6

    def test_half_an_hour_of_lord_howe(self) -> None:
        zone = ZoneInfo("Australia/Lord_Howe")  # 4 October 2026, 02:00 is followed by 02:30
        assert starts("15 2 * * *", zone, datetime(2026, 10, 3, 12, tzinfo=zone), 1) == ["Sun 04.10. 02:30 +1100"]


class TestClocksAreSetBack:
    """Berlin, 25 October 2026: 03:00 is followed by 02:00."""

    def test_a_time_that_comes_twice_is_the_first(self) -> None:
        assert starts("30 2 * * *", BERLIN, berlin(2026, 10, 24, 12), 2) == [
            "Sun 25.10. 02:30 +0200", "Mon 26.10. 02:30 +0100",
        ]  # fmt: skip

    def test_every_hour_comes_twice(self) -> None:
        assert starts("30 */1 * * *", BERLIN, berlin(2026, 10, 25, 1, 45), 3) == [
            "Sun 25.10. 02:30 +0200", "Sun 25.10. 02:30 +0100", "Sun 25.10. 03:30 +0100",
        ]  # fmt: skip


@given(
    zone=st.sampled_from(ZONES),
    minute=st.integers(0, 59),
    hour=st.integers(0, 23),
    days=st.integers(0, 1095),
    seconds=st.integers(0, 86399),
)
def test_daily_means_each_local_day_once(zone: str, minute: int, hour: int, days: int, seconds: int) -> None:
    """Whatever clocks do: the next start is at most a day and the change away, on another day than the last one."""
    place, cron = ZoneInfo(zone), parse_cron(f"{minute} {hour} * * *", "cron")
    after = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(days=days, seconds=seconds)
    found = next_start(cron, place, after.timestamp())
    assert found is not None
    assert 0 < found - after.timestamp() <= timedelta(hours=26).total_seconds()
    assert last_start(cron, place, found, 60.0) == found
    second = next_start(cron, place, found)
    assert second is not None
    first_day, second_day = (datetime.fromtimestamp(t, place).date() for t in (found, second))
    assert second_day - first_day == timedelta(days=1)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("60 * * * *", "minute '60' is not within 0 to 59"),
        ("* 24 * * *", "hour '24' is not within 0 to 23"),
        ("* * 0 * *", "day of month '0'"),
        ("* * * 13 *", "month '13' is not within 1 to 12 or jan to dec"),
        ("* * * * 8", "day of week '8' is not within 0 to 7 or sun to sat"),
        ("* * * * mo", "day of week 'mo'"),
        ("5-1 * * * *", "minute '5-1' goes backwards"),
        ("*/0 * * * *", "has no step above 0"),
        ("*/x * * * *", "has no step above 0"),
        ("1,,2 * * * *", "minute ''"),
        ("1- * * * *", "minute '1-'"),
        ("* * L * *", "day of month 'L'"),
        ("* * * *", "has 4 fields, not 5"),
    ],
)
def test_what_cannot_be_read_is_named(text: str, problem: str) -> None:
    with pytest.raises(InvalidSpec, match=problem) as caught:
        parse_cron(text, "spec.schedule.windows[0].cron")
    assert caught.value.field == "spec.schedule.windows[0].cron"
    assert caught.value.remedy


def test_a_day_that_there_is_not_never_comes() -> None:
    for text in ("0 0 31 2 *", "0 0 30 feb *", "0 0 31 4,6,9,11 *"):
        cron = parse_cron(text, "cron")
        assert not cron.fires
        assert next_start(cron, BERLIN, berlin(2026, 1, 1).timestamp()) is None
    assert parse_cron("0 0 31 2 mon", "cron").fires  # Mondays of February


def test_a_leap_day_is_seen_over_a_century_without_one() -> None:
    after = datetime(2096, 3, 1, tzinfo=UTC)
    assert starts("0 0 29 2 *", ZoneInfo("UTC"), after, 1) == ["Fri 29.02. 00:00 +0000"]
