"""Change nothing: what the baseline itself costs and breaks."""

from __future__ import annotations

from benchmarks.optimizer.contract import Point, Result, Task


class Hold:
    """The baseline in every trial."""

    def __init__(self, task: Task, _seed: int) -> None:
        self._task = task

    def ask(self) -> Point | None:
        return self._task.baseline

    def tell(self, point: Point, result: Result) -> None:
        """Nothing is learned."""

    def recommend(self) -> Point | None:
        return None
