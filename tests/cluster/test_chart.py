"""The chart on a real API server: it is accepted, it grants what the operator needs, and its policies hold."""

from __future__ import annotations

import contextlib
import copy
import functools
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from controlplane import ApiClient, ApiError, ControlPlane, binaries, wait_for
from controlplane.client import Forbidden, Invalid, NotFound
from stack.jobs import NOBODYS, JobPods, start
from trimtab.runtime.reap import EXIT_LEFT, EXIT_UNUSABLE

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "trimtab"
URL = "http://prometheus.monitoring:9090"
USER = "system:serviceaccount:{namespace}:trimtab"
CLUSTER_WIDE = ("ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy", "ClusterRoleBinding", "ClusterRole")
Obj = dict[str, Any]


@functools.cache
def helm() -> Path:
    return binaries(["helm"])["helm"]


def render(namespace: str, **values: Any) -> list[Obj]:
    """The chart's objects."""
    text = yaml.safe_dump({"prometheus": {"url": URL}, **values})
    command = [str(helm()), "template", "trimtab", str(CHART), "--namespace", namespace, "--values", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


@pytest.fixture(scope="session")
def served(controlplane: ControlPlane) -> ApiClient:
    """A client of a control plane that serves our definitions."""
    controlplane.apply_crds(CHART / "crds")
    return controlplane.client


VARIANTS: list[dict[str, Any]] = [
    {"scope": "Cluster"},
    {"scope": "Namespace"},
    {
        "scope": "Cluster",
        "replicas": 2,
        "prometheus": {"url": URL, "tokenSecret": {"name": "prometheus", "key": "bearer"}},
        "networkPolicy": {"enabled": True, "metricsFrom": [{"namespaceSelector": {}}]},
        "image": {"repository": "trimtab", "digest": "sha256:" + "a" * 64},
        "extraEnv": [{"name": "TRIMTAB_WORKERS", "value": "8"}],
    },
]


@pytest.mark.parametrize("values", VARIANTS, ids=["cluster", "namespace", "options"])
def test_the_server_accepts_every_object(served: ApiClient, namespace: str, values: Mapping[str, Any]) -> None:
    for document in render(namespace, **values):
        served.create(document, dry_run=True)
        assert served.warnings == [], document["kind"]


def test_the_pod_is_admitted_where_pod_security_is_restricted(served: ApiClient, namespace: str) -> None:
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    served.patch("v1", "Namespace", namespace, {"metadata": {"labels": labels}})
    objects = render(namespace)
    for account in (o for o in objects if o["kind"] == "ServiceAccount"):
        served.create(account)
    specs = {o["kind"]: o["spec"] for o in objects if o["kind"] in {"Deployment", "CronJob", "Job"}}
    specs["CronJob"] = specs["CronJob"]["jobTemplate"]["spec"]
    assert set(specs) == {"Deployment", "CronJob", "Job"}
    for kind, spec in specs.items():
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": kind.lower(), "namespace": namespace},
            "spec": spec["template"]["spec"],
        }
        served.create(pod, dry_run=True)
        assert served.warnings == [], kind
    privileged = copy.deepcopy(pod)
    privileged["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    with pytest.raises(Forbidden, match="violates PodSecurity"):
        served.create(privileged, dry_run=True)


def test_helm_installs_upgrades_and_removes_it_without_a_trace(
    controlplane: ControlPlane, served: ApiClient, namespace: str, tmp_path: Path
) -> None:
    place = {name: str(tmp_path / name) for name in ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME")}
    environment = os.environ | place | {"KUBECONFIG": str(controlplane.kubeconfig())}
    release = ["trimtab", "--namespace", namespace]

    def run(*arguments: str) -> str:
        done = subprocess.run([str(helm()), *arguments], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    unplayed = [f"nodeSelector.{key.replace('.', chr(92) + '.')}={value}" for key, value in NOBODYS.items()]
    values = ["--set", f"prometheus.url={URL}", "--set", ",".join(unplayed)]
    run("install", *release[:1], str(CHART), *release[1:], *values, "--skip-crds")
    run("upgrade", *release[:1], str(CHART), *release[1:], "--reuse-values", "--set", "replicas=2")
    assert served.get("apps/v1", "Deployment", "trimtab", namespace)["spec"]["replicas"] == 2
    notes = run("get", "notes", *release)
    assert f"kubectl --namespace {namespace} rollout status deployment/trimtab" in notes
    definitions = [d for d in yaml.safe_load_all(run("show", "crds", str(CHART))) if d]
    assert {d["metadata"]["name"] for d in definitions} == {"experiments.trimtab.dev", "trials.trimtab.dev"}
    with JobPods(controlplane, namespace, tmp_path / "pods") as pods:
        run("uninstall", *release)  # which waits for the hook before it
    assert [r.status for r in pods.runs if "uninstall" in r.pod] == [0]
    kinds = (("Deployment", "apps/v1"), ("Role", RBAC), ("ServiceAccount", "v1"), ("Service", "v1"))
    for kind, version in (*kinds, ("CronJob", "batch/v1"), ("Job", "batch/v1"), ("RoleBinding", RBAC)):
        assert not [o for o in served.list(version, kind, namespace) if "trimtab" in o["metadata"]["name"]]
    for kind in CLUSTER_WIDE:
        version = POLICIES if kind.startswith("Validating") else RBAC
        assert not [o for o in served.list(version, kind) if namespace in o["metadata"]["name"]]


RBAC, POLICIES = "rbac.authorization.k8s.io/v1", "admissionregistration.k8s.io/v1"


# Rights and policies of a namespaced install


@pytest.fixture
def installed(served: ApiClient, namespace: str) -> Iterator[str]:
    """The chart's ServiceAccount, rights and policies are in force in this namespace."""
    running = {"Deployment", "Service", "CronJob", "Job"}
    objects = [o for o in render(namespace, scope="Namespace") if o["kind"] not in running]
    for document in objects:
        served.create(document)
    try:
        # A policy is in force some time after it was created: ask until it refuses both of what the tests rely on.
        operator = served.impersonate(USER.format(namespace=namespace))
        wait_for(lambda: refused(operator, config_map(namespace, "probe", {})), "the operator's policy to be in force")
        nobody = person(served, namespace, "nobody", patch=False)
        wait_for(lambda: refused(nobody, experiment(namespace)), "the people's policy to be in force")
        yield namespace
    finally:
        for document in objects:
            if document["kind"] in CLUSTER_WIDE:
                served.delete(document["apiVersion"], document["kind"], document["metadata"]["name"])


def refused(client: ApiClient, manifest: Obj) -> bool:
    """Does a policy refuse to create this? (RBAC takes a moment, too, and refuses in other words.)"""
    try:
        client.create(manifest, dry_run=True)
    except ApiError as error:
        return "ValidatingAdmissionPolicy" in error.message
    return False


@pytest.fixture
def operator(controlplane: ControlPlane, installed: str) -> ApiClient:
    """The operator, by its ServiceAccount's token."""
    return controlplane.client.with_token(controlplane.service_account_token(installed, "trimtab"))


def config_map(namespace: str, name: str, labels: Mapping[str, str]) -> Obj:
    metadata = {"name": name, "namespace": namespace, "labels": dict(labels)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {}}


def deployment(namespace: str, name: str, *, labels: Mapping[str, str] | None = None, owner: str = "") -> Obj:
    selector = {"app": name}
    container = {"name": "web", "image": "web:1"}
    metadata: Obj = {"name": name, "namespace": namespace, "labels": dict(labels or {})}
    if owner:
        reference = {"apiVersion": "trimtab.dev/v1alpha1", "kind": owner, "name": "t", "uid": "u", "controller": True}
        metadata["ownerReferences"] = [reference]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": selector},
            "template": {"metadata": {"labels": selector}, "spec": {"containers": [container]}},
        },
    }


def pod(namespace: str, name: str, labels: Mapping[str, str]) -> Obj:
    metadata = {"name": name, "namespace": namespace, "labels": dict(labels)}
    spec = {"containers": [{"name": "web", "image": "web:1"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def replica_set(namespace: str, name: str, labels: Mapping[str, str]) -> Obj:
    return deployment(namespace, name, labels=labels) | {"kind": "ReplicaSet"}


ARM = "tt-0f0e0d0c-1-c"
ARM_LABELS = {"trimtab.dev/arm": "canary", "trimtab.dev/trial": "trial-uid"}


def experiment(namespace: str, target: str = "web") -> Obj:
    found: Obj = yaml.safe_load((ROOT / "examples" / "minimal" / "experiment.yaml").read_text())
    found["metadata"]["namespace"] = namespace
    found["spec"]["targetRef"]["name"] = target
    return found


def person(admin: ApiClient, namespace: str, name: str, *, patch: bool) -> ApiClient:
    """Somebody who may do everything with Experiments, and perhaps patch one Deployment."""
    rules: list[Obj] = [
        {"apiGroups": ["trimtab.dev"], "resources": ["experiments", "experiments/status"], "verbs": ["*"]}
    ]
    if patch:
        rules.append(
            {"apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": ["web"], "verbs": ["patch"]}
        )
    metadata = {"name": name, "namespace": namespace}
    admin.apply({"apiVersion": RBAC, "kind": "Role", "metadata": metadata, "rules": rules})
    admin.apply(
        {
            "apiVersion": RBAC,
            "kind": "RoleBinding",
            "metadata": metadata,
            "subjects": [{"kind": "User", "name": name, "apiGroup": RBAC.partition("/")[0]}],
            "roleRef": {"kind": "Role", "name": name, "apiGroup": RBAC.partition("/")[0]},
        }
    )
    return admin.impersonate(name)


class TestOperator:
    def test_may_create_and_delete_arms_and_nothing_else(
        self, served: ApiClient, operator: ApiClient, installed: str
    ) -> None:
        served.create(deployment(installed, "web"))
        operator.create(deployment(installed, ARM, labels=ARM_LABELS, owner="Trial"))
        for wrong in (
            deployment(installed, "web-2"),
            deployment(installed, "web-2", labels=ARM_LABELS, owner="Trial"),
            deployment(installed, "tt-0f0e0d0c-2-c", labels=ARM_LABELS),
            deployment(installed, "tt-0f0e0d0c-2-c", labels=ARM_LABELS, owner="Experiment"),
            deployment(installed, "tt-0f0e0d0c-2-c", owner="Trial"),
        ):
            with pytest.raises(Invalid, match="only Deployments that are arms of a Trial"):
                operator.create(wrong)
        with pytest.raises(Invalid, match="only Deployments that are arms of a Trial"):
            operator.delete("apps/v1", "Deployment", "web", installed)
        with contextlib.suppress(NotFound):  # its Trial never existed: the garbage collector may have been faster
            operator.delete("apps/v1", "Deployment", ARM, installed)

    def test_removes_an_arm_that_lost_its_owner(self, served: ApiClient, operator: ApiClient, installed: str) -> None:
        """Who deletes a Trial with --cascade=orphan takes the ownerReference away; the arm must not stay for ever."""
        served.create(deployment(installed, ARM, labels=ARM_LABELS))
        operator.delete("apps/v1", "Deployment", ARM, installed)
        assert served.find("apps/v1", "Deployment", ARM, installed) is None

    def test_may_change_no_deployment_not_even_its_own(self, operator: ApiClient, installed: str) -> None:
        made = operator.create(deployment(installed, ARM, labels=ARM_LABELS, owner="Trial"))
        with pytest.raises(Forbidden, match="cannot patch resource"):
            operator.patch("apps/v1", "Deployment", ARM, {"spec": {"replicas": 1}}, installed)
        with pytest.raises(Forbidden, match="cannot update resource"):
            operator.replace(made)

    def test_deletes_only_the_arms_pods_and_replica_sets(
        self, served: ApiClient, operator: ApiClient, installed: str
    ) -> None:
        for make, version in ((pod, "v1"), (replica_set, "apps/v1")):
            for name, labels, allowed in (
                (f"{ARM}-6d4cf56db6-abcde", ARM_LABELS, True),
                ("web-6d4cf56db6-abcde", ARM_LABELS, False),
                (f"{ARM}-6d4cf56db6-zzzzz", {}, False),
            ):
                kind = served.create(make(installed, name, labels))["kind"]
                if allowed:
                    operator.delete(version, kind, name, installed)
                else:
                    with pytest.raises(Invalid, match="of arms"):
                        operator.delete(version, kind, name, installed)

    def test_writes_only_its_own_config_maps(self, served: ApiClient, operator: ApiClient, installed: str) -> None:
        ours = {"app.kubernetes.io/managed-by": "trimtab"}
        made = operator.create(config_map(installed, "web-recommendation", ours))
        operator.replace(made | {"data": {"patch.yaml": "x"}})
        with pytest.raises(Invalid, match="only ConfigMaps labelled"):
            operator.create(config_map(installed, "other", {}))
        theirs = served.create(config_map(installed, "settings", {}))
        theirs["metadata"]["labels"] = ours  # taking somebody's over by a label is no way around
        with pytest.raises(Invalid, match="only ConfigMaps labelled"):
            operator.replace(theirs)

    def test_writes_only_its_own_leases(self, operator: ApiClient, installed: str) -> None:
        def lease(name: str) -> Obj:
            metadata = {"name": name, "namespace": installed}
            return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": {}}

        operator.create(lease("trimtab-operator"))
        operator.create(lease("trimtab-target-0f0e0d0c-0b0a-4908-8706-050403020100"))
        with pytest.raises(Invalid, match="only its own Lease"):
            operator.create(lease("somebody-else"))

    def test_reads_what_preflight_needs_and_no_secret(self, operator: ApiClient, installed: str) -> None:
        for version, kind in (
            ("v1", "Service"),
            ("v1", "ResourceQuota"),
            ("v1", "LimitRange"),
            ("v1", "Pod"),
            ("apps/v1", "Deployment"),
            ("apps/v1", "ReplicaSet"),
            ("autoscaling/v2", "HorizontalPodAutoscaler"),
            ("policy/v1", "PodDisruptionBudget"),
            ("networking.k8s.io/v1", "NetworkPolicy"),
            ("discovery.k8s.io/v1", "EndpointSlice"),
            ("trimtab.dev/v1alpha1", "Experiment"),
            ("trimtab.dev/v1alpha1", "Trial"),
        ):
            operator.list(version, kind, installed)
        assert operator.get("v1", "Namespace", installed)["metadata"]["name"] == installed
        for forbidden in (
            lambda: operator.list("v1", "Secret", installed),
            lambda: operator.list("v1", "Pod", "default"),
            lambda: operator.get("v1", "Namespace", "default"),
            lambda: operator.list("v1", "ConfigMap", installed),
        ):
            with pytest.raises(Forbidden):
                forbidden()


@pytest.mark.parametrize("account", ["trimtab-reap", "trimtab-uninstall"])
class TestReap:
    def test_deletes_arms_and_nothing_else(
        self, controlplane: ControlPlane, served: ApiClient, installed: str, account: str
    ) -> None:
        client = controlplane.client.with_token(controlplane.service_account_token(installed, account))
        served.create(deployment(installed, "web"))
        served.create(deployment(installed, ARM, labels=ARM_LABELS))
        with pytest.raises(Invalid, match="only Deployments that are arms of a Trial"):
            client.delete("apps/v1", "Deployment", "web", installed)
        client.delete("apps/v1", "Deployment", ARM, installed)
        assert served.find("apps/v1", "Deployment", ARM, installed) is None
        for version, kind, make in (("v1", "Pod", pod), ("apps/v1", "ReplicaSet", replica_set)):
            for name, labels in ((f"{ARM}-6d4cf56db6-abcde", ARM_LABELS), ("web-6d4cf56db6-abcde", ARM_LABELS)):
                served.create(make(installed, name, labels))
            client.delete(version, kind, f"{ARM}-6d4cf56db6-abcde", installed)
            with pytest.raises(Invalid, match="of arms"):
                client.delete(version, kind, "web-6d4cf56db6-abcde", installed)

    def test_makes_and_patches_nothing(self, controlplane: ControlPlane, installed: str, account: str) -> None:
        client = controlplane.client.with_token(controlplane.service_account_token(installed, account))
        with pytest.raises(Forbidden):
            client.create(deployment(installed, ARM, labels=ARM_LABELS, owner="Trial"))
        with pytest.raises(Forbidden):
            client.patch("apps/v1", "Deployment", "web", {"spec": {"replicas": 0}}, installed)
        with pytest.raises(Forbidden):
            client.list("v1", "Secret", installed)


class TestReapRuns:
    """The CronJob's container as a process, with its account's token, where no operator runs."""

    OVERDUE = "2026-03-01T10:00:00Z"

    def arm(self, namespace: str, name: str, deadline: str = OVERDUE) -> Obj:
        labels = ARM_LABELS | {"trimtab.dev/experiment-uid": "e-uid"}
        made = deployment(namespace, name, labels=labels)
        made["metadata"]["annotations"] = {"trimtab.dev/deadline": deadline, "trimtab.dev/trial-name": "nobody"}
        return made

    @pytest.mark.parametrize("scope", ["Cluster", "Namespace"])
    def test_arms_past_their_deadline_go_in_each_scope(
        self, controlplane: ControlPlane, served: ApiClient, namespace: str, tmp_path: Path, scope: str
    ) -> None:
        objects = render(namespace, scope=scope)
        applied = [o for o in objects if o["kind"] not in {"Deployment", "Service", "CronJob", "Job"}]
        for document in applied:
            served.create(document)
        served.create(self.arm(namespace, ARM))
        served.create(deployment(namespace, "web"))
        (job,) = (o for o in objects if o["kind"] == "CronJob")
        spec = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        output = tmp_path / "reap.log"
        process = start(controlplane, spec, namespace, output)
        try:
            left = lambda: [d["metadata"]["name"] for d in served.list("apps/v1", "Deployment", namespace)]  # noqa: E731
            wait_for(lambda: left() == ["web"], "the arm to go", seconds=60)
            assert "its deadline passed" in output.read_text()
            if scope == "Namespace":  # with the other scope it looks at what earlier tests left, too
                assert process.wait(60) == 0, output.read_text()
        finally:
            process.kill()
            process.wait()
            for document in applied:
                if document["kind"] in CLUSTER_WIDE:
                    served.delete(document["apiVersion"], document["kind"], document["metadata"]["name"])

    def test_without_once_it_goes_on_until_it_is_told_to_end(
        self, controlplane: ControlPlane, served: ApiClient, installed: str, tmp_path: Path
    ) -> None:
        (job,) = (o for o in render(installed, scope="Namespace") if o["kind"] == "CronJob")
        spec = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        spec["containers"][0]["args"] = ["--missing-lease-ok"]
        output = tmp_path / "reap.log"
        process = start(controlplane, spec, installed, output)
        try:
            for name in (ARM, ARM.replace("-1-", "-2-")):
                served.create(self.arm(installed, name))
                gone = functools.partial(served.find, "apps/v1", "Deployment", name, installed)
                wait_for(lambda gone=gone: gone() is None, f"{name} to go", seconds=60)
            process.terminate()
            assert process.wait(30) == 0, output.read_text()
        finally:
            process.kill()
            process.wait()

    def test_a_mistyped_lease_is_no_dead_operator(
        self, controlplane: ControlPlane, served: ApiClient, installed: str, tmp_path: Path
    ) -> None:
        served.create(self.arm(installed, ARM))
        (job,) = (o for o in render(installed, scope="Namespace") if o["kind"] == "CronJob")
        spec = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        spec["containers"][0]["args"] = ["--once"]
        output = tmp_path / "reap.log"
        assert start(controlplane, spec, installed, output).wait(60) == EXIT_UNUSABLE
        assert f"there is no Lease {installed}/trimtab-operator" in output.read_text()
        assert served.find("apps/v1", "Deployment", ARM, installed)

    def test_what_it_may_not_delete_is_one_clear_line(
        self, controlplane: ControlPlane, served: ApiClient, installed: str, tmp_path: Path
    ) -> None:
        """Somebody put an arm's labels on a Deployment of their own: the policy keeps it."""
        served.create(self.arm(installed, "web"))
        (job,) = (o for o in render(installed, scope="Namespace") if o["kind"] == "CronJob")
        spec = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        output = tmp_path / "reap.log"
        spec["containers"][0]["args"] += ["--limit", "10"]
        process = start(controlplane, spec, installed, output)
        assert process.wait(120) == EXIT_LEFT
        (line,) = [x for x in output.read_text().splitlines() if x.startswith("trimtab reap: ")]
        assert f"arms of {installed}/nobody are still there after 10 s; by hand: kubectl" in line
        assert "only Deployments that are arms of a Trial" in line
        assert served.get("apps/v1", "Deployment", "web", installed)


class TestPeople:
    def test_without_the_right_to_patch_the_target_get_no_experiment(self, served: ApiClient, installed: str) -> None:
        nobody = person(served, installed, "nobody", patch=False)
        with pytest.raises(Forbidden) as caught:
            nobody.create(experiment(installed))
        assert f"you may not patch Deployment web in namespace {installed}" in caught.value.message

    def test_with_it_they_get_one_on_that_target_alone(self, served: ApiClient, installed: str) -> None:
        owner = person(served, installed, "owner", patch=True)
        granted(lambda: owner.create(experiment(installed), dry_run=True))
        owner.create(experiment(installed))
        with pytest.raises(Forbidden, match="may not patch Deployment other"):
            owner.create(experiment(installed, "other"))

    def test_anybody_who_may_write_it_may_stop_it_and_only_they_may_let_it_go_on(
        self, served: ApiClient, installed: str
    ) -> None:
        nobody = person(served, installed, "nobody", patch=False)
        made = served.create(experiment(installed))
        name = made["metadata"]["name"]

        def annotate(client: ApiClient, key: str, value: str | None) -> Obj:
            body = {"metadata": {"annotations": {key: value}}}
            return client.patch("trimtab.dev/v1alpha1", "Experiment", name, body, installed)

        granted(lambda: annotate(nobody, "example.com/seen", "yes"))
        for key in ("trimtab.dev/pause", "trimtab.dev/rollback"):
            for value in ("", "night shift", "other words"):
                annotate(nobody, key, value)
            with pytest.raises(Forbidden, match="may not patch Deployment"):
                annotate(nobody, key, None)
            annotate(served, key, None)
        for key in ("trimtab.dev/skip", "trimtab.dev/approve", "trimtab.dev/paused"):
            with pytest.raises(Forbidden, match="may not patch Deployment"):
                annotate(nobody, key, "night shift")
        both = {"metadata": {"annotations": {"trimtab.dev/pause": "night shift"}}, "spec": {"owner": "somebody"}}
        for body in ({"spec": {"paused": True}}, both):
            with pytest.raises(Forbidden, match="may not patch Deployment"):
                nobody.patch("trimtab.dev/v1alpha1", "Experiment", name, body, installed)

    def test_the_operators_finalizer_and_status_pass(
        self, served: ApiClient, operator: ApiClient, installed: str
    ) -> None:
        made = served.create(experiment(installed))
        made["metadata"]["finalizers"] = ["trimtab.dev/undo"]
        held = operator.replace(made)
        assert held["metadata"]["finalizers"] == ["trimtab.dev/undo"]
        status = operator.replace(held | {"status": {"phase": "Pending"}}, subresource="status")
        status["metadata"]["finalizers"] = []
        operator.replace(status)


def granted(probe: Callable[[], Any]) -> None:
    """RBAC takes a moment to be in force."""
    wait_for(lambda: bool(probe()), "the right to be in force", ignore=(Forbidden,))
