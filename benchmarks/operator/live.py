"""A short Experiment on a stack, driven and watched from outside the operator.

For the benchmark of the operator, and for the cluster tests that kill and replace operators: they need the same small
service, the same short windows, and an eyewitness that misses no change.
"""

from __future__ import annotations

import contextlib
import copy
import json
import secrets
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from controlplane import ApiError, ControlPlane, wait_for
from controlplane.client import Conflict, NotFound
from stack import OperatorProcess, Stack, StackOptions, drop_namespaces, make_namespaces
from stack.namespaces import release_all
from stack.operator import MODULE
from stack.paths import EXAMPLES
from stack.place import LAYERS

API = "trimtab.dev/v1alpha1"
LEASE = ("coordination.k8s.io/v1", "Lease", "trimtab-operator")
FINALIZER = "trimtab.dev/undo"
ARM = "trimtab.dev/arm"
CANARY = {ARM: "canary"}
ENDED = frozenset({"Completed", "Stopped", "Failed"})
TERMINAL = frozenset({"Succeeded", "Infeasible", "Inconclusive", "Aborted", "Stale", "InfraFailed"})
PATIENCE = 60.0  # seconds for which an API server may be away while somebody looks
REPLICAS = 4
LOAD = 4000  # requests per second: 667 for each of four pods and two arms
LOG_LINES = 40

SHORT: dict[str, dict[str, Any]] = {
    "trial": {"warmUp": "1s", "duration": "5s", "deadline": "60s"},
    "safety": {"probabilityPercent": "95", "checkInterval": "1s", "staleAfter": "30s"},
    "canary": {"replicas": 1, "control": "Clone", "maxSharePercent": "50"},
    "verification": {"duration": "5s", "replicates": 0},
    "stopping": {"maxTrials": 1, "maxDuration": "1h"},
}


@cache
def _example() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((EXAMPLES / "web-service" / "experiment.yaml").read_text())
    return found


def experiment(name: str, namespace: str, **sections: Any) -> dict[str, Any]:
    """The example's Experiment in windows of seconds; `sections` change parts of its spec: mappings are merged."""
    manifest = copy.deepcopy(_example())
    manifest["metadata"] |= {"name": name, "namespace": namespace}
    spec = manifest["spec"]
    for section, values in (*SHORT.items(), *sections.items()):
        spec[section] = {**spec.get(section, {}), **values} if isinstance(values, Mapping) else values
    for sli in spec["slis"]:
        sli["minSamples"] = 200
    if "errorBudgets" not in sections:
        spec["errorBudgets"][0]["experimentSharePercent"] = "50"
    return manifest


class Live:
    """One install of the operator on a stack, and Experiments on its one target, one after the other."""

    def __init__(self, stack: Stack, namespace: str) -> None:
        self.stack, self.client, self.namespace = stack, stack.plane.client.patient(PATIENCE), namespace
        self._operators: list[OperatorProcess] = []

    def operator(
        self, environment: Mapping[str, str] | None = None, *, ready: bool = True, server: str | None = None
    ) -> OperatorProcess:
        """Start another operator process, and wait until it leads; `server` stands for the API server's address."""
        name = f"{self.namespace}-operator-{len(self._operators)}"
        made = self.stack.new_operator(name, environment, namespace=self.namespace, server=server)
        self._operators.append(made)
        made.start(ready=ready)
        return made

    def kill_operators(self) -> None:
        """End all operator processes, and their lease as if it had run out."""
        for operator in self._operators:
            operator.kill()
        self.expire_lease()

    def expire_lease(self) -> None:
        """Nobody leads, from now on: saves the wait for a killed leader's lease where that is not the question."""

        def expired() -> bool:
            lease = self.client.find(*LEASE, self.namespace)
            if lease is not None:
                lease["spec"]["holderIdentity"] = ""
                self.client.replace(lease)
            return True

        # A renewal that the killed leader had sent may still arrive.
        wait_for(expired, "the lease to be given up", ignore=(Conflict,))

    def forget_lease(self) -> None:
        """As if no operator had ever been here."""
        with contextlib.suppress(NotFound):
            self.client.delete(*LEASE, self.namespace)

    def create(self, name: str, **sections: Any) -> None:
        """A new Experiment."""
        self.client.create(experiment(name, self.namespace, **sections))

    def find(self, name: str) -> dict[str, Any]:
        """An Experiment, {} when it is gone."""
        return self.client.find(API, "Experiment", name, self.namespace) or {}

    def trials(self, name: str) -> list[dict[str, Any]]:
        """Its Trials, by index."""
        found = self.client.list(API, "Trial", self.namespace, labels=f"trimtab.dev/experiment={name}")
        return sorted(found, key=lambda t: int(t["spec"]["index"]))

    def wait_ended(self, name: str, seconds: float = 120.0) -> dict[str, Any]:
        """Wait for the Experiment's end."""

        def ended() -> dict[str, Any] | None:
            found = self.find(name)
            return found if (found.get("status") or {}).get("phase") in ENDED else None

        return wait_for(ended, f"Experiment {name} to end", seconds=seconds)

    def wait_trial(self, name: str, phases: frozenset[str], seconds: float = 120.0) -> dict[str, Any]:
        """Wait until its newest Trial is in one of these phases."""

        def reached() -> dict[str, Any] | None:
            found = self.trials(name)
            return found[-1] if found and phase_of(found[-1]) in phases else None

        return wait_for(reached, f"a Trial of {name} to be {' or '.join(sorted(phases))}", seconds=seconds)

    def arms(self) -> list[str]:
        """Everything of an arm that exists, as Kind/name."""
        return [
            f"{kind}/{item['metadata']['name']}"
            for version, kind in LAYERS
            for item in self.client.list(version, kind, self.namespace, labels=ARM)
        ]

    def wait_nothing_left(self, seconds: float = 120.0) -> None:
        """Wait until nothing of an arm exists (terminating pods are the kubelet's for a moment) and nothing is held."""
        wait_for(lambda: not self.arms() and not self.held(), "arms and finalizers to be gone", seconds=seconds)

    def held(self) -> list[str]:
        """Experiments and Trials that carry our finalizer."""
        return [
            f"{kind}/{item['metadata']['name']}"
            for kind in ("Experiment", "Trial")
            for item in self.client.list(API, kind, self.namespace)
            if FINALIZER in item["metadata"].get("finalizers", [])
        ]

    def delete(self, name: str) -> None:
        """Ask for an Experiment's deletion."""
        self.client.delete(API, "Experiment", name, self.namespace)

    def remove(self, name: str, seconds: float = 120.0) -> None:
        """Delete an Experiment and wait until its Trials and its target lock are gone with it."""
        with contextlib.suppress(ApiError):
            self.delete(name)

        def gone() -> bool:
            locks = [i["metadata"]["name"] for i in self.client.list(*LEASE[:2], self.namespace)]
            return not self.find(name) and not self.trials(name) and all(n == LEASE[2] for n in locks)

        wait_for(gone, f"Experiment {name} and what it owns to be gone", seconds=seconds)

    def clear(self) -> None:
        """Leave nothing of what happened here, however it ended: no operator, no Experiment, nobody's lease."""
        self.kill_operators()
        release_all(self.client, self.namespace)
        for found in self.client.list(API, "Experiment", self.namespace):
            self.remove(found["metadata"]["name"])
        self.wait_nothing_left()
        self.forget_lease()

    def target(self) -> dict[str, Any]:
        """What must not change of the target while it is tuned."""
        found = self.stack.target(self.namespace)
        metadata = found["metadata"]
        return {"spec": found["spec"], "labels": metadata.get("labels"), "annotations": metadata.get("annotations")}

    @contextlib.contextmanager
    def explained(self, name: str) -> Iterator[None]:
        """A failure inside shows the Experiment, its Trials and the ends of the operators' logs."""
        try:
            yield
        except BaseException as error:
            error.add_note(self.report(name))
            raise

    def report(self, name: str) -> str:
        """What a person needs to understand a failure."""
        lines = [f"Experiment {name}: {json.dumps(self.find(name).get('status'), indent=1)}"]
        lines += [
            f"{t['metadata']['name']}: {json.dumps({k: v for k, v in t['status'].items() if k != 'measurements'})}"
            for t in self.trials(name)
            if "status" in t
        ]
        lines.append(f"arms: {self.arms()}; held: {self.held()}")
        operators = self._operators or self.stack.operators  # of this namespace, or of the whole cluster
        lines += [operator.component.tail(LOG_LINES) for operator in operators[-2:]]
        return "\n".join(lines)


@contextlib.contextmanager
def leading(
    stack: Stack, name: str, environment: Mapping[str, str] | None = None, *, module: str = MODULE
) -> Iterator[OperatorProcess]:
    """An operator of the stack that leads; stopped at the end, so that the next one can lead at once."""
    made = stack.new_operator(name, environment, module=module)
    try:
        made.start()
        yield made
    finally:
        made.stop()


def phase_of(trial: Mapping[str, Any]) -> str:
    """A Trial's phase."""
    return str((trial.get("status") or {}).get("phase", "Pending"))


@contextlib.contextmanager
def live_stack(
    plane: ControlPlane, directory: Path, name: str, *, replicas: int = REPLICAS, load: int = LOAD
) -> Iterator[Live]:
    """A stack with a day of the service's past in a namespace of its own, and no operator running."""
    with live_places(plane, directory, name, 1, replicas=replicas, load=load) as (live,):
        yield live


@contextlib.contextmanager
def live_places(
    plane: ControlPlane,
    directory: Path,
    name: str,
    count: int,
    *,
    replicas: int = REPLICAS,
    load: int = LOAD,
    values: Mapping[str, Any] | None = None,
    metrics_api: bool = False,
) -> Iterator[list[Live]]:
    """One stack with several namespaces, each with the workload, a day of its past, and an install of its own."""
    path = _workload(directory, load)
    run = secrets.token_hex(3)
    namespaces = tuple(f"{name}-{run}-{number}" for number in range(count))
    options = StackOptions(
        installs=namespaces,
        days=1.0,
        replicas=replicas,
        workload=path,
        operator=False,
        values=values or {},
        metrics_api=metrics_api,
    )
    try:
        with Stack(plane, directory / "stack", options) as stack:
            yield [Live(stack, namespace) for namespace in namespaces]
    finally:
        drop_namespaces(plane.client, *namespaces)


@contextlib.contextmanager
def cluster_stack(
    plane: ControlPlane,
    directory: Path,
    name: str,
    count: int,
    *,
    operator: bool = True,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Stack]:
    """One install for the whole cluster, and the workload with a day of past in several namespaces; `environment`: of
    the operator."""
    path = _workload(directory, LOAD)
    run = secrets.token_hex(3)
    own, *places = names = tuple(f"{name}-{run}-{number}" for number in range(count + 1))
    make_namespaces(plane.client, *names)
    options = StackOptions(
        namespace=own,
        cluster=True,
        places=tuple(places),
        days=1.0,
        replicas=REPLICAS,
        workload=path,
        operator=operator,
        operator_environment=environment or {},
    )
    try:
        with Stack(plane, directory / "stack", options) as stack:
            yield stack
    finally:
        drop_namespaces(plane.client, *names)


def _workload(directory: Path, load: int) -> Path:
    """The example's workload with so many requests per second."""
    directory.mkdir(parents=True, exist_ok=True)
    workload = yaml.safe_load((EXAMPLES / "web-service" / "workload.yaml").read_text())
    workload["load"]["requestsPerSecond"] = load
    path = directory / "workload.yaml"
    path.write_text(yaml.safe_dump(workload))
    return path
