"""Event sums of error budgets: a window is asked again only when it can have changed by more than a hundredth, or when
its rule could fire by now.

What could be read last is kept: a rule that needs a budget does not vanish because one query failed. How old an answer
is says the monotonic clock: after a wall clock that was hours ahead for a moment, an answer from then would stand for
hours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Set

from trimtab.control.snapshot import BudgetReadings, BudgetWindow
from trimtab.domain.measurement import NoData, Reading, Sample, Window
from trimtab.domain.quantity import format_duration
from trimtab.domain.spec import ErrorBudget, ExperimentSpec, Sli
from trimtab.ports import Account, Clock, ExperimentRecord, PodSet, Telemetry
from trimtab.runtime.spending import SpendingAccount
from trimtab.slo.budget import burn_windows, needed_windows, soonest_pause

REREAD_FRACTION = 120.0
REREAD_MOST = 900.0
REREAD_NOTHING = 30.0  # where there was no traffic, somebody may wait for the first request to be seen
REMEMBERED_SECONDS = 6 * 3600.0

_Key = tuple[str, Sli, float]  # uid of the Experiment, what is counted, seconds


class KnownSums:
    """Event sums that were read, and when. One for the reconciler and the safety loop: what one of them has read serves
    the other, and neither ever waits for the other's queries."""

    def __init__(self) -> None:
        self._found: dict[_Key, tuple[float, Reading]] = {}

    def keep_only(self, experiment_uids: Set[str]) -> None:
        """Forget Experiments that are gone."""
        self._found = {key: found for key, found in self._found.items() if key[0] in experiment_uids}

    def get(self, key: _Key) -> tuple[float, Reading] | None:
        """The time of the last reading (monotonic seconds), and what it was."""
        return self._found.get(key)

    def set(self, key: _Key, at: float, reading: Reading) -> None:
        """Remember; what nobody asks about any more is forgotten."""
        for old in [k for k, v in self._found.items() if at - v[0] >= REMEMBERED_SECONDS]:
            del self._found[old]
        self._found[key] = (at, reading)


class BudgetReader:
    """One for the reconciler, one for the safety loop: each with the telemetry of its own."""

    def __init__(self, telemetry: Telemetry, spending: SpendingAccount, clock: Clock, known: KnownSums) -> None:
        self._telemetry, self._spending, self._clock, self._known = telemetry, spending, clock, known
        self._spent: dict[tuple[str, str], tuple[float, float]] = {}
        self._failing: dict[_Key, tuple[float, str]] = {}  # since when a window that is due cannot be read, and why

    async def read(
        self, experiment: ExperimentRecord, spec: ExperimentSpec, target_uid: str, *, timeout: float
    ) -> BudgetReadings:
        """Every window that the budgets' rules need, and what experiments spent; a window that is due and could not be
        read is absent.

        Raises:
            ApiError, CorruptLedger: what experiments spent could not be read.
        """
        now, at = self._clock.now(), self._clock.monotonic()
        self._spent = {k: v for k, v in self._spent.items() if at - v[0] < REMEMBERED_SECONDS}
        self._failing = {k: v for k, v in self._failing.items() if at - v[0] < REMEMBERED_SECONDS}
        windows = await asyncio.gather(
            *(
                self._window(experiment, spec, budget, seconds, now, timeout)
                for budget in spec.budgets
                for seconds in needed_windows(budget)
            )
        )
        spent: list[tuple[str, float]] = []
        for budget in spec.budgets:
            bad = await self._spending.total(experiment.namespace, target_uid, budget.sli, now, budget.window)
            self._spent[experiment.uid, budget.sli] = (at, bad)
            spent.append((budget.sli, bad))
        return BudgetReadings(tuple(windows), tuple(spent))

    def known(self, experiment: ExperimentRecord, spec: ExperimentSpec) -> BudgetReadings:
        """The same as last read, however long ago; what never was is left out."""
        found = (
            (b.name, seconds, self._known.get((experiment.uid, spec.sli(b.sli), seconds)))
            for b in spec.budgets
            for seconds in needed_windows(b)
        )
        spent = [(b.sli, self._spent.get((experiment.uid, b.sli))) for b in spec.budgets]
        return BudgetReadings(
            tuple(BudgetWindow(name, seconds, known[1]) for name, seconds, known in found if known is not None),
            tuple((sli, known[1]) for sli, known in spent if known is not None),
        )

    def blind(self, experiment: ExperimentRecord, spec: ExperimentSpec) -> tuple[float, str] | None:
        """For how long (seconds) a burn of a budget would not be noticed, as a window of its rules is due and cannot be
        read, and in words why; None while all are known."""
        now = self._clock.monotonic()
        found = [
            (now - failing[0], f"{b.name}: its last {format_duration(seconds)} are not known: {failing[1]}")
            for b in spec.budgets
            for seconds in burn_windows(b)
            if (failing := self._failing.get((experiment.uid, spec.sli(b.sli), seconds))) is not None
        ]
        return max(found, default=None)

    async def _window(
        self,
        experiment: ExperimentRecord,
        spec: ExperimentSpec,
        budget: ErrorBudget,
        seconds: float,
        now: float,
        timeout: float,
    ) -> BudgetWindow:
        sli = spec.sli(budget.sli)
        key = (experiment.uid, sli, seconds)
        known, at = self._known.get(key), self._clock.monotonic()
        if known is not None:
            whole = self._known.get((experiment.uid, sli, budget.window))
            soonest = soonest_pause(budget, seconds, known[1], None if whole is None else whole[1])
            if at - known[0] < _lasts(spec, seconds, known[1], soonest):
                return BudgetWindow(budget.name, seconds, known[1])
        pods = PodSet(experiment.namespace, (spec.target.name,), account=Account(experiment.uid))
        window = Window(now - seconds, now)
        reading = await self._telemetry.totals(sli, pods, window, timeout=timeout)
        if isinstance(reading, Sample | NoData):
            self._known.set(key, at, reading)
            self._failing.pop(key, None)
        else:
            self._failing.setdefault(key, (at, reading.detail))
        return BudgetWindow(budget.name, seconds, reading)


def _lasts(spec: ExperimentSpec, seconds: float, reading: Reading, soonest: float | None) -> float:
    """For how long (seconds) a reading of a window stands; `soonest`: its rule may fire as soon as that."""
    most = REREAD_NOTHING if isinstance(reading, NoData) else REREAD_MOST
    usual = seconds / REREAD_FRACTION
    return min(max(spec.safety.check_interval, usual if soonest is None else min(usual, soonest)), most)


__all__ = ["BudgetReader", "KnownSums"]
