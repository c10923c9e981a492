"""Weights in a route of a cluster: given behind a fence, taken back before the arms go, whatever gets in the way."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.api.route_manifests import CANARY, CONTROL, EXPERIMENT, PLAN, backend, rule
from tests.unit.runtime.test_withdraw import labelled

from trimtab.adapters.clock import LoopClock
from trimtab.domain import kinds
from trimtab.domain.errors import Conflict, Forbidden, NotFound, RetryLater, Unavailable
from trimtab.domain.kube import Manifest
from trimtab.domain.names import ANNOTATION_ROUTE
from trimtab.runtime.reaper import LeftReader, Undoer
from trimtab.runtime.routes import ATTEMPTS, GATEWAY_SECONDS, RouteKeeper
from trimtab.runtime.withdraw import ROUTE_SECONDS, Withdrawer
from trimtab.simulate.admin import Admin
from trimtab.simulate.client import Client, Request
from trimtab.simulate.cluster import InMemoryCluster
from trimtab.simulate.objects import SERVED

pytestmark = pytest.mark.looptime

ROUTES = kinds.HTTP_ROUTES
TRIAL = PLAN.trial_uid
APPLIED: dict[str, Any] = {
    "apiVersion": ROUTES.api_version,
    "kind": ROUTES.name,
    "metadata": {"name": "web", "labels": {"team": "shop"}},
    "spec": {
        "parentRefs": [{"name": "gateway"}],
        "rules": [{"name": "api", "backendRefs": [{"name": "api", "port": 80}]}, rule(backends=[backend()])],
    },
}
TAKE = [
    f"replace:{ROUTES.name}", f"replace:{ROUTES.name}", "delete:Deployment", "delete:ReplicaSet", "delete:Pod",
    "delete:Service",
]  # fmt: skip


class Ground:
    """A cluster that serves routes, one of them applied by its team, with an arm of a trial."""

    def __init__(self) -> None:
        self.clock = LoopClock()
        self.cluster = InMemoryCluster(self.clock, namespaces=["shop"], served=SERVED | {ROUTES})
        self.admin = Admin(self.cluster)
        self.client = Client(self.cluster)
        self.client.before = self._before
        self.effects: list[str] = []
        self.refuse: dict[str, Exception] = {}
        self.keeper, self.withdrawer = RouteKeeper(self.client, self.clock), Withdrawer(self.client, self.clock)
        self.original = self.admin.apply_server_side(APPLIED, "shop", "team")

    async def _before(self, request: Request) -> None:
        if request.verb not in {"get", "list"}:
            self.effects.append(str(request))
        if str(request) in self.refuse:
            raise self.refuse[str(request)]

    async def with_arm(self) -> None:
        pod: dict[str, Any] = {"containers": [{"name": "web", "image": "web:1"}]}
        workload = {"selector": {"matchLabels": {"arm": "c"}}, "template": {"metadata": {}, "spec": pod}}
        inner = {kinds.PODS: pod, kinds.SERVICES: {}}
        for kind in (kinds.DEPLOYMENTS, kinds.REPLICA_SETS, kinds.PODS, kinds.SERVICES):
            made = labelled(kind, CANARY, spec=inner.get(kind, workload))
            made["metadata"]["labels"]["trimtab.dev/experiment-uid"] = EXPERIMENT
            await self.cluster.create(kind, "shop", made)

    async def give(self, share: float = 0.05) -> None:
        await self.keeper.give(replace(PLAN, shares=(share, share)), allowed)

    async def route(self) -> Manifest:
        return await self.cluster.get(ROUTES, "shop", "web")

    async def weights(self) -> dict[str, int]:
        return {r["name"]: r["weight"] for r in (await self.route())["spec"]["rules"][1]["backendRefs"]}

    async def left(self) -> list[str]:
        kinds_left = (kinds.DEPLOYMENTS, kinds.REPLICA_SETS, kinds.PODS, kinds.SERVICES)
        return [k.name for k in kinds_left for _ in await self.cluster.list(k, "shop")]

    async def as_before(self) -> None:
        """Equal in spec, labels and annotations; and its owner's next apply meets no other manager."""
        now = await self.route()
        for part in ("spec", "labels", "annotations"):
            assert {**now, **now["metadata"]}.get(part) == {**self.original, **self.original["metadata"]}.get(part)
        assert [e["manager"] for e in now["metadata"]["managedFields"]] == ["team"]
        self.admin.apply_server_side(APPLIED, "shop", "team")


async def allowed() -> bool:
    return True


class TestGiving:
    async def test_step_by_step(self) -> None:
        ground = Ground()
        await ground.give(0.0125)
        await ground.give()
        await ground.give()
        assert ground.effects == ["replace:HTTPRoute"] * 2
        assert await ground.weights() == {"web": 900, CANARY: 50, CONTROL: 50}

    async def test_nothing_is_written_behind_a_closed_fence(self) -> None:
        ground = Ground()

        async def closed() -> bool:
            return False

        await ground.keeper.give(PLAN, closed)
        assert ground.effects == []

    async def test_who_was_faster_is_read_again(self) -> None:
        ground = Ground()
        asked: list[int] = []

        async def fence() -> bool:
            asked.append(1)
            if len(asked) == 1:
                ground.admin.apply_server_side({**APPLIED, "metadata": {"name": "web"}}, "shop", "team")
            return True

        await ground.keeper.give(PLAN, fence)
        assert len(asked) == 2
        assert await ground.weights() == {"web": 900, CANARY: 50, CONTROL: 50}

    async def test_a_route_that_never_rests_is_left_for_later(self) -> None:
        ground = Ground()
        ground.refuse["replace:HTTPRoute"] = Conflict(409, "modified")
        with pytest.raises(RetryLater, match=f"{ATTEMPTS} times"):
            await ground.give()

    @pytest.mark.parametrize("change", [{"route": "gone"}, {"rule": "gone"}, {"backend": "gone"}])
    async def test_what_is_not_there_is_left_for_the_next_look(self, change: dict[str, str]) -> None:
        ground = Ground()
        with pytest.raises(RetryLater):
            await ground.keeper.give(replace(PLAN, **change), allowed)  # type: ignore[arg-type]

    async def test_two_trials_do_not_share_a_route(self) -> None:
        ground = Ground()
        await ground.give()
        with pytest.raises(RetryLater, match=PLAN.trial_name):
            await ground.keeper.give(replace(PLAN, trial_uid="another"), allowed)

    async def test_whose_weights_there_are(self) -> None:
        ground = Ground()
        assert await ground.keeper.claims(None) == ()
        await ground.give()
        ((namespace, claim),) = await ground.keeper.claims(None)
        assert (namespace, claim.trial_uid) == ("shop", TRIAL)


class TestTakingBack:
    async def test_the_route_is_free_before_anything_is_deleted(self) -> None:
        ground = Ground()
        await ground.with_arm()
        await ground.give()
        ground.effects.clear()
        assert await ground.withdrawer.send("shop", EXPERIMENT, TRIAL) == len(TAKE)
        assert ground.effects == TAKE
        assert await ground.left() == []
        await ground.as_before()

    async def test_its_gateway_is_given_the_time_to_follow(self) -> None:
        ground = Ground()
        await ground.give()
        now = await ground.route()
        seen = {"type": "Accepted", "status": "True", "observedGeneration": now["metadata"]["generation"]}
        parent = {"parentRef": {"name": "gateway"}, "controllerName": "c", "conditions": [seen]}
        await ground.cluster.replace(
            ROUTES, "shop", "web", {**now, "status": {"parents": [parent]}}, subresource="status"
        )
        begun = ground.clock.monotonic()
        await ground.keeper.free("shop", EXPERIMENT, TRIAL)
        assert ground.clock.monotonic() - begun == pytest.approx(GATEWAY_SECONDS, abs=0.2), "it never looked"
        assert await ground.weights() == {"web": 1}

    async def test_of_another_trial_nothing_is_taken(self) -> None:
        ground = Ground()
        await ground.give()
        assert await ground.withdrawer.send("shop", EXPERIMENT, "another") == 0
        assert await ground.weights() == {"web": 900, CANARY: 50, CONTROL: 50}

    async def test_a_crash_between_the_two_writes_leaves_word(self) -> None:
        ground = Ground()
        await ground.give()
        live = await ground.route()
        await ground.keeper.free("shop", EXPERIMENT, TRIAL)
        half = {**live, "spec": ground.original["spec"]}
        now = await ground.route()
        half["metadata"] = {**live["metadata"], "resourceVersion": now["metadata"]["resourceVersion"]}
        await ground.cluster.replace(ROUTES, "shop", "web", half)
        assert ANNOTATION_ROUTE in (await ground.route())["metadata"]["annotations"]
        assert await ground.keeper.free("shop", EXPERIMENT, TRIAL) == 1
        await ground.as_before()

    async def test_where_none_are_served_none_lead_anywhere(self) -> None:
        ground = Ground()
        await ground.with_arm()
        ground.refuse["list:HTTPRoute"] = NotFound(404, "not served")
        assert await ground.withdrawer.send("shop", EXPERIMENT, TRIAL) == 4
        assert await ground.left() == []

    async def test_who_may_not_see_routes_has_written_none_for_arms_without_services(self) -> None:
        ground = Ground()
        await ground.with_arm()
        await ground.cluster.delete(kinds.SERVICES, "shop", CANARY)
        ground.refuse["list:HTTPRoute"] = Forbidden(403, "no right")
        assert await ground.withdrawer.send("shop", EXPERIMENT, TRIAL) == 3
        assert await ground.left() == []

    async def test_a_right_that_was_taken_away_leaves_no_weight_behind_unsaid(self) -> None:
        """The chart's `traffic.httpRoute` was turned off while a route led to the arms."""
        ground = Ground()
        await ground.with_arm()
        await ground.give()
        ground.refuse["list:HTTPRoute"] = ground.refuse["replace:HTTPRoute"] = Forbidden(403, "no right")
        begun = ground.clock.monotonic()
        while "Deployment" in await ground.left():
            with pytest.raises(Forbidden):
                await ground.withdrawer.send("shop", EXPERIMENT, TRIAL)
            await ground.clock.sleep(0.25)
        assert ROUTE_SECONDS <= ground.clock.monotonic() - begun <= ROUTE_SECONDS + 0.5
        with pytest.raises(Forbidden):  # nobody takes it for done
            await ground.withdrawer.verified("shop", EXPERIMENT, TRIAL)
        ground.refuse.clear()
        await ground.withdrawer.verified("shop", EXPERIMENT, TRIAL)
        await ground.as_before()

    @pytest.mark.parametrize("answer", [Unavailable(503, "down"), Conflict(409, "modified"), Forbidden(403, "policy")])
    async def test_a_route_that_cannot_be_written_keeps_the_arms_for_some_seconds(self, answer: Exception) -> None:
        ground = Ground()
        await ground.with_arm()
        await ground.give()
        ground.refuse["replace:HTTPRoute"] = answer
        begun = ground.clock.monotonic()
        while "Deployment" in await ground.left():
            with pytest.raises(type(answer)):
                await ground.withdrawer.send("shop", EXPERIMENT, TRIAL)
            await ground.clock.sleep(0.25)
        waited = ground.clock.monotonic() - begun
        assert ROUTE_SECONDS <= waited <= ROUTE_SECONDS + 0.5
        assert await ground.left() == ["Service"]
        ground.refuse.clear()
        await ground.withdrawer.verified("shop", EXPERIMENT, TRIAL)
        assert await ground.left() == []
        await ground.as_before()

    async def test_routes_that_cannot_be_listed_do_not_keep_arms_of_the_other_mode(self) -> None:
        ground = Ground()
        await ground.with_arm()
        await ground.cluster.delete(kinds.SERVICES, "shop", CANARY)
        ground.refuse["list:HTTPRoute"] = Unavailable(503, "down")
        with pytest.raises(Unavailable):
            await ground.withdrawer.send("shop", EXPERIMENT, TRIAL)
        assert await ground.left() == []

    async def test_what_a_person_wrote_meanwhile_stays(self) -> None:
        ground = Ground()
        await ground.give()
        live = copy.deepcopy(dict(await ground.route()))
        live["spec"]["rules"][1]["timeouts"] = {"request": "3s"}
        ground.cluster.put(ROUTES, "shop", "web", live, manager="kubectl-edit")
        await ground.keeper.free("shop", EXPERIMENT, TRIAL)
        after = await ground.route()
        assert after["spec"]["rules"][1]["timeouts"] == {"request": "3s"}
        assert await ground.weights() == {"web": 1}
        assert ANNOTATION_ROUTE not in (after["metadata"].get("annotations") or {})
        owners = [e["manager"] for e in after["metadata"]["managedFields"] if "f:rules" in e["fieldsV1"]["f:spec"]]
        assert owners == ["kubectl-edit"]

    async def test_a_route_that_goes_meanwhile_is_free(self) -> None:
        ground = Ground()
        await ground.give()
        ground.refuse["replace:HTTPRoute"] = NotFound(404, "gone")
        assert await ground.keeper.free("shop", EXPERIMENT, TRIAL) == 0


class TestLeft:
    """Whoever removes what is left finds weights also where no arm is left any more."""

    async def test_weights_without_arms_are_found_by_trial(self) -> None:
        ground = Ground()
        reader = LeftReader(ground.client, ground.clock)
        await ground.give()
        (weights,) = await reader.read("shop")
        assert (weights.namespace, weights.trial_uid, weights.trial_name) == ("shop", TRIAL, PLAN.trial_name)
        assert (weights.experiment_uid, weights.deadline) == (EXPERIMENT, PLAN.deadline)

    async def test_with_arms_they_are_one(self) -> None:
        ground = Ground()
        await ground.with_arm()
        await ground.give()
        assert len(await LeftReader(ground.client, ground.clock).read(None)) == 1

    async def test_they_are_removed_as_arms_are(self) -> None:
        ground = Ground()
        await ground.give()
        (weights,) = await LeftReader(ground.client, ground.clock).read("shop")
        assert await Undoer(ground.client, ground.clock).remove(weights, "nobody leads") == ""
        await ground.as_before()
