"""Alert rules in a real Prometheus that scrapes the operator's own metrics, and runbooks typed on a real API server."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from prometheus_client import start_http_server
from tests.cluster.conftest import PrometheusFactory
from tests.unit.monitoring.shell import RUNBOOKS, commands, operands

from controlplane import ApiClient, ControlPlane, PrometheusServer, scrape_config, wait_for
from monitoring import ALERTS, DASHBOARDS, RECORDED
from monitoring.queries import GRAFANA
from stack import drop_namespaces, make_namespaces
from stack.paths import CHART, EXAMPLES
from trimtab.api.convert import experiment_record, trial_manifest
from trimtab.domain.kinds import HTTP_ROUTES
from trimtab.domain.names import ANNOTATION_ROUTE
from trimtab.domain.state import ExperimentPhase
from trimtab.domain.trial import Environment, Purpose, Suggestion
from trimtab.ports import NewTrial
from trimtab.runtime.metrics import Metrics
from trimtab.runtime.sight import InTraffic, live

OPERATOR = {"namespace": "tuning"}  # what service discovery knows of the operator's pod


@contextlib.contextmanager
def served(metrics: Metrics) -> Iterator[str]:
    """The exposition on a port of loopback; host:port."""
    server, thread = start_http_server(0, addr="127.0.0.1", registry=metrics.registry)
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def leader() -> Metrics:
    """A leading operator with one Experiment that runs."""
    metrics = Metrics()
    metrics.watch_process(
        leading=lambda: True, queue_depth=lambda: 0, safety_tick_age=lambda: 1.0, watch_age=lambda: 10.0
    )
    metrics.set_phase("shop", "web", ExperimentPhase.RUNNING)
    metrics.observe_live(live([InTraffic("shop", "web", serving=True)], 0.0))
    return metrics


def rules(*, pending: str | None = None) -> list[dict[str, Any]]:
    """The chart's groups, evaluated each second; with `pending` every `for` is that."""
    groups: list[dict[str, Any]] = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())["groups"]
    for group in groups:
        group["interval"] = "1s"
        for rule in group["rules"]:
            if "alert" in rule and pending is not None:
                rule["for"] = pending
    return groups


def started(factory: PrometheusFactory, address: str, *, honor_labels: bool = True) -> PrometheusServer:
    """A Prometheus that scrapes it each second, with the label that discovery adds."""
    config = scrape_config({"trimtab-metrics": [address]}, honor_labels=honor_labels)
    config["scrape_configs"][0]["static_configs"][0]["labels"] = OPERATOR
    return factory(config, rules=rules(pending="0s"))


def firing(server: PrometheusServer) -> dict[str, dict[str, str]]:
    """Labels of what fires, by alert."""
    alerts = json.loads(server.request("GET", "/api/v1/alerts"))["data"]["alerts"]
    return {a["labels"]["alertname"]: a["labels"] for a in alerts if a["state"] == "firing"}


class TestRules:
    def test_prometheus_evaluates_every_rule_over_what_the_operator_exports(
        self, prometheus_factory: PrometheusFactory
    ) -> None:
        metrics = leader()
        with served(metrics) as address:
            server = started(prometheus_factory, address)

            def evaluated() -> list[dict[str, Any]]:
                groups = json.loads(server.request("GET", "/api/v1/rules"))["data"]["groups"]
                found = [rule for group in groups for rule in group["rules"]]
                return found if found and all(rule["health"] != "unknown" for rule in found) else []

            found = wait_for(evaluated, "every rule to be evaluated", seconds=30)
            assert len(found) == len(ALERTS) + len(RECORDED)
            assert [(rule["name"], rule.get("lastError")) for rule in found if rule["health"] != "ok"] == []
            wait_for(lambda: server.value("trimtab_leader"), "a scrape", seconds=30)
            wait_for(lambda: not firing(server), "an operator in good health to be silent", seconds=30)

    def test_a_page_names_the_experiment_and_ends_with_its_cause(self, prometheus_factory: PrometheusFactory) -> None:
        metrics = leader()
        with served(metrics) as address:
            server = started(prometheus_factory, address)
            metrics.observe_rollbacks({("shop", "web"): 42.0}, {("shop", "web"): 1.0})
            labels = wait_for(lambda: firing(server).get("TrimtabRollbackStuck"), "the page", seconds=30)
            assert (labels["namespace"], labels["experiment"], labels["severity"]) == ("shop", "web", "page")
            assert "exported_namespace" not in labels
            metrics.observe_rollbacks({}, {})
            wait_for(lambda: "TrimtabRollbackStuck" not in firing(server), "the page to end", seconds=30)

    def test_an_operator_that_dies_with_a_canary_in_the_traffic(self, prometheus_factory: PrometheusFactory) -> None:
        with served(leader()) as address:
            server = started(prometheus_factory, address)
            wait_for(lambda: server.value("trimtab_live_trials"), "a scrape", seconds=30)
            wait_for(lambda: not firing(server), "silence", seconds=30)
        labels = wait_for(lambda: firing(server).get("TrimtabTrialUnwatched"), "the page", seconds=30)
        assert (labels["namespace"], labels["experiment"]) == ("shop", "web")
        wait_for(lambda: firing(server).get("TrimtabNoLeader"), "the ticket", seconds=30)


class TestDashboards:
    def test_prometheus_answers_every_panel(self, prometheus_factory: PrometheusFactory) -> None:
        """With everything chosen, as when a dashboard is opened; an error is a panel that stays red."""
        with served(leader()) as address:
            server = started(prometheus_factory, address)
            wait_for(lambda: server.value("trimtab_leader"), "a scrape", seconds=30)
            shown = set()
            for board in DASHBOARDS:
                for panel in board.panels:
                    for query, _ in panel.queries:
                        filled = GRAFANA.sub("1m", query).replace("$namespace", ".*").replace("$experiment", ".*")
                        if server.query(filled):
                            shown.add(panel.title)
            assert {"Live trials", "Leader", "Safety loop", "Experiments by phase"} <= shown


# What needs a kubelet, a running operator, somebody to wait for, or a history. Everything else is typed.
UNTYPED = {"logs", "exec", "port-forward", "wait", "undo", "--watch", "$object"}


class Ground:
    """Namespaces of a service and of an operator, with what the runbooks name."""

    def __init__(self, plane: ControlPlane, service: str, operator: str) -> None:
        self.plane, self.client, self.service, self.operator = plane, plane.client, service, operator
        self.kubeconfig = plane.kubeconfig()
        self.trial = self._prepare()

    def _prepare(self) -> str:
        """A service, an operator that is not there, and an Experiment with a Trial; the Trial's name."""
        self._deployment(self.service, "web", paused=True)
        self._deployment(self.operator, "trimtab")
        lease = {"holderIdentity": "trimtab-0", "renewTime": "2026-03-04T10:00:00.000000Z"}
        metadata = {"name": "trimtab-operator", "namespace": self.operator}
        self.client.create(
            {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": lease}
        )
        self._cron_job(self.operator, "trimtab-reap")
        self._route(self.service, "shop")
        manifest = yaml.safe_load((EXAMPLES / "minimal" / "experiment.yaml").read_text())
        manifest["metadata"] = {"name": "web", "namespace": self.service}
        record = experiment_record(self.client.create(manifest))
        assert record.spec is not None
        assignment = record.spec.space.parse({"cpu": "500m", "memory": "768Mi"})
        suggestion = Suggestion(assignment, Purpose.BASELINE, 1, False, None, None, (), "digest", 0.0, 0.0)
        environment = Environment("hash", "target", "web:1", 4)
        trial = self.client.create(
            trial_manifest(record, NewTrial(7, suggestion, environment, record.spec.digest, 0.25))
        )
        return str(trial["metadata"]["name"])

    def _deployment(self, namespace: str, name: str, **spec: Any) -> None:
        labels = {"app": name}
        pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "none:1"}]}}
        body = {"replicas": 0, "selector": {"matchLabels": labels}, "template": pod, **spec}
        metadata = {"name": name, "namespace": namespace}
        self.client.create({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": body})

    def _cron_job(self, namespace: str, name: str) -> None:
        """One that never comes by itself."""
        pod = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "none:1"}]}}
        spec = {"schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": {"spec": {"template": pod}}}
        metadata = {"name": name, "namespace": namespace}
        self.client.create({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata, "spec": spec})

    def _route(self, namespace: str, name: str) -> None:
        """One that was not freed."""
        metadata = {"name": name, "namespace": namespace, "annotations": {ANNOTATION_ROUTE: "{}"}}
        rules = [{"name": "pages", "backendRefs": [{"name": "web", "port": 80}]}]
        body = {"apiVersion": HTTP_ROUTES.api_version, "kind": HTTP_ROUTES.name, "metadata": metadata}
        self.client.create({**body, "spec": {"rules": rules}})

    def type(self, words: list[str]) -> str:
        """What kubectl has against it; "" when it does it."""
        swapped = [self._here(before, word) for before, word in zip(["", *words], words, strict=False)]
        command = [str(self.plane.kubectl), "--kubeconfig", str(self.kubeconfig), *swapped]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        asked = "can-i" in words and done.stdout.strip() in {"yes", "no"}  # the answer is the exit status
        return "" if done.returncode == 0 or asked else f"{' '.join(words)}: {done.stderr.strip()}"

    def _here(self, before: str, word: str) -> str:
        """The word, with the names of this test where a runbook has those of its reader."""
        if word.startswith("--as=system:serviceaccount:"):
            return f"--as=system:serviceaccount:{self.operator}:trimtab"
        if before in {"-n", "namespace"}:
            return {"shop": self.service, "trimtab": self.operator}[word]
        return word.replace("web-1f2e3d-0007", self.trial)


@pytest.fixture
def ground(controlplane: ControlPlane, namespace: str) -> Iterator[Ground]:
    operator = f"{namespace}-operator"
    make_namespaces(controlplane.client, operator)
    yield Ground(controlplane, namespace, operator)
    drop_namespaces(controlplane.client, operator)


def typed(page: str) -> list[list[str]]:
    """The kubectl commands of a page that need no kubelet."""
    found = [words[1:] for name, words in commands() if name == page and words[0] == "kubectl"]
    return [words for words in found if not UNTYPED & {operands(words)[0], *words}]


@pytest.mark.parametrize("page", [path.name for path in RUNBOOKS])
def test_the_commands_of_a_runbook_work_in_their_order(ground: Ground, page: str, admin: ApiClient) -> None:
    pages = typed(page)
    assert pages
    assert [problem for words in pages if (problem := ground.type(words))] == []
    assert admin.find("v1", "Namespace", ground.operator)
