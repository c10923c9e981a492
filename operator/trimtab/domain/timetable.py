"""An Experiment's trials against its schedule: how long one takes, and whether one could ever start. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from trimtab.domain.quantity import format_duration
from trimtab.domain.schedule import Course
from trimtab.domain.spec import ExperimentSpec, Mode

PREPARING = 60.0  # seconds that arms usually take until they serve, where no trial has shown it yet
ENDING = 10.0  # seconds that it takes until arms are gone
SCRAPE = 15.0  # seconds between scrapes, until preflight has measured them


@dataclass(frozen=True)
class Never:
    """No trial could start: the field, what is wrong with numbers, and the remedy."""

    field: str
    problem: str
    remedy: str


def course_of(
    spec: ExperimentSpec, *, verification: bool = False, preparing: float = PREPARING, scrape: float = SCRAPE
) -> Course:
    """How long a trial takes from its record until its arms are gone (seconds)."""
    measured = spec.verification.duration if verification else spec.trial.duration
    usual = preparing + max(spec.trial.warm_up, 2 * scrape) + measured + 1.5 * scrape
    return Course(min(usual, spec.trial.deadline) + ENDING, spec.trial.deadline + 2 * ENDING)


def never(spec: ExperimentSpec, now: float, scrape: float = SCRAPE) -> Never | None:
    """Why no trial, or no verification, could start between `now` (unix seconds) and the end of maxDuration; None when
    one can, or there is no schedule to keep.

    Of a trial that has no predecessor the operator expects the same as is expected here, so it would wait for ever.
    """
    schedule = spec.schedule
    if schedule is None or spec.mode is Mode.OBSERVE:
        return None
    most = spec.stopping.max_duration
    until = now + most
    if schedule.first_start(now, Course(0.0, 0.0), until) is None:
        opens = schedule.opens(now)
        when = f"the next one is {schedule.show(opens)}" if opens is not None else "there is none in sight"
        problem = f"no time for a trial within stopping.maxDuration ({format_duration(most)}): {when}"
        return Never("spec.schedule", problem, "move windows and freezes, or raise stopping.maxDuration")
    for verification in (False, True) if spec.verification.replicates else (False,):
        course = course_of(spec, verification=verification, scrape=scrape)
        if schedule.first_start(now, course, until) is None:
            span = course.usual if schedule.withdraw else course.longest
            what = "verification trial" if verification else "trial"
            return _too_short(what, span, schedule.withdraw)
    return None


def _too_short(what: str, span: float, withdraw: bool) -> Never:
    if not withdraw:
        problem = f"freezes leave no {format_duration(span)} at a time, in which a {what} must end by its deadline"
        return Never("spec.schedule.freezes", problem, "shorten them, or spec.trial.deadline")
    problem = f"no window is open for {format_duration(span)}, which a {what} takes from its record to its end"
    remedy = "lengthen the windows, shorten trial.warmUp and durations, or set onClose: FinishTrial"
    return Never("spec.schedule.windows", problem, remedy)


__all__ = ["PREPARING", "Never", "course_of", "never"]
