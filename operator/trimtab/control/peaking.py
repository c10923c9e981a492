"""One of the trials that verify a recommendation runs at the peak: what holds at night may not hold at noon. Pure.

The last of them waits until the load is near the peak of the days before (`forecast.usual_peak`), if none before it saw
that, for a day at most: a peak that does not come again must not hold an answer back for ever. The recommendation says
how much of the peak its trials saw. Where no peak is known nobody waits, and where an autoscaler keeps pods at its
target they are driven alike at all hours.
"""

from __future__ import annotations

import math
from statistics import fmean

from trimtab.control.actions import Decision
from trimtab.control.arms import cost_model
from trimtab.control.context import Context, Held
from trimtab.control.forecast import service_peak, whole
from trimtab.control.pods import load_context, load_of
from trimtab.control.snapshot import AskPresent
from trimtab.domain.kube import Target
from trimtab.domain.measurement import Arm
from trimtab.domain.trial import Trial

NEAR = 0.9  # of the peak: the mean of a window around it is below its highest ten minutes
LONGEST = 26 * 3600.0  # seconds: a day, and what two days differ by
LOOK_AGAIN = 300.0


def at_peak(context: Context, passed: tuple[Trial, ...], number: int) -> Decision | Held | None:
    """Why verification trial `number` waits for the peak, or what has to be asked first. `passed`: those before it."""
    wanted, peak = context.spec.verification, _peak(context)
    if peak is None or not wanted.at_peak or number < wanted.replicates:
        return None
    if (seen_of_peak(context, passed) or 0.0) >= NEAR:
        return None
    latest = max((t.times.finished or 0.0 for t in context.seen.trials), default=context.now) + LONGEST
    if context.now >= latest:
        return None
    present = context.seen.present()
    if present is None:
        return context.ask(AskPresent())
    if present.rate is None or present.rate >= NEAR * peak:
        return None
    hours = math.ceil((latest - context.now) / 3600)
    now = f"{present.rate:,.0f} of {peak:,.0f} requests/s now"
    why = f"waiting for the peak to verify at: {now}; {hours} h longer at most"
    return Held(why, min(LOOK_AGAIN, latest - context.now))


def seen_of_peak(context: Context, fresh: tuple[Trial, ...]) -> float | None:
    """The highest load of these trials as a fraction of the peak; None where either is unknown."""
    peak = _peak(context)
    if peak is None:
        return None
    return max((load / peak for t in fresh if (load := _load(context, t)) is not None), default=None)


def _peak(context: Context) -> float | None:
    record, target = context.state.target, context.seen.target
    if record is None or record.scaled is not None or not isinstance(target, Target):
        return None
    return service_peak(context.seen.trials, cost_model(context.spec, target, record).fixed)


def _load(context: Context, trial: Trial) -> float | None:
    """Requests per second of the whole service while a trial measured."""
    record, target = context.state.target, context.seen.target
    assert record is not None
    assert isinstance(target, Target)
    cost, found = cost_model(context.spec, target, record), []
    for arm, own in ((Arm.CANARY, trial.assignment), (Arm.CONTROL, record.baseline)):
        load = load_of(trial, arm)
        each = None if load is None else load_context(cost, own, load)
        if each is not None:
            found.append(each)
    if not found:
        return None
    per_pod = fmean(found)
    return whole(context.spec, target.ready_replicas, per_pod, trial, context.seen.trials) if cost.fixed else per_pod


__all__ = ["at_peak", "seen_of_peak"]
