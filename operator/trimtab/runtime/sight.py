"""What one safety tick knows of the trials whose arms are in the cluster, for the metrics: true now, gone with them.

The tick begins from the arms and not from the Trials, so an arm whose Trial is gone is told as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from trimtab.domain.kube import ArmView
from trimtab.domain.measurement import Arm, Sample
from trimtab.domain.spec import ExperimentSpec
from trimtab.runtime.series import Labels
from trimtab.slo.sequential import ALPHA
from trimtab.slo.watching import WatchState


@dataclass(frozen=True)
class Sight:
    """What is known of one live trial. `blind_since` (unix seconds) is when its canary was last seen by every SLI under
    watch; `stale_after` the seconds for which it may stay so. `limit` is the e-value that withdraws it, None without
    tests; `values` are the newest complete window's, (SLI, arm, value in the SLI's unit)."""

    blind_since: float | None
    stale_after: float
    evalues: tuple[tuple[str, float], ...] = ()
    limit: float | None = None
    values: tuple[tuple[str, Arm, float], ...] = ()


@dataclass(frozen=True)
class InTraffic:
    """One trial with arms in the cluster. `serving`: an endpoint of it is ready. `sight` is None while nobody looked at
    it; `stray`: its Trial is over or gone, and arms of it are not; `leaving`: its arms are being taken away, so nobody
    looks any more, and it is a rollback and not a blind trial."""

    namespace: str
    experiment: str
    serving: bool
    stray: bool = False
    leaving: bool = False
    sight: Sight | None = None

    @property
    def owner(self) -> Labels:
        return (self.namespace, self.experiment)


@dataclass(frozen=True)
class Live:
    """Series of one moment, by labels: of an Experiment the worst of its live trials, as alerts want it."""

    trials: dict[Labels, float] = field(default_factory=dict)
    strays: dict[Labels, float] = field(default_factory=dict)
    blind: dict[Labels, float] = field(default_factory=dict)
    stale_after: dict[Labels, float] = field(default_factory=dict)
    evalues: dict[Labels, float] = field(default_factory=dict)
    limits: dict[Labels, float] = field(default_factory=dict)
    values: dict[Labels, float] = field(default_factory=dict)


def sight_of(spec: ExperimentSpec, watch: WatchState, blind_since: float | None) -> Sight:
    """From what the loop remembers of a trial."""
    newest = watch.windows[-1].measurements if watch.windows else ()
    return Sight(
        blind_since,
        spec.safety.stale_after,
        tuple((name, test.value) for name, test in watch.tests),
        len(watch.tests) / ALPHA if watch.tests else None,
        tuple((m.sli, m.arm, m.reading.value) for m in newest if isinstance(m.reading, Sample)),
    )


def stays(arms: Iterable[ArmView]) -> bool:
    """Whether anything of these arms is more than a pod that is ending."""
    return any(
        arm.ready_endpoints > 0 or (arm.uid is not None and not arm.deleting) or any(not p.deleting for p in arm.pods)
        for arm in arms
    )


def live(found: Iterable[InTraffic], now: float) -> Live:
    """The series of this moment; `now` in unix seconds."""
    found = tuple(found)
    told = Live(
        trials=_counted(f for f in found if f.serving),
        strays=_counted(f for f in found if f.stray),
    )
    for each in found:
        sight = each.sight
        if sight is None or not each.serving:
            continue
        if sight.blind_since is not None and not each.leaving:
            blind = max(now - sight.blind_since, 0.0)
            told.blind[each.owner] = max(blind, told.blind.get(each.owner, 0.0))
        told.stale_after[each.owner] = sight.stale_after
        for sli, value in sight.evalues:
            labels = (*each.owner, sli)
            told.evalues[labels] = max(value, told.evalues.get(labels, 0.0))
            if sight.limit is not None:
                told.limits[labels] = sight.limit
        for sli, arm, value in sight.values:
            told.values[*each.owner, sli, arm.value] = value
    return told


def _counted(found: Iterable[InTraffic]) -> dict[Labels, float]:
    return {owner: float(count) for owner, count in Counter(f.owner for f in found).items()}


__all__ = ["InTraffic", "Live", "Sight", "live", "sight_of", "stays"]
