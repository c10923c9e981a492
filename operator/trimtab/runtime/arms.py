"""Arms as they are in the cluster: the one way in which reconciler and safety loop look for them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence, Set
from itertools import chain

from trimtab.api.kube import ArmParts, arm_parts, arm_scalers, arm_view, ready_endpoint_names, scales
from trimtab.api.kube_read import experiment_uid_of
from trimtab.domain import kinds
from trimtab.domain.errors import Forbidden
from trimtab.domain.kube import ArmView, Manifest
from trimtab.domain.measurement import Arm
from trimtab.domain.names import LABEL_ARM, LABEL_EXPERIMENT_UID
from trimtab.domain.remembered import Remembered, version_of
from trimtab.ports import Cluster

LAYERS = (kinds.DEPLOYMENTS, kinds.REPLICA_SETS, kinds.PODS)  # of an arm, in the order in which they are taken away


class ArmReader:
    """Lists arms anew each time; what it made of them stands while their objects and endpoints are the same."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._found: Remembered[tuple[ArmView, ...]] = Remembered()
        self._known: Remembered[ArmView] = Remembered()

    def keep_only(self, experiment_uids: Set[str]) -> None:
        """Forget arms of Experiments that are gone."""
        self._found.keep_only(experiment_uids)
        self._known.keep_only(experiment_uids)

    async def read(self, scope: str | None, experiment_uid: str = "") -> tuple[ArmView, ...]:
        """Every arm with its leftovers, ready endpoints and autoscaler: Deployments, ReplicaSets and pods by label.

        Args:
            scope: a namespace, or None for all of them.
            experiment_uid: only this Experiment's, "" for everybody's.

        Raises:
            ApiError: something could not be listed.
        """
        labels = f"{LABEL_ARM},{LABEL_EXPERIMENT_UID}={experiment_uid}" if experiment_uid else LABEL_ARM
        layers = await asyncio.gather(*(self._cluster.list(kind, scope, labels=labels) for kind in LAYERS))
        scalers: dict[tuple[str, Arm], Manifest] = {}
        if any(map(scales, layers[0])):  # nobody else has one
            scalers = arm_scalers(await self._autoscalers(scope, labels))
        found: list[ArmView] = []
        for namespace in sorted({m["metadata"]["namespace"] for layer in layers for m in layer}):
            slices = await self._cluster.list(kinds.ENDPOINT_SLICES, namespace)
            here = [[m for m in layer if m["metadata"]["namespace"] == namespace] for layer in layers]
            found += self._views((experiment_uid, namespace), here, slices, scalers)
        return tuple(found)

    async def _autoscalers(self, scope: str | None, labels: str) -> tuple[Manifest, ...]:
        """None where this account may not see them any more: what they scale is seen, and taken away, all the same."""
        try:
            return await self._cluster.list(kinds.HORIZONTAL_POD_AUTOSCALERS, scope, labels=labels)
        except Forbidden:
            return ()

    def _views(
        self,
        asked: tuple[str, str],
        layers: Sequence[Sequence[Manifest]],
        slices: Sequence[Manifest],
        scalers: Mapping[tuple[str, Arm], Manifest],
    ) -> tuple[ArmView, ...]:
        """All arms of a namespace, or of one Experiment in it; `asked`: its uid or "", and the namespace."""

        def views(_: object) -> tuple[ArmView, ...]:
            ready, parts = ready_endpoint_names(slices), arm_parts(*layers)
            return tuple(self._view(asked[1], key, own, ready, scalers.get(key)) for key, own in parts)

        versions = tuple(map(version_of, chain(*layers, slices, scalers.values())))
        return self._found.known(asked, versions, views)

    def _view(
        self, namespace: str, key: tuple[str, Arm], parts: ArmParts, ready: frozenset[str], scaler: Manifest | None
    ) -> ArmView:
        objects = (*(manifest for layer in parts for manifest in layer), *([scaler] if scaler is not None else []))
        versions = tuple(map(version_of, objects))
        serving = ready & {pod["metadata"]["name"] for pod in parts[2]}
        return self._known.known(
            (experiment_uid_of(objects[0]), namespace, *key),
            (versions, serving),
            lambda _: arm_view(key[1], parts, ready, scaler),
        )


__all__ = ["ArmReader"]
