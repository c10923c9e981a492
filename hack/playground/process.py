"""The playground as a child process, for demos and tests: start, faults, state, stop.

Synchronous and small, like the control plane's harness, so that a test can read top to bottom.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import playground
import trimtab

_POLL_SECONDS = 0.05


class PlaygroundError(RuntimeError):
    """The program did not start, or refused a request."""


class PlaygroundProcess:
    """One playground; use it as a context manager, or call `start` and `stop`.

    Args:
        kubeconfig: credentials that may write nodes, leases and pod statuses.
        workloads: workload files.
        namespaces: whose pods it plays.
        directory: for its log and address; a temporary one by default.
        options: further command line arguments, for example `["--time-origin", "2026-03-02T13:00"]`.
        ready_seconds: deadline of the start.
    """

    def __init__(
        self,
        kubeconfig: Path,
        workloads: Sequence[Path],
        namespaces: Sequence[str],
        *,
        seed: int = 0,
        directory: Path | None = None,
        options: Sequence[str] = (),
        ready_seconds: float = 30.0,
    ) -> None:
        self.directory = directory or Path(tempfile.mkdtemp(prefix="trimtab-playground-"))
        self._address_file = self.directory / "playground.address"
        self._ready_seconds = ready_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._command = [sys.executable, "-m", "playground", "--kubeconfig", str(kubeconfig), "--seed", str(seed)]
        self._command += ["--address-file", str(self._address_file), *options]
        for workload in workloads:
            self._command += ["--workload", str(workload)]
        for namespace in namespaces:
            self._command += ["--namespace", namespace]

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def address(self) -> str:
        """host:port, for a scrape configuration."""
        return self._address_file.read_text(encoding="utf-8")

    @property
    def pid(self) -> int | None:
        """Its process id, or None when it does not run."""
        return None if self._process is None else self._process.pid

    @property
    def log(self) -> Path:
        """What it wrote."""
        return self.directory / "playground.log"

    def start(self) -> Self:
        """Start it and wait until its nodes are registered and its watches have begun."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._address_file.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, env=_environment())
        deadline = time.monotonic() + self._ready_seconds
        while not self._healthy():
            if self._process.poll() is not None or time.monotonic() > deadline:
                last = (self.log.read_text(errors="replace").strip().splitlines() or ["it wrote nothing"])[-1]
                self.stop()
                raise PlaygroundError(f"the playground did not start: {last} (log: {self.log})")
            time.sleep(_POLL_SECONDS)
        return self

    def stop(self, grace: float = 5.0) -> None:
        """End it. Its nodes stay, for other playgrounds and until the control plane ends."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.terminate()
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def state(self) -> dict[str, Any]:
        """Pods, shares and faults, with the noise-free truth of each pod."""
        result: dict[str, Any] = json.loads(self.request("GET", "/state"))
        return result

    def set_fault(self, name: str, kind: str, **fields: Any) -> dict[str, Any]:
        """Set a fault, for example `set_fault("slow", "SlowDependency", factor=4, selector={...})`."""
        result: dict[str, Any] = json.loads(self.request("POST", "/faults", {"name": name, "kind": kind, **fields}))
        return result

    def remove_fault(self, name: str) -> None:
        """End a fault."""
        self.request("DELETE", f"/faults/{name}")

    def clear_faults(self) -> None:
        """End all faults."""
        self.request("DELETE", "/faults")

    def request(self, method: str, path: str, body: Any = None, timeout: float = 5.0) -> str:
        """One HTTP request to its control endpoint; raises PlaygroundError with its words, or OSError."""
        host, port = self.address.rsplit(":", 1)
        connection = http.client.HTTPConnection(host, int(port), timeout=timeout)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        finally:
            connection.close()
        if answer.status >= 400:
            raise PlaygroundError(f"{method} {path}: {answer.status} {text.strip()}")
        return text

    def _healthy(self) -> bool:
        if not self._address_file.exists():
            return False
        try:
            return self.request("GET", "/healthz", timeout=1.0) == "ok\n"
        except (OSError, http.client.HTTPException, PlaygroundError):
            return False


def _environment() -> dict[str, str]:
    """Our own environment with both packages on the path and BLAS in one thread."""
    parts = [str(Path(str(module.__file__)).parents[1]) for module in (playground, trimtab)]
    inherited = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([*parts, *([inherited] if inherited else [])])
    return os.environ | {"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
