"""The alert rules under promtool: each fires on the series it is made for, with words and numbers, and on no others.

Series come every 30 s from the pod that leads. `tuning` is the operator's namespace, `shop/web` the Experiment.
"""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.chart.test_render import CHART, of_kind, rendered, run

from controlplane import binaries
from monitoring import ALERTS, RECORDED

RULES = CHART / "files" / "alerts.yaml"
STEP = 30  # seconds between two samples
LONG = 360  # samples for which an alert that must not fire is watched
URL = "http://prometheus.monitoring:9090"
PROCESS = {"job": "trimtab-metrics", "namespace": "tuning", "pod": "trimtab-0"}
WEB = {**PROCESS, "namespace": "shop", "experiment": "web"}
BY_NAME = {alert.name: alert for alert in ALERTS}


def series(metric: str, values: str, labels: Mapping[str, str] = WEB, **more: str) -> dict[str, str]:
    """One input series in promtool's notation: `1x3` is four times 1, `1+2x3` is 1 3 5 7, `_` is no sample."""
    inner = ", ".join(f'{name}="{value}"' for name, value in {**labels, **more}.items())
    return {"series": f"trimtab_{metric}{{{inner}}}", "values": values}


LEADING = series("leader", "1x1000", PROCESS)
RUNNING = series("experiment_info", "1x1000", phase="Running")
OWNED = series("experiment_owner", "1x1000", owner="anna")


@dataclass(frozen=True)
class Case:
    """Series on which an alert fires at the sample `at` and did not one sample earlier, what it says then, and series
    on which it never does."""

    alert: str
    bad: Sequence[Mapping[str, str]]
    at: int
    summary: str
    description: str
    good: Sequence[Sequence[Mapping[str, str]]]
    labels: Mapping[str, str] | None = None


CASES: tuple[Case, ...] = (
    Case(
        "TrimtabSafetyLoopStale",
        [series("safety_tick_age_seconds", "1x20 31 stale", PROCESS)],
        21,
        "The safety loop did not judge the canaries for 31s",
        "Within 5 minutes trimtab-metrics in tuning led for 31s without judging every live trial; it should do so "
        "every 2 s. From 30 s on it gives up the lead, and the next leader may do no better.",
        [
            [series("safety_tick_age_seconds", "2x40 19 20 1x20", PROCESS)],
            # The API server answers nobody: who cannot renew its Lease leads no more after 10 s.
            [series("safety_tick_age_seconds", "1x20 13 stale _x3 1x20 14 stale _x3 1x20", PROCESS)],
        ],
        {"namespace": "tuning", "job": "trimtab-metrics"},
    ),
    Case(
        "TrimtabNamespaceUnread",
        [series("unread_namespaces", "0x10 2x20", PROCESS)],
        13,
        "The safety loop cannot see the arms of 2 namespace(s)",
        "trimtab-metrics in tuning has not been able to list arms in 2 of its namespaces for 1 minute: a canary there "
        "is judged by nobody. Those of the others are.",
        [[series("unread_namespaces", "0x10 1 1 0x20", PROCESS)]],
        {"namespace": "tuning", "job": "trimtab-metrics"},
    ),
    Case(
        "TrimtabTrialUnwatched",
        [series("live_trials", "0x3 1x4 stale"), series("leader", "1x8 stale", PROCESS)],
        11,
        "Experiment shop/web had a canary in the traffic when the operator went away",
        "1 trial(s) were in the traffic when trimtab-metrics last answered, at most 30 minutes ago, and no "
        "operator has led for 1 minute: nobody judges them.",
        [
            [series("live_trials", "1x20 0x1 stale"), series("leader", "1x20 0x10", PROCESS)],
            [series("live_trials", "1x8 stale"), series("leader", "1x8 stale 1x60", PROCESS)],
            [series("live_trials", "1x8 stale"), LEADING],
        ],
        {"namespace": "shop", "experiment": "web", "job": "trimtab-metrics"},
    ),
    Case(
        "TrimtabRollbackStuck",
        [series("rollback_open_seconds", "_x10 12 42 72")],
        11,
        "Experiment shop/web: a rollback is not over after 42s",
        "The arms of a withdrawn trial still serve or are not on record 42s after the decision; 30 s are the limit.",
        [[series("rollback_open_seconds", "_x10 12 29 stale")]],
    ),
    Case(
        "TrimtabArmWithoutTrial",
        [series("arms_without_trial", "_x10 1x20")],
        12,
        "Experiment shop/web: arms of 1 trial(s) that are over are still there",
        "The arms of 1 trial(s) that ended or are gone have been in the cluster for 1 minute; the operator "
        "deletes such arms at every tick, so its deletions fail.",
        [[series("arms_without_trial", "_x10 1 1 stale")]],
    ),
    Case(
        "TrimtabCanaryBreachesSlo",
        [series("experiment_trials", "4x40 5x20 6x20 7x20", verdict="Infeasible")],
        83,
        "Experiment shop/web: 3 canaries broke a bound within an hour",
        "3 trials of the last hour ended as Infeasible. None of them is in the traffic any more, but users met "
        "each, and so many say that the search is wrong about this service.",
        [
            [series("experiment_trials", "4x40 5x200 6x200 7x200", verdict="Infeasible")],
            [series("experiment_trials", "4x40 5x20 6x20 9x20", verdict="Succeeded")],
            [series("experiment_trials", "9x40", verdict="Infeasible")],  # the operator was started anew
            [
                series("experiment_trials", "0x40 1x20 2x20 3x400", verdict="Infeasible"),
                series("experiment_repairs", "1x500"),
            ],
        ],
    ),
    Case(
        "TrimtabErrorBudgetShareExceeded",
        [
            series("budget_spent_ratio", "0.09x20 0.104x40", budget="availability"),
            series("budget_share_limit_ratio", "0.1x60", budget="availability"),
            series("live_trials", "1x60"),
        ],
        25,
        "Experiment shop/web: a canary is in the traffic though the experiments' share of an error budget is spent",
        "Experiments have spent 10.4% of error budget availability, more than experimentSharePercent, and a "
        "trial has been live for 2 minutes since.",
        [
            [
                series("budget_spent_ratio", "0.104x60", budget="availability"),
                series("budget_share_limit_ratio", "0.1x60", budget="availability"),
                series("live_trials", "0x60"),
            ],
            [
                series("budget_spent_ratio", "0.1x60", budget="availability"),
                series("budget_share_limit_ratio", "0.1x60", budget="availability"),
                series("live_trials", "1x60"),
            ],
        ],
        {"namespace": "shop", "experiment": "web", "budget": "availability"},
    ),
    Case(
        "TrimtabTrialBlind",
        [series("blind_seconds", "5x10 35+30x5"), series("stale_after_seconds", "60x20")],
        13,
        "Experiment shop/web: a canary that nobody sees is still in the traffic",
        "No telemetry of the canary for 35s longer than safety.staleAfter, after which it should have been withdrawn.",
        [[series("blind_seconds", "5x10 35 65 85 stale"), series("stale_after_seconds", "60x20")]],
    ),
    Case(
        "TrimtabCostOverLimit",
        [
            series("experiment_cost_dollars", "2.4x20 2.6x20"),
            series("experiment_cost_limit_dollars", "2.5x40"),
            series("live_trials", "1x40"),
        ],
        23,
        "Experiment shop/web has cost $2.60, more than stopping.maxCost, and a trial is live",
        "The arms of ended trials cost $2.60, more than stopping.maxCost allowed at any time of the last 6 "
        "hours, and another trial has been live for 1 minute.",
        [
            [  # the last trial passed nothing, and no other one follows
                series("experiment_cost_dollars", "2.4x20 2.6x20"),
                series("experiment_cost_limit_dollars", "2.5x40"),
                series("live_trials", "1x20 0x20"),
            ],
            [  # somebody lowered the limit while a trial was live
                series("experiment_cost_dollars", "2.4x40"),
                series("experiment_cost_limit_dollars", "2.5x20 2x20"),
                series("live_trials", "1x40"),
            ],
            [series("experiment_cost_dollars", "900x40"), series("live_trials", "1x40")],  # there is no limit
        ],
    ),
    Case(
        "TrimtabCostRunaway",
        [series("experiment_cost_dollars", "1x20 25.5x20"), series("baseline_cost_dollars", "1x40")],
        21,
        "Experiment shop/web cost $24.50 within a day, more than the service itself",
        "The arms of trials that ended within 24 hours cost $24.50, more than the target itself costs in that time.",
        [[series("experiment_cost_dollars", "100x20 123x20"), series("baseline_cost_dollars", "1x40")]],
    ),
    Case(
        "TrimtabNoLeader",
        [series("leader", "1x20 0x20", PROCESS)],
        25,
        "No operator has led for 2 minutes",
        "No process of trimtab-metrics holds the Lease, or none is scraped; a standby takes over "
        "within 20 s. Nothing is tuned meanwhile.",
        [
            [LEADING],
            [series("leader", "1x20 0x20", PROCESS), series("leader", "0x22 1x1000", PROCESS, pod="trimtab-1")],
        ],
        {"namespace": "tuning", "job": "trimtab-metrics"},
    ),
    Case(
        "TrimtabWatchSilent",
        [series("watch_age_seconds", "20x20 60+30x4 0x30", PROCESS)],
        25,
        "The operator's watch was silent for 3m 0s",
        "The watch of trimtab-metrics in tuning missed changes for 3m 0s within 10 minutes; a list every 60 s "
        "proves it alive, and from 180 s on the liveness probe fails.",
        [[series("watch_age_seconds", "0 30 60 0 30 60 90 120 0x30", PROCESS)]],
        {"namespace": "tuning", "job": "trimtab-metrics"},
    ),
    Case(
        "TrimtabQueueStuck",
        [series("workqueue_depth", "0x20 14x60", PROCESS)],
        50,
        "14 Experiments wait for a worker",
        "For 15 minutes never less than 14 Experiments have waited in the queue of trimtab-metrics in tuning; "
        "trials are late, while the safety loop has a way of its own.",
        [[series("workqueue_depth", "0x20 40x28 3 40x28 0x400", PROCESS)]],
        {"namespace": "tuning", "job": "trimtab-metrics"},
    ),
    Case(
        "TrimtabReconcileFails",
        [series("reconcile_errors_total", "0x20 1+1x60", PROCESS, error="Forbidden")],
        36,
        "16 passes failed with Forbidden",
        "16 passes of trimtab-metrics in tuning failed within 30 minutes with Forbidden; the log says for "
        "which Experiments.",
        [
            [series("reconcile_errors_total", "0+1x90", PROCESS, error="Conflict")],
            [series("reconcile_errors_total", "0x20 1x20 2x20 3x40", PROCESS, error="Forbidden")],
        ],
        {"namespace": "tuning", "job": "trimtab-metrics", "error": "Forbidden"},
    ),
    Case(
        "TrimtabApiErrors",
        [
            series("api_requests_total", "0+30x90", PROCESS, verb="get", code="200"),
            series("api_requests_total", "0x20 10+10x70", PROCESS, verb="get", code="503"),
        ],
        57,
        "25% of the requests to the API server fail",
        "25% of the requests that trimtab-metrics in tuning made within 10 minutes had no answer, were "
        "throttled or failed in the API server; 10 % are the limit.",
        [
            [
                series("api_requests_total", "0+30x90", PROCESS, verb="get", code="200"),
                series("api_requests_total", "0+2x90", PROCESS, verb="get", code="503"),
                series("api_requests_total", "0+20x90", PROCESS, verb="get", code="404"),
            ]
        ],
        {"namespace": "tuning", "job": "trimtab-metrics"},
    ),
    Case(
        "TrimtabExperimentStalled",
        [series("experiment_condition", "0x10 1x60", type="Stalled")],
        41,
        "Experiment shop/web waits for a person",
        "The condition Stalled has been True for 15 minutes (value 1); status.message says what is to be done.",
        [
            [series("experiment_condition", "0x10 1x25 0x40", type="Stalled")],
            [series("experiment_condition", "1x60", type="Ready")],
        ],
    ),
    Case(
        "TrimtabTelemetryUnhealthy",
        [series("experiment_condition", "1x10 0x60", type="TelemetryHealthy"), RUNNING],
        41,
        "Experiment shop/web: Prometheus does not tell its SLIs",
        "The condition TelemetryHealthy has been False for 15 minutes (value 0): no trial starts until the "
        "SLIs of the target can be read.",
        [
            [
                series("experiment_condition", "0x90", type="TelemetryHealthy"),
                series("experiment_info", "1x90", phase="Completed"),
            ],
            [RUNNING],  # the condition is unknown
        ],
    ),
    Case(
        "TrimtabTrialsWithoutVerdict",
        [
            series("experiment_trials", "0x40 1x20 2x40", verdict="Inconclusive"),
            series("experiment_trials", "0x90 1x40", verdict="InfraFailed"),
            series("experiment_trials", "5x130", verdict="Succeeded"),
        ],
        91,
        "Experiment shop/web: 3 trials in a row taught nothing",
        "3 trials of the last 6 hours ended as Inconclusive or InfraFailed, and none with a verdict: they "
        "cost, and the search does not move.",
        [
            [
                series("experiment_trials", "0x40 1x20 2x20 3x400", verdict="Inconclusive"),
                series("experiment_trials", "5x60 6x400", verdict="Succeeded"),
            ],
            [series("experiment_trials", "0x40 1x20 2x20 3x60", verdict="Aborted")],  # people asked for it
        ],
    ),
    Case(
        "TrimtabSlowConvergence",
        [series("trials_counted", "19x10 20x60"), series("improvement_ratio", "0.004x70"), RUNNING],
        41,
        "Experiment shop/web: 20 trials and nothing found",
        "20 trials have ended as Succeeded, Infeasible or Inconclusive and nothing improves the objective by 1 %; "
        "20 trials usually find what there is.",
        [
            [series("trials_counted", "30x70"), series("improvement_ratio", "0.12x70"), RUNNING],
            [series("trials_counted", "30x70"), series("experiment_info", "1x70", phase="Completed")],
            [series("trials_counted", "19x70"), RUNNING],
        ],
    ),
    Case(
        "TrimtabCalibrationDrift",
        [series("calibration_coverage", "0.92x10 0.75x90"), series("trials_counted", "12x100"), RUNNING],
        71,
        "Experiment shop/web: the model is wrong more often than it says",
        "75% of the trials lie within the model's 95 % intervals, with at least 10 trials; below 80 % its "
        "margins are too small.",
        [
            [series("calibration_coverage", "0.6x100"), series("trials_counted", "6x100"), RUNNING],
            [series("calibration_coverage", "0.92x100"), series("trials_counted", "30x100"), RUNNING],
            [series("trials_counted", "30x100"), RUNNING],
        ],
    ),
    Case(
        "TrimtabModelSymptom",
        [series("model_symptoms", "0x10 2x300", kind="Drift"), RUNNING],
        251,
        "Experiment shop/web: the model shows Drift",
        "The models of 2 bound(s) have shown Drift for 2 hours.",
        [
            [series("model_symptoms", "2x300", kind="Outlier"), RUNNING],
            [series("model_symptoms", "0x10 2x200 0x100", kind="Drift"), RUNNING],
        ],
        {"namespace": "shop", "experiment": "web", "kind": "Drift"},
    ),
)


@functools.cache
def promtool() -> Path:
    """Built once into the user's cache."""
    return binaries(["promtool"])["promtool"]


def seconds(sample: int) -> str:
    return f"{sample * STEP}s"


def expectation(alert: str, at: int, *firing: Mapping[str, Any]) -> dict[str, Any]:
    return {"eval_time": seconds(at), "alertname": alert, "exp_alerts": [*firing]}


def told(case: Case, labels: Mapping[str, str]) -> dict[str, Any]:
    """The alert of a case as promtool wants it."""
    alert = BY_NAME[case.alert]
    words = {"summary": case.summary, "description": case.description, "runbook_url": f"runbooks/{alert.runbook}"}
    return {"exp_labels": {**labels, "severity": alert.severity.value}, "exp_annotations": words}


def played(folder: Path, *tests: Mapping[str, Any], alert: str = "") -> str:
    """What promtool has against these tests; "" when nothing. With `alert` only that rule is evaluated, beside what is
    recorded: a tenth of the time."""
    rules = yaml.safe_load(RULES.read_text())
    for group in rules["groups"]:
        group["rules"] = [r for r in group["rules"] if not alert or r.get("alert", alert) == alert]
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules))
    document = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": f"{STEP}s",
        "tests": [{"interval": f"{STEP}s", **test} for test in tests],
    }
    path = folder / "test.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    done = subprocess.run([str(promtool()), "test", "rules", str(path)], capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def labels_of(case: Case) -> Mapping[str, str]:
    return case.labels or {"namespace": "shop", "experiment": "web"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
class TestEachAlert:
    def test_fires_in_time_with_its_numbers(self, case: Case, tmp_path: Path) -> None:
        early, late = (
            expectation(case.alert, case.at - 1),
            expectation(case.alert, case.at, told(case, labels_of(case))),
        )
        assert played(tmp_path, {"input_series": [*case.bad], "alert_rule_test": [early, late]}, alert=case.alert) == ""

    def test_does_not_fire_on_what_is_near(self, case: Case, tmp_path: Path) -> None:
        fired = f'count_over_time(ALERTS{{alertname="{case.alert}", alertstate="firing"}}[{seconds(LONG)}])'
        never = [{"expr": fired, "eval_time": seconds(LONG), "exp_samples": []}]
        tests = [{"input_series": [*near], "promql_expr_test": never} for near in case.good]
        assert tests
        assert played(tmp_path, *tests, alert=case.alert) == ""

    def test_carries_the_owner_where_there_is_one(self, case: Case, tmp_path: Path) -> None:
        """Also where two pods tell it at once, as while the leader changes."""
        labels = {**labels_of(case), "owner": "anna"} if BY_NAME[case.alert].joined else labels_of(case)
        twice = [OWNED, series("experiment_owner", "1x1000", owner="anna", pod="trimtab-1")]
        fires = expectation(case.alert, case.at, told(case, labels))
        assert (
            played(tmp_path, {"input_series": [*case.bad, *twice], "alert_rule_test": [fires]}, alert=case.alert) == ""
        )


# Everything that an install in good health exports, with a trial live and one violation an hour ago.
HEALTHY: tuple[Mapping[str, str], ...] = (
    LEADING,
    RUNNING,
    OWNED,
    series("leader", "0x1000", PROCESS, pod="trimtab-1"),
    series("safety_tick_age_seconds", "1x1000", PROCESS),
    series("watch_age_seconds", "0 30 60 0 30 60 0 30 60 0x1000", PROCESS),
    series("workqueue_depth", "0 2 0 1 0x1000", PROCESS),
    series("workqueue_depth", "0x1000", PROCESS, pod="trimtab-1"),
    series("reconcile_errors_total", "0x300 1x1000", PROCESS, error="Unavailable"),
    series("api_requests_total", "0+30x1000", PROCESS, verb="get", code="200"),
    series("api_requests_total", "0x100 1x1000", PROCESS, verb="get", code="0"),
    series("live_trials", "1x20 0x3 1x20 0x3 1x1000"),
    series("blind_seconds", "3x1000"),
    series("stale_after_seconds", "60x1000"),
    series("rollback_open_seconds", "_x200 4 stale"),
    series("budget_spent_ratio", "0.02x1000", budget="availability"),
    series("budget_share_limit_ratio", "0.1x1000", budget="availability"),
    series("experiment_cost_dollars", "1+0.01x1000"),
    series("experiment_cost_limit_dollars", "20x1000"),
    series("baseline_cost_dollars", "1.5x1000"),
    series("experiment_trials", "1x100 2x1000", verdict="Infeasible"),
    series("experiment_trials", "4x50 5x50 6x50 7x1000", verdict="Succeeded"),
    series("experiment_trials", "0x150 1x1000", verdict="Inconclusive"),
    series("experiment_condition", "0x1000", type="Stalled"),
    series("experiment_condition", "1x1000", type="TelemetryHealthy"),
    series("trials_counted", "6x100 25x1000"),
    series("improvement_ratio", "_x50 0.14x1000"),
    series("calibration_coverage", "_x50 0.93x1000"),
    series("model_symptoms", "0x50 1x20 0x1000", kind="Drift"),
)


def test_an_install_in_good_health_is_silent(tmp_path: Path) -> None:
    never = {"expr": f'count_over_time(ALERTS{{alertstate="firing"}}[{seconds(LONG)}])', "eval_time": seconds(LONG)}
    test = {"input_series": [*HEALTHY], "promql_expr_test": [{**never, "exp_samples": []}]}
    assert played(tmp_path, test) == ""


def test_a_page_outlives_the_change_of_the_leader(tmp_path: Path) -> None:
    """Another pod tells the same from the next scrape on: the alert neither ends nor begins anew."""
    case = next(c for c in CASES if c.alert == "TrimtabArmWithoutTrial")
    first = series("arms_without_trial", "_x10 1x1 stale")
    second = series("arms_without_trial", "_x12 1x20", pod="trimtab-1")
    fires = expectation(case.alert, case.at, told(case, labels_of(case)))
    assert played(tmp_path, {"input_series": [first, second], "alert_rule_test": [fires]}, alert=case.alert) == ""


SCRAPE = 15  # seconds


def ages(pod: str, reigns: Sequence[int], lasting: int, until: int) -> dict[str, str]:
    """The age of a pod's safety loop as it is scraped: it leads from these seconds on and judges nothing."""
    led = [[at - began for began in reigns if 0 <= at - began < lasting] for at in range(0, until, SCRAPE)]
    values = " ".join(str(age[0]) if age else "stale" for age in led)
    return series("safety_tick_age_seconds", values, PROCESS, pod=pod)


def test_a_safety_loop_that_judges_nothing_pages_though_the_lead_changes_hands(tmp_path: Path) -> None:
    """Lists time out and the Lease does not, so each of two pods leads for 40 s and judges nothing. The page begins
    within the first reign, is one for all of them, and ends with what it remembers."""
    reigns = range(0, 900, 48)  # of either in turn, and nobody leads for 8 s between
    over = reigns[-1] + 40
    pods = [ages(f"trimtab-{n}", reigns[n::2], 40, over) for n in (0, 1)]
    alert = "TrimtabSafetyLoopStale"
    fires = f'count(ALERTS{{alertname="{alert}", alertstate="firing"}})'
    every = range(STEP * 2, over + 270, STEP)
    one = [{"expr": fires, "eval_time": f"{at}s", "exp_samples": [{"labels": "{}", "value": 1}]} for at in every]
    none = [{"expr": fires, "eval_time": f"{at}s", "exp_samples": []} for at in (0, over + 330)]
    test = {"interval": f"{SCRAPE}s", "input_series": pods, "promql_expr_test": [*one, *none]}
    assert played(tmp_path, test, alert=alert) == ""


def test_who_owns_it_is_known_when_the_operator_is_gone(tmp_path: Path) -> None:
    case = next(c for c in CASES if c.alert == "TrimtabTrialUnwatched")
    owner = series("experiment_owner", "1x8 stale", owner="anna")
    fires = expectation(case.alert, case.at, told(case, {**labels_of(case), "owner": "anna"}))
    assert played(tmp_path, {"input_series": [*case.bad, owner], "alert_rule_test": [fires]}, alert=case.alert) == ""


@pytest.mark.parametrize("owners", [[""], ["anna", "ben"]])
def test_no_owner_or_a_new_one_loses_no_alert(owners: list[str], tmp_path: Path) -> None:
    """A join that meets two series on its right fails, and with it the page."""
    case = next(c for c in CASES if c.alert == "TrimtabRollbackStuck")
    changed = [series("experiment_owner", "1x2 stale" if n == 0 else "_x3 1x20", owner=o) for n, o in enumerate(owners)]
    query = f'count(ALERTS{{alertname="{case.alert}", alertstate="firing"}})'
    one = {"expr": query, "eval_time": seconds(case.at), "exp_samples": [{"labels": "{}", "value": 1}]}
    test = {"input_series": [*case.bad, *changed], "promql_expr_test": [one]}
    assert played(tmp_path, test, alert=case.alert) == ""


def test_nothing_scraped_at_all_is_no_leader(tmp_path: Path) -> None:
    alert = BY_NAME["TrimtabNoLeader"]
    query = {"expr": f'ALERTS{{alertname="{alert.name}", alertstate="firing"}}', "eval_time": seconds(5)}
    labels = f'ALERTS{{alertname="{alert.name}", alertstate="firing", severity="ticket"}}'
    test = {"input_series": [OWNED], "promql_expr_test": [{**query, "exp_samples": [{"labels": labels, "value": 1}]}]}
    assert played(tmp_path, test, alert=alert.name) == ""


class TestTheTable:
    def test_promtool_accepts_the_file(self) -> None:
        done = subprocess.run([str(promtool()), "check", "rules", str(RULES)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"{len(ALERTS) + len(RECORDED)} rules found" in done.stdout + done.stderr

    def test_every_alert_has_a_case(self) -> None:
        assert [case.alert for case in CASES] == [alert.name for alert in ALERTS]


class TestChart:
    def test_a_rule_is_the_file_s_with_the_install_s_words(self) -> None:
        raw = yaml.safe_load(RULES.read_text())
        (rule,) = of_kind("PrometheusRule", rendered(alerts={"enabled": True}))
        assert rule["spec"] == raw
        changed = {
            "enabled": True,
            "labels": {"release": "prometheus"},
            "ruleLabels": {"team": "platform", "severity": "none"},
            "severities": {"page": "critical", "ticket": "warning"},
            "runbookBaseUrl": "https://docs.example.com/trimtab/",
        }
        (rule,) = of_kind("PrometheusRule", rendered(alerts=changed))
        assert rule["metadata"]["labels"]["release"] == "prometheus"
        alerts = {r["alert"]: r for g in rule["spec"]["groups"] for r in g["rules"] if "alert" in r}
        stuck = alerts["TrimtabRollbackStuck"]
        assert stuck["labels"] == {"severity": "critical", "team": "platform"}
        assert stuck["annotations"]["runbook_url"] == "https://docs.example.com/trimtab/runbooks/rollback-stuck.md"
        assert alerts["TrimtabNoLeader"]["labels"]["severity"] == "warning"
        assert {a.name: a.query for a in ALERTS} == {name: alert["expr"] for name, alert in alerts.items()}

    def test_an_alert_that_is_not_wanted_is_left_out(self) -> None:
        (rule,) = of_kind("PrometheusRule", rendered(alerts={"enabled": True, "disabled": ["TrimtabCostRunaway"]}))
        names = [r.get("alert", r.get("record")) for g in rule["spec"]["groups"] for r in g["rules"]]
        assert len(names) == len(ALERTS) + len(RECORDED) - 1
        assert "TrimtabCostRunaway" not in names

    def test_an_unknown_name_is_refused_with_those_there_are(self) -> None:
        alerts = {"enabled": True, "disabled": ["TrimtabCostRunnaway"]}
        done = run("template", {"prometheus": {"url": URL}, "alerts": alerts})
        assert (
            'alerts.disabled: there is no alert "TrimtabCostRunnaway"; there are TrimtabSafetyLoopStale' in done.stderr
        )

    def test_helm_lint_has_nothing_to_say(self) -> None:
        done = run("lint", {"prometheus": {"url": URL}, "alerts": {"enabled": True}, "dashboards": {"enabled": True}})
        assert done.returncode == 0, done.stdout
        assert "[WARNING]" not in done.stdout

    def test_nothing_is_installed_unless_asked_for(self) -> None:
        assert not of_kind("PrometheusRule", rendered())
