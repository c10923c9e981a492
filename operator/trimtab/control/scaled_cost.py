"""The cost where an autoscaler decides how many pods there are: what it aims at, and between which bounds. Pure."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from trimtab.control.scaling import TOLERANCES, UTILIZATION, WINDOWS, fields
from trimtab.domain.cost import CostModel, PodBounds, ScalePoint
from trimtab.domain.kube import Target
from trimtab.domain.spec import ExperimentSpec
from trimtab.domain.state import ScaledBy, TargetRecord


def scaled_cost(spec: ExperimentSpec, target: Target, cost: CostModel, record: TargetRecord, by: ScaledBy) -> CostModel:
    """The cost with the pods that the autoscaler aims at."""
    cost = replace(cost, replicas=by.replicas, share=spec.route.share if spec.route is not None else 1.0)
    if by.resource is None:
        return cost
    tuned = {(t.container, t.resource) for t in cost.terms}
    running = (*target.containers, *(c for c in target.init_containers if c.sidecar))
    within = (c for c in running if by.container in ("", c.name) and (c.name, by.resource) not in tuned)
    amounts = (c.resources.request(by.resource) for c in within)
    fixed = float(sum((a for a in amounts if a is not None), Decimal(0)))
    scale = ScalePoint(by.resource, by.container, _utilization_parameter(spec, by), by.utilization, fixed)
    usual = scale.of(record.baseline, cost.terms)
    return replace(cost, scale=scale, usual=usual, bounds=_bounds(spec, by)) if usual > 0 else cost


def _utilization_parameter(spec: ExperimentSpec, by: ScaledBy) -> str | None:
    """The parameter that tunes what the autoscaler aims at."""
    found = (p.name for p, locus in fields(spec) if UTILIZATION.get(locus.field) is by.resource)
    return None if by.resource is None else next(found, None)


def _bounds(spec: ExperimentSpec, by: ScaledBy) -> PodBounds | None:
    """Between which use alone decides how many pods there are; None where a tuned window or tolerance does, too."""
    tuned = {locus.field: parameter.name for parameter, locus in fields(spec)}
    if by.minimum is None or by.maximum is None or tuned.keys() & {*WINDOWS, *TOLERANCES}:
        return None
    return PodBounds(by.minimum, by.maximum, tuned.get("MinReplicas"), tuned.get("MaxReplicas"))


__all__ = ["scaled_cost"]
