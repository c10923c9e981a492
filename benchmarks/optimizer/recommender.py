"""Trimtab's optimizer for a task, and its recommendation from any method's history: the equal track's recommender."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from benchmarks.optimizer.contract import Axis, Counted, Measured, Point, Result, Task
from benchmarks.optimizer.cube import centre
from trimtab.optimize import Bound, Counts, Optimizer, Range

History = Iterable[tuple[Point, Result]]
_SAFER = {1: "Higher", -1: "Lower", 0: "Unknown"}


def optimizer_for(task: Task, seed: int, *, safe: bool = True, min_improvement: float = 0.001) -> Optimizer:
    """The public optimizer, set up for a task. Without a baseline it starts in the middle of the box: the search needs
    a first point."""
    return Optimizer(
        {axis.name: _range(axis) for axis in task.axes},
        lambda x: task.cost({name: float(value) for name, value in x.items()}),
        {limit.name: Bound(max=limit.bound, kind=limit.kind) for limit in task.limits},
        dict(task.baseline) if task.baseline is not None else centre(task.axes),
        seed,
        safe,
        peak_load=task.peak_load,
        max_trials=max(task.trials, 1),
        min_improvement=min_improvement,
        floors={axis.name: axis.floor for axis in task.axes if axis.floor is not None},
    )


def tell(optimizer: Optimizer, point: Point, result: Result) -> None:
    """What a trial measured, with counts where there are any; a trial that measured nothing and did not fail is left
    out."""
    failure = "OOMKilled" if result.failed == "OOMKilled" else "CrashLoop" if result.failed else None
    measured = readings(result.measured, result.counts)
    if failure is None and not measured:
        return
    optimizer.tell(
        dict(point),
        measured,
        failure=failure,  # type: ignore[arg-type]
        context={"load": result.load} if result.load is not None else None,
        control=readings(result.control, result.control_counts) if result.control else None,
        at=result.at,
    )


def recommended(task: Task, history: History, before: int = 0) -> Point | None:
    """What Trimtab would recommend had it seen this history, of which the first `before` trials are of earlier versions
    of the service; None to keep the baseline."""
    optimizer = optimizer_for(task, 0)
    for number, (point, result) in enumerate(history):
        if before and number == before:
            optimizer.released()
        tell(optimizer, point, result)
    found = optimizer.recommend()
    return None if found is None else {name: float(value) for name, value in found.assignment.items()}


def readings(measured: Mapping[str, Measured], counts: Mapping[str, Counted]) -> dict[str, Measured | Counts]:
    """Counts where there are any, else values."""
    return {name: Counts(*counts[name]) if name in counts else value for name, value in measured.items()}


def _range(axis: Axis) -> Range:
    return Range(
        axis.low,
        axis.high,
        axis.step,
        scale="Log" if axis.log else "Linear",
        safer=_SAFER[axis.safer],  # type: ignore[arg-type]
        max_decrease=axis.decrease,
        max_increase=axis.increase,
    )
