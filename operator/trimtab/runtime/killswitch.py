"""The kill switches: `trimtab.dev/pause` on a Namespace, or on the Deployment of the operator itself. And whether the
Namespace is being deleted: that stops everything in it, too."""

from __future__ import annotations

from dataclasses import dataclass

from trimtab.domain import kinds
from trimtab.domain.errors import NotFound
from trimtab.domain.kube import Manifest
from trimtab.domain.names import ANNOTATION_PAUSE
from trimtab.ports import Cluster


@dataclass(frozen=True)
class OwnDeployment:
    """Where the operator itself runs."""

    namespace: str
    name: str


@dataclass(frozen=True)
class NamespaceView:
    """`paused`: the words of the pause on it, "" when there is none. `leaving`: it is being deleted, or gone."""

    paused: str = ""
    leaving: bool = False


class KillSwitches:
    """Read by GET on every pass and every tick: a Role allows get on one Namespace, not watching it."""

    def __init__(self, cluster: Cluster, own: OwnDeployment | None) -> None:
        self._cluster, self._own = cluster, own

    async def namespace(self, name: str) -> NamespaceView:
        """What the Namespace says."""
        try:
            found = await self._cluster.get(kinds.NAMESPACES, None, name)
        except NotFound:
            return NamespaceView(leaving=True)
        return NamespaceView(_pause_of(found), bool(found["metadata"].get("deletionTimestamp")))

    async def operator(self) -> str:
        """The words of the pause on the operator's Deployment, "" when there is none (or no Deployment)."""
        if self._own is None:
            return ""
        try:
            return _pause_of(await self._cluster.get(kinds.DEPLOYMENTS, self._own.namespace, self._own.name))
        except NotFound:
            return ""


def _pause_of(manifest: Manifest) -> str:
    annotations = manifest["metadata"].get("annotations") or {}
    if ANNOTATION_PAUSE not in annotations:
        return ""
    return annotations[ANNOTATION_PAUSE] or "no words given"
