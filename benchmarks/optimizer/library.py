"""Trimtab's library behind the contract: the method itself, and the recommender that peers share in the equal track."""

from __future__ import annotations

from benchmarks.optimizer.contract import Entry, Method, Point, Result, Task
from trimtab.optimize.library import Bound, Optimizer, Range

_SAFER = {1: "Higher", -1: "Lower", 0: "Unknown"}
LEAST = 1e-6  # of the start's cost, on known functions: it may be thousands of times the optimum's
_FAILURES = {"OOMKilled": "OOMKilled", "CrashLoop": "CrashLoop"}


def optimizer(task: Task, seed: int, *, safe: bool, min_improvement: float = 0.001) -> Optimizer:
    """The library for a task. Without a baseline it starts in the middle of the box: the search needs a first point."""
    return Optimizer(
        {
            a.name: Range(
                a.low,
                a.high,
                a.step,
                scale="Log" if a.log else "Linear",
                safer=_SAFER[a.safer],  # type: ignore[arg-type]
                max_decrease=a.decrease,
                max_increase=a.increase,
            )
            for a in task.axes
        },
        objective=lambda assignment: task.cost({name: float(value) for name, value in assignment.items()}),
        constraints={limit.name: Bound(max=limit.bound, kind=limit.kind) for limit in task.limits},
        baseline=dict(task.baseline) if task.baseline is not None else _middle(task),
        seed=seed,
        safe=safe,
        peak_load=task.peak_load,
        max_trials=max(task.trials, 1),
        min_improvement=min_improvement,
    )


def tell(to: Optimizer, point: Point, result: Result) -> None:
    """One result of the contract in the library's words."""
    to.tell(
        dict(point),
        dict(result.measured),
        failure=_FAILURES[result.failed] if result.failed else None,  # type: ignore[arg-type]
        context=None if result.load is None else {"load": result.load},
        control=None if result.control is None else dict(result.control),
        at=result.at,
    )


class Trimtab:
    """Trimtab's library as a method."""

    def __init__(self, task: Task, seed: int, *, safe: bool, min_improvement: float = 0.001) -> None:
        self._optimizer = optimizer(task, seed, safe=safe, min_improvement=min_improvement)

    def ask(self) -> Point | None:
        found = self._optimizer.ask()
        return {name: float(value) for name, value in found[0].assignment.items()} if found else None

    def tell(self, point: Point, result: Result) -> None:
        tell(self._optimizer, point, result)

    def recommend(self) -> Point | None:
        found = self._optimizer.recommend()
        return None if found is None else {name: float(value) for name, value in found.assignment.items()}


def _unsafe(task: Task, seed: int) -> Method:
    return Trimtab(task, seed, safe=False, min_improvement=LEAST)


UNSAFE = Entry("trimtab", "equal", _unsafe)
"""Trimtab without the safe set: what finds the optimum of a known function."""


def _middle(task: Task) -> dict[str, float]:
    from benchmarks.optimizer.peer import Space

    return Space(task.axes).centre()


__all__ = ["UNSAFE", "Trimtab", "optimizer", "tell"]
