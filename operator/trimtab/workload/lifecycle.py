"""The life of a pod's main container, as a pure function of time and of what acts on it.

No clock and no client: the program asks `advance` now and then and writes a status when the answer differs. The
delays are a kubelet's: the first restart comes at once, the next ones after 10 s, 20 s, 40 s ... up to five minutes
(CrashLoopBackOff), and ten minutes without a crash forgive the past.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from trimtab.domain.backoff import doubling

CREATE_SECONDS: Final = 0.3  # from a pod's binding to the start of its container, as the played kubelets have it
FIRST_RESTART_SECONDS: Final = 1.0
BACK_OFF_SECONDS: Final = 10.0
LONGEST_BACK_OFF_SECONDS: Final = 300.0
FORGIVEN_AFTER_SECONDS: Final = 600.0


class Phase(StrEnum):
    """Where the main container is."""

    CREATING = "ContainerCreating"
    IMAGE_PULL = "ImagePullBackOff"
    RUNNING = "Running"
    TERMINATED = "Terminated"
    """Ended; the first restart is about to come."""
    BACK_OFF = "CrashLoopBackOff"
    EVICTED = "Evicted"


@dataclass(frozen=True, slots=True)
class Termination:
    """How the container ended last."""

    reason: str
    exit_code: int
    started: float
    finished: float


@dataclass(frozen=True, slots=True)
class Acting:
    """Faults that act on a pod now."""

    crash_loop: bool = False
    not_ready: bool = False
    image_pull: bool = False


@dataclass(frozen=True, slots=True)
class ContainerLife:
    """State of the main container; times are seconds on the wall clock."""

    adopted: float
    ip: str
    phase: Phase = Phase.CREATING
    until: float = 0.0
    """When the present phase (creating, terminated, back-off) may end."""
    running_since: float = 0.0
    ready: bool = False
    ready_since: float = 0.0
    """Last change of readiness."""
    restarts: int = 0
    crashes: int = 0
    """Crashes that count for the back-off."""
    last: Termination | None = None

    @property
    def has_network(self) -> bool:
        """Whether the pod's address is known: from the first start on."""
        return self.running_since > 0.0


def born(now: float, ip: str, create_s: float) -> ContainerLife:
    """A pod that was just bound to a node."""
    return ContainerLife(adopted=now, ip=ip, until=now + create_s)


def advance(life: ContainerLife, acting: Acting, startup_s: float, now: float) -> ContainerLife:
    """The state at `now`; returns the same object when nothing has changed."""
    if life.phase is Phase.EVICTED:
        return life
    if life.phase in (Phase.CREATING, Phase.IMAGE_PULL):
        if acting.image_pull:
            return life if life.phase is Phase.IMAGE_PULL else replace(life, phase=Phase.IMAGE_PULL)
        return _run(life, now) if now >= life.until else life
    if life.phase in (Phase.TERMINATED, Phase.BACK_OFF):
        return _run(replace(life, restarts=life.restarts + 1), now) if now >= life.until else life
    if acting.crash_loop:
        return killed(life, "Error", 1, now)
    ready = now >= life.running_since + startup_s and not acting.not_ready
    return life if ready == life.ready else replace(life, ready=ready, ready_since=now)


def killed(life: ContainerLife, reason: str, exit_code: int, now: float) -> ContainerLife:
    """The container ends, to be restarted as a kubelet would."""
    if life.phase is not Phase.RUNNING:
        return life
    crashes = life.crashes if now - life.running_since < FORGIVEN_AFTER_SECONDS else 0
    delay = FIRST_RESTART_SECONDS
    if crashes:
        delay = doubling(BACK_OFF_SECONDS, crashes, LONGEST_BACK_OFF_SECONDS)
    return replace(
        life,
        phase=Phase.BACK_OFF if crashes else Phase.TERMINATED,
        until=now + delay,
        ready=False,
        ready_since=now if life.ready else life.ready_since,
        crashes=crashes + 1,
        last=Termination(reason, exit_code, life.running_since, now),
    )


def evicted(life: ContainerLife, now: float) -> ContainerLife:
    """The kubelet ends the pod for want of memory on the node; it never runs again."""
    return replace(life, phase=Phase.EVICTED, ready=False, ready_since=now)


def _run(life: ContainerLife, now: float) -> ContainerLife:
    return replace(life, phase=Phase.RUNNING, running_since=now, until=0.0)
