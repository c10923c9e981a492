"""A whole Experiment: the target stays as it is until a pipeline applies the recommendation."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from tests.cluster.operator.support import NAME, experiment

from controlplane import wait_for
from stack import Place, Stack
from stack.place import Obj, untouchable

TARGET_REPLICAS = 20  # with few, arms see much less load than the target, and the model rightly dares nothing
SHORT = {"warmUp": "1s", "duration": "6s", "deadline": "60s"}


@dataclass(frozen=True)
class Finished:
    """A completed Experiment, and what the target was before it."""

    place: Place
    before: Obj
    waited: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def finished(stack: Stack, free_places: list[str]) -> Finished:
    """Five trials and a verification; `kubectl wait` waits for them from the very beginning."""
    place = Place(stack.plane.client, free_places.pop())
    before = untouchable(place.target())
    stopping = {"maxTrials": 5}
    verification = {"duration": "6s", "replicates": 1}
    place.create(experiment(trial=SHORT, stopping=stopping, verification=verification, search={"initialTrials": 3}))
    arguments = ["wait", "--for=condition=RecommendationReady", f"experiments.trimtab.dev/{NAME}", "--timeout=480s"]
    waited = kubectl(stack, place, *arguments)
    try:
        place.wait_phase(NAME, "Completed", seconds=30)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{waited.stderr}\n{place.report()}") from None
    return Finished(place, before, waited)


def kubectl(stack: Stack, place: Place, *arguments: str, check: bool = False) -> subprocess.CompletedProcess[str]:
    """kubectl as an administrator in the place."""
    command = [str(stack.plane.kubectl), "--kubeconfig", str(stack.plane.kubeconfig()), "-n", place.namespace]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, check=check)


def test_kubectl_wait_returns(finished: Finished) -> None:
    assert finished.waited.returncode == 0, finished.waited.stderr
    assert "condition met" in finished.waited.stdout
    ready = finished.place.condition(NAME, "RecommendationReady")
    assert ready["reason"] == "Verified", finished.place.report()
    assert "saves" in ready["message"]
    assert "per hour" in ready["message"]


def test_the_target_is_untouched_and_nothing_is_left(finished: Finished) -> None:
    assert untouchable(finished.place.target()) == finished.before
    finished.place.wait_clean()


def test_its_columns_show_a_person_how_it_went(stack: Stack, finished: Finished) -> None:
    shown = kubectl(stack, finished.place, "get", "experiments.trimtab.dev", NAME, check=True).stdout
    header, row = shown.splitlines()
    assert header.split()[:5] == ["NAME", "TARGET", "PHASE", "TRIALS", "SAVING"]
    assert row.split()[:4] == [NAME, "web", "Completed", "5/5"]


def test_only_its_own_digest_is_approved(finished: Finished) -> None:
    place = finished.place
    digest = place.status(NAME)["recommendation"]["digest"]
    place.annotate(NAME, "approve", "000000000000")
    assert digest in place.wait_handled(NAME, "approve", "000000000000")
    assert place.wait_event("ApproveRefused", digest)["type"] == "Warning"
    assert not place.status(NAME)["recommendation"]["approved"]
    place.annotate(NAME, "approve", digest)
    assert place.wait_handled(NAME, "approve", digest) == f"recommendation {digest} approved"
    assert place.status(NAME)["recommendation"]["approved"]


def test_its_patch_is_applied_by_kustomize_and_seen(stack: Stack, finished: Finished, tmp_path: Path) -> None:
    place = finished.place
    name = place.status(NAME)["recommendation"]["configMap"]
    data = place.client.get("v1", "ConfigMap", name, place.namespace)["data"]
    answer = json.loads(data["recommendation.json"])
    assert answer["verified"]
    assert answer["costPerHourAfter"] < answer["costPerHourBefore"]
    kustomization = yaml.safe_load(data["kustomization.yaml"])
    base = {"apiVersion": "apps/v1", "kind": "Deployment", **_manifest(place)}
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(base))
    (tmp_path / "patch.yaml").write_text(data["patch.yaml"])
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump({**kustomization, "resources": ["base.yaml"]}))
    built = yaml.safe_load(kubectl(stack, place, "kustomize", str(tmp_path), check=True).stdout)
    (container,) = built["spec"]["template"]["spec"]["containers"]
    wanted = {value["name"]: value["value"] for value in place.status(NAME)["recommendation"]["assignment"]}
    assert container["resources"]["requests"] == wanted
    (tmp_path / "built.yaml").write_text(yaml.safe_dump(built))
    kubectl(stack, place, "apply", "-f", str(tmp_path / "built.yaml"), check=True)
    message = place.wait_condition(NAME, "Promoted", reason="SeenOnTarget", seconds=90)
    assert "the target runs the recommended values" in message
    place.delete(NAME)
    place.wait_deleted(NAME)
    wait_for(lambda: place.client.find("v1", "ConfigMap", name, place.namespace) is None, "the ConfigMap to be gone")


def _manifest(place: Place) -> Obj:
    """The target as its owner has it in git: metadata and spec, without what the server added."""
    target = place.target()
    metadata = {key: target["metadata"][key] for key in ("name", "namespace", "labels")}
    return {"metadata": metadata, "spec": target["spec"]}
