"""Five cron fields and the moments that they name in a time zone. Pure: the zone comes with its rules.

As Vixie's cron reads them: a day matches when either of a restricted day of month and a restricted day of week does.
Where clocks jump ahead, a time that does not exist is the moment of the jump; where they are set back, a time that
happens twice is the first of the two, both only when every hour is meant (`*` or `*/n`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from trimtab.domain.errors import InvalidSpec

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
REMEDY = "write minute, hour, day of month, month and day of week, like 0 9 * * 1-5"
SIGHT_DAYS = 2930  # from one 29 February to the next at most: 2096 to 2104
LONGEST_MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
REMEMBERED_DAYS = 512
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class _Field:
    name: str
    low: int
    high: int
    words: tuple[str, ...] = ()


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, MONTHS),
    _Field("day of week", 0, 7, WEEKDAYS),
)


@dataclass(frozen=True)
class Cron:
    """Sorted numbers of each field, weekdays from 0 (Sunday) to 6. `text` is what was written.

    `every_hour`, `every_day` and `every_weekday` say that a field begins with `*`.
    """

    text: str
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]
    every_hour: bool
    every_day: bool
    every_weekday: bool

    @property
    def fires(self) -> bool:
        """Whether there is a day that it names; 31 February is none."""
        return not self.every_weekday or any(self.days[0] <= LONGEST_MONTHS[m - 1] for m in self.months)

    def names(self, day: date) -> bool:
        """Whether it starts something on this day."""
        if day.month not in self.months:
            return False
        of_month, of_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        if self.every_day or self.every_weekday:
            return of_month and of_week
        return of_month or of_week


def parse_cron(text: str, field: str) -> Cron:
    """Read five cron fields.

    Raises:
        InvalidSpec: names what cannot be read in them.
    """
    parts = text.split()
    if len(parts) != len(_FIELDS):
        raise InvalidSpec(field, f"{text!r} has {len(parts)} fields, not 5", REMEDY)
    minutes, hours, days, months, weekdays = (_numbers(p, f, field) for p, f in zip(parts, _FIELDS, strict=True))
    return Cron(
        text=text,
        minutes=minutes,
        hours=hours,
        days=days,
        months=months,
        weekdays=tuple(sorted({day % 7 for day in weekdays})),
        every_hour=parts[1].startswith("*"),
        every_day=parts[2].startswith("*"),
        every_weekday=parts[4].startswith("*"),
    )


def _numbers(text: str, of: _Field, field: str) -> tuple[int, ...]:
    found: set[int] = set()
    for item in text.split(","):
        span, slash, step = item.partition("/")
        if slash and not (step.isascii() and step.isdigit() and int(step) > 0):
            raise InvalidSpec(field, f"{of.name} {item!r} has no step above 0", REMEDY)
        low, dash, high = span.partition("-")
        if span == "*":
            first, last = of.low, of.high
        else:
            first = _number(low, of, field, item)
            last = _number(high, of, field, item) if dash else of.high if slash else first
        if first > last:
            raise InvalidSpec(field, f"{of.name} {item!r} goes backwards", "write it as two ranges with a comma")
        found.update(range(first, last + 1, int(step) if slash else 1))
    return tuple(sorted(found))


def _number(text: str, of: _Field, field: str, item: str) -> int:
    if text.lower() in of.words:
        return of.words.index(text.lower()) + of.low
    if not (text.isascii() and text.isdigit() and of.low <= int(text) <= of.high):
        known = f" or {of.words[0]} to {of.words[-1]}" if of.words else ""
        raise InvalidSpec(field, f"{of.name} {item!r} is not within {of.low} to {of.high}{known}", REMEDY)
    return int(text)


def next_start(cron: Cron, zone: ZoneInfo, after: float) -> float | None:
    """The first start later than `after` (unix seconds), None when there is none within eight years."""
    day = datetime.fromtimestamp(after, zone).date() - _DAY
    for _ in range(SIGHT_DAYS):
        starts = _starts(cron, zone, day)
        if starts and starts[-1] > after:
            return starts[bisect_right(starts, after)]
        day += _DAY
    return None


def last_start(cron: Cron, zone: ZoneInfo, until: float, within: float) -> float | None:
    """The last start at `until` (unix seconds) or at most `within` seconds before, None when there is none."""
    day = datetime.fromtimestamp(until, zone).date() + _DAY
    first = datetime.fromtimestamp(until - within, zone).date() - _DAY
    while day >= first:
        starts = _starts(cron, zone, day)
        if starts and starts[0] <= until:
            found = starts[bisect_right(starts, until) - 1]
            return found if found >= until - within else None
        day -= _DAY
    return None


@lru_cache(maxsize=REMEMBERED_DAYS)
def _starts(cron: Cron, zone: ZoneInfo, day: date) -> tuple[float, ...]:
    """Unix seconds of the starts of one local day, ascending."""
    if not cron.names(day):
        return ()
    found = (moment for h in cron.hours for m in cron.minutes for moment in _moments(cron, zone, day, time(h, m)))
    return tuple(sorted(set(found)))


def _moments(cron: Cron, zone: ZoneInfo, day: date, at: time) -> Iterator[float]:
    """When a clock on the wall shows this: once, twice, or never, which is when it jumps past."""
    wall = datetime.combine(day, at, zone)
    first, second = wall.timestamp(), wall.replace(fold=1).timestamp()
    if first == second:
        yield first
    elif first < second:  # set back: it happens twice
        yield first
        if cron.every_hour:
            yield second
    else:
        yield _jump(zone, second, first)


def _jump(zone: ZoneInfo, before: float, after: float) -> float:
    """The second at which the clock jumps, between two moments (unix seconds)."""
    low, high = int(before), int(after)
    old = _offset(zone, low)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _offset(zone, middle) == old else (low, middle)
    return float(high)


def _offset(zone: ZoneInfo, moment: int) -> timedelta | None:
    return datetime.fromtimestamp(moment, UTC).astimezone(zone).utcoffset()


__all__ = ["Cron", "last_start", "next_start", "parse_cron"]
