"""What a fault acts upon: the world, its people's hands, and where the Experiment stands."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from trimtab.domain import kinds
from trimtab.domain.errors import ApiError
from trimtab.domain.kube import Manifest
from trimtab.domain.names import LABEL_ARM
from trimtab.simulate.faults.acting import ActingFaults
from trimtab.simulate.faults.fleet import Fleet
from trimtab.simulate.faults.kinds import Moment
from trimtab.simulate.invariants.base import ENDED_PHASES, TERMINAL, phase_of
from trimtab.simulate.record import Record
from trimtab.simulate.world import World
from trimtab.workload import Fault as PodFault
from trimtab.workload import FaultKind as PodFaultKind

Heal = Callable[[], None]


@dataclass
class Stage:
    """`experiment` is the one that the plan is about; `rng` draws what a strike leaves to chance."""

    world: World
    record: Record
    acting: ActingFaults
    fleet: Fleet
    experiment: str
    rng: random.Random
    number: int = 0
    saved: dict[str, Manifest] = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        """Where everything happens."""
        return self.world.namespace

    @property
    def target(self) -> str:
        """The target Deployment's name."""
        return self.world.settings[0].workload.target.deployment

    def now(self) -> float:
        """Unix seconds."""
        return self.world.clock.now()

    @contextlib.contextmanager
    def hand(self) -> Iterator[None]:
        """What changes inside is people's doing."""
        before = self.world.cluster.objects.version
        yield
        self.record.hands.update(range(before + 1, self.world.cluster.objects.version + 1))

    def where(self) -> tuple[Moment, int]:
        """(moment, index of the live or else of the last Trial, -1 before the first)."""
        found = self.world.experiment(self.experiment)
        trials = self.world.trials(self.experiment)
        last = int(trials[-1]["spec"]["index"]) if trials else -1
        if found is None or phase_of(found) in ENDED_PHASES:
            return Moment.ENDED, last
        live = self.live()
        if live is not None:
            return Moment(phase_of(live)), int(live["spec"]["index"])
        begun = trials or (found.get("status") or {}).get("trialsCreated")  # which a hand may have spoilt
        return (Moment.BETWEEN if begun else Moment.PREFLIGHT), last

    def live(self) -> Manifest | None:
        """The live Trial."""
        trials = self.world.trials(self.experiment)
        known = {m.value for m in Moment}
        return next((t for t in trials if phase_of(t) not in TERMINAL and phase_of(t) in known), None)

    def arms(self, of: str) -> list[str]:
        """Names of the arms' Deployments: canary, control, or both for `arms`."""
        found = self.world.admin.list(kinds.DEPLOYMENTS, self.namespace)
        return [d["metadata"]["name"] for d in found if _is_arm(d, of)]

    def pods(self, of: str) -> list[str]:
        """Names of the arms' pods."""
        found = self.world.admin.list(kinds.PODS, self.namespace)
        return [p["metadata"]["name"] for p in found if _is_arm(p, of)]

    def pod_fault(self, kind: PodFaultKind, of: str, **rest: object) -> Heal:
        """Let a fault of the workload model act on arms' pods (`""`: on all pods of the namespace)."""
        names = []
        for selector in _selectors(of):
            self.number += 1
            names.append(f"fault-{self.number}")
            data = {"name": names[-1], "kind": kind, "selector": selector, "namespace": self.namespace, **rest}
            self.world.traffic.faults.set(PodFault.model_validate(data), self.now())
        self.world.kubelet.look()

        def heal() -> None:
            for name in names:
                self.world.traffic.faults.remove(name)
            self.world.kubelet.look()

        return heal


@contextlib.contextmanager
def by_hand(stage: Stage) -> Iterator[None]:
    """What people do may be refused, or come too late: the object is gone."""
    with stage.hand(), contextlib.suppress(ApiError):
        yield


def _selectors(of: str) -> list[dict[str, str]]:
    if not of:
        return [{}]
    return [{LABEL_ARM: name} for name in (("canary", "control") if of == "arms" else (of,))]


def _is_arm(obj: Manifest, of: str) -> bool:
    arm = (obj["metadata"].get("labels") or {}).get(LABEL_ARM)
    return arm is not None and of in ("arms", arm)


__all__ = ["Heal", "Stage", "by_hand"]
