"""When trials may run: recurring windows in a time zone, freezes, and what becomes of live trials at their edges. Pure.

Moments are unix seconds, lengths are seconds. A window's length is elapsed time: on the day on which clocks change it
ends an hour earlier or later on the wall. Windows that touch or overlap are one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from trimtab.domain.cron import Cron, last_start, next_start

MOST_STRETCHES = 1000  # of open time that one question looks through
OUTSIDE, FROZEN = "OutsideSchedule", "Frozen"


@dataclass(frozen=True)
class ScheduleWindow:
    """Open from each start for so many seconds."""

    cron: Cron
    seconds: float


@dataclass(frozen=True)
class Freeze:
    """Nothing runs from `start` until `end`."""

    start: float
    end: float
    reason: str = ""


@dataclass(frozen=True)
class Closure:
    """Why no trial may run at a moment: a CamelCase reason, words, and until when, None where no end is in sight."""

    reason: str
    words: str
    until: float | None


@dataclass(frozen=True)
class Course:
    """How long a trial takes that is to start: `usual` seconds, `longest` until its deadline."""

    usual: float
    longest: float


@dataclass(frozen=True)
class Schedule:
    """`withdraw`: a live trial is withdrawn when a window closes or a freeze begins; else it is finished."""

    zone: ZoneInfo
    windows: tuple[ScheduleWindow, ...] = ()
    freezes: tuple[Freeze, ...] = ()
    withdraw: bool = False

    def closure(self, at: float) -> Closure | None:
        """Why nothing may start at this moment, None where a trial that takes no time could."""
        frozen = self._frozen(at, at)
        if frozen is None and self._open(at):
            return None
        opens = self.opens(at)
        if frozen is not None:
            why = f": {frozen.reason}" if frozen.reason else ""
            return Closure(FROZEN, f"frozen {self._until(opens)}{why}", opens)
        return Closure(OUTSIDE, f"outside its schedule {self._until(opens)}", opens)

    def too_late(self, at: float, course: Course) -> Closure | None:
        """Why a trial that takes so long may not start at this moment, though it is open; None when it may.

        A freeze finds no trial that was started knowing of it: where live trials are finished, its deadline lies
        before. A window that closes is outlived by one, unless that would be withdrawn.
        """
        end = self._end_of_room(at, course)
        if end is None:
            return None
        span = course.usual if self.withdraw else course.longest
        frozen = self._frozen(at, at + span)
        opens = self.first_start(at, course)
        what = "a freeze" if frozen is not None else "its window's end"
        words = f"outside its schedule {self._until(opens)}: too little time before {what} at {self.show(end)}"
        return Closure(FROZEN if frozen is not None else OUTSIDE, words, opens)

    def opens(self, at: float) -> float | None:
        """The first moment from `at` on that is open, None when there is none in sight."""
        return self.first_start(at, Course(0.0, 0.0))

    def first_start(self, at: float, course: Course, until: float | None = None) -> float | None:
        """The first moment from `at` on at which a trial that takes so long may start; None when there is none before
        `until` or in sight."""
        for _ in range(MOST_STRETCHES):
            if until is not None and at >= until:
                return None
            frozen = self._frozen(at, at + (course.usual if self.withdraw else course.longest))
            if frozen is not None:
                at = frozen.end
                continue
            if self._open(at) and (end := self._end_of_room(at, course)) is None:
                return at
            after = end if self._open(at) and end is not None else at
            later = self._next_window(after)
            if later is None:
                return None
            at = later
        return None

    def end_of_time(self, at: float, seconds: float) -> float:
        """When so many open seconds have passed since `at`; where no more is in sight, when there were none left."""
        for _ in range(MOST_STRETCHES):
            begin = self.opens(at)
            if begin is None:
                return at
            at = self.closes(begin, seconds)
            seconds -= at - begin
            if seconds <= 0:
                return at
        return at

    def closes(self, at: float, within: float) -> float:
        """Until when an open moment's time goes on, at most `within` seconds."""
        end = self._window_end(at, within)
        return min([end, *(f.start for f in self.freezes if at < f.start < end)])

    def show(self, at: float) -> str:
        """`Mon 2026-03-09 09:00 Europe/Berlin`."""
        return f"{datetime.fromtimestamp(at, self.zone):%a %Y-%m-%d %H:%M} {self.zone.key}"

    def _until(self, moment: float | None) -> str:
        return f"until {self.show(moment)}" if moment is not None else "with no time for a trial in sight"

    def _frozen(self, begin: float, end: float) -> Freeze | None:
        """The first freeze that is there at `begin`, or begins before `end`."""
        found = (f for f in self.freezes if f.start <= begin < f.end or begin <= f.start < end)
        return min(found, key=lambda f: f.start, default=None)

    def _open(self, at: float) -> bool:
        return not self.windows or self._window_end(at, 1.0) > at

    def _window_end(self, at: float, within: float) -> float:
        """The end of the windows that are open at `at` and of those that follow without a gap; `at` when none is."""
        if not self.windows:
            return at + within
        end = at
        while end < at + within:
            begun = ((w, last_start(w.cron, self.zone, end, w.seconds)) for w in self.windows)
            later = max((start + w.seconds for w, start in begun if start is not None), default=end)
            if later <= end:
                return end
            end = later
        return at + within

    def _next_window(self, after: float) -> float | None:
        """The next start of a window from `after` on."""
        found = (next_start(w.cron, self.zone, after - 1e-3) for w in self.windows)
        return min((start for start in found if start is not None), default=None)

    def _end_of_room(self, at: float, course: Course) -> float | None:
        """When the time is over that a trial started at an open moment needs, None when there is enough."""
        span = course.usual if self.withdraw else course.longest
        frozen = self._frozen(at, at + span)
        end = self._window_end(at, span) if self.withdraw else at + span
        if frozen is not None and frozen.start < end:
            return frozen.start
        return end if end < at + span else None


__all__ = ["FROZEN", "OUTSIDE", "Closure", "Course", "Freeze", "Schedule", "ScheduleWindow"]
