"""The workload program as a child process, and its control endpoint."""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path
from typing import Any

from controlplane.processes import Component, Family
from stack.paths import PYTHONPATH

NODES = 6


class Playground:
    """Plays the pods of a namespace.

    Args:
        kubeconfig: an administrator's; the program is the cluster's only kubelet.
        workloads: workload files.
        namespaces: whose pods it plays.
        seed: of all its noise.
        metrics_api: serve metrics.k8s.io, for the HPA controller.
        nodes: how many there are, of 32 cores.
    """

    def __init__(
        self,
        family: Family,
        kubeconfig: Path,
        workloads: list[Path],
        namespaces: list[str],
        directory: Path,
        *,
        seed: int = 1,
        time_origin: str = "2026-03-04T10:00",
        tick: str = "250ms",
        metrics_api: bool = False,
        nodes: int = NODES,
    ) -> None:
        self._address_file = directory / "playground.address"
        arguments = ["--kubeconfig", str(kubeconfig), "--address-file", str(self._address_file), "--seed", str(seed)]
        arguments += ["--time-origin", time_origin, "--tick", tick, "--nodes", str(nodes)]
        arguments += ["--metrics-api"] if metrics_api else []
        for path in workloads:
            arguments += ["--workload", str(path)]
        for namespace in namespaces:
            arguments += ["--namespace", namespace]
        self._arguments = arguments
        self.component = Component("playground", family, self._command, directory / "playground.log")

    def _command(self) -> list[str]:
        return ["env", f"PYTHONPATH={PYTHONPATH}", sys.executable, "-m", "playground", *self._arguments]

    def start(self, seconds: float = 60.0) -> None:
        """Start it and wait until its page answers."""
        self._address_file.unlink(missing_ok=True)
        self.component.start()
        self.component.wait_ready(self._answers, seconds)

    def _answers(self) -> bool:
        if not self._address_file.exists() or not self._address_file.read_text().strip():
            return False
        try:
            self.request("GET", "/healthz")
        except OSError:
            return False
        return True

    @property
    def address(self) -> str:
        """host:port of its page."""
        return self._address_file.read_text().strip()

    def stop(self) -> None:
        """SIGTERM."""
        self.component.stop()

    def state(self) -> dict[str, Any]:
        """Pods, shares, truth and faults."""
        return dict(json.loads(self.request("GET", "/state")))

    def fault(self, **fault: Any) -> None:
        """Set a fault, see `trimtab.workload.faults.Fault`."""
        self.request("POST", "/faults", json.dumps(fault).encode())

    def clear(self, name: str) -> None:
        """End a fault."""
        self.request("DELETE", f"/faults/{name}")

    def request(self, method: str, path: str, body: bytes | None = None) -> str:
        """One request to its control endpoint."""
        url = f"http://{self.address}{path}"
        headers = {"Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(url, body, headers, method=method), timeout=5) as answer:
            return str(answer.read().decode())
