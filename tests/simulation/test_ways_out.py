"""What goes wrong around a live trial never hangs a deletion, is never silent, and is never told for ever."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from benchmarks.operator.live import ARM, experiment, phase_of
from tests.simulation.world import NAME, NAMESPACE, SOBOL, made, told

from trimtab.domain import kinds
from trimtab.domain.errors import Rejected, Unavailable
from trimtab.domain.kinds import Kind
from trimtab.domain.kube import Manifest
from trimtab.runtime.observe import SURROUNDING_KINDS
from trimtab.runtime.spending import account_name
from trimtab.simulate.life import Life
from trimtab.simulate.world import World

pytestmark = pytest.mark.thorough

LONG = {"warmUp": "1s", "duration": "10m", "deadline": "45m"}
AROUND = tuple(("list", kind.plural) for kind in SURROUNDING_KINDS if kind != kinds.ENDPOINT_SLICES)
RIGHTS = (*AROUND, ("get", "leases"), ("get", "namespaces"), ("create", "configmaps"), ("update", "leases"))


async def begun(phase: str = "Measuring", **sections: Any) -> tuple[World, Life]:
    """A world in the middle of a trial."""
    world = await made(search=SOBOL, trial=LONG, **sections)
    life = world.start()
    assert await world.until(lambda: phases(world)[-1:] == [phase], seconds=120), phases(world)
    return world, life


def phases(world: World) -> list[str]:
    return [phase_of(t) for t in world.trials(NAME)]


def condition(world: World, kind: str) -> Mapping[str, Any]:
    """A condition of the Experiment, empty while it has none of that type."""
    found = (world.experiment(NAME) or {}).get("status") or {}
    return next((c for c in found.get("conditions") or () if c["type"] == kind), {})


def stalled(world: World, reason: str) -> Callable[[], bool]:
    def is_so() -> bool:
        found = condition(world, "Stalled")
        return (found.get("status"), found.get("reason")) == ("True", reason)

    return is_so


def left(world: World) -> list[str]:
    """What is left of an Experiment and its arms."""
    arms = (kinds.DEPLOYMENTS, kinds.REPLICA_SETS, kinds.PODS)
    found = [
        o for kind in arms for o in world.admin.list(kind, NAMESPACE) if ARM in (o["metadata"].get("labels") or {})
    ]
    rows = [*world.admin.list(kinds.EXPERIMENTS, NAMESPACE), *world.admin.list(kinds.TRIALS, NAMESPACE)]
    return [f"{o['kind']}/{o['metadata']['name']}" for o in (*found, *rows)]


async def deleted(world: World) -> None:
    """Delete the Experiment; it and all of it goes within two minutes."""
    world.cluster.take(kinds.EXPERIMENTS, NAMESPACE, NAME)
    assert await world.until(lambda: not left(world), seconds=120), left(world)
    await world.close()


def spoil(world: World, kind: Kind, name: str) -> None:
    """As a hand, or a version of the future, would write a status."""
    found = world.cluster.objects.need(kind, NAMESPACE, name)
    status = {**(found.get("status") or {}), "phase": "Dancing"}
    world.cluster.put(kind, NAMESPACE, name, {**found, "status": status}, subresource="status")


@pytest.mark.parametrize("right", RIGHTS, ids=" ".join)
def test_a_right_that_is_taken_away_hangs_no_deletion(right: tuple[str, str]) -> None:
    told(_deleted_without(right))


async def _deleted_without(right: tuple[str, str]) -> None:
    world, life = await begun()
    for client in life.clients[:2]:
        client.missing = frozenset({right})
    await world.run(90)
    await deleted(world)


def test_a_missing_right_is_told_and_people_are_answered_meanwhile() -> None:
    told(_answered())


async def _answered() -> None:
    world, life = await begun()
    life.clients[0].missing = frozenset({("list", "limitranges")})
    assert await world.until(stalled(world, "RBACDenied"), seconds=60)
    assert 'cannot list resource "limitranges"' in condition(world, "Stalled")["message"]
    world.admin.annotate(kinds.EXPERIMENTS, NAMESPACE, NAME, trimtab_pause="anna: what is this")
    assert await world.until(lambda: phases(world) == ["Aborted"], seconds=30)
    status = (world.experiment(NAME) or {})["status"]
    assert status["handledRequests"][-1]["answer"] == "paused on call: anna: what is this"
    life.clients[0].missing = frozenset()
    world.admin.annotate(kinds.EXPERIMENTS, NAMESPACE, NAME, trimtab_pause=None)
    assert await world.until(lambda: condition(world, "Stalled").get("status") == "False", seconds=120)
    await world.close()


@pytest.mark.parametrize("kind", [kinds.EXPERIMENTS, kinds.TRIALS], ids=lambda k: k.name)
def test_a_status_that_cannot_be_read_hangs_no_deletion(kind: Kind) -> None:
    told(_deleted_spoiled(kind))


async def _deleted_spoiled(kind: Kind) -> None:
    world, _ = await begun()
    spoil(world, kind, NAME if kind == kinds.EXPERIMENTS else world.trials(NAME)[0]["metadata"]["name"])
    no_arm = lambda: not any(each.startswith("Deployment/") for each in left(world))  # noqa: E731
    assert await world.until(no_arm, seconds=90), left(world)
    await world.run(30)
    await deleted(world)


@pytest.mark.parametrize("again", [False, True], ids=["gone", "another of its name"])
def test_an_experiment_whose_finalizer_a_hand_took_leaves_nothing(again: bool) -> None:
    told(_forced(again))


async def _forced(again: bool) -> None:
    world, _ = await begun()
    before = world.experiment(NAME)
    assert before is not None
    (old,) = [t["metadata"]["uid"] for t in world.trials(NAME)]
    world.admin.edit(kinds.EXPERIMENTS, NAMESPACE, NAME, lambda body: body["metadata"].pop("finalizers"))
    world.admin.delete(kinds.EXPERIMENTS, NAMESPACE, NAME)
    assert world.experiment(NAME) is None
    if again:
        world.admin.apply(experiment(NAME, NAMESPACE), NAMESPACE)
        ours = lambda: {t["metadata"]["uid"] for t in world.trials(NAME)}  # noqa: E731
        assert await world.until(lambda: ours() and old not in ours(), seconds=120), left(world)
        await deleted(world)
        return
    assert await world.until(lambda: not left(world), seconds=120), left(world)
    await world.close()


def test_an_account_that_cannot_be_read_is_told_and_hangs_no_deletion() -> None:
    told(_spoiled_account())


async def _spoiled_account() -> None:
    world, _ = await begun()
    target = world.trials(NAME)[0]["spec"]["environment"]["targetUID"]
    body = {"metadata": {"name": account_name(target)}, "data": {"spending.json": "{"}}
    world.cluster.make(kinds.CONFIG_MAPS, NAMESPACE, body)
    world.admin.annotate(kinds.EXPERIMENTS, NAMESPACE, NAME, trimtab_pause="to end the trial")
    assert await world.until(stalled(world, "LedgerCorrupted"), seconds=60)
    assert phases(world) == ["Draining"]
    await deleted(world)


def test_a_policy_that_denies_trials_is_told_with_its_words_and_remedy() -> None:
    told(_denied())


async def _denied() -> None:
    world = await made(search=SOBOL, trial=LONG)
    admit = world.cluster.admit

    def deny(kind: Kind, verb: str, new: dict[str, Any], old: Manifest | None) -> None:
        if (kind, verb) == (kinds.TRIALS, "create"):
            raise Rejected(422, "denied by ValidatingAdmissionPolicy 'no-experiments-on-friday'")
        if admit is not None:
            admit(kind, verb, new, old)

    world.cluster.admit = deny
    world.start()
    assert await world.until(stalled(world, "Rejected"), seconds=60)
    message = condition(world, "Stalled")["message"]
    assert "no-experiments-on-friday" in message
    assert "change the policy" in message
    before = len(world.history.changes)
    await world.run(600)
    writes = [c for c in world.history.changes[before:] if c.kind == "experiments"]
    assert len(writes) < 60  # a hold and a release of its finalizer for each try, a minute apart at last
    world.cluster.admit = admit
    assert await world.until(lambda: phases(world)[-1:] == ["Measuring"], seconds=120)
    assert condition(world, "Stalled")["status"] == "False"
    await world.close()


def test_a_trial_whose_arms_cannot_be_made_ends_at_its_deadline() -> None:
    told(_never_made())


async def _never_made() -> None:
    world = await made(search=SOBOL, trial={"warmUp": "1s", "duration": "10s", "deadline": "60s"})
    life = world.start()

    async def unavailable(request: Any) -> None:
        if str(request) == "create:Deployment":
            raise Unavailable(500, "failed calling webhook: time-out")

    life.clients[0].before = unavailable
    assert await world.until(lambda: phases(world)[:1] == ["InfraFailed"], seconds=240), phases(world)
    outcome = world.trials(NAME)[0]["status"]["outcome"]
    assert outcome["reason"] == "DeployTimeout"
    await world.close()
