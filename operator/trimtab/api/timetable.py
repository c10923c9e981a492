"""spec.schedule: wire to domain, with the time zone's rules from the tz database."""

from __future__ import annotations

from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from trimtab.api.settings import Freeze, Schedule, ScheduleWindow
from trimtab.api.times import parse_time
from trimtab.domain import schedule
from trimtab.domain.cron import parse_cron
from trimtab.domain.errors import InvalidSpec
from trimtab.domain.quantity import parse_duration
from trimtab.domain.texts import nearest


def schedule_of(given: Schedule, field: str) -> schedule.Schedule:
    """When trials may run.

    Raises:
        InvalidSpec: a time zone that there is not, a cron that cannot be read or that never starts anything.
    """
    return schedule.Schedule(
        zone=_zone(given.time_zone, f"{field}.timeZone"),
        windows=tuple(_window(w, f"{field}.windows[{i}]") for i, w in enumerate(given.windows)),
        freezes=tuple(_freeze(f) for f in given.freezes),
        withdraw=given.on_close == "Withdraw",
    )


def _zone(name: str, field: str) -> ZoneInfo:
    """The rules of a zone. A name may be a folder of the database, or none of it."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        meant = nearest(name, _zones())
        remedy = f"did you mean {meant}?" if meant else "write it like UTC or Europe/Berlin"
        raise InvalidSpec(field, f"{name!r} is not in the tz database", remedy) from None


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    """Every name of the database; looking through it takes a while."""
    return frozenset(available_timezones())


def _window(given: ScheduleWindow, field: str) -> schedule.ScheduleWindow:
    cron = parse_cron(given.cron, f"{field}.cron")
    if not cron.fires:
        raise InvalidSpec(f"{field}.cron", f"{given.cron!r} names no day that there is", "correct day and month")
    return schedule.ScheduleWindow(cron, parse_duration(given.duration))


def _freeze(given: Freeze) -> schedule.Freeze:
    return schedule.Freeze(parse_time(given.start), parse_time(given.end), " ".join(given.reason.split()))


__all__ = ["schedule_of"]
