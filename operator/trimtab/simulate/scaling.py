"""The target's autoscaler as the noise-free model plays it: what it is told, what it looks at, and how it is measured.

Its manifest is read by `api.kube_autoscaler` and changed by `control.scaling`, as the operator does; only the policies
of `behavior` are read here, as nothing tunes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

import numpy as np

from trimtab.control.scale_point import points_of
from trimtab.control.scaling import scaled_bounds
from trimtab.domain.autoscaler import AutoscalerChanges, AutoscalerView
from trimtab.domain.kube import ContainerView
from trimtab.domain.measurement import NoData
from trimtab.domain.spec import Scaling, ScalingQuery
from trimtab.simulate.fleet import STEP_S, Aim, Fleet, FloatArray, Play
from trimtab.simulate.questions import Question, Value
from trimtab.simulate.shares import Run
from trimtab.workload import OfferedLoad, PodBehaviour, WorkloadSpec
from trimtab.workload.hpa import DOWN, UP, Hpa, Policy, Rules, Select
from trimtab.workload.load import DAY_S

NOTHING: Final = AutoscalerChanges()


@dataclass(frozen=True)
class Period:
    """The days over which pods are counted, unix seconds; by default some Thursday."""

    start: float = 0.0
    end: float = DAY_S


@lru_cache(maxsize=16)
def loads_of(workload: WorkloadSpec, period: Period) -> FloatArray:
    """Requests per second of the whole service in the middle of each step; shape (k,)."""
    steps = max(1, round((period.end - period.start) / STEP_S))
    return OfferedLoad.of(workload).series(period.start + STEP_S * (np.arange(steps) + 0.5))


# What it is told


def hpa_of(view: AutoscalerView, changes: AutoscalerChanges = NOTHING, share: float = 1.0) -> Hpa:
    """Bounds and behavior with these changes, of the size that fits a share of the load."""
    least = view.minimum if changes.minimum is None else changes.minimum
    most = view.maximum if changes.maximum is None else changes.maximum
    windows = (
        view.stabilization_up if changes.stabilization_up is None else changes.stabilization_up,
        view.stabilization_down if changes.stabilization_down is None else changes.stabilization_down,
    )
    tolerances = (
        view.tolerance_up if changes.tolerance_up is None else float(changes.tolerance_up),
        view.tolerance if changes.tolerance_down is None else float(changes.tolerance_down),
    )
    behavior = (view.manifest.get("spec") or {}).get("behavior") or {}
    up, down = (
        replace(_paced(behavior.get(side) or {}, usual), window=float(window), tolerance=tolerance)
        for side, usual, window, tolerance in zip(
            ("scaleUp", "scaleDown"), (UP, DOWN), windows, tolerances, strict=True
        )
    )
    return Hpa(*scaled_bounds(least, most, share), up, down)


def default_hpa(view: AutoscalerView) -> Hpa:
    """Its bounds with Kubernetes' own behavior."""
    return Hpa(*scaled_bounds(view.minimum, view.maximum, 1.0))


def _paced(rules: Mapping[str, Any], usual: Rules) -> Rules:
    policies = tuple(
        Policy(p["type"] == "Percent", int(p["value"]), float(p["periodSeconds"])) for p in rules.get("policies") or ()
    )
    return replace(usual, policies=policies or usual.policies, select=Select(rules.get("selectPolicy") or "Max"))


# What it looks at


def fleet_of(
    view: AutoscalerView, changes: AutoscalerChanges, run: Run, containers: tuple[ContainerView, ...], hpa: Hpa
) -> Fleet:
    """The pods of `run` under this autoscaler; `containers` are those of a pod that keep running."""
    played = run[0].target.container
    points = points_of(view, changes, containers)
    seen = [p for p in points if p.container in ("", played)]  # of other containers nothing is played
    aims = tuple(Aim(p.resource, p.percent / 100, float(p.request)) for p in seen)
    return Fleet(run, hpa, aims, blind=len(aims) < len(view.metrics))


# How it is measured


@dataclass(frozen=True)
class ScalingQuestion:
    """An SLI of how pods scale; `counting` answers the SLI behind it."""

    sli: str
    query: ScalingQuery
    counting: Question

    def of(self, play: Play) -> Value:
        """Its value over all of what was played."""
        match self.query.measure:
            case Scaling.MEAN_REPLICAS:
                return play.mean_pods
            case Scaling.SCALE_EVENTS:
                return play.events_per_hour
            case Scaling.BREACH_SECONDS:
                above = self.query.above if self.query.above is not None else 0.0
                return play.breach_seconds_per_hour(self._part, above)

    def _part(self, behaviour: PodBehaviour) -> float:
        found = self.counting.of(behaviour, 1)
        return 0.0 if isinstance(found, NoData) else found  # no requests: nothing is in breach


__all__ = ["Period", "ScalingQuestion", "default_hpa", "fleet_of", "hpa_of", "loads_of"]
