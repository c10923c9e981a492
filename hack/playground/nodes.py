"""Nodes: registered once, kept alive by their Leases, as a kubelet does.

Several programs (one per namespace, in parallel tests) share the same nodes: whoever comes first creates them, all
renew them, nobody deletes them. Only pods of a program's own namespaces are played by it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from typing import Final

import aiohttp

from trimtab.workload.podstatus import host_ip, stamp

from .kube import STRATEGIC, Kube, KubeError, Obj

log = logging.getLogger("playground")

RENEW_SECONDS: Final = 8.0
LEASE_SECONDS: Final = 40
_STATUS_EVERY: Final = 5
"""Renewals of the Lease between two reports of the status, which bring back a node that was lost meanwhile."""


def micro_stamp(t: float) -> str:
    """A Kubernetes MicroTime, UTC."""
    return dt.datetime.fromtimestamp(t, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def node_names(count: int) -> tuple[str, ...]:
    """Names of the nodes that all programs share."""
    return tuple(f"playground-{i}" for i in range(count))


def node_object(name: str) -> Obj:
    """The Node to create."""
    zone = "abc"[int(name.rsplit("-", 1)[1]) % 3]
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "node.kubernetes.io/instance-type": "playground.4xlarge",
        "topology.kubernetes.io/zone": f"zone-{zone}",
    }
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}


def node_status(name: str, now: float, cores: int, memory_gib: int) -> Obj:
    """The status that makes a node schedulable."""
    size = {"cpu": str(cores), "memory": f"{memory_gib}Gi", "pods": "250", "ephemeral-storage": "200Gi"}
    healthy = [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID"),
        ("Ready", "True", "KubeletReady"),
    ]
    conditions = [
        {"type": kind, "status": status, "reason": reason, "message": reason, "lastHeartbeatTime": stamp(now)}
        for kind, status, reason in healthy
    ]
    return {
        "status": {
            "capacity": size,
            "allocatable": size,
            "conditions": conditions,
            "addresses": [
                {"type": "InternalIP", "address": host_ip(name)},
                {"type": "Hostname", "address": name},
            ],
            "nodeInfo": {
                "architecture": "amd64", "operatingSystem": "linux", "osImage": "playground", "bootID": "",
                "kernelVersion": "6.1.0", "containerRuntimeVersion": "playground://1", "kubeletVersion": "v1.36.3",
                "kubeProxyVersion": "", "machineID": name, "systemUUID": name,
            },
        }
    }  # fmt: skip


class Nodes:
    """Registers and renews the nodes of this program."""

    def __init__(self, kube: Kube, count: int, cores: int, memory_gib: int) -> None:
        self._kube = kube
        self._cores = cores
        self._memory_gib = memory_gib
        self.names = node_names(count)

    async def register(self, now: float) -> None:
        """Create what is missing and report all nodes ready."""
        await asyncio.gather(*(self._register(name, now) for name in self.names))

    async def keep_alive(self, clock: asyncio.AbstractEventLoop, now: float) -> None:
        """Renew Leases and, less often, the status, for ever; `now` is the wall clock at the call."""
        start, beats = clock.time(), 0
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            beats += 1
            at = now + clock.time() - start
            try:
                await asyncio.gather(*(self._renew(name, at) for name in self.names))
                if beats % _STATUS_EVERY == 0:
                    await asyncio.gather(*(self._report(name, at) for name in self.names))
            except KubeError as error:
                log.warning("node renewal: %s; registering again", error)
                await self._again(at)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                log.info("node renewal interrupted: %r", error)

    async def _again(self, now: float) -> None:
        try:
            await self.register(now)
        except (KubeError, aiohttp.ClientError, TimeoutError, OSError) as error:
            log.warning("node registration: %r", error)

    async def _register(self, name: str, now: float) -> None:
        await self._create("/api/v1/nodes", node_object(name))
        lease: Obj = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": name, "namespace": "kube-node-lease"},
            "spec": {
                "holderIdentity": name,
                "leaseDurationSeconds": LEASE_SECONDS,
                "renewTime": micro_stamp(now),
            },
        }
        await self._create("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases", lease)
        await self._renew(name, now)
        await self._report(name, now)

    async def _create(self, path: str, body: Obj) -> None:
        try:
            await self._kube.request("POST", path, body)
        except KubeError as error:
            if error.code != 409:
                raise

    async def _renew(self, name: str, now: float) -> None:
        path = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{name}"
        await self._kube.request("PATCH", path, {"spec": {"renewTime": micro_stamp(now)}}, content=STRATEGIC)

    async def _report(self, name: str, now: float) -> None:
        body = node_status(name, now, self._cores, self._memory_gib)
        await self._kube.request("PATCH", f"/api/v1/nodes/{name}/status", body, content=STRATEGIC)
