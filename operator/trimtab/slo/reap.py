"""What `trimtab reap` removes, and why: no canary outlives its controller. Pure.

    an arm's deadline passed CLOCK_TOLERANCE ago, by this process' wall clock   removed, whoever leads
    nobody renewed the Lease for STALE_SECONDS, seen by this process            every arm removed
    its Trial ended or is gone, for STRAY_SECONDS, seen by this process         removed
    its Trial is live, and somebody was seen to renew                           kept
    else                                                                        not known yet: look again

Staleness is what this very process saw with its monotonic clock, as a candidate for the Lease judges it (ADR 4): the
renewTime in the Lease is another node's wall clock, and an offset would either take live trials away each minute or
leave a dead operator's canary for as long as the clocks differ. A deadline is a time of the wall and cannot be judged
otherwise; so there clocks may differ by CLOCK_TOLERANCE. One that is further ahead ends trials early, which is a
nuisance and no danger.

Time in which the Lease could not be read is no time in which nobody renewed it: after an outage of the API server a
leader needs a moment, too. So a gap in the reading of more than BLIND_SECONDS begins the observation anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from trimtab.domain.reaping import LeaseSeen, LeftArms, Standing

STALE_SECONDS = 60.0
STRAY_SECONDS = 30.0  # a living operator removes what nobody has to undo within a few
CLOCK_TOLERANCE = 60.0
BLIND_SECONDS = 30.0
RENEWING_SECONDS = 15.0  # the usual duration of a Lease: who renewed within it leads


class Cause(StrEnum):
    """Why arms are removed."""

    DEADLINE_PASSED = "DeadlinePassed"
    NOBODY_LEADS = "NobodyLeads"
    STRAY = "Stray"


@dataclass(frozen=True)
class Watched:
    """What this process has seen of the Lease and of strays, in its monotonic seconds. Make it empty at the start.

    `since`: the Lease stands as it does, or nobody leads; `renewed`: it was seen to be renewed; None: never yet.
    """

    lease: LeaseSeen | None = None
    read: float = 0.0
    since: float = 0.0
    renewed: float | None = None
    strays: tuple[tuple[str, float], ...] = ()

    def unrenewed(self, now: float) -> float | None:
        """Seconds for which nobody renewed the Lease, None while it was never read."""
        return None if self.lease is None else now - self.since

    def stale(self, now: float) -> bool:
        """Does nobody lead? A Lease of a longer duration than usual is its holder's for all of it."""
        if self.lease is None or now - self.read > BLIND_SECONDS:
            return False
        return now - self.since >= max(STALE_SECONDS, self.lease.duration)

    def led(self, now: float) -> bool:
        """Was somebody just seen to renew?"""
        if self.lease is None or not self.lease.holder or self.renewed is None:
            return False
        return now - self.renewed <= max(RENEWING_SECONDS, self.lease.duration)


@dataclass(frozen=True)
class Remove:
    """These arms have to go; `words` say why, with numbers."""

    cause: Cause
    words: str


@dataclass(frozen=True)
class Keep:
    """Somebody leads, and the trial is live."""


@dataclass(frozen=True)
class Unsure:
    """Nothing is known yet; look again."""

    words: str


Verdict = Remove | Keep | Unsure


def saw_lease(watched: Watched, lease: LeaseSeen, now: float) -> Watched:
    """The Lease was read just now (monotonic seconds)."""
    before = watched.lease
    if before is None or now - watched.read > BLIND_SECONDS:
        return replace(watched, lease=lease, read=now, since=now, renewed=None)
    if not lease.holder:
        given_up = now if before.holder else watched.since
        return replace(watched, lease=lease, read=now, since=given_up, renewed=None)
    if (lease.holder, lease.renewed) != (before.holder, before.renewed):
        return replace(watched, lease=lease, read=now, since=now, renewed=now)
    return replace(watched, lease=lease, read=now)


def saw_arms(watched: Watched, arms: Iterable[LeftArms], now: float) -> Watched:
    """These arms were there just now; those of an ended or missing Trial are remembered since they were first seen so.

    One whose Trial could not be read this time stays what it was.
    """
    before = dict(watched.strays)
    strays = {
        each.trial_uid: before.get(each.trial_uid, now)
        for each in arms
        if each.standing in (Standing.ENDED, Standing.GONE)
        or (each.standing is Standing.UNREAD and each.trial_uid in before)
    }
    return replace(watched, strays=tuple(sorted(strays.items())))


def judge(arms: LeftArms, watched: Watched, now: float, wall: float) -> Verdict:
    """Whether the arms of one trial have to go.

    Args:
        now: monotonic seconds, of the same clock as `watched`.
        wall: unix seconds.
    """
    if arms.deadline is not None and wall - arms.deadline >= CLOCK_TOLERANCE:
        return Remove(Cause.DEADLINE_PASSED, f"its deadline passed {wall - arms.deadline:.0f} s ago")
    if watched.stale(now):
        return Remove(Cause.NOBODY_LEADS, _nobody(watched, now))
    since = dict(watched.strays).get(arms.trial_uid)
    if since is not None:
        words = f"its Trial {_STANDS[arms.standing]}, and nobody removed them for {now - since:.0f} s"
        return Remove(Cause.STRAY, words) if now - since >= STRAY_SECONDS else Unsure(words)
    if arms.standing is Standing.UNREAD:
        return Unsure(f"its Trial could not be read ({arms.unread})")
    return Keep() if watched.led(now) else Unsure(_nobody(watched, now))


_STANDS = {
    Standing.LIVE: "is live",
    Standing.ENDED: "has ended",
    Standing.GONE: "is gone",
    Standing.UNREAD: "could not be read again",
}


def _nobody(watched: Watched, now: float) -> str:
    seconds = watched.unrenewed(now)
    if watched.lease is None or seconds is None:
        return "the Lease could not be read yet"
    if not watched.lease.holder:
        return f"nobody has held the Lease for {seconds:.0f} s"
    return f"{watched.lease.holder} has not renewed the Lease for {seconds:.0f} s"


__all__ = ["Cause", "Keep", "Remove", "Unsure", "Verdict", "Watched", "judge", "saw_arms", "saw_lease"]
