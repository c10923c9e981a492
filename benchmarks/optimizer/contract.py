"""What a method under test is told and asked, the same for all: Trimtab, its peers and simple rules.

A method minimizes a cost under bounds on measured quantities. Points are plain values by parameter name. Measured
quantities are given as (value, standard error) in their own unit; a bound is kept when the value is at or below it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

Point = Mapping[str, float]
Measured = tuple[float, float]
Counted = tuple[float, float, float]
"""(bad events, all events, variance / binomial variance): what a ratio was computed from."""
Track = Literal["native", "equal"]
"""native: a peer as its documentation would have it used, in the whole box, with its own recommender. equal: the same
box of step limits, start at the baseline, known cost and recommender as Trimtab."""


@dataclass(frozen=True)
class Axis:
    """One parameter: the grid `low, low + step, ..., high`. `log` when it acts by its ratio; `safer` is +1 when more of
    it gives room, -1 when less does, 0 when that is not known. `decrease` and `increase` are the fractions of a
    verified value that one trial may move (None: no limit). In the equal track no method goes below `floor`, which is
    known beforehand (of memory: 1.15 x the highest working set)."""

    name: str
    low: float
    high: float
    step: float
    log: bool = False
    safer: int = 0
    decrease: float | None = None
    increase: float | None = None
    floor: float | None = None


@dataclass(frozen=True)
class Limit:
    """A measured quantity that must stay at or below `bound` (> 0). `kind` is Errors, Latency or Value."""

    name: str
    bound: float
    kind: Literal["Errors", "Latency", "Value"] = "Value"


@dataclass(frozen=True)
class Task:
    """What is to be optimized. `cost` is known (a method may call it as often as it likes); what is measured is not.

    `baseline` is where a service runs today: kept by every bound except where the scenario says otherwise; None for
    functions without one. `peak_load` is the load at which the recommendation must hold, in the unit of `Result.load`;
    `expected_load` has the highest that a trial is expected to see, by its number, as the days before let one foresee.
    """

    axes: tuple[Axis, ...]
    limits: tuple[Limit, ...]
    cost: Callable[[Point], float]
    baseline: Point | None
    trials: int
    peak_load: float | None = None
    expected_load: Callable[[int], float] | None = None


@dataclass(frozen=True)
class Result:
    """What one trial measured, by bound. `failed` when the point could not run at all (then `measured` may be empty).
    `control` is the baseline beside it, if there was one. `load` and `at` (seconds) are when it was measured.
    `counts` and `control_counts` say the same of ratios as what was counted, for methods that can use it."""

    measured: Mapping[str, Measured]
    control: Mapping[str, Measured] | None = None
    load: float | None = None
    at: float = 0.0
    failed: str = ""  # "" | OOMKilled | CrashLoop
    counts: Mapping[str, Counted] = field(default_factory=dict)
    control_counts: Mapping[str, Counted] = field(default_factory=dict)


class Method(Protocol):
    """A method under test, for one run."""

    def ask(self) -> Point | None:
        """The next point to try; None when the method wants no more trials."""

    def tell(self, point: Point, result: Result) -> None:
        """What was measured there."""

    def recommend(self) -> Point | None:
        """What it would have people use now; None to keep the baseline."""


@runtime_checkable
class Releasing(Protocol):
    """A method that wants to know that the service was released anew: an operator sees that in its Deployment."""

    def released(self) -> None:
        """The next trial runs another version."""


@dataclass(frozen=True)
class Entry:
    """A method by name: how to make one for a task and a seed. `safe` when it promises to avoid what is infeasible."""

    name: str
    track: Track
    make: Callable[[Task, int], Method]
    safe: bool = False
