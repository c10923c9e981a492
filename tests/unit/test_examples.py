"""The examples' and the demo's Experiments may start: what a trial puts at risk fits into the experiments' share."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from demo.settings import experiment
from stack.paths import EXAMPLES
from trimtab.api.convert import experiment_record
from trimtab.api.lint import Level, lint
from trimtab.api.times import parse_time
from trimtab.control.gates import cap_of
from trimtab.control.preflight_power import arm_requests
from trimtab.domain.spec import ExperimentSpec, RatioQuery
from trimtab.slo import evidence
from trimtab.workload import load_workload

HOW_TO = EXAMPLES.parent / "docs" / "how-to" / "when-trials-may-run.md"
SCRAPE, ENDING = 15.0, 5.0  # seconds between scrapes, and that the end of a pod takes
DEPLOYMENT = next(yaml.safe_load_all((EXAMPLES / "web-service" / "deployment.yaml").read_text()))


def parsed(manifest: dict[str, Any]) -> ExperimentSpec:
    identity = {"namespace": "shop", "uid": "u", "resourceVersion": "1", "generation": 1}
    identity["creationTimestamp"] = "2026-03-04T10:00:00Z"
    record = experiment_record({**manifest, "metadata": {**manifest["metadata"], **identity}})
    assert record.spec is not None, record.problem
    return record.spec


SHARED = [  # Experiment, workload; twenty pods each
    pytest.param(lambda: example("web-service"), "web-service", id="web-service"),
    pytest.param(lambda: experiment(seed=1), "web-service", id="demo"),
    pytest.param(lambda: example("latency-and-cost"), "web-service", id="latency-and-cost"),
    pytest.param(lambda: example("undersized"), "undersized", id="undersized"),
]


def example(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((EXAMPLES / name / "experiment.yaml").read_text())
    return found


@pytest.mark.parametrize(("manifest", "served"), SHARED)
def test_a_trial_fits_into_the_experiments_share(manifest: Callable[[], dict[str, Any]], served: str) -> None:
    spec, workload = parsed(manifest()), load_workload(EXAMPLES / served / "workload.yaml")
    rate = workload.load.requests_per_second
    (budget,) = spec.budgets
    total = rate * budget.window
    canary = arm_requests(spec, rate, DEPLOYMENT["spec"]["replicas"]) / spec.trial.duration
    cap = cap_of(spec, budget, (1 - budget.objective) * total, 0.0, SCRAPE, canary)
    assert cap.start_refused() == ""
    # After the last scrape of a canary nobody counts: what it serves until it has ended is bad.
    unseen = (SCRAPE + ENDING) * canary
    trials = spec.stopping.max_trials + spec.verification.replicates
    assert cap.limit > trials * (cap.requests * workload.request.error_percent / 100 + unseen)


@pytest.mark.parametrize("name", ["minimal", "undersized", "latency-and-cost"])
def test_failures_are_bounded_and_budgeted(name: str) -> None:
    """A request that fails at once is a fast one: a bound on slow requests does not see it."""
    spec = parsed(example(name))
    (errors,) = [sli for sli in spec.slis if isinstance(sli.query, RatioQuery)]
    (bound,) = [c for c in spec.constraints if c.sli == errors.name]
    (budget,) = spec.budgets
    assert (budget.sli, bound.guard_only) == (errors.name, True)
    assert bound.maximum == pytest.approx(1 - budget.objective)
    assert errors.name in evidence.tested_slis(spec)


def test_the_readme_shows_the_shortest_example() -> None:
    shown = re.findall(r"```yaml\n(.*?)```", (EXAMPLES.parent / "README.md").read_text(), re.DOTALL)
    assert shown[0] == (EXAMPLES / "minimal" / "experiment.yaml").read_text()


def test_the_shortest_example_is_without_doubt() -> None:
    assert lint(example("minimal")) == []


def test_the_example_of_two_objectives_starts_below_its_bound_on_the_cost() -> None:
    manifest = example("latency-and-cost")
    (doubt,) = lint(manifest)
    assert (doubt.level, doubt.field) == (Level.WARNING, "spec.objectives[1]")  # a quantile
    spec = parsed(manifest)
    assert [o.name for o in spec.objectives] == ["cost", "p95"]
    (limit,) = spec.cost_limits
    today = 20 * (2 * spec.prices.cpu_core_hour + 2 * spec.prices.memory_gib_hour)
    assert today <= limit.maximum < 1.1 * today


def test_the_example_of_office_hours_is_without_doubt_and_says_what_its_page_says() -> None:
    manifest = example("office-hours")
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
    manifest = example("office-hours")
    (found,) = lint(manifest, parse_time("2026-12-19T00:00:00Z"))  # two weeks, and the freeze is as long
    assert found.level is Level.WARNING
    assert found.field == "spec.schedule"
    assert "no time for a trial within stopping.maxDuration (336h): the next one is Mon 2027-01-04" in found.problem
