"""What faults do on the ways to the API server and to the metrics store, and to a status of another version."""

from __future__ import annotations

import random
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import pytest

from trimtab.adapters.series_store import QueryFailed
from trimtab.api.convert import parse_experiment
from trimtab.api.history import read_history
from trimtab.api.problems import read
from trimtab.api.trial import TrialStatus
from trimtab.domain import kinds
from trimtab.domain.errors import Forbidden
from trimtab.domain.kinds import Kind
from trimtab.simulate.campaign import MEMORY_SECONDS, all_over
from trimtab.simulate.client import Request
from trimtab.simulate.clock import SimulatedClock
from trimtab.simulate.faults.acting import Acting, ActingFaults
from trimtab.simulate.faults.earlier import earlier
from trimtab.simulate.faults.fleet import Fleet
from trimtab.simulate.faults.kinds import BESIDE, Moment
from trimtab.simulate.faults.plan import Fault, Scenario
from trimtab.simulate.faults.requests import Requests
from trimtab.simulate.faults.scenario import experiment
from trimtab.simulate.faults.stage import Stage
from trimtab.simulate.faults.store import FaultyStore
from trimtab.simulate.faults.strikes.operator import without_later
from trimtab.simulate.record import Record
from trimtab.slo.budget import BURNING
from trimtab.slo.series import Series


def acting(kind: str, **parameters: str) -> ActingFaults:
    found = ActingFaults()
    found.add(Acting(Fault.model_validate({"kind": kind, "at": "0s", "parameters": parameters}), 0.0))
    return found


async def is_denied(faults: ActingFaults, verb: str, kind: Kind, namespace: str = "shop") -> bool:
    requests = Requests("one", faults, sent=lambda _: None, answered=lambda: None, ended=lambda: False)
    try:
        await requests.before(Request(verb, kind, namespace, "x"))
    except Forbidden:
        return True
    return False


@pytest.mark.parametrize(
    ("what", "denied"),
    [
        ("routes", {("list", "httproutes"), ("replace", "httproutes")}),
        ("writes", {("replace", "httproutes")}),
        ("all", {("list", "httproutes"), ("replace", "httproutes"), ("create", "services"), ("delete", "services")}),
    ],
)
async def test_rights_on_routes_are_withdrawn(what: str, denied: set[tuple[str, str]]) -> None:
    faults = acting("RouteRightsLost", what=what)
    asked = [
        ("list", kinds.HTTP_ROUTES), ("replace", kinds.HTTP_ROUTES), ("create", kinds.SERVICES),
        ("delete", kinds.SERVICES), ("list", kinds.SERVICES), ("delete", kinds.DEPLOYMENTS),
    ]  # fmt: skip
    assert {(verb, kind.plural) for verb, kind in asked if await is_denied(faults, verb, kind)} == denied


async def test_a_lost_namespace_is_lost_alone() -> None:
    faults = acting("NamespaceLost")
    assert await is_denied(faults, "list", kinds.DEPLOYMENTS, BESIDE)
    assert not await is_denied(faults, "list", kinds.DEPLOYMENTS, "shop")


@dataclass
class Answering:
    """A store that answers everything with nothing."""

    async def matrix(self, *_: object) -> tuple[Series, ...]:
        return ()

    vector = range = matrix


async def test_long_windows_fail_alone() -> None:
    async def running() -> None:
        return None

    store = FaultyStore(Answering(), SimulatedClock(0.0), acting("LongWindowsFail"), running)
    assert await store.vector("sum(increase(requests_total[3600s]))", 0.0, 1.0) == ()
    assert await store.range("requests_total", 0.0, 3600.0, 60.0, 1.0) == ()
    for query in (
        store.vector("sum(increase(a[300s])) or sum(increase(b[21600s]))", 0.0, 1.0),
        store.matrix("requests_total[86400s]", 0.0, 1.0),
        store.range("requests_total", 0.0, 3601.0, 60.0, 1.0),
    ):
        with pytest.raises(QueryFailed, match="too many samples"):
            await query


def test_a_status_of_an_older_version_can_be_read() -> None:
    status = {
        "phase": "Measuring",
        "spent": [{"sli": "errors", "bad": 1.0, "total": 9.0, "unseen": 0.5, "rate": 3.0}],
        "nodeTypes": [{"arm": "canary", "types": ["a"]}],
        "times": {"deploying": "2026-03-02T00:00:01Z"},
    }
    older = without_later(status)
    assert older == {
        "phase": "Measuring",
        "spent": [{"sli": "errors", "bad": 1.0, "total": 9.0}],
        "times": {"deploying": "2026-03-02T00:00:01Z"},
    }
    assert read(TrialStatus, older, "status").spent[0].bad == 1.0


def test_an_earlier_history_is_one_of_the_built_in_parameters() -> None:
    spec = parse_experiment(experiment(Scenario(asks="WarmStart")))
    assert spec.warm_start is not None
    assert spec.warm_start.history == earlier()["metadata"]["name"]
    phases = [trial.phase.value for trial in read_history(earlier(), spec.space).trials]
    assert phases == ["Succeeded", "Succeeded", "Succeeded", "Infeasible"]


def test_a_stage_is_told_from_a_status_that_a_hand_spoilt() -> None:
    spoilt = {"status": {"phase": "Running", "trialsCreated": "many"}}
    world: Any = SimpleNamespace(experiment=lambda _: spoilt, trials=lambda _: [])
    stage = Stage(world, Record(), ActingFaults(), cast(Fleet, None), "tune", random.Random(1))
    assert stage.where() == (Moment.BETWEEN, -1)


@pytest.mark.parametrize(("reason", "waited"), [(BURNING, [10.0, MEMORY_SECONDS]), ("BudgetBelowStart", [10.0])])
async def test_a_story_waits_for_a_budget_that_the_service_burned(reason: str, waited: list[float]) -> None:
    asked: list[float] = []

    async def until(_: object, *, seconds: float) -> bool:
        asked.append(seconds)
        return len(asked) > 1

    status = {"status": {"conditions": [{"reason": reason}]}}
    world = SimpleNamespace(until=until, experiment=lambda _: status, ended=lambda _: lambda: False)
    injector: Any = SimpleNamespace(world=world, quiet=True)
    assert await all_over(injector, 10.0) == (len(waited) > 1)
    assert asked == waited
