"""One run of a method on a known function, and which methods there are. What this and the modules it uses say decides a
run, so its text is part of what a kept run is kept for (`known.code_version`)."""

from __future__ import annotations

import time
from dataclasses import dataclass

from benchmarks.optimizer.contract import Entry
from benchmarks.optimizer.functions import functions
from benchmarks.optimizer.methods.trimtab import UNSAFE
from benchmarks.optimizer.peer import RANDOM, keyed


@dataclass(frozen=True)
class Tried:
    """One trial: f without the shift, the truth about it, and the seconds that `ask` and `tell` took."""

    value: float
    feasible: bool
    seconds: float


@dataclass(frozen=True)
class Run:
    """One method on one function with one seed. `recommended` is (f, truly feasible), None when it recommends nothing;
    `tried` is shorter than the trials that were allowed when the method wanted no more."""

    function: str
    method: str
    seed: int
    tried: tuple[Tried, ...]
    recommended: tuple[float, bool] | None


@dataclass(frozen=True)
class Work:
    """What one process plays."""

    function: str
    method: str
    seed: int
    trials: int

    @property
    def name(self) -> str:
        """Of the part on disk."""
        return f"{self.function}-{self.method.replace('/', '_')}-{self.trials}-{self.seed}"


def entries() -> dict[str, Entry]:
    """All methods by name; those of peers have their track in it."""
    try:
        from benchmarks.optimizer.peers import ENTRIES
    except ImportError:
        ENTRIES = ()
    return {UNSAFE.name: UNSAFE} | keyed((*ENTRIES, *RANDOM))


def play(work: Work) -> Run:
    """One run."""
    function = next(f for f in functions() if f.name == work.function)
    method = entries()[work.method].make(function.task(work.trials), work.seed)
    tried = []
    for number in range(work.trials):
        begun = time.perf_counter()
        point = method.ask()
        asked = time.perf_counter() - begun
        if point is None:
            break
        result = function.measure(point, at=float(number))
        begun = time.perf_counter()
        method.tell(point, result)
        spent = asked + time.perf_counter() - begun
        tried.append(Tried(function.value(point), function.feasible(point), spent))
    answer = method.recommend()
    recommended = None if answer is None else (function.value(answer), function.feasible(answer))
    return Run(work.function, work.method, work.seed, tuple(tried), recommended)


__all__ = ["Run", "Tried", "Work", "entries", "play"]
