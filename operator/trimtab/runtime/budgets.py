"""Event sums of error budgets: a window is asked again only when it can have changed by more than a hundredth.

What could be read last is kept: a rule that needs a budget does not vanish because one query failed.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from trimtab.control.snapshot import BudgetReadings, BudgetWindow
from trimtab.domain.measurement import NoData, Sample, Window
from trimtab.domain.spec import ErrorBudget, ExperimentSpec
from trimtab.ports import Clock, ExperimentRecord, PodSet, Telemetry
from trimtab.runtime.spending import SpendingAccount
from trimtab.slo.budget import needed_windows

REREAD_FRACTION = 120.0
REREAD_MOST = 900.0
REMEMBERED_SECONDS = 6 * 3600.0

_Key = tuple[str, str, float]  # uid of the Experiment, budget, seconds


@dataclass(frozen=True)
class _Known:
    at: float
    window: BudgetWindow


class BudgetReader:
    """One for the reconciler, one for the safety loop: each with the telemetry of its own."""

    def __init__(self, telemetry: Telemetry, spending: SpendingAccount, clock: Clock) -> None:
        self._telemetry, self._spending, self._clock = telemetry, spending, clock
        self._windows: dict[_Key, _Known] = {}
        self._spent: dict[tuple[str, str], tuple[float, float]] = {}

    async def read(
        self, experiment: ExperimentRecord, spec: ExperimentSpec, target_uid: str, *, timeout: float
    ) -> BudgetReadings:
        """Every window that the budgets' rules need, and what experiments spent; a window that is due and could not be
        read is absent.

        Raises:
            ApiError, CorruptLedger: what experiments spent could not be read.
        """
        now = self._clock.now()
        self._forget(now)
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
            self._spent[experiment.uid, budget.sli] = (now, bad)
            spent.append((budget.sli, bad))
        return BudgetReadings(tuple(windows), tuple(spent))

    def known(self, experiment: ExperimentRecord, spec: ExperimentSpec) -> BudgetReadings:
        """The same as last read, however long ago; what never was is left out."""
        keys = [(experiment.uid, b.name, seconds) for b in spec.budgets for seconds in needed_windows(b)]
        spent = [(b.sli, self._spent.get((experiment.uid, b.sli))) for b in spec.budgets]
        return BudgetReadings(
            tuple(self._windows[key].window for key in keys if key in self._windows),
            tuple((sli, found[1]) for sli, found in spent if found is not None),
        )

    async def _window(
        self,
        experiment: ExperimentRecord,
        spec: ExperimentSpec,
        budget: ErrorBudget,
        seconds: float,
        now: float,
        timeout: float,
    ) -> BudgetWindow:
        key = (experiment.uid, budget.name, seconds)
        known = self._windows.get(key)
        wait = min(max(spec.safety.check_interval, seconds / REREAD_FRACTION), REREAD_MOST)
        if known is not None and isinstance(known.window.reading, Sample) and now - known.at < wait:
            return known.window
        pods, window = PodSet(experiment.namespace, (spec.target.name,)), Window(now - seconds, now)
        reading = await self._telemetry.totals(spec.sli(budget.sli), pods, window, timeout=timeout)
        found = BudgetWindow(budget.name, seconds, reading)
        if isinstance(reading, Sample | NoData):
            self._windows[key] = _Known(now, found)
        return found

    def _forget(self, now: float) -> None:
        """Experiments that nobody asks about any more."""
        self._windows = {k: v for k, v in self._windows.items() if now - v.at < REMEMBERED_SECONDS}
        self._spent = {k: v for k, v in self._spent.items() if now - v[0] < REMEMBERED_SECONDS}


__all__ = ["BudgetReader"]
