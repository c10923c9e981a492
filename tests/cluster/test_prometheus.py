"""The Telemetry contract, and what only a real Prometheus can show, over a store filled with prepared series."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.cluster.past import with_past
from tests.contract.test_telemetry import (
    CANARY,
    ERRORS,
    EVERYTHING,
    RATE,
    SLOW,
    TIMEOUT,
    VALUE,
    WINDOW,
    T,
    TestAbsence,
    TestAlerts,
    TestCounts,
    TestHistograms,
    TestPreflight,
    TestSums,
    TestUsage,
    TestUse,
    TestValues,
    TestWorkingSet,
    counted,
    pods,
    read,
)

from controlplane import PrometheusServer, scrape_config, wait_for
from trimtab.adapters.prometheus import PrometheusTelemetry
from trimtab.domain.measurement import AlertSeen, Ambiguous, NoData, Sample, TelemetryError, Window
from trimtab.domain.spec import RatioQuery, Sli, SliKind, ValueQuery
from trimtab.ports import PodSet, SliRequest, Telemetry

__all__ = [
    "TestAbsence", "TestAlerts", "TestCounts", "TestHistograms", "TestPreflight", "TestSums", "TestUsage",
    "TestUse", "TestValues", "TestWorkingSet",
]  # fmt: skip


@pytest.fixture(scope="module")
def server(built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    """One Prometheus for this module, with a past and nothing to scrape."""
    with with_past(EVERYTHING, tmp_path_factory.mktemp("telemetry"), built) as running:
        yield running


@pytest.fixture
def paused(server: PrometheusServer) -> Iterator[PrometheusServer]:
    """Accepts connections and never answers."""
    server.pause()
    yield server
    server.resume()


async def test_what_prometheus_extrapolates_is_not_what_is_counted(
    server: PrometheusServer, telemetry: Telemetry
) -> None:
    """increase() over eight left-open seconds guesses the edges; the adapter counts the samples."""
    selector = f'all_total{{namespace="plain",pod=~"{CANARY}-.*"}}'
    few = Window(T - 20, T - 17.9)
    guessed = server.value(f"sum(increase({selector}[2100ms]))", few.end)
    assert guessed is not None
    assert guessed != 200.0
    assert (await counted(telemetry, ERRORS, pods("plain"), few)).total == 200.0


async def test_windows_are_absolute_to_the_millisecond(telemetry: Telemetry) -> None:
    """Scrapes lie at .25: a window that ends just before one does not hold it."""
    for end, total in ((T - 12.751, 700.0), (T - 12.75, 800.0), (T - 12.749, 800.0)):
        assert (await counted(telemetry, ERRORS, pods("plain"), Window(T - 20, end))).total == total


async def test_a_scalar_query_is_a_value(telemetry: Telemetry) -> None:
    sli = Sli("scalar", SliKind.VALUE, ValueQuery("scalar(avg(depth{$selector}))", "1"), 1)
    assert (await counted(telemetry, sli, pods("gauge"))).value == pytest.approx(10.0, abs=0.5)
    assert (await telemetry.probe(sli, pods("gauge"), T - 1, 60.0, timeout=TIMEOUT)).reason == ""


async def test_samples_behind_a_value_are_counted_by_its_own_query(telemetry: Telemetry) -> None:
    query = ValueQuery("avg(depth{$selector})", "1", samples_query="sum(count_over_time(depth{$selector}[5s]))")
    found = await counted(telemetry, Sli("depth", SliKind.VALUE, query, 1), pods("gauge"))
    assert found.total == 5.0


async def test_division_by_nothing_is_no_data(telemetry: Telemetry) -> None:
    query = "sum(rate(bad_total{$selector}[10s])) / sum(rate(all_total{$selector}[10s]))"
    sli = Sli("ratio", SliKind.VALUE, ValueQuery(query, "1"), 1)
    assert isinstance(await read(telemetry, sli, pods("no-traffic")), NoData)


async def test_a_query_that_prometheus_refuses_says_why(telemetry: Telemetry) -> None:
    sli = Sli("bad", SliKind.VALUE, ValueQuery("sum(a{$selector}) + on(pod) avg by (le) (b{$selector}[5m])", "1"), 1)
    found = await read(telemetry, sli, pods("plain"))
    assert isinstance(found, TelemetryError)
    probe = await telemetry.probe(sli, pods("plain"), T - 1, 60.0, timeout=TIMEOUT)
    assert probe.reason == "QueryFailed"
    assert "\n" not in probe.problem


async def test_many_to_many_is_refused_in_one_line(telemetry: Telemetry) -> None:
    sli = Sli("many", SliKind.VALUE, ValueQuery("depth{$selector} * on(namespace) depth{$selector}", "1"), 1)
    found = await read(telemetry, sli, pods("gauges"))
    assert isinstance(found, TelemetryError)
    assert "many-to-many" in found.detail
    assert len(found.detail) <= 320


async def test_a_namespace_is_no_pattern(telemetry: Telemetry) -> None:
    assert isinstance(await read(telemetry, ERRORS, PodSet("plain|.*", (CANARY,))), NoData)


async def test_more_samples_than_allowed(built: dict[str, Path], server: PrometheusServer, tmp_path: Path) -> None:
    with PrometheusServer(
        scrape_config({}),
        tmp_path / "small",
        path=built["prometheus"],
        tsdb=copy_of(server.tsdb, tmp_path / "tsdb"),
        arguments=["--query.max-samples=5"],
    ) as small:
        telemetry = PrometheusTelemetry(small.url)
        found = await read(telemetry, ERRORS, pods("plain"))
        assert isinstance(found, TelemetryError)
        assert "too many samples" in found.detail
        telemetry.close()


def copy_of(tsdb: Path, to: Path) -> Path:
    """Its blocks alone: a data directory belongs to one server."""
    to.mkdir()
    for block in tsdb.iterdir():
        if (block / "meta.json").is_file():
            shutil.copytree(block, to / block.name)
    return to


async def test_a_warning_is_an_error(telemetry: Telemetry) -> None:
    """Prometheus warns where a quantile lies outside of [0, 1]; whatever it warns of, safety must not rely on it."""
    sli = Sli("odd", SliKind.VALUE, ValueQuery("quantile(1.5, depth{$selector})", "1"), 1)
    found = await read(telemetry, sli, pods("gauges"))
    assert isinstance(found, TelemetryError)
    assert "warning" in found.detail


async def test_infos_are_no_warnings(telemetry: Telemetry) -> None:
    """Prometheus 3 remarks that a rate's metric might not be a counter by its name; that is no partial answer."""
    sli = Sli("info", SliKind.VALUE, ValueQuery("sum(rate(depth{$selector}[10s]))", "1"), 1)
    assert isinstance(await read(telemetry, sli, pods("gauge")), Sample)


async def test_a_store_that_does_not_answer_in_time(paused: PrometheusServer) -> None:
    telemetry = PrometheusTelemetry(paused.url)
    requests = [SliRequest(sli, pods("plain"), WINDOW) for sli in (ERRORS, SLOW, VALUE)]
    found = await telemetry.read(requests, timeout=0.3)
    assert all(isinstance(r, TelemetryError) and "no answer within 0.3 s" in r.detail for r in found)
    probe = await telemetry.probe(ERRORS, pods("plain"), T, 60.0, timeout=0.3)
    assert probe.reason == "TelemetryUnavailable"
    telemetry.close()


async def test_a_store_that_was_killed_and_comes_back(
    built: dict[str, Path], server: PrometheusServer, tmp_path: Path
) -> None:
    with PrometheusServer(
        scrape_config({}), tmp_path / "mortal", path=built["prometheus"], tsdb=copy_of(server.tsdb, tmp_path / "tsdb")
    ) as mortal:
        telemetry = PrometheusTelemetry(mortal.url)
        before = await read(telemetry, ERRORS, pods("plain"))
        mortal.kill()
        down = await read(telemetry, ERRORS, pods("plain"))
        assert isinstance(down, TelemetryError)
        assert "not reachable" in down.detail
        await asyncio.to_thread(mortal.restart)
        assert await read(telemetry, ERRORS, pods("plain")) == before  # the same absolute window, the same answer
        telemetry.close()


async def test_two_scrape_jobs_of_one_target_are_ambiguous(
    server: PrometheusServer, prometheus_factory: Callable[..., PrometheusServer]
) -> None:
    """Live: a second Prometheus scrapes the first one by two jobs, as two ServiceMonitors for one pod would."""
    address = server.url.removeprefix("http://")
    config = scrape_config({"one": [address], "two": [address]}, scrape_interval=0.2)
    for job in config["scrape_configs"]:
        job["static_configs"][0]["labels"] = {"namespace": "live", "pod": f"{CANARY}-7d9f6c-x2k4z"}
    live = prometheus_factory(config)
    query = RatioQuery(
        ('prometheus_http_requests_total{$selector,code=~"5.."}',), ("prometheus_http_requests_total{$selector}",)
    )
    sli = Sli("live", SliKind.ERRORS, query, 1)
    metric = 'prometheus_http_requests_total{handler="/metrics",namespace="live"}'
    both = f"count(count_over_time({metric}[5s]) >= 5)"
    wait_for(lambda: live.value(both) == 2, "scrapes of both jobs")
    newest = wait_for(lambda: live.value(f"min(timestamp({metric}))"), "both jobs' last scrapes")
    telemetry = PrometheusTelemetry(live.url)
    found = await read(telemetry, sli, pods("live"), Window(newest - 0.8, newest))
    assert isinstance(found, Ambiguous)
    assert "stored twice" in found.detail
    telemetry.close()


async def test_a_live_pod_that_goes_is_noticed_by_its_scrapes(
    server: PrometheusServer, prometheus_factory: Callable[..., PrometheusServer]
) -> None:
    """Live: the target stops answering; its rate goes on for a while, but the reading is stale."""
    target = prometheus_factory(scrape_config({}))
    config = scrape_config({"app": [target.url.removeprefix("http://")]}, scrape_interval=0.2)
    pod = f"{CANARY}-7d9f6c-x2k4z"
    config["scrape_configs"][0]["static_configs"][0]["labels"] = {"namespace": "live", "pod": pod}
    live = prometheus_factory(config)
    metric = 'prometheus_ready{namespace="live"}'
    sli = Sli("ready", SliKind.VALUE, ValueQuery("avg(avg_over_time(prometheus_ready{$selector}[1m]))", "1"), 1)
    wait_for(lambda: (live.value(f"count_over_time({metric}[5s])") or 0) >= 10, "scrapes of the target")
    newest = live.value(f"timestamp({metric})")
    assert newest is not None
    telemetry = PrometheusTelemetry(live.url)
    of = pods("live", live=(pod,))
    assert isinstance(await read(telemetry, sli, of, Window(newest - 2, newest)), Sample)
    target.kill()
    up = 'up{namespace="live"}'
    wait_for(lambda: live.value(up) == 0, "a failed scrape")
    last = live.value(f"max_over_time(timestamp({metric})[1m:200ms])") or newest
    wait_for(lambda: (live.value(f"max(timestamp({up}))") or 0) > last + 3, "three seconds without the target")
    end = live.value(f"max(timestamp({up}))") or 0.0
    assert not isinstance(await read(telemetry, sli, of, Window(end - 2, end)), Sample)
    assert isinstance(await read(telemetry, RATE, of, Window(end - 2, end)), NoData)
    telemetry.close()


async def test_a_real_rule_fires_and_is_over(prometheus_factory: Callable[..., PrometheusServer]) -> None:
    """Live: what Prometheus itself writes of its alerts, and how soon it is seen that one is over."""
    ends = time.time() + 10.0
    down = {"alert": "CheckoutDown", "expr": f"vector(time()) < {ends:.3f}", "labels": {"namespace": "shop"}}
    waiting = {"alert": "Waiting", "expr": "vector(1)", "for": "1h"}
    group = {"name": "service", "interval": "500ms", "rules": [down, waiting]}
    live = prometheus_factory(scrape_config({}, scrape_interval=0.5), rules=[group])
    telemetry, names = PrometheusTelemetry(live.url), ("CheckoutDown", "Waiting")
    fires = 'ALERTS{alertname="CheckoutDown",alertstate="firing"}'
    newest = wait_for(lambda: live.value(f"timestamp({fires})"), "the alert")
    wait_for(lambda: live.value('ALERTS{alertname="Waiting",alertstate="pending"}'), "an alert that waits")
    (seen,) = await alerts(telemetry, names, "shop", newest)
    assert (seen.name, seen.firing) == ("CheckoutDown", True)
    assert await alerts(telemetry, names, "elsewhere", newest) == ()
    wait_for(lambda: live.value(f"absent({fires})"), "the end of the alert")
    last = live.value(f"max_over_time(timestamp({fires})[1m:500ms])")
    assert last is not None
    (over,) = await alerts(telemetry, names, "shop", last + 6)
    assert (over.name, over.firing) == ("CheckoutDown", False)
    assert last - 5 <= over.last <= last
    telemetry.close()


async def alerts(telemetry: Telemetry, names: tuple[str, ...], namespace: str, at: float) -> tuple[AlertSeen, ...]:
    found = await telemetry.alerts(names, namespace, Window(at - 900, at), store="default", timeout=TIMEOUT)
    assert not isinstance(found, TelemetryError), found
    return found
