"""Trimtab's optimizer through its public interface, with its defaults."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.optimizer.contract import Point, Result, Task
from benchmarks.optimizer.recommender import optimizer_for, tell


class Trimtab:
    """`trimtab.optimize.Optimizer`."""

    def __init__(self, task: Task, seed: int) -> None:
        self._optimizer = optimizer_for(task, seed)

    def ask(self) -> Point | None:
        found = self._optimizer.ask()
        return {n: float(v) for n, v in found[0].assignment.items()} if found else None

    def tell(self, point: Point, result: Result) -> None:
        tell(self._optimizer, point, result)

    def recommend(self) -> Point | None:
        found = self._optimizer.recommend()
        return None if found is None else {n: float(v) for n, v in found.assignment.items()}

    def forecast(self, point: Point, load: float) -> Mapping[str, tuple[float, float, float]]:
        """(median of value / bound, sd of its logarithm, sd between trials) by bound, at a load."""
        found = self._optimizer.predict(dict(point), load=load)
        return {name: (f.median, f.sd, f.between) for name, f in found.items()}
