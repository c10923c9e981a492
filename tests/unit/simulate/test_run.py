"""A scenario run in the played world: what is told on the way, and how it ends."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import structlog
import yaml
from benchmarks.operator.live import experiment
from tests.unit.simulate.stories import WEB

from trimtab.simulate.results import TrialResult
from trimtab.simulate.run import Progress, run
from trimtab.simulate.scenario import Scenario, scenario

SOBOL = {"designer": "Sobol", "initialTrials": 2, "seed": 3}


@pytest.fixture(autouse=True)
def quiet() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def small(days: float = 0.1, target: dict[str, Any] | None = None, **changes: Any) -> Scenario:
    """A service of four pods under calm load, and an Experiment in windows of seconds."""
    workload = yaml.safe_load((WEB / "workload.yaml").read_text())
    workload["target"] |= {"replicas": 4} | (target or {})
    workload["load"] = {"requestsPerSecond": 4000}
    parameters = changes.pop("parameters", None)
    document = experiment("web", "shop", **({"search": SOBOL, "stopping": {"maxTrials": 2}} | changes))
    document["spec"]["parameters"] = parameters or document["spec"]["parameters"]
    return scenario(document, (), yaml.safe_dump(workload), seed=None, days=days, scrape=1.0)


def test_every_trial_is_told_once_as_it_ends_and_is_what_the_result_holds() -> None:
    told: list[TrialResult] = []
    said: list[tuple[float, str, str]] = []
    ran = run(small(), progress=Progress(told.append, lambda *words: said.append(words)))
    assert tuple(told) == ran.result.trials
    assert len(ran.trials) == len(told) >= 2
    assert [m for m, _, _ in said] == sorted(m for m, _, _ in said)
    assert said[-1][1] == "Completed"
    assert len({words for _, _, words in said}) > 5


@pytest.mark.thorough
def test_being_watched_changes_nothing() -> None:
    watched = run(small(), progress=Progress(lambda _: None, lambda *_: None))
    assert watched.result == run(small()).result


def test_a_horizon_that_ends_first_leaves_the_experiment_as_it_is() -> None:
    ran = run(small(days=30 / 86400))
    assert ran.result.summary.phase == "Running"
    assert ran.result.summary.reason == "HorizonEnded"
    assert 0 < len(ran.result.trials) < 3


@pytest.mark.thorough
def test_an_experiment_that_nobody_lets_begin_does_not_cost_days() -> None:
    ran = run(small(days=30.0, canary={"maxSharePercent": "5"}))
    assert ran.trials == ()
    assert ran.result.summary.phase == "Preflight"
    assert "maxSharePercent" in ran.result.summary.message


@pytest.mark.thorough
def test_pods_larger_than_a_usual_node_find_a_place() -> None:
    huge = {"cpu": "40", "memory": "200Gi"}
    cpu = {"name": "cpu", "container": {"name": "web", "resource": "cpu"}, "quantity": {"min": "1", "max": "40"}}
    ran = run(small(target={"requests": huge, "limits": huge}, parameters=[cpu]))
    assert ran.result.summary.phase == "Completed"
