"""The ConfigMap with the recommendation: made once, written anew, and never in the place of somebody else's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trimtab.domain.errors import AlreadyExists
from trimtab.domain.kinds import CONFIG_MAPS, EXPERIMENTS
from trimtab.domain.kube import Manifest
from trimtab.domain.names import LABEL_EXPERIMENT, LABEL_MANAGED_BY, MANAGED_BY
from trimtab.ports import Cluster, ExperimentRecord


async def publish(cluster: Cluster, experiment: ExperimentRecord, name: str, data: Mapping[str, str]) -> None:
    """Write the ConfigMap; doing it again changes nothing. What others put to our own one's metadata stays.

    Raises:
        AlreadyExists: one of that name is not this Experiment's, and was left as it is.
    """
    namespace = experiment.namespace
    body = _manifest(experiment, name, data)
    try:
        await cluster.create(CONFIG_MAPS, namespace, body)
        return
    except AlreadyExists:
        old = await cluster.get(CONFIG_MAPS, namespace, name)
    if not _is_ours(old, experiment):
        raise AlreadyExists(409, f"ConfigMap {namespace}/{name} exists and holds no recommendation of this Experiment")
    before, ours = old["metadata"], body["metadata"]
    metadata = {**before, **ours, "labels": {**(before.get("labels") or {}), **ours["labels"]}}
    await cluster.replace(CONFIG_MAPS, namespace, name, {**body, "metadata": metadata})


def _is_ours(found: Manifest, experiment: ExperimentRecord) -> bool:
    """Made by an operator, for an Experiment of this name: this one, or one that was deleted before it."""
    metadata = found["metadata"]
    owners = metadata.get("ownerReferences") or ()
    managed = (metadata.get("labels") or {}).get(LABEL_MANAGED_BY) == MANAGED_BY
    return managed and all((o.get("kind"), o.get("name")) == (EXPERIMENTS.name, experiment.name) for o in owners)


def _manifest(experiment: ExperimentRecord, name: str, data: Mapping[str, str]) -> dict[str, Any]:
    metadata = {
        "name": name,
        "namespace": experiment.namespace,
        "labels": {LABEL_MANAGED_BY: MANAGED_BY, LABEL_EXPERIMENT: experiment.name[:63]},
        "ownerReferences": [EXPERIMENTS.reference(experiment.name, experiment.uid)],
    }
    return {"apiVersion": "v1", "kind": CONFIG_MAPS.name, "metadata": metadata, "data": dict(data)}


__all__ = ["publish"]
