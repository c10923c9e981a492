"""What a terminal shows while simulations run: trials as they end, or seeds as they are done. Quiet without one."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from trimtab.api.times import format_seconds
from trimtab.report import words
from trimtab.report.tables import trials_table
from trimtab.simulate.collect import bounds
from trimtab.simulate.results import TrialResult
from trimtab.simulate.run import Progress, Ran
from trimtab.simulate.scenario import Scenario


class Watching:
    """Use it as a context manager; `console` None shows nothing. It leaves nothing behind on the terminal."""

    def __init__(self, console: Console | None, made: Scenario) -> None:
        self._constraints = bounds(made.truth)
        self._trials: list[TrialResult] = []
        self._seeds = 0
        self._line = "starting"
        self._live = None if console is None else Live(console=console, transient=True, auto_refresh=False)
        self.progress = None if console is None else Progress(self._trial, self._status)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def seed(self, ran: Ran) -> Ran:
        """A seed is done; gives it back."""
        simulation = ran.result
        self._seeds += 1
        s = simulation.summary
        self._line = (
            f"{self._seeds} done; seed {simulation.inputs.seed}: {s.phase}, saving {words.percent(s.saving_percent)}"
        )
        self._draw()
        return ran

    def _trial(self, trial: TrialResult) -> None:
        self._trials.append(trial)
        self._draw()

    def _status(self, moment: float, phase: str, message: str) -> None:
        self._line = f"{format_seconds(moment)}  {phase}: {message}"
        self._draw()

    def _draw(self) -> None:
        if self._live is None:
            return
        parts: list[RenderableType] = [Text(self._line, style="cyan", overflow="ellipsis", no_wrap=True)]
        if self._trials:
            parts.insert(0, trials_table(self._trials, self._constraints))
        self._live.update(Group(*parts), refresh=True)
