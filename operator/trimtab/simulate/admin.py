"""What people do to a cluster with kubectl, at once and without faults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from trimtab.domain import kinds
from trimtab.domain.kinds import Kind
from trimtab.domain.kube import Manifest
from trimtab.simulate.cluster import InMemoryCluster
from trimtab.simulate.frozen import thawed

Edit = Callable[[dict[str, Any]], object]


class UnknownKind(ValueError):
    """A manifest of a kind that this cluster does not serve."""


class Admin:
    """Every method acts as the API server would on a person's request, and raises its ApiErrors."""

    def __init__(self, cluster: InMemoryCluster) -> None:
        self._cluster = cluster
        self._kinds = {(k.api_version, k.name): k for k in cluster.objects.served}

    def find(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        """An object, None when it is not there."""
        return self._cluster.objects.find(kind, namespace, name)

    def list(self, kind: Kind, namespace: str) -> tuple[Manifest, ...]:
        """All objects of a kind in a namespace, by name."""
        return tuple(each for _, each in sorted(self._cluster.objects.names(kind, namespace).items()))

    def apply(self, manifest: Mapping[str, Any], namespace: str) -> Manifest:
        """Create an object from a manifest; its own namespace wins.

        Raises:
            UnknownKind: this cluster does not serve it.
        """
        kind = self.kind_of(manifest)
        where = str((manifest.get("metadata") or {}).get("namespace") or namespace)
        return self._cluster.make(kind, where, manifest, manager="kubectl-client-side-apply")

    def apply_server_side(
        self, manifest: Mapping[str, Any], namespace: str, manager: str = "kubectl", *, force: bool = False
    ) -> Manifest:
        """Server-side apply, as GitOps tools do it; for kinds whose field owners are kept.

        Raises:
            Conflict: another manager owns a field that would get another value.
        """
        return self._cluster.apply(self.kind_of(manifest), namespace, manifest, manager=manager, force=force)

    def kind_of(self, manifest: Mapping[str, Any]) -> Kind:
        """The resource type of a manifest.

        Raises:
            UnknownKind: this cluster does not serve it.
        """
        key = (str(manifest.get("apiVersion")), str(manifest.get("kind")))
        if key not in self._kinds:
            raise UnknownKind(f"{key[0]} {key[1]} is not simulated")
        return self._kinds[key]

    def edit(self, kind: Kind, namespace: str, name: str, change: Edit) -> Manifest:
        """`change` writes into a copy of the object, which is then stored."""
        body = thawed(self._cluster.objects.need(kind, namespace, name))
        change(body)
        return self._cluster.put(kind, namespace, name, body, manager="kubectl-edit")

    def annotate(self, kind: Kind, namespace: str | None, name: str, **annotations: str | None) -> Manifest:
        """Set annotations; None removes one. `trimtab.dev/` is written as `trimtab_`: `trimtab_pause="why"`."""
        where = namespace or ""

        def change(body: dict[str, Any]) -> None:
            own = body["metadata"].setdefault("annotations", {})
            for key, value in annotations.items():
                full = f"trimtab.dev/{key.removeprefix('trimtab_').replace('_', '-')}"
                if value is None:
                    own.pop(full, None)
                else:
                    own[full] = value

        body = thawed(self._cluster.objects.need(kind, namespace, name))
        change(body)
        return self._cluster.put(kind, where or None, name, body, manager="kubectl-annotate")

    def delete(self, kind: Kind, namespace: str | None, name: str) -> None:
        """Delete an object, in the background as kubectl does."""
        self._cluster.take(kind, namespace, name)

    def scale(self, namespace: str, deployment: str, replicas: int) -> Manifest:
        """Change a Deployment's replicas."""
        return self.edit(kinds.DEPLOYMENTS, namespace, deployment, lambda d: d["spec"].update(replicas=replicas))

    def roll(self, namespace: str, deployment: str, image: str) -> Manifest:
        """Roll a Deployment to another image."""

        def change(body: dict[str, Any]) -> None:
            for container in body["spec"]["template"]["spec"]["containers"]:
                container["image"] = image

        return self.edit(kinds.DEPLOYMENTS, namespace, deployment, change)

    def add_autoscaler(self, namespace: str, deployment: str, *, least: int = 2, most: int = 30) -> Manifest:
        """Put an HPA on a Deployment's CPU."""
        reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment}
        metric = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}
        spec = {
            "scaleTargetRef": reference,
            "minReplicas": least,
            "maxReplicas": most,
            "metrics": [{"type": "Resource", "resource": metric}],
        }
        body = {"metadata": {"name": deployment}, "spec": spec}
        return self._cluster.make(kinds.HORIZONTAL_POD_AUTOSCALERS, namespace, body)

    def evict(self, namespace: str, pod: str) -> None:
        """Evict a pod as a drain does."""
        self._cluster.evict(namespace, pod)


__all__ = ["Admin", "UnknownKind"]
