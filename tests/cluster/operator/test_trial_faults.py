"""What may happen to the arms of a live trial: who is blamed, and that nothing is left."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.cluster.operator.support import BOTH, CANARY, CONTROL, NAME, experiment

from stack import Place, Stack
from stack.place import untouchable


@dataclass(frozen=True)
class Fault:
    """A fault for some pods; `early` ones are there before the arms. What the Trial must say about it."""

    name: str
    fault: dict[str, Any]
    phase: str
    reason: str
    words: tuple[str, ...]
    early: bool = False
    options: dict[str, Any] = field(default_factory=dict)


FAULTS = (
    Fault("oom-killed", {"kind": "OOM", "selector": CANARY}, "Infeasible", "OOMKilled", ("was OOMKilled", "-c-")),
    Fault(
        "crash-loop",
        {"kind": "CrashLoop", "selector": CANARY},
        "Infeasible",
        "CrashLoop",
        ("container web", "-c-"),
        early=True,
    ),
    Fault(
        "readiness-lost",
        {"kind": "NotReady", "selector": CANARY},
        "Infeasible",
        "ReadinessLost",
        ("was ready and is not any more", "-c-"),
    ),
    Fault(
        "error-burst",
        {"kind": "Errors", "selector": CANARY, "errorPercent": 20},
        "Infeasible",
        "AbortRule",
        ("failing", "errors", "windows"),
    ),
    Fault(
        "slow-dependency",
        {"kind": "SlowDependency", "selector": CANARY, "factor": 6},
        "Infeasible",
        "AbortRule",
        ("p95-under-100ms", "slow", "windows"),
    ),
    Fault(
        "control-failing-alone",
        {"kind": "NotReady", "selector": CONTROL},
        "Aborted",
        "ControlFailed",
        ("the control arm failed", "-b-"),
    ),
    Fault(
        "everything-slow",
        {"kind": "SlowDependency", "selector": BOTH, "factor": 6},
        "Aborted",
        "ControlFailedToo",
        ("p95-under-100ms", "control", "too"),
    ),
    Fault(
        "image-pull",
        {"kind": "ImagePull", "selector": CANARY},
        "InfraFailed",
        "ImagePullBackOff",
        ("-c-", "Back-off pulling image"),
        early=True,
    ),
    Fault("evicted", {"kind": "Evict", "selector": CANARY}, "InfraFailed", "Disrupted", ("-c-", "Evicted")),
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.name)
def test_a_fault_of_the_arms(stack: Stack, place: Place, fault: Fault) -> None:
    before = untouchable(place.target())
    place.spoiled = fault.fault["selector"] is BOTH  # the target's own past is bad afterwards
    wanted = {"name": place.namespace, "namespace": place.namespace, **fault.fault}
    if fault.early:
        stack.playground.fault(**wanted)
    place.create(experiment())
    if fault.early:
        trial = place.wait_live(NAME, {"Deploying", "WarmingUp", "Measuring", "Draining"})
    else:
        trial = place.wait_live(NAME, {"Measuring"})
        stack.playground.fault(**wanted)
    outcome = place.wait_outcome(trial)
    stack.playground.clear(place.namespace)
    assert (outcome["phase"], outcome["reason"]) == (fault.phase, fault.reason), outcome
    assert all(word in outcome["message"] for word in fault.words), outcome["message"]
    assert place.wait_event("TrialWithdrawn", f"{fault.reason}: ")["type"] == "Warning"
    place.delete(NAME)
    place.wait_deleted(NAME)
    assert untouchable(place.target()) == before
