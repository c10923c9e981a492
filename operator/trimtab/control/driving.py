"""How hard pods are driven by what they use, where an autoscaler decides how many there are. Pure.

Notation: of an arm one pod used u of what the autoscaler goes by (Load.use, cores or bytes), its scale point is c(x).
  h = u / c(x)   1 at what the autoscaler means its pods to be, whatever the assignment
An autoscaler stands still while h is within its tolerance, so (1 + tolerance) is the hardest, and the last percent of a
utilization it does not see. Nothing else has to be allowed for: an assignment that takes more CPU for a request, or a
number of pods that was rounded up, is in u.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from trimtab.control.arms import resource_setting, tuned
from trimtab.domain.cost import CostModel, CostTerm, Filling
from trimtab.domain.kube import ContainerView, Target
from trimtab.domain.measurement import Arm
from trimtab.domain.space import Apply, Assignment, ContainerResource, Resource
from trimtab.domain.spec import ExperimentSpec, SlowRatioQuery
from trimtab.domain.state import ScaledBy
from trimtab.domain.trial import Load, Trial

PERCENT = 0.01  # an autoscaler cuts utilization to whole percent


def by_use(trial: Trial) -> bool:
    """Whether both of its arms have a measured use: what only one has cannot be compared."""
    used = {load.arm for load in trial.load if load.pods is not None and load.use is not None}
    return {Arm.CANARY, Arm.CONTROL} <= used


def driven(cost: CostModel, own: Assignment, load: Load) -> float | None:
    """h of an arm; None where its use is not known, or the scale point is not."""
    if cost.scale is None or load.use is None:
        return None
    return load.use / cost.scale.of(own, cost.terms)


def hardest_driven(by: ScaledBy, seen: Sequence[float]) -> float:
    """h at most, also of what arms saw."""
    return max([1 + by.tolerance + PERCENT / by.utilization, *seen])


def filling(spec: ExperimentSpec, target: Target, cost: CostModel, trials: Sequence[Trial] = ()) -> Filling | None:
    """How full pods are at their scale point; None without one. What has no limit, and memory, has nothing to fill."""
    scale = cost.scale
    if scale is None:
        return None
    counted = [
        c
        for c in (*target.containers, *(c for c in target.init_containers if c.sidecar))
        if scale.container in ("", c.name)
    ]
    parts = [_limit(spec, container) for container in counted]
    if scale.resource is not Resource.CPU or not parts or None in parts:
        return Filling(scale, cost.terms)
    known = [part for part in parts if part is not None]
    limits, fixed = tuple(term for term, _ in known if term is not None), sum(cores for _, cores in known)
    return Filling(scale, cost.terms, limits, fixed, _turns(spec, trials if len(counted) == 1 else ()))


def _turns(spec: ExperimentSpec, trials: Sequence[Trial]) -> tuple[tuple[str, float | None], ...]:
    """By each bound on slow requests: its time over the CPU seconds of a request, the most that any arm took."""
    loads = [load for trial in trials if by_use(trial) for load in trial.load]
    work = max((x.use / x.rps_per_pod for x in loads if x.use is not None and x.rps_per_pod > 0), default=0.0)
    found: list[tuple[str, float | None]] = []
    for constraint in spec.constraints:
        query = spec.sli(constraint.sli).query
        if isinstance(query, SlowRatioQuery) and constraint.maximum is not None:
            found.append((constraint.name, query.seconds / work if query.seconds is not None and work > 0 else None))
    return tuple(found)


def _limit(spec: ExperimentSpec, container: ContainerView) -> tuple[CostTerm | None, float] | None:
    """The CPU limit of a container: a parameter times a factor, and cores beside it; None where it has none."""
    tuning = {locus.apply is Apply.LIMITS: (p, locus) for p, locus in tuned(spec) if _of_cpu(locus, container)}
    if not tuning:
        limit = container.resources.limit(Resource.CPU)
        return None if limit is None else (None, float(limit))
    parameter, locus = tuning.get(True) or tuning[False]
    one, two = (resource_setting(locus, container.resources, Decimal(n)).limit for n in (1, 2))
    if one is None or two is None:
        return None
    factor = float(two - one)
    return CostTerm(parameter.name, Resource.CPU, factor, container.name), float(one) - factor


def _of_cpu(locus: ContainerResource, container: ContainerView) -> bool:
    return locus.container == container.name and locus.resource is Resource.CPU


__all__ = ["by_use", "driven", "filling", "hardest_driven"]
