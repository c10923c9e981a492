"""What a Trial keeps of its surroundings; a server that refuses or hangs costs it nothing but these words."""

# ruff: noqa: ARG002 - stubs have the signatures of their ports

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.control.builders import trial

from trimtab.adapters.clock import LoopClock
from trimtab.domain import kinds
from trimtab.domain.errors import Forbidden
from trimtab.domain.kinds import Kind
from trimtab.domain.measurement import Arm
from trimtab.domain.names import LABEL_ARM, LABEL_TRIAL, arm_name
from trimtab.domain.trial import EventDigest, NodeTypes
from trimtab.runtime.chronicle import INSTANCE_TYPE, MOST_REASONS, Chronicle, digest
from trimtab.simulate.cluster import InMemoryCluster

pytestmark = pytest.mark.looptime

TRIAL = trial()
CANARY = arm_name(TRIAL.experiment_uid, TRIAL.index, Arm.CANARY)


def event(reason: str, name: str = f"{CANARY}-abc-12345", **more: Any) -> dict[str, Any]:
    regarding = {"kind": "Pod", "namespace": "shop", "name": name}
    return {"type": "Warning", "reason": reason, "note": f"{reason} of {name}", "regarding": regarding, **more}


async def world() -> InMemoryCluster:
    return InMemoryCluster(LoopClock(), seed=1, namespaces=("shop",))


async def add_pod(cluster: InMemoryCluster, name: str, arm: str, node: str) -> None:
    metadata = {"name": name, "labels": {LABEL_ARM: arm, LABEL_TRIAL: TRIAL.uid}}
    await cluster.create(kinds.PODS, "shop", {"metadata": metadata, "spec": {"nodeName": node}})


async def add_event(cluster: InMemoryCluster, number: int, body: dict[str, Any]) -> None:
    await cluster.create(kinds.EVENTS, "shop", {"metadata": {"name": f"e{number}"}, **body})


async def test_the_types_of_the_nodes_that_each_arm_runs_on() -> None:
    cluster = await world()
    for name, kind in (("a", "m5.large"), ("b", "c5.large"), ("c", "")):
        labels = {INSTANCE_TYPE: kind} if kind else {}
        await cluster.create(kinds.NODES, None, {"metadata": {"name": name, "labels": labels}})
    for number, (arm, node) in enumerate((("canary", "a"), ("canary", "b"), ("canary", "a"), ("control", "c"))):
        await add_pod(cluster, f"pod-{number}", arm, node)
    assert await Chronicle(cluster).node_types(TRIAL) == (NodeTypes(Arm.CANARY, ("c5.large", "m5.large")),)


async def test_a_node_that_is_gone_leaves_the_types_unknown() -> None:
    cluster = await world()
    await add_pod(cluster, "pod", "canary", "gone")
    assert await Chronicle(cluster).node_types(TRIAL) == ()


async def test_warnings_about_the_arms_and_about_nothing_else() -> None:
    cluster = await world()
    bodies = (
        event("FailedScheduling"),
        event("Unhealthy", CANARY),
        event("Unhealthy", "web-7f9-0"),
        event("Unhealthy", f"{CANARY}x-abc"),
        event("Started") | {"type": "Normal"},
        event("Odd") | {"regarding": {"kind": "Trial", "name": CANARY}},
    )
    for number, body in enumerate(bodies):
        await add_event(cluster, number, body)
    found = await Chronicle(cluster).events(TRIAL)
    assert [(e.reason, e.count) for e in found] == [("FailedScheduling", 1), ("Unhealthy", 1)]


def test_repetitions_are_counted_and_the_newest_words_are_kept() -> None:
    events = (
        event("BackOff", note="old", eventTime="2026-01-01T00:00:00.000000Z"),
        event("BackOff", note="new", series={"count": 4, "lastObservedTime": "2026-01-01T00:05:00.000000Z"}),
        event("BackOff", note="legacy", deprecatedCount=3, deprecatedLastTimestamp="2026-01-01T00:01:00Z"),
        event("Unhealthy"),
    )
    unhealthy = EventDigest("Unhealthy", 1, f"Unhealthy of {CANARY}-abc-12345")
    assert digest(events) == (unhealthy, EventDigest("BackOff", 8, "new"))


def test_only_the_most_frequent_reasons_are_kept() -> None:
    found = digest(event(f"R{number:02}", series={"count": number}) for number in range(1, 21))
    assert [e.reason for e in found] == [f"R{number:02}" for number in range(21 - MOST_REASONS, 21)]


class Refusing(InMemoryCluster):
    async def list(self, kind: Kind, namespace: str | None, *, labels: str = "") -> tuple[Any, ...]:
        raise Forbidden(403, f"{kind.plural} is forbidden")


class Hanging(InMemoryCluster):
    async def list(self, kind: Kind, namespace: str | None, *, labels: str = "") -> tuple[Any, ...]:
        await LoopClock().sleep(3600.0)
        return ()


@pytest.mark.parametrize("kind", [Refusing, Hanging])
async def test_what_cannot_be_read_is_left_out(kind: type[InMemoryCluster]) -> None:
    clock = LoopClock()
    chronicle, begun = Chronicle(kind(clock, seed=1, namespaces=("shop",))), clock.monotonic()
    assert await chronicle.node_types(TRIAL) == ()
    assert await chronicle.events(TRIAL) == ()
    assert clock.monotonic() - begun < 10.0
