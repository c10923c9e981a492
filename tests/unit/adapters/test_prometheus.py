"""The Prometheus adapter against a server that misbehaves: every failure is a typed reading, none an exception."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.contract.test_telemetry import (
    CANARY,
    CONTROL,
    EACH,
    ERRORS,
    EVERYTHING,
    OTHER,
    P95,
    POD,
    PRESET,
    SCENARIOS,
    SLOW,
    VALUE,
    WINDOW,
    T,
    counter,
    pods,
    steady,
)
from tests.unit.control.builders import trial
from tests.unit.slo.loopback import Behaviour, Loopback

from trimtab.adapters import prometheus_client
from trimtab.adapters.prometheus import PrometheusTelemetry
from trimtab.adapters.prometheus_client import PrometheusClient
from trimtab.adapters.series_store import QueryFailed
from trimtab.adapters.store_config import StoreConfig
from trimtab.api.convert_trial import trial_status
from trimtab.domain.measurement import Ambiguous, Arm, Measurement, NoData, Reading, Sample, Stale, TelemetryError
from trimtab.domain.spec import Sli, SliKind, ValueQuery
from trimtab.domain.trial import TrialPhase
from trimtab.ports import SliProbe, SliRequest

TIMEOUT = 30.0  # nothing here waits for it


@pytest.fixture
def server() -> Iterator[Loopback]:
    with Loopback(EVERYTHING) as made:
        yield made


@pytest.fixture
def telemetry(server: Loopback) -> Iterator[PrometheusTelemetry]:
    made = PrometheusTelemetry(server.url)
    yield made
    made.close()


async def everything(telemetry: PrometheusTelemetry, timeout: float = TIMEOUT) -> list[Reading | SliProbe]:
    """Every method of the port, with every kind of SLI."""
    found: list[Reading | SliProbe] = []
    for sli, namespace in ((ERRORS, "plain"), (PRESET, "status"), (SLOW, "buckets"), (VALUE, "gauge")):
        of = pods(namespace)
        found += await telemetry.read([SliRequest(sli, of, WINDOW)], timeout=timeout)
        found.append(await telemetry.totals(sli, of, WINDOW, timeout=timeout))
        found.append(await telemetry.load(sli, of, WINDOW, timeout=timeout))
        found.append(await telemetry.probe(sli, of, T - 1, 3600.0, timeout=timeout))
    found.append(await telemetry.working_set(pods("memory"), "web", WINDOW, store="default", timeout=timeout))
    return found


def answer(result: Any, kind: str = "matrix") -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}}).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Bad Gateway</html>",
        b"\xff\xfe\x00",
        b"[]",
        b"null",
        b"1",
        b'{"status": "success"}',
        b'{"status": "success", "data": null}',
        b'{"status": "success", "data": {"result": ',
        answer(None),
        answer({"a": 1}),
        answer("text", "string"),
        answer([1, 2, 3]),
        answer([None]),
        answer([{"metric": {}}]),
        answer([{"values": [[1, "2"]], "value": [1, "2"]}]),
        answer([{"metric": None, "values": [[1, "2"]], "value": [1, "2"]}]),
        answer([{"metric": {"pod": "x"}, "values": [["a", "b"]], "value": ["a", "b"]}]),
        answer([{"metric": {"pod": "x"}, "values": [[1]], "value": [1]}]),
        answer([{"metric": {"pod": "x"}, "values": 5, "value": 5}]),
        b"[" * 100_000,
    ],
)
async def test_malformed_answers(server: Loopback, telemetry: PrometheusTelemetry, body: bytes) -> None:
    server.behaviour = Behaviour(body=body)
    for found in await everything(telemetry):
        assert not isinstance(found, Sample)
        words = found.problem if isinstance(found, SliProbe) else found.detail
        assert words
        assert "\n" not in words
        assert len(words) < 400


@pytest.mark.parametrize("status", [400, 401, 403, 422, 429, 500, 502, 503])
async def test_errors_carry_the_servers_words(server: Loopback, telemetry: PrometheusTelemetry, status: int) -> None:
    text = b'{"status": "error", "errorType": "execution", "error": "too many\\nsamples"}'
    server.behaviour = Behaviour(status, text)
    for found in await everything(telemetry):
        words = found.problem if isinstance(found, SliProbe) else getattr(found, "detail", "")
        if isinstance(found, SliProbe):
            busy = status == 429 or status >= 500
            assert found.reason == ("TelemetryUnavailable" if busy else "QueryFailed")
        else:
            assert isinstance(found, TelemetryError)
        assert f"HTTP {status}: too many samples" in words or "is a value" in words or "is no ratio" in words


async def test_a_proxy_page_is_cut_to_a_line(server: Loopback, telemetry: PrometheusTelemetry) -> None:
    server.behaviour = Behaviour(502, b"<html>\n" + b"x" * 10_000)
    (found,) = await telemetry.read([SliRequest(ERRORS, pods("plain"), WINDOW)], timeout=TIMEOUT)
    assert isinstance(found, TelemetryError)
    assert len(found.detail) <= 300


async def test_a_partial_answer_is_an_error(server: Loopback, telemetry: PrometheusTelemetry) -> None:
    server.behaviour = Behaviour(warnings=("store-2: connection refused",))
    for found in await everything(telemetry):
        words = found.problem if isinstance(found, SliProbe) else getattr(found, "detail", "")
        assert "store-2: connection refused" in words or "is a value" in words or "is no ratio" in words


async def test_the_word_warnings_in_a_label_is_none(server: Loopback) -> None:
    client = PrometheusClient(StoreConfig("default", server.url))
    server.behaviour = Behaviour(body=answer([{"metric": {"warnings": "x"}, "values": [[1, "2"]]}]))
    assert len(await client.matrix("a[5s]", T, TIMEOUT)) == 1
    client.close()


async def test_nobody_is_there() -> None:
    with Loopback() as gone:
        url = gone.url
    telemetry = PrometheusTelemetry(url)
    for found in await everything(telemetry):
        words = found.problem if isinstance(found, SliProbe) else getattr(found, "detail", "")
        assert not isinstance(found, SliProbe) or found.reason == "TelemetryUnavailable"
        assert "not reachable" in words or "is a value" in words or "is no ratio" in words
    telemetry.close()


@pytest.mark.parametrize("slow", ["hold", "drip"])
@pytest.mark.thorough
async def test_slow_answers_end_at_the_time_out(server: Loopback, telemetry: PrometheusTelemetry, slow: str) -> None:
    """No answer at all, or one byte and then silence: neither holds a caller."""
    never = threading.Event()
    server.behaviour = Behaviour(**{slow: never})
    (found,) = await telemetry.read([SliRequest(ERRORS, pods("plain"), WINDOW)], timeout=0.2)
    assert found == TelemetryError("no answer within 0.2 s")
    probe = await telemetry.probe(ERRORS, pods("plain"), T, 60.0, timeout=0.2)
    assert probe.reason == "TelemetryUnavailable"
    server.behaviour = Behaviour()
    never.set()
    assert isinstance((await telemetry.read([SliRequest(ERRORS, pods("plain"), WINDOW)], timeout=TIMEOUT))[0], Sample)


async def test_a_stuck_pool_does_not_hold_another_instance(server: Loopback) -> None:
    """Safety has an instance of its own: reconciling may fill its pool with queries that hang."""
    never = threading.Event()
    with Loopback() as stuck:
        stuck.behaviour = Behaviour(hold=never)
        reconciling = PrometheusTelemetry(stuck.url, threads=2)
        requests = [SliRequest(ERRORS, pods("plain"), type(WINDOW)(T - 20 - i, T - 12)) for i in range(8)]
        hanging = asyncio.create_task(reconciling.read(requests, timeout=TIMEOUT))
        safety = PrometheusTelemetry(server.url)
        found = await safety.read([SliRequest(ERRORS, pods("plain"), WINDOW)], timeout=TIMEOUT)
        assert isinstance(found[0], Sample)
        assert not hanging.done()
        hanging.cancel()
        never.set()
        safety.close()
        reconciling.close()


async def test_queries_do_not_pile_up(server: Loopback) -> None:
    never = threading.Event()
    server.behaviour = Behaviour(hold=never)
    client = PrometheusClient(StoreConfig("default", server.url), threads=1, pending=3)
    waiting = [asyncio.create_task(client.vector("a", T, TIMEOUT)) for _ in range(3)]
    assert not (await asyncio.wait(waiting, timeout=0))[0]
    with pytest.raises(QueryFailed, match="too many queries"):
        await client.vector("a", T, TIMEOUT)
    never.set()
    server.behaviour = Behaviour()
    assert await asyncio.gather(*waiting) == [(), (), ()]
    assert await client.vector("a", T, TIMEOUT) == ()
    client.close()


async def test_an_answer_without_end_is_cut_off(
    server: Loopback, telemetry: PrometheusTelemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prometheus_client, "MAX_BYTES", 2**20)
    server.behaviour = Behaviour(body=b" " * (2**20 + 1))
    (found,) = await telemetry.read([SliRequest(ERRORS, pods("plain"), WINDOW)], timeout=TIMEOUT)
    assert isinstance(found, TelemetryError)
    assert "larger than 1 MiB" in found.detail


async def test_more_series_than_anybody_can_use(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus_client, "MAX_SERIES", 3)
    client = PrometheusClient(StoreConfig("default", server.url))
    server.behaviour = Behaviour(body=answer([{"metric": {"pod": str(i)}, "values": [[1, "2"]]} for i in range(4)]))
    with pytest.raises(QueryFailed, match="4 series are more than 3"):
        await client.matrix("a[5s]", T, TIMEOUT)
    assert server.asked[-1]["limit"] == "3"
    client.close()


async def test_a_closed_client_fails_as_everything_else(telemetry: PrometheusTelemetry) -> None:
    telemetry.close()
    (found,) = await telemetry.read([SliRequest(ERRORS, pods("plain"), WINDOW)], timeout=TIMEOUT)
    assert found == TelemetryError("the client is closed")


async def test_the_token_is_read_anew_and_may_be_gone(server: Loopback, tmp_path: Path) -> None:
    token = tmp_path / "token"
    telemetry = PrometheusTelemetry(server.url, token_file=str(token))

    async def ask() -> Reading:
        return (await telemetry.read([SliRequest(ERRORS, pods("plain"), WINDOW)], timeout=TIMEOUT))[0]

    missing = await ask()
    assert isinstance(missing, TelemetryError)
    assert "token file cannot be read" in missing.detail
    assert str(tmp_path) not in missing.detail
    for text in ("first", "second\n"):
        token.write_text(text)
        assert isinstance(await ask(), Sample)
        assert server.asked[-1]["authorization"] == f"Bearer {text.strip()}"
    telemetry.close()


async def test_a_query_is_sent_in_the_body_with_exact_times(server: Loopback, telemetry: PrometheusTelemetry) -> None:
    window = type(WINDOW)(T - 20.125, T - 12.375)
    await telemetry.read([SliRequest(s, pods("gauge"), window) for s in (ERRORS, VALUE)], timeout=2.0)
    assert all(a["address"] == "" for a in server.asked)
    assert all(0 < float(a["timeout"].removesuffix("ms")) <= 2000 for a in server.asked)
    assert {a["time"] for a in server.asked if a["path"].endswith("/query")} == {f"{window.end:.3f}"}
    assert {a["end"] for a in server.asked if a["path"].endswith("/query_range")} == {f"{window.end:.3f}"}


async def test_one_query_serves_both_arms(server: Loopback, telemetry: PrometheusTelemetry) -> None:
    """The demo's two SLIs cost three queries a tick for any number of arms, once the histogram's form is known."""
    arms = [pods("plain", arm) for arm in (CANARY, CONTROL)]
    await telemetry.read([SliRequest(SLOW, a, WINDOW) for a in arms], timeout=TIMEOUT)
    server.asked.clear()
    await telemetry.read([SliRequest(s, a, WINDOW) for s in (ERRORS, SLOW) for a in arms], timeout=TIMEOUT)
    assert len(server.asked) == 3
    assert all(CANARY in a["query"] and CONTROL in a["query"] for a in server.asked)


async def test_one_query_serves_both_counters_of_a_long_window(
    server: Loopback, telemetry: PrometheusTelemetry
) -> None:
    """Of the same moment, so that there are never more bad events than events."""
    long = type(WINDOW)(T - 9000, T - 1)
    assert isinstance(await telemetry.totals(ERRORS, pods("plain"), long, timeout=TIMEOUT), Sample)
    (asked,) = server.asked
    assert "bad_total" in asked["query"]
    assert "all_total" in asked["query"]


async def test_a_spelling_is_looked_for_once(server: Loopback, telemetry: PrometheusTelemetry) -> None:
    request = SliRequest(PRESET, pods("status"), WINDOW)
    assert isinstance((await telemetry.read([request], timeout=TIMEOUT))[0], Sample)
    looked = len(server.asked)
    assert isinstance((await telemetry.read([request], timeout=TIMEOUT))[0], Sample)
    assert len(server.asked) - looked == 2


async def test_a_spelling_is_looked_for_again_while_none_exists(
    server: Loopback, telemetry: PrometheusTelemetry
) -> None:
    """New pods have no series yet; that must not be remembered as a choice."""
    request = SliRequest(PRESET, pods("status"), WINDOW)
    series, server.series = server.series, ()
    assert not isinstance((await telemetry.read([request], timeout=TIMEOUT))[0], Sample)
    server.series = series
    assert isinstance((await telemetry.read([request], timeout=TIMEOUT))[0], Sample)


async def test_text_that_is_no_promql_is_a_failed_query(telemetry: PrometheusTelemetry) -> None:
    """Preflight refuses it; should one get here all the same, the safety loop must go on."""
    broken = Sli("broken", SliKind.VALUE, ValueQuery("sum(a{$selector}", "1"), 1)
    (found,) = await telemetry.read([SliRequest(broken, pods("gauge"), WINDOW)], timeout=TIMEOUT)
    assert isinstance(found, TelemetryError)
    assert "not PromQL" in found.detail


@pytest.mark.parametrize("age", [3, 6, 30])
async def test_a_young_service_is_not_taken_for_a_slow_one(age: float) -> None:
    """What a trial may cost is reckoned from this rate before it starts, and from the true one afterwards."""
    with Loopback((counter("young", "all_total", steady(100.0), since=T - age),)) as young:
        telemetry = PrometheusTelemetry(young.url)
        found = await telemetry.probe(ERRORS, pods("young"), T - 0.5, 86400.0, timeout=TIMEOUT)
        assert found.requests_per_second == pytest.approx(100.0)
        telemetry.close()


@pytest.mark.thorough
async def test_every_reading_can_be_stored_in_a_trial(telemetry: PrometheusTelemetry) -> None:
    """The wire model refuses what is no finite number; then a Trial could not be written, and would be judged again."""
    live = pods("x", live=(POD, OTHER)).live
    slis = (ERRORS, SLOW, P95, VALUE, EACH, PRESET)
    requests = [
        SliRequest(s, pods(n, live=live), WINDOW, fresh) for s in slis for n in SCENARIOS for fresh in (True, False)
    ]
    readings = await telemetry.read(requests, timeout=30.0)
    assert {type(r) for r in readings} >= {Sample, NoData, Stale, Ambiguous}
    measured = trial(TrialPhase.MEASURING)
    for reading in readings:
        found = Measurement("errors", Arm.CANARY, WINDOW, reading)
        stored = trial_status(replace(measured, measurements=(found,)))
        json.dumps(stored if isinstance(stored, dict) else stored.model_dump(mode="json"), allow_nan=False)
