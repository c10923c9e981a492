"""The dashboards: one table of panels, from which the Grafana JSON is made that the chart installs.

Three readers, three pages: who pays (executive), who is on call, and who asks why the model does what it does (debug).
Values of the last scrape are added up over the processes first, as the leader changes. Suggestions and raw measurements
are in the Trials: a metric never carries a trial's id.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from monitoring.queries import grown, worst

CHOSEN = 'namespace=~"$namespace", experiment=~"$experiment"'
EACH = "{{namespace}}/{{experiment}}"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS, HEIGHT = 24, 8
DOLLARS, RATIO, SECONDS, COUNT = "currencyUSD", "percentunit", "s", "short"
NO_VERDICT = 'verdict=~"Inconclusive|InfraFailed|Aborted|Stale"'
STALLED, NEEDED = 'type="Stalled"', 'type=~"TelemetryHealthy|BudgetAvailable"'


@dataclass(frozen=True)
class Panel:
    """One panel. `queries` are (PromQL, legend); without any, `text` is Markdown. `width` in Grafana's 24 columns."""

    title: str
    text: str
    queries: tuple[tuple[str, str], ...] = ()
    unit: str = COUNT
    kind: str = "timeseries"
    width: int = 8
    logarithmic: bool = False


@dataclass(frozen=True)
class Dashboard:
    """One page; `name` is the file's and a part of the uid, which links keep."""

    name: str
    title: str
    panels: tuple[Panel, ...] = field(repr=False)


def of(metric: str, *labels: str, also: str = "") -> str:
    """A gauge of the chosen Experiments; `also` are further matchers."""
    return worst(f"{metric}{{{CHOSEN}{', ' + also if also else ''}}}", *labels)


def total(metric: str, also: str = "") -> str:
    """A gauge added up over the chosen Experiments."""
    return f"sum({of(metric, also=also)})"


def quantile(q: float, metric: str) -> str:
    """Of a histogram of the chosen Experiments; NaN, which Grafana leaves out, while nothing was observed."""
    rate = f"sum by (namespace, experiment, le) (rate({metric}_bucket{{{CHOSEN}}}[$__rate_interval]))"
    return f"histogram_quantile({q}, {rate})"


def each(metric: str, also: str = "") -> tuple[tuple[str, str], ...]:
    """One line for each Experiment."""
    return ((of(metric, also=also), EACH),)


EXECUTIVE = Dashboard(
    "executive",
    "Trimtab: what it brings and what it costs",
    (
        Panel("Saving per month", "What the incumbents, in the end the recommendations, save in 730 hours. It is saved "
              "once they are applied.", ((total("trimtab_monthly_saving_dollars"), ""),), DOLLARS, "stat", 6),
        Panel("Cost of the experiments", "What the arms of all ended Trials cost by their requests, of the Experiments "
              "that still exist.", ((total("trimtab_experiment_cost_dollars"), ""),), DOLLARS, "stat", 6),
        Panel("Return", "A month's saving over what the Trials cost; 1 means: paid back in a month.",
              ((f'{total("trimtab_monthly_saving_dollars")} / {total("trimtab_experiment_cost_dollars")}', ""),),
              COUNT, "stat", 6),
        Panel("Safety violations", "Trials whose canary broke a bound, and was withdrawn.",
              ((total("trimtab_experiment_trials", 'verdict="Infeasible"'), ""),), COUNT, "stat", 6),
        Panel("Best objective", "M1. The first objective of what was found, in its own unit: $ per hour where it is "
              "the cost. Measured by canaries where it is not.", each("trimtab_best_objective"), width=12),
        Panel("Cost of the service", "$ per hour of the target with today's settings and with what was found.",
              ((of("trimtab_baseline_cost_dollars"), f"{EACH} today"),
               (of("trimtab_found_cost_dollars"), f"{EACH} found")),
              DOLLARS, width=12),
        Panel("Cost of the experiments over time", "Cumulative, with stopping.maxCost where there is one.",
              ((of("trimtab_experiment_cost_dollars"), EACH),
               (of("trimtab_experiment_cost_limit_dollars"), f"{EACH} limit")),
              DOLLARS, width=12),
        Panel("Improvement", "Share of the first objective.", each("trimtab_improvement_ratio"), RATIO, width=12),
        Panel("Improvement per trial", "M2.", each("trimtab_improvement_per_trial"), RATIO),
        Panel("Time to convergence", "M3. From the passed preflight to the Trial that first measured what is "
              "recommended.", each("trimtab_time_to_convergence_seconds"), SECONDS),
        Panel("Cost per improvement", "M4. $ of Trials per percent of improvement.",
              each("trimtab_cost_per_improvement"), DOLLARS),
        Panel("Return by Experiment", "A month's saving over what its Trials cost.", each("trimtab_return_ratio")),
        Panel("Safety violation rate", "M5. Share of the Trials with a verdict whose canary broke a bound.",
              each("trimtab_safety_violation_ratio"), RATIO),
        Panel("Error budget of the services", "What is left, whoever spent it.",
              ((of("trimtab_budget_remaining_ratio", "budget"), f"{EACH} {{{{budget}}}}"),), RATIO),
        Panel("Experiments by phase", "How many there are.",
              ((f'count by (phase) ({of("trimtab_experiment_info", "phase")} == 1)', "{{phase}}"),), COUNT, width=24),
    ),
)  # fmt: skip

ON_CALL = Dashboard(
    "on-call",
    "Trimtab: on call",
    (
        Panel("Live trials", "Trials with a ready endpoint in the traffic now.", ((total("trimtab_live_trials"), ""),),
              COUNT, "stat", 4),
        Panel("Leader", "Operators that lead; 1 is right for each install.", (("sum(trimtab_leader)", ""),), COUNT,
              "stat", 4),
        Panel("Rollbacks stuck", "Not over after 30 s. Nothing is shown while there is none.",
              ((total("trimtab_rollbacks_stuck"), ""),), COUNT, "stat", 4),
        Panel("Arms without a trial", "Nothing is shown while there is none.",
              ((total("trimtab_arms_without_trial"), ""),), COUNT, "stat", 4),
        Panel("Alerts that fire", "Those of Trimtab, with their severity.",
              (('sum by (alertname, severity) (ALERTS{alertname=~"Trimtab.*", alertstate="firing"})',
                "{{severity}} {{alertname}}"),), COUNT, "stat", 8),
        Panel("SLIs of canary and control", "Over the newest complete safety window of the live trial, each in its own "
              "unit. The control has the target's settings.",
              ((of("trimtab_sli_value", "sli", "arm"), f"{EACH} {{{{sli}}}} {{{{arm}}}}"),), width=12),
        Panel("E-values", "Evidence that the canary fails more than the control, and the limit from which on it is "
              "withdrawn.", ((of("trimtab_slo_evalue", "sli"), f"{EACH} {{{{sli}}}}"),
                             (of("trimtab_slo_evalue_limit", "sli"), f"{EACH} {{{{sli}}}} limit")),
              width=12, logarithmic=True),
        Panel("Seconds out of sight", "Since a canary in the traffic was last seen by every SLI; safety.staleAfter.",
              ((of("trimtab_blind_seconds"), EACH), (of("trimtab_stale_after_seconds"), f"{EACH} limit")), SECONDS),
        Panel("Rollback under way", "Since the oldest one began; 30 s are the limit.",
              each("trimtab_rollback_open_seconds"), SECONDS),
        Panel("Rollbacks, 95th percentile", "From the decision to no ready canary endpoint.",
              ((quantile(0.95, "trimtab_rollback_seconds"), EACH),), SECONDS),
        Panel("Trials by verdict", "Ended Trials in the ledger.",
              ((of("trimtab_experiment_trials", "verdict"), f"{EACH} {{{{verdict}}}}"),)),
        Panel("Trials in error", "Ended within the last hour without a verdict.",
              ((grown(f"trimtab_experiment_trials{{{CHOSEN}, {NO_VERDICT}}}", "1h", "verdict"),
                f"{EACH} {{{{verdict}}}}"),)),
        Panel("Withdrawals by reason", "Within an hour, as the leading process counted them.",
              ((f"sum by (namespace, experiment, reason) (increase(trimtab_rollbacks_total{{{CHOSEN}}}[1h]))",
                f"{EACH} {{{{reason}}}}"),)),
        Panel("Achieved share of the traffic", "What the canary of the last measured Trial got of all requests.",
              each("trimtab_traffic_share_ratio"), RATIO),
        Panel("Error budget left", "Of the service, whoever spent it.",
              ((of("trimtab_budget_remaining_ratio", "budget"), f"{EACH} {{{{budget}}}}"),), RATIO),
        Panel("Error budget lasts for", "At the burn rate of the last hour. Nothing is shown where some is always left "
              "at this rate.",
              ((of("trimtab_budget_exhaustion_seconds", "budget"), f"{EACH} {{{{budget}}}}"),), SECONDS,
              logarithmic=True),
        Panel("Error budget spent by experiments", "With experimentSharePercent, at which trials end.",
              ((of("trimtab_budget_spent_ratio", "budget"), f"{EACH} {{{{budget}}}}"),
               (of("trimtab_budget_share_limit_ratio", "budget"), f"{EACH} {{{{budget}}}} limit")), RATIO),
        Panel("Conditions that are not fine", "Stalled is True, or telemetry or budget is not there.",
              ((f'{of("trimtab_experiment_condition", "type", also=STALLED)} == 1', f"{EACH} {{{{type}}}}"),
               (f'{of("trimtab_experiment_condition", "type", also=NEEDED)} == 0', f"{EACH} no {{{{type}}}}"))),
        Panel("Safety loop", "Age of the last complete tick, and 99th percentile of how late one began: 1 s at most.",
              (("max by (job) (trimtab_safety_tick_age_seconds)", "{{job}} age"),
               ("histogram_quantile(0.99, sum by (job, le) "
                "(rate(trimtab_safety_tick_lateness_seconds_bucket[$__rate_interval])))", "{{job}} lateness p99")),
              SECONDS),
        Panel("Readings that are no sample", "Per minute, by reason.",
              ((f"60 * sum by (namespace, experiment, reason) (rate(trimtab_telemetry_errors_total{{{CHOSEN}}}"
                "[$__rate_interval]))", f"{EACH} {{{{reason}}}}"),)),
    ),
)  # fmt: skip

DEBUG = Dashboard(
    "debug",
    "Trimtab: why the search does what it does",
    (
        Panel("Suggestions and measurements", "The parameters of each suggestion, what was foreseen and every raw "
              "measurement are in the Trials, not in metrics:\n\n```sh\n"
              "kubectl -n NAMESPACE get trials.trimtab.dev -o wide\n"
              "kubectl -n NAMESPACE get trials.trimtab.dev NAME -o yaml\n```", kind="text", width=24),
        Panel("Calibration", "M8. Share of the Trials within the model's 95 % intervals, each left out in turn.",
              each("trimtab_calibration_coverage"), RATIO),
        Panel("Symptoms", "What is wrong with the models, by kind.",
              ((of("trimtab_model_symptoms", "kind") + " > 0", f"{EACH} {{{{kind}}}}"),)),
        Panel("Searches without the model", "Search Trials that a fallback proposed.",
              each("trimtab_designer_fallbacks")),
        Panel("Diversity", "M6. Mean distance between the assignments searched, over the unit cube's diagonal.",
              each("trimtab_proposal_diversity"), RATIO),
        Panel("Effective dimension", "How many parameters the bounds depend on.", each("trimtab_effective_dimension")),
        Panel("Acquisition value", "Of the last suggestion.", each("trimtab_acquisition_value")),
        Panel("Acquisition, 95th percentile", "M7. Search of one suggestion.",
              ((quantile(0.95, "trimtab_acquisition_seconds"), EACH),), SECONDS),
        Panel("Fit, 95th percentile", "Fit of the model for one suggestion.",
              ((quantile(0.95, "trimtab_fit_seconds"), EACH),), SECONDS),
        Panel("Parallel efficiency", "M9. With one trial at a time: the share of the time in which one was under way.",
              each("trimtab_parallel_efficiency"), RATIO),
        Panel("Trials that count", "Towards stopping.maxTrials.",
              ((of("trimtab_trials_counted"), EACH), (of("trimtab_trials_limit"), f"{EACH} limit"))),
        Panel("Time in a phase", "Mean over the last hour.",
              ((f"sum by (namespace, experiment, phase) (rate(trimtab_trial_phase_seconds_sum{{{CHOSEN}}}[1h])) / "
                f"sum by (namespace, experiment, phase) (rate(trimtab_trial_phase_seconds_count{{{CHOSEN}}}[1h]))",
                f"{EACH} {{{{phase}}}}"),), SECONDS),
        Panel("Time since preflight", "Of Experiments that passed it, and how long those took that have ended.",
              ((f'time() - {of("trimtab_experiment_started_timestamp_seconds")}', EACH),
               (of("trimtab_experiment_seconds"), f"{EACH} in all")), SECONDS),
        Panel("Canary requests", "Per second, by SLI.",
              ((f"sum by (namespace, experiment, sli) (rate(trimtab_canary_requests_total{{{CHOSEN}}}[1h]))",
                f"{EACH} {{{{sli}}}}"),), "reqps"),
        Panel("Trials that ended by reason", "Within a day, as the leading process counted them.",
              ((f"sum by (namespace, experiment, verdict, reason) (increase(trimtab_trials_total{{{CHOSEN}}}[1d]))",
                f"{EACH} {{{{verdict}}}} {{{{reason}}}}"),)),
        Panel("Violations by reason", "Within a day, as the leading process counted them.",
              ((f"sum by (namespace, experiment, reason) (increase(trimtab_safety_violations_total{{{CHOSEN}}}[1d]))",
                f"{EACH} {{{{reason}}}}"),)),
        Panel("Passes", "95th percentile of one, failed ones and lost Events per minute.",
              (("histogram_quantile(0.95, sum by (job, le) (rate(trimtab_reconcile_seconds_bucket[$__rate_interval])))",
                "{{job}} seconds"),
               ("60 * sum by (job, error) (rate(trimtab_reconcile_errors_total[$__rate_interval]))",
                "{{job}} {{error}} per minute"),
               ("60 * sum by (job, reason) (rate(trimtab_events_dropped_total[$__rate_interval]))",
                "{{job}} lost Events: {{reason}} per minute"))),
        Panel("Queue, watch and tasks", "Experiments that wait, seconds since the watch missed nothing, tasks.",
              (("max by (job) (trimtab_workqueue_depth)", "{{job}} queue"),
               ("max by (job) (trimtab_watch_age_seconds)", "{{job}} watch s"),
               ("max by (job) (trimtab_tasks)", "{{job}} tasks"))),
        Panel("Requests to the API server", "Per second; code 0 is no answer.",
              (("sum by (job, verb, code) (rate(trimtab_api_requests_total[$__rate_interval]))",
                "{{job}} {{verb}} {{code}}"),), "reqps"),
    ),
)  # fmt: skip

DASHBOARDS = (EXECUTIVE, ON_CALL, DEBUG)


def dashboard_file(dashboard: Dashboard) -> str:
    """Grafana's JSON of one dashboard."""
    page = {
        "title": dashboard.title,
        "uid": f"trimtab-{dashboard.name}",
        "description": "Generated by `make generate` from hack/monitoring/dashboards.py.",
        "tags": ["trimtab"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-24h", "to": "now"},
        "templating": {"list": [*_variables()]},
        "panels": [*_placed(dashboard.panels)],
    }
    return json.dumps(page, indent=2, ensure_ascii=False) + "\n"


def _variables() -> Iterator[dict[str, Any]]:
    yield {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    scopes = (
        ("namespace", "trimtab_experiment_info"),
        ("experiment", 'trimtab_experiment_info{namespace=~"$namespace"}'),
    )
    for name, chosen in scopes:
        query = f"label_values({chosen}, {name})"
        yield {
            "name": name,
            "label": name.capitalize(),
            "type": "query",
            "datasource": SOURCE,
            "query": {"query": query, "refId": name},
            "definition": query,
            "refresh": 2,
            "includeAll": True,
            "multi": True,
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
        }


def _placed(panels: tuple[Panel, ...]) -> Iterator[dict[str, Any]]:
    """In rows from left to right; what does not fit begins the next one."""
    x = y = 0
    for number, panel in enumerate(panels, 1):
        if x + panel.width > COLUMNS:
            x, y = 0, y + HEIGHT
        place = {"x": x, "y": y, "w": panel.width, "h": HEIGHT}
        yield _panel(number, panel, place)
        x += panel.width


def _panel(number: int, panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    head = {"id": number, "title": panel.title, "gridPos": place}
    if not panel.queries:
        return {**head, "type": "text", "options": {"mode": "markdown", "content": panel.text}}
    custom = {"scaleDistribution": {"type": "log", "log": 10}} if panel.logarithmic else {}
    return {
        **head,
        "type": panel.kind,
        "description": panel.text,
        "datasource": SOURCE,
        "fieldConfig": {"defaults": {"unit": panel.unit, **({"custom": custom} if custom else {})}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + i), "datasource": SOURCE, "expr": query, "legendFormat": legend or "__auto"}
            for i, (query, legend) in enumerate(panel.queries)
        ],
    }


__all__ = ["DASHBOARDS", "Dashboard", "Panel", "dashboard_file"]
