"""The operator as a child process, with the chart's ServiceAccount."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from controlplane import ControlPlane, wait_for
from controlplane.processes import Component, Family, free_port
from stack.paths import PYTHONPATH

MODULE = "trimtab.runtime.main"
STOP_SECONDS = 60.0  # more than an operator takes to finish what it has begun


class OperatorProcess:
    """One operator. It can be killed and started again; its log is kept over restarts.

    Args:
        plane: where it works.
        family: the process group that ends with the caller.
        namespace: where it is installed, and the one that it watches.
        account: its ServiceAccount.
        prometheus_url: the metrics store.
        directory: for the kubeconfig and the log.
        name: tells two operators apart.
        watch: the namespaces that it watches, "" for all; its own by default.
        environment: further variables, e.g. TRIMTAB_FAIL_POINT.
        server: the API server's address for this operator, e.g. a proxy's.
        module: what is run; it must end up in `trimtab.runtime.main`.
    """

    def __init__(
        self,
        plane: ControlPlane,
        family: Family,
        namespace: str,
        account: str,
        prometheus_url: str,
        directory: Path,
        *,
        name: str = "operator",
        watch: str | None = None,
        environment: Mapping[str, str] | None = None,
        server: str | None = None,
        module: str = MODULE,
    ) -> None:
        self.environment = dict(environment or {})
        self._module = module
        self.port = free_port()
        path = directory / f"{name}.kubeconfig"
        kubeconfig = plane.service_account_kubeconfig(namespace, account, path, server=server)
        self._settings = {
            "PYTHONPATH": PYTHONPATH,
            "TRIMTAB_KUBECONFIG": str(kubeconfig),
            "TRIMTAB_NAMESPACE": namespace if watch is None else watch,
            "TRIMTAB_LEASE_NAMESPACE": namespace,
            "TRIMTAB_LEASE_DURATION": "6",
            "TRIMTAB_PROMETHEUS_URL": prometheus_url,
            "TRIMTAB_HTTP_HOST": "127.0.0.1",
            "TRIMTAB_HTTP_PORT": str(self.port),
        }
        self.component = Component(name, family, self._command, directory / f"{name}.log")

    def _command(self) -> list[str]:
        settings = {**self._settings, **self.environment}
        variables = [f"{key}={value}" for key, value in settings.items()]
        return ["env", *variables, sys.executable, "-m", self._module]

    def start(self, *, ready: bool = True, seconds: float = 60.0) -> None:
        """Start it and wait until it leads and answers."""
        self.component.start()
        if ready:
            self.wait_leading(seconds)

    def wait_leading(self, seconds: float = 60.0) -> None:
        """Wait until it leads and answers; fails early when it ends."""
        self.component.wait_ready(self.is_leading, seconds)

    def is_leading(self) -> bool:
        """It answers /readyz, which a standby does too, and its metric says that it leads."""
        return any(line.startswith("trimtab_leader 1") for line in self.get("/metrics").splitlines())

    def get(self, path: str) -> str:
        """A page of its HTTP server, "" when it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=2) as answer:
                return str(answer.read().decode())
        except (OSError, urllib.error.URLError):
            return ""

    def kill(self) -> None:
        """SIGKILL."""
        self.component.kill()

    def stop(self) -> None:
        """SIGTERM, and wait for its graceful end."""
        self.component.stop(grace=STOP_SECONDS)

    def wait_dead(self, seconds: float) -> None:
        """Wait until it ended by itself."""
        wait_for(lambda: self.component.pid is None, "the operator to end", seconds=seconds)

    def log_lines(self) -> list[dict[str, Any]]:
        """Its structured log, as far as lines are JSON."""
        found = []
        for line in self.component.log.read_text(errors="replace").splitlines() if self.component.log.exists() else []:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                found.append(entry)
        return found
