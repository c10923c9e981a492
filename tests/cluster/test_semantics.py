"""The table of `tests/contract/test_semantics.py` over a real Prometheus, where every row is told in native histograms
too: with exponential buckets and with custom bounds. And what only such a server does."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from tests.cluster.remote_write import Native, Pushed, push
from tests.contract.test_semantics import (
    BOUNDS,
    QUANTILE,
    RATIO,
    ROWS,
    SLOW,
    STORED,
    Classes,
    Pod,
    Row,
    TestSemantics,
    check,
    labels_of,
    reading,
    served,
)
from tests.contract.test_telemetry import CONTROL, POD, TIMEOUT, WINDOW, T, counted, pods, read

from controlplane import PrometheusServer, scrape_config, wait_for
from trimtab.adapters.prometheus import PrometheusTelemetry
from trimtab.domain.measurement import Absence, NoData, Sample, TelemetryError, Window
from trimtab.domain.spec import QuantileQuery, Sli, SliKind, SlowRatioQuery, ValueQuery
from trimtab.ports import PodSet, Telemetry

__all__ = ["TestSemantics"]
SCHEMA = 3  # eight buckets an octave: bucket 8 k ends at 2^k
NATIVE_ROWS = tuple(row for row in ROWS if row.native)
INDICES = (8 * -3, 8 * -2, 8 * -1, 8 * 2)  # they end at 0.125, 0.25, 0.5 and 4


def exponential(classes: Classes, schema: int = SCHEMA) -> Native:
    """Each class in the bucket below its bound."""
    step = 2 ** (SCHEMA - schema)
    counts: dict[int, int] = {}
    for index, n in zip(INDICES, classes, strict=True):
        counts[-(-index // step)] = counts.get(-(-index // step), 0) + int(n)
    return Native(tuple(sorted(counts.items())), schema=schema)


def custom(classes: Classes) -> Native:
    return Native(tuple(enumerate(int(n) for n in classes)), bounds=BOUNDS)


FORMS = {"exponential": exponential, "custom": custom}


def told(row: Row, pod: Pod, form: str) -> Pushed:
    """A pod's past in a form of histogram, in a namespace of that form."""
    labels = labels_of(row, pod)
    named = labels | {"namespace": f"{labels['namespace']}-{form}", "__name__": "s_seconds"}
    return Pushed(named, [(t, FORMS[form](v)) for t, v in pod.scrapes()])


def series(namespace: str, points: list[tuple[float, Any]], pod: str = POD, **labels: str) -> Pushed:
    return Pushed({"namespace": namespace, "pod": pod, "__name__": "s_seconds", **labels}, points)


def merged_at(seconds: float) -> list[tuple[float, Native]]:
    """A process that runs out of buckets: from then on each is as wide as two were."""
    return [(t, exponential(v, SCHEMA if t < T - 60 + seconds else SCHEMA - 1)) for t, v in Pod(served()).scrapes()]


def inside() -> list[tuple[float, Native]]:
    """60 a second up to 0.25; 30 between 0.273 and 0.297; 10 above."""
    found = []
    for t, _ in Pod(served()).scrapes():
        n = int(t - T + 61)
        found.append((t, Native(((-16, 60 * n), (-14, 30 * n), (4, 10 * n)))))
    return found


def wide() -> list[tuple[float, Native]]:
    return [
        (t, Native(((1, 60 * n), (2, 40 * n)), bounds=BOUNDS)) for n, (t, _) in enumerate(Pod(served()).scrapes(), 1)
    ]


ONLY_NATIVE = [
    series("merged", merged_at(44.0)),
    series("inside", inside()),
    series("inside", inside(), f"{CONTROL}-5b8c-abcde"),
    series("wide", wide()),
    series("both", [(t, exponential(v)) for t, v in Pod(served()).scrapes()]),
    *(
        Pushed(
            {"namespace": "both", "pod": POD, "__name__": "s_seconds_bucket", "le": le},
            [(t, sum(v[:upto])) for t, v in Pod(served()).scrapes()],
        )
        for upto, le in ((2, "0.25"), (4, "+Inf"))
    ),
]


@pytest.fixture(scope="module")
def server(built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    """One Prometheus for this module, filled by remote write and with nothing to scrape."""
    arguments = ["--web.enable-remote-write-receiver"]
    where = tmp_path_factory.mktemp("semantics") / "prometheus"
    with PrometheusServer(scrape_config({}), where, path=built["prometheus"], arguments=arguments) as running:
        port = int(running.url.rpartition(":")[2])
        push(port, [Pushed(dict(s.labels) | {"__name__": s.name}, s.points) for s in STORED])
        push(port, [told(row, pod, form) for row in NATIVE_ROWS for pod in row.past for form in FORMS])
        push(port, ONLY_NATIVE)
        yield running


def slow(threshold: float) -> Sli:
    return Sli("slow", SliKind.ERRORS, SlowRatioQuery(("s_seconds",), threshold), 1)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("row", NATIVE_ROWS, ids=lambda row: row.name.replace(" ", "-"))
class TestNativeSemantics:
    @pytest.mark.parametrize("sli", [SLOW, QUANTILE], ids=lambda sli: sli.name)
    async def test_native_histograms_agree_with_classic_ones(
        self, telemetry: Telemetry, row: Row, form: str, sli: Sli
    ) -> None:
        mine = f"{labels_of(row, Pod(served()))['namespace']}-{form}"
        found = await reading(telemetry, sli, row, mine)
        check(found, sli, row.expected)
        classic = await reading(telemetry, sli, row)
        if sli is SLOW:
            assert found == classic


class TestNative:
    async def test_buckets_that_are_merged_meanwhile_lose_nothing(self, telemetry: Telemetry) -> None:
        """0.25 is a bound of both layouts; the reading is the same as without."""
        found = await counted(telemetry, SLOW, pods("merged", live=(POD,)))
        assert (found.bad, found.total) == (96.0, 800.0)

    async def test_a_threshold_needs_no_bound(self, telemetry: Telemetry) -> None:
        """Between 0.25 and 0.273 nothing is counted, so 0.26 is exact; 0.28 divides the bucket up to 0.297."""
        exact = await counted(telemetry, slow(0.26), pods("inside"))
        assert (exact.bad, exact.total) == (320.0, 800.0)
        found = await counted(telemetry, slow(0.28), pods("inside"))
        low, high = 2 ** (-15 / 8), 2 ** (-14 / 8)
        share = math.log(0.28 / low) / math.log(high / low)
        assert found.bad == pytest.approx(80 + 240 * (1 - share))
        assert found.standard_error >= 0.3 / math.sqrt(12)
        assert found.overdispersion > exact.overdispersion

    async def test_prometheus_divides_alike(self, server: PrometheusServer, telemetry: Telemetry) -> None:
        selector = f's_seconds{{namespace="inside",pod="{POD}"}}'
        theirs = server.value(f"histogram_fraction(-Inf, 0.28, increase({selector}[8s]))", WINDOW.end)
        assert theirs is not None
        assert (await counted(telemetry, slow(0.28), pods("inside"))).value == pytest.approx(1 - theirs, rel=1e-6)

    async def test_a_quantile_is_known_to_a_bucket_of_nine_percent(self, telemetry: Telemetry) -> None:
        sli = replace(QUANTILE, query=QuantileQuery(("s_seconds",), 0.75))
        found = await counted(telemetry, sli, pods("inside"))
        assert 2 ** (-15 / 8) < found.value < 2 ** (-14 / 8)
        assert found.standard_error < 0.05 * found.value

    async def test_a_bucket_with_bounds_of_its_own_is_never_divided(self, telemetry: Telemetry) -> None:
        found = await read(telemetry, slow(0.3), pods("wide"))
        assert isinstance(found, NoData)
        assert "0.3 is no bucket bound" in found.detail
        for window in (WINDOW, Window(T - 9000, T - 1)):
            assert isinstance(
                await telemetry.totals(slow(0.3), PodSet("wide", ("x", CONTROL)), window, timeout=1), NoData
            )
        probe = await telemetry.probe(slow(0.3), pods("wide"), T - 1, 60.0, timeout=TIMEOUT)
        assert probe.reason == "NoBucketBound"
        assert "use 0.25 or 0.5," in probe.remedy

    async def test_a_threshold_beyond_all_requests(self, telemetry: Telemetry) -> None:
        for threshold, bad in ((100.0, 0.0), (0.001, 800.0)):
            assert (await counted(telemetry, slow(threshold), pods("inside"))).bad == bad

    async def test_where_both_forms_are_the_classic_bound_counts(self, telemetry: Telemetry) -> None:
        """At a bound of the classic form both are exact; anywhere else only the native one can say."""
        assert (await counted(telemetry, slow(0.25), pods("both"))).bad == 96.0
        assert (await counted(telemetry, slow(0.3), pods("both"))).bad == 96.0
        probe = await telemetry.probe(QUANTILE, pods("both"), T - 1, 60.0, timeout=TIMEOUT)
        assert (probe.reason, probe.coarse) == ("", False)

    async def test_sums_loads_and_the_past(self, telemetry: Telemetry) -> None:
        sli, long = slow(0.26), Window(T - 9000, T - 1)
        arm = await telemetry.totals(sli, pods("inside"), WINDOW, timeout=TIMEOUT)
        assert isinstance(arm, Sample)
        assert (arm.bad, arm.total) == (320.0, 800.0)
        service = await telemetry.totals(sli, pods("inside"), long, timeout=TIMEOUT)
        assert isinstance(service, Sample)
        assert service.value == pytest.approx(0.4)
        assert service.total == pytest.approx(5900, rel=0.02)
        load = await telemetry.load(sli, pods("inside"), WINDOW, timeout=TIMEOUT)
        assert isinstance(load, Sample)
        assert load.value == 100.0
        steps = await telemetry.history(sli, pods("inside"), Window(T - 50, T - 10), 10.0, timeout=TIMEOUT)
        assert not isinstance(steps, Absence)
        assert [step[0] for step in steps] == [(pytest.approx(400.0), 1000.0)] * 4

    async def test_preflight(self, telemetry: Telemetry) -> None:
        found = await telemetry.probe(slow(0.28), pods("inside"), T - 1, 60.0, timeout=TIMEOUT)
        assert (found.reason, found.coarse) == ("", False)
        assert found.scrape_interval == 1.0
        assert found.requests_per_second == pytest.approx(100.0, rel=0.03)
        assert found.bad_ratio == pytest.approx(0.1 + 0.3 * 0.7, abs=0.1)
        for namespace, coarse in (("inside", False), ("wide", True)):
            quantile = await telemetry.probe(QUANTILE, pods(namespace), T - 1, 60.0, timeout=TIMEOUT)
            assert (quantile.reason, quantile.coarse) == ("", coarse)

    async def test_a_query_that_yields_histograms_is_no_value(self, telemetry: Telemetry) -> None:
        sli = Sli("h", SliKind.VALUE, ValueQuery("sum(rate(s_seconds{$selector}[10s]))", "s"), 1)
        found = await read(telemetry, sli, pods("inside"))
        assert isinstance(found, TelemetryError)
        assert "histogram_quantile" in found.detail
        probe = await telemetry.probe(sli, pods("inside"), T - 1, 60.0, timeout=TIMEOUT)
        assert probe.reason == "QueryFailed"
        assert "histograms" in probe.problem


class Exporter:
    """A program on loopback with a classic histogram; each scrape finds 60, 28, 8 and 4 requests more."""

    def __enter__(self) -> Exporter:
        scrapes = [0]

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                scrapes[0] += 1
                below = ((0.125, 60), (0.25, 88), (0.5, 96), ("+Inf", 100))
                lines = ["# TYPE s_seconds histogram"]
                lines += [f's_seconds_bucket{{le="{le}"}} {n * scrapes[0]}' for le, n in below]
                lines += [f"s_seconds_sum {12.0 * scrapes[0]}", f"s_seconds_count {100 * scrapes[0]}", ""]
                body = "\n".join(lines).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.address = f"127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


async def test_what_prometheus_makes_of_a_classic_histogram(
    prometheus_factory: Callable[..., PrometheusServer],
) -> None:
    """Live: scraped with `convert_classic_histograms_to_nhcb` there are no buckets with `le` any more, and the same
    numbers."""
    with Exporter() as exporter:
        config = scrape_config({"app": [exporter.address]}, scrape_interval=0.2)
        job = config["scrape_configs"][0]
        job |= {"convert_classic_histograms_to_nhcb": True}
        job["static_configs"][0]["labels"] = {"namespace": "live", "pod": POD}
        live = prometheus_factory(config)
        metric = 's_seconds{namespace="live"}'
        wait_for(lambda: (live.value(f"count_over_time({metric}[5s])") or 0) >= 10, "scrapes of the program")
        newest = live.value(f"timestamp({metric})")
        assert newest is not None
        window = Window(newest - 1.05, newest)
        telemetry = PrometheusTelemetry(live.url)
        found = await read(telemetry, SLOW, pods("live", live=(POD,)), window)
        assert isinstance(found, Sample), found
        assert found.total == 100 * round(found.total / 100) >= 400
        assert found.value == pytest.approx(0.12)
        assert live.value('count(s_seconds_bucket{namespace="live"})') is None
        probe = await telemetry.probe(slow(0.3), pods("live"), newest, 60.0, timeout=TIMEOUT)
        assert probe.reason == "NoBucketBound"
        assert "use 0.25 or 0.5," in probe.remedy
        quantile = await read(telemetry, QUANTILE, pods("live", live=(POD,)), window)
        assert isinstance(quantile, Sample)
        assert 0.25 < quantile.value < 0.5
        telemetry.close()


@pytest.mark.parametrize(("path", "words"), [("/metrics", "HTTP 404"), ("/-/ready", "HTTP 404")])
async def test_an_address_of_something_else(server: PrometheusServer, path: str, words: str) -> None:
    telemetry = PrometheusTelemetry(server.url + path)
    for sli in (RATIO, SLOW, QUANTILE):
        found = await read(telemetry, sli, pods("inside"))
        assert isinstance(found, TelemetryError)
        assert words in found.detail
        assert "\n" not in found.detail
    telemetry.close()


async def test_a_part_of_the_store_that_is_away(built: dict[str, Path], tmp_path: Path) -> None:
    """Prometheus answers from what it has, with a warning: a partial answer is none."""
    config = scrape_config({}) | {"remote_read": [{"url": "http://127.0.0.1:9/read", "read_recent": True}]}
    arguments = ["--web.enable-remote-write-receiver"]
    with PrometheusServer(config, tmp_path / "p", path=built["prometheus"], arguments=arguments) as partial:
        push(int(partial.url.rpartition(":")[2]), [series("inside", inside())])
        telemetry = PrometheusTelemetry(partial.url)
        for sli in (RATIO, SLOW, QUANTILE):
            found = await read(telemetry, sli, pods("inside"))
            assert isinstance(found, TelemetryError)
            assert "a partial answer" in found.detail
        probe = await telemetry.probe(SLOW, pods("inside"), T - 1, 60.0, timeout=TIMEOUT)
        assert probe.reason == "QueryFailed"
        telemetry.close()


async def test_exponential_buckets_as_a_program_exposes_them(
    server: PrometheusServer, prometheus_factory: Callable[..., PrometheusServer]
) -> None:
    """Live: Prometheus' own latency is a native histogram, which another one scrapes by protobuf."""
    config = scrape_config({"app": [server.url.removeprefix("http://")]}, scrape_interval=0.2)
    config["scrape_configs"][0] |= {"scrape_native_histograms": True}
    config["scrape_configs"][0]["static_configs"][0]["labels"] = {"namespace": "live", "pod": POD}
    live = prometheus_factory(config)
    base, own = "prometheus_http_request_duration_seconds", 'handler="/-/ready"'
    metric = f'{base}{{namespace="live",{own}}}'

    def asked() -> float | None:
        return live.value(f"histogram_count({metric})")

    server.request("GET", "/-/ready")
    before = wait_for(asked, "a first scrape with that handler")
    start = live.value(f"timestamp({metric})")
    for _ in range(50):
        server.request("GET", "/-/ready")
    wait_for(lambda: asked() == before + 50, "a scrape of all requests")
    end = live.value(f"timestamp({metric})")
    assert start is not None
    assert end is not None
    query = SlowRatioQuery((base,), 30.0, segment=own)
    telemetry = PrometheusTelemetry(live.url)
    found = await read(telemetry, Sli("slow", SliKind.ERRORS, query, 1), pods("live", live=(POD,)), Window(start, end))
    assert isinstance(found, Sample), found
    assert (found.bad, found.total) == (0.0, 50.0)
    quantile = Sli("p95", SliKind.LATENCY, QuantileQuery((base,), 0.95, segment=own), 1)
    latency = await read(telemetry, quantile, pods("live", live=(POD,)), Window(start, end))
    assert isinstance(latency, Sample)
    assert 0 < latency.value < 15
    assert (await telemetry.probe(quantile, pods("live"), end, 60.0, timeout=TIMEOUT)).coarse is False
    telemetry.close()
