"""How far below a bound a reading must be for the load that arms do not see.

The model's slope in load is mostly that of the baseline, where there is room; next to the bound it is several times
steeper. So what was measured, raised by `STEEPEST` per octave up to the load at which it must hold, must hold by
itself.

Where loads are how hard pods are driven and their CPU limit is known, `queueing.rise` says by how much, as no one slope
can serve: next to a bound it is 0.2 to 0.7 per octave at half of the limit, and up to 8.6 at 0.85 of it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trimtab.domain.cost import Filling
from trimtab.domain.space import Assignment
from trimtab.domain.study import ConstraintTarget
from trimtab.optimize import queueing
from trimtab.optimize.queueing import STEEPEST, Pods, Slow
from trimtab.optimize.safe import Belief

Floats = NDArray[np.float64]


def room(
    belief: Belief,
    target: ConstraintTarget,
    pods: Pods | None,
    seen: float | None = None,
    z: float | None = None,
) -> Floats | float:
    """How far below a bound (in g) an assignment must measure. A bound relative to the control needs no room.

    Args:
        pods: at their scale point, where the load is how hard they are driven (one kind, or arrays).
        seen: the load of the reading (octaves); the usual one.
        z: the load at which it must hold; the peak.
    """
    loads, driven = belief.loads, belief.study.driven
    start, end = loads.usual if seen is None else seen, loads.peak if z is None else z
    if target.relative:
        return 0.0
    if pods is None or driven is None or loads.reference is None:
        return STEEPEST * max(end - start, 0.0)
    most = np.asarray(pods.full) * loads.reference
    return queueing.rise(most * 2.0**start, most * 2.0**end, _slow(driven, target, pods))


def _slow(driven: Filling, target: ConstraintTarget, pods: Pods) -> Slow | None:
    if target.name not in driven.slow:
        return None
    turns = driven.turns_of(target.name)
    return Slow(target.bound, None if turns is None else pods.cores * turns)


def pods_of(belief: Belief, assignment: Assignment) -> Pods | None:
    """Those of an assignment at their scale point; None where that or their CPU limit is not known."""
    driven = belief.study.driven
    full, cores = (None, None) if driven is None else (driven.of(assignment), driven.cores(assignment))
    return None if full is None or cores is None else Pods(full, cores)


__all__ = ["pods_of", "room"]
