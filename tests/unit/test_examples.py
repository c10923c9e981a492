"""The examples' and the demo's Experiments may start: what a trial puts at risk fits into the experiments' share."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from demo.settings import experiment
from stack.paths import EXAMPLES
from trimtab.api.convert import experiment_record
from trimtab.api.lint import Level, lint
from trimtab.control.gates import cap_of
from trimtab.control.preflight_telemetry import arm_requests
from trimtab.domain.spec import ExperimentSpec
from trimtab.workload import load_workload

WORKLOAD = load_workload(EXAMPLES / "web-service" / "workload.yaml")
SCRAPE, ENDING = 15.0, 5.0  # seconds between scrapes, and that the end of a pod takes
DEPLOYMENT = next(yaml.safe_load_all((EXAMPLES / "web-service" / "deployment.yaml").read_text()))


def parsed(manifest: dict[str, Any]) -> ExperimentSpec:
    identity = {"namespace": "shop", "uid": "u", "resourceVersion": "1", "generation": 1}
    identity["creationTimestamp"] = "2026-03-04T10:00:00Z"
    record = experiment_record({**manifest, "metadata": {**manifest["metadata"], **identity}})
    assert record.spec is not None, record.problem
    return record.spec


@pytest.mark.parametrize("which", ["example", "demo"])
def test_a_trial_fits_into_the_experiments_share(which: str) -> None:
    path = EXAMPLES / "web-service" / "experiment.yaml"
    spec = parsed(yaml.safe_load(path.read_text()) if which == "example" else experiment(seed=1))
    rate = WORKLOAD.load.requests_per_second
    (budget,) = spec.budgets
    total = rate * budget.window
    canary = arm_requests(spec, rate, DEPLOYMENT["spec"]["replicas"]) / spec.trial.duration
    cap = cap_of(spec, budget, (1 - budget.objective) * total, 0.0, SCRAPE, canary)
    assert cap.start_refused() == ""
    # After the last scrape of a canary nobody counts: what it serves until it has ended is bad.
    unseen = (SCRAPE + ENDING) * canary
    trials = spec.stopping.max_trials + spec.verification.replicates
    assert cap.limit > trials * (cap.requests * WORKLOAD.request.error_percent / 100 + unseen)


def test_the_example_of_two_objectives_starts_below_its_bound_on_the_cost() -> None:
    manifest = yaml.safe_load((EXAMPLES / "latency-and-cost" / "experiment.yaml").read_text())
    assert [finding.level for finding in lint(manifest)] == [Level.WARNING] * 2  # no error budget; a quantile
    spec = parsed(manifest)
    assert [o.name for o in spec.objectives] == ["cost", "p95"]
    (limit,) = spec.cost_limits
    today = 20 * (2 * spec.prices.cpu_core_hour + 2 * spec.prices.memory_gib_hour)
    assert today <= limit.maximum < 1.1 * today
