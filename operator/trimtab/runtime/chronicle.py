"""What a Trial's record keeps of its surroundings: the nodes that it ran on, and the cluster's warnings about its arms.

For people who look later. Read once, within seconds, and never in the way: what cannot be read is left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import structlog

from trimtab.domain import kinds
from trimtab.domain.errors import ApiError
from trimtab.domain.kube import Manifest
from trimtab.domain.measurement import Arm
from trimtab.domain.names import LABEL_ARM, LABEL_TRIAL, arm_name
from trimtab.domain.trial import EventDigest, NodeTypes, Trial
from trimtab.ports import Cluster

SECONDS = 3.0
MOST_NODES = 16
MOST_REASONS = 8
INSTANCE_TYPE = "node.kubernetes.io/instance-type"
OF_ARMS = frozenset({"Deployment", "ReplicaSet", "Pod"})

log = structlog.get_logger(__name__)


class Chronicle:
    """Reads through the Cluster port; absence, a missing right and a slow server all give an empty answer."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def node_types(self, trial: Trial) -> tuple[NodeTypes, ...]:
        """Instance types by arm. A namespaced install may not read Nodes; then it is empty."""
        try:
            async with asyncio.timeout(SECONDS):
                pods = await self._cluster.list(kinds.PODS, trial.namespace, labels=f"{LABEL_TRIAL}={trial.uid}")
                names = sorted({_node(pod) for pod in pods} - {""})[:MOST_NODES]
                nodes = await asyncio.gather(*(self._cluster.get(kinds.NODES, None, name) for name in names))
        except (ApiError, TimeoutError) as error:
            log.info("chronicle.no_nodes", trial=trial.name, why=str(error) or "time-out")
            return ()
        types = {n["metadata"]["name"]: (n["metadata"].get("labels") or {}).get(INSTANCE_TYPE, "") for n in nodes}
        found = []
        for arm in (Arm.CANARY, Arm.CONTROL):
            mine = (types.get(_node(p), "") for p in pods if p["metadata"]["labels"].get(LABEL_ARM) == arm.value)
            if known := tuple(sorted(set(mine) - {""})):
                found.append(NodeTypes(arm, known))
        return tuple(found)

    async def events(self, trial: Trial) -> tuple[EventDigest, ...]:
        """Warnings about the arms' Deployments, ReplicaSets and pods by reason, the most frequent last."""
        try:
            async with asyncio.timeout(SECONDS):
                events = await self._cluster.list(kinds.EVENTS, trial.namespace)
        except (ApiError, TimeoutError) as error:
            log.info("chronicle.no_events", trial=trial.name, why=str(error) or "time-out")
            return ()
        arms = tuple(arm_name(trial.experiment_uid, trial.index, arm) for arm in (Arm.CANARY, Arm.CONTROL))
        return digest(e for e in events if e.get("type") == "Warning" and _is_about(e, arms))


def digest(events: Iterable[Manifest]) -> tuple[EventDigest, ...]:
    """One line for each reason: how often, and the newest words."""
    counts: dict[str, int] = {}
    newest: dict[str, tuple[str, str]] = {}
    for event in events:
        reason = str(event.get("reason") or "Unknown")
        counts[reason] = counts.get(reason, 0) + _count(event)
        newest[reason] = max(newest.get(reason, ("", "")), (_seen(event), str(event.get("note") or "")))
    ranked = sorted(counts, key=lambda reason: (counts[reason], reason))
    return tuple(EventDigest(reason, counts[reason], newest[reason][1]) for reason in ranked[-MOST_REASONS:])


def _node(pod: Manifest) -> str:
    return str((pod.get("spec") or {}).get("nodeName") or "")


def _is_about(event: Manifest, arms: tuple[str, ...]) -> bool:
    about = event.get("regarding") or {}
    name = str(about.get("name") or "")
    return about.get("kind") in OF_ARMS and any(name == arm or name.startswith(f"{arm}-") for arm in arms)


def _count(event: Manifest) -> int:
    """Both ways in which Kubernetes counts repetitions."""
    return max(int((event.get("series") or {}).get("count") or 0), int(event.get("deprecatedCount") or 0), 1)


def _seen(event: Manifest) -> str:
    """When it was seen last; RFC 3339 in UTC sorts as text."""
    series = (event.get("series") or {}).get("lastObservedTime")
    return str(series or event.get("deprecatedLastTimestamp") or event.get("eventTime") or "")


__all__ = ["Chronicle", "digest"]
