"""A Cluster in memory with the API server's semantics, for simulation and for tests.

It passes the contract suite that the real adapter passes on the real control plane; where they differ, this one is
wrong. It stores objects and nothing else happens by itself: what Deployments or kubelets do comes from `controllers`
that subscribe to its store. Faults come in through `before_effect` (the request fails) and `after_effect` (it took
effect, but the answer is lost). Answers are shared and cannot be written into.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from trimtab.domain import kinds
from trimtab.domain.errors import AlreadyExists, Conflict, NotFound, Rejected, Throttled, Unavailable
from trimtab.domain.kinds import Kind
from trimtab.domain.kube import Manifest
from trimtab.ports import Clock
from trimtab.simulate.defaults import with_defaults
from trimtab.simulate.frozen import frozen
from trimtab.simulate.objects import (
    SERVED,
    TRACKED,
    Obj,
    check_finalizers,
    check_preconditions,
    drop_empty,
    has_generation,
    has_status,
    intent_of,
    merged,
    merged_status,
    name_of,
    resource_of,
)
from trimtab.simulate.ownership import APPLY, UPDATE, Manager, Owners, after_update, apply, owners_of, written
from trimtab.simulate.selectors import parse_selector
from trimtab.simulate.store import HISTORY, LONG_AGO, ObjectStore, WatchEvent, scope


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


EVICT_AGAIN = 10.0  # seconds, as the server's Retry-After says
TRIMTAB = "trimtab"  # the name under which the operator's writes are recorded: its User-Agent

Hook = Callable[[Effect], Awaitable[None]]
Admit = Callable[[Kind, str, Obj, Manifest | None], None]
"""Called with kind, verb, new and old object before a write is stored; may change the new one, or raise Rejected."""


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
        history: int = HISTORY,
    ) -> None:
        self.objects = ObjectStore(clock, served, seed=seed, history=history)
        self._server_version = version
        self.before_effect: Hook | None = None
        self.after_effect: Hook | None = None
        self.admit: Admit | None = None
        for name in namespaces:
            namespace = self.objects.new(kinds.NAMESPACES, "", {"metadata": {"name": name}}, LONG_AGO)
            self.objects.store(kinds.NAMESPACES, "", namespace)

    def subscribe(
        self, callback: Callable[[WatchEvent], None], only: Iterable[Kind] | None = None
    ) -> Callable[[], None]:
        """Tell `callback` each change from now on, in order, or those of some kinds; returns how to unsubscribe."""
        return self.objects.subscribe(callback, only)

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Manifest:
        """Read one object."""
        return self.objects.need(kind, namespace, name)

    async def list(self, kind: Kind, namespace: str | None, *, labels: str = "") -> tuple[Manifest, ...]:
        """All objects that match, by namespace and name."""
        return self.objects.select(kind, namespace, parse_selector(labels))

    async def version(self) -> str:
        """The server's version."""
        return self._server_version

    async def create(self, kind: Kind, namespace: str | None, body: Manifest, *, dry_run: bool = False) -> Manifest:
        """Store a new object under a new uid."""
        name = name_of(body)
        effect = Effect("create", kind, namespace, name)
        await self._before(effect, dry_run)
        made = self.make(kind, namespace, body, dry_run=dry_run)
        await self._after(effect, dry_run)
        return made

    def make(
        self, kind: Kind, namespace: str | None, body: Manifest, *, dry_run: bool = False, manager: str = TRIMTAB
    ) -> Manifest:
        """The same at once and without faults, for controllers and for setting up a world; `manager` writes."""
        name, objects = name_of(body), self.objects
        objects.table(kind)
        where = scope(kind, namespace)
        self._check_new(kind, where, body)
        if objects.find(kind, where, name) is not None:
            raise AlreadyExists(409, f'{resource_of(kind)} "{name}" already exists')
        obj = objects.new(kind, where, with_defaults(kind, body))
        if self.admit is not None:
            self.admit(kind, "create", obj, None)
        if kind in TRACKED:
            self._own(obj, after_update({}, None, obj, self._manager(kind, manager), objects.timestamp(0)))
        made: Manifest = frozen(obj) if dry_run else objects.store(kind, where, obj)
        return made

    async def create_subresource(
        self, kind: Kind, namespace: str, name: str, subresource: str, body: Manifest
    ) -> Manifest:
        """Only the eviction of pods."""
        del body
        if (kind, subresource) != (kinds.PODS, "eviction"):
            raise NotFound(404, "the server could not find the requested resource")
        effect = Effect("create", kind, namespace, name, subresource)
        await self._before(effect)
        self.evict(namespace, name)
        await self._after(effect)
        return {"apiVersion": "v1", "kind": "Status", "status": "Success"}

    def evict(self, namespace: str, name: str) -> None:
        """Evict a pod at once: what a drain does. The budget's own count decides, as its controller wrote it.

        Raises:
            Throttled: a disruption budget allows none now.
        """
        pod = self.objects.need(kinds.PODS, namespace, name)
        labels = pod["metadata"].get("labels") or {}
        for budget in self.objects.names(kinds.POD_DISRUPTION_BUDGETS, namespace).values():
            wanted = (budget["spec"].get("selector") or {}).get("matchLabels") or {}
            allowed = (budget.get("status") or {}).get("disruptionsAllowed", 0)
            if all(labels.get(k) == v for k, v in wanted.items()) and not allowed:
                raise Throttled("Cannot evict pod as it would violate the pod's disruption budget.", EVICT_AGAIN)
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting",
            "lastTransitionTime": self.objects.timestamp(0),
        }
        status = dict(pod.get("status") or {})
        others = [c for c in status.get("conditions") or () if c["type"] != "DisruptionTarget"]
        self.objects.set_status(kinds.PODS, namespace, name, status | {"conditions": [*others, condition]})
        self.objects.begin_delete(kinds.PODS, namespace, name, None)

    async def replace(
        self, kind: Kind, namespace: str | None, name: str, body: Manifest, *, subresource: str = ""
    ) -> Manifest:
        """Store another version of an object, or of its status alone."""
        effect = Effect("replace", kind, namespace, name, subresource)
        await self._before(effect)
        new = self.put(kind, namespace, name, body, subresource=subresource)
        await self._after(effect)
        return new

    def put(
        self,
        kind: Kind,
        namespace: str | None,
        name: str,
        body: Manifest,
        *,
        subresource: str = "",
        manager: str = TRIMTAB,
    ) -> Manifest:
        """The same at once and without faults; `manager` writes."""
        old = self.objects.need(kind, namespace, name)
        if subresource not in ("", "status") or (subresource and not has_status(kind)):
            raise NotFound(404, "the server could not find the requested resource")
        check_preconditions(kind, old, body)
        new = merged_status(old, body) if subresource else merged(kind, old, with_defaults(kind, body))
        if kind in TRACKED:
            self._track(old, new, body, self._manager(kind, manager, subresource))
        return self._store(kind, namespace, old, new)

    def apply(
        self, kind: Kind, namespace: str | None, body: Manifest, *, manager: str, force: bool = False
    ) -> Manifest:
        """Server-side apply, at once and without faults, as people and their tools do it; only for `TRACKED` kinds.

        Raises:
            Conflict: another manager owns a field that would get another value.
        """
        where, now = scope(kind, namespace), self.objects.timestamp(0)
        old = self.objects.find(kind, where, name_of(body))
        who = self._manager(kind, manager, operation=APPLY)
        if old is None:
            self._check_new(kind, where, body)
        live: Manifest = old or {**self.objects.new(kind, where, body), "spec": {}}
        changed, owners = apply(live, body, who, now, force=force)
        new = dict(with_defaults(kind, changed))
        self._own(new, owners)
        drop_empty(new["metadata"])
        if old is not None:
            return self._store(kind, namespace, old, new)
        if self.admit is not None:
            self.admit(kind, "create", new, None)
        return self.objects.store(kind, where, new)

    def _manager(self, kind: Kind, name: str, subresource: str = "", operation: str = UPDATE) -> Manager:
        return Manager(operation, name, kind.api_version, subresource)

    def _track(self, old: Manifest, new: Obj, body: Manifest, who: Manager) -> None:
        """The owners after an update; a body may say by itself who they were, as whoever undoes a change must."""
        given = (body.get("metadata") or {}).get("managedFields")
        owners = owners_of(body if given else old)
        if owners:  # what nobody owns is not tracked any more
            self._own(new, after_update(owners, old, new, who, self.objects.timestamp(0)))

    @staticmethod
    def _own(obj: Obj, owners: Owners) -> None:
        obj["metadata"] = {**obj["metadata"]}
        obj["metadata"].pop("managedFields", None)
        if owners:
            obj["metadata"]["managedFields"] = written(owners)

    def _store(self, kind: Kind, namespace: str | None, old: Manifest, new: Obj) -> Manifest:
        if new == old:
            return old
        check_finalizers(kind, old, new)
        if self.admit is not None:
            self.admit(kind, "replace", new, old)
        metadata, where = new["metadata"], scope(kind, namespace)
        if has_generation(kind) and intent_of(new) != intent_of(old):
            new["metadata"] = metadata = {**metadata, "generation": old["metadata"].get("generation", 0) + 1}
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers"):
            self.objects.remove(kind, where, new)
            removed: Manifest = frozen(new)
            return removed
        return self.objects.store(kind, where, new)

    async def delete(
        self, kind: Kind, namespace: str | None, name: str, *, uid: str | None = None, grace_seconds: int | None = None
    ) -> None:
        """Remove an object, or mark it while finalizers or a kubelet hold it."""
        effect = Effect("delete", kind, namespace, name)
        await self._before(effect)
        self.take(kind, namespace, name, uid=uid, grace_seconds=grace_seconds)
        await self._after(effect)

    def take(
        self, kind: Kind, namespace: str | None, name: str, *, uid: str | None = None, grace_seconds: int | None = None
    ) -> None:
        """The same at once and without faults."""
        found = self.objects.need(kind, namespace, name)["metadata"]["uid"]
        if uid is not None and found != uid:
            raise Conflict(409, f"Precondition failed: UID in precondition: {uid}, UID in object meta: {found}")
        if kind == kinds.NAMESPACES:
            self.objects.terminate_namespace(name)
        else:
            self.objects.begin_delete(kind, scope(kind, namespace), name, grace_seconds)

    def _check_new(self, kind: Kind, where: str, body: Manifest) -> None:
        metadata = body["metadata"]
        if metadata.get("resourceVersion"):
            raise Unavailable(500, "resourceVersion should not be set on objects to be created")
        if metadata.get("namespace") not in (None, "", where):
            raise Rejected(400, "the namespace of the provided object does not match the namespace sent on the request")
        if where:
            namespace = self.objects.need(kinds.NAMESPACES, None, where)
            if "deletionTimestamp" in namespace["metadata"]:
                text = f"unable to create new content in namespace {where} because it is being terminated"
                raise Rejected(403, f'{resource_of(kind)} "{metadata["name"]}" is forbidden: {text}')

    async def _before(self, effect: Effect, dry_run: bool = False) -> None:
        if self.before_effect is not None and not dry_run:
            await self.before_effect(effect)

    async def _after(self, effect: Effect, dry_run: bool = False) -> None:
        if self.after_effect is not None and not dry_run:
            await self.after_effect(effect)


__all__ = ["Admit", "Effect", "Hook", "InMemoryCluster", "WatchEvent"]
