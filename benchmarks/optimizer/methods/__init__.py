"""Trimtab and the simple methods beside it; libraries are in `benchmarks.optimizer.peers`."""

from benchmarks.optimizer.contract import Entry
from benchmarks.optimizer.methods.greedy import Greedy
from benchmarks.optimizer.methods.hold import Hold
from benchmarks.optimizer.methods.random import Random
from benchmarks.optimizer.methods.safeopt import SafeOpt
from benchmarks.optimizer.methods.sklearn_ei import SklearnEI
from benchmarks.optimizer.methods.trimtab import Trimtab

ENTRIES: tuple[Entry, ...] = (
    Entry("trimtab", "equal", Trimtab, safe=True),
    Entry("hold", "equal", Hold, safe=True),
    Entry("greedy", "equal", Greedy, safe=True),
    Entry("safeopt", "equal", SafeOpt, safe=True),
    Entry("random", "native", Random),
    Entry("random-box", "equal", lambda task, seed: Random(task, seed, equal=True)),
    Entry("sklearn-ei", "native", SklearnEI),
    Entry("sklearn-ei-box", "equal", lambda task, seed: SklearnEI(task, seed, equal=True)),
)

__all__ = ["ENTRIES"]
