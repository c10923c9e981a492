"""Every metric that is promised has a sample after one Experiment in which everything happened once."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from benchmarks.operator.live import experiment, phase_of
from prometheus_client.parser import text_string_to_metric_families
from tests.simulation.world import NAME, NAMESPACE, told

from stack.paths import EXAMPLES
from trimtab.adapters.series_store import QueryFailed
from trimtab.runtime.metrics import Metrics
from trimtab.simulate.traffic import Scraping
from trimtab.simulate.world import Options, Setting, World
from trimtab.workload import load_workload
from trimtab.workload.faults import Fault, FaultKind

pytestmark = pytest.mark.thorough

# The health of the loop (M1 to M9), its safety, and the process. M10, repeatability, is a matter of many runs.
PROMISED = frozenset({
    "experiment_info", "trials_total", "trial_phase_seconds", "best_objective", "improvement_ratio",
    "improvement_per_trial", "cost_per_improvement", "time_to_convergence_seconds", "safety_violations_total",
    "proposal_diversity", "acquisition_seconds", "acquisition_value", "fit_seconds", "calibration_coverage",
    "parallel_efficiency", "budget_remaining_ratio", "budget_spent_ratio", "slo_evalue", "canary_requests_total",
    "rollbacks_total", "rollback_seconds", "safety_tick_age_seconds", "safety_tick_lateness_seconds",
    "telemetry_errors_total", "leader", "watch_age_seconds", "workqueue_depth", "experiment_cost_dollars",
    "traffic_share_ratio", "monthly_saving_dollars", "return_ratio", "effective_dimension", "designer_fallbacks",
    "model_symptoms", "baseline_cost_dollars", "found_cost_dollars", "experiment_trials", "safety_violation_ratio",
    "experiment_condition", "experiment_started_timestamp_seconds", "experiment_seconds", "trials_counted",
    "trials_limit", "experiment_cost_limit_dollars", "budget_share_limit_ratio", "live_trials", "blind_seconds",
    "stale_after_seconds", "slo_evalue_limit", "sli_value", "experiment_repairs", "experiment_owner",
    "telemetry_queries_total", "telemetry_query_seconds", "unread_namespaces",
})  # fmt: skip
# Samples of these need what a simulation of one Experiment does not have: workers that are timed, requests over HTTP, a
# pass that fails, a rollback that hangs, an arm that outlives its Trial, an Event that is lost, a service
# that burns its error budget.
ELSEWHERE = frozenset({
    "reconcile_seconds", "api_requests_total", "reconcile_errors_total", "rollbacks_stuck", "rollback_open_seconds",
    "arms_without_trial", "events_dropped_total", "budget_exhaustion_seconds",
})  # fmt: skip
SLOW = Fault(name="slow-dependency", kind=FaultKind.SLOW_DEPENDENCY, selector={"trimtab.dev/arm": "canary"}, factor=6.0)


def exported(metrics: Metrics) -> set[str]:
    """Names that have a sample, without prefix and without the parts of a histogram."""
    families = text_string_to_metric_families(metrics.render().decode())
    names = {s.name for f in families for s in f.samples if not s.name.endswith("_created")}
    return {re.sub(r"_(bucket|sum|count)$", "", name).removeprefix("trimtab_") for name in names}


def live(world: World, phase: str, after: int) -> dict[str, Any] | None:
    """A trial in this phase with an index above `after`."""
    found = (t for t in world.trials(NAME) if t["spec"]["index"] > after and phase_of(t) == phase)
    return next(found, None)


async def story(world: World, look: Callable[[], None]) -> None:
    """Prometheus fails for a moment, and later one canary has a slow dependency. `look` is called while there is
    something to be seen that goes again."""

    async def down(_: str) -> None:
        raise QueryFailed("connection refused")

    assert await world.until(lambda: live(world, "Measuring", 1) is not None, seconds=300)
    world.prometheus.before = down
    await world.run(3.0)
    world.prometheus.before = None
    assert await world.until(lambda: live(world, "Measuring", 4) is not None, seconds=600)
    world.traffic.faults.set(SLOW, world.clock.now())

    def broken() -> bool:
        look()
        return any(phase_of(t) == "Infeasible" for t in world.trials(NAME))

    assert await world.until(broken, seconds=60)
    world.traffic.faults.clear()
    assert await world.until(world.ended(NAME), seconds=900)


async def told_metrics() -> tuple[Metrics, set[str]]:
    """What the operator of the example's service exports in the end, and the names of all that it ever did."""
    service = load_workload(EXAMPLES / "web-service" / "workload.yaml")
    manifests = tuple(yaml.safe_load_all((EXAMPLES / "web-service" / "deployment.yaml").read_text()))
    world = await World.build(Setting(service, manifests, NAMESPACE), Options(seed=1, scraping=Scraping(interval=1.0)))
    document = experiment(
        NAME,
        NAMESPACE,
        search={"designer": "GaussianProcess", "initialTrials": 4},
        trial={"duration": "12s"},
        stopping={"maxTrials": 8, "maxCost": "1000"},
        verification={"duration": "30s", "replicates": 1, "atPeak": False},
    )
    for constraint in document["spec"]["constraints"]:
        constraint["abort"] = {"breaches": 2, "outOf": 3}
    world.admin.apply(document, NAMESPACE)
    life = world.start()
    metrics, seen = life.parts.metrics, set[str]()
    await story(world, lambda: seen.update(exported(metrics)))
    seen |= exported(metrics)
    ended = world.experiment(NAME)
    assert ended is not None
    assert ended["status"]["phase"] == "Completed", ended["status"]["message"]
    assert ended["status"]["recommendation"]["saving"] > 0.2, ended["status"]["message"]
    await world.close()
    return metrics, seen


def test_every_promised_metric_has_a_sample_after_an_experiment() -> None:
    metrics, seen = told(told_metrics())
    assert PROMISED - seen == set()
    of_a_moment = {"blind_seconds", "slo_evalue", "sli_value"}
    assert of_a_moment & exported(metrics) == set()  # the last trial is over, and what was told of it
    labelled = f'namespace="{NAMESPACE}"'
    assert labelled in metrics.render().decode()


def test_what_is_exported_is_promised() -> None:
    """A new metric is added to the table, so that it is seen to have samples."""
    described = {m.name.removeprefix("trimtab_") for m in Metrics().described}
    assert described - ELSEWHERE - {"tasks"} == PROMISED
