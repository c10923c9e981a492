"""The alert rules: one table, from which the file is made that the chart installs and promtool tests.

A page means that a person must act now, since something may be in the traffic that nobody holds, or money runs away. A
ticket can wait until tomorrow: the search stands still or is not to be trusted, and nobody suffers. Durations that a
metric counts itself have no `for`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import yaml

from monitoring.queries import grown, owned, phase, worst

EVERY = "30s"  # between two evaluations: a page must not wait for a default of a minute
ENDED = "trimtab:experiment_trials:grown1h"
ENDED_LONG = "trimtab:experiment_trials:grown6h"
WHO = "Experiment {{ $labels.namespace }}/{{ $labels.experiment }}"
SEARCHING = phase("Running|Verifying")
LIVE = f"on (namespace, experiment) ({worst('trimtab_live_trials')} > 0)"

STALLED = worst('trimtab_experiment_condition{type="Stalled"}')
UNHEALTHY = worst('trimtab_experiment_condition{type="TelemetryHealthy"}')
SYMPTOMS = worst('trimtab_model_symptoms{kind=~"Drift|Miscalibrated|Noisy"}', "kind")


class Severity(StrEnum):
    """Who is told, and when; the chart maps it to the names of an install."""

    PAGE = "page"
    TICKET = "ticket"


@dataclass(frozen=True)
class Alert:
    """One rule. `runbook` is a file below `runbooks/`; `joined`: its series are an Experiment's, which has an owner."""

    name: str
    severity: Severity
    expression: str
    runbook: str
    summary: str
    description: str
    lasting: str = "0s"
    joined: bool = True

    @property
    def query(self) -> str:
        """The whole PromQL."""
        return owned(self.expression) if self.joined else self.expression


# Recorded first in the group of the alert that asks for it: within a group rules are evaluated one after the other.
RECORDED = {
    Severity.PAGE: (ENDED, grown("trimtab_experiment_trials", "1h", "verdict")),
    Severity.TICKET: (ENDED_LONG, grown("trimtab_experiment_trials", "6h", "verdict")),
}

PAGES = (
    Alert(
        "TrimtabSafetyLoopStale",
        Severity.PAGE,
        # Judging nothing, a leader gives up its lead at an age of 40 s, and the next one begins at 0; one that reaches
        # nobody at all leads no more after 10 s. So the age is caught between, and remembered while the lead changes.
        "max by (namespace, job) (max_over_time(trimtab_safety_tick_age_seconds[5m])) > 20",
        "safety-loop-stale.md",
        "The safety loop did not judge the canaries for {{ $value | humanizeDuration }}",
        "Within 5 minutes {{ $labels.job }} in {{ $labels.namespace }} led for {{ $value | humanizeDuration }} without "
        "judging every live trial; it should do so every 2 s. From 30 s on it gives up the lead, and the next leader "
        "may do no better.",
        joined=False,
    ),
    Alert(
        "TrimtabNamespaceUnread",
        Severity.PAGE,
        "max by (namespace, job) (trimtab_unread_namespaces) > 0",
        "safety-loop-stale.md",
        "The safety loop cannot see the arms of {{ $value }} namespace(s)",
        "{{ $labels.job }} in {{ $labels.namespace }} has not been able to list arms in {{ $value }} of its namespaces "
        "for 1 minute: a canary there is judged by nobody. Those of the others are.",
        lasting="1m",
        joined=False,
    ),
    Alert(
        "TrimtabTrialUnwatched",
        Severity.PAGE,
        "max by (job, namespace, experiment) (last_over_time(trimtab_live_trials[30m])) > 0 "
        "unless on (job) max by (job) (trimtab_leader) == 1",
        "operator-down.md",
        f"{WHO} had a canary in the traffic when the operator went away",
        "{{ $value }} trial(s) were in the traffic when {{ $labels.job }} last answered, at most 30 minutes ago, and "
        "no operator has led for 1 minute: nobody judges them.",
        lasting="1m",
    ),
    Alert(
        "TrimtabRollbackStuck",
        Severity.PAGE,
        f"{worst('trimtab_rollback_open_seconds')} > 30",
        "rollback-stuck.md",
        f"{WHO}: a rollback is not over after {{{{ $value | humanizeDuration }}}}",
        "The arms of a withdrawn trial still serve or are not on record {{ $value | humanizeDuration }} after the "
        "decision; 30 s are the limit.",
    ),
    Alert(
        "TrimtabArmWithoutTrial",
        Severity.PAGE,
        f"{worst('trimtab_arms_without_trial')} > 0",
        "arm-without-trial.md",
        f"{WHO}: arms of {{{{ $value }}}} trial(s) that are over are still there",
        "The arms of {{ $value }} trial(s) that ended or are gone have been in the cluster for 1 minute; the operator "
        "deletes such arms at every tick, so its deletions fail.",
        lasting="1m",
    ),
    Alert(
        "TrimtabCanaryBreachesSlo",
        Severity.PAGE,
        f'max by (namespace, experiment) ({ENDED}{{verdict="Infeasible"}}) >= 3\n'
        f"unless on (namespace, experiment) {worst('trimtab_experiment_repairs')} == 1",
        "canary-breaches-slo.md",
        f"{WHO}: {{{{ $value }}}} canaries broke a bound within an hour",
        "{{ $value }} trials of the last hour ended as Infeasible. None of them is in the traffic any more, but users "
        "met each, and so many say that the search is wrong about this service.",
    ),
    Alert(
        "TrimtabErrorBudgetShareExceeded",
        Severity.PAGE,
        f"{worst('trimtab_budget_spent_ratio', 'budget')} "
        f"> {worst('trimtab_budget_share_limit_ratio', 'budget')} and {LIVE}",
        "canary-breaches-slo.md",
        f"{WHO}: a canary is in the traffic though the experiments' share of an error budget is spent",
        "Experiments have spent {{ $value | humanizePercentage }} of error budget {{ $labels.budget }}, more than "
        "experimentSharePercent, and a trial has been live for 2 minutes since.",
        lasting="2m",
    ),
    Alert(
        "TrimtabTrialBlind",
        Severity.PAGE,
        f"{worst('trimtab_blind_seconds')} - {worst('trimtab_stale_after_seconds')} > 30",
        "telemetry-blind.md",
        f"{WHO}: a canary that nobody sees is still in the traffic",
        "No telemetry of the canary for {{ $value | humanizeDuration }} longer than safety.staleAfter, after which it "
        "should have been withdrawn.",
    ),
    Alert(
        "TrimtabCostOverLimit",
        Severity.PAGE,
        f"{worst('trimtab_experiment_cost_dollars')} "
        f"> {worst('max_over_time(trimtab_experiment_cost_limit_dollars[6h])')} and {LIVE}",
        "cost-runaway.md",
        f"{WHO} has cost ${{{{ $value | printf `%.2f` }}}}, more than stopping.maxCost, and a trial is live",
        "The arms of ended trials cost ${{ $value | printf `%.2f` }}, more than stopping.maxCost allowed at any time "
        "of the last 6 hours, and another trial has been live for 1 minute.",
        lasting="1m",
    ),
    Alert(
        "TrimtabCostRunaway",
        Severity.PAGE,
        f"{grown('trimtab_experiment_cost_dollars', '1d')} > 24 * {worst('trimtab_baseline_cost_dollars')}",
        "cost-runaway.md",
        f"{WHO} cost ${{{{ $value | printf `%.2f` }}}} within a day, more than the service itself",
        "The arms of trials that ended within 24 hours cost ${{ $value | printf `%.2f` }}, more than the target itself "
        "costs in that time.",
    ),
)  # fmt: skip

TICKETS = (
    Alert(
        "TrimtabNoLeader",
        Severity.TICKET,
        "max by (namespace, job) (max_over_time(trimtab_leader[6h])) >= 0 "
        "unless on (namespace, job) max by (namespace, job) (trimtab_leader) == 1\n"
        "or absent_over_time(trimtab_leader[6h])",
        "operator-down.md",
        "No operator has led for 2 minutes",
        "No process{{ with $labels.job }} of {{ . }}{{ end }} holds the Lease, or none is scraped; a standby takes "
        "over within 20 s. Nothing is tuned meanwhile.",
        lasting="2m",
        joined=False,
    ),
    Alert(
        "TrimtabWatchSilent",
        Severity.TICKET,
        "max by (namespace, job) (max_over_time(trimtab_watch_age_seconds[10m])) > 150",
        "operator-down.md",
        "The operator's watch was silent for {{ $value | humanizeDuration }}",
        "The watch of {{ $labels.job }} in {{ $labels.namespace }} missed changes for {{ $value | humanizeDuration }} "
        "within 10 minutes; a list every 60 s proves it alive, and from 180 s on the liveness probe fails.",
        joined=False,
    ),
    Alert(
        "TrimtabQueueStuck",
        Severity.TICKET,
        "max by (namespace, job) (min_over_time(trimtab_workqueue_depth[15m])) > 10",
        "operator-down.md",
        "{{ $value }} Experiments wait for a worker",
        "For 15 minutes never less than {{ $value }} Experiments have waited in the queue of {{ $labels.job }} in "
        "{{ $labels.namespace }}; trials are late, while the safety loop has a way of its own.",
        joined=False,
    ),
    Alert(
        "TrimtabReconcileFails",
        Severity.TICKET,
        "sum by (namespace, job, error) (increase("
        'trimtab_reconcile_errors_total{error!~"Conflict|RetryLater|Throttled"}[30m])) > 5',
        "operator-down.md",
        "{{ $value | printf `%.0f` }} passes failed with {{ $labels.error }}",
        "{{ $value | printf `%.0f` }} passes of {{ $labels.job }} in {{ $labels.namespace }} failed within 30 minutes "
        "with {{ $labels.error }}; the log says for which Experiments.",
        lasting="5m",
        joined=False,
    ),
    Alert(
        "TrimtabApiErrors",
        Severity.TICKET,
        'sum by (namespace, job) (rate(trimtab_api_requests_total{code=~"0|429|5.."}[10m])) '
        "/ sum by (namespace, job) (rate(trimtab_api_requests_total[10m])) > 0.1",
        "operator-down.md",
        "{{ $value | humanizePercentage }} of the requests to the API server fail",
        "{{ $value | humanizePercentage }} of the requests that {{ $labels.job }} in {{ $labels.namespace }} made "
        "within 10 minutes had no answer, were throttled or failed in the API server; 10 % are the limit.",
        lasting="15m",
        joined=False,
    ),
    Alert(
        "TrimtabExperimentStalled",
        Severity.TICKET,
        f"{STALLED} == 1",
        "experiment-stuck.md",
        f"{WHO} waits for a person",
        "The condition Stalled has been True for 15 minutes (value {{ $value }}); status.message says what is to be "
        "done.",
        lasting="15m",
    ),
    Alert(
        "TrimtabTelemetryUnhealthy",
        Severity.TICKET,
        f"{UNHEALTHY} == 0 and {SEARCHING}",
        "telemetry-blind.md",
        f"{WHO}: Prometheus does not tell its SLIs",
        "The condition TelemetryHealthy has been False for 15 minutes (value {{ $value }}): no trial starts until the "
        "SLIs of the target can be read.",
        lasting="15m",
    ),
    Alert(
        "TrimtabTrialsWithoutVerdict",
        Severity.TICKET,
        f'sum by (namespace, experiment) ({ENDED_LONG}{{verdict=~"Inconclusive|InfraFailed"}}) >= 3 '
        f'unless sum by (namespace, experiment) ({ENDED_LONG}{{verdict=~"Succeeded|Infeasible"}}) > 0',
        "trials-without-verdict.md",
        f"{WHO}: {{{{ $value }}}} trials in a row taught nothing",
        "{{ $value }} trials of the last 6 hours ended as Inconclusive or InfraFailed, and none with a verdict: they "
        "cost, and the search does not move.",
    ),
    Alert(
        "TrimtabSlowConvergence",
        Severity.TICKET,
        f"({worst('trimtab_trials_counted')} >= 20\n"
        f"unless on (namespace, experiment) {worst('trimtab_improvement_ratio')} >= 0.01) and {SEARCHING}",
        "slow-convergence.md",
        f"{WHO}: {{{{ $value }}}} trials and nothing found",
        "{{ $value }} trials have ended as Succeeded, Infeasible or Inconclusive and nothing improves the objective by "
        "1 %; 20 trials usually find what there is.",
        lasting="15m",
    ),
    Alert(
        "TrimtabCalibrationDrift",
        Severity.TICKET,
        f"(min by (namespace, experiment) (trimtab_calibration_coverage) < 0.8\n"
        f"and on (namespace, experiment) {worst('trimtab_trials_counted')} >= 10) and {SEARCHING}",
        "model-symptoms.md",
        f"{WHO}: the model is wrong more often than it says",
        "{{ $value | humanizePercentage }} of the trials lie within the model's 95 % intervals, with at least 10 "
        "trials; below 80 % its margins are too small.",
        lasting="30m",
    ),
    Alert(
        "TrimtabModelSymptom",
        Severity.TICKET,
        f"{SYMPTOMS} > 0 and {SEARCHING}",
        "model-symptoms.md",
        f"{WHO}: the model shows {{{{ $labels.kind }}}}",
        "The models of {{ $value }} bound(s) have shown {{ $labels.kind }} for 2 hours.",
        lasting="2h",
    ),
)  # fmt: skip

ALERTS = (*PAGES, *TICKETS)

HEAD = """\
# Generated by `make generate` from hack/monitoring/alerts.py; do not edit.
# A rule file of Prometheus as it is; the chart makes a PrometheusRule of it (`alerts.enabled`).
"""
PAGE = """\
<!-- Generated by `make generate` from hack/monitoring/alerts.py; do not edit. -->

# Alerts

`alerts.enabled` of the chart installs them as a PrometheusRule; without the Prometheus operator name
`charts/trimtab/files/alerts.yaml` in `rule_files`. [Monitor Trimtab](../how-to/monitor-trimtab.md) says how to route
them. A page means: act now. A ticket can wait until tomorrow.

| alert | severity | for | says | runbook |
|---|---|---|---|---|
"""


def rules_file() -> str:
    """A rule file of Prometheus."""
    groups = [{"name": f"trimtab.{severity}", "interval": EVERY, "rules": [*_rules(severity)]} for severity in Severity]
    return HEAD + yaml.dump({"groups": groups}, Dumper=_Readable, sort_keys=False, width=10_000, allow_unicode=True)


class _Readable(yaml.SafeDumper):
    """Expressions of several lines as they are written."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Readable.add_representer(str, _text)


def _rules(severity: Severity) -> Iterator[dict[str, Any]]:
    name, expression = RECORDED[severity]
    yield {"record": name, "expr": expression}
    yield from (_rule(alert) for alert in ALERTS if alert.severity is severity)


def _rule(alert: Alert) -> dict[str, Any]:
    return {
        "alert": alert.name,
        "expr": alert.query,
        "for": alert.lasting,
        "labels": {"severity": alert.severity.value},
        "annotations": {
            "summary": alert.summary,
            "description": alert.description,
            "runbook_url": f"runbooks/{alert.runbook}",
        },
    }


def alerts_page() -> str:
    """`docs/reference/alerts.md`."""
    rows = (
        f"| `{a.name}` | {a.severity} | {a.lasting} | {_plain(a.description)} "
        f"| [{a.runbook.removesuffix('.md')}](../../runbooks/{a.runbook}) |"
        for a in ALERTS
    )
    return PAGE + "\n".join(rows) + "\n"


def _plain(words: str) -> str:
    """Without the template's language: *n* for the value, the label's name for a label."""
    words = re.sub(r"\{\{ \$value[^}]*\}\}", "*n*", words)
    words = re.sub(r"\{\{ with [^}]*\}\}.*?\{\{ end \}\}", "", words)
    return re.sub(r"\{\{ \$labels\.(\w+) \}\}", r"*\1*", words)


__all__ = ["ALERTS", "RECORDED", "Alert", "Severity", "alerts_page", "rules_file"]
