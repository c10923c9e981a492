"""The examples of autoscaled services: they may start, and their pages say what their manifests and the truth say."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import pytest
import yaml

from stack.paths import EXAMPLES
from trimtab.api.kube_autoscaler import autoscaler_from
from trimtab.api.lint import lint
from trimtab.control.gates import cap_of
from trimtab.control.preflight_power import arm_requests
from trimtab.control.preflight_scaling import scaling_problems
from trimtab.control.scaling import autoscaler_plan, first_pods
from trimtab.simulate.optimum import Optimum, optimum_of
from trimtab.simulate.scenario import Scenario, scenario

NAMES = ("scaled-web-service", "function", "autoscaler-after-incident", "inference")
SCRAPE, ENDING = 15.0, 5.0  # seconds between scrapes, and that the end of a pod takes
LEAST_PODS = 3  # of an arm: with fewer, whole pods hide what a target changes


def documents(name: str, file: str) -> list[dict[str, Any]]:
    return [d for d in yaml.safe_load_all((EXAMPLES / name / file).read_text()) if d]


@lru_cache
def example(name: str) -> Scenario:
    (experiment,) = documents(name, "experiment.yaml")
    text = (EXAMPLES / name / "workload.yaml").read_text()
    return scenario(experiment, documents(name, "deployment.yaml"), text, seed=1, days=7.0)


def page(name: str) -> str:
    return (EXAMPLES / name / "README.md").read_text()


def of_kind(name: str, kind: str) -> dict[str, Any]:
    return next(d for d in documents(name, "deployment.yaml") if d["kind"] == kind)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_doubtful_about_it(name: str) -> None:
    assert lint(documents(name, "experiment.yaml")[0]) == []


@pytest.mark.parametrize("name", NAMES)
def test_preflight_has_nothing_against_its_autoscaler(name: str) -> None:
    truth = example(name).truth
    found = list(scaling_problems(truth.spec, truth.target, truth.surroundings, truth.baseline))
    assert [p.reason for p in found if p.blocking] == []
    assert "FewArmPods" not in {p.reason for p in found}


@pytest.mark.parametrize("name", NAMES)
def test_its_arms_are_some_pods_and_leave_the_autoscaler_in_peace(name: str) -> None:
    truth = example(name).truth
    view = autoscaler_from(of_kind(name, "HorizontalPodAutoscaler"))
    route = truth.spec.route
    assert route is not None
    assert 2 * route.share < view.tolerance
    assert 2 * route.share <= truth.spec.canary.max_share
    plan = autoscaler_plan(truth.spec, truth.surroundings, truth.baseline)
    assert first_pods(truth.spec, plan, truth.target.replicas, truth.baseline) >= LEAST_PODS


@pytest.mark.parametrize("name", NAMES)
def test_its_route_leads_to_its_service(name: str) -> None:
    route, wanted = of_kind(name, "HTTPRoute"), example(name).truth.spec.route
    assert wanted is not None
    assert route["metadata"]["name"] == wanted.name
    (rule,) = [r for r in route["spec"]["rules"] if r["name"] == wanted.rule]
    (backend,) = rule["backendRefs"]
    service = of_kind(name, "Service")
    assert (backend["name"], backend["port"]) == (service["metadata"]["name"], service["spec"]["ports"][0]["port"])
    assert wanted.backend == backend["name"]


@pytest.mark.parametrize("name", NAMES)
def test_a_trial_fits_into_the_experiments_share(name: str) -> None:
    made = example(name)
    spec, rate = made.truth.spec, made.workload.load.requests_per_second
    (budget,) = spec.budgets
    total = rate * budget.window
    canary = arm_requests(spec, rate, made.truth.target.replicas) / spec.trial.duration
    cap = cap_of(spec, budget, (1 - budget.objective) * total, 0.0, SCRAPE, canary)
    assert cap.start_refused() == ""
    unseen = (SCRAPE + ENDING) * canary  # after its last scrape nobody counts what a canary serves until it has ended
    trials = spec.stopping.max_trials + spec.verification.replicates
    assert cap.limit > trials * (cap.requests * made.workload.request.error_percent / 100 + unseen)


@pytest.mark.parametrize("name", NAMES)
def test_its_workload_is_the_deployment(name: str) -> None:
    """What `trimtab simulate` would begin with without the manifests is what they say."""
    target, deployment = example(name).workload.target, of_kind(name, "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    (played,) = example(name).truth.target.containers
    assert (target.deployment, target.container) == (deployment["metadata"]["name"], container["name"])
    assert target.replicas == deployment["spec"]["replicas"]
    assert target.selector.items() <= deployment["spec"]["selector"]["matchLabels"].items()
    assert (target.requests.cpu, target.requests.memory) == (
        float(played.resources.cpu_request),
        float(played.resources.memory_request),
    )


@pytest.mark.parametrize("name", NAMES)
def test_its_page_names_today_and_the_range(name: str) -> None:
    truth, text = example(name).truth, page(name)
    assert f"Today: {truth.spec.space.describe(truth.baseline)}." in text
    for parameter in truth.spec.space.parameters:
        assert f"`{parameter.name}`" in text


@pytest.mark.long
@pytest.mark.parametrize("name", ["scaled-web-service", "function"])
def test_its_page_names_the_optimum(name: str) -> None:
    made = example(name)
    found = optimum_of(made.truth, made.peak_rps)
    assert isinstance(found, Optimum)
    words = f"{made.truth.spec.space.describe(found.assignment)}, ${found.cost:.2f} per hour"
    assert words in page(name), words
    today = made.truth.hourly(made.truth.baseline)
    assert f"${today:.2f} per hour" in page(name), today
    (percent,) = re.findall(r"(\d+) %\s+less", page(name))
    assert int(percent) == round(100 * (1 - found.cost / today))
