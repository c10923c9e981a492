"""Trimtab's optimizer through its public interface: with its defaults, and without a safe set for known functions."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.optimizer.contract import Entry, Method, Point, Result, Task
from benchmarks.optimizer.recommender import optimizer_for, tell

LEAST = 1e-6  # of the start's cost, on known functions: it may be thousands of times the optimum's


class Trimtab:
    """`trimtab.optimize.Optimizer`."""

    def __init__(self, task: Task, seed: int, *, safe: bool = True, min_improvement: float = 0.001) -> None:
        self._optimizer = optimizer_for(task, seed, safe=safe, min_improvement=min_improvement)
        self._expected, self._told = task.expected_load, 0

    def ask(self) -> Point | None:
        context = {"load": self._expected(self._told)} if self._expected is not None else None
        found = self._optimizer.ask(context=context)
        return {n: float(v) for n, v in found[0].assignment.items()} if found else None

    def released(self) -> None:
        self._optimizer.released()

    def tell(self, point: Point, result: Result) -> None:
        self._told += 1
        tell(self._optimizer, point, result)

    def recommend(self) -> Point | None:
        found = self._optimizer.recommend()
        return None if found is None else {n: float(v) for n, v in found.assignment.items()}

    def forecast(self, point: Point, load: float) -> Mapping[str, tuple[float, float, float]]:
        """(median of value / bound, sd of its logarithm, sd between trials) by bound, at a load."""
        found = self._optimizer.predict(dict(point), load=load)
        return {name: (f.median, f.sd, f.between) for name, f in found.items()}


def _unsafe(task: Task, seed: int) -> Method:
    return Trimtab(task, seed, safe=False, min_improvement=LEAST)


UNSAFE = Entry("trimtab", "equal", _unsafe)
"""Without the safe set: what finds the optimum of a known function."""
