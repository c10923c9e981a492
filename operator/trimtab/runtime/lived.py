"""For how long a canary's requests can have gone unseen, by the clock that nobody sets.

What a canary spent unseen is booked as bad for the seconds from its newest sample to the end of its pods. Both are wall
times, and a wall clock may jump: booked by it alone, two hours that never passed for the canary cost twenty error
budgets, and no trial may start until they leave the window. So each time that a sample is new, the time by the
monotonic clock is noted beside it: later requests cannot have gone unseen for longer than what has passed since, and
the gap there was then. That bound holds whatever is done to the wall clock afterwards. The account takes the lower of
the two figures, and never less than what was spent: what this process has not lived through, as after a restart, is
booked by the wall clock.
"""

from __future__ import annotations

from collections.abc import Iterable

from trimtab.domain.trial import Spent
from trimtab.ports import Clock

KEPT_SECONDS = 3600.0  # after the last note about a trial, within which its account is settled


class Lived:
    """Remembers when samples were new; shared by who watches a canary and who settles its account."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # By the Trial's uid. Times of `until` are unix seconds, all others monotonic ones.
        self._notes: dict[str, dict[str, tuple[float, float]]] = {}  # SLI -> (until, when that was)
        self._unserved: dict[str, float] = {}
        self._noted: dict[str, float] = {}

    def unserved(self, trial_uid: str, at: float) -> None:
        """Its canary had never served until `at` (monotonic seconds)."""
        self._touch(trial_uid)
        if trial_uid not in self._notes:
            self._unserved[trial_uid] = at

    def counted(self, trial_uid: str, spent: Iterable[Spent], now: float, at: float) -> None:
        """It was counted at `now` (unix seconds), which was `at` (monotonic seconds)."""
        self._touch(trial_uid)
        notes = self._notes.setdefault(trial_uid, {})
        for each in spent:
            old = notes.get(each.sli)
            if each.until is not None and each.until <= now and (old is None or each.until > old[0]):
                notes[each.sli] = (each.until, at - (now - each.until))

    def at_most(self, trial_uid: str, sli: str) -> float | None:
        """Seconds that its requests may have gone unseen; None when this process cannot tell."""
        note, unserved = self._notes.get(trial_uid, {}).get(sli), self._unserved.get(trial_uid)
        since = [t for t in (note[1] if note is not None else None, unserved) if t is not None]
        return max(self._clock.monotonic() - max(since), 0.0) if since else None

    def _touch(self, trial_uid: str) -> None:
        now = self._clock.monotonic()
        self._noted[trial_uid] = now
        for uid in [uid for uid, at in self._noted.items() if now - at > KEPT_SECONDS]:
            del self._noted[uid]
            self._notes.pop(uid, None)
            self._unserved.pop(uid, None)


__all__ = ["Lived"]
