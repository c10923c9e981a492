"""A whole stack: workload, Prometheus with a past, the chart's rights, the operator."""

from __future__ import annotations

import functools
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
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
from controlplane.processes import Family, stop_together
from stack.chart import Rights, install_rights
from stack.operator import MODULE, OperatorProcess
from stack.paths import CRDS, EXAMPLES, PYTHONPATH
from stack.playground import NODES, Playground

Say = Callable[[str], None]
STOP_SECONDS = 10.0


def silent(text: str) -> None:
    """Say nothing."""
    del text


@dataclass(frozen=True)
class StackOptions:
    """What may differ.

    The operator is installed in `namespace` and watches it alone, or with `cluster` every namespace; `installs` are
    several namespaces with an install of their own each. The workload runs in `places`, by default where the operator
    is installed. `days` of its past are backfilled (0: none). `values` go to the chart. `operator`: start one, too.
    `metrics_api`: serve metrics.k8s.io, one stack of a control plane at a time. `nodes`: how many, of 32 cores.
    `ready_first`: Prometheus starts once the target's pods are ready, so that no request is seen to fail before.
    """

    namespace: str = "shop"
    cluster: bool = False
    installs: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    operator: bool = True
    seed: int = 1
    days: float = 30.0
    scrape_interval: float = 1.0
    replicas: int | None = None
    workload: Path = EXAMPLES / "web-service" / "workload.yaml"
    manifest: Path = EXAMPLES / "web-service" / "deployment.yaml"
    values: Mapping[str, Any] = field(default_factory=dict)
    operator_environment: Mapping[str, str] = field(default_factory=dict)
    time_origin: str = "2026-03-04T10:00"
    metrics_api: bool = False
    nodes: int = NODES
    ready_first: bool = False

    @property
    def workload_namespaces(self) -> tuple[str, ...]:
        """Where the workload runs."""
        return self.places or self.install_namespaces

    @property
    def install_namespaces(self) -> tuple[str, ...]:
        """Where the chart's rights are applied."""
        return self.installs or (self.namespace,)


class Stack:
    """Starts on an existing control plane and stops what it started; use it as a context manager."""

    def __init__(self, plane: ControlPlane, directory: Path, options: StackOptions, say: Say = silent) -> None:
        self.plane, self.options, self.directory, self._say = plane, options, directory, say
        directory.mkdir(parents=True, exist_ok=True)
        self._paths = binaries(["helm", "prometheus", "promtool"])
        self.family = Family()
        self._rights: dict[str, Rights] = {}
        kubeconfig = plane.kubeconfig()
        self.playground = Playground(
            self.family,
            kubeconfig,
            [options.workload],
            list(options.workload_namespaces),
            directory,
            seed=options.seed,
            time_origin=options.time_origin,
            metrics_api=options.metrics_api,
            nodes=options.nodes,
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
        with ThreadPoolExecutor(1) as beside:
            past = beside.submit(self._past)
            self.start_workload()
            if self.options.ready_first:
                self._wait_targets()
            self.start_prometheus(past.result())
        if self.options.operator:
            self._say("starting the operator with the chart's ServiceAccount")
            self._operator = self.new_operator("operator", self.options.operator_environment)
            self._operator.start(ready=False)
        self._wait_ready()
        return self

    def _wait_ready(self) -> None:
        """The target's pods are ready, each has been scraped often enough for rates, and the operator leads."""
        self._wait_targets()
        enough = "min(count_over_time(up[1m])) >= 5"
        wait_for(lambda: self.prometheus.query(enough), "the first scrapes", seconds=60)
        if self._operator is not None:
            self._operator.wait_leading()

    def _wait_targets(self) -> None:
        for namespace in self.options.workload_namespaces:
            ready = functools.partial(self._target_ready, namespace)
            wait_for(ready, f"the target's pods in {namespace} to be ready", seconds=120)

    def install(self) -> None:
        """CRDs, namespaces, and the chart's rights."""
        self._say("installing CRDs and the chart's rights")
        self.plane.apply_crds(CRDS)
        scope = "Cluster" if self.options.cluster else "Namespace"
        values = {"scope": scope, "prometheus": {"url": "http://127.0.0.1:9090"}, **self.options.values}
        for name in self.options.install_namespaces:
            self.plane.client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
            self._rights[name] = install_rights(self.plane, self._paths["helm"], name, values)

    def start_workload(self) -> None:
        """The Deployment and Service, and the program that plays their pods; they get ready by themselves."""
        self._say("starting the workload")
        self.playground.start()
        for namespace in self.options.workload_namespaces:
            self._deploy(namespace)

    def _deploy(self, namespace: str) -> None:
        for document in self._manifests(namespace):
            self.plane.client.apply(document)
            if document["kind"] == "Deployment":
                self._deployment = document["metadata"]["name"]

    def _manifests(self, namespace: str) -> list[dict[str, Any]]:
        """The target Deployment and its Service in this namespace."""
        documents: list[dict[str, Any]] = list(yaml.safe_load_all(self.options.manifest.read_text()))
        for document in documents:
            document["metadata"]["namespace"] = namespace
            if document["kind"] == "Deployment" and self.options.replicas is not None:
                document["spec"]["replicas"] = self.options.replicas
        return documents

    def _target_ready(self, namespace: str) -> bool:
        found = self.target(namespace)
        status = found.get("status") or {}
        return bool(status.get("readyReplicas") == found["spec"]["replicas"])

    def target(self, namespace: str | None = None) -> dict[str, Any]:
        """The target Deployment as it is now; of the first place by default."""
        where = namespace or self.options.workload_namespaces[0]
        return self.plane.client.get("apps/v1", "Deployment", self._deployment, where)

    def start_prometheus(self, tsdb: Path | None) -> None:
        """Prometheus with the service's past, scraping the workload program."""
        self._say("starting Prometheus")
        config = scrape_config({"playground": [self.playground.address]}, scrape_interval=self.options.scrape_interval)
        directory = self.directory / "prometheus"
        self._prometheus = PrometheusServer(config, directory, tsdb=tsdb, path=self._paths["prometheus"])
        self._prometheus.start()

    def _past(self) -> Path | None:
        """Blocks with the service's past in every place, or None when none is wanted."""
        if not self.options.days:
            return None
        self._say(f"backfilling {self.options.days:.0f} days of the service's past for Prometheus")
        tsdb = self.directory / "tsdb"
        for namespace in self.options.workload_namespaces:
            self._backfill(namespace, tsdb)
        return tsdb

    def _backfill(self, namespace: str, tsdb: Path) -> None:
        (deployment,) = (d for d in self._manifests(namespace) if d["kind"] == "Deployment")
        past = self.directory / f"{namespace}.om"
        command = [sys.executable, "-m", "playground", "backfill", "--workload", str(self.options.workload)]
        command += ["--namespace", namespace, "--deployment", deployment["metadata"]["name"]]
        command += ["--replicas", str(deployment["spec"]["replicas"]), "--days", str(self.options.days)]
        command += ["--out", str(past), "--seed", str(self.options.seed), "--time-origin", self.options.time_origin]
        command += ["--end", str(time.time() - 5)]
        done = subprocess.run(["env", f"PYTHONPATH={PYTHONPATH}", *command], capture_output=True, text=True)
        if done.returncode:
            raise ControlPlaneError(f"backfill: {done.stderr.strip()}")
        backfill(past, tsdb, promtool=self._paths["promtool"], max_block_duration="486h")
        past.unlink()

    def new_operator(
        self,
        name: str,
        environment: Mapping[str, str] | None = None,
        *,
        namespace: str | None = None,
        server: str | None = None,
        module: str = MODULE,
    ) -> OperatorProcess:
        """Another operator process of an install (a standby, or a successor).

        Args:
            name: tells it apart; also of its log.
            environment: further variables.
            namespace: of its install; the first by default.
            server: an address that stands for the API server's, e.g. a proxy's.
            module: what is run in the operator's place.
        """
        where = namespace or self.options.install_namespaces[0]
        made = OperatorProcess(
            self.plane,
            self.family,
            where,
            self._rights[where].account,
            self.prometheus.url,
            self.directory,
            name=name,
            watch="" if self.options.cluster else None,
            environment=environment,
            server=server,
            module=module,
        )
        self.operators.append(made)
        return made

    def stop(self) -> None:
        """Stop what was started, by its own process ids, and take back the rights; the control plane stays."""
        stop_together([*(operator.component for operator in self.operators), self.playground.component], STOP_SECONDS)
        if self._prometheus is not None:
            self._prometheus.stop(keep_logs=True)
        self.family.close()
        for rights in self._rights.values():
            rights.remove(self.plane.client)
