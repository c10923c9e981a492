"""Resource guards: a canary that is short of CPU or memory is withdrawn before its users tell. Pure.

An SLI needs requests to show a fault; the node counts ten CPU periods a second whatever the traffic. Each row of
`GUARDS` is a share that no healthy service reaches, and one that the control must stay under: a service that lives with
it today (a page cache fills any limit) is not blamed on the assignment. Containers for which the store has no series
are not guarded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from trimtab.domain.kube import ArmView
from trimtab.domain.measurement import ContainerUse
from trimtab.domain.quantity import percent
from trimtab.domain.trial import Outcome, TrialPhase
from trimtab.slo.watching import SafetyWindow

# As the kubelet's /metrics/cadvisor names them; the pressure of a container is there from Kubernetes 1.34 on.
WORKING_SET = "container_memory_working_set_bytes"
PERIODS = "container_cpu_cfs_periods_total"
THROTTLED = "container_cpu_cfs_throttled_periods_total"
MEMORY_STALLED = "container_pressure_memory_stalled_seconds_total"
CPU_WAITING = "container_pressure_cpu_waiting_seconds_total"
METRICS = (WORKING_SET, PERIODS, THROTTLED, MEMORY_STALLED, CPU_WAITING)
BREACHES, OUT_OF = 2, 3  # of the last windows in which both arms were seen
Share = Callable[[ContainerUse, ArmView], float | None]


@dataclass(frozen=True)
class Guard:
    """`reason` is CamelCase; the canary is strained from `at` on, the control is well up to `control` (shares in
    [0, 1]); `words` go on from "container web". `metrics` are those of cAdvisor that it needs, all of them."""

    reason: str
    at: float
    control: float
    words: str
    share: Share
    metrics: tuple[str, ...]


def _of_limit(use: ContainerUse, arm: ArmView) -> float | None:
    """Working set over the memory limit as admitted; None without a limit."""
    admitted = next((dict(p.resources) for p in arm.pods if p.name == use.pod), {}).get(use.container)
    if use.working_set is None or admitted is None or not admitted.memory_limit:
        return None
    return use.working_set / float(admitted.memory_limit)


GUARDS = (
    Guard(
        "CpuThrottled",
        0.50,
        0.25,
        "is throttled in {} of its CPU periods",
        lambda use, _: use.throttled,
        (PERIODS, THROTTLED),
    ),
    Guard("CpuStarved", 0.80, 0.40, "waits for a CPU {} of the time", lambda use, _: use.cpu_waiting, (CPU_WAITING,)),
    Guard("MemoryNearLimit", 0.98, 0.90, "fills {} of its memory limit", _of_limit, (WORKING_SET,)),
    Guard(
        "MemoryStalled",
        0.10,
        0.05,
        "stands still for memory {} of the time",
        lambda use, _: use.memory_stalled,
        (MEMORY_STALLED,),
    ),
)


def strained(windows: Sequence[SafetyWindow], canary: ArmView | None, control: ArmView | None) -> Outcome | None:
    """The first guard that the canary broke in two of the last three windows while its control was well; None when
    there is none, or when an arm cannot be seen.

    Args:
        windows: after the warm-up, oldest first.
    """
    if canary is None or control is None or not windows:
        return None
    arms = _with_pods(canary, control)
    for guard in GUARDS:
        recent = [(worst, other) for _, worst, other in _recent(guard, windows, *arms)]
        broken = [(worst, other) for worst, other in recent if worst[0] >= guard.at and other[0] < guard.control]
        if len(broken) >= BREACHES:
            (share, container), (usual, _) = broken[0]
            message = (
                f"container {container} {guard.words.format(percent(share))} in {len(broken)} of {len(recent)} "
                f"windows, guard at {percent(guard.at)}, control {percent(usual)}"
            )
            return Outcome(TrialPhase.INFEASIBLE, guard.reason, message)
    return None


def guard_readings(
    reason: str, windows: Sequence[SafetyWindow], canary: ArmView | None, control: ArmView | None
) -> tuple[str, ...]:
    """What the guard of this reason was told by, a line for each window, oldest first; empty for any other reason.

    Args:
        windows: as `strained` had them.
    """
    guard = next((g for g in GUARDS if g.reason == reason), None)
    if guard is None or canary is None or control is None:
        return ()
    seen = _recent(guard, windows, *_with_pods(canary, control))
    return tuple(
        f"{w.window.start:.0f}..{w.window.end:.0f} {reason}: container {name} {percent(share)}, control "
        f"{percent(usual)} in {other}"
        for w, (share, name), (usual, other) in reversed(seen)
    )


Worst = tuple[float, str]
"""The greatest share of an arm's containers, and whose it is."""


ArmPods = tuple[ArmView, frozenset[str]]
"""An arm, and the names of its pods."""


def _with_pods(*arms: ArmView) -> list[ArmPods]:
    return [(arm, frozenset(p.name for p in arm.pods)) for arm in arms]


def _recent(
    guard: Guard, windows: Sequence[SafetyWindow], canary: ArmPods, control: ArmPods
) -> list[tuple[SafetyWindow, Worst, Worst]]:
    """The last windows in which both arms were seen, newest first."""
    seen = ((w, *pair) for w in reversed(windows) if (pair := _both(guard, w, canary, control)) is not None)
    return [*islice(seen, OUT_OF)]


def _both(guard: Guard, window: SafetyWindow, canary: ArmPods, control: ArmPods) -> tuple[Worst, Worst] | None:
    worst = _worst(guard, window, canary)
    other = None if worst is None else _worst(guard, window, control)
    return None if worst is None or other is None else (worst, other)


def _worst(guard: Guard, window: SafetyWindow, of: ArmPods) -> Worst | None:
    arm, pods = of
    shares = ((guard.share(use, arm), use.container) for use in window.uses if use.pod in pods)
    return max(((share, container) for share, container in shares if share is not None), default=None)


__all__ = [
    "BREACHES",
    "CPU_WAITING",
    "GUARDS",
    "MEMORY_STALLED",
    "METRICS",
    "OUT_OF",
    "PERIODS",
    "THROTTLED",
    "WORKING_SET",
    "Guard",
    "guard_readings",
    "strained",
]
