"""Several stores behind one port: each SLI is read where it says, and an unknown name is no silence."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from functools import partial

import pytest
from tests.contract.test_telemetry import ERRORS, EVERYTHING, TIMEOUT, WINDOW, T, pods
from tests.unit.slo.loopback import Behaviour, Loopback, StoredSource

from trimtab.adapters.prometheus import PrometheusTelemetry
from trimtab.adapters.query_limits import Asked, Loop, MeteredStore, QueryLimiter
from trimtab.adapters.stores import Stores
from trimtab.adapters.telemetry import StoreTelemetry
from trimtab.domain.measurement import NoData, Sample, TelemetryError
from trimtab.ports import SliRequest
from trimtab.simulate.prometheus import SimulatedPrometheus

ELSEWHERE = replace(ERRORS, store="long-term")
NOWHERE = replace(ERRORS, store="lost")


def stores() -> Stores:
    full, empty = (StoreTelemetry(SimulatedPrometheus(StoredSource(s))) for s in (EVERYTHING, ()))
    return Stores({"default": full, "long-term": empty})


async def test_each_sli_is_read_from_its_own_store_and_in_order() -> None:
    slis = (ELSEWHERE, ERRORS, NOWHERE, ERRORS, ELSEWHERE)
    found = await stores().read([SliRequest(s, pods("plain"), WINDOW) for s in slis], timeout=TIMEOUT)
    assert [type(r) for r in found] == [NoData, Sample, TelemetryError, Sample, NoData]


async def test_an_unknown_name_is_an_error_that_says_what_is_known() -> None:
    known = stores()
    words = "'lost' is no metrics store of this operator; it knows default, long-term"
    window, of = WINDOW, pods("plain")
    assert await known.totals(NOWHERE, of, window, timeout=TIMEOUT) == TelemetryError(words)
    assert await known.load(NOWHERE, of, window, timeout=TIMEOUT) == TelemetryError(words)
    assert await known.history(NOWHERE, of, window, 1.0, timeout=TIMEOUT) == TelemetryError(words)
    memory = known.working_set(of, "web", window, store="lost", timeout=TIMEOUT)
    assert await memory == TelemetryError(words)
    probe = await known.probe(NOWHERE, of, T, 60.0, timeout=TIMEOUT)
    assert (probe.reason, probe.problem) == ("UnknownStore", words)
    assert probe.remedy


@pytest.mark.parametrize("sli", [ERRORS, NOWHERE])
async def test_one_store_may_stand_for_all_names(sli: object) -> None:
    full = StoreTelemetry(SimulatedPrometheus(StoredSource(EVERYTHING)))
    (found,) = await Stores({}, otherwise=full).read([SliRequest(sli, pods("plain"), WINDOW)], timeout=TIMEOUT)  # type: ignore[arg-type]
    assert isinstance(found, Sample)


@pytest.mark.thorough
async def test_a_store_that_hangs_delays_no_reading_of_another() -> None:
    """All threads of the one are taken; the other has its own."""
    never = threading.Event()
    with Loopback(EVERYTHING) as well, Loopback(EVERYTHING) as stuck:
        stuck.behaviour = Behaviour(hold=never)
        both = {"default": PrometheusTelemetry(well.url), "long-term": PrometheusTelemetry(stuck.url)}
        known = Stores(both)
        windows = [type(WINDOW)(T - 20 - i, T - 12) for i in range(16)]
        hanging = asyncio.create_task(
            known.read([SliRequest(ELSEWHERE, pods("plain"), w) for w in windows], timeout=TIMEOUT)
        )
        for window in windows:
            (found,) = await known.read([SliRequest(ERRORS, pods("plain"), window)], timeout=TIMEOUT)
            assert isinstance(found, Sample)
        assert not hanging.done()
        never.set()
        assert all(isinstance(r, Sample) for r in await hanging)
        for telemetry in both.values():
            telemetry.close()


async def test_a_store_that_hangs_holds_the_reconciler_s_workers_for_a_few_time_outs_only() -> None:
    never = threading.Event()
    with Loopback(EVERYTHING) as stuck:
        stuck.behaviour = Behaviour(hold=never)
        seen: list[Asked] = []
        meter = partial(
            MeteredStore,
            name="stuck",
            loop=Loop.RECONCILE,
            limiter=QueryLimiter(),
            on_query=lambda _, __, what, ___: seen.append(what),
        )
        telemetry = PrometheusTelemetry(stuck.url, meter=meter)
        known = Stores({"default": telemetry})
        for _ in range(20):
            (found,) = await known.read([SliRequest(ERRORS, pods("plain"), WINDOW)], timeout=0.1)
            assert isinstance(found, TelemetryError)
        assert found.detail == "left alone for a moment, as it does not answer"
        assert seen.count(Asked.FAILED) <= 8  # two queries of a ratio each time
        assert seen.count(Asked.SKIPPED) >= 16
        never.set()
        telemetry.close()
