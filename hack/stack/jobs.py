"""Plays the pods of the chart's Jobs: what their container says runs as a process, with their ServiceAccount's token.

There is no kubelet on the local control plane, but its controllers are real: the CronJob makes Jobs, a Job makes a pod,
and the Job ends when the pod does. Give the chart a `nodeSelector` that no node has, so that nobody else plays them.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from controlplane import ApiClient, ApiError, ControlPlane, binaries
from stack.chart import render
from stack.paths import PYTHONPATH

NOBODYS = {"trimtab.dev/played-by": "the-caller"}
JOB = "batch.kubernetes.io/job-name"
LOOK_SECONDS = 0.2


@dataclass
class Run:
    """One pod that was played; times in unix seconds."""

    pod: str
    began: float
    process: subprocess.Popen[str]
    output: Path
    ended: float | None = None

    @property
    def status(self) -> int | None:
        """The container's exit status, None while it runs."""
        return None if self.ended is None else self.process.returncode

    @property
    def said(self) -> str:
        """Its output up to now."""
        return self.output.read_text()


def chart_of_jobs(namespace: str, prometheus_url: str, *, cluster: bool = False) -> list[dict[str, Any]]:
    """What the chart renders for an install, with pods that nobody but the caller plays."""
    scope = "Cluster" if cluster else "Namespace"
    values = {"scope": scope, "prometheus": {"url": prometheus_url}, "nodeSelector": NOBODYS}
    return render(binaries(["helm"])["helm"], namespace, values)


class JobPods:
    """Plays the pods of every Job in a namespace while the block runs."""

    def __init__(self, plane: ControlPlane, namespace: str, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._plane, self._client, self._namespace = plane, plane.client, namespace
        self._directory = directory
        self._runs: dict[str, Run] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._play, daemon=True)
        self._failed: list[str] = []

    @property
    def runs(self) -> list[Run]:
        """Those played so far, oldest first."""
        assert not self._failed, self._failed
        return sorted(self._runs.values(), key=lambda r: r.began)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(30.0)
        for run in self._runs.values():
            if run.process.poll() is None:
                run.process.kill()
                run.process.wait()

    def _play(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            try:
                self._look()
            except ApiError:
                continue
            except Exception as error:  # of the thread: told to whoever asks for the runs
                self._failed.append(repr(error))
                return

    def _look(self) -> None:
        pods = {p["metadata"]["uid"]: p for p in self._client.list("v1", "Pod", self._namespace, labels=JOB)}
        for uid, pod in pods.items():
            if uid not in self._runs and pod["status"].get("phase") == "Pending":
                name = pod["metadata"]["name"]
                output = self._directory / f"{name}.log"
                process = start(self._plane, pod["spec"], self._namespace, output)
                self._runs[uid] = Run(name, time.time(), process, output)
        for uid, run in self._runs.items():
            if run.ended is None and run.process.poll() is not None:
                self._report(pods.get(uid), run)
            elif run.ended is None and uid not in pods:
                run.process.kill()  # its Job was deleted, or had no more time

    def _report(self, pod: Mapping[str, Any] | None, run: Run) -> None:
        if pod is not None:
            code = run.process.returncode
            name = pod["spec"]["containers"][0]["name"]
            ended = {"name": name, "image": "", "imageID": "", "ready": False, "restartCount": 0}
            ended["state"] = {"terminated": {"exitCode": code, "reason": "Error" if code else "Completed"}}
            status = {"phase": "Failed" if code else "Succeeded", "containerStatuses": [ended]}
            with contextlib.suppress(ApiError):
                _patch_status(self._client, run.pod, self._namespace, status)
        run.ended = time.time()


def start(plane: ControlPlane, spec: Mapping[str, Any], namespace: str, output: Path) -> subprocess.Popen[str]:
    """Start the only container of a pod as a process."""
    (container,) = spec["containers"]
    command = [*container["command"], *container.get("args", ())]
    assert command[0] == "python", command
    kubeconfig = plane.service_account_kubeconfig(namespace, spec["serviceAccountName"], output.with_suffix(".config"))
    # An empty value is left out by the API server; what comes from a field is the namespace.
    variables = {e["name"]: namespace if "valueFrom" in e else e.get("value", "") for e in container["env"]}
    variables |= {"TRIMTAB_KUBECONFIG": str(kubeconfig), "PYTHONPATH": PYTHONPATH}
    line = ["env", *(f"{key}={value}" for key, value in variables.items()), sys.executable, *command[1:]]
    with output.open("ab") as out:
        return subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=out, stderr=out, text=True, cwd=output.parent)


def _patch_status(client: ApiClient, pod: str, namespace: str, status: Mapping[str, Any]) -> None:
    client.patch("v1", "Pod", pod, {"status": status}, namespace, subresource="status")


__all__ = ["NOBODYS", "JobPods", "Run", "chart_of_jobs", "start"]
