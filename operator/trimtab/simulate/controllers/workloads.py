"""The Deployment and ReplicaSet controllers: from a template to pods, and by rolling from one template to the next."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from trimtab.domain import kinds
from trimtab.domain.errors import ApiError, NotFound
from trimtab.domain.kinds import Kind
from trimtab.domain.kube import Manifest
from trimtab.simulate.cluster import InMemoryCluster, WatchEvent
from trimtab.simulate.controllers.names import random_suffix, safe_encoded
from trimtab.simulate.controllers.queue import Reactions
from trimtab.simulate.objects import FINISHED

TEMPLATE_HASH = "pod-template-hash"
REACTION_SECONDS = 0.02
RETRY_SECONDS = (1.0, 2.0, 4.0, 8.0, 15.0)
Key = tuple[str, str]


class Workloads:
    """Both controllers. `seed` makes the names of pods."""

    watches = (kinds.DEPLOYMENTS, kinds.REPLICA_SETS, kinds.PODS)

    def __init__(self, cluster: InMemoryCluster, *, seed: int) -> None:
        self._cluster, self._objects = cluster, cluster.objects
        self._suffix = random_suffix(seed)
        self._deployments: Reactions[Key] = Reactions(REACTION_SECONDS, self._sync_deployment)
        self._replica_sets: Reactions[Key] = Reactions(REACTION_SECONDS, self._sync_replica_set)
        self._failures: dict[Key, int] = {}

    def changed(self, event: WatchEvent) -> None:
        """Note what must be looked at."""
        kind, obj = event.kind, event.object
        metadata = obj["metadata"]
        key = (metadata.get("namespace", ""), metadata["name"])
        if kind == kinds.DEPLOYMENTS:
            self._deployments.add(key)
        elif kind == kinds.REPLICA_SETS:
            self._replica_sets.add(key)
            self._owner(self._deployments, kinds.DEPLOYMENTS, obj)
            if event.type == "DELETED":
                self._failures.pop(key, None)
        else:
            self._owner(self._replica_sets, kinds.REPLICA_SETS, obj)

    @staticmethod
    def _owner(reactions: Reactions[Key], kind: Kind, obj: Manifest) -> None:
        for owner in obj["metadata"].get("ownerReferences") or ():
            if owner.get("kind") == kind.name:
                reactions.add((obj["metadata"]["namespace"], owner["name"]))

    # Deployments

    def _sync_deployment(self, key: Key) -> None:
        namespace, name = key
        deployment = self._objects.find(kinds.DEPLOYMENTS, namespace, name)
        if deployment is None or "deletionTimestamp" in deployment["metadata"]:
            return
        owned = self._owned(kinds.REPLICA_SETS, deployment)
        wanted, hashed = int(deployment["spec"].get("replicas", 1)), template_hash(deployment)
        present = next((r for r in owned if _hash_of(r) == hashed), None)
        others = [r for r in owned if r is not present]
        if present is None and not deployment["spec"].get("paused"):
            size = wanted if not any(_replicas(r) for r in others) else 0
            present = self._make_replica_set(deployment, hashed, size)
            if present is None:
                return
        if present is not None:
            self._roll(deployment, wanted, present, others)
        owned = self._owned(kinds.REPLICA_SETS, deployment)
        self._objects.set_status(kinds.DEPLOYMENTS, namespace, name, _deployment_status(deployment, owned, hashed))

    def _make_replica_set(self, deployment: Manifest, hashed: str, replicas: int) -> Manifest | None:
        metadata, template = deployment["metadata"], deployment["spec"]["template"]
        extra = {TEMPLATE_HASH: hashed}
        labels = {**(template["metadata"].get("labels") or {}), **extra}
        selector = deployment["spec"]["selector"]
        selector = {**selector, "matchLabels": {**(selector.get("matchLabels") or {}), **extra}}
        body = {
            "metadata": {
                "name": f"{metadata['name']}-{hashed}",
                "labels": labels,
                "annotations": dict(metadata.get("annotations") or {}),
                "ownerReferences": [_reference(deployment)],
            },
            "spec": {
                "replicas": replicas,
                "selector": selector,
                "template": {**template, "metadata": {**template["metadata"], "labels": labels}},
            },
        }
        try:
            return self._cluster.make(kinds.REPLICA_SETS, metadata["namespace"], body)
        except ApiError:  # the namespace is terminating
            return None

    def _roll(self, deployment: Manifest, wanted: int, new: Manifest, others: Sequence[Manifest]) -> None:
        """One step of a rolling update: more of the new within the surge, fewer of the old while enough are there."""
        old = [r for r in others if _replicas(r)]
        if not old:
            self._scale(new, wanted)
            return
        if (deployment["spec"].get("strategy") or {}).get("type") == "Recreate":
            for each in old:
                self._scale(each, 0)
            if not any(_status(r, "replicas") for r in others):
                self._scale(new, wanted)
            return
        surge, unavailable = _bounds(deployment, wanted)
        total = _replicas(new) + sum(map(_replicas, old))
        grown = max(_replicas(new), min(wanted, _replicas(new) + wanted + surge - total))
        self._scale(new, grown)
        least = wanted - unavailable
        waiting = _replicas(new) - _status(new, "availableReplicas")
        spare = total - least - max(0, waiting)
        for each in old:  # first those that are broken anyway
            broken = min(_replicas(each) - _status(each, "availableReplicas"), max(0, spare))
            if broken > 0:
                self._scale(each, _replicas(each) - broken)
                return
        available = _status(new, "availableReplicas") + sum(_status(r, "availableReplicas") for r in old)
        for each in old:
            down = min(_replicas(each), max(0, available - least))
            if down > 0:
                self._scale(each, _replicas(each) - down)
                return

    def _scale(self, replica_set: Manifest, replicas: int) -> None:
        namespace, name = replica_set["metadata"]["namespace"], replica_set["metadata"]["name"]
        current = self._objects.find(kinds.REPLICA_SETS, namespace, name)
        if current is not None and _replicas(current) != replicas:
            self._write(kinds.REPLICA_SETS, current, {**current["spec"], "replicas": replicas})

    def _write(self, kind: Kind, old: Manifest, spec: Mapping[str, Any]) -> None:
        metadata = {**old["metadata"], "generation": old["metadata"].get("generation", 0) + 1}
        self._objects.store(kind, metadata["namespace"], {**old, "metadata": metadata, "spec": spec})

    # ReplicaSets

    def _sync_replica_set(self, key: Key) -> None:
        namespace, name = key
        replica_set = self._objects.find(kinds.REPLICA_SETS, namespace, name)
        if replica_set is None or "deletionTimestamp" in replica_set["metadata"]:
            return
        active = [p for p in self._owned(kinds.PODS, replica_set) if _active(p)]
        missing = _replicas(replica_set) - len(active)
        problem = ""
        if missing > 0:
            problem = self._make_pods(key, replica_set, missing)
        elif missing < 0:
            for pod in sorted(active, key=_dispensable)[:-missing]:
                self._objects.begin_delete(kinds.PODS, namespace, pod["metadata"]["name"], None)
        active = [p for p in self._owned(kinds.PODS, replica_set) if _active(p)]
        self._objects.set_status(
            kinds.REPLICA_SETS,
            namespace,
            name,
            _replica_set_status(replica_set, active, problem, self._objects.timestamp(0)),
        )

    def _make_pods(self, key: Key, replica_set: Manifest, count: int) -> str:
        """Create pods; returns the server's words when it refuses one."""
        for _ in range(count):
            try:
                self._cluster.make(kinds.PODS, key[0], self._pod(replica_set))
            except NotFound:
                return ""
            except ApiError as error:
                failures = self._failures.get(key, 0)
                self._failures[key] = failures + 1
                self._replica_sets.later(key, RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
                return error.message
        self._failures.pop(key, None)
        return ""

    def _pod(self, replica_set: Manifest) -> dict[str, Any]:
        template, name = replica_set["spec"]["template"], replica_set["metadata"]["name"]
        metadata = {
            "name": f"{name}-{self._suffix()}",
            "labels": dict(template["metadata"].get("labels") or {}),
            "ownerReferences": [_reference(replica_set)],
        }
        if template["metadata"].get("annotations"):
            metadata["annotations"] = template["metadata"]["annotations"]
        return {"metadata": metadata, "spec": template["spec"]}

    def _owned(self, kind: Kind, owner: Manifest) -> list[Manifest]:
        """What this object owns, by name."""
        return self._objects.dependents(kind, owner["metadata"]["uid"])


def template_hash(deployment: Manifest) -> str:
    """Ten characters that tell one pod template from another."""
    text = json.dumps(deployment["spec"]["template"], sort_keys=True)
    return safe_encoded(int.from_bytes(hashlib.sha256(text.encode()).digest()[:5], "big"))


def _reference(owner: Manifest) -> dict[str, Any]:
    metadata = owner["metadata"]
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _bounds(deployment: Manifest, wanted: int) -> tuple[int, int]:
    """(maxSurge, maxUnavailable) in pods; never both zero."""
    rolling = (deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    surge = _part(rolling.get("maxSurge", "25%"), wanted, math.ceil)
    unavailable = _part(rolling.get("maxUnavailable", "25%"), wanted, math.floor)
    return (surge, unavailable) if surge or unavailable else (0, 1)


def _part(value: object, wanted: int, rounding: Any) -> int:
    text = str(value)
    return int(rounding(float(text[:-1]) / 100 * wanted)) if text.endswith("%") else int(text)


def _hash_of(replica_set: Manifest) -> str:
    return str((replica_set["metadata"].get("labels") or {}).get(TEMPLATE_HASH, ""))


def _replicas(replica_set: Manifest) -> int:
    return int(replica_set["spec"].get("replicas", 1))


def _status(obj: Manifest, field: str) -> int:
    return int((obj.get("status") or {}).get(field, 0))


def _active(pod: Manifest) -> bool:
    phase = (pod.get("status") or {}).get("phase")
    return "deletionTimestamp" not in pod["metadata"] and phase not in FINISHED


def is_ready(pod: Manifest) -> bool:
    """Does its Ready condition hold?"""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _dispensable(pod: Manifest) -> tuple[bool, bool, str]:
    """Whom a ReplicaSet deletes first: without a node, not ready, then by name."""
    return bool(pod["spec"].get("nodeName")), is_ready(pod), pod["metadata"]["name"]


def _replica_set_status(replica_set: Manifest, active: Sequence[Manifest], problem: str, now: str) -> dict[str, Any]:
    ready = sum(map(is_ready, active))
    status: dict[str, Any] = {
        "replicas": len(active),
        "fullyLabeledReplicas": len(active),
        "readyReplicas": ready,
        "availableReplicas": ready,
        "observedGeneration": replica_set["metadata"].get("generation", 1),
    }
    if problem:
        status["conditions"] = [_condition("ReplicaFailure", "FailedCreate", problem, now, replica_set)]
    return status


def _condition(kind: str, reason: str, message: str, now: str, obj: Manifest) -> dict[str, Any]:
    """A condition that is true; its time is that of the change."""
    old: Manifest = next((c for c in (obj.get("status") or {}).get("conditions") or () if c["type"] == kind), {})
    since = old.get("lastTransitionTime", now) if old.get("status") == "True" else now
    return {"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": since}


def _deployment_status(deployment: Manifest, owned: Sequence[Manifest], hashed: str) -> dict[str, Any]:
    current = next((r for r in owned if _hash_of(r) == hashed), None)
    available = sum(_status(r, "availableReplicas") for r in owned)
    wanted = int(deployment["spec"].get("replicas", 1))
    _, unavailable = _bounds(deployment, wanted)
    failures = [c for r in owned for c in (r.get("status") or {}).get("conditions") or ()]
    enough = "True" if available >= wanted - unavailable else "False"
    conditions = [{"type": "Available", "status": enough, "reason": "MinimumReplicasAvailable"}, *failures[:1]]
    return {
        "observedGeneration": deployment["metadata"].get("generation", 1),
        "replicas": sum(_status(r, "replicas") for r in owned),
        "updatedReplicas": _status(current, "replicas") if current is not None else 0,
        "readyReplicas": sum(_status(r, "readyReplicas") for r in owned),
        "availableReplicas": available,
        "conditions": conditions,
    }


__all__ = ["Workloads", "is_ready", "template_hash"]
