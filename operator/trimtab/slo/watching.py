"""What the safety loop remembers of a live trial: windows read, tests running, when the canary was last seen. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from trimtab.domain.measurement import Arm, ContainerUse, Measurement, NoData, Reading, Sample, Window
from trimtab.domain.spec import ExperimentSpec, ScalingQuery, Sli
from trimtab.slo.evidence import SliTest, Tests, asked_of, tempered

KEEP_WINDOWS = 24
RATE_SECONDS = 30.0


@dataclass(frozen=True)
class SafetyWindow:
    """One non-overlapping window after the arms became ready, with what was read of both arms."""

    window: Window
    measurements: tuple[Measurement, ...]
    uses: tuple[ContainerUse, ...] = ()  # of the containers of both arms, where the store has them

    def mostly_since(self, begun: float | None) -> bool:
        """Whether at least half of it lies after `begun` (unix seconds); None: it does."""
        return begun is None or self.window.start + self.window.end >= 2 * begun

    def reading(self, sli: str, arm: Arm) -> Reading | None:
        return self._readings.get((sli, arm))

    @cached_property
    def _readings(self) -> dict[tuple[str, Arm], Reading]:
        return {(m.sli, m.arm): m.reading for m in reversed(self.measurements)}


@dataclass(frozen=True)
class WatchState:
    """What the loop remembers of a live trial between ticks; after a restart it is rebuilt from absolute windows.

    `last_good` is when the store last saw the canary's pods (unix seconds), for the SLI for which that was longest ago;
    `absent` says in which way an SLI was not seen at the last look, "" when all were.
    """

    windows: tuple[SafetyWindow, ...] = ()
    last_good: float | None = None
    absent: str = ""
    tests: Tests = ()
    judged_until: float | None = None

    def looked(self, readings: Sequence[tuple[str, Reading]], now: float) -> WatchState:
        """Take a look at the newest samples into account: (SLI, reading of the canary until `now`)."""
        seen = [(sli, reading, _seen(reading, now)) for sli, reading in readings]
        absent = next((f"{sli}: {_detail(reading)}" for sli, reading, at in seen if at is None), "")
        last_good = self.last_good
        if not absent:
            oldest = min((at for _, _, at in seen if at is not None), default=now)
            last_good = oldest if last_good is None else max(last_good, oldest)
        return replace(self, last_good=last_good, absent=absent)

    def tempered(self, phis: Mapping[str, float]) -> WatchState:
        """With what is known of how events cluster, by SLI."""
        return replace(self, tests=tempered(self.tests, phis)) if phis else self

    def rate(self, sli: str) -> float | None:
        """Requests per second of the canary over the last half minute of windows, None when they show none."""
        seconds = total = 0.0
        for window in reversed(self.windows):
            match window.reading(sli, Arm.CANARY):
                case Sample(total=n):
                    total, seconds = total + n, seconds + window.window.seconds
                case NoData(newest=newest) if newest is not None:
                    seconds += window.window.seconds
            if seconds >= RATE_SECONDS:
                break
        return total / seconds if seconds > 0 else None

    def with_window(self, new: SafetyWindow, spec: ExperimentSpec, since: float | None = None) -> WatchState:
        """Take one more window into account. Windows that begin before `since`, the end of the warm-up, are kept, but
        not tested: a cold start says nothing about the assignment."""
        return replace(
            self,
            windows=(*self.windows, new)[-KEEP_WINDOWS:],
            tests=self.tests if since is not None and new.window.start < since else _tested(self.tests, new, spec),
            judged_until=new.window.end,
        )


def _seen(reading: Reading, until: float) -> float | None:
    """When the pods behind a reading were last scraped, None when they were not. No traffic is not blindness."""
    match reading:
        case Sample(newest=newest):
            return until if newest is None else min(newest, until)
        case NoData(newest=newest):
            return newest
        case _:
            return None


def _detail(reading: Reading) -> str:
    return "" if isinstance(reading, Sample) else reading.detail


def watched_slis(spec: ExperimentSpec) -> tuple[Sli, ...]:
    """The SLIs without which a canary is not under watch: those of bounds and of error budgets."""
    names = {c.sli for c in spec.constraints} | {b.sli for b in spec.budgets}
    return tuple(s for s in spec.slis if s.name in names)


def windowed_slis(spec: ExperimentSpec) -> tuple[Sli, ...]:
    """The SLIs that a safety window can have: how an arm scales shows over a whole trial only."""
    return tuple(s for s in spec.slis if not isinstance(s.query, ScalingQuery))


def _tested(tests: Tests, new: SafetyWindow, spec: ExperimentSpec) -> Tests:
    known, found = dict(tests), []
    for asked in asked_of(spec):
        test = known.get(asked.sli)
        if test is not None and test.asked != asked:  # a bound that was edited is tested anew
            test = None
        canary, control = new.reading(asked.sli, Arm.CANARY), new.reading(asked.sli, Arm.CONTROL)
        if isinstance(canary, Sample) and isinstance(control, Sample):
            test = (test or SliTest.of(asked, spec.trial.early_success)).add(canary, control)
        if test is not None:
            found.append((asked.sli, test))
    return tuple(found)
