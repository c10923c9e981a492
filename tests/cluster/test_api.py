"""The API as a user meets it: the real API server's answer to good and bad manifests, and to forbidden changes."""

from __future__ import annotations

import copy
import subprocess
from typing import Any

import pytest
from tests.cluster.manifests import table
from tests.cluster.manifests.mutations import mutated

from controlplane import ApiClient, ApiError, ControlPlane
from trimtab.api.convert import (
    experiment_record,
    experiment_status,
    same_trial,
    trial_manifest,
    trial_record,
    trial_status,
)
from trimtab.api.lint import Level, lint
from trimtab.domain.state import ExperimentState
from trimtab.domain.trial import Environment, Purpose, Suggestion, TrialPhase
from trimtab.ports import ExperimentRecord, NewTrial

GROUP_VERSION = "trimtab.dev/v1alpha1"
GOOD, BAD = table.good(), table.bad()
UNSUPPORTED = {  # valid manifests that this version refuses by a condition, with the first field it names
    "complete": "spec.trial.parallel",
}
# where the schema itself refuses, lint has better words than the API server
SCHEMA_WORDS = (
    "must be a string",
    "must be a whole number",
    "must be true or false",
    "must be an object",
    "must be a time",
    "must be at least",
    "must be at most",
    "is required",
    "needs at least",
    "may have at most",
    "unsupported value",
    "unknown field",
    "Duplicate value",
)
UNSUPPORTED_HERE = "not supported by this version"
# dearer than a schema's rules may be: the operator says these as a condition, and lint does
NOT_IN_SCHEMA = (
    "has no price of",
    "which no nodeSelector parameter chooses",
    "both choose nodes",
    "is no bound: ",
)

Manifest = dict[str, Any]


@pytest.fixture(scope="session")
def served(controlplane: ControlPlane) -> ApiClient:
    """A client of a control plane that serves our definitions."""
    return controlplane.client


@pytest.fixture
def created(served: ApiClient, namespace: str) -> ExperimentRecord:
    """An Experiment of one bound, created."""
    return experiment_record(create(served, namespace, GOOD["one-bound"]))


def create(client: ApiClient, namespace: str, manifest: Manifest) -> Manifest:
    return table.submit(client, namespace, manifest, dry_run=False)


def read(client: ApiClient, record: ExperimentRecord) -> Manifest:
    return client.get(GROUP_VERSION, "Experiment", record.name, record.namespace)


class TestTables:
    def test_there_are_enough_and_the_shortest_is_short(self) -> None:
        assert len(BAD) >= 50
        assert len({case.id for case in BAD}) == len(BAD)
        assert len(GOOD) >= 10
        assert len(table.SHORTEST.read_text().splitlines()) <= 15

    def test_every_bad_manifest_is_refused_with_exactly_its_message(self, served: ApiClient, namespace: str) -> None:
        wrong = {
            case.id: (case.message, answer)
            for case in BAD
            if sentences(answer := table.answer_of(served, namespace, case.manifest)) != sentences(case.message)
        }
        assert wrong == {}

    @pytest.mark.parametrize("case", BAD, ids=lambda case: case.id)
    def test_lint_says_the_same_without_a_cluster(self, case: table.Case) -> None:
        errors = [finding for finding in lint(case.manifest) if finding.level is Level.ERROR]
        assert errors
        for finding in errors:
            assert finding.remedy
            assert finding.field in case.message
            said = f"{finding.problem}; {finding.remedy}" in case.message
            assert said or finding.problem.startswith(SCHEMA_WORDS), str(finding)

    @pytest.mark.parametrize("name", GOOD)
    def test_every_good_manifest_is_accepted(self, served: ApiClient, namespace: str, name: str) -> None:
        stored = create(served, namespace, GOOD[name])
        mine, theirs = copy.deepcopy(GOOD[name]), copy.deepcopy(stored)
        mine["metadata"] |= {
            key: stored["metadata"][key] for key in ("namespace", "uid", "resourceVersion", "creationTimestamp")
        }
        expected = UNSUPPORTED.get(name, "")
        record = experiment_record(theirs)
        assert record.problem.startswith(expected)
        assert record.problem_reason == ("NotYetSupported" if expected else "")
        # the defaults that the server fills in are those of the operator
        assert record.spec == experiment_record(mine).spec
        assert {f.field for f in lint(GOOD[name]) if f.level is Level.ERROR} == {
            f.field for f in lint(theirs) if f.level is Level.ERROR
        }
        assert bool(expected) == any(f.level is Level.ERROR for f in lint(theirs))

    @pytest.mark.parametrize("name", GOOD)
    def test_lint_and_the_server_agree_on_random_mistakes(self, served: ApiClient, namespace: str, name: str) -> None:
        for seed in range(40):
            manifest = mutated(GOOD[name], seed)
            errors = [f for f in lint(manifest) if f.level is Level.ERROR and f.problem != UNSUPPORTED_HERE]
            found = [f for f in errors if not any(words in f.problem for words in NOT_IN_SCHEMA)]
            answer = table.answer_of(served, namespace, manifest)
            assert bool(found) == bool(answer), f"seed {seed}: lint {found}, server {answer!r}"


def sentences(message: str) -> tuple[str, frozenset[str]]:
    """The server lists several errors in no particular order."""
    start, bracket, rest = message.partition("[")
    return (start, frozenset(rest.removesuffix("]").split(", "))) if bracket else (message, frozenset())


def begun(client: ApiClient, record: ExperimentRecord, trials: int = 1) -> Manifest:
    """The Experiment with that many trials on record."""
    manifest = read(client, record)
    manifest["status"] = experiment_status(record, ExperimentState(trials_created=trials, trials_counted=trials))
    return client.replace(manifest, subresource="status")


FROZEN_CHANGES: dict[str, tuple[str, Any]] = {
    "parameters": ("spec.parameters[0].quantity.max", "3"),
    "parameterConstraints": (
        "spec.parameterConstraints",
        [{"name": "o", "order": {"lower": "cpu", "upper": "memory"}}],
    ),
    "slis": ("spec.slis[0].preset.threshold", "0.5"),
    "objectives": ("spec.objectives[0].name", "money"),
    "prices": ("spec.prices.cpuCoreHour", "0.05"),
    "traffic": ("spec.traffic.shareServiceLabels", True),
    "canary": ("spec.canary.replicas", 2),
    "telemetry": ("spec.telemetry", {"store": "long-term"}),
}
EDITABLE_CHANGES: dict[str, tuple[str, Any]] = {
    "mode": ("spec.mode", "Observe"),
    "paused": ("spec.paused", True),
    "constraints": ("spec.constraints[0].max", "0.1"),
    "errorBudgets": ("spec.errorBudgets", [{"name": "slow", "sli": "slow", "objectivePercent": "99"}]),
    "stopping": ("spec.stopping.maxTrials", 50),
    "schedule": ("spec.schedule", {"timeZone": "UTC"}),
    "safety": ("spec.safety.checkInterval", "5s"),
    "verification": ("spec.verification.replicates", 1),
    "promotion": ("spec.promotion.bake", "2h"),
}


class TestExperimentRules:
    @pytest.mark.parametrize("field", [*FROZEN_CHANGES, *EDITABLE_CHANGES])
    def test_everything_but_the_target_may_change_before_the_first_trial(
        self, served: ApiClient, created: ExperimentRecord, field: str
    ) -> None:
        path, value = (FROZEN_CHANGES | EDITABLE_CHANGES)[field]
        served.replace(table.changed(read(served, created), {path: value}, []), dry_run=True)

    @pytest.mark.parametrize("field", FROZEN_CHANGES)
    def test_frozen_once_a_trial_exists(self, served: ApiClient, created: ExperimentRecord, field: str) -> None:
        manifest = begun(served, created)
        path, value = FROZEN_CHANGES[field]
        with pytest.raises(ApiError) as refused:
            served.replace(table.changed(manifest, {path: value}, []))
        assert refused.value.message == (
            f'Experiment.trimtab.dev "checkout" is invalid: spec.{field}: Invalid value: spec.{field} is frozen once a '
            "trial exists; create a new Experiment with warmStart.experimentRef instead"
        )

    @pytest.mark.parametrize("field", EDITABLE_CHANGES)
    def test_the_rest_stays_editable(self, served: ApiClient, created: ExperimentRecord, field: str) -> None:
        path, value = EDITABLE_CHANGES[field]
        served.replace(table.changed(begun(served, created), {path: value}, []), dry_run=True)

    def test_the_target_never_changes(self, served: ApiClient, created: ExperimentRecord) -> None:
        with pytest.raises(ApiError) as refused:
            served.replace(table.changed(read(served, created), {"spec.targetRef.name": "other"}, []))
        assert refused.value.message == (
            'Experiment.trimtab.dev "checkout" is invalid: spec.targetRef: Invalid value: targetRef is immutable; '
            "create a new Experiment for another target"
        )

    @pytest.mark.parametrize(
        "status", [None, {"trialsCreated": 1}, {"phase": "Running"}, {"trialsCreated": None}], ids=str
    )
    def test_the_count_of_trials_never_shrinks(
        self, served: ApiClient, created: ExperimentRecord, status: Manifest | None
    ) -> None:
        begun(served, created, trials=2)
        patch = {"status": status if status is None else {"trialsCreated": None} | status}
        with pytest.raises(ApiError) as refused:
            served.patch(GROUP_VERSION, "Experiment", created.name, patch, created.namespace, subresource="status")
        assert refused.value.message == (
            'Experiment.trimtab.dev "checkout" is invalid: <nil>: Invalid value: status.trialsCreated never shrinks: '
            "it says which Trials must exist; restore status instead"
        )
        assert read(served, created)["status"]["trialsCreated"] == 2

    def test_the_freeze_cannot_be_lifted_by_dropping_the_status(
        self, served: ApiClient, created: ExperimentRecord
    ) -> None:
        manifest = begun(served, created)
        del manifest["status"]
        with pytest.raises(ApiError, match="is frozen once a trial exists"):
            served.replace(table.changed(manifest, {"spec.canary.replicas": 2}, []))

    def test_a_status_is_written_without_the_spec(self, served: ApiClient, created: ExperimentRecord) -> None:
        body = read(served, created)
        del body["spec"]
        body["status"] = experiment_status(created, ExperimentState(trials_created=4))
        assert served.replace(body, subresource="status")["spec"]["targetRef"]["name"] == "checkout"


class TestServerSideApply:
    def test_an_own_objective_replaces_the_default_one(self, served: ApiClient, namespace: str) -> None:
        manifest = copy.deepcopy(GOOD["one-bound"])
        manifest["metadata"]["namespace"] = namespace
        assert served.server_side_apply(manifest, "me")["spec"]["objectives"][0]["name"] == "cost"
        manifest["spec"]["objectives"] = [{"name": "money", "builtin": "ResourceCost"}]
        names = [o["name"] for o in served.server_side_apply(manifest, "me")["spec"]["objectives"]]
        assert names == ["money"]

    def test_what_is_no_longer_applied_falls_back_to_its_default(self, served: ApiClient, namespace: str) -> None:
        manifest = copy.deepcopy(GOOD["one-bound"])
        manifest["metadata"]["namespace"] = namespace
        manifest["spec"]["trial"] = {"duration": "5m"}
        assert served.server_side_apply(manifest, "me")["spec"]["trial"]["duration"] == "5m"
        del manifest["spec"]["trial"]
        assert served.server_side_apply(manifest, "me")["spec"]["trial"]["duration"] == "10m"


@pytest.fixture
def trial(served: ApiClient, created: ExperimentRecord) -> Manifest:
    """A Trial of that Experiment, created."""
    assert created.spec is not None
    values = created.spec.space.parse({"cpu": "500m", "memory": "768Mi"})
    suggestion = Suggestion(values, Purpose.SEARCH, 7, True, 0.97, 1.0, (), "digest", 0.1, 0.2, "cheaper")
    environment = Environment("hash", "uid", "image", 4, "v1.36.3")
    body = trial_manifest(created, NewTrial(1, suggestion, environment, created.spec.digest, 0.25))
    stored = served.create(body)
    assert same_trial(stored, body)
    return stored


def finish(client: ApiClient, trial: Manifest, phase: str) -> Manifest:
    return client.replace({**trial, "status": {"phase": phase}}, subresource="status")


def change_status(client: ApiClient, trial: Manifest, status: Any) -> Manifest:
    metadata = trial["metadata"]
    return client.patch(
        GROUP_VERSION, "Trial", metadata["name"], {"status": status}, metadata["namespace"], subresource="status"
    )


class TestTrialRules:
    @pytest.mark.parametrize("phase", [phase.value for phase in TrialPhase if phase.terminal])
    @pytest.mark.parametrize("status", [None, {"phase": "Pending"}, {"extended": True}, {"phase": None}], ids=str)
    def test_a_finished_status_never_changes(
        self, served: ApiClient, trial: Manifest, phase: str, status: Manifest | None
    ) -> None:
        done, name = finish(served, trial, phase), trial["metadata"]["name"]
        with pytest.raises(ApiError) as refused:
            change_status(served, done, status)
        assert refused.value.message == (
            f'Trial.trimtab.dev "{name}" is invalid: status: Invalid value: status of a finished Trial never changes; '
            "it is a row of a ledger"
        )

    def test_a_finished_trial_can_still_lose_its_finalizer_and_go(self, served: ApiClient, trial: Manifest) -> None:
        done = finish(served, trial, "Succeeded")
        freed = served.replace({**done, "metadata": done["metadata"] | {"finalizers": []}})
        metadata = freed["metadata"]
        served.delete(GROUP_VERSION, "Trial", metadata["name"], metadata["namespace"])
        assert served.find(GROUP_VERSION, "Trial", metadata["name"], metadata["namespace"]) is None

    @pytest.mark.parametrize("phase", [phase.value for phase in TrialPhase if not phase.terminal])
    def test_a_live_status_changes(self, served: ApiClient, trial: Manifest, phase: str) -> None:
        live = finish(served, trial, phase)
        assert change_status(served, live, {"phase": "Aborted"})["status"]["phase"] == "Aborted"

    @pytest.mark.parametrize(
        ("path", "value"),
        [
            ("spec.seed", 8),
            ("spec.assignment[0].value", "600m"),
            ("spec.cost", 0.3),
            ("spec.suggestion.byModel", False),
        ],
    )
    def test_the_spec_never_changes(self, served: ApiClient, trial: Manifest, path: str, value: Any) -> None:
        with pytest.raises(ApiError, match="spec of a Trial is immutable; it is a row of a ledger"):
            served.replace(table.changed(trial, {path: value}, []))

    def test_the_spec_cannot_be_removed(self, served: ApiClient, trial: Manifest) -> None:
        with pytest.raises(ApiError, match="spec: Required value"):
            served.replace({key: value for key, value in trial.items() if key != "spec"})

    def test_what_is_stored_reads_back(self, served: ApiClient, trial: Manifest) -> None:
        row = trial_record(trial)
        stored = served.replace({**trial, "status": trial_status(row)}, subresource="status")
        assert trial_status(trial_record(stored)) == trial_status(row)
        assert stored["status"] == trial_status(row)


class TestKubectl:
    def kubectl(self, plane: ControlPlane, namespace: str, *arguments: str) -> str:
        command = [str(plane.kubectl), f"--kubeconfig={plane.kubeconfig()}", f"--namespace={namespace}", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout

    def test_columns(
        self, controlplane: ControlPlane, served: ApiClient, created: ExperimentRecord, trial: Manifest
    ) -> None:
        begun(served, created, trials=7)
        finish(served, trial, "Stale")
        shown = self.kubectl(controlplane, created.namespace, "get", "tune").splitlines()
        assert shown[0].split() == ["NAME", "TARGET", "PHASE", "TRIALS", "SAVING", "SLO", "BUDGET", "MESSAGE", "AGE"]
        assert shown[1].split()[:4] == ["checkout", "checkout", "Pending", "7/40"]
        wide = self.kubectl(controlplane, created.namespace, "get", "tune", "-o", "wide").splitlines()
        assert wide[0].split()[-1] == "ACTIVE"
        rows = self.kubectl(controlplane, created.namespace, "get", "tunetrial").splitlines()
        assert rows[0].split() == ["NAME", "EXPERIMENT", "PURPOSE", "PHASE", "ASSIGNMENT", "REASON", "AGE"]
        assert "checkout" in rows[1]
        assert "cpu=500m memory=768Mi" in rows[1]

    def test_category(self, controlplane: ControlPlane, created: ExperimentRecord) -> None:
        assert "experiment.trimtab.dev/checkout" in self.kubectl(
            controlplane, created.namespace, "get", "trimtab", "-o", "name"
        )

    @pytest.mark.usefixtures("served")
    def test_explain(self, controlplane: ControlPlane, namespace: str) -> None:
        text = self.kubectl(controlplane, namespace, "explain", "experiments.spec.safety.staleAfter")
        assert "withdrawn" in text
