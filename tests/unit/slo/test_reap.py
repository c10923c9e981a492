"""What reap removes and keeps: a table of all that can be known, and what it takes to know it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trimtab.domain.reaping import LeaseSeen, LeftArms, Standing
from trimtab.slo.reap import (
    BLIND_SECONDS,
    CLOCK_TOLERANCE,
    STALE_SECONDS,
    STRAY_SECONDS,
    Cause,
    Keep,
    Remove,
    Unsure,
    Watched,
    judge,
    saw_arms,
    saw_lease,
)

WALL = 1_700_000_000.0
ARMS = LeftArms("shop", "e", "tune", "u", "tune-0001", WALL + 600, Standing.LIVE)
LEADER = LeaseSeen("one", "t0", 15.0)


def looks(*leases: tuple[float, LeaseSeen]) -> Watched:
    """What a process knows that read the Lease at these times."""
    watched = Watched()
    for at, lease in leases:
        watched = saw_lease(watched, lease, at)
    return watched


def unrenewed(seconds: float, lease: LeaseSeen = LEADER) -> Watched:
    """The same Lease, read every ten seconds."""
    return looks(*((float(at), lease) for at in range(0, int(seconds), 10)), (seconds, lease))


RENEWED = looks((0.0, LEADER), (2.0, replace(LEADER, renewed="t1")))
LONG = replace(LEADER, duration=120.0)


@pytest.mark.parametrize(
    ("watched", "now", "wall", "standing", "expected"),
    [
        # Somebody renews.
        (RENEWED, 2.0, WALL, Standing.LIVE, Keep),
        (RENEWED, 2.0, WALL, Standing.UNREAD, Unsure),
        (RENEWED, 17.0, WALL, Standing.LIVE, Keep),
        (RENEWED, 17.1, WALL, Standing.LIVE, Unsure),
        # Past the deadline they go, whoever leads.
        (RENEWED, 2.0, WALL + 600 + CLOCK_TOLERANCE, Standing.LIVE, Cause.DEADLINE_PASSED),
        (RENEWED, 2.0, WALL + 599 + CLOCK_TOLERANCE, Standing.LIVE, Keep),
        (Watched(), 0.0, WALL + 600 + CLOCK_TOLERANCE, Standing.UNREAD, Cause.DEADLINE_PASSED),
        # Nobody knows yet.
        (Watched(), 0.0, WALL, Standing.LIVE, Unsure),
        (looks((0.0, LEADER)), 0.0, WALL, Standing.LIVE, Unsure),
        (unrenewed(STALE_SECONDS - 0.1), STALE_SECONDS - 0.1, WALL, Standing.LIVE, Unsure),
        # Nobody leads.
        (unrenewed(STALE_SECONDS), STALE_SECONDS, WALL, Standing.LIVE, Cause.NOBODY_LEADS),
        (unrenewed(STALE_SECONDS), STALE_SECONDS, WALL, Standing.UNREAD, Cause.NOBODY_LEADS),
        (unrenewed(STALE_SECONDS, LeaseSeen()), STALE_SECONDS, WALL, Standing.LIVE, Cause.NOBODY_LEADS),
        (unrenewed(STALE_SECONDS - 1, LeaseSeen()), STALE_SECONDS - 1, WALL, Standing.LIVE, Unsure),
        # A Lease of two minutes is its holder's for all of them.
        (unrenewed(119, LONG), 119.0, WALL, Standing.LIVE, Unsure),
        (unrenewed(120, LONG), 120.0, WALL, Standing.LIVE, Cause.NOBODY_LEADS),
    ],
)
def test_what_is_known_decides(
    watched: Watched, now: float, wall: float, standing: Standing, expected: type | Cause
) -> None:
    verdict = judge(replace(ARMS, standing=standing), watched, now, wall)
    if isinstance(expected, Cause):
        assert isinstance(verdict, Remove)
        assert verdict.cause is expected
        assert any(c.isdigit() for c in verdict.words), "it says why with numbers"
    else:
        assert isinstance(verdict, expected)


@pytest.mark.parametrize("standing", [Standing.ENDED, Standing.GONE])
def test_a_stray_goes_when_nobody_removed_it_for_a_while(standing: Standing) -> None:
    arms = replace(ARMS, standing=standing)
    watched = saw_arms(RENEWED, [arms], 2.0)
    assert isinstance(judge(arms, watched, 2.0, WALL), Unsure)
    watched = saw_arms(watched, [arms], 2.0 + STRAY_SECONDS)
    verdict = judge(arms, watched, 2.0 + STRAY_SECONDS, WALL)
    assert isinstance(verdict, Remove)
    assert verdict.cause is Cause.STRAY


def test_a_stray_that_went_and_one_that_could_not_be_read_again() -> None:
    gone, unread = replace(ARMS, standing=Standing.GONE), replace(ARMS, standing=Standing.UNREAD)
    watched = saw_arms(RENEWED, [gone], 2.0)
    assert saw_arms(watched, [], 4.0).strays == ()
    assert saw_arms(watched, [unread], 4.0).strays == (("u", 2.0),)
    assert saw_arms(RENEWED, [unread], 4.0).strays == ()


def test_arms_without_a_deadline_are_judged_by_the_rest() -> None:
    arms = replace(ARMS, deadline=None)
    assert isinstance(judge(arms, RENEWED, 2.0, WALL + 1e9), Keep)
    verdict = judge(arms, unrenewed(STALE_SECONDS), STALE_SECONDS, WALL)
    assert isinstance(verdict, Remove)


def test_a_lease_that_could_not_be_read_for_a_while_is_watched_anew() -> None:
    """After an outage of the API server a living leader, too, needs a moment to renew."""
    blind = saw_lease(unrenewed(29.0), LEADER, 29.0 + BLIND_SECONDS + 0.1)
    assert not blind.stale(29.0 + BLIND_SECONDS + 0.1)
    assert blind.since == 29.0 + BLIND_SECONDS + 0.1
    short = saw_lease(unrenewed(31.0), LEADER, 31.0 + BLIND_SECONDS)
    assert short.stale(61.0)
    assert not unrenewed(STALE_SECONDS).stale(STALE_SECONDS + BLIND_SECONDS + 1), "and nothing is concluded meanwhile"


def test_a_lease_that_was_given_up_is_nobodys_from_then_on() -> None:
    watched = looks((0.0, LEADER), (2.0, replace(LEADER, renewed="t1")), (10.0, LeaseSeen("", "t2", 1.0)))
    assert (watched.since, watched.led(10.0)) == (10.0, False)
    later = looks((0.0, LeaseSeen()), (20.0, LeaseSeen("", "written by a hand")))
    assert later.since == 0.0


def test_a_hand_on_the_lease_is_no_renewal() -> None:
    """Only who holds it and when it was renewed count."""
    watched = looks((0.0, LEADER), (5.0, replace(LEADER, duration=14.0)))
    assert (watched.since, watched.led(5.0)) == (0.0, False)


def test_another_holder_leads() -> None:
    watched = looks((0.0, LEADER), (20.0, LeaseSeen("two", "t9", 15.0)))
    assert watched.led(20.0)
