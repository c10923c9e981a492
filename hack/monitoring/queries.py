"""PromQL that rules and panels share, and what a query asks for.

Series of an Experiment come from the process that leads, so their `pod` and `instance` change with the leader. Queries
add over those labels first: an alert stays the same alert, and a join never meets two series.
"""

from __future__ import annotations

import re

import promql_parser

OWNER_SERIES = "trimtab_experiment_owner"
PART = re.compile(r"_(bucket|sum|count)$")
GRAFANA = re.compile(r"\$__\w+")  # intervals that Grafana fills in; of the other variables only label values are made
KEY = "namespace, experiment"
OWNER = f"topk by ({KEY}) (1, last_over_time({OWNER_SERIES}[30m]))"  # who it was outlives the operator for a while


def worst(metric: str, *labels: str) -> str:
    """The highest value of an Experiment's gauge, whichever process tells it."""
    return f"max by ({', '.join((KEY, *labels))}) ({metric})"


def grown(metric: str, window: str, *labels: str) -> str:
    """By how much a gauge that only grows has grown; unlike `increase` right after a restart, and for the first 1."""
    least = f"min by ({', '.join((KEY, *labels))}) (min_over_time({metric}[{window}]))"
    return f"({worst(metric, *labels)} - {least})"


def phase(names: str) -> str:
    """Experiments in one of these phases, as the right side of an `and`."""
    selected = f'trimtab_experiment_info{{phase=~"{names}"}}'
    return f"on ({KEY}) ({worst(selected)} == 1)"


def owned(expression: str) -> str:
    """With the label `owner` where the Experiment has one; where it has none the expression as it is."""
    return f"({expression}) * on ({KEY}) group_left (owner) {OWNER}\nor on ({KEY})\n({expression})"


def metrics_of(query: str) -> set[str]:
    """Names of the metrics that a query asks for, without the parts of a histogram.

    Raises:
        ValueError: it is no PromQL.
    """
    found: set[str] = set()

    def visit(node: object) -> bool:
        if isinstance(node, promql_parser.VectorSelector) and node.name:
            found.add(PART.sub("", node.name))
        return True

    promql_parser.walk(promql_parser.parse(GRAFANA.sub("5m", query)), visit)
    return found


__all__ = ["KEY", "OWNER_SERIES", "grown", "metrics_of", "owned", "phase", "worst"]
