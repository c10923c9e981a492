"""The small world of these tests: the example's service with four pods, and an Experiment in windows of seconds."""

from __future__ import annotations

import logging
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

import structlog
import yaml
from benchmarks.operator.live import LOAD, REPLICAS, experiment

from stack.paths import EXAMPLES
from trimtab.simulate.loop import run
from trimtab.simulate.traffic import Scraping
from trimtab.simulate.world import Options, Setting, World
from trimtab.workload import WorkloadSpec, parse_workload

NAMESPACE, NAME, TARGET = "shop", "tune", "web"
SOBOL = {"designer": "Sobol", "initialTrials": 2}
SCRAPE = 1.0

T = TypeVar("T")


def workload() -> WorkloadSpec:
    """The example's, for four pods, and the same at any time of day: calm, so that every run is quick."""
    spec = yaml.safe_load((EXAMPLES / "web-service" / "workload.yaml").read_text())
    spec["load"] = {"requestsPerSecond": LOAD}
    spec["noise"] = {}
    return parse_workload(yaml.safe_dump(spec))


def manifests() -> tuple[dict[str, Any], ...]:
    """The example's Deployment, smaller, and its Service."""
    found = tuple(yaml.safe_load_all((EXAMPLES / "web-service" / "deployment.yaml").read_text()))
    found[0]["spec"]["replicas"] = REPLICAS
    return found


async def made(seed: int = 1, **sections: Mapping[str, Any]) -> World:
    """A world with a healthy target and a new Experiment, and no operator."""
    options = Options(seed=seed, scraping=Scraping(interval=SCRAPE))
    world = await World.build(Setting(workload(), manifests(), NAMESPACE), options)
    world.admin.apply(experiment(NAME, NAMESPACE, **sections), NAMESPACE)
    return world


def told(story: Coroutine[Any, Any, T]) -> T:
    """Run a story in virtual time, without the operators' logs."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        return run(story)
    finally:
        structlog.reset_defaults()
