"""Native histograms in the adapter: what a store's answer is read as, and what is asked of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.contract.test_telemetry import CANARY, POD, TIMEOUT, WINDOW, pods, read
from tests.unit.slo.loopback import Behaviour, Loopback

from trimtab.adapters.prometheus_client import PrometheusClient
from trimtab.adapters.series_store import QueryFailed, QueryRefused
from trimtab.adapters.store_config import StoreConfig
from trimtab.adapters.telemetry import StoreTelemetry
from trimtab.domain.measurement import Absence, NoData, Sample, TelemetryError, Window
from trimtab.domain.spec import QuantileQuery, Sli, SliKind, SlowRatioQuery, ValueQuery
from trimtab.slo.series import Buckets, Series

SLOW = Sli("slow", SliKind.ERRORS, SlowRatioQuery(("d_seconds",), 0.25), 1)
P95 = Sli("p95", SliKind.LATENCY, QuantileQuery(("d_seconds",), 0.95), 1)
LABELS = (("namespace", "shop"), ("pod", POD))


@pytest.fixture
def server() -> Iterator[Loopback]:
    with Loopback() as made:
        yield made


@pytest.fixture
def client(server: Loopback) -> Iterator[PrometheusClient]:
    made = PrometheusClient(StoreConfig("default", server.url))
    yield made
    made.close()


def body(kind: str, *rows: dict[str, Any]) -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": rows}}).encode()


SAMPLE = [12.5, {"count": "7", "sum": "1", "buckets": [[0, "0.5", "+Inf", "1"], [3, "-Inf", "0.1", "4"]]}]
READ = (12.5, Buckets(7.0, ((-float("inf"), 0.1, 4.0), (0.5, float("inf"), 1.0))))


class TestAnswers:
    async def test_histograms_in_place_of_numbers(self, server: Loopback, client: PrometheusClient) -> None:
        server.behaviour = Behaviour(body=body("matrix", {"metric": {"pod": "p"}, "histograms": [SAMPLE]}))
        assert await client.matrix("d[5s]", 20.0, TIMEOUT) == (Series((("pod", "p"),), (), (READ,)),)
        server.behaviour = Behaviour(body=body("vector", {"metric": {}, "histogram": SAMPLE}))
        assert await client.vector("d", 20.0, TIMEOUT) == (Series((), (), (READ,)),)

    async def test_one_without_observations(self, server: Loopback, client: PrometheusClient) -> None:
        empty = [12.5, {"count": "0", "sum": "0"}]
        server.behaviour = Behaviour(body=body("matrix", {"metric": {}, "histograms": [empty]}))
        (found,) = await client.matrix("d[5s]", 20.0, TIMEOUT)
        assert found.histograms == ((12.5, Buckets(0.0, ())),)

    async def test_a_range_of_them_is_refused(self, server: Loopback, client: PrometheusClient) -> None:
        server.behaviour = Behaviour(body=body("matrix", {"metric": {}, "histograms": [SAMPLE]}))
        with pytest.raises(QueryFailed, match="histograms, not numbers"):
            await client.range("d", 0.0, 20.0, 5.0, TIMEOUT)

    @pytest.mark.parametrize(
        "histograms",
        [
            5,
            [5],
            [[1]],
            [[1, {}]],
            [[1, {"count": "x"}]],
            [[1, {"count": "1", "buckets": [[0, "1", "2"]]}]],
            [["x", SAMPLE[1]]],
        ],
    )
    async def test_nonsense_is_malformed(self, server: Loopback, client: PrometheusClient, histograms: Any) -> None:
        server.behaviour = Behaviour(body=body("matrix", {"metric": {}, "histograms": histograms}))
        with pytest.raises(QueryFailed, match="malformed answer"):
            await client.matrix("d[5s]", 20.0, TIMEOUT)

    @pytest.mark.parametrize(
        ("status", "refused"), [(400, True), (422, True), (403, False), (503, False), (429, False)]
    )
    async def test_what_is_refused_for_good(
        self, server: Loopback, client: PrometheusClient, status: int, refused: bool
    ) -> None:
        server.behaviour = Behaviour(status, b'{"error": "unknown function"}')
        with pytest.raises(QueryFailed) as caught:
            await client.vector("d", 20.0, TIMEOUT)
        assert isinstance(caught.value, QueryRefused) is refused


class Store:
    """A store of one native histogram: 60 requests a second up to 0.1049, 40 up to 0.3242 (schema 4), or of nothing
    native at all. `asked` are the queries."""

    def __init__(self, knows: bool = True) -> None:
        self.knows = knows
        self.asked: list[str] = []

    def sample(self, at: float) -> Buckets:
        n = float(round(at - WINDOW.start + 100))
        parts = ((2 ** (-53 / 16), 2 ** (-52 / 16), 60 * n), (2 ** (-27 / 16), 2 ** (-26 / 16), 40 * n))
        return Buckets(100 * n, parts)

    def at(self, times: list[float], of: Callable[[Buckets], float]) -> tuple[Series, ...]:
        return (Series(LABELS, tuple((t, of(self.sample(t))) for t in times)),)

    async def matrix(self, expression: str, at: float, _timeout: float) -> tuple[Series, ...]:
        self.asked.append(expression)
        if not self.knows or "_bucket" in expression:
            return ()
        return (Series(LABELS, (), tuple((at - s, self.sample(at - s)) for s in range(15, -1, -1))),)

    async def vector(self, expression: str, at: float, _timeout: float) -> tuple[Series, ...]:
        self.asked.append(expression)
        if "histogram_count" in expression and not self.knows:
            raise QueryRefused('HTTP 422: unknown func "histogram_count"')
        if "_bucket" in expression or not self.knows:
            return ()
        if expression.startswith("count("):
            return (Series((), ((at, 1.0),)),)
        return (Series((), (), ((at, self.sample(at)),)),)

    async def range(
        self, expression: str, start: float, end: float, step: float, _timeout: float
    ) -> tuple[Series, ...]:
        self.asked.append(expression)
        if not self.knows:
            return ()
        times = [end - step * n for n in range(int((end - start) / step + 1e-9), -1, -1)]
        if expression.startswith("timestamp("):
            return (Series(LABELS, tuple((t, t) for t in times)),)
        share = 0.6 if "histogram_fraction" in expression else 1.0
        return self.at(times, lambda h: share * h.count)


class TestReadings:
    async def test_a_slow_ratio(self) -> None:
        store = Store()
        found = await read(StoreTelemetry(store), SLOW, pods("shop", live=(POD,)))
        assert isinstance(found, Sample)
        assert (found.bad, found.total) == (320.0, 800.0)
        assert found.newest == WINDOW.end

    async def test_the_form_is_looked_for_once(self) -> None:
        store = Store()
        telemetry = StoreTelemetry(store)
        await read(telemetry, SLOW, pods("shop", live=(POD,)))
        store.asked.clear()
        await read(telemetry, SLOW, pods("shop", live=(POD,)))
        assert store.asked == [f'd_seconds{{namespace="shop",pod=~"{CANARY}-[a-z0-9]+-[a-z0-9]+"}}[16s]']

    async def test_a_quantile(self) -> None:
        found = await read(StoreTelemetry(Store()), P95, pods("shop", live=(POD,)))
        assert isinstance(found, Sample)
        assert 2 ** (-27 / 16) < found.value < 2 ** (-26 / 16)
        assert found.total == 800.0

    async def test_what_a_quantile_was_in_the_last_hours(self) -> None:
        store = Store()
        found = await StoreTelemetry(store).probe(P95, pods("shop"), WINDOW.end, 3600.0, timeout=TIMEOUT)
        assert isinstance(found.level, Sample)
        assert 2 ** (-27 / 16) < found.level.value < 2 ** (-26 / 16)
        assert not found.coarse
        ranged = f'd_seconds{{namespace="shop",pod=~"{CANARY}-[a-z0-9]+-[a-z0-9]+"}}[21600s]'
        assert f"sum(increase({ranged}))" in store.asked

    async def test_load_and_the_past_ask_for_no_buckets(self) -> None:
        store = Store()
        telemetry = StoreTelemetry(store)
        load = await telemetry.load(SLOW, pods("shop"), WINDOW, timeout=TIMEOUT)
        assert isinstance(load, Sample)
        assert load.value == 100.0
        steps = await telemetry.history(SLOW, pods("shop"), Window(WINDOW.start, WINDOW.end), 4.0, timeout=TIMEOUT)
        assert not isinstance(steps, Absence)
        assert steps == (((pytest.approx(160.0), 400.0),), ((pytest.approx(160.0), 400.0),))
        assert not any(text.endswith("s]") for text in store.asked)

    async def test_a_long_window(self) -> None:
        service = await StoreTelemetry(Store()).totals(
            SLOW, pods("shop", "web"), Window(WINDOW.start - 86400, WINDOW.end), timeout=TIMEOUT
        )
        assert isinstance(service, Sample)
        assert service.value == pytest.approx(0.4)

    async def test_samples_that_are_histograms_are_no_count(self) -> None:
        query = ValueQuery("avg(d{$selector})", "1", samples_query="sum(d{$selector})")
        found = await read(StoreTelemetry(Store()), Sli("v", SliKind.VALUE, query, 1), pods("shop"))
        assert isinstance(found, TelemetryError)
        assert "histogram_count" in found.detail

    async def test_a_store_that_has_no_such_functions_has_no_such_histograms(self) -> None:
        store = Store(knows=False)
        for sli in (SLOW, P95):
            found = await read(StoreTelemetry(store), sli, pods("shop", live=(POD,)))
            assert isinstance(found, NoData)
            probe = await StoreTelemetry(store).probe(sli, pods("shop"), WINDOW.end, 60.0, timeout=TIMEOUT)
            assert probe.reason == "NoData"
