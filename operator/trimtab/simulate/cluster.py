"""A Cluster in memory with the API server's semantics, for simulation and for tests.

It passes the contract suite that the real adapter passes on the real control plane; where they differ, this one is
wrong. It stores objects and nothing else happens by itself: what Deployments or kubelets do comes from programs that
`subscribe`. Faults come in through `before_effect` (the request fails) and `after_effect` (it took effect, but the
answer is lost).
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from trimtab.domain import kinds
from trimtab.domain.errors import AlreadyExists, Conflict, NotFound, Rejected, Unavailable
from trimtab.domain.kinds import Kind
from trimtab.domain.kube import Manifest
from trimtab.ports import Clock
from trimtab.simulate.objects import (
    CLUSTER_SCOPED,
    SERVED,
    SERVER_OWNED,
    Obj,
    check_finalizers,
    check_preconditions,
    copied,
    drop_empty,
    grace_of,
    has_generation,
    has_status,
    intent_of,
    merged,
    merged_status,
    name_of,
    resource_of,
)
from trimtab.simulate.selectors import parse_selector


@dataclass(frozen=True)
class Effect:
    """One write, as the hooks see it."""

    verb: str  # create | replace | delete
    kind: Kind
    namespace: str | None
    name: str
    subresource: str = ""

    def __str__(self) -> str:
        return f"{self.verb}:{self.kind.name}" + (f"/{self.subresource}" if self.subresource else "")


@dataclass(frozen=True)
class WatchEvent:
    """One change: `type` is ADDED, MODIFIED or DELETED, and the object's state after it."""

    type: str
    kind: Kind
    object: Manifest


LONG_AGO = "2020-01-01T00:00:00Z"  # the first namespaces: made before any clock was looked at

Hook = Callable[[Effect], Awaitable[None]]
Admit = Callable[[Kind, str, Manifest, Manifest | None], None]
"""Called with kind, verb, new and old object before a write is stored; raises Rejected to refuse it."""


class InMemoryCluster:
    """Implements `trimtab.ports.Cluster`. `seed` makes the uids."""

    def __init__(
        self,
        clock: Clock,
        *,
        seed: int = 0,
        namespaces: Iterable[str] = ("default",),
        served: Iterable[Kind] = SERVED,
        version: str = "v1.36.3",
    ) -> None:
        self._clock = clock
        self._random = random.Random(seed)
        self._objects: dict[Kind, dict[tuple[str, str], Obj]] = {kind: {} for kind in served}
        self._uids: set[str] = set()
        self._dependents: dict[str, set[tuple[Kind, str, str]]] = {}  # owner's uid -> what names it as an owner
        self._labelled: dict[tuple[Kind, str, str], set[tuple[str, str]]] = {}  # label and value -> objects
        self._version_counter = 0
        self._server_version = version
        self._watchers: list[Callable[[WatchEvent], None]] = []
        self.before_effect: Hook | None = None
        self.after_effect: Hook | None = None
        self.admit: Admit | None = None
        for name in namespaces:
            self._store(kinds.NAMESPACES, "", self._new(kinds.NAMESPACES, {"metadata": {"name": name}}, LONG_AGO))

    def subscribe(self, callback: Callable[[WatchEvent], None]) -> Callable[[], None]:
        """Tell `callback` each change from now on, in order; returns how to unsubscribe."""
        self._watchers.append(callback)
        return lambda: self._watchers.remove(callback)

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Manifest:
        """Read one object."""
        found: Obj = copied(self._find(kind, namespace, name))
        return found

    async def list(self, kind: Kind, namespace: str | None, *, labels: str = "") -> tuple[Manifest, ...]:
        """All objects that match, by namespace and name."""
        selector, table = parse_selector(labels), self._table(kind)
        candidates: Iterable[tuple[str, str]] = table
        if selector.equal:
            sets = [self._labelled.get((kind, *each), set()) for each in selector.equal]
            smallest = min(sets, key=len)
            candidates = smallest
        found = [key for key in candidates if namespace in (None, key[0])]
        return tuple(
            copied(table[key]) for key in sorted(found) if selector.matches(table[key]["metadata"].get("labels") or {})
        )

    async def version(self) -> str:
        """The server's version."""
        return self._server_version

    async def create(self, kind: Kind, namespace: str | None, body: Manifest, *, dry_run: bool = False) -> Manifest:
        """Store a new object under a new uid."""
        name = name_of(body)
        effect = Effect("create", kind, namespace, name)
        await self._before(effect, dry_run)
        table, where = self._table(kind), self._scope(kind, namespace)
        self._check_new(kind, where, body)
        if (where, name) in table:
            raise AlreadyExists(409, f'{resource_of(kind)} "{name}" already exists')
        obj = self._new(kind, body)
        if where:
            obj["metadata"]["namespace"] = where
        if self.admit is not None:
            self.admit(kind, "create", obj, None)
        if not dry_run:
            self._store(kind, where, obj)
        await self._after(effect, dry_run)
        result: Obj = copied(obj)
        return result

    async def create_subresource(
        self, kind: Kind, namespace: str, name: str, subresource: str, body: Manifest
    ) -> Manifest:
        """Only the eviction of pods."""
        del body
        if (kind, subresource) != (kinds.PODS, "eviction"):
            raise NotFound(404, "the server could not find the requested resource")
        effect = Effect("create", kind, namespace, name, subresource)
        await self._before(effect)
        self._find(kind, namespace, name)
        self._begin_delete(kind, namespace, name, None)
        await self._after(effect)
        return {"apiVersion": "v1", "kind": "Status", "status": "Success"}

    async def replace(
        self, kind: Kind, namespace: str | None, name: str, body: Manifest, *, subresource: str = ""
    ) -> Manifest:
        """Store another version of an object, or of its status alone."""
        effect = Effect("replace", kind, namespace, name, subresource)
        await self._before(effect)
        where = self._scope(kind, namespace)
        old = self._find(kind, namespace, name)
        if subresource not in ("", "status") or (subresource and not has_status(kind)):
            raise NotFound(404, "the server could not find the requested resource")
        check_preconditions(kind, old, body)
        new = merged_status(old, body) if subresource else merged(kind, old, body)
        if new != old:
            check_finalizers(kind, old, new)
            if self.admit is not None:
                self.admit(kind, "replace", new, old)
            if has_generation(kind) and intent_of(new) != intent_of(old):
                new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
            if new["metadata"].get("deletionTimestamp") and not new["metadata"].get("finalizers"):
                new["metadata"]["resourceVersion"] = self._next_version()
                self._remove(kind, where, new)
            else:
                self._store(kind, where, new)
        await self._after(effect)
        result: Obj = copied(new)
        return result

    async def delete(
        self, kind: Kind, namespace: str | None, name: str, *, uid: str | None = None, grace_seconds: int | None = None
    ) -> None:
        """Remove an object, or mark it while finalizers or a kubelet hold it."""
        effect = Effect("delete", kind, namespace, name)
        await self._before(effect)
        found = self._find(kind, namespace, name)["metadata"]["uid"]
        if uid is not None and found != uid:
            raise Conflict(409, f"Precondition failed: UID in precondition: {uid}, UID in object meta: {found}")
        if kind == kinds.NAMESPACES:
            self._terminate_namespace(name)
        else:
            self._begin_delete(kind, namespace, name, grace_seconds)
        await self._after(effect)

    def _begin_delete(self, kind: Kind, namespace: str | None, name: str, grace: int | None) -> None:
        where = self._scope(kind, namespace)
        old = self._find(kind, namespace, name)
        seconds = grace_of(kind, old, grace)
        held = bool(old["metadata"].get("finalizers")) or seconds > 0
        new = copied(old)
        if held:
            before = old["metadata"].get("deletionGracePeriodSeconds")
            if "deletionTimestamp" in old["metadata"] and (before is None or seconds >= before):
                return
            new["metadata"]["deletionTimestamp"] = self._timestamp(seconds)
            new["metadata"]["deletionGracePeriodSeconds"] = seconds
            if has_generation(kind) and "deletionTimestamp" not in old["metadata"]:
                new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
            self._store(kind, where, new)
        else:
            new["metadata"]["resourceVersion"] = self._next_version()
            self._remove(kind, where, new)

    def _terminate_namespace(self, name: str) -> None:
        """What the namespace controller does: delete everything in it, then the namespace itself."""
        namespace = copied(self._find(kinds.NAMESPACES, None, name))
        namespace["metadata"].setdefault("deletionTimestamp", self._timestamp(0))
        namespace["status"] = {"phase": "Terminating"}
        self._store(kinds.NAMESPACES, "", namespace)
        for kind, table in self._objects.items():
            for where, each in [key for key in table if key[0] == name]:
                if (where, each) in table:  # the garbage collector may have been faster
                    self._begin_delete(kind, where, each, 0)
        self._finish_namespace(name)

    def _finish_namespace(self, name: str) -> None:
        namespace = self._objects[kinds.NAMESPACES].get(("", name))
        if namespace is None or "deletionTimestamp" not in namespace["metadata"]:
            return
        if not any(where == name for table in self._objects.values() for where, _ in table):
            self._remove(kinds.NAMESPACES, "", copied(namespace))

    def _collect(self, kind: Kind, where: str, name: str) -> None:
        """The garbage collector: delete this object if it has owners, none of which exists."""
        obj = self._objects[kind].get((where, name))
        owners = obj["metadata"].get("ownerReferences") if obj is not None else None
        if owners and not any(owner.get("uid") in self._uids for owner in owners):
            self._begin_delete(kind, where or None, name, None)

    def _remove(self, kind: Kind, where: str, obj: Obj) -> None:
        name, uid = obj["metadata"]["name"], obj["metadata"]["uid"]
        self._unindex(kind, (where, name), self._objects[kind].pop((where, name)))
        self._uids.discard(uid)
        self._tell(WatchEvent("DELETED", kind, obj))
        for dependent in sorted(self._dependents.pop(uid, ()), key=str):
            self._collect(*dependent)
        if where:
            self._finish_namespace(where)

    def _store(self, kind: Kind, where: str, obj: Obj) -> None:
        metadata = obj["metadata"]
        key = (where, metadata["name"])
        old = self._objects[kind].get(key)
        if old is not None:
            self._unindex(kind, key, old)
        metadata["resourceVersion"] = self._next_version()
        self._objects[kind][key] = copied(obj)
        self._uids.add(metadata["uid"])
        for owner in metadata.get("ownerReferences") or ():
            self._dependents.setdefault(owner.get("uid"), set()).add((kind, *key))
        for label in (metadata.get("labels") or {}).items():
            self._labelled.setdefault((kind, *label), set()).add(key)
        self._tell(WatchEvent("MODIFIED" if old is not None else "ADDED", kind, obj))
        if "deletionTimestamp" not in metadata:
            self._collect(kind, *key)

    def _unindex(self, kind: Kind, key: tuple[str, str], obj: Obj) -> None:
        """Forget where this version of an object is found; entries that became empty go, or memory would grow."""
        for owner in obj["metadata"].get("ownerReferences") or ():
            dependents = self._dependents.get(owner.get("uid"), set())
            dependents.discard((kind, *key))
            if not dependents:
                self._dependents.pop(owner.get("uid"), None)
        for label in (obj["metadata"].get("labels") or {}).items():
            labelled = self._labelled.get((kind, *label), set())
            labelled.discard(key)
            if not labelled:
                self._labelled.pop((kind, *label), None)

    def _tell(self, event: WatchEvent) -> None:
        for watcher in tuple(self._watchers):
            watcher(WatchEvent(event.type, event.kind, copied(event.object)))

    def _new(self, kind: Kind, body: Manifest, created: str = "") -> Obj:
        obj: Obj = copied(body)
        obj["apiVersion"], obj["kind"] = kind.api_version, kind.name
        if has_status(kind):
            obj.pop("status", None)
        if kind == kinds.NAMESPACES:
            obj["status"] = {"phase": "Active"}
        if kind == kinds.PODS:
            obj["status"] = {"phase": "Pending"}
        metadata = obj["metadata"]
        for field in (*SERVER_OWNED, "managedFields"):
            metadata.pop(field, None)
        drop_empty(metadata)
        metadata["uid"] = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        metadata["creationTimestamp"] = created or self._timestamp(0)
        if has_generation(kind):
            metadata["generation"] = 1
        return obj

    def _check_new(self, kind: Kind, where: str, body: Manifest) -> None:
        metadata = body["metadata"]
        if metadata.get("resourceVersion"):
            raise Unavailable(500, "resourceVersion should not be set on objects to be created")
        if metadata.get("namespace") not in (None, "", where):
            raise Rejected(400, "the namespace of the provided object does not match the namespace sent on the request")
        if where:
            namespace = self._find(kinds.NAMESPACES, None, where)
            if "deletionTimestamp" in namespace["metadata"]:
                text = f"unable to create new content in namespace {where} because it is being terminated"
                raise Rejected(403, f'{resource_of(kind)} "{metadata["name"]}" is forbidden: {text}')

    def _find(self, kind: Kind, namespace: str | None, name: str) -> Obj:
        found = self._table(kind).get((self._scope(kind, namespace), name))
        if found is None:
            raise NotFound(404, f'{resource_of(kind)} "{name}" not found')
        return found

    def _table(self, kind: Kind) -> dict[tuple[str, str], Obj]:
        if kind not in self._objects:
            raise NotFound(404, "the server could not find the requested resource")
        return self._objects[kind]

    def _scope(self, kind: Kind, namespace: str | None) -> str:
        if kind in CLUSTER_SCOPED:
            return ""
        if not namespace:
            raise NotFound(404, "the server could not find the requested resource")
        return namespace

    def _next_version(self) -> str:
        self._version_counter += 1
        return str(self._version_counter)

    def _timestamp(self, seconds: float) -> str:
        return datetime.fromtimestamp(self._clock.now() + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    async def _before(self, effect: Effect, dry_run: bool = False) -> None:
        if self.before_effect is not None and not dry_run:
            await self.before_effect(effect)

    async def _after(self, effect: Effect, dry_run: bool = False) -> None:
        if self.after_effect is not None and not dry_run:
            await self.after_effect(effect)


__all__ = ["Effect", "InMemoryCluster", "WatchEvent"]
