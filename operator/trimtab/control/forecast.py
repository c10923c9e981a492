"""How much load to expect: while the next trial runs, at most, from the same hours of the days before; and at the peak,
for which a recommendation must hold. Pure.

Notation: r_0 requests per second lately, p_0 in the last minute, r_d the same as r_0 d days ago, a_d what came then in
the time that the trial takes.
  expected = max(r_0, p_0, max_d a_d min(max(r_0 / r_d, 1/3), 3))
Each day says what it would come to at today's level, and the highest of them counts. A load that goes down counts as it
is now, and a crowd that no day has seen is the safety loop's. The peak is the highest load that came on two of the
days: what came on one alone was a crowd. While the load is far beyond the peak no trial starts.
"""

from __future__ import annotations

from trimtab.control.company import at_a_time
from trimtab.control.snapshot import LoadHistory
from trimtab.domain.spec import ExperimentSpec
from trimtab.domain.trial import Trial

LEAST_DAYS = 2
PEAK_DAYS, LEAST_PEAKS = 2, 3
CROWD = 1.25  # times the peak: more is none of its days
MOST_GROWTH = 3.0  # of a day's level against another's; more is another service
DECIMALS = 6


def expected_load(found: LoadHistory, ready: int) -> float | None:
    """Requests per second per pod of a target with `ready` pods, which get all of it if the arms take none, or of the
    whole service with 1; None where too little is known, so that the peak has to be expected."""
    if found.now is None or len(found.days) < LEAST_DAYS or ready < 1:
        return None
    levels = ((min(max(found.now / then, 1 / MOST_GROWTH), MOST_GROWTH), ahead) for then, ahead in found.days)
    present = [] if found.present.rate is None else [found.present.rate]
    highest = max(found.now, *present, *(level * ahead for level, ahead in levels))
    return round(highest / ready, DECIMALS)


def usual_peak(found: LoadHistory, ready: int) -> float | None:
    """Requests per second per pod, as in `expected_load`; None where too little is known to tell a peak from a crowd,
    as of a new service."""
    if len(found.highest) < LEAST_PEAKS or ready < 1:
        return None
    return round(sorted(found.highest, reverse=True)[PEAK_DAYS - 1] / ready, DECIMALS)


def peak_of(trials: tuple[Trial, ...]) -> tuple[float, int] | None:
    """The peak of the days before as a trial recorded it last, and of how many ready pods; None before one did."""
    known = ((t.suggestion.usual_peak, t.environment.target_replicas) for t in reversed(trials))
    return next(((peak, pods) for peak, pods in known if peak is not None), None)


def service_peak(trials: tuple[Trial, ...], fixed: bool) -> float | None:
    """The same of the whole service, requests per second; `fixed`: no parameter decides how many pods share it."""
    known = peak_of(trials)
    if known is None:
        return None
    peak, pods = known
    return peak * pods if fixed else peak


def whole(spec: ExperimentSpec, ready: int, per_pod: float, trial: Trial, trials: tuple[Trial, ...]) -> float:
    """Requests per second of a service of `ready` pods, from what each pod got beside the arms of a trial, which took
    their part: its own and those of trials beside it. By a route's weights an arm gets its share whatever its size."""
    replicas = spec.canary.replicas
    if spec.route is not None:
        return per_pod * replicas / spec.route.share
    return per_pod * (ready + 2 * replicas * at_a_time(trial, trials))


__all__ = ["CROWD", "expected_load", "peak_of", "service_peak", "usual_peak", "whole"]
