"""One namespace in which Experiments are tried, seen through an administrator's eyes: what a test waits for and checks.

Every wait has a deadline, long enough for a machine that is busy with something else, and says what it last saw.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from controlplane import ApiClient, ApiError, wait_for

API = "trimtab.dev/v1alpha1"
ARM = "trimtab.dev/arm"
TRIAL_UID = "trimtab.dev/trial"
TERMINAL = frozenset({"Succeeded", "Infeasible", "Inconclusive", "Aborted", "Stale", "InfraFailed"})
MEASURING = frozenset({"WarmingUp", "Measuring"})
LAYERS = (
    ("apps/v1", "Deployment"),
    ("apps/v1", "ReplicaSet"),
    ("v1", "Pod"),
    ("v1", "Service"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
)
Obj = dict[str, Any]


class Place:
    """A namespace with a workload; `target` is the name of the Deployment under tuning.

    Whoever changes the workload for good, or its past in Prometheus, sets `spoiled`: nobody should use it afterwards.
    """

    def __init__(self, client: ApiClient, namespace: str, target: str = "web") -> None:
        self.client, self.namespace, self.target_name = client, namespace, target
        self.spoiled = False

    # Experiments

    def create(self, manifest: Mapping[str, Any]) -> Obj:
        """Create an Experiment here."""
        return self.client.create({**manifest, "metadata": {**manifest["metadata"], "namespace": self.namespace}})

    def experiment(self, name: str) -> Obj:
        """The Experiment as it is now."""
        return self.client.get(API, "Experiment", name, self.namespace)

    def status(self, name: str) -> Obj:
        """Its status, empty before the operator has seen it."""
        return self.experiment(name).get("status") or {}

    def condition(self, name: str, kind: str) -> Obj:
        """One condition, empty when it is not there."""
        conditions = self.status(name).get("conditions") or []
        return next((c for c in conditions if c["type"] == kind), {})

    def wait_condition(
        self, name: str, kind: str, status: str = "True", reason: str | None = None, *, seconds: float = 60.0
    ) -> str:
        """Wait until a condition has this status (and reason); returns its message."""

        def look() -> Obj | None:
            found = self.condition(name, kind)
            return found if found.get("status") == status and reason in {None, found.get("reason")} else None

        wanted = f"{kind}={status}" + (f" ({reason})" if reason else "")
        return str(wait_for(look, f"{wanted} on {name}", seconds=seconds)["message"])

    def wait_phase(self, name: str, *phases: str, seconds: float = 60.0) -> Obj:
        """Wait for a phase of the Experiment; returns its status."""

        def look() -> Obj | None:
            status = self.status(name)
            return status if status.get("phase") in phases else None

        return wait_for(look, f"{name} to be {' or '.join(phases)}", seconds=seconds)

    def wait_message(self, name: str, message: str, *, seconds: float = 60.0) -> None:
        """Wait until the Experiment says exactly this."""
        wait_for(lambda: self.status(name).get("message") == message, f"{name} to say {message!r}", seconds=seconds)

    def patch(self, name: str, body: Mapping[str, Any]) -> Obj:
        """Merge-patch the Experiment."""
        return self.client.patch(API, "Experiment", name, body, self.namespace)

    def annotate(self, name: str, key: str, value: str | None) -> None:
        """Set an on-call annotation by the part of its key after the slash, or remove it."""
        self.patch(name, {"metadata": {"annotations": {f"trimtab.dev/{key}": value}}})

    def wait_handled(self, name: str, key: str, value: str | None = None, *, seconds: float = 30.0) -> str:
        """Wait until an annotation is acknowledged; returns the answer."""

        def look() -> Obj | None:
            handled = self.status(name).get("handledRequests") or []
            mine = (h for h in handled if h["annotation"] == f"trimtab.dev/{key}" and value in {None, h["value"]})
            return next(mine, None)

        return str(wait_for(look, f"{key} on {name} to be acknowledged", seconds=seconds)["answer"])

    def delete(self, name: str) -> None:
        """Ask for the Experiment's deletion."""
        self.client.delete(API, "Experiment", name, self.namespace)

    def wait_deleted(self, name: str, *, seconds: float = 60.0) -> None:
        """Wait until the Experiment is gone and nothing of it is left."""
        gone = lambda: self.client.find(API, "Experiment", name, self.namespace) is None  # noqa: E731
        wait_for(gone, f"Experiment {name} to be gone", seconds=seconds)
        self.wait_clean(seconds=seconds)

    # Trials

    def trials(self, name: str) -> list[Obj]:
        """The Trials of an Experiment in their order."""
        found = [t for t in self.client.list(API, "Trial", self.namespace) if t["spec"]["experiment"]["name"] == name]
        return sorted(found, key=lambda t: int(t["spec"]["index"]))

    def wait_live(self, name: str, phases: Iterable[str] = MEASURING, *, seconds: float = 90.0, after: int = -1) -> Obj:
        """Wait for a live Trial in one of these phases, with an index above `after`."""
        wanted = frozenset(phases)

        def look() -> Obj | None:
            mine = (t for t in self.trials(name) if t["spec"]["index"] > after and phase_of(t) in wanted)
            return next(mine, None)

        return wait_for(look, f"a trial of {name} in {', '.join(sorted(wanted))}", seconds=seconds)

    def wait_outcome(self, trial: Mapping[str, Any], *, seconds: float = 60.0) -> Obj:
        """Wait for a Trial's end; returns its outcome: phase, reason, message."""
        name = trial["metadata"]["name"]

        def look() -> Obj | None:
            found = self.client.get(API, "Trial", name, self.namespace)
            return found["status"]["outcome"] if phase_of(found) in TERMINAL else None

        return wait_for(look, f"Trial {name} to end", seconds=seconds)

    # The cluster around them

    def target(self) -> Obj:
        """The Deployment under tuning."""
        return self.client.get("apps/v1", "Deployment", self.target_name, self.namespace)

    def arms(self) -> list[str]:
        """Everything of any trial that is in the cluster, as Kind/name."""
        return [
            f"{kind}/{found['metadata']['name']}"
            for version, kind in LAYERS
            for found in self.client.list(version, kind, self.namespace, labels=ARM)
        ]

    def arm(self, trial: Mapping[str, Any], arm: str) -> Obj | None:
        """The Deployment of one arm of a Trial."""
        labels = f"{ARM}={arm},{TRIAL_UID}={trial['metadata']['uid']}"
        found = self.client.list("apps/v1", "Deployment", self.namespace, labels=labels)
        return found[0] if found else None

    def leftovers(self) -> list[str]:
        """What must not be there when nothing runs: arms, finalizers, held locks."""
        found = self.arms()
        for kind in ("Experiment", "Trial"):
            for obj in self.client.list(API, kind, self.namespace):
                if obj["metadata"].get("finalizers"):
                    found.append(f"finalizer on {kind}/{obj['metadata']['name']}")
        return found + [f"lock {lease['metadata']['name']}" for lease in self.locks()]

    def locks(self) -> list[Obj]:
        """Target locks that an Experiment holds; one whose holder is gone is free, and the garbage collector's."""
        present = {e["metadata"]["uid"] for e in self.client.list(API, "Experiment", self.namespace)}
        leases = self.client.list("coordination.k8s.io/v1", "Lease", self.namespace)
        ours = (lease for lease in leases if lease["metadata"]["name"].startswith("trimtab-target-"))
        return [lease for lease in ours if lease["spec"].get("holderIdentity") in present]

    def wait_no_arms(self, *, seconds: float = 60.0) -> None:
        """Wait until no arm is left."""
        wait_for(lambda: not self.arms() or None, "all arms to be gone", seconds=seconds)

    def wait_clean_but_locked(self, *, seconds: float = 60.0) -> None:
        """Wait until no arm and no finalizer is left; an Experiment that stands still keeps its target's lock."""
        self.wait_clean(seconds=seconds, but="lock ")

    def wait_clean(self, *, seconds: float = 60.0, but: str = "\0") -> None:
        """Wait until nothing is left: no arms, no finalizers, no lock."""

        def look() -> bool:
            seen[:] = [one for one in self.leftovers() if not one.startswith(but)]
            return not seen

        seen: list[str] = []
        try:
            wait_for(look, "nothing to be left behind", seconds=seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}: {', '.join(seen)}") from None

    def events(self, reason: str | None = None) -> list[Obj]:
        """Events about Experiments, with this reason."""
        found = self.client.list("events.k8s.io/v1", "Event", self.namespace)
        return [e for e in found if e["regarding"]["kind"] == "Experiment" and reason in {None, e["reason"]}]

    def wait_event(self, reason: str, text: str = "", *, seconds: float = 30.0) -> Obj:
        """Wait for an Event whose note contains the text."""

        def look() -> Obj | None:
            return next((e for e in self.events(reason) if text in e["note"]), None)

        return wait_for(look, f"an Event {reason} with {text!r}", seconds=seconds)

    def report(self) -> str:
        """All Experiments' statuses, Trials and leftovers, for the message of a failed test."""
        lines: list[str] = []
        try:
            for found in self.client.list(API, "Experiment", self.namespace):
                lines.append(f"Experiment {found['metadata']['name']}: {json.dumps(found.get('status'), indent=1)}")
                trials = self.trials(found["metadata"]["name"])
                lines += [f"  {t['metadata']['name']} {json.dumps(t.get('status'))[:1500]}" for t in trials]
            lines += [f"Event {e['type']} {e['reason']}: {e['note']}" for e in self.events()]
            lines.append(f"left: {', '.join(self.leftovers()) or 'nothing'}")
        except ApiError as error:
            lines.append(f"(not readable: {error})")
        return "\n".join(lines)


def phase_of(trial: Mapping[str, Any]) -> str:
    """A Trial's phase."""
    return str((trial.get("status") or {}).get("phase", "Pending"))


def untouchable(deployment: Mapping[str, Any]) -> Obj:
    """What of a target must never change by trials: spec, labels, annotations, and so its generation."""
    metadata = deployment["metadata"]
    return {
        "spec": deployment["spec"],
        "labels": metadata.get("labels") or {},
        "annotations": metadata.get("annotations") or {},
        "generation": metadata["generation"],
    }
