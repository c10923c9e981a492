"""Arms as they are in the cluster: the one way in which reconciler and safety loop look for them."""

from __future__ import annotations

import asyncio

from trimtab.api.kube import arm_views
from trimtab.domain import kinds
from trimtab.domain.kube import ArmView
from trimtab.domain.names import LABEL_ARM, LABEL_EXPERIMENT_UID
from trimtab.ports import Cluster


async def read_arms(cluster: Cluster, scope: str | None, experiment_uid: str = "") -> tuple[ArmView, ...]:
    """Every arm with its leftovers and ready endpoints: Deployments, ReplicaSets and pods by label.

    Args:
        scope: a namespace, or None for all of them.
        experiment_uid: only this Experiment's, "" for everybody's.

    Raises:
        ApiError: something could not be listed.
    """
    labels = f"{LABEL_ARM},{LABEL_EXPERIMENT_UID}={experiment_uid}" if experiment_uid else LABEL_ARM
    layers = await asyncio.gather(
        *(cluster.list(kind, scope, labels=labels) for kind in (kinds.DEPLOYMENTS, kinds.REPLICA_SETS, kinds.PODS))
    )
    found: list[ArmView] = []
    for namespace in sorted({m["metadata"]["namespace"] for layer in layers for m in layer}):
        slices = await cluster.list(kinds.ENDPOINT_SLICES, namespace)
        here = [[m for m in layer if m["metadata"]["namespace"] == namespace] for layer in layers]
        found += arm_views(here[0], here[1], here[2], slices)
    return tuple(found)


__all__ = ["read_arms"]
