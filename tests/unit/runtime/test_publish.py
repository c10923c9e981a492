"""The ConfigMap with the recommendation: written anew where it is ours, and nobody else's is touched."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.control.builders import experiment

from trimtab.adapters.clock import LoopClock
from trimtab.domain.errors import AlreadyExists
from trimtab.domain.kinds import CONFIG_MAPS, DEPLOYMENTS, EXPERIMENTS, Kind
from trimtab.domain.kube import Manifest
from trimtab.ports import ExperimentRecord
from trimtab.runtime.publish import publish
from trimtab.simulate.cluster import InMemoryCluster

pytestmark = pytest.mark.looptime

NAMESPACE, NAME = "shop", "web-recommendation"
OURS = {"app.kubernetes.io/managed-by": "trimtab"}


class Bench:
    """A cluster with an Experiment."""

    def __init__(self) -> None:
        self.cluster = InMemoryCluster(LoopClock(), namespaces=[NAMESPACE])

    async def experiment(self) -> ExperimentRecord:
        return replace(experiment(), uid=(await self.owner(EXPERIMENTS, "web"))["uid"])

    async def owner(self, kind: Kind, name: str) -> dict[str, str]:
        """A new object, as others refer to it: nothing outlives its owner."""
        made = await self.cluster.create(kind, NAMESPACE, {"metadata": {"name": name}, "spec": {}})
        return {"apiVersion": kind.api_version, "kind": kind.name, "name": name, "uid": made["metadata"]["uid"]}

    async def place(self, **metadata: Any) -> None:
        body = {"metadata": {"name": NAME, **metadata}, "data": {"theirs.yaml": "important"}}
        await self.cluster.create(CONFIG_MAPS, NAMESPACE, body)

    async def found(self) -> Manifest:
        return await self.cluster.get(CONFIG_MAPS, NAMESPACE, NAME)


async def test_our_own_is_written_anew_and_keeps_what_others_put_to_it() -> None:
    bench = Bench()
    about = await bench.experiment()
    await publish(bench.cluster, about, NAME, {"patch.yaml": "old"})
    found = dict(await bench.found())
    metadata = {**found["metadata"], "annotations": {"reflector/allowed": "true"}}
    metadata["labels"] = {**metadata["labels"], "team": "checkout"}
    await bench.cluster.replace(CONFIG_MAPS, NAMESPACE, NAME, {**found, "metadata": metadata})
    await publish(bench.cluster, about, NAME, {"patch.yaml": "new"})
    again = await bench.found()
    assert again["data"] == {"patch.yaml": "new"}
    assert again["metadata"]["labels"] == {**OURS, "trimtab.dev/experiment": "web", "team": "checkout"}
    assert again["metadata"]["annotations"] == {"reflector/allowed": "true"}


async def test_one_that_an_experiment_of_this_name_left_behind_is_taken_over() -> None:
    bench = Bench()
    about = await bench.experiment()
    await bench.place(labels=OURS)
    await publish(bench.cluster, about, NAME, {"patch.yaml": "new"})
    found = await bench.found()
    assert found["data"] == {"patch.yaml": "new"}
    assert [owner["uid"] for owner in found["metadata"]["ownerReferences"]] == [about.uid]


@pytest.mark.parametrize(
    "labels", [{}, {"app.kubernetes.io/managed-by": "Helm"}], ids=["without a label", "of another manager"]
)
async def test_a_foreign_one_is_left_as_it_is_and_named(labels: dict[str, str]) -> None:
    bench = Bench()
    await bench.place(labels=labels)
    await _assert_left(bench)


@pytest.mark.parametrize(("kind", "name"), [(EXPERIMENTS, "another"), (DEPLOYMENTS, "web")])
async def test_one_that_goes_with_another_owner_is_foreign(kind: Kind, name: str) -> None:
    bench = Bench()
    await bench.place(labels=OURS, ownerReferences=[await bench.owner(kind, name)])
    await _assert_left(bench)


async def _assert_left(bench: Bench) -> None:
    before = await bench.found()
    with pytest.raises(AlreadyExists, match=f"ConfigMap shop/{NAME} exists and holds no recommendation"):
        await publish(bench.cluster, await bench.experiment(), NAME, {"patch.yaml": "new"})
    assert await bench.found() == before
