"""Preflight of resource guards: one that cannot see the containers guards no canary, and somebody should know. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from trimtab.control.preflight_findings import Problem, note
from trimtab.domain.kube import Target
from trimtab.domain.spec import ExperimentSpec
from trimtab.ports import SliProbe
from trimtab.slo.guards import CPU_WAITING, GUARDS, MEMORY_STALLED, PERIODS, WORKING_SET, Guard

PRESSURE = frozenset({CPU_WAITING, MEMORY_STALLED})
_SCRAPE = "scrape the kubelets' /metrics/cadvisor, or set resourceGuards: Off"
_SINCE = "; pressure is there from Kubernetes 1.34 on"


def guard_notes(spec: ExperimentSpec, target: Target, probes: tuple[SliProbe, ...]) -> Iterator[Problem]:
    """One note of all that is missing. Pressure alone is not missed where another guard works: old nodes have none."""
    unseen = next((frozenset(p.unseen) for p in probes if p.unseen is not None), None)
    if not spec.safety.resource_guards or unseen is None:
        return
    guards = [g for g in GUARDS if _applies(g, target)]
    blind = [g for g in guards if not unseen.isdisjoint(g.metrics)]
    missing = tuple(dict.fromkeys(m for g in blind for m in g.metrics if m in unseen))
    if not missing or (PRESSURE.issuperset(missing) and len(blind) < len(guards)):
        return
    reasons = ", ".join(g.reason for g in blind)
    what = f"the store {spec.store} has no {', '.join(missing)} of the target's containers"
    what += f", so canaries are not guarded against {reasons}"
    remedy = _SCRAPE + (_SINCE if not PRESSURE.isdisjoint(missing) else "")
    yield note("NotGuarded", "spec.safety.resourceGuards", what, remedy)


def _applies(guard: Guard, target: Target) -> bool:
    """What is counted against a limit is there for containers that have one."""
    if PERIODS in guard.metrics:
        return any(c.resources.cpu_limit for c in target.containers)
    if WORKING_SET in guard.metrics:
        return any(c.resources.memory_limit for c in target.containers)
    return True


__all__ = ["guard_notes"]
