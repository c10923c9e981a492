"""Endpoints: which pods of a Service are ready, as EndpointSlices and as shares of the load."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trimtab.domain import kinds
from trimtab.domain.errors import ApiError
from trimtab.domain.kube import Manifest
from trimtab.simulate.cluster import InMemoryCluster, WatchEvent
from trimtab.simulate.controllers.names import random_suffix
from trimtab.simulate.controllers.queue import Reactions
from trimtab.simulate.controllers.workloads import is_ready
from trimtab.simulate.selectors import parse_selector
from trimtab.simulate.traffic import Traffic

REACTION_SECONDS = 0.05
SERVICE_NAME = "kubernetes.io/service-name"
Key = tuple[str, str]


class Services:
    """The endpoints controller, and what kube-proxy makes of it."""

    watches = (kinds.SERVICES, kinds.PODS)

    def __init__(self, cluster: InMemoryCluster, traffic: Traffic, *, seed: int) -> None:
        self._cluster, self._objects, self._traffic = cluster, cluster.objects, traffic
        self._reactions: Reactions[Key] = Reactions(REACTION_SECONDS, self._sync)
        self._suffix = random_suffix(seed)

    def changed(self, event: WatchEvent) -> None:
        """A Service or a pod changed."""
        metadata = event.object["metadata"]
        if event.kind == kinds.SERVICES:
            self._reactions.add((metadata["namespace"], metadata["name"]))
        elif _matters(event):
            labels = metadata.get("labels") or {}
            for name, service in self._objects.names(kinds.SERVICES, metadata["namespace"]).items():
                if _selects(service, labels):
                    self._reactions.add((metadata["namespace"], name))

    def _sync(self, key: Key) -> None:
        namespace, name = key
        service = self._objects.find(kinds.SERVICES, namespace, name)
        selector = (service or {}).get("spec", {}).get("selector")
        if service is None:
            self._traffic.set_endpoints(namespace, name, frozenset())
            return
        if not selector or "deletionTimestamp" in service["metadata"]:
            return
        text = ",".join(f"{k}={v}" for k, v in sorted(selector.items()))
        pods = [p for p in self._objects.select(kinds.PODS, namespace, parse_selector(text)) if _has_address(p)]
        self._write(service, [_endpoint(p) for p in pods])
        serving = frozenset(p["metadata"]["name"] for p in pods if is_ready(p) and not _leaving(p))
        self._traffic.set_endpoints(namespace, name, serving)

    def _write(self, service: Manifest, endpoints: list[dict[str, Any]]) -> None:
        namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
        owned = self._objects.dependents(kinds.ENDPOINT_SLICES, service["metadata"]["uid"])
        if owned:
            if owned[0].get("endpoints") != endpoints:
                self._objects.store(kinds.ENDPOINT_SLICES, namespace, {**owned[0], "endpoints": endpoints})
            return
        reference = {
            "apiVersion": "v1",
            "kind": "Service",
            "name": name,
            "uid": service["metadata"]["uid"],
            "controller": True,
        }
        body = {
            "metadata": {
                "name": f"{name}-{self._suffix()}",
                "labels": {SERVICE_NAME: name},
                "ownerReferences": [reference],
            },
            "addressType": "IPv4",
            "ports": [{"name": p.get("name", ""), "port": p.get("port")} for p in service["spec"].get("ports") or ()],
            "endpoints": endpoints,
        }
        try:
            self._cluster.make(kinds.ENDPOINT_SLICES, namespace, body)
        except ApiError:  # the namespace is terminating
            return


def _matters(event: WatchEvent) -> bool:
    """Can this change of a pod change the endpoints?"""
    if event.old is None or event.type != "MODIFIED":
        return True
    return _facts(event.old) != _facts(event.object)


def _facts(pod: Manifest) -> tuple[Any, ...]:
    return (is_ready(pod), _leaving(pod), _has_address(pod), pod["metadata"].get("labels"))


def _selects(service: Manifest, labels: Mapping[str, str]) -> bool:
    selector = service["spec"].get("selector") or {}
    return bool(selector) and all(labels.get(k) == v for k, v in selector.items())


def _leaving(pod: Manifest) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def _has_address(pod: Manifest) -> bool:
    status = pod.get("status") or {}
    return bool(status.get("podIP")) and status.get("phase") == "Running"


def _endpoint(pod: Manifest) -> dict[str, Any]:
    metadata, serving, leaving = pod["metadata"], is_ready(pod), _leaving(pod)
    reference = {"kind": "Pod", **{key: metadata[key] for key in ("namespace", "name", "uid")}}
    return {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {"ready": serving and not leaving, "serving": serving, "terminating": leaving},
        "nodeName": pod["spec"]["nodeName"],
        "targetRef": reference,
    }


__all__ = ["Services"]
