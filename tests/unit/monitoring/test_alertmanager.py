"""The Alertmanager example: who is told of which alert, what keeps quiet, and that every name in it is one.

Routing is played as Alertmanager does it where no route says `continue`: the first child that matches. A matcher is
anchored, and a label that is not there is empty.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitoring import ALERTS, Alert, Severity

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "alertmanager" / "alertmanager.yaml"
CONFIG: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text())
MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')
# A canary may be in the traffic that nobody holds.
NEVER_MUTED = {
    "TrimtabSafetyLoopStale", "TrimtabNamespaceUnread", "TrimtabTrialUnwatched", "TrimtabRollbackStuck",
    "TrimtabArmWithoutTrial", "TrimtabTrialBlind",
}  # fmt: skip
Labels = Mapping[str, str]


def matches(matchers: list[str], labels: Labels) -> bool:
    for text in matchers:
        found = MATCHER.fullmatch(text)
        assert found is not None, text
        name, how, value = found.groups()
        mine = labels.get(name, "")
        same = re.fullmatch(value, mine) is not None if how.endswith("~") else mine == value
        if same == how.startswith("!"):
            return False
    return True


def route_of(labels: Labels, route: Mapping[str, Any] = CONFIG["route"]) -> dict[str, Any]:
    """The route that takes an alert, with what it inherits; time intervals are not inherited."""
    for child in route.get("routes", ()):
        if matches(child["matchers"], labels):
            inherited = {k: v for k, v in route.items() if k not in {"routes", "matchers", "mute_time_intervals"}}
            return route_of(labels, {**inherited, **child})
    return dict(route)


def labels_of(alert: Alert, **more: str) -> Labels:
    place = {"namespace": "shop", "experiment": "web"} if alert.joined else {"namespace": "tuning", "job": "trimtab"}
    return {"alertname": alert.name, "severity": alert.severity.value, **place, **more}


def inhibited(target: Labels, source: Labels) -> bool:
    return any(
        matches(rule["source_matchers"], source)
        and matches(rule["target_matchers"], target)
        and all(source.get(name, "") == target.get(name, "") for name in rule["equal"])
        for rule in CONFIG["inhibit_rules"]
    )


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
class TestRoutes:
    def test_pages_and_tickets_go_where_they_belong(self, alert: Alert) -> None:
        wanted = "trimtab-pages" if alert.severity is Severity.PAGE else "trimtab-tickets"
        assert route_of(labels_of(alert))["receiver"] == wanted

    def test_an_experiment_is_one_notification(self, alert: Alert) -> None:
        assert route_of(labels_of(alert))["group_by"] == ["namespace", "experiment"]

    def test_windows_mute_what_waits_and_no_canary_that_nobody_holds(self, alert: Alert) -> None:
        muted = set(route_of(labels_of(alert)).get("mute_time_intervals", ()))
        assert ("maintenance" in muted) == (alert.name not in NEVER_MUTED)
        assert ("nights-and-weekends" in muted) == (alert.severity is Severity.TICKET)

    def test_a_ticket_goes_to_its_owner_and_a_page_to_who_is_on_call(self, alert: Alert) -> None:
        receiver = route_of(labels_of(alert, owner="team-shop"))["receiver"]
        assert receiver == ("trimtab-pages" if alert.severity is Severity.PAGE else "team-shop")


class TestInhibition:
    def test_a_page_silences_the_tickets_of_its_own_experiment(self) -> None:
        page = {"alertname": "TrimtabRollbackStuck", "severity": "page", "namespace": "shop", "experiment": "web"}
        ticket = {**page, "alertname": "TrimtabSlowConvergence", "severity": "ticket", "owner": "team-shop"}
        assert inhibited(ticket, page)
        assert not inhibited({**ticket, "experiment": "api"}, page)
        assert not inhibited({**ticket, "namespace": "billing"}, page)
        assert not inhibited({**page, "alertname": "TrimtabArmWithoutTrial"}, page)
        assert not inhibited({**ticket, "alertname": "DiskFull"}, page)

    def test_a_page_never_silences_itself(self) -> None:
        pages = [labels_of(alert) for alert in ALERTS if alert.severity is Severity.PAGE]
        assert [page["alertname"] for page in pages if inhibited(page, page)] == []

    def test_a_canary_without_a_leader_says_that_there_is_none(self) -> None:
        page = {"alertname": "TrimtabTrialUnwatched", "severity": "page", "namespace": "shop", "job": "trimtab"}
        ticket = {"alertname": "TrimtabNoLeader", "severity": "ticket", "namespace": "tuning", "job": "trimtab"}
        assert inhibited(ticket, page)
        assert not inhibited({**ticket, "job": "another"}, page)


class TestNames:
    def test_receivers_and_intervals_exist(self) -> None:
        receivers = {receiver["name"] for receiver in CONFIG["receivers"]}
        intervals = {interval["name"] for interval in CONFIG["time_intervals"]}
        routes = walk(CONFIG["route"])
        assert not any(route.get("continue") for route in routes)
        assert {route["receiver"] for route in routes} == receivers
        assert {name for route in routes for name in route.get("mute_time_intervals", ())} == intervals

    def test_alerts_that_are_named_exist(self) -> None:
        named = set(re.findall(r"Trimtab[A-Z]\w+", EXAMPLE.read_text()))
        assert named <= {alert.name for alert in ALERTS}
        assert named >= NEVER_MUTED

    @pytest.mark.skipif(shutil.which("amtool") is None, reason="amtool is not installed")
    def test_amtool_accepts_it(self) -> None:
        done = subprocess.run(["amtool", "check-config", str(EXAMPLE)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    @pytest.mark.skipif(shutil.which("amtool") is None, reason="amtool is not installed")
    @pytest.mark.parametrize("owner", ["", "team-shop", "another"])
    def test_amtool_routes_as_is_played_here(self, owner: str) -> None:
        for alert in ALERTS:
            labels = labels_of(alert, **({"owner": owner} if owner else {}))
            words = ["amtool", "config", "routes", "test", f"--config.file={EXAMPLE}"]
            words += [f"{name}={value}" for name, value in labels.items()]
            done = subprocess.run(words, capture_output=True, text=True)
            assert done.stdout.strip() == route_of(labels)["receiver"], alert.name


def walk(route: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [route, *(inner for child in route.get("routes", ()) for inner in walk(child))]
