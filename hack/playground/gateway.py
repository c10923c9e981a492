"""The gateway's controller: tells in each HTTPRoute's status that its parents have accepted it, and writes no more."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Mapping
from typing import Final

import aiohttp

from trimtab.workload.routing import accepted

from .kube import MERGE, Cache, Key, Kube, KubeError, Obj, key_of

log = logging.getLogger("playground")

PASS_SECONDS: Final = 0.2
API: Final = "/apis/gateway.networking.k8s.io/v1"


class Gateway:
    """All Gateways of some namespaces; their routes and Services are kept in `caches`."""

    def __init__(self, kube: Kube, namespaces: tuple[str, ...]) -> None:
        self._kube = kube
        self._routes = [Cache(kube, f"{API}/namespaces/{name}/httproutes", optional=True) for name in namespaces]
        self._services = [Cache(kube, f"/api/v1/namespaces/{name}/services") for name in namespaces]

    @property
    def caches(self) -> tuple[Cache, ...]:
        """What must be watched."""
        return (*self._routes, *self._services)

    @property
    def routes(self) -> dict[Key, Obj]:
        """The HTTPRoutes of all namespaces."""
        return {key: item for cache in self._routes for key, item in cache.items.items()}

    async def run(self) -> None:
        """Write what is not written yet, again and again."""
        while True:
            await asyncio.sleep(PASS_SECONDS)
            services = {key for cache in self._services for key in cache.items}
            for (namespace, _), route in self.routes.items():
                await self._tell(route, {name for where, name in services if where == namespace})

    async def _tell(self, route: Obj, services: set[str]) -> None:
        now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        status = accepted(route, services, now)
        if not status["parents"] or _same(status, route.get("status") or {}):
            return
        namespace, name = key_of(route)
        body = {"metadata": {"resourceVersion": route["metadata"]["resourceVersion"]}, "status": status}
        try:
            path = f"{API}/namespaces/{namespace}/httproutes/{name}/status"
            await self._kube.request("PATCH", path, body, content=MERGE)
        except KubeError as error:
            if error.code not in (404, 409):
                log.warning("route %s: %s", name, error)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            log.info("route %s: %r", name, error)


def _same(ours: Mapping[str, object], theirs: Mapping[str, object]) -> bool:
    return ours["parents"] == theirs.get("parents")
