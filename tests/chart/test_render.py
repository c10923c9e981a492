"""What the chart renders, without a cluster: rights, Pod Security, settings, and the errors of wrong values."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit.monitoring.shell import commands

from controlplane import binaries
from trimtab.adapters.query_limits import QUERY_LIMIT
from trimtab.adapters.store_config import read_stores
from trimtab.domain import names
from trimtab.runtime.reaper import LIMIT_SECONDS
from trimtab.runtime.settings import ReapSettings, Settings

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "trimtab"
URL = "http://prometheus.monitoring:9090"
OWN = "tuning-trimtab"  # the operator's own role
Obj = dict[str, Any]


@functools.cache
def helm() -> Path:
    """Built once into the user's cache."""
    return binaries(["helm"])["helm"]


def run(command: str, values: Mapping[str, Any]) -> subprocess.CompletedProcess[str]:
    arguments = {"template": ["trimtab", str(CHART), "--namespace", "tuning"], "lint": [str(CHART)]}[command]
    text = yaml.safe_dump(dict(values))
    return subprocess.run(
        [str(helm()), command, *arguments, "--values", "-"], input=text, capture_output=True, text=True
    )


def rendered(**values: Any) -> list[Obj]:
    done = run("template", {"prometheus": {"url": URL}, **values})
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def of_kind(kind: str, objects: list[Obj]) -> list[Obj]:
    return [o for o in objects if o["kind"] == kind]


def pod_spec(objects: list[Obj]) -> Obj:
    (deployment,) = of_kind("Deployment", objects)
    found: Obj = deployment["spec"]["template"]["spec"]
    return found


def named(kind: str, name: str, objects: list[Obj]) -> Obj:
    (found,) = [o for o in of_kind(kind, objects) if o["metadata"]["name"] == name]
    return found


def environment(objects: list[Obj]) -> dict[str, str | None]:
    return {e["name"]: e.get("value") for e in pod_spec(objects)["containers"][0]["env"]}


def rights(role: Obj) -> set[tuple[str, str]]:
    """(group/resource, verb), with the names where the rule is limited to some."""
    return {
        (f"{group}/{resource}" + "".join(f"={name}" for name in rule.get("resourceNames", ())), verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.mark.parametrize("scope", ["Cluster", "Namespace"])
def test_helm_lint_has_nothing_to_say(scope: str) -> None:
    done = run("lint", {"prometheus": {"url": URL}, "scope": scope})
    assert done.returncode == 0, done.stdout
    assert "[WARNING]" not in done.stdout
    assert "[ERROR]" not in done.stdout


class TestScope:
    def test_cluster_is_a_cluster_role_and_a_role_for_itself(self) -> None:
        objects = rendered()
        role = named("ClusterRole", "tuning-trimtab", objects)
        binding = named("ClusterRoleBinding", "tuning-trimtab", objects)
        assert role["metadata"]["name"] == binding["roleRef"]["name"]
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "trimtab", "namespace": "tuning"}]
        roles = {"trimtab-self", "trimtab-reap-lease", "trimtab-uninstall-lease"}
        assert {r["metadata"]["name"] for r in of_kind("Role", objects)} == roles
        assert environment(objects)["TRIMTAB_NAMESPACE"] == ""

    def test_namespace_needs_nothing_cluster_wide_but_the_policies(self) -> None:
        objects = rendered(scope="Namespace")
        assert not of_kind("ClusterRole", objects) + of_kind("ClusterRoleBinding", objects)
        assert {o["metadata"].get("namespace", o["kind"]) for o in objects} == {
            "tuning",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
        }
        assert environment(objects)["TRIMTAB_NAMESPACE"] == "tuning"
        bare = rendered(scope="Namespace", admissionPolicies={"operator": False, "people": False})
        assert {o["metadata"]["namespace"] for o in bare} == {"tuning"}

    def test_several_namespaces_get_a_role_each(self) -> None:
        objects = rendered(scope="Namespace", namespaces=["shop", "billing"])
        roles = {r["metadata"]["namespace"]: r for r in of_kind("Role", objects) if r["metadata"]["name"] == OWN}
        assert set(roles) == {"shop", "billing"}
        assert ("/namespaces=shop", "get") in rights(roles["shop"])
        assert ("/namespaces=billing", "get") in rights(roles["billing"])
        assert environment(objects)["TRIMTAB_NAMESPACE"] == "shop,billing"

    def test_routes_are_asked_for_and_not_given_by_themselves(self) -> None:
        gateway, more = "gateway.networking.k8s.io/httproutes", ("/services", "autoscaling/horizontalpodautoscalers")
        objects, asked = rendered(), rendered(traffic={"httpRoute": True})
        for name in (OWN, f"{OWN}-reap", f"{OWN}-uninstall"):
            before, after = (rights(named("ClusterRole", name, each)) for each in (objects, asked))
            added = after - before
            assert {(gateway, verb) for verb in ("get", "list", "update")} <= added
            assert {what for what, _ in added} == {gateway, *more}
            assert not {verb for what, verb in added if what in more} & {"update", "patch"}
        policy = named("ValidatingAdmissionPolicy", f"{OWN}-operator", asked)
        narrowed = {r for rule in policy["spec"]["matchConstraints"]["resourceRules"] for r in rule["resources"]}
        assert {"httproutes", "services", "horizontalpodautoscalers"} <= narrowed

    def test_the_rights_can_be_left_to_somebody_else(self) -> None:
        kinds = {o["kind"] for o in rendered(rbac={"create": False}, serviceAccount={"create": False, "name": "given"})}
        assert not kinds & {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "ServiceAccount"}


def notes(**values: Any) -> str:
    """What helm tells after an install; nothing is installed."""
    command = [str(helm()), "install", "trimtab", str(CHART), "--namespace", "tuning", "--dry-run=client"]
    text = yaml.safe_dump({"prometheus": {"url": URL}, **values})
    environment = {**os.environ, "KUBECONFIG": os.devnull}
    done = subprocess.run([*command, "--values", "-"], input=text, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("NOTES:")[2]


class TestNotes:
    def test_say_where_to_look_in_each_scope(self) -> None:
        assert "kubectl get experiments.trimtab.dev --all-namespaces --watch" in notes()
        several = notes(scope="Namespace", namespaces=["shop", "billing"])
        assert "--all-namespaces" not in several
        for namespace in ("shop", "billing"):
            assert f"kubectl --namespace {namespace} get experiments.trimtab.dev --watch" in several
        assert "kubectl --namespace tuning get experiments.trimtab.dev" in notes(scope="Namespace")

    def test_name_no_file_that_is_only_in_the_chart_s_folder(self) -> None:
        """What helm installed is owned by helm, so an apply that does not force it is refused at the first change."""
        assert "helm show crds <chart> | kubectl apply --server-side --force-conflicts -f -" in notes()
        assert "crds/" not in notes()

    def test_say_what_an_uninstall_does(self) -> None:
        assert "helm uninstall runs a hook first" in notes()
        assert "delete the Experiments and wait" in notes(reap={"onUninstall": False})

    def test_warn_where_nobody_removes_what_is_left(self) -> None:
        assert "reap.enabled is off" in notes(reap={"enabled": False})
        assert "reap.enabled is off" not in notes()

    def test_warn_of_an_image_that_nobody_publishes(self) -> None:
        assert "WARNING: image.repository is the default" in notes()
        assert "WARNING: image.repository" not in notes(image={"repository": "example.test/trimtab"})


class TestRights:
    def test_are_the_same_in_both_scopes(self) -> None:
        cluster = named("ClusterRole", OWN, rendered())
        roles = {r["metadata"]["name"]: r for r in of_kind("Role", rendered(scope="Namespace"))}
        namespaced = roles["tuning-trimtab"]
        assert rights(cluster) - rights(namespaced) == {("/namespaces", "get"), ("/nodes", "get")}
        assert rights(namespaced) - rights(cluster) == {("/namespaces=tuning", "get")}

    def test_nothing_is_patched_and_nothing_secret_is_read(self) -> None:
        role = named("ClusterRole", OWN, rendered())
        granted = rights(role)
        assert {verb for _, verb in granted} == {"get", "list", "watch", "create", "update", "delete"}
        assert not [right for right in granted if "*" in right[0] or "secret" in right[0]]

    def test_what_may_be_changed(self) -> None:
        role = named("ClusterRole", OWN, rendered())
        changes = {f"{what} {verb}" for what, verb in rights(role) if verb not in {"get", "list", "watch"}}
        assert changes == {
            "trimtab.dev/experiments update",
            "trimtab.dev/experiments/finalizers update",
            "trimtab.dev/experiments/status update",
            "trimtab.dev/trials create",
            "trimtab.dev/trials update",
            "trimtab.dev/trials/status update",
            "apps/deployments create",
            "apps/deployments delete",
            "apps/replicasets delete",
            "/pods delete",
            "/configmaps create",
            "/configmaps update",
            "coordination.k8s.io/leases create",
            "coordination.k8s.io/leases update",
            "events.k8s.io/events create",
            "events.k8s.io/events update",
        }

    def test_for_itself_it_may_only_lead_and_look_at_its_own_deployment(self) -> None:
        roles = {r["metadata"]["name"]: r for r in of_kind("Role", rendered())}
        assert rights(roles["trimtab-self"]) == {
            ("coordination.k8s.io/leases", "create"),
            ("coordination.k8s.io/leases=trimtab-operator", "get"),
            ("coordination.k8s.io/leases=trimtab-operator", "update"),
            ("apps/deployments=trimtab", "get"),
        }

    def test_people_read_with_view_and_write_with_edit(self) -> None:
        objects = rendered()
        view, edit = named("ClusterRole", f"{OWN}-view", objects), named("ClusterRole", f"{OWN}-edit", objects)
        assert rights(view) == {
            (f"trimtab.dev/{what}", verb) for what in ("experiments", "trials") for verb in ("get", "list", "watch")
        }
        assert rights(edit) == {
            ("trimtab.dev/experiments", verb) for verb in ("create", "update", "patch", "delete", "deletecollection")
        }
        assert aggregated(view) == {"view", "edit", "admin"}
        assert aggregated(edit) == {"edit", "admin"}

    @pytest.mark.parametrize("values", [{"rbac": {"aggregate": False}}, {"scope": "Namespace"}])
    def test_people_have_what_somebody_else_grants_where_that_is_asked_for(self, values: Obj) -> None:
        assert not [role for role in of_kind("ClusterRole", rendered(**values)) if aggregated(role)]


def aggregated(role: Obj) -> set[str]:
    """The roles of Kubernetes that it becomes a part of."""
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    return {key.removeprefix(prefix) for key in role["metadata"]["labels"] if key.startswith(prefix)}


class TestPod:
    def test_meets_the_restricted_pod_security_standard(self) -> None:
        pod = pod_spec(rendered())
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {next(k for k in v if k != "name") for v in pod["volumes"]} == {"emptyDir"}

    def test_its_token_is_mounted_for_it_alone(self) -> None:
        objects = rendered()
        assert named("ServiceAccount", "trimtab", objects)["automountServiceAccountToken"] is False
        assert pod_spec(objects)["automountServiceAccountToken"] is True

    def test_memory_is_bounded_and_cpu_is_not_throttled(self) -> None:
        resources = pod_spec(rendered())["containers"][0]["resources"]
        assert set(resources["requests"]) == {"cpu", "memory"}
        assert set(resources["limits"]) == {"memory"}

    def test_probes_ask_its_own_server(self) -> None:
        (container,) = pod_spec(rendered(httpPort=9000))["containers"]
        assert container["ports"] == [{"name": "http", "containerPort": 9000}]
        paths = {p: container[p]["httpGet"]["path"] for p in ("startupProbe", "livenessProbe", "readinessProbe")}
        assert paths == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}

    def test_two_replicas_are_spread_and_protected(self) -> None:
        objects = rendered(replicas=2)
        assert of_kind("PodDisruptionBudget", objects)[0]["spec"]["minAvailable"] == 1
        assert "podAntiAffinity" in pod_spec(objects)["affinity"]
        assert not of_kind("PodDisruptionBudget", rendered())

    def test_an_image_by_digest_wins_over_its_tag(self) -> None:
        version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
        assert pod_spec(rendered())["containers"][0]["image"] == f"trimtab:{version}"
        found = pod_spec(rendered(image={"repository": "mine/trimtab", "tag": "1", "digest": "sha256:" + "a" * 64}))
        assert found["containers"][0]["image"] == "mine/trimtab@sha256:" + "a" * 64

    def test_a_token_of_prometheus_is_a_mounted_file(self) -> None:
        objects = rendered(prometheus={"url": URL, "tokenSecret": {"name": "prom", "key": "bearer"}})
        path = environment(objects)["TRIMTAB_PROMETHEUS_TOKEN_FILE"]
        pod = pod_spec(objects)
        (mount,) = [m for m in pod["containers"][0]["volumeMounts"] if m["name"] == "prometheus"]
        assert path == f"{mount['mountPath']}/token"
        (volume,) = [v for v in pod["volumes"] if v["name"] == "prometheus"]
        assert volume["secret"]["secretName"] == "prom"
        assert volume["secret"]["items"] == [{"key": "bearer", "path": "token"}]


def secret(name: str, key: str) -> Obj:
    return {"name": name, "key": key}


STORES: list[Obj] = [
    {
        "name": "long-term",
        "kind": "Thanos",
        "url": "https://thanos.monitoring:10902",
        "bearerTokenSecret": secret("thanos", "token"),
        "tls": {
            "caSecret": secret("thanos-tls", "ca.crt"),
            "certSecret": secret("thanos-tls", "tls.crt"),
            "keySecret": secret("thanos-tls", "tls.key"),
        },
        "replicaLabels": ["replica", "prometheus_replica"],
        "to": [{"namespaceSelector": {}}],
    },
    {
        "name": "team",
        "kind": "Mimir",
        "url": "https://mimir.example.test/prometheus",
        "basic": {"username": "trimtab", "passwordSecret": secret("mimir", "password")},
        "headers": [{"name": "X-Api-Key", "valueSecret": secret("mimir", "api-key")}],
        "tenant": "team-a",
    },
    {"name": "plain", "url": "http://other:9090"},
]


class TestStores:
    def config(self, objects: list[Obj]) -> Obj:
        (found,) = [o for o in of_kind("ConfigMap", objects) if o["metadata"]["name"] == "trimtab-stores"]
        return found

    def test_the_operator_accepts_the_list_with_its_mounted_files(self, tmp_path: Path) -> None:
        """The files that the list names are exactly those that are mounted, and the operator reads the rest."""
        objects = rendered(telemetry={"stores": STORES})
        text = self.config(objects)["data"]["stores.yaml"]
        pod = pod_spec(objects)
        mounts = {m["name"]: m["mountPath"] for m in pod["containers"][0]["volumeMounts"]}
        mounted = {
            f"{mounts[v['name']]}/{item['path']}": (s["secret"]["name"], item["key"])
            for v in pod["volumes"]
            if "projected" in v
            for s in v["projected"]["sources"]
            for item in s["secret"]["items"]
        }
        assert mounted == {
            "/var/run/trimtab/stores/long-term/token": ("thanos", "token"),
            "/var/run/trimtab/stores/long-term/ca.crt": ("thanos-tls", "ca.crt"),
            "/var/run/trimtab/stores/long-term/tls.crt": ("thanos-tls", "tls.crt"),
            "/var/run/trimtab/stores/long-term/tls.key": ("thanos-tls", "tls.key"),
            "/var/run/trimtab/stores/team/password": ("mimir", "password"),
            "/var/run/trimtab/stores/team/header-0": ("mimir", "api-key"),
        }
        for path in mounted:
            place = tmp_path / path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text("x")
        (tmp_path / "stores.yaml").write_text(text.replace("/var/run", f"{tmp_path}/var/run"))
        stores = read_stores(str(tmp_path / "stores.yaml"))
        assert [(s.name, s.kind, s.url) for s in stores] == [
            (s["name"], s.get("kind", "Prometheus"), s["url"]) for s in STORES
        ]
        assert {f.removeprefix(str(tmp_path)) for s in stores for f in s.files} == set(mounted)
        assert (stores[0].replica_labels, stores[1].tenant) == (("replica", "prometheus_replica"), "team-a")
        assert environment(objects)["TRIMTAB_TELEMETRY_FILE"] == f"{mounts['stores']}/stores.yaml"

    def test_no_secret_is_in_the_list_and_none_can_be_read(self) -> None:
        objects = rendered(telemetry={"stores": STORES})
        roles = [*of_kind("ClusterRole", objects), *of_kind("Role", objects)]
        assert len(roles) > 2
        assert not [right for role in roles for right in rights(role) if "secret" in right[0]]
        assert not of_kind("Secret", objects)

    def test_a_changed_list_starts_a_new_operator(self) -> None:
        def checksum(*stores: Obj) -> str:
            (deployment,) = of_kind("Deployment", rendered(telemetry={"stores": list(stores)}))
            return str(deployment["spec"]["template"]["metadata"]["annotations"]["checksum/stores"])

        assert checksum(STORES[0]) == checksum(STORES[0]) != checksum(STORES[1])

    def test_without_further_stores_there_is_nothing_of_them(self) -> None:
        objects = rendered()
        assert "TRIMTAB_TELEMETRY_FILE" not in environment(objects)
        assert environment(objects)["TRIMTAB_QUERY_LIMIT"] == str(QUERY_LIMIT)
        assert not of_kind("ConfigMap", objects)

    def test_a_large_limit_is_written_out(self) -> None:
        """A template would write a million as 1e+06, which is no whole number to the operator."""
        assert environment(rendered(telemetry={"queryLimit": 1_000_000}))["TRIMTAB_QUERY_LIMIT"] == "1000000"

    def test_stores_alone_are_enough(self) -> None:
        objects = rendered(prometheus={"url": ""}, telemetry={"stores": STORES}, networkPolicy={"enabled": True})
        assert "TRIMTAB_PROMETHEUS_URL" not in environment(objects)
        policy = named("NetworkPolicy", "trimtab", objects)
        assert len(policy["spec"]["egress"]) == 2 + len(STORES)

    def test_a_network_policy_opens_the_way_to_each(self) -> None:
        objects = rendered(telemetry={"stores": STORES}, networkPolicy={"enabled": True})
        policy = named("NetworkPolicy", "trimtab", objects)
        assert policy["spec"]["egress"][-4:] == [
            {"ports": [{"port": 9090, "protocol": "TCP"}]},
            {"ports": [{"port": 10902, "protocol": "TCP"}], "to": [{"namespaceSelector": {}}]},
            {"ports": [{"port": 443, "protocol": "TCP"}]},
            {"ports": [{"port": 9090, "protocol": "TCP"}]},
        ]

    @pytest.mark.parametrize(
        ("store", "words"),
        [
            ({"url": "http://u:p@other"}, "/telemetry/stores/0/url"),
            ({"url": "http://other?token=1"}, "/telemetry/stores/0/url"),
            ({"name": "two words"}, "/telemetry/stores/0/name"),
            ({"kind": "Cortex"}, "/telemetry/stores/0/kind"),
            ({"ports": ["http"]}, "/telemetry/stores/0/ports/0"),
            ({"token": "abc"}, "'token' not allowed"),
            ({"bearerTokenSecret": "abc"}, "/telemetry/stores/0/bearerTokenSecret"),
            ({"tls": {"certSecret": secret("a", "b")}}, "/telemetry/stores/0/tls"),
            (
                {
                    "bearerTokenSecret": secret("a", "b"),
                    "basic": {"username": "u", "passwordSecret": secret("a", "c")},
                },
                "/telemetry/stores/0",
            ),
            ({"name": "default"}, "default is also what prometheus.url names"),
        ],
    )
    def test_what_is_wrong_is_refused_at_once(self, store: Obj, words: str) -> None:
        full = {"name": "other", "url": "http://other:9090"} | store
        done = run("template", {"prometheus": {"url": URL}, "telemetry": {"stores": [full]}})
        assert done.returncode != 0
        assert words in done.stderr


class TestSettings:
    def test_the_operator_reads_every_variable_and_accepts_its_value(self, tmp_path: Path) -> None:
        objects = rendered(scope="Namespace", namespaces=["shop"], log={"format": "console", "level": "DEBUG"})
        given = {name: value or "tuning" for name, value in environment(objects).items()}
        settings = Settings.from_environment(given, tmp_path / "absent")
        assert settings.prometheus_url == URL
        assert settings.namespaces == ("shop",)
        assert (settings.lease_namespace, settings.lease_name) == ("tuning", "trimtab-operator")
        assert (settings.http_port, settings.log_format, settings.log_level) == (8080, "console", "DEBUG")
        sources = "".join(p.read_text() for p in (ROOT / "operator" / "trimtab" / "runtime").glob("*.py"))
        assert not [name for name in given if f'"{name}"' not in sources]

    def test_the_default_lease_name_is_the_one_of_the_usual_release(self) -> None:
        assert environment(rendered())["TRIMTAB_LEASE_NAME"] == Settings.lease_name

    def test_further_variables_are_passed_on(self) -> None:
        objects = rendered(extraEnv=[{"name": "TRIMTAB_WORKERS", "value": "8"}])
        assert environment(objects)["TRIMTAB_WORKERS"] == "8"


def reap_pods(objects: list[Obj]) -> dict[str, Obj]:
    """The pod templates of what runs `trimtab reap`: each minute, and before an uninstall."""
    minutely = [c["spec"]["jobTemplate"]["spec"]["template"] for c in of_kind("CronJob", objects)]
    before = [j["spec"]["template"] for j in of_kind("Job", objects)]
    return {t["spec"]["containers"][0]["args"][0]: t for t in (*minutely, *before)}


def hook(document: Obj) -> str | None:
    found: str | None = (document["metadata"].get("annotations") or {}).get("helm.sh/hook")
    return found


ARMS = {
    ("apps/deployments", "list"), ("apps/deployments", "delete"), ("apps/replicasets", "list"),
    ("apps/replicasets", "delete"), ("/pods", "list"), ("/pods", "delete"),
    ("discovery.k8s.io/endpointslices", "list"), ("trimtab.dev/trials", "get"), ("/services", "list"),
    ("autoscaling/horizontalpodautoscalers", "list"),
}  # fmt: skip
LETTING_GO = {(f"trimtab.dev/{kind}", verb) for kind in ("experiments", "trials") for verb in ("get", "list", "update")}
LEASE = "coordination.k8s.io/leases=trimtab-operator"


class TestReap:
    def test_runs_each_minute_one_at_a_time_and_ends_by_itself(self) -> None:
        (job,) = of_kind("CronJob", rendered())
        spec = job["spec"]
        assert (spec["schedule"], spec["concurrencyPolicy"]) == ("* * * * *", "Forbid")
        assert set(reap_pods(rendered())) == {"--once", "--all"}
        for each in (spec["jobTemplate"]["spec"], *(j["spec"] for j in of_kind("Job", rendered()))):
            assert LIMIT_SECONDS < each["activeDeadlineSeconds"] <= 300
            assert each["template"]["spec"]["restartPolicy"] == "Never"

    @pytest.mark.parametrize("mode", ["--once", "--all"])
    def test_its_pods_are_as_restricted_as_the_operators(self, mode: str) -> None:
        objects = rendered()
        pod = reap_pods(objects)[mode]["spec"]
        theirs = pod_spec(objects)
        assert pod["securityContext"] == theirs["securityContext"]
        assert pod["containers"][0]["securityContext"] == theirs["containers"][0]["securityContext"]
        assert pod["containers"][0]["image"] == theirs["containers"][0]["image"]
        assert set(pod["containers"][0]["resources"]["limits"]) == {"memory"}
        assert {next(k for k in v if k != "name") for v in pod["volumes"]} == {"emptyDir"}

    @pytest.mark.parametrize("mode", ["--once", "--all"])
    def test_it_is_told_what_the_operator_is_told(self, mode: str, tmp_path: Path) -> None:
        objects = rendered(scope="Namespace", namespaces=["shop", "billing"], fullnameOverride="mine")
        (container,) = reap_pods(objects)[mode]["spec"]["containers"]
        given = {e["name"]: e.get("value") or "tuning" for e in container["env"]}
        settings = ReapSettings.from_environment(given, tmp_path / "absent")
        operator = {name: value or "tuning" for name, value in environment(objects).items()}
        theirs = Settings.from_environment(operator, tmp_path / "absent")
        assert settings.namespaces == theirs.namespaces == ("shop", "billing")
        assert (settings.lease_namespace, settings.lease_name) == (theirs.lease_namespace, theirs.lease_name)

    def test_no_selector_of_the_operator_matches_its_pods(self) -> None:
        objects = rendered(replicas=2, networkPolicy={"enabled": True}, podLabels={"team": "web"})
        labels = [t["metadata"]["labels"] for t in reap_pods(objects).values()]
        selectors = [d["spec"]["selector"]["matchLabels"] for d in of_kind("Deployment", objects)]
        selectors += [p["spec"]["selector"]["matchLabels"] for p in of_kind("PodDisruptionBudget", objects)]
        selectors += [s["spec"]["selector"] for s in of_kind("Service", objects)]
        selectors += [named("NetworkPolicy", "trimtab", objects)["spec"]["podSelector"]["matchLabels"]]
        assert len(selectors) == 4
        assert not [(s, found) for s in selectors for found in labels if s.items() <= found.items()]
        own = named("NetworkPolicy", "trimtab-reap", objects)["spec"]
        assert all(own["podSelector"]["matchLabels"].items() <= found.items() for found in labels)
        assert {p["port"] for rule in own["egress"] for p in rule["ports"]} == {53, 443, 6443}
        assert all(found["team"] == "web" for found in labels)

    def test_runbooks_ask_the_operators_pods_or_its_own(self) -> None:
        objects = rendered()
        pods = [d["spec"]["template"] for d in of_kind("Deployment", objects)] + [*reap_pods(objects).values()]
        names = {pod["metadata"]["labels"]["app.kubernetes.io/name"] for pod in pods}
        logs = [words for _, words in commands() if words[0] == "kubectl" and "logs" in words and "-l" in words]
        selected = {words[words.index("-l") + 1] for words in logs}
        assert selected == {f"app.kubernetes.io/name={name}" for name in names}
        assert len(names) == 2
        leases = {words[words.index("lease") + 1] for _, words in commands() if "lease" in words}
        assert leases == {environment(objects)["TRIMTAB_LEASE_NAME"]}

    def test_failed_runs_do_not_stay_for_ever(self) -> None:
        """Else an alert on three of them never ends; and a failed run must be seen before it is gone."""
        (job,) = of_kind("CronJob", rendered())
        spec = job["spec"]
        assert spec["failedJobsHistoryLimit"] == 3
        assert 4 * LIMIT_SECONDS < spec["jobTemplate"]["spec"]["ttlSecondsAfterFinished"] <= 900

    @pytest.mark.parametrize("scope", ["Cluster", "Namespace"])
    def test_its_rights_are_exactly_these(self, scope: str) -> None:
        objects, kind = rendered(scope=scope), "ClusterRole" if scope == "Cluster" else "Role"
        assert rights(named(kind, "tuning-trimtab-reap", objects)) == ARMS
        assert rights(named("Role", "trimtab-reap-lease", objects)) == {(LEASE, "get")}
        assert rights(named(kind, "tuning-trimtab-uninstall", objects)) == ARMS | LETTING_GO
        assert rights(named("Role", "trimtab-uninstall-lease", objects)) == {
            (LEASE, "get"), (LEASE, "update"), ("coordination.k8s.io/leases", "create"),
        }  # fmt: skip

    def test_each_account_has_its_own_rights_alone(self) -> None:
        objects = rendered()
        bindings = (*of_kind("RoleBinding", objects), *of_kind("ClusterRoleBinding", objects))
        found: dict[str, set[str]] = {}
        for binding in bindings:
            (subject,) = binding["subjects"]
            found.setdefault(subject["name"], set()).add(binding["roleRef"]["name"])
        assert found == {
            "trimtab": {"tuning-trimtab", "trimtab-self"},
            "trimtab-reap": {"tuning-trimtab-reap", "trimtab-reap-lease"},
            "trimtab-uninstall": {"tuning-trimtab-uninstall", "trimtab-uninstall-lease"},
        }
        used = {mode: template["spec"]["serviceAccountName"] for mode, template in reap_pods(objects).items()}
        assert used == {"--once": "trimtab-reap", "--all": "trimtab-uninstall"}

    def test_what_is_only_there_before_an_uninstall_is_a_hook_and_nothing_else_is(self) -> None:
        objects = rendered()
        hooks = {f"{o['kind']}/{o['metadata']['name']}" for o in objects if hook(o) == "pre-delete"}
        assert hooks == {f"{o['kind']}/{o['metadata']['name']}" for o in objects if "uninstall" in str(o["metadata"])}
        weights = {o["kind"]: int(o["metadata"]["annotations"]["helm.sh/hook-weight"]) for o in objects if hook(o)}
        assert weights.pop("Job") > max(weights.values()), "the account and its rights come first"

    def test_the_operators_policy_narrows_every_account(self) -> None:
        policy = named("ValidatingAdmissionPolicy", "tuning-trimtab-operator", rendered())
        (condition,) = policy["spec"]["matchConditions"]
        users = re.findall(r"'system:serviceaccount:tuning:([a-z-]+)'", condition["expression"])
        assert users == ["trimtab", "trimtab-reap", "trimtab-uninstall"]

    def test_it_can_be_left_out(self) -> None:
        objects = rendered(reap={"enabled": False, "onUninstall": False}, networkPolicy={"enabled": True})
        policies = [o for o in objects if o["kind"] == "ValidatingAdmissionPolicy"]
        assert not [o for o in objects if "reap" in str(o["metadata"]) or hook(o)]
        assert policies
        assert not of_kind("CronJob", rendered(reap={"enabled": False}))
        assert not of_kind("Job", rendered(reap={"onUninstall": False}))

    def test_without_accounts_of_its_own(self) -> None:
        """The operator's account may do what both need."""
        alone = reap_pods(rendered(serviceAccount={"create": False, "name": "given"}))
        assert {t["spec"]["serviceAccountName"] for t in alone.values()} == {"given"}
        assert rights(named("ClusterRole", OWN, rendered())) >= ARMS | LETTING_GO
        objects = rendered(serviceAccount={"create": False, "name": "given"}, reap={"serviceAccountName": "reaper"})
        used = {mode: template["spec"]["serviceAccountName"] for mode, template in reap_pods(objects).items()}
        assert used == {"--once": "reaper", "--all": "given"}
        assert not of_kind("ServiceAccount", objects)


class TestOptions:
    def test_a_network_policy_opens_what_is_needed(self) -> None:
        policy = named("NetworkPolicy", "trimtab", rendered(networkPolicy={"enabled": True}))
        ports = {p["port"] for rule in policy["spec"]["egress"] for p in rule["ports"]}
        assert ports == {53, 443, 6443, 9090}
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]

    def test_a_network_policy_opens_the_ports_behind_services_where_they_are_told(self) -> None:
        """Most networks judge a packet when the Service's address and port are a pod's already."""
        network = {"enabled": True, "prometheusPorts": [9090, 9091], "dnsPorts": [53, 5353]}
        stores = [STORES[2] | {"ports": [8481]}, STORES[1]]
        objects = rendered(prometheus={"url": "http://prometheus"}, telemetry={"stores": stores}, networkPolicy=network)
        dns, _, *metrics = named("NetworkPolicy", "trimtab", objects)["spec"]["egress"]
        assert [[p["port"] for p in rule["ports"]] for rule in metrics] == [[9090, 9091], [8481], [443]]
        assert {(p["port"], p["protocol"]) for p in dns["ports"]} == {
            (port, protocol) for port in (53, 5353) for protocol in ("UDP", "TCP")
        }
        assert named("NetworkPolicy", "trimtab-reap", objects)["spec"]["egress"][0] == dns

    @pytest.mark.parametrize(
        ("url", "port"), [("https://p", 443), ("http://p/select/0", 80), ("http://[::1]:90/x", 90)]
    )
    def test_the_port_of_prometheus_is_taken_from_its_address(self, url: str, port: int) -> None:
        policy = named("NetworkPolicy", "trimtab", rendered(networkPolicy={"enabled": True}, prometheus={"url": url}))
        assert policy["spec"]["egress"][-1]["ports"] == [{"port": port, "protocol": "TCP"}]

    def test_metrics_can_be_scraped_by_the_prometheus_operator(self) -> None:
        objects = rendered(metrics={"serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}})
        (monitor,) = of_kind("ServiceMonitor", objects)
        (service,) = of_kind("Service", objects)
        assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        assert monitor["metadata"]["labels"]["release"] == "prometheus"
        # Else a series' namespace, the Experiment's, would give way to the operator's own.
        assert [e["honorLabels"] for e in monitor["spec"]["endpoints"]] == [True]

    def test_both_policies_are_bound_and_deny(self) -> None:
        objects = rendered()
        policies = {p["metadata"]["name"] for p in of_kind("ValidatingAdmissionPolicy", objects)}
        bindings = of_kind("ValidatingAdmissionPolicyBinding", objects)
        assert (
            policies
            == {b["spec"]["policyName"] for b in bindings}
            == {"tuning-trimtab-operator", "tuning-trimtab-people"}
        )
        assert all(b["spec"]["validationActions"] == ["Deny"] for b in bindings)

    def test_to_stop_asks_for_no_right_on_the_target(self) -> None:
        policy = named("ValidatingAdmissionPolicy", f"{OWN}-people", rendered())
        (condition,) = policy["spec"]["matchConditions"]
        named_there = set(re.findall(r"'(trimtab\.dev/\w+)'", condition["expression"]))
        assert named_there == {names.ANNOTATION_PAUSE, names.ANNOTATION_ROLLBACK}
        (rule,) = policy["spec"]["validations"]
        assert named_there == set(re.findall(r"trimtab\.dev/\w+", rule["messageExpression"]))


class TestBadValues:
    @pytest.mark.parametrize(
        ("values", "words"),
        [
            ({}, "/prometheus/url"),
            ({"prometheus": {"url": "prometheus:9090"}}, "/prometheus/url"),
            ({"prometheus": {"url": "http://user:secret@prometheus"}}, "/prometheus/url"),
            ({"prometheus": {"url": URL}, "scope": "All"}, "/scope"),
            ({"prometheus": {"url": URL}, "replica": 2}, "'replica' not allowed"),
            ({"prometheus": {"url": URL}, "namespaces": ["Shop"]}, "/namespaces/0"),
            ({"prometheus": {"url": URL}, "httpPort": 80}, "/httpPort"),
            (
                {"prometheus": {"url": URL}, "networkPolicy": {"prometheusPorts": [0]}},
                "/networkPolicy/prometheusPorts/0",
            ),
            ({"prometheus": {"url": URL}, "networkPolicy": {"dnsPorts": []}}, "/networkPolicy/dnsPorts"),
            ({"prometheus": {"url": URL}, "reap": {"schedule": "every minute"}}, "/reap/schedule"),
            ({"prometheus": {"url": URL}, "image": {"repository": "t", "digest": "sha256:1"}}, "/image/digest"),
        ],
    )
    def test_name_the_value(self, values: Obj, words: str) -> None:
        done = run("template", values)
        assert done.returncode != 0
        assert words in done.stderr

    def test_a_monitor_without_its_service_is_refused(self) -> None:
        metrics = {"service": {"enabled": False}, "serviceMonitor": {"enabled": True}}
        done = run("template", {"prometheus": {"url": URL}, "metrics": metrics})
        assert "set metrics.service.enabled" in done.stderr


class TestFiles:
    def test_the_chart_carries_the_crds_of_this_version(self) -> None:
        copies = {p.name: p.read_text() for p in (CHART / "crds").glob("*.yaml")}
        assert copies == {p.name: p.read_text() for p in (ROOT / "crds").glob("*.yaml")}
        assert copies

    def test_every_value_is_in_the_schema_and_every_property_has_a_default(self) -> None:
        schema = json.loads((CHART / "values.schema.json").read_text())
        values = yaml.safe_load((CHART / "values.yaml").read_text())
        assert paths_of_schema(schema, schema) - {"global"} == set(paths_of_values(values, schema))

    def test_the_app_version_is_the_package_s(self) -> None:
        chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
        version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
        assert version is not None
        assert chart["appVersion"] == chart["version"] == version[1]


def paths_of_schema(schema: Obj, node: Obj, prefix: str = "") -> set[str]:
    """Every property down to where free content begins."""
    found: set[str] = set()
    for name, child in node.get("properties", {}).items():
        inner = paths_of_schema(schema, child, f"{prefix}{name}.")
        found |= inner or {f"{prefix}{name}"}
    return found


def paths_of_values(values: Obj, node: Obj, prefix: str = "") -> list[str]:
    """Every value, as deep as the schema goes."""
    found: list[str] = []
    for name, value in values.items():
        child = node["properties"][name]
        inner = paths_of_values(value, child, f"{prefix}{name}.") if "properties" in child else []
        found += inner or [f"{prefix}{name}"]
    return found
