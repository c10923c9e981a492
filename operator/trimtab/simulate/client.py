"""One operator's connection to the cluster: where its requests are delayed, refused, lost, or end with its life.

The same cluster seen through two clients differs: rights, faults and stale answers belong to a client, objects do not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from trimtab.adapters.series_store import SeriesStore
from trimtab.domain.errors import Forbidden, NotFound
from trimtab.domain.kinds import Kind
from trimtab.domain.kube import Manifest
from trimtab.ports import Cluster
from trimtab.simulate.objects import resource_of
from trimtab.simulate.selectors import parse_selector
from trimtab.simulate.store import Tables, scope
from trimtab.slo.series import Series


class Dead(BaseException):
    """This operator's process has ended; whatever of it still runs can do nothing any more."""


@dataclass(frozen=True)
class Request:
    """One request, as hooks see it. `verb` is get, list, create, replace or delete."""

    verb: str
    kind: Kind
    namespace: str | None
    name: str = ""
    subresource: str = ""

    def __str__(self) -> str:
        return f"{self.verb}:{self.kind.name}" + (f"/{self.subresource}" if self.subresource else "")


Hook = Callable[[Request], Awaitable[None]]
Right = tuple[str, str]
"""(verb, plural[/subresource]), e.g. ("create", "deployments")."""
SEVERAL = {"replace": "update"}


class Client:
    """Implements `trimtab.ports.Cluster` for one life of an operator.

    `before` may wait or raise an ApiError instead of the request; `after` may do so although it took effect. `missing`
    are rights that the service account does not have. While `stale` is set, reads are answered from it.
    """

    def __init__(self, cluster: Cluster, *, latency: Callable[[], float] | None = None) -> None:
        self._cluster = cluster
        self._latency = latency
        self.before: Hook | None = None
        self.after: Hook | None = None
        self.missing: frozenset[Right] = frozenset()
        self.stale: Tables | None = None
        self.dead = False

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Manifest:
        """Read one object."""
        request = Request("get", kind, namespace, name)
        await self._begin(request)
        if self.stale is not None:
            found = self.stale.get(kind, {}).get(scope(kind, namespace), {}).get(name)
            if found is None:
                raise NotFound(404, f'{resource_of(kind)} "{name}" not found')
        else:
            found = await self._cluster.get(kind, namespace, name)
        await self._end(request)
        return found

    async def list(self, kind: Kind, namespace: str | None, *, labels: str = "") -> tuple[Manifest, ...]:
        """All objects that match."""
        request = Request("list", kind, namespace)
        await self._begin(request)
        if self.stale is not None:
            table, selector = self.stale.get(kind, {}), parse_selector(labels)
            spaces = sorted(table) if namespace is None else [namespace]
            every = (obj for space in spaces for _, obj in sorted(table.get(space, {}).items()))
            found = tuple(o for o in every if selector.matches(o["metadata"].get("labels") or {}))
        else:
            found = await self._cluster.list(kind, namespace, labels=labels)
        await self._end(request)
        return found

    async def version(self) -> str:
        """The server's version."""
        self._check_alive()
        return await self._cluster.version()

    async def create(self, kind: Kind, namespace: str | None, body: Manifest, *, dry_run: bool = False) -> Manifest:
        """Create an object."""
        request = Request("create", kind, namespace, str((body.get("metadata") or {}).get("name", "")))
        await self._begin(request)
        made = await self._cluster.create(kind, namespace, body, dry_run=dry_run)
        await self._end(request)
        return made

    async def create_subresource(
        self, kind: Kind, namespace: str, name: str, subresource: str, body: Manifest
    ) -> Manifest:
        """Create a subresource."""
        request = Request("create", kind, namespace, name, subresource)
        await self._begin(request)
        made = await self._cluster.create_subresource(kind, namespace, name, subresource, body)
        await self._end(request)
        return made

    async def replace(
        self, kind: Kind, namespace: str | None, name: str, body: Manifest, *, subresource: str = ""
    ) -> Manifest:
        """Replace an object."""
        request = Request("replace", kind, namespace, name, subresource)
        await self._begin(request)
        made = await self._cluster.replace(kind, namespace, name, body, subresource=subresource)
        await self._end(request)
        return made

    async def delete(
        self, kind: Kind, namespace: str | None, name: str, *, uid: str | None = None, grace_seconds: int | None = None
    ) -> None:
        """Delete an object."""
        request = Request("delete", kind, namespace, name)
        await self._begin(request)
        await self._cluster.delete(kind, namespace, name, uid=uid, grace_seconds=grace_seconds)
        await self._end(request)

    def _check_alive(self) -> None:
        if self.dead:
            raise Dead

    async def _begin(self, request: Request) -> None:
        self._check_alive()
        if self._latency is not None:
            await asyncio.sleep(self._latency())
            self._check_alive()
        if self.before is not None:
            await self.before(request)
            self._check_alive()
        if self.missing:
            self._check_right(request)

    async def _end(self, request: Request) -> None:
        if self.after is not None:
            await self.after(request)
        self._check_alive()

    def _check_right(self, request: Request) -> None:
        plural = request.kind.plural + (f"/{request.subresource}" if request.subresource else "")
        if (SEVERAL.get(request.verb, request.verb), plural) in self.missing:
            where = f' in the namespace "{request.namespace}"' if request.namespace else ""
            resource = f'resource "{plural}" in API group "{request.kind.group}"{where}'
            words = f"cannot {SEVERAL.get(request.verb, request.verb)} {resource}"
            raise Forbidden(403, f'{resource_of(request.kind)} "{request.name}" is forbidden: {words}')


class LiveStore:
    """Implements `SeriesStore` for one life of an operator. A dead one asks nothing: counts would be drawn for it."""

    def __init__(self, store: SeriesStore, client: Client) -> None:
        self._store, self._client = store, client

    def _alive(self) -> SeriesStore:
        if self._client.dead:
            raise Dead
        return self._store

    async def matrix(self, expression: str, at: float, timeout: float) -> tuple[Series, ...]:
        """See the protocol."""
        return await self._alive().matrix(expression, at, timeout)

    async def vector(self, expression: str, at: float, timeout: float) -> tuple[Series, ...]:
        """See the protocol."""
        return await self._alive().vector(expression, at, timeout)

    async def range(self, expression: str, start: float, end: float, step: float, timeout: float) -> tuple[Series, ...]:
        """See the protocol."""
        return await self._alive().range(expression, start, end, step, timeout)


__all__ = ["Client", "Dead", "Hook", "LiveStore", "Request", "Right"]
