"""The tables behind alert rules and dashboards: what they ask for is exported, and where they send people exists."""

from __future__ import annotations

import json
import re
from enum import StrEnum
from pathlib import Path
from typing import Any

import promql_parser
import pytest

from monitoring import ALERTS, DASHBOARDS, RECORDED, dashboard_file, metrics_of
from monitoring.queries import GRAFANA, KEY, OWNER_SERIES, PART
from trimtab.domain.state import ConditionType, ExperimentPhase
from trimtab.domain.study import SymptomKind
from trimtab.domain.trial import TrialPhase
from trimtab.runtime.metrics import OWNER, Described, Metrics

ROOT = Path(__file__).resolve().parents[3]
EXPORTED: dict[str, Described] = {m.name: m for m in Metrics().described}
# Joined where it is exported; what Prometheus itself adds; labels of every scrape.
OTHERS = {OWNER_SERIES, "ALERTS"}
SCRAPED = {"job", "pod", "namespace", "instance"}
VALUES: dict[str, type[StrEnum]] = {
    "verdict": TrialPhase, "phase": ExperimentPhase, "type": ConditionType, "kind": SymptomKind,
}  # fmt: skip
HEALTH = {  # M1 to M9; M10 is a matter of many runs, which the benchmark reports
    "M1": "trimtab_best_objective",
    "M2": "trimtab_improvement_per_trial",
    "M3": "trimtab_time_to_convergence_seconds",
    "M4": "trimtab_cost_per_improvement",
    "M5": "trimtab_safety_violation_ratio",
    "M6": "trimtab_proposal_diversity",
    "M7": "trimtab_acquisition_seconds",
    "M8": "trimtab_calibration_coverage",
    "M9": "trimtab_parallel_efficiency",
}
QUERIES = {
    **{alert.name: alert.query for alert in ALERTS},
    **dict(RECORDED.values()),
    **{
        f"{board.name}: {panel.title} {number}": query
        for board in DASHBOARDS
        for panel in board.panels
        for number, (query, _) in enumerate(panel.queries)
    },
}


def selectors(query: str) -> list[Any]:
    """Every selector of a query."""
    found: list[Any] = []

    def visit(node: object) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)
        return True

    promql_parser.walk(promql_parser.parse(GRAFANA.sub("5m", query)), visit)
    return found


@pytest.mark.parametrize("name", QUERIES)
def test_every_query_asks_for_what_is_exported(name: str) -> None:
    recorded = {record for record, _ in RECORDED.values()}
    asked = metrics_of(QUERIES[name])
    assert asked
    assert asked - set(EXPORTED) - OTHERS - recorded == set()


@pytest.mark.parametrize("name", QUERIES)
def test_every_label_that_is_matched_is_one_of_the_metric_s(name: str) -> None:
    """A matcher of a label that is not there selects nothing, and nobody sees that."""
    for selector in selectors(QUERIES[name]):
        metric = EXPORTED.get(PART.sub("", selector.name or ""))
        if metric is None:
            continue
        matched = {m.name for m in selector.matchers.matchers}
        assert matched - set(metric.labels) - SCRAPED - {"le"} == set()


def test_values_that_are_matched_are_ones_that_there_are() -> None:
    """A misspelt phase or condition selects nothing either."""
    matched = [
        (m.name, value)
        for query in QUERIES.values()
        for selector in selectors(query)
        if (selector.name or "").startswith("trimtab_")
        for m in selector.matchers.matchers
        if m.name in VALUES
        for value in m.value.split("|")
    ]
    assert {name for name, _ in matched} == set(VALUES)
    assert [(name, value) for name, value in matched if value not in set(VALUES[name])] == []


def test_no_gauge_is_asked_for_its_rate() -> None:
    """A rate of a gauge is a number that means nothing."""
    rated = {
        m
        for query in QUERIES.values()
        for m in re.findall(r"(?:rate|increase)\((trimtab_\w+)", query)
        if EXPORTED[PART.sub("", m)].kind == "gauge"
    }
    assert rated == set()


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
class TestAlert:
    def test_its_runbook_exists_and_names_it(self, alert: Any) -> None:
        page = ROOT / "runbooks" / alert.runbook
        assert page.exists()
        assert f"`{alert.name}`" in page.read_text()
        index = (ROOT / "runbooks" / "README.md").read_text().splitlines()
        (row,) = [line for line in index if f"`{alert.name}`" in line]
        assert f"]({alert.runbook})" in row

    def test_its_words_hold_numbers(self, alert: Any) -> None:
        assert alert.summary
        assert re.search(r"\$value|\d", alert.description)

    def test_its_series_are_the_same_whichever_process_leads(self, alert: Any) -> None:
        assert "pod" not in alert.expression
        assert "instance" not in alert.expression
        assert alert.joined == (KEY in alert.expression.replace("job, ", ""))

    def test_its_name_is_told_by_its_prefix(self, alert: Any) -> None:
        assert re.fullmatch(r"Trimtab[A-Z][A-Za-z]+", alert.name)


def test_names_are_unique() -> None:
    assert len({alert.name for alert in ALERTS}) == len(ALERTS)


@pytest.mark.parametrize("board", DASHBOARDS, ids=lambda board: board.name)
class TestDashboard:
    def test_panels_lie_beside_each_other(self, board: Any) -> None:
        page = json.loads(dashboard_file(board))
        cells = [
            (x, y)
            for panel in page["panels"]
            for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
            for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
        ]
        assert len(cells) == len(set(cells))
        assert max(x for x, _ in cells) < 24
        assert len({panel["id"] for panel in page["panels"]}) == len(board.panels)

    def test_every_panel_says_what_it_shows(self, board: Any) -> None:
        assert [panel.title for panel in board.panels if not panel.text] == []

    def test_legends_name_labels_that_the_query_keeps(self, board: Any) -> None:
        for panel in board.panels:
            for query, legend in panel.queries:
                kept = {name for group in re.findall(r"by \(([^)]*)\)", query) for name in group.split(", ")}
                assert set(re.findall(r"\{\{(\w+)\}\}", legend)) - kept == set(), panel.title

    def test_an_experiment_s_series_are_those_that_were_chosen(self, board: Any) -> None:
        for panel in board.panels:
            for selector in (s for query, _ in panel.queries for s in selectors(query)):
                metric = EXPORTED.get(PART.sub("", selector.name))
                if metric is not None and metric.labels[:2] == OWNER:
                    assert {m.name for m in selector.matchers.matchers} >= set(OWNER), panel.title

    def test_it_is_found_under_a_name_that_stays(self, board: Any) -> None:
        assert json.loads(dashboard_file(board))["uid"] == f"trimtab-{board.name}"


def test_the_health_of_the_loop_is_on_a_dashboard() -> None:
    shown = {
        m for board in DASHBOARDS for panel in board.panels for query, _ in panel.queries for m in metrics_of(query)
    }
    assert set(HEALTH.values()) - shown == set()
    told = " ".join(panel.text for board in DASHBOARDS for panel in board.panels)
    assert [name for name in HEALTH if f"{name}." not in told] == []
