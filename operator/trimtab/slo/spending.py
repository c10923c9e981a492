"""What a canary costs an error budget: what telemetry counted, and what it could not see. Pure.

Notation, per SLI of an error budget
    k, n    bad and total requests of the canary, counted up to `until` (unix seconds): its newest sample
    r       requests per second, as last seen
    u       seconds that were served after `until`

Every unseen request counts as bad. So what is on record is never less than what was spent, as long as the load does not
grow while nobody looks: k + r u >= bad requests, however many of the unseen ones were bad. That holds for u by the wall
clock and for u by the monotonic clock of a process that lived through it (`runtime.lived`); what a wall clock jumped
over never passed for the canary, so the lower of the two is booked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from trimtab.domain.measurement import NoData, Reading, Sample
from trimtab.domain.spec import ExperimentSpec
from trimtab.domain.trial import Spent


def counted(old: Spent, reading: Reading, end: float) -> Spent:
    """The count brought up to date by event sums from the first request up to `end` (unix seconds). A reading that is
    absent changes nothing; pods that were scraped and had nothing to count were seen."""
    match reading:
        case Sample(bad=bad, total=total, newest=newest) if bad is not None:
            until = end if newest is None else min(newest, end)
            return replace(old, bad=max(old.bad, bad), total=max(old.total, total), until=_later(old.until, until))
        case NoData(newest=newest) if newest is not None:
            return replace(old, until=_later(old.until, min(newest, end)))
        case _:
            return old


def pace(spent: Spent, since: float | None, measured: float | None, expected: float | None) -> float:
    """r: as the last windows show it, else as last known, else the larger of the canary's share of the load and of what
    it served so far on average.

    Args:
        since: from when on the canary served (unix seconds), None when that is not known.
        measured: requests per second in the last windows, None when they could not be read.
        expected: the canary's share of the load, None when that is not known.
    """
    if measured is not None:
        return measured
    if spent.rate is not None:
        return spent.rate
    served = spent.until - since if spent.until is not None and since is not None else 0.0
    average = spent.total / served if served > 0 else 0.0
    return average if expected is None else max(expected, average)


def closed(spent: Spent, end: float, rate: float, at_most: float | None = None) -> Spent:
    """The account of a canary that served until `end` (unix seconds), at the latest: what was not counted is bad.

    Args:
        at_most: seconds that can have gone unseen by the monotonic clock, None when nobody can tell.
    """
    seconds = unseen_seconds(spent, end)
    unseen = (seconds if at_most is None else min(seconds, at_most)) * rate
    return replace(spent, rate=rate, unseen=max(spent.unseen, unseen))


def unseen_seconds(spent: Spent, now: float) -> float:
    """u: seconds that were served and not counted; 0 while nothing is known to have been served."""
    return 0.0 if spent.until is None else max(now - spent.until, 0.0)


def expected_rate(spec: ExperimentSpec, requests_per_second: float | None, pods: int) -> float | None:
    """What a canary gets of the service's requests, beside `pods` of the target."""
    return None if requests_per_second is None else requests_per_second * spec.arm_share(pods)


def merged(one: Iterable[Spent], other: Iterable[Spent]) -> tuple[Spent, ...]:
    """Two accounts of one canary: the larger of each figure, by SLI."""
    found = {s.sli: s for s in one}
    for s in other:
        old = found.get(s.sli)
        found[s.sli] = s if old is None else _larger(old, s)
    return tuple(found[name] for name in sorted(found))


def _larger(one: Spent, other: Spent) -> Spent:
    newer = other if _later(one.until, other.until) == other.until else one
    return Spent(
        one.sli,
        max(one.bad, other.bad),
        max(one.total, other.total),
        max(one.unseen, other.unseen),
        newer.rate if newer.rate is not None else one.rate,
        newer.until,
    )


def _later(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)


__all__ = ["closed", "counted", "expected_rate", "merged", "pace", "unseen_seconds"]
