"""Prometheus alerts that an Experiment names: do they stop its trials? Pure.

They close like an error budget that burns, and open again once all of them have been silent for as long. What the store
remembers of its alerts is asked for each time, so a restart forgets nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trimtab.domain.measurement import AlertSeen
from trimtab.domain.quantity import format_duration, format_moment
from trimtab.slo.budget import CLEAR_SECONDS

ALERT_FIRING = "AlertFiring"


@dataclass(frozen=True)
class Alarm:
    """Alerts that stop trials: in words, the same for as long as nothing changes. `until` (unix seconds) when trials
    may start if all stays silent, None while one fires. `seen` is what the store told of them."""

    words: str
    until: float | None
    seen: tuple[AlertSeen, ...] = ()

    @property
    def readings(self) -> tuple[str, ...]:
        """A line for each alert."""
        return tuple(
            f"alert {a.name} {'fires' if a.firing else 'is over'}, seen last at {format_moment(a.last)}"
            for a in self.seen
        )


def alarm(seen: Sequence[AlertSeen], now: float) -> Alarm | None:
    """What the alerts that fired within the last CLEAR_SECONDS say, None when none did."""
    firing = sorted(a.name for a in seen if a.firing)
    if firing:
        verb = "fires" if len(firing) == 1 else "fire"
        words = f"{_named(firing)} {verb}; trials start {format_duration(CLEAR_SECONDS)} after it is over"
        return Alarm(words, None, tuple(seen))
    recent = [a for a in seen if now - a.last < CLEAR_SECONDS]
    if not recent:
        return None
    last = max(recent, key=lambda a: (a.last, a.name))
    until = last.last + CLEAR_SECONDS
    words = f"{_named([last.name])} fired until {format_moment(last.last)}; trials start at {format_moment(until)}"
    return Alarm(words, until, tuple(seen))


def _named(names: Sequence[str]) -> str:
    return f"alert {', '.join(names)}" if len(names) == 1 else f"alerts {', '.join(names)}"


__all__ = ["ALERT_FIRING", "Alarm", "alarm"]
