"""What the chart brings to watch Trimtab with: alert rules and dashboards, each generated from one table.

They are written here and not as YAML and JSON, so that a test can hold every query to the metrics that are exported,
and every alert to a runbook that exists.
"""

from monitoring.alerts import ALERTS, RECORDED, Alert, Severity, alerts_page, rules_file
from monitoring.dashboards import DASHBOARDS, dashboard_file
from monitoring.queries import metrics_of

__all__ = [
    "ALERTS",
    "DASHBOARDS",
    "RECORDED",
    "Alert",
    "Severity",
    "alerts_page",
    "dashboard_file",
    "metrics_of",
    "rules_file",
]
