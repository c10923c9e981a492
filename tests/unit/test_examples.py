"""The examples' and the demo's Experiments may start: what a trial puts at risk fits into the experiments' share."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from demo.settings import experiment
from stack.paths import EXAMPLES
from trimtab.api.convert import experiment_record
from trimtab.api.lint import Level, lint
from trimtab.api.times import parse_time
from trimtab.control.gates import cap_of
from trimtab.control.preflight_telemetry import arm_requests
from trimtab.domain.spec import ExperimentSpec
from trimtab.workload import load_workload

WORKLOAD = load_workload(EXAMPLES / "web-service" / "workload.yaml")
HOW_TO = EXAMPLES.parent / "docs" / "how-to" / "when-trials-may-run.md"
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


def test_the_example_of_office_hours_is_without_doubt_and_says_what_its_page_says() -> None:
    path = EXAMPLES / "office-hours" / "experiment.yaml"
    manifest = yaml.safe_load(path.read_text())
    then = parse_time("2026-12-01T00:00:00Z")
    assert lint(manifest, then) == []
    spec = parsed(manifest)
    assert spec.schedule is not None
    assert spec.schedule.closes(parse_time("2026-12-04T09:00:00+01:00"), 86400.0) == parse_time(
        "2026-12-04T13:00:00+01:00"
    )
    frozen = spec.schedule.closure(parse_time("2026-12-24T12:00:00Z"))
    assert frozen is not None
    assert frozen.words == "frozen until Mon 2027-01-04 09:00 Europe/Berlin: end of year"
    page = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", HOW_TO.read_text(), re.DOTALL)[0])["spec"]
    assert page["schedule"] == manifest["spec"]["schedule"]
    assert page["safety"] == manifest["spec"]["safety"]


def test_a_freeze_over_all_of_its_time_is_doubtful() -> None:
    manifest = yaml.safe_load((EXAMPLES / "office-hours" / "experiment.yaml").read_text())
    (found,) = lint(manifest, parse_time("2026-12-19T00:00:00Z"))  # two weeks, and the freeze is as long
    assert found.level is Level.WARNING
    assert found.field == "spec.schedule"
    assert "no time for a trial within stopping.maxDuration (336h): the next one is Mon 2027-01-04" in found.problem
