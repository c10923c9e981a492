"""metrics.k8s.io for the real HPA controller: what pods used of late, served on loopback HTTPS behind an APIService.

The API server's aggregator finds this program through a Service of type ExternalName. As metrics-server does, it looks
at each container every few seconds and reports the mean between the last two looks, so a pod is known only after that.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import math
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import trustme
from aiohttp import web

from trimtab.simulate.selectors import Selector, parse_selector

from .kube import Kube, KubeError, Obj
from .podrun import PodRun

log = logging.getLogger("playground")

GROUP, VERSION = "metrics.k8s.io", "v1beta1"
WINDOW_SECONDS: Final = 5.0
NAMESPACE, SERVICE = "kube-system", "playground-metrics"
API_SERVICE: Final = f"/apis/apiregistration.k8s.io/v1/apiservices/{VERSION}.{GROUP}"
SERVICE_PATH: Final = f"/api/v1/namespaces/{NAMESPACE}/services/{SERVICE}"
APPLY: Final = "application/apply-patch+yaml"
_POLL_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class _Look:
    at: float
    started: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Used:
    """Of a container over the `window` seconds up to `at` (seconds since the epoch)."""

    at: float
    window: float
    cores: float
    bytes: float


class Usage:
    """What each pod used between the last two looks, by uid."""

    def __init__(self) -> None:
        self._looks: dict[str, _Look] = {}
        self._last = -math.inf
        self.used: dict[str, Used] = {}

    def look(self, runs: Iterable[PodRun], now: float) -> None:
        """Look at all pods, if it is time."""
        if now - self._last < WINDOW_SECONDS:
            return
        self._last = now
        looks, used = {}, {}
        for run in runs:
            if not run.running:
                continue
            look = _Look(now, run.life.running_since, run.counters.cpu_seconds)
            before = self._looks.get(run.uid)
            looks[run.uid] = look
            if before is not None and before.started == look.started:
                seconds = now - before.at
                cores = (look.cpu_seconds - before.cpu_seconds) / seconds
                used[run.uid] = Used(now, seconds, cores, run.counters.working_set_bytes)
        self._looks, self.used = looks, used


class MetricsApi:
    """The HTTPS server and its registration; `runs` are the pods by uid, as they are now."""

    def __init__(self, kube: Kube, usage: Usage, runs: Callable[[], Mapping[str, PodRun]]) -> None:
        self._kube, self._usage, self._runs = kube, usage, runs
        self.available = asyncio.Event()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve and register; afterwards nothing of it is left, or namespaces could not be deleted any more."""
        runner = web.AppRunner(self.application(), access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=_certificate()).start()
            await self._register(int(runner.addresses[0][1]))
            yield
        finally:
            for path in (API_SERVICE, SERVICE_PATH):
                with contextlib.suppress(KubeError, aiohttp.ClientError, TimeoutError, OSError):
                    await self._kube.request("DELETE", path)
            await runner.cleanup()

    async def run(self) -> None:
        """Wait until the aggregator has found us."""
        while not self.available.is_set():
            await asyncio.sleep(_POLL_SECONDS)
            with contextlib.suppress(KubeError, aiohttp.ClientError, TimeoutError, OSError):
                found = await self._kube.request("GET", API_SERVICE)
                conditions = found.get("status", {}).get("conditions") or ()
                if any(c["type"] == "Available" and c["status"] == "True" for c in conditions):
                    self.available.set()

    async def _register(self, port: int) -> None:
        service: Obj = {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]}
        registration = {
            "group": GROUP,
            "version": VERSION,
            "service": {"name": SERVICE, "namespace": NAMESPACE, "port": port},
            "insecureSkipTLSVerify": True,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
        }
        for path, version, kind, spec in (
            (SERVICE_PATH, "v1", "Service", service),
            (API_SERVICE, "apiregistration.k8s.io/v1", "APIService", registration),
        ):
            body = {"apiVersion": version, "kind": kind, "metadata": {"name": path.rsplit("/", 1)[1]}, "spec": spec}
            await self._kube.request("PATCH", path, body, content=APPLY, fieldManager="playground", force="true")

    def application(self) -> web.Application:
        """Routes of the API group."""
        app, base = web.Application(), f"/apis/{GROUP}/{VERSION}"
        app.add_routes(
            [
                web.get(base, self._resources),
                web.get(f"{base}/pods", self._list),
                web.get(f"{base}/namespaces/{{namespace}}/pods", self._list),
                web.get(f"{base}/namespaces/{{namespace}}/pods/{{name}}", self._get),
            ]
        )
        return app

    async def _resources(self, _: web.Request) -> web.Response:
        pods = {"name": "pods", "singularName": "", "namespaced": True, "kind": "PodMetrics", "verbs": ["get", "list"]}
        answer = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{GROUP}/{VERSION}"}
        return web.json_response(answer | {"resources": [pods]})

    async def _list(self, request: web.Request) -> web.Response:
        namespace = request.match_info.get("namespace")
        selector = parse_selector(request.query.get("labelSelector", ""))
        items = self._items(namespace, selector)
        answer = {"kind": "PodMetricsList", "apiVersion": f"{GROUP}/{VERSION}", "metadata": {}}
        return web.json_response(answer | {"items": items})

    async def _get(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        found = [i for i in self._items(request.match_info["namespace"], parse_selector("")) if _name(i) == name]
        if not found:
            status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
            return web.json_response(status | {"message": f'podmetrics.{GROUP} "{name}" not found'}, status=404)
        return web.json_response(found[0])

    def _items(self, namespace: str | None, selector: Selector) -> list[dict[str, Any]]:
        found = []
        for uid, run in self._runs().items():
            used = self._usage.used.get(uid)
            if used is not None and namespace in (None, run.key[0]) and selector.matches(run.labels):
                found.append(_pod_metrics(run, used))
        return found


def _name(item: Mapping[str, Any]) -> str:
    return str(item["metadata"]["name"])


def _pod_metrics(run: PodRun, used: Used) -> dict[str, Any]:
    """All of a pod's use is its main container's; the others do nothing."""
    namespace, name = run.key
    containers = [
        {"name": c["name"], "usage": _amounts(used) if c["name"] == run.main else {"cpu": "0", "memory": "0"}}
        for c in run.pod["spec"]["containers"]
    ]
    return {
        "kind": "PodMetrics",
        "apiVersion": f"{GROUP}/{VERSION}",
        "metadata": {"name": name, "namespace": namespace, "labels": run.labels},
        "timestamp": dt.datetime.fromtimestamp(used.at, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "window": f"{used.window:.3f}s",
        "containers": containers,
    }


def _amounts(used: Used) -> dict[str, str]:
    return {"cpu": f"{math.ceil(used.cores * 1e9)}n", "memory": f"{math.ceil(used.bytes / 1024)}Ki"}


def _certificate() -> ssl.SSLContext:
    """Of its own making: the aggregator is told not to ask who signed it."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    return context
