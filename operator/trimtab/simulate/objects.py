"""What the API server does to an object by itself, as pure functions on JSON data."""

from __future__ import annotations

from typing import Any

from trimtab.domain import kinds
from trimtab.domain.errors import Conflict, Rejected
from trimtab.domain.kinds import Kind
from trimtab.domain.kube import Manifest
from trimtab.domain.names import GROUP

Obj = dict[str, Any]

OPTIONAL = frozenset({kinds.VERTICAL_POD_AUTOSCALERS, kinds.HTTP_ROUTES})
"""Kinds that a cluster may lack: their definitions are installed by whoever wants them."""
SERVED = frozenset(value for value in vars(kinds).values() if isinstance(value, Kind)) - OPTIONAL
BY_NAME = {(kind.api_version, kind.name): kind for kind in SERVED | OPTIONAL}
"""Kinds by apiVersion and kind of a manifest."""
TRACKED = frozenset({kinds.HTTP_ROUTES})
"""Kinds whose managedFields are kept; for the others they would only be ballast."""
CLUSTER_SCOPED = frozenset({kinds.NAMESPACES, kinds.NODES})
_WORKLOADS = {kinds.DEPLOYMENTS, kinds.STATEFUL_SETS, kinds.DAEMON_SETS, kinds.REPLICA_SETS}
_WITH_STATUS = _WORKLOADS | {
    kinds.PODS, kinds.SERVICES, kinds.NAMESPACES, kinds.RESOURCE_QUOTAS, kinds.POD_DISRUPTION_BUDGETS,
    kinds.HORIZONTAL_POD_AUTOSCALERS,
}  # fmt: skip
_WITH_GENERATION = _WORKLOADS | {kinds.POD_DISRUPTION_BUDGETS, kinds.NETWORK_POLICIES, kinds.PODS}
FINISHED = frozenset({"Succeeded", "Failed"})  # phases of pods that run no more
# Set by the server alone, whatever a client sends.
SERVER_OWNED = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")


def is_custom(kind: Kind) -> bool:
    """Served from a definition, with a status subresource and generations."""
    return kind.group.endswith(GROUP) or kind == kinds.HTTP_ROUTES


def has_status(kind: Kind) -> bool:
    """Status is written apart from the rest."""
    return is_custom(kind) or kind in _WITH_STATUS


def has_generation(kind: Kind) -> bool:
    """metadata.generation counts changes of what is wanted."""
    return is_custom(kind) or kind in _WITH_GENERATION


def version_required(kind: Kind) -> bool:
    """A PUT without resourceVersion is refused."""
    return is_custom(kind) or kind == kinds.LEASES


def resource_of(kind: Kind) -> str:
    return f"{kind.plural}.{kind.group}" if kind.group else kind.plural


def name_of(body: Manifest) -> str:
    name = (body.get("metadata") or {}).get("name")
    if not name:
        raise Rejected(422, "metadata.name: Required value: name or generateName is required")
    return str(name)


def drop_empty(metadata: Obj) -> None:
    for field in ("labels", "annotations", "finalizers", "ownerReferences"):
        if field in metadata and not metadata[field]:
            del metadata[field]


def check_preconditions(kind: Kind, old: Manifest, body: Manifest) -> None:
    metadata = body.get("metadata") or {}
    name = old["metadata"]["name"]
    if metadata.get("name") not in (None, "", name):
        raise Rejected(400, f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})")
    uid, version = metadata.get("uid"), metadata.get("resourceVersion")
    if uid and uid != old["metadata"]["uid"]:
        found = old["metadata"]["uid"]
        raise Conflict(409, f"Precondition failed: UID in precondition: {uid}, UID in object meta: {found}")
    if not version and version_required(kind):
        raise Rejected(422, "metadata.resourceVersion: Invalid value: must be specified for an update")
    if version and version != old["metadata"]["resourceVersion"]:
        text = "the object has been modified; please apply your changes to the latest version and try again"
        raise Conflict(409, f'Operation cannot be fulfilled on {resource_of(kind)} "{name}": {text}')


def merged(kind: Kind, old: Manifest, body: Manifest) -> Obj:
    """The new object: everything of the body but what the server owns, and not its status."""
    new: Obj = dict(body)
    new["apiVersion"], new["kind"] = kind.api_version, kind.name
    if has_status(kind):
        new.pop("status", None)
        if "status" in old:
            new["status"] = old["status"]
    metadata, before = dict(new.get("metadata") or {}), old["metadata"]
    new["metadata"] = metadata
    metadata.pop("managedFields", None)
    for field in (*SERVER_OWNED, "name", "namespace", "resourceVersion"):
        metadata.pop(field, None)
        if field in before:
            metadata[field] = before[field]
    drop_empty(metadata)
    return new


def merged_status(old: Manifest, body: Manifest) -> Obj:
    new: Obj = dict(old)
    new.pop("status", None)
    if "status" in body:
        new["status"] = body["status"]
    return new


def check_finalizers(kind: Kind, old: Manifest, new: Manifest) -> None:
    if "deletionTimestamp" not in old["metadata"]:
        return
    added = set(new["metadata"].get("finalizers") or ()) - set(old["metadata"].get("finalizers") or ())
    if added:
        text = "Forbidden: no new finalizers can be added if the object is being deleted"
        raise Rejected(422, f'{resource_of(kind)} "{old["metadata"]["name"]}" is invalid: metadata.finalizers: {text}')


def intent_of(obj: Manifest) -> Obj:
    """What a new generation is counted for: everything but metadata and status."""
    return {key: value for key, value in obj.items() if key not in ("metadata", "status")}


def grace_of(kind: Kind, obj: Manifest, asked: int | None) -> int:
    """Only a pod that runs on a node is given time."""
    spec = obj.get("spec") or {}
    running = (obj.get("status") or {}).get("phase") not in FINISHED
    if kind != kinds.PODS or not spec.get("nodeName") or not running:
        return 0
    return int(spec.get("terminationGracePeriodSeconds", 30)) if asked is None else asked
