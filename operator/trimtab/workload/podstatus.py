"""Pod statuses as a kubelet writes them: pure functions from a container's state to JSON."""

from __future__ import annotations

import datetime as dt
import hashlib
import zlib
from collections.abc import Collection, Mapping
from typing import Any, Final

from .lifecycle import ContainerLife, Phase, Termination

Obj = dict[str, Any]

POD_NETWORK: Final = "10.244"


def stamp(t: float) -> str:
    """A Kubernetes Time, whole seconds, UTC."""
    return dt.datetime.fromtimestamp(t, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def host_ip(name: str) -> str:
    """Internal address of a node."""
    return f"192.0.2.{zlib.crc32(name.encode()) % 250 + 1}"


def pod_ip(uid: str, taken: Collection[str]) -> str:
    """An address in 10.244.0.0/16 that belongs to the uid; the next free one if it is taken."""
    start = int.from_bytes(hashlib.sha256(uid.encode()).digest()[:4], "big")
    for step in range(65536):
        high, low = divmod((start + step) % 65536, 256)
        address = f"{POD_NETWORK}.{high}.{low}"
        if 0 < low < 255 and address not in taken:
            return address
    raise RuntimeError("the pod network is full")


def status_patch(pod: Mapping[str, Any], life: ContainerLife, main: str) -> Obj:
    """A merge patch of the pod's status subresource; `main` names the container that can fail."""
    host = host_ip(pod["spec"]["nodeName"])
    status: Obj = {
        "phase": _POD_PHASE[life.phase],
        "startTime": stamp(life.adopted),
        "hostIP": host,
        "hostIPs": [{"ip": host}],
        "conditions": _conditions(pod, life),
        "containerStatuses": [_container(c, life, c["name"] == main) for c in pod["spec"]["containers"]],
    }
    if life.phase is Phase.EVICTED:
        status |= {"reason": "Evicted", "message": "The node was low on resource: memory.", "containerStatuses": []}
    if life.has_network:
        status |= {"podIP": life.ip, "podIPs": [{"ip": life.ip}]}
    return {"status": status}


_POD_PHASE: Final = {
    Phase.CREATING: "Pending",
    Phase.IMAGE_PULL: "Pending",
    Phase.RUNNING: "Running",
    Phase.TERMINATED: "Running",
    Phase.BACK_OFF: "Running",
    Phase.EVICTED: "Failed",
}
_KEPT_CONDITIONS: Final = ("PodScheduled", "DisruptionTarget")


def _conditions(pod: Mapping[str, Any], life: ContainerLife) -> list[Obj]:
    """PodScheduled stays as the scheduler wrote it; the others follow the container."""
    kept = [c for c in pod.get("status", {}).get("conditions", []) if c["type"] in _KEPT_CONDITIONS]
    begun, changed = stamp(life.adopted), stamp(life.ready_since or life.adopted)
    result = [
        _condition("PodReadyToStartContainers", life.has_network, begun),
        _condition("Initialized", True, begun),
        _condition("ContainersReady", life.ready, changed, "ContainersNotReady"),
        _condition("Ready", life.ready, changed, "ContainersNotReady"),
        *kept,
    ]
    if life.phase is Phase.EVICTED and not any(c["type"] == "DisruptionTarget" for c in kept):
        result.append(_condition("DisruptionTarget", True, changed) | {"reason": "TerminationByKubelet"})
    return result


def _condition(kind: str, holds: bool, at: str, reason: str = "") -> Obj:
    result: Obj = {"type": kind, "status": "True" if holds else "False", "lastTransitionTime": at}
    return result | ({"reason": reason} if reason and not holds else {})


def _container(spec: Mapping[str, Any], life: ContainerLife, main: bool) -> Obj:
    """Status of one container; only the main one fails, the others just run."""
    ended = life.last if main else None
    running = life.phase is Phase.RUNNING or (life.has_network and not main)
    restarts = life.restarts if main else 0
    status: Obj = {
        "name": spec["name"],
        "image": spec.get("image", ""),
        "imageID": f"playground://{spec.get('image', '')}",
        "ready": running and (life.ready or not main),
        "started": running,
        "restartCount": restarts,
        "state": {"running": {"startedAt": stamp(life.running_since)}} if running else _stopped(life),
        "lastState": {},
    }
    if ended is not None and life.phase is not Phase.TERMINATED:
        status["lastState"] = {"terminated": _terminated(ended)}
    if running:
        status["containerID"] = f"playground://{life.ip}-{spec['name']}-{restarts}"
        status["resources"] = spec.get("resources", {})
    return status


def _stopped(life: ContainerLife) -> Obj:
    if life.phase is Phase.TERMINATED and life.last is not None:
        return {"terminated": _terminated(life.last)}
    if life.phase is Phase.BACK_OFF:
        return {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off restarting failed container"}}
    if life.phase is Phase.IMAGE_PULL:
        return {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}
    return {"waiting": {"reason": "ContainerCreating"}}


def _terminated(last: Termination) -> Obj:
    return {
        "reason": last.reason,
        "exitCode": last.exit_code,
        "startedAt": stamp(last.started),
        "finishedAt": stamp(last.finished),
    }
