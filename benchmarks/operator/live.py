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

from controlplane import ApiClient, ApiError, ControlPlane, wait_for
from stack import OperatorProcess, Stack, StackOptions
from stack.paths import EXAMPLES

API = "trimtab.dev/v1alpha1"
LEASE = ("coordination.k8s.io/v1", "Lease", "trimtab-operator")
FINALIZER = "trimtab.dev/undo"
ARM = "trimtab.dev/arm"
CANARY = {ARM: "canary"}
ENDED = frozenset({"Completed", "Stopped", "Failed"})
TERMINAL = frozenset({"Succeeded", "Infeasible", "Inconclusive", "Aborted", "Stale", "InfraFailed"})
LAYERS = (("apps/v1", "Deployment"), ("apps/v1", "ReplicaSet"), ("v1", "Pod"))
REPLICAS = 4
LOAD = 4000  # requests per second: 667 for each of four pods and two arms
LOG_LINES = 40

SHORT: dict[str, dict[str, Any]] = {
    "trial": {"warmUp": "1s", "duration": "5s", "deadline": "60s"},
    "safety": {"probabilityPercent": "95", "checkInterval": "1s", "staleAfter": "6s"},
    "canary": {"replicas": 1, "control": "Clone", "maxSharePercent": "50"},
    "verification": {"duration": "5s", "replicates": 0},
    "stopping": {"maxTrials": 1, "maxDuration": "1h"},
}


@cache
def _example() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((EXAMPLES / "web-service" / "experiment.yaml").read_text())
    return found


def experiment(name: str, namespace: str, **sections: Mapping[str, Any]) -> dict[str, Any]:
    """The example's Experiment in windows of seconds; `sections` change parts of its spec."""
    manifest = copy.deepcopy(_example())
    manifest["metadata"] |= {"name": name, "namespace": namespace}
    spec = manifest["spec"]
    for section, values in (*SHORT.items(), *sections.items()):
        spec[section] = {**spec.get(section, {}), **values}
    for sli in spec["slis"]:
        sli["minSamples"] = 200
    spec["errorBudgets"][0]["experimentSharePercent"] = "50"
    return manifest


class Live:
    """The operator's install on a stack, and Experiments on its one target, one after the other."""

    def __init__(self, stack: Stack) -> None:
        self.stack, self.client, self.namespace = stack, stack.plane.client, stack.options.namespace
        self._operators: list[OperatorProcess] = []

    def operator(self, environment: Mapping[str, str] | None = None, *, ready: bool = True) -> OperatorProcess:
        """Start another operator process, and wait until it leads."""
        made = self.stack.new_operator(f"operator-{len(self._operators)}", environment)
        self._operators.append(made)
        made.start(ready=ready)
        return made

    def kill_operators(self) -> None:
        """End all operator processes, and their lease as if it had run out."""
        for operator in (self.stack.operator, *self._operators):
            operator.kill()
        self.expire_lease()

    def expire_lease(self) -> None:
        """Nobody leads, from now on: saves the wait for a killed leader's lease where that is not the question."""
        lease = self.client.get(*LEASE, self.namespace)
        lease["spec"]["holderIdentity"] = ""
        self.client.replace(lease)

    def create(self, name: str, **sections: Mapping[str, Any]) -> None:
        """A new Experiment."""
        self.client.create(experiment(name, self.namespace, **sections))

    def find(self, name: str) -> dict[str, Any]:
        """An Experiment, {} when it is gone."""
        return self.client.find(API, "Experiment", name, self.namespace) or {}

    def trials(self, name: str) -> list[dict[str, Any]]:
        """Its Trials, by index."""
        found = self.client.list(API, "Trial", self.namespace, labels=f"trimtab.dev/experiment={name}")
        return sorted(found, key=lambda t: int(t["spec"]["index"]))

    def wait_ended(self, name: str, seconds: float = 60.0) -> dict[str, Any]:
        """Wait for the Experiment's end."""

        def ended() -> dict[str, Any] | None:
            found = self.find(name)
            return found if (found.get("status") or {}).get("phase") in ENDED else None

        return wait_for(ended, f"Experiment {name} to end", seconds=seconds)

    def wait_trial(self, name: str, phases: frozenset[str], seconds: float = 40.0) -> dict[str, Any]:
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

    def wait_nothing_left(self, seconds: float = 20.0) -> None:
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

    def remove(self, name: str, seconds: float = 20.0) -> None:
        """Delete an Experiment and wait until its Trials and its target lock are gone with it."""
        with contextlib.suppress(ApiError):
            self.client.delete(API, "Experiment", name, self.namespace)

        def gone() -> bool:
            locks = [i["metadata"]["name"] for i in self.client.list(*LEASE[:2], self.namespace)]
            return not self.find(name) and not self.trials(name) and all(n == LEASE[2] for n in locks)

        wait_for(gone, f"Experiment {name} and what it owns to be gone", seconds=seconds)

    def target(self) -> dict[str, Any]:
        """What must not change of the target while it is tuned."""
        found = self.stack.target()
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
        lines += [operator.component.tail(LOG_LINES) for operator in self._operators[-2:]]
        return "\n".join(lines)


def phase_of(trial: Mapping[str, Any]) -> str:
    """A Trial's phase."""
    return str((trial.get("status") or {}).get("phase", "Pending"))


@contextlib.contextmanager
def live_stack(
    plane: ControlPlane, directory: Path, name: str, *, replicas: int = REPLICAS, load: int = LOAD
) -> Iterator[Live]:
    """A stack with a day of the service's past in a namespace of its own, and no operator running."""
    directory.mkdir(parents=True, exist_ok=True)
    workload = yaml.safe_load((EXAMPLES / "web-service" / "workload.yaml").read_text())
    workload["load"]["requestsPerSecond"] = load
    path = directory / "workload.yaml"
    path.write_text(yaml.safe_dump(workload))
    namespace = f"{name}-{secrets.token_hex(3)}"
    options = StackOptions(namespace=namespace, days=1.0, replicas=replicas, workload=path)
    try:
        with Stack(plane, directory / "stack", options) as stack:
            live = Live(stack)
            live.kill_operators()
            try:
                yield live
            finally:
                live.kill_operators()
    finally:
        _drop(plane.client, namespace)


def _drop(client: ApiClient, namespace: str) -> None:
    """Delete a namespace in which neither an operator nor a kubelet is left to let go of anything."""
    with contextlib.suppress(ApiError):
        for kind in ("Experiment", "Trial"):
            for found in client.list(API, kind, namespace):
                if found["metadata"].get("finalizers"):
                    body = {"metadata": {"finalizers": None}}
                    client.patch(API, kind, found["metadata"]["name"], body, namespace)
        client.delete("v1", "Namespace", namespace)
        client.delete_all("v1", "Pod", namespace, grace=0)
