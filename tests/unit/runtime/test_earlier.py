"""What a warm start names: an Experiment's Trials, an exported history, or what is wrong with either."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.contract.test_ledger import NEW, SPEC
from tests.unit.simulate.stories import stored, story

from trimtab.adapters.clock import LoopClock
from trimtab.adapters.ledger import KubernetesLedger
from trimtab.api.convert import parse_spec
from trimtab.api.history import simulated_history
from trimtab.control.snapshot import EarlierTrials
from trimtab.domain import kinds
from trimtab.domain.space import SearchSpace
from trimtab.domain.spec import ExperimentSpec, WarmStart
from trimtab.runtime.earlier import Earlier
from trimtab.simulate.cluster import InMemoryCluster

pytestmark = pytest.mark.looptime

TRUTH, FINISHED = story()


async def ground(**warm: Any) -> tuple[InMemoryCluster, ExperimentSpec]:
    """A cluster with an Experiment `old` of one Trial, and the spec that wants to begin warm."""
    clock = LoopClock()
    cluster = InMemoryCluster(clock)
    ledger = KubernetesLedger(cluster)
    body = {
        "apiVersion": kinds.EXPERIMENTS.api_version,
        "kind": kinds.EXPERIMENTS.name,
        "metadata": {"name": "old"},
        "spec": SPEC,
    }
    await cluster.create(kinds.EXPERIMENTS, "default", body)
    await ledger.create_trial(await ledger.experiment("default", "old"), NEW)
    return cluster, replace(
        parse_spec(SPEC), warm_start=WarmStart(**{"experiment": "", "history": "", "max_age": 1e9, **warm})
    )


async def read(cluster: InMemoryCluster, spec: ExperimentSpec) -> EarlierTrials:
    return await Earlier(cluster, KubernetesLedger(cluster)).trials("default", spec)


async def test_an_experiments_trials() -> None:
    found = await read(*await ground(experiment="old"))
    assert (found.problem, [t.index for t in found.trials]) == ("", [NEW.index])


async def test_an_exported_history() -> None:
    cluster, spec = await ground(history="web-history")
    spec = replace(spec, space=TRUTH.spec.space)
    manifest = simulated_history("web", "default", "web-service/abc", 7, [stored(t) for t in FINISHED.trials])
    await cluster.create(kinds.CONFIG_MAPS, "default", manifest)
    found = await read(cluster, spec)
    assert found.problem == ""
    assert len(found.trials) > 5


@pytest.mark.parametrize("warm", [{"experiment": "gone"}, {"history": "gone"}])
async def test_what_does_not_exist_is_said_with_the_remedy(warm: dict[str, str]) -> None:
    found = await read(*await ground(**warm))
    assert found.trials == ()
    assert "gone" in found.problem
    assert found.problem.endswith("; create it, or remove spec.warmStart")


async def test_other_parameters_are_no_earlier_knowledge() -> None:
    cluster, spec = await ground(experiment="old")
    found = await read(cluster, replace(spec, space=SearchSpace(spec.space.parameters[:1])))
    assert "has the parameters cpu, memory" in found.problem
    assert "name an Experiment with cpu" in found.problem


async def test_a_config_map_that_is_no_history() -> None:
    cluster, spec = await ground(history="other")
    await cluster.create(kinds.CONFIG_MAPS, "default", {"metadata": {"name": "other"}, "data": {"a": "b"}})
    assert "has no key 'history.json'" in (await read(cluster, spec)).problem


async def test_without_a_warm_start_there_is_nothing() -> None:
    cluster, spec = await ground()
    assert await read(cluster, replace(spec, warm_start=None)) == EarlierTrials()
