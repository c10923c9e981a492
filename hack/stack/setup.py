"""A whole stack: workload, Prometheus with a past, the chart's rights, the operator."""

from __future__ import annotations

import functools
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from controlplane import (
    ControlPlane,
    ControlPlaneError,
    PrometheusServer,
    backfill,
    binaries,
    scrape_config,
    wait_for,
)
from controlplane.processes import Family
from stack.chart import install_rights
from stack.operator import OperatorProcess
from stack.paths import CRDS, EXAMPLES, PYTHONPATH
from stack.playground import Playground

Say = Callable[[str], None]


def silent(text: str) -> None:
    """Say nothing."""
    del text


@dataclass(frozen=True)
class StackOptions:
    """What may differ.

    The operator is installed in `namespace` and watches it alone, or with `cluster` every namespace. The workload runs
    in `places`, by default in `namespace`. `days` of its past are backfilled (0: none). `values` go to the chart.
    """

    namespace: str = "shop"
    cluster: bool = False
    places: tuple[str, ...] = ()
    seed: int = 1
    days: float = 30.0
    scrape_interval: float = 1.0
    replicas: int | None = None
    workload: Path = EXAMPLES / "web-service" / "workload.yaml"
    manifest: Path = EXAMPLES / "web-service" / "deployment.yaml"
    values: Mapping[str, Any] = field(default_factory=dict)
    operator_environment: Mapping[str, str] = field(default_factory=dict)
    time_origin: str = "2026-03-04T10:00"

    @property
    def workload_namespaces(self) -> tuple[str, ...]:
        """Where the workload runs."""
        return self.places or (self.namespace,)


class Stack:
    """Starts on an existing control plane and stops what it started; use it as a context manager."""

    def __init__(self, plane: ControlPlane, directory: Path, options: StackOptions, say: Say = silent) -> None:
        self.plane, self.options, self.directory, self._say = plane, options, directory, say
        directory.mkdir(parents=True, exist_ok=True)
        self._paths = binaries(["helm", "prometheus", "promtool"])
        self.family = Family()
        self.account = ""
        kubeconfig = plane.kubeconfig()
        self.playground = Playground(
            self.family,
            kubeconfig,
            [options.workload],
            list(options.workload_namespaces),
            directory,
            seed=options.seed,
            time_origin=options.time_origin,
        )
        self._prometheus: PrometheusServer | None = None
        self._operator: OperatorProcess | None = None
        self.operators: list[OperatorProcess] = []

    @property
    def prometheus(self) -> PrometheusServer:
        assert self._prometheus is not None, "the stack is not started"
        return self._prometheus

    @property
    def operator(self) -> OperatorProcess:
        assert self._operator is not None, "the stack is not started"
        return self._operator

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> Self:
        """Everything up and the target's pods ready."""
        self.install()
        self.start_workload()
        self.start_prometheus()
        self._say("starting the operator with the chart's ServiceAccount")
        self._operator = self.new_operator("operator", self.options.operator_environment)
        self._operator.start()
        self._wait_ready()
        return self

    def _wait_ready(self) -> None:
        """The target's pods are ready, and each has been scraped often enough for rates."""
        for namespace in self.options.workload_namespaces:
            ready = functools.partial(self._target_ready, namespace)
            wait_for(ready, f"the target's pods in {namespace} to be ready", seconds=120)
        enough = "min(count_over_time(up[1m])) >= 5"
        wait_for(lambda: self.prometheus.query(enough), "the first scrapes", seconds=60)

    def install(self) -> None:
        """CRDs, namespace, and the chart's rights."""
        self._say("installing CRDs and the chart's rights")
        self.plane.apply_crds(CRDS)
        namespace = self.options.namespace
        self.plane.client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        scope = "Cluster" if self.options.cluster else "Namespace"
        values = {"scope": scope, "prometheus": {"url": "http://127.0.0.1:9090"}, **self.options.values}
        self.account = install_rights(self.plane, self._paths["helm"], namespace, values)

    def start_workload(self) -> None:
        """The Deployment and Service, and the program that plays their pods; they get ready by themselves."""
        self._say("starting the workload")
        self.playground.start()
        for namespace in self.options.workload_namespaces:
            self._deploy(namespace)

    def _deploy(self, namespace: str) -> None:
        for document in yaml.safe_load_all(self.options.manifest.read_text()):
            document["metadata"]["namespace"] = namespace
            if document["kind"] == "Deployment" and self.options.replicas is not None:
                document["spec"]["replicas"] = self.options.replicas
            self.plane.client.apply(document)
            if document["kind"] == "Deployment":
                self._deployment = document["metadata"]["name"]

    def _target_ready(self, namespace: str) -> bool:
        found = self.target(namespace)
        status = found.get("status") or {}
        return bool(status.get("readyReplicas") == found["spec"]["replicas"])

    def target(self, namespace: str | None = None) -> dict[str, Any]:
        """The target Deployment as it is now; of the first place by default."""
        where = namespace or self.options.workload_namespaces[0]
        return self.plane.client.get("apps/v1", "Deployment", self._deployment, where)

    def start_prometheus(self) -> None:
        """Prometheus with the service's past, scraping the workload program."""
        tsdb = None
        if self.options.days:
            self._say(f"backfilling {self.options.days:.0f} days of the service's past into Prometheus")
            tsdb = self._backfill()
        self._say("starting Prometheus")
        config = scrape_config({"playground": [self.playground.address]}, scrape_interval=self.options.scrape_interval)
        directory = self.directory / "prometheus"
        self._prometheus = PrometheusServer(config, directory, tsdb=tsdb, path=self._paths["prometheus"])
        self._prometheus.start()

    def _backfill(self) -> Path:
        past, tsdb = self.directory / "past.om", self.directory / "tsdb"
        replicas = self.target()["spec"]["replicas"]
        command = [sys.executable, "-m", "playground", "backfill", "--workload", str(self.options.workload)]
        command += ["--namespace", self.options.workload_namespaces[0], "--deployment", self._deployment]
        command += ["--replicas", str(replicas), "--days", str(self.options.days), "--out", str(past)]
        command += ["--seed", str(self.options.seed), "--time-origin", self.options.time_origin]
        command += ["--end", str(time.time() - 5)]
        done = subprocess.run(["env", f"PYTHONPATH={PYTHONPATH}", *command], capture_output=True, text=True)
        if done.returncode:
            raise ControlPlaneError(f"backfill: {done.stderr.strip()}")
        backfill(past, tsdb, promtool=self._paths["promtool"], max_block_duration="486h")
        past.unlink()
        return tsdb

    def new_operator(self, name: str, environment: Mapping[str, str] | None = None) -> OperatorProcess:
        """Another operator process of the same install (a standby, or a successor)."""
        made = OperatorProcess(
            self.plane,
            self.family,
            self.options.namespace,
            self.account,
            self.prometheus.url,
            self.directory,
            name=name,
            watch="" if self.options.cluster else None,
            environment=environment,
        )
        self.operators.append(made)
        return made

    def stop(self) -> None:
        """Stop what was started, by its own process ids; the control plane stays."""
        for operator in self.operators:
            operator.stop()
        self.playground.stop()
        if self._prometheus is not None:
            self._prometheus.stop(keep_logs=True)
        self.family.close()
