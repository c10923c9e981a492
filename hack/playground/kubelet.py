"""The kubelet: takes every pod of its namespaces that is bound to a node through its life.

A level-triggered loop: each pass advances all pods and starts a request for each pod whose written status is behind,
at most one at a time per pod; a request that fails is made again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

import aiohttp

from trimtab.workload import WorkloadSpec, startup_seconds
from trimtab.workload.faultboard import FaultBoard
from trimtab.workload.faults import FaultKind
from trimtab.workload.lifecycle import CREATE_SECONDS, Acting, Phase, advance, evicted, killed
from trimtab.workload.podstatus import pod_ip, status_patch

from .kube import MERGE, Kube, KubeError, Obj, key_of
from .podrun import PodRun, adopt

log = logging.getLogger("playground")

PASS_SECONDS: Final = 0.1
_RETRY_SECONDS: Final = 0.5
_DEFAULT_SHUTDOWN: Final = 0.5
_FINAL: Final = ("Succeeded", "Failed")


class Kubelet:
    """Plays pods; `runs` holds those alive by uid."""

    def __init__(
        self,
        kube: Kube,
        workloads: tuple[WorkloadSpec, ...],
        faults: FaultBoard,
        clock: Callable[[], float],
        seed: int,
    ) -> None:
        self._kube = kube
        self._workloads = workloads
        self._faults = faults
        self._clock = clock
        self._seed = seed
        self._requests: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self.runs: dict[str, PodRun] = {}

    def changed(self, old: Obj | None, new: Obj | None) -> None:
        """A pod appeared, changed or is gone."""
        if old is not None and (new is None or new["metadata"]["uid"] != old["metadata"]["uid"]):
            self.runs.pop(old["metadata"]["uid"], None)
        if new is None or not new["spec"].get("nodeName"):
            return
        uid = new["metadata"]["uid"]
        run = self.runs.get(uid)
        if run is None:
            if new.get("status", {}).get("phase") in _FINAL and not new["metadata"].get("deletionTimestamp"):
                return
            taken = {r.life.ip for r in self.runs.values()}
            now = self._clock()
            run = adopt(new, self._workloads, pod_ip(uid, taken), now, CREATE_SECONDS, self._seed)
            self.runs[uid] = run
        else:
            run.refresh(new)
        if new["metadata"].get("deletionTimestamp") and run.terminate_at is None:
            run.terminate_at = self._clock() + _shutdown_seconds(run)
        self._wake.set()

    async def run(self) -> None:
        """Advance all pods, again and again."""
        while True:
            self.step(self._clock())
            self._wake.clear()
            try:
                async with asyncio.timeout(PASS_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                pass
            else:
                await asyncio.sleep(0.01)

    def step(self, now: float) -> None:
        """One pass over all pods."""
        for run in list(self.runs.values()):
            if run.terminate_at is not None:
                if now >= run.terminate_at:
                    self._start(run, now, self._finalize)
                continue
            self._advance(run, now)
            if run.life != run.written:
                self._start(run, now, self._write)

    async def settled(self) -> None:
        """Wait until no request is under way."""
        await asyncio.gather(*self._requests)

    def kill(self, run: PodRun, reason: str, exit_code: int) -> None:
        """End the main container of a pod."""
        before = run.life
        run.life = killed(run.life, reason, exit_code, self._clock())
        if run.life is not before:
            run.counters.oom_events += reason == "OOMKilled"

    def _advance(self, run: PodRun, now: float) -> None:
        namespace = run.key[0]
        board = self._faults
        if run.running:
            since = run.life.adopted
            if board.strikes(FaultKind.OOM, run.uid, run.labels, since, now, namespace):
                self.kill(run, "OOMKilled", 137)
            if board.strikes(FaultKind.EVICT, run.uid, run.labels, since, now, namespace):
                run.life = evicted(run.life, now)
        acting = Acting(
            crash_loop=board.acting(FaultKind.CRASH_LOOP, run.labels, now, namespace),
            not_ready=board.acting(FaultKind.NOT_READY, run.labels, now, namespace),
            image_pull=board.acting(FaultKind.IMAGE_PULL, run.labels, now, namespace),
        )
        startup = 0.0
        if run.workload is not None:
            startup = startup_seconds(run.workload, run.resources, run.speed)
        restarts = run.life.restarts
        run.life = advance(run.life, acting, startup, now)
        if run.life.restarts != restarts:
            run.counters.restarted()

    def _start(self, run: PodRun, now: float, make: Callable[[PodRun], Coroutine[Any, Any, None]]) -> None:
        """Make a request about a pod unless one is under way or has just failed."""
        if run.busy or now < run.retry_at:
            return
        run.busy = True
        task = asyncio.create_task(self._guarded(run, make(run)))
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)

    async def _guarded(self, run: PodRun, request: Coroutine[Any, Any, None]) -> None:
        try:
            await request
        except KubeError as error:
            if error.code not in (404, 409):
                log.warning("pod %s: %s", run.key[1], error)
            run.retry_at = self._clock() + _RETRY_SECONDS
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            log.info("pod %s: %r", run.key[1], error)
            run.retry_at = self._clock() + _RETRY_SECONDS
        finally:
            run.busy = False
            self._wake.set()

    async def _write(self, run: PodRun) -> None:
        life = run.life
        body = status_patch(run.pod, life, run.main) | {"metadata": {"uid": run.uid}}
        await self._kube.request("PATCH", _path(run) + "/status", body, content=MERGE)
        run.written = life
        if life.phase is Phase.EVICTED:
            self.runs.pop(run.uid, None)

    async def _finalize(self, run: PodRun) -> None:
        """The pod has shut down: remove its object, as a kubelet does."""
        body: Obj = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "gracePeriodSeconds": 0,
            "preconditions": {"uid": run.uid},
        }
        await self._kube.request("DELETE", _path(run), body)
        self.runs.pop(run.uid, None)


def _shutdown_seconds(run: PodRun) -> float:
    wished = run.workload.startup.shutdown if run.workload is not None else _DEFAULT_SHUTDOWN
    grace = run.pod["metadata"].get("deletionGracePeriodSeconds")
    return wished if grace is None else min(wished, float(grace))


def _path(run: PodRun) -> str:
    namespace, name = key_of(run.pod)
    return f"/api/v1/namespaces/{namespace}/pods/{name}"
