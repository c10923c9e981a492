"""The program: wires nodes, kubelet, traffic and the HTTP server together and runs them until it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from trimtab.workload import WorkloadSpec
from trimtab.workload.faultboard import FaultBoard
from trimtab.workload.faults import Fault, FaultKind

from .exposition import render
from .gateway import Gateway
from .kube import Access, Cache, Kube
from .kubelet import Kubelet
from .metrics_api import MetricsApi, Usage
from .nodes import Nodes
from .podrun import PodRun
from .server import application
from .traffic import LoadClock, Traffic


@dataclass(frozen=True, slots=True)
class Options:
    """What a user may choose."""

    namespaces: tuple[str, ...]
    seed: int = 0
    port: int = 0
    tick_s: float = 0.25
    time_origin: float | None = None
    """Time of the offered load at the start, seconds since the epoch; None: now."""
    load_speed: float = 1.0
    nodes: int = 6
    node_cores: int = 32
    node_memory_gib: int = 128
    address_file: Path | None = None
    metrics_api: bool = False


class Program:
    """One playground."""

    def __init__(
        self, access: Access, workloads: Sequence[WorkloadSpec], options: Options, faults: Sequence[Fault] = ()
    ) -> None:
        self._workloads = tuple(workloads)
        self._options = options
        self._started = self.now()
        self._kube = Kube(access)
        shifted = [f.model_copy(update={"start": self._started + (f.start or 0.0)}) for f in faults]
        self.faults = FaultBoard(shifted)
        self._kubelet = Kubelet(self._kube, self._workloads, self.faults, self.now, options.seed)
        origin = self._started if options.time_origin is None else options.time_origin
        self._clock = LoadClock(self._started, origin, options.load_speed)
        self._traffic = Traffic(
            self._workloads, options.namespaces, self.faults, self._clock, options.seed, self._kubelet.kill
        )
        self._usage = Usage()
        self._metrics = MetricsApi(self._kube, self._usage, lambda: self._kubelet.runs) if options.metrics_api else None
        self._gateway = Gateway(self._kube, options.namespaces)
        self._slices: list[Cache] = []
        self._deployments: list[Cache] = []
        self._autoscalers: list[Cache] = []
        self._pods: list[Cache] = []
        self._registered = False
        self.address: str | None = None

    @staticmethod
    def now() -> float:
        """Wall clock, seconds since the epoch."""
        return time.time()

    @property
    def healthy(self) -> bool:
        """Whether nodes are registered and every watch has begun."""
        caches = self._watched
        if self._metrics is not None and not self._metrics.available.is_set():
            return False
        return self._registered and bool(caches) and all(cache.synced.is_set() for cache in caches)

    async def run(self) -> None:
        """Run until cancelled."""
        async with self._kube, contextlib.AsyncExitStack() as stack:
            await self._serve(stack)
            nodes = Nodes(self._kube, self._options.nodes, self._options.node_cores, self._options.node_memory_gib)
            await nodes.register(self.now())
            self._registered = True
            if self._metrics is not None:
                await stack.enter_async_context(self._metrics.serving())
            async with asyncio.TaskGroup() as group:
                group.create_task(nodes.keep_alive(asyncio.get_running_loop(), self.now()))
                for cache in self._caches():
                    group.create_task(cache.run())
                group.create_task(self._kubelet.run())
                group.create_task(self._gateway.run())
                group.create_task(self._ticks())
                if self._metrics is not None:
                    group.create_task(self._metrics.run())

    def metrics_page(self) -> str:
        """What Prometheus scrapes."""
        now, runs = self.now(), list(self._kubelet.runs.values())
        kind = FaultKind.SCRAPE_MISSING
        missing = {run.uid for run in runs if self.faults.acting(kind, run.labels, now, run.key[0])}
        deployments = {key: item for cache in self._deployments for key, item in cache.items.items()}
        autoscalers = {key: item for cache in self._autoscalers for key, item in cache.items.items()}
        return render(runs, missing, deployments, autoscalers)

    def state(self) -> dict[str, Any]:
        """Everything a test or a demo may want to see, with the noise-free truth of each pod."""
        now = self.now()
        return {
            "now": now,
            "loadTime": self._clock.at(now),
            "seed": self._options.seed,
            "services": [
                {
                    "namespace": share.namespace,
                    "workload": share.workload,
                    "service": share.service,
                    "offeredRps": share.offered_rps,
                    "endpoints": share.endpoints,
                    "perEndpointRps": share.per_endpoint_rps,
                    "lostRps": share.lost_rps,
                    "backends": [
                        {"service": b.service, "part": b.part, "endpoints": b.endpoints, "rps": b.per_endpoint_rps}
                        for b in share.backends
                    ],
                }
                for share in self._traffic.shares
            ],
            "pods": [_pod_state(run) for run in self._kubelet.runs.values()],
            "faults": [f.model_dump(mode="json", by_alias=True, exclude_none=True) for f in self.faults.all],
        }

    def _caches(self) -> list[Cache]:
        for namespace in self._options.namespaces:
            core, base = f"/api/v1/namespaces/{namespace}", f"/namespaces/{namespace}"
            self._pods.append(Cache(self._kube, f"{core}/pods", self._kubelet.changed))
            self._slices.append(Cache(self._kube, f"/apis/discovery.k8s.io/v1{base}/endpointslices"))
            self._deployments.append(Cache(self._kube, f"/apis/apps/v1{base}/deployments"))
            self._autoscalers.append(Cache(self._kube, f"/apis/autoscaling/v2{base}/horizontalpodautoscalers"))
        return self._watched

    @property
    def _watched(self) -> list[Cache]:
        return [*self._pods, *self._slices, *self._deployments, *self._autoscalers, *self._gateway.caches]

    async def _serve(self, stack: contextlib.AsyncExitStack) -> None:
        runner = web.AppRunner(application(self), access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", self._options.port)
        await site.start()
        host, port = runner.addresses[0][:2]
        self.address = f"{host}:{port}"
        print(f"playground: serving http://{self.address}/metrics", flush=True)
        if self._options.address_file is not None:
            unfinished = self._options.address_file.with_suffix(".unfinished")
            unfinished.write_text(self.address, encoding="utf-8")
            unfinished.rename(self._options.address_file)

    async def _ticks(self) -> None:
        last = self.now()
        while True:
            await asyncio.sleep(self._options.tick_s)
            now = self.now()
            slices = {key: item for cache in self._slices for key, item in cache.items.items()}
            self._traffic.tick(self._kubelet.runs, slices, now, max(now - last, 0.0), self._gateway.routes)
            self._usage.look(self._kubelet.runs.values(), now)
            last = now


def _pod_state(run: PodRun) -> dict[str, Any]:
    namespace, name = run.key
    resources, behaviour = run.resources, run.behaviour
    result: dict[str, Any] = {
        "namespace": namespace,
        "name": name,
        "uid": run.uid,
        "labels": run.labels,
        "phase": str(run.life.phase),
        "ready": run.life.ready,
        "terminating": run.terminate_at is not None,
        "restarts": run.life.restarts,
        "ip": run.life.ip,
        "loadRps": run.load_rps,
        "resources": {
            "cpuRequest": resources.cpu_request,
            "cpuLimit": resources.cpu_limit if math.isfinite(resources.cpu_limit) else None,
            "memoryRequest": resources.memory_request,
            "memoryLimit": resources.memory_limit,
        },
    }
    if behaviour is not None and run.workload is not None:
        result["truth"] = {
            "p95Seconds": behaviour.p95_s,
            "slowRatio": behaviour.slow_fraction(run.workload.slo.latency_threshold),
            "errorRatio": behaviour.error_ratio,
            "throttledRatio": behaviour.throttled_ratio,
            "cpuCores": behaviour.cpu_usage_cores,
            "workingSetBytes": behaviour.working_set_bytes,
            "oomPerHour": behaviour.oom_per_s * 3600.0,
        }
    return result
