"""The objects of a cluster in memory: versions, labels, owners, namespaces, and the past of the last changes.

Everything is synchronous: one call is one moment. What a client sees of it, with its faults, is `cluster.py`; what
controllers do with it is in `controllers/`. Stored objects never change, so a snapshot costs next to nothing.
"""

from __future__ import annotations

import contextvars
import random
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from trimtab.api.times import zulu
from trimtab.domain import kinds
from trimtab.domain.errors import NotFound
from trimtab.domain.kinds import Kind
from trimtab.domain.kube import Manifest
from trimtab.ports import Clock
from trimtab.simulate.frozen import frozen
from trimtab.simulate.objects import (
    CLUSTER_SCOPED,
    SERVER_OWNED,
    Obj,
    drop_empty,
    grace_of,
    has_generation,
    has_status,
    resource_of,
)
from trimtab.simulate.selectors import Selector

LONG_AGO = "2020-01-01T00:00:00Z"  # the first namespaces: made before any clock was looked at
HISTORY = 4096  # changes that a watch can be resumed from, as etcd keeps five minutes of them


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One change: `type` is ADDED, MODIFIED or DELETED, `object` the state after it, `old` the one before."""

    type: str
    kind: Kind
    object: Manifest
    old: Manifest | None = None

    @property
    def version(self) -> int:
        """Its place in the order of all changes."""
        return int(self.object["metadata"]["resourceVersion"])


Names = dict[str, Manifest]
Tables = dict[Kind, dict[str, Names]]
Watcher = tuple[Callable[[WatchEvent], None], frozenset[Kind] | None]
Selected = dict[tuple[str | None, Selector], tuple[Manifest, ...]]


class ObjectStore:
    """`seed` makes the uids. With `defer` the garbage collector takes its time: it is given what to do later."""

    def __init__(self, clock: Clock, served: Iterable[Kind], *, seed: int = 0, history: int = HISTORY) -> None:
        self._clock = clock
        self._random = random.Random(seed)
        self._tables: Tables = {kind: {} for kind in sorted(served, key=lambda k: (k.group, k.plural))}
        self._selected: dict[Kind, Selected] = {kind: {} for kind in self._tables}
        self._uids: set[str] = set()
        self._dependents: dict[str, set[tuple[Kind, str, str]]] = {}  # owner's uid -> what names it as an owner
        self._labelled: dict[tuple[Kind, str, str], set[tuple[str, str]]] = {}  # label and value -> objects
        self._watchers: list[Watcher] = []
        self._history: deque[WatchEvent] = deque(maxlen=history)
        self._version = 0
        self._context, self._telling = contextvars.copy_context(), False
        self.defer: Callable[[Callable[[], None]], None] | None = None

    @property
    def served(self) -> tuple[Kind, ...]:
        """The kinds that this cluster has."""
        return tuple(self._tables)

    @property
    def version(self) -> int:
        """resourceVersion of the newest change."""
        return self._version

    def subscribe(
        self, callback: Callable[[WatchEvent], None], only: Iterable[Kind] | None = None
    ) -> Callable[[], None]:
        """Tell `callback` each change from now on, in order, or those of some kinds; returns how to unsubscribe."""
        watcher = (callback, None if only is None else frozenset(only))
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    # Reading

    def names(self, kind: Kind, namespace: str) -> Mapping[str, Manifest]:
        """All objects of a kind in one namespace, by name."""
        return self.table(kind).get(namespace, {})

    def find(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        """One object."""
        return self.table(kind).get(namespace, {}).get(name)

    def need(self, kind: Kind, namespace: str | None, name: str) -> Manifest:
        """One object.

        Raises:
            NotFound: it does not exist.
            Rejected: the name is empty.
        """
        kind.named(name)
        found = self.table(kind).get(scope(kind, namespace), {}).get(name)
        if found is None:
            raise NotFound(404, f'{resource_of(kind)} "{name}" not found')
        return found

    def select(self, kind: Kind, namespace: str | None, selector: Selector) -> tuple[Manifest, ...]:
        """All objects that match, by namespace and name. An answer stands until an object of this kind changes."""
        self.table(kind)  # there is one
        answers = self._selected[kind]
        found = answers.get((namespace, selector))
        if found is None:
            found = answers[namespace, selector] = tuple(self._matching(kind, namespace, selector))
        return found

    def _matching(self, kind: Kind, namespace: str | None, selector: Selector) -> Iterator[Manifest]:
        table = self._tables[kind]
        if selector.equal:
            sets: list[set[tuple[str, str]]] = [self._labelled.get((kind, *each), set()) for each in selector.equal]
            keys = sorted(k for k in min(sets, key=len) if namespace in (None, k[0]))
            found = (table[where][name] for where, name in keys)
        else:
            spaces = sorted(table) if namespace is None else [namespace]
            found = (each for space in spaces for _, each in sorted(table.get(space, {}).items()))
        if not selector.terms:
            return found
        return (each for each in found if selector.matches(each["metadata"].get("labels") or {}))

    def dependents(self, kind: Kind, owner_uid: str) -> list[Manifest]:
        """Objects of a kind that name this owner, by namespace and name."""
        keys = sorted((where, name) for k, where, name in self._dependents.get(owner_uid, ()) if k == kind)
        return [self._tables[kind][where][name] for where, name in keys]

    def table(self, kind: Kind) -> dict[str, Names]:
        """namespace -> name -> object.

        Raises:
            NotFound: this kind is not served.
        """
        table = self._tables.get(kind)
        if table is None:
            raise NotFound(404, "the server could not find the requested resource")
        return table

    def since(self, version: int) -> tuple[WatchEvent, ...] | None:
        """All changes after this version; None when the past does not reach that far back (410 Gone)."""
        if version >= self._version:
            return ()
        if not self._history or self._history[0].version > version + 1:
            return None
        return tuple(each for each in self._history if each.version > version)

    def as_of(self, version: int) -> Tables:
        """What was stored at this version, or at the oldest one that can still be known."""
        tables = {kind: {space: dict(names) for space, names in table.items()} for kind, table in self._tables.items()}
        for each in reversed(self._history):
            if each.version <= version:
                break
            metadata = each.object["metadata"]
            names = tables[each.kind].setdefault(metadata.get("namespace", ""), {})
            if each.old is None:
                names.pop(metadata["name"], None)
            else:
                names[metadata["name"]] = each.old
        return tables

    # Writing

    def new(self, kind: Kind, namespace: str, body: Manifest, created: str = "") -> Obj:
        """The object that a create would store: with what the server fills in, without what it does not take."""
        obj: Obj = dict(body)
        obj["apiVersion"], obj["kind"] = kind.api_version, kind.name
        if has_status(kind):
            obj.pop("status", None)
        if kind == kinds.NAMESPACES:
            obj["status"] = {"phase": "Active"}
        if kind == kinds.PODS:
            obj["status"] = {"phase": "Pending"}
        metadata = obj["metadata"] = dict(obj["metadata"])
        for field in (*SERVER_OWNED, "managedFields"):
            metadata.pop(field, None)
        drop_empty(metadata)
        if namespace:
            metadata["namespace"] = namespace
        metadata["uid"] = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        metadata["creationTimestamp"] = created or self.timestamp(0)
        if has_generation(kind):
            metadata["generation"] = 1
        return obj

    def store(self, kind: Kind, namespace: str, obj: Obj) -> Manifest:
        """Store this version of an object; returns it as stored."""
        metadata = obj["metadata"]
        name = metadata["name"]
        names = self._tables[kind].setdefault(namespace, {})
        old = names.get(name)
        if old is not None:
            self._unindex(kind, (namespace, name), old)
        stored: Manifest = frozen({**obj, "metadata": {**metadata, "resourceVersion": self._next_version()}})
        names[name] = stored
        self._selected[kind].clear()
        self._uids.add(metadata["uid"])
        for owner in metadata.get("ownerReferences") or ():
            self._dependents.setdefault(owner.get("uid"), set()).add((kind, namespace, name))
        for label in (metadata.get("labels") or {}).items():
            self._labelled.setdefault((kind, *label), set()).add((namespace, name))
        self._tell(WatchEvent("MODIFIED" if old is not None else "ADDED", kind, stored, old))
        if "deletionTimestamp" not in metadata and metadata.get("ownerReferences"):
            self._collect_soon(kind, namespace, name)
        return stored

    def set_status(self, kind: Kind, namespace: str, name: str, status: Manifest) -> None:
        """Write a status as a controller does; nothing happens when it is so already, or the object is gone."""
        old = self.find(kind, namespace, name)
        if old is not None and old.get("status") != status:
            self.store(kind, namespace, {**old, "status": status})

    def begin_delete(self, kind: Kind, namespace: str, name: str, grace: int | None) -> None:
        """Remove an object, or mark it while finalizers or a kubelet hold it."""
        old = self.need(kind, namespace, name)
        metadata = old["metadata"]
        seconds = grace_of(kind, old, grace)
        if not metadata.get("finalizers") and seconds <= 0:
            self.remove(kind, namespace, old)
            return
        before = metadata.get("deletionGracePeriodSeconds")
        marked = "deletionTimestamp" in metadata
        if marked and (before is None or seconds >= before):
            return
        changed = {**metadata, "deletionTimestamp": self.timestamp(seconds), "deletionGracePeriodSeconds": seconds}
        if has_generation(kind) and not marked:
            changed["generation"] = metadata.get("generation", 0) + 1
        self.store(kind, namespace, {**old, "metadata": changed})

    def remove(self, kind: Kind, namespace: str, last: Manifest) -> None:
        """Take an object out; `last` is the state that its DELETED event shows."""
        metadata = last["metadata"]
        name, uid = metadata["name"], metadata["uid"]
        old = self._tables[kind][namespace].pop(name)
        self._selected[kind].clear()
        if not self._tables[kind][namespace]:
            del self._tables[kind][namespace]
        self._unindex(kind, (namespace, name), old)
        self._uids.discard(uid)
        gone = frozen({**last, "metadata": {**metadata, "resourceVersion": self._next_version()}})
        self._tell(WatchEvent("DELETED", kind, gone, old))
        for dependent in sorted(self._dependents.pop(uid, ()), key=str):
            self._collect_soon(*dependent)
        if namespace:
            self._finish_namespace(namespace)

    def terminate_namespace(self, name: str) -> None:
        """What the namespace controller does: delete everything in it, then the namespace itself."""
        namespace = self.need(kinds.NAMESPACES, None, name)
        metadata = {"deletionTimestamp": self.timestamp(0), **namespace["metadata"]}
        self.store(kinds.NAMESPACES, "", {**namespace, "metadata": metadata, "status": {"phase": "Terminating"}})
        for kind in self._tables:
            for each in tuple(self.names(kind, name)):
                if self.find(kind, name, each) is not None:  # the garbage collector may have been faster
                    self.begin_delete(kind, name, each, 0)
        self._finish_namespace(name)

    def timestamp(self, seconds: float) -> str:
        """A Kubernetes Time, so many seconds from now."""
        return zulu(datetime.fromtimestamp(self._clock.now() + seconds, UTC), "seconds")

    def _finish_namespace(self, name: str) -> None:
        namespace = self.find(kinds.NAMESPACES, "", name)
        if namespace is None or "deletionTimestamp" not in namespace["metadata"]:
            return
        if not any(table.get(name) for table in self._tables.values()):
            self.remove(kinds.NAMESPACES, "", namespace)

    def _collect_soon(self, kind: Kind, namespace: str, name: str) -> None:
        if self.defer is None or not self._orphaned(kind, namespace, name):
            self._collect(kind, namespace, name)
        else:
            self.defer(lambda: self._collect(kind, namespace, name))

    def _collect(self, kind: Kind, namespace: str, name: str) -> None:
        """The garbage collector: delete this object if it has owners, none of which exists."""
        if self._orphaned(kind, namespace, name):
            self.begin_delete(kind, namespace, name, None)

    def _orphaned(self, kind: Kind, namespace: str, name: str) -> bool:
        obj = self.find(kind, namespace, name)
        owners = obj["metadata"].get("ownerReferences") if obj is not None else None
        return bool(owners) and not any(owner.get("uid") in self._uids for owner in owners or ())

    def _unindex(self, kind: Kind, key: tuple[str, str], obj: Manifest) -> None:
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
        """Watchers belong to the world, not to whoever wrote: they are told in the world's own context."""
        self._history.append(event)
        if self._telling:
            self._tell_all(event)
            return
        self._telling = True
        try:
            self._context.run(self._tell_all, event)
        finally:
            self._telling = False

    def _tell_all(self, event: WatchEvent) -> None:
        for callback, only in tuple(self._watchers):
            if only is None or event.kind in only:
                callback(event)

    def _next_version(self) -> str:
        self._version += 1
        return str(self._version)


def scope(kind: Kind, namespace: str | None) -> str:
    """The namespace under which an object of this kind is stored.

    Raises:
        NotFound: a namespaced kind without a namespace.
    """
    if kind in CLUSTER_SCOPED:
        return ""
    if not namespace:
        raise NotFound(404, "the server could not find the requested resource")
    return namespace


__all__ = ["HISTORY", "LONG_AGO", "ObjectStore", "Tables", "WatchEvent", "scope"]
