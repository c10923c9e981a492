"""The local control plane and Prometheus do what the other cluster tests rely on, and leave nothing behind."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.cluster.conftest import PrometheusFactory

import controlplane as package
from controlplane import (
    ApiClient,
    BuildError,
    ControlPlane,
    PrometheusServer,
    StartError,
    backfill,
    binaries,
    scrape_config,
    wait_for,
)
from controlplane.client import Forbidden, Invalid, Obj, Unauthorized, Unreachable
from controlplane.processes import Component, Family, free_port, group_members, start_on_free_port
from controlplane.tools import TOOLS

NOW = int(time.time())
HOUR = 3600


def config_map(namespace: str, name: str, **data: str) -> Obj:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data}


@pytest.fixture
def node(admin: ApiClient, namespace: str, no_nodes: None) -> Iterator[str]:
    """A registered Node that says it is ready, as a kubelet would."""
    name = f"node-{namespace}"
    admin.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
    capacity = {"cpu": "8", "memory": "16Gi", "pods": "100"}
    ready = {"type": "Ready", "status": "True", "reason": "Registered", "message": "registered by a test"}
    status = {"capacity": capacity, "allocatable": capacity, "conditions": [ready]}
    admin.patch("v1", "Node", name, {"status": status}, subresource="status")
    yield name
    admin.delete("v1", "Node", name)


def deployment(namespace: str, replicas: int) -> Obj:
    labels = {"app": "web"}
    container = {"name": "web", "image": "example/web", "resources": {"requests": {"cpu": "100m"}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def test_the_server_reports_the_version_of_its_module(admin: ApiClient) -> None:
    assert admin.request("GET", "/version")["gitVersion"] == TOOLS["kube-apiserver"].version


def test_a_deployment_gets_pods_and_the_scheduler_binds_them(admin: ApiClient, namespace: str, node: str) -> None:
    admin.create(deployment(namespace, replicas=3))

    def bound() -> list[Obj]:
        pods = admin.list("v1", "Pod", namespace, labels="app=web")
        return pods if len(pods) == 3 and all(pod["spec"].get("nodeName") == node for pod in pods) else []

    for pod in wait_for(bound, "three pods bound to the node"):
        assert pod["spec"]["serviceAccountName"] == "default"
        assert pod["metadata"]["ownerReferences"][0]["kind"] == "ReplicaSet"


def test_a_service_account_may_do_what_it_is_granted_and_nothing_else(
    controlplane: ControlPlane, admin: ApiClient, namespace: str
) -> None:
    group = "rbac.authorization.k8s.io"
    metadata = {"name": "reader", "namespace": namespace}
    admin.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
    reader = controlplane.client.with_token(controlplane.service_account_token(namespace, "reader", 600))
    with pytest.raises(Forbidden, match=f'User "system:serviceaccount:{namespace}:reader" cannot list resource'):
        reader.list("v1", "ConfigMap", namespace)

    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}
    admin.create({"apiVersion": f"{group}/v1", "kind": "Role", "metadata": metadata, "rules": [rule]})
    subject = {"kind": "ServiceAccount", "name": "reader", "namespace": namespace}
    role = {"apiGroup": group, "kind": "Role", "name": "reader"}
    binding = {"metadata": metadata, "subjects": [subject], "roleRef": role}
    admin.create({"apiVersion": f"{group}/v1", "kind": "RoleBinding"} | binding)

    listed = functools.partial(reader.list, "v1", "ConfigMap", namespace)
    assert wait_for(listed, "the role to be in force", ignore=(Forbidden,))
    with pytest.raises(Forbidden, match="cannot list resource"):
        reader.list("v1", "Secret", namespace)
    with pytest.raises(Forbidden, match="cannot create resource"):
        reader.create(config_map(namespace, "mine"))
    assert "list" in {event["verb"] for event in controlplane.audit_events(f"system:serviceaccount:{namespace}:reader")}


def test_a_wrong_token_is_refused(admin: ApiClient) -> None:
    with pytest.raises(Unauthorized):
        admin.with_token("made-up").list("v1", "Namespace")


def test_an_administrator_can_impersonate_a_user_with_groups(admin: ApiClient) -> None:
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview", "metadata": {"name": ""}}
    alice = admin.impersonate("alice", ["devs", "oncall", "system:authenticated"])
    user = alice.create(review)["status"]["userInfo"]
    assert user["username"] == "alice"
    assert {"devs", "oncall"} <= set(user["groups"])


def test_kubectl_works_with_a_token_file_and_reads_no_other_kubeconfig(
    controlplane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    kubeconfig = controlplane.service_account_kubeconfig(namespace, "default", tmp_path / "default", seconds=600)
    assert kubeconfig.stat().st_mode & 0o077 == 0
    home = tmp_path / "home"
    home.mkdir()
    done = subprocess.run(
        [controlplane.kubectl, "--kubeconfig", kubeconfig, "auth", "whoami", "-o", "json"],
        env={"HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["status"]["userInfo"]["username"] == f"system:serviceaccount:{namespace}:default"
    assert list(home.rglob("config")) == []


def test_the_client_creates_replaces_patches_and_deletes(admin: ApiClient, namespace: str) -> None:
    admin.apply(config_map(namespace, "settings", a="1"))
    admin.apply(config_map(namespace, "settings", a="2"))
    admin.patch("v1", "ConfigMap", "settings", {"data": {"b": "3"}}, namespace)
    assert admin.get("v1", "ConfigMap", "settings", namespace)["data"] == {"a": "2", "b": "3"}
    admin.server_side_apply(config_map(namespace, "settings", c="4"), "tests")
    admin.create(config_map(namespace, "never"), dry_run=True)
    admin.delete("v1", "ConfigMap", "settings", namespace)
    assert admin.find("v1", "ConfigMap", "settings", namespace) is None
    assert admin.find("v1", "ConfigMap", "never", namespace) is None


def test_definitions_are_served_once_applied_and_their_rules_hold(
    controlplane: ControlPlane, admin: ApiClient, namespace: str, tmp_path: Path
) -> None:
    rule = {"rule": "self.least < self.most", "message": "least must be below most"}
    numbers = {"least": {"type": "integer"}, "most": {"type": "integer"}}
    spec = {"type": "object", "properties": numbers, "required": ["least", "most"], "x-kubernetes-validations": [rule]}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "spans.test.trimtab.dev"},
        "spec": {
            "group": "test.trimtab.dev",
            "scope": "Namespaced",
            "names": {"plural": "spans", "singular": "span", "kind": "Span"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }
    (tmp_path / "spans.yaml").write_text(json.dumps(definition))
    try:
        assert controlplane.apply_crds(tmp_path) == ["spans.test.trimtab.dev"]
        span = {"apiVersion": "test.trimtab.dev/v1", "kind": "Span", "metadata": {"name": "s", "namespace": namespace}}
        admin.create(span | {"spec": {"least": 1, "most": 2}}, dry_run=True)
        with pytest.raises(Invalid, match="least must be below most"):
            admin.create(span | {"spec": {"least": 2, "most": 1}})
    finally:
        admin.delete("apiextensions.k8s.io/v1", "CustomResourceDefinition", "spans.test.trimtab.dev")


def test_a_second_plane_is_separate_survives_faults_and_leaves_nothing(
    controlplane: ControlPlane, built: dict[str, Path], tmp_path: Path
) -> None:
    other = ControlPlane(tmp_path / "other", paths=built)
    with other:
        assert other.server != controlplane.server
        other.client.apply(config_map("default", "here"))
        assert controlplane.client.find("v1", "ConfigMap", "here", "default") is None
        with pytest.raises(Unauthorized):
            controlplane.client.with_token(other.service_account_token("default", "default")).list("v1", "Namespace")

        other.stop_component("kube-apiserver")
        with pytest.raises(Unreachable):
            other.client.list("v1", "Namespace")
        other.start_component("kube-apiserver")
        assert other.client.get("v1", "ConfigMap", "here", "default")

        other.component("etcd").kill()
        assert "etcd" not in other.pids
        other.start_component("etcd")
        get = functools.partial(other.client.get, "v1", "ConfigMap", "here", "default")
        assert wait_for(get, "the API server to find etcd again", ignore=(package.ApiError,))

        group = other.group
        assert group is not None
        assert set(other.pids.values()) < set(group_members(group))
    assert group_members(group) == []
    assert [path for path in (tmp_path / "other").rglob("*") if path.is_file()] == []
    assert controlplane.client.list("v1", "Namespace")


def test_a_killed_parent_leaves_no_process(built: dict[str, Path], tmp_path: Path) -> None:
    state = tmp_path / "state"
    source = Path(package.__file__).parents[1]
    folder = tmp_path / "temporary"
    folder.mkdir()
    environment = os.environ | {"PYTHONPATH": str(source), "TMPDIR": str(folder)}
    command = [sys.executable, "-m", "controlplane"]
    with (tmp_path / "up.log").open("w") as log:
        up = subprocess.Popen([*command, "up", "--state", str(state)], env=environment, stdout=log, stderr=log)
    try:
        wait_for((state / "state.json").exists, "the plane to be up", seconds=60)
        shown = subprocess.run([*command, "status", "--state", state], env=environment, capture_output=True, check=True)
        group = json.loads(shown.stdout)["group"]
        assert len(group_members(group)) == 5
    finally:
        up.kill()
        up.wait()
    wait_for(lambda: not group_members(group), "the guard to end the orphans", seconds=60)
    wait_for(lambda: not list(folder.iterdir()), "the guard to remove the data", seconds=60)
    assert subprocess.run([*command, "status", "--state", state], env=environment, capture_output=True).returncode == 3


def test_a_taken_port_is_given_up_for_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = free_port()
    offered = iter([taken, free_port()])
    monkeypatch.setattr("controlplane.processes.free_port", lambda: next(offered))
    program = (
        "import socket, sys\ns = socket.create_server(('127.0.0.1', int(sys.argv[1])))\nprint('ready', flush=True)\n"
    )
    chosen = [0]
    family = Family()
    log = tmp_path / "server.log"
    server = Component("server", family, lambda: [sys.executable, "-c", program + "s.accept()", str(chosen[0])], log)

    def start(port: int) -> None:
        chosen[0] = port
        server.start()
        server.wait_ready(lambda: "ready" in server.output(), 10.0)

    squatter = subprocess.Popen([sys.executable, "-c", program + "s.accept()", str(taken)], stdout=subprocess.PIPE)
    try:
        assert squatter.stdout is not None
        assert squatter.stdout.readline() == b"ready\n"
        assert start_on_free_port(start, lambda: server) != taken
    finally:
        server.kill()
        family.close()
        squatter.kill()
        squatter.communicate()


def test_a_component_that_ends_says_why(tmp_path: Path) -> None:
    family = Family()
    failing = Component(
        "etcd", family, lambda: [sys.executable, "-c", "raise SystemExit('no space')"], tmp_path / "log"
    )
    failing.start()
    with pytest.raises(StartError, match=r"etcd ended while starting: log .*\nno space"):
        failing.wait_ready(lambda: False, 10.0)
    family.close()


# Prometheus


def past(path: Path) -> Path:
    """A day of a counter that grows by two per second, until an hour ago."""
    times = range(NOW - 25 * HOUR, NOW - HOUR, 60)
    samples = "".join(f'demo_requests_total{{service="web"}} {2 * (at - times.start)} {at}\n' for at in times)
    path.write_text(f"# TYPE demo_requests counter\n{samples}# EOF\n")
    return path


def test_prometheus_answers_from_a_backfilled_past(
    prometheus_factory: PrometheusFactory, built: dict[str, Path], tmp_path: Path
) -> None:
    tsdb = tmp_path / "tsdb"
    backfill(past(tmp_path / "past.om"), tsdb, promtool=built["promtool"])
    prometheus = prometheus_factory(scrape_config({}), tsdb=tsdb)
    rate = 'rate(demo_requests_total{service="web"}[30m])'
    assert prometheus.value(rate, NOW - 12 * HOUR) == pytest.approx(2.0)
    assert prometheus.value(rate, NOW - 48 * HOUR) is None
    [series] = prometheus.query_range(rate, NOW - 4 * HOUR, NOW - 2 * HOUR, 600)
    assert len(series["values"]) == 13


def test_a_file_that_is_no_openmetrics_is_refused_in_one_line(built: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "bad.om").write_text("no metrics\n")
    with pytest.raises(package.PrometheusError, match=r"promtool refused .*bad\.om: "):
        backfill(tmp_path / "bad.om", tmp_path / "tsdb", promtool=built["promtool"])


def hangs(prometheus: PrometheusServer) -> bool:
    """It does not answer."""
    try:
        prometheus.request("GET", "/-/ready", timeout=0.5)
    except TimeoutError:
        return True
    return False


def test_prometheus_scrapes_evaluates_rules_and_survives_faults(prometheus_factory: PrometheusFactory) -> None:
    rules = [{"name": "demo", "rules": [{"record": "demo:up:sum", "expr": "sum(up)"}]}]
    prometheus = prometheus_factory(scrape_config({}), rules=rules)
    own = prometheus.url.removeprefix("http://")
    prometheus.reload(scrape_config({"self": [own, f"{own}/elsewhere"]}, scrape_interval=0.5))
    wait_for(lambda: prometheus.value("demo:up:sum"), "the rule over the first scrape")
    wait_for(lambda: prometheus.value('up{job="self-1"}') == 0, "a target that answers no metrics to be down")

    prometheus.pause()
    wait_for(lambda: hangs(prometheus), "the signal to be in force")
    prometheus.resume()
    assert prometheus.value("vector(1)") == 1

    url = prometheus.url
    prometheus.kill()
    with pytest.raises(ConnectionRefusedError):
        prometheus.query("up")
    prometheus.restart()
    assert prometheus.url == url
    assert prometheus.value("last_over_time(demo:up:sum[1h])") is not None


def test_a_stopped_prometheus_leaves_nothing(built: dict[str, Path]) -> None:
    with PrometheusServer(scrape_config({}), path=built["prometheus"]) as prometheus:
        group = prometheus.group
        assert group is not None
        assert len(group_members(group)) == 2
        prometheus.pause()
    assert group_members(group) == []
    assert not prometheus.directory.exists()


# Finding and building binaries, with a compiler that only pretends


FAKE_GO = """#!/bin/sh
case "$1" in
env) echo go1.99.0 ;;
build)
  echo "$@" >> "$FAKE_GO_CALLS"
  while [ "$1" != -o ]; do shift; done
  if [ -n "$FAKE_GO_ERROR" ]; then echo "$FAKE_GO_ERROR"; exit 1; fi
  printf '#!/bin/sh\\necho built\\n' > "$2"; chmod +x "$2" ;;
esac
"""


@pytest.fixture
def fake_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache and a compiler that notes its calls; returns the file of the calls."""
    go, calls = tmp_path / "fake-go", tmp_path / "calls"
    go.write_text(FAKE_GO)
    go.chmod(0o755)
    calls.touch()
    for name, value in {"TRIMTAB_GO": go, "TRIMTAB_CACHE": tmp_path / "cache", "FAKE_GO_CALLS": calls}.items():
        monkeypatch.setenv(name, str(value))
    for name in ("KUBEBUILDER_ASSETS", "FAKE_GO_ERROR"):
        monkeypatch.delenv(name, raising=False)
    return calls


def quiet(_line: str) -> None:
    """Say nothing."""


def test_parallel_builds_build_each_tool_once(fake_go: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: binaries(["etcd", "promtool"], quiet), range(4)))
    assert len(fake_go.read_text().splitlines()) == 2
    assert all(result == results[0] for result in results)
    assert subprocess.run([results[0]["etcd"]], capture_output=True, check=True).stdout == b"built\n"


def test_progress_names_the_tool_and_how_many_there_are(fake_go: Path) -> None:
    lines: list[str] = []
    binaries(["etcd", "helm"], lines.append)
    assert lines[0].startswith("[1 of 2] building etcd v3.6")
    assert lines[-1].startswith("[2 of 2] helm v4.")
    lines.clear()
    binaries(["etcd", "helm"], lines.append)
    assert lines == []


@pytest.mark.parametrize(
    ("output", "remedy"),
    [
        ("go: k8s.io/api: dial tcp: lookup failed", "check the network"),
        ("write /x: no space left on device", "the disk is full"),
        ("main.go:1: syntax error", r"main\.go:1: syntax error"),
    ],
)
def test_a_failed_build_says_why_and_what_to_do(
    fake_go: Path, monkeypatch: pytest.MonkeyPatch, output: str, remedy: str
) -> None:
    monkeypatch.setenv("FAKE_GO_ERROR", output)
    with pytest.raises(BuildError, match=rf"^building etcd failed: .*{remedy}.* \(log: .*\.log\)$"):
        binaries(["etcd"], quiet)
    assert not list(fake_go.parent.glob("cache/bin/*/*"))


def test_an_unusable_compiler_or_cache_is_named(fake_go: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIMTAB_GO", str(tmp_path / "nowhere"))
    with pytest.raises(BuildError, match=r"TRIMTAB_GO=.*nowhere is not Go 1\.26\.0 or newer: change or unset it"):
        binaries(["etcd"], quiet)
    monkeypatch.setenv("TRIMTAB_CACHE", str(fake_go / "cache"))
    with pytest.raises(BuildError, match="set TRIMTAB_CACHE to a writable folder"):
        binaries(["etcd"], quiet)
    with pytest.raises(BuildError, match="unknown tools kubelet: choose from"):
        binaries(["kubelet"], quiet)


def pretend(folder: Path, tool: str, answer: str) -> Path:
    """A program of this name that answers anything with this."""
    folder.mkdir(exist_ok=True)
    path = folder / tool
    path.write_text(f"#!/bin/sh\necho '{answer}'\n")
    path.chmod(0o755)
    return path


def test_binaries_of_the_user_are_preferred(fake_go: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assets, bin_folder = tmp_path / "assets", tmp_path / "bin"
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(assets))
    monkeypatch.setenv("PATH", f"{bin_folder}:{os.environ['PATH']}")
    etcd = pretend(assets, "etcd", "etcd Version: 3.5.21")
    pretend(assets, "kube-apiserver", "Kubernetes v1.31.0")
    helm = pretend(bin_folder, "helm", TOOLS["helm"].version)
    pretend(bin_folder, "promtool", "promtool, version 2.53.0")

    lines: list[str] = []
    found = binaries(["etcd", "kube-apiserver", "helm", "promtool"], lines.append)

    assert found["etcd"] == etcd
    assert found["helm"] == helm
    assert "kube-apiserver-v1." in str(found["kube-apiserver"])
    assert "promtool-v3." in str(found["promtool"])
    assert lines[0].startswith(f"not using {assets / 'kube-apiserver'}: version v1.31.0, not v1.36")
