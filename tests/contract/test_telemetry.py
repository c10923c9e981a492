"""What every Telemetry must do with what a store holds: here each kind of store over a small server on loopback, and
the simulated store; `tests/cluster/test_prometheus.py` runs the same suite over a real Prometheus.

Each scenario is a namespace of one store, so that a real server is filled and started once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.slo.loopback import Loopback, Stored, StoredSource

from trimtab.adapters.prometheus import PrometheusTelemetry
from trimtab.adapters.query_limits import Loop, MeteredStore, QueryLimiter
from trimtab.adapters.series_store import SeriesStore
from trimtab.adapters.store_config import StoreConfig, StoreKind
from trimtab.adapters.stores import Stores
from trimtab.adapters.telemetry import StoreTelemetry
from trimtab.domain.measurement import (
    Absence,
    AlertSeen,
    Ambiguous,
    ContainerUse,
    NoData,
    Reading,
    Sample,
    Stale,
    TelemetryError,
    Window,
)
from trimtab.domain.space import Resource
from trimtab.domain.spec import QuantileQuery, RatioQuery, Sli, SliKind, SlowRatioQuery, ValueQuery
from trimtab.ports import NOT_ASKED, PodSet, SliRequest, Telemetry, UseOf
from trimtab.simulate.prometheus import SimulatedPrometheus
from trimtab.slo.counters import counters_of
from trimtab.slo.guards import CPU_WAITING, METRICS
from trimtab.slo.recording import METRIC, digest

T = 1_790_000_000.0
WINDOW = Window(T - 20, T - 12)  # eight seconds of one scrape each
DAY, HOUR = 86400.0, 3600.0
PERIODS, THROTTLED = "container_cpu_cfs_periods_total", "container_cpu_cfs_throttled_periods_total"
CPU = "container_cpu_usage_seconds_total"
STALLED = "container_pressure_memory_stalled_seconds_total"
LATER = T - 11  # what comes afterwards must not matter
CANARY, CONTROL = "tt-0f0e0d0c-3-c", "tt-0f0e0d0c-3-b"
POD, OTHER = f"{CANARY}-7d9f6c-x2k4z", f"{CANARY}-7d9f6c-q8w7e"
TIMEOUT = 30.0
ERRORS = Sli("errors", SliKind.ERRORS, RatioQuery(('bad_total{$selector,code=~"5.."}',), ("all_total{$selector}",)), 1)
SLOW = Sli("slow", SliKind.LATENCY, SlowRatioQuery(("d_seconds",), 0.1), 1)
P95 = Sli("p95", SliKind.LATENCY, QuantileQuery(("d_seconds",), 0.95), 1)
VALUE = Sli("depth", SliKind.VALUE, ValueQuery("avg(depth{$selector})", "1"), 1)
RATE = Sli("rate", SliKind.VALUE, ValueQuery("sum(rate(all_total{$selector}[10s]))", "1"), 1)
EACH = Sli("each", SliKind.VALUE, ValueQuery("depth{$selector}", "1"), 1)
PRESET = Sli(
    "preset",
    SliKind.ERRORS,
    RatioQuery(
        tuple(f'req_total{{$selector,{label}=~"5.."}}' for label in ("code", "status", "status_code")),
        tuple(f'req_total{{$selector,{label}!=""}}' for label in ("code", "status", "status_code")),
    ),
    1,
)


def counter(
    namespace: str,
    name: str,
    value: Callable[[float], float],
    *,
    pod: str = POD,
    since: float = T - 60,
    until: float = T,
    scrape: float = 1.0,
    phase: float = 0.25,
    **labels: str,
) -> Stored:
    """`value` by seconds since T - 60, scraped from `since` to `until`."""
    count = int((until - since) / scrape)
    times = [round(since + phase + i * scrape, 3) for i in range(count)]
    pairs = {"namespace": namespace, "pod": pod, **labels}
    return Stored(name, tuple(sorted(pairs.items())), tuple((t, value(t - T + 60)) for t in times))


def steady(per_second: float, start: float = 1000.0) -> Callable[[float], float]:
    return lambda t: start + math.floor(per_second * t)


def request_series(namespace: str, *, pod: str = POD, total: float = 100.0, bad: float | None = 2.0) -> list[Stored]:
    found = [counter(namespace, "all_total", steady(total), pod=pod)]
    if bad is not None:
        found.append(counter(namespace, "bad_total", steady(bad), pod=pod, code="500"))
    return found


def histogram(namespace: str, pod: str = POD, bounds: Sequence[str] = ("0.05", "0.1", "1.0")) -> list[Stored]:
    """100 requests/s: 60 up to the first bound, 30 up to the second, 9 up to the third, 1 beyond."""
    cumulative = dict(zip(bounds, (60.0, 90.0, 99.0), strict=True)) | {"+Inf": 100.0}
    return [counter(namespace, "d_seconds_bucket", steady(n), pod=pod, le=le) for le, n in cumulative.items()]


def working_set(
    pod: str, mebibytes: Callable[[float], float], container: str = "web", namespace: str = "memory"
) -> Stored:
    """One container of one pod, in bytes."""
    name = "container_memory_working_set_bytes"
    return counter(namespace, name, lambda t: mebibytes(t) * 2**20, pod=pod, container=container)


def cadvisor(
    pod: str, throttled: float, mebibytes: float, *, stalled: float | None = None, container: str = "web"
) -> list[Stored]:
    """Ten CPU periods a second, of which this share is throttled; this share of time stands still for memory."""
    names = {PERIODS: steady(10.0, 0.0), THROTTLED: lambda t: throttled * math.floor(10.0 * t)}
    if stalled is not None:
        names[STALLED] = lambda t: stalled * t
    counters = [counter("usage", name, value, pod=pod, container=container) for name, value in names.items()]
    return [*counters, working_set(pod, lambda _: mebibytes, container, "usage")]


def reset_at(seconds: float, per_second: float) -> Callable[[float], float]:
    """A process that starts anew."""
    return lambda t: math.floor(per_second * t) + 5000.0 if t < seconds else math.floor(per_second * (t - seconds))


def thirty_twenty_ten(t: float) -> float:
    """30 a second until two days before T, then 20 until the day before, then 10."""
    three, two, one = (max(days * DAY - (60.0 - t), 0.0) for days in (3, 2, 1))
    return 10.0 * (3 * three - two - one)


def busier(t: float) -> float:
    """10 a second until five minutes before T, then 100."""
    return 10.0 * (t + 2 * HOUR) + 90.0 * max(t - 60.0 + 300.0, 0.0)


def alert(name: str, *, state: str = "firing", since: float = T - 400, until: float = T, **labels: str) -> Stored:
    """What Prometheus writes of an alert, at each evaluation of its rule."""
    pairs = {"alertname": name, "alertstate": state, **labels}
    return Stored("ALERTS", tuple(sorted(pairs.items())), tuple((t, 1.0) for t in frange(since, until, 15.0)))


def frange(start: float, end: float, step: float) -> list[float]:
    return [start + step * k for k in range(math.floor((end - start) / step) + 1)]


def recorded(
    namespace: str, samples: Callable[[int], float | None] = lambda _: 60.0, experiment: str = "web"
) -> list[Stored]:
    """A service of 0.1 requests a second for 26 hours, a tenth of them bad, and rules that counted 60 and 3 in each
    five minutes: twice the requests and the half of the errors, so that one sees which of the two was asked.

    `samples` gives the requests that the rule counted in the nth five minutes before now, None where it was not there.
    """
    [counters] = counters_of(ERRORS.query, PodSet(namespace, ("web",)))
    labels = {"namespace": namespace, "experiment": experiment, "sli": "errors", "query": digest(counters)}
    found = [
        counter(namespace, "all_total", steady(0.1), pod="web-7d9f6c-x2k4z", since=T - 26 * HOUR, scrape=60.0),
        counter(
            namespace, "bad_total", steady(0.01), pod="web-7d9f6c-x2k4z", since=T - 26 * HOUR, scrape=60.0, code="500"
        ),
    ]
    for part, share in (("bad", 0.05), ("total", 1.0)):
        given = ((n, samples(n)) for n in reversed(range(26 * 12)))
        points = tuple((T - 120 - 300.0 * n, share * count) for n, count in given if count is not None)
        found.append(Stored(METRIC, tuple(sorted((labels | {"part": part}).items())), points))
    return found


SCENARIOS: dict[str, list[Stored]] = {
    "plain": [
        *request_series("plain"),
        *request_series("plain", pod=f"{CONTROL}-5b8c-abcde", bad=1.0),
        *(each for pod in (POD, f"{CONTROL}-5b8c-abcde") for each in histogram("plain", pod)),
    ],
    "no-errors": request_series("no-errors", bad=None),
    "no-traffic": [counter("no-traffic", "all_total", lambda _: 777.0)],
    "nan": [counter("nan", "all_total", lambda _: math.nan), counter("nan", "depth", lambda _: math.nan)],
    "inf": [counter("inf", "all_total", lambda _: math.inf), counter("inf", "depth", lambda _: math.inf)],
    "reset": [
        counter("reset", "all_total", reset_at(44.0, 100.0)),
        counter("reset", "bad_total", reset_at(44.0, 10.0), code="500"),
    ],
    "ha": [
        counter("ha", name, steady(rate), replica=replica, **({"code": "500"} if name == "bad_total" else {}))
        for replica in ("a", "b")
        for name, rate in (("all_total", 100.0), ("bad_total", 2.0))
    ],
    "stale": [
        counter("stale", "all_total", steady(100), until=T - 25),
        counter("stale", "depth", steady(0), until=T - 25),
    ],
    "half": [*request_series("half")],  # of two live pods only one is scraped
    "first-error": [
        *request_series("first-error", bad=None),
        counter("first-error", "bad_total", lambda t: 3.0 + math.floor(t - 45), since=T - 15, code="503"),
    ],
    "buckets": [*histogram("buckets"), counter("buckets", "depth", steady(0, 5.0))],
    "bounds-1": histogram("bounds-1", bounds=("0.5", "1", "2")),
    "bounds-1.0": histogram("bounds-1.0", bounds=("0.5", "1.0", "2.0")),
    "slow-scrapes": [
        counter("slow-scrapes", "all_total", steady(100), since=T - 600, scrape=15.0, phase=7.0),
        counter("slow-scrapes", "bad_total", steady(2), since=T - 600, scrape=15.0, phase=7.0, code="500"),
    ],
    "gauge": [counter("gauge", "depth", lambda t: 10.0 + (-1.0) ** int(t))],
    "rolled": [
        counter("rolled", "depth", steady(0, 1.0), pod=OTHER, since=T - 2 * HOUR, until=T - HOUR),
        counter("rolled", "depth", steady(0, 1.0)),
    ],
    "gauges": [counter("gauges", "depth", steady(0, 1.0)), counter("gauges", "depth", steady(0, 2.0), pod=OTHER)],
    "status": [
        counter("status", "req_total", steady(98), status="200"),
        counter("status", "req_total", steady(2), status="500"),
    ],
    "neighbours": [
        *request_series("neighbours"),
        *request_series("neighbours", pod="tt-0f0e0d0c-33-c-7d9f6c-x2k4z", total=1000.0, bad=900.0),
        *request_series("neighbours", pod="web-7d9f6c-x2k4z", total=1000.0, bad=900.0),
    ],
    "memory": [
        working_set("web-7d9f6c-x2k4z", lambda t: 500.0 if t < 2 else 300.0),
        working_set("web-7d9f6c-q8w7e", lambda _: 400.0),
        working_set("web-7d9f6c-q8w7e", lambda _: 900.0, container="proxy"),
        working_set(POD, lambda _: 950.0),
    ],
    "usage": [
        *cadvisor(POD, 0.62, 900.0, stalled=0.0),
        *cadvisor(f"{CONTROL}-5b8c-abcde", 0.03, 500.0, stalled=0.25),
        *cadvisor(f"{CONTROL}-5b8c-abcde", 0.5, 30.0, container="proxy"),
        *cadvisor(POD, 1.0, 2000.0, container=""),
        *cadvisor(POD, 1.0, 2000.0, container="POD"),
    ],
    "usage-restart": [
        counter("usage-restart", PERIODS, reset_at(52.0, 10.0), container="web"),
        counter("usage-restart", THROTTLED, reset_at(52.0, 5.0), container="web"),
    ],
    "usage-twice": [
        replace(s, labels=tuple(sorted((dict(s.labels) | {"namespace": "usage-twice", "replica": r}).items())))
        for r in ("a", "b")
        for s in cadvisor(POD, 0.62, 900.0, stalled=0.2)
    ],
    "usage-idle": [
        counter("usage-idle", PERIODS, steady(1.0), container="web"),
        counter("usage-idle", THROTTLED, steady(1.0), container="web"),
    ],
    "use": [
        *(
            counter("use", CPU, lambda t, rate=rate: 7.0 + rate * t, pod=pod, container="web")
            for pod, rate in ((POD, 0.5), (OTHER, 0.7))
        ),
        counter("use", CPU, lambda t: 0.1 * t, pod=POD, container="proxy"),
        counter("use", CPU, lambda t: 0.1 * t, pod=OTHER, container="proxy"),
        counter("use", CPU, lambda t: 9.0 * t, pod=POD, container=""),
        counter("use", CPU, lambda t: 9.0 * t, pod=POD, container="POD"),
        counter("use", CPU, lambda t: 3.0 * t, pod=f"{CONTROL}-5b8c-abcde", container="web"),
        working_set(POD, lambda t: 400.0 + 0.0 * t, "web", "use"),
        working_set(OTHER, lambda t: 200.0 + 0.0 * t, "web", "use"),
    ],
    "use-brief": [  # the second pod came in the last two seconds of the window
        counter("use-brief", CPU, lambda t: 0.4 * t, pod=POD, container="web"),
        counter("use-brief", CPU, lambda t: 1.4 * t, pod=OTHER, since=T - 15, container="web"),
    ],
    "use-restart": [counter("use-restart", CPU, lambda t: 50.0 + t if t < 44 else t - 44, container="web")],
    "use-twice": [
        counter("use-twice", CPU, lambda t: 0.5 * t, container="web", replica=replica) for replica in ("a", "b")
    ],
    "use-once": [counter("use-once", CPU, lambda t: 0.5 * t, until=T - 20, container="web")],
    "no-memory": [working_set("web-7d9f6c-x2k4z", lambda _: math.nan, namespace="no-memory")],
    "born": [
        counter("born", "all_total", lambda t: 100.0 * (t - 40), since=T - 20),
        counter("born", "bad_total", lambda t: 10.0 * (t - 40), since=T - 20, code="500"),
    ],
    "gone": [
        counter("gone", "req_total", lambda t: 98.0 * (t + 840), since=T - 900, until=T - 600, status="200"),
        counter("gone", "req_total", lambda t: 2.0 * (t + 840), since=T - 900, until=T - 600, status="500"),
    ],
    "alerts": [
        alert("CheckoutDown", namespace="alerts", pod="web-1", since=T - 60),
        alert("CheckoutDown", namespace="alerts", pod="web-2", since=T - 400, until=T - 355),
        alert("Clusterwide", since=T - 60),
        alert("Elsewhere", namespace="other"),
        alert("Elsewhere", namespace="alerts-2"),
        alert("Coming", namespace="alerts", state="pending"),
        alert("Over", namespace="alerts", since=T - 880, until=T - 520),
        alert("LongOver", namespace="alerts", since=T - 3000, until=T - 1500),
        alert("a.b", namespace="alerts"),
        alert("axb", namespace="alerts"),
        alert("High Error-Rate", namespace="alerts"),
    ],
    "recorded": recorded("recorded"),
    "recorded-of-late": recorded("recorded-of-late", lambda n: 60.0 if n < 200 else None),
    "recorded-once": recorded("recorded-once", lambda n: 60.0 if n > 3 else None),
    "recorded-nan": recorded("recorded-nan", lambda n: math.nan if n == 100 else 60.0),
    "recorded-by-two": [
        *recorded("recorded-by-two", lambda n: 60.0 if n < 200 else None, "first"),
        *recorded("recorded-by-two", experiment="second")[2:],
    ],
    "busier": [  # ten times as busy for five minutes as in the two hours before, and twice as deep for one hour
        counter("busier", "all_total", busier, since=T - 2 * HOUR, scrape=15.0),
        counter("busier", "bad_total", lambda t: 0.1 * busier(t), since=T - 2 * HOUR, scrape=15.0, code="500"),
        counter("busier", "depth", lambda t: 10.0 if t < 60 - HOUR else 20.0, since=T - 2 * HOUR, scrape=15.0),
    ],
    "days": [
        counter("days", "all_total", thirty_twenty_ten, pod="web-7d9f6c-x2k4z", since=T - 3 * DAY, scrape=60.0)
    ],
}  # fmt: skip
EVERYTHING = tuple(each for listed in SCENARIOS.values() for each in listed)


def pods(namespace: str, *workloads: str, live: tuple[str, ...] = ()) -> PodSet:
    return PodSet(namespace, workloads or (CANARY,), live)


@pytest.fixture(scope="module")
def server() -> Iterator[Loopback]:
    with Loopback(EVERYTHING) as made:
        yield made


OTHERS = [pytest.param(kind, marks=pytest.mark.thorough) for kind in StoreKind if kind is not StoreKind.PROMETHEUS]


@pytest.fixture(params=[StoreKind.PROMETHEUS, *OTHERS, "simulated"])
def telemetry(server: Loopback, request: pytest.FixtureRequest) -> Iterator[Telemetry]:
    """As the operator has them: by name, and metered."""
    limiter = QueryLimiter()

    def meter(store: SeriesStore) -> SeriesStore:
        return MeteredStore(store, "default", Loop.SAFETY, limiter, lambda *_: None)

    if request.param == "simulated":
        yield Stores({"default": StoreTelemetry(meter(SimulatedPrometheus(StoredSource(EVERYTHING))))})
        return
    made = PrometheusTelemetry(StoreConfig("default", server.url, request.param), meter=meter)
    yield Stores({"default": made})
    made.close()


async def read(telemetry: Telemetry, sli: Sli, of: PodSet, window: Window = WINDOW, fresh: bool = True) -> Reading:
    (found,) = await telemetry.read([SliRequest(sli, of, window, fresh)], timeout=TIMEOUT)
    return found


async def counted(telemetry: Telemetry, sli: Sli, of: PodSet, window: Window = WINDOW) -> Sample:
    found = await read(telemetry, sli, of, window)
    assert isinstance(found, Sample), found
    return found


class TestCounts:
    async def test_events_of_the_window_and_no_others(self, telemetry: Telemetry) -> None:
        found = await counted(telemetry, ERRORS, pods("plain", live=(POD,)))
        assert (found.bad, found.total) == (16.0, 800.0)
        assert found.value == 0.02
        assert found.standard_error > 0

    async def test_both_arms_in_one_call_in_order(self, telemetry: Telemetry) -> None:
        requests = [SliRequest(sli, pods("plain", arm), WINDOW) for sli in (ERRORS, RATE) for arm in (CONTROL, CANARY)]
        found = await telemetry.read(requests, timeout=TIMEOUT)
        assert [r.bad for r in found[:2] if isinstance(r, Sample)] == [8.0, 16.0]
        assert [round(r.value) for r in found[2:] if isinstance(r, Sample)] == [100, 100]

    async def test_two_namespaces_in_one_call_are_kept_apart(self, telemetry: Telemetry) -> None:
        requests = [SliRequest(ERRORS, pods(n), WINDOW) for n in ("no-errors", "plain", "reset")]
        found = await telemetry.read(requests, timeout=TIMEOUT)
        assert [r.bad for r in found if isinstance(r, Sample)] == [0.0, 16.0, 72.0]

    async def test_adjacent_windows_add_up(self, telemetry: Telemetry) -> None:
        parts = [
            await counted(telemetry, ERRORS, pods("plain"), Window(T - 20 + 2 * i, T - 18 + 2 * i)) for i in range(4)
        ]
        assert sum(p.total for p in parts) == 800.0
        assert sum(p.bad or 0 for p in parts) == 16.0

    async def test_the_same_window_again_is_the_same(self, telemetry: Telemetry) -> None:
        first, again = [await read(telemetry, ERRORS, pods("plain")) for _ in range(2)]
        assert first == again

    async def test_absent_errors_with_traffic_are_none(self, telemetry: Telemetry) -> None:
        found = await counted(telemetry, ERRORS, pods("no-errors"))
        assert (found.value, found.bad, found.total) == (0.0, 0.0, 800.0)

    async def test_the_first_errors_of_a_pod_are_counted(self, telemetry: Telemetry) -> None:
        found = await counted(telemetry, ERRORS, pods("first-error"))
        assert found.bad == 3.0 + 2.0  # appeared with 3, then 4, then 5 at the window's end

    async def test_a_counter_reset_within_the_window(self, telemetry: Telemetry) -> None:
        found = await counted(telemetry, ERRORS, pods("reset"))
        assert (found.bad, found.total) == (72.0, 725.0)  # lost: what happened after the last scrape before the restart

    async def test_arms_with_similar_names_do_not_mix(self, telemetry: Telemetry) -> None:
        found = await counted(telemetry, ERRORS, pods("neighbours"))
        assert (found.bad, found.total) == (16.0, 800.0)

    async def test_scrapes_of_15_seconds_lose_nothing(self, telemetry: Telemetry) -> None:
        parts = [
            await counted(telemetry, ERRORS, pods("slow-scrapes"), Window(T - 300 + 30 * i, T - 270 + 30 * i))
            for i in range(8)
        ]
        assert [p.total for p in parts] == [3000.0] * 8

    async def test_the_spelling_that_exists_is_found_without_preflight(self, telemetry: Telemetry) -> None:
        found = await counted(telemetry, PRESET, pods("status"))
        assert (found.bad, found.total) == (16.0, 800.0)


class TestHistograms:
    async def test_slower_than_a_bound(self, telemetry: Telemetry) -> None:
        found = await counted(telemetry, SLOW, pods("buckets", live=(POD,)))
        assert (found.bad, found.total) == (80.0, 800.0)

    @pytest.mark.parametrize("namespace", ["bounds-1", "bounds-1.0"])
    async def test_a_bound_of_1_is_1_0(self, telemetry: Telemetry, namespace: str) -> None:
        sli = Sli("slow", SliKind.LATENCY, SlowRatioQuery(("d_seconds",), 1.0), 1)
        assert (await counted(telemetry, sli, pods(namespace))).bad == 80.0

    async def test_a_threshold_between_bounds_is_never_a_number(self, telemetry: Telemetry) -> None:
        sli = Sli("slow", SliKind.LATENCY, SlowRatioQuery(("d_seconds",), 0.3), 1)
        assert isinstance(await read(telemetry, sli, pods("buckets")), NoData)
        assert not isinstance(await telemetry.totals(sli, pods("buckets"), WINDOW, timeout=TIMEOUT), Sample)

    async def test_a_quantile_and_how_little_it_says(self, telemetry: Telemetry) -> None:
        found = await counted(telemetry, P95, pods("buckets"))
        assert 0.1 <= found.value <= 1.0
        assert found.standard_error >= 0.9 / math.sqrt(12)
        assert found.total == 800.0


class TestValues:
    async def test_a_mean_with_its_error(self, telemetry: Telemetry) -> None:
        found = await counted(telemetry, VALUE, pods("gauge", live=(POD,)))
        assert found.value == pytest.approx(10.0, abs=0.5)
        assert 0.1 < found.standard_error < 3

    async def test_several_series_are_ambiguous(self, telemetry: Telemetry) -> None:
        assert isinstance(await read(telemetry, EACH, pods("gauges")), Ambiguous)
        assert (await counted(telemetry, VALUE, pods("gauges"))).value == pytest.approx(1.5)


class TestAbsence:
    async def test_no_series(self, telemetry: Telemetry) -> None:
        for sli in (ERRORS, SLOW, P95, VALUE, PRESET):
            found = await read(telemetry, sli, pods("nowhere"))
            assert isinstance(found, NoData)
            assert found.newest is None

    async def test_no_traffic_was_seen_to_be_none(self, telemetry: Telemetry) -> None:
        found = await read(telemetry, ERRORS, pods("no-traffic", live=(POD,)))
        assert isinstance(found, NoData)
        assert found.newest == pytest.approx(WINDOW.end - 0.75)

    @pytest.mark.parametrize("sli", [ERRORS, VALUE])
    @pytest.mark.parametrize("namespace", ["nan", "inf"])
    async def test_what_is_no_number_is_no_data(self, telemetry: Telemetry, namespace: str, sli: Sli) -> None:
        assert isinstance(await read(telemetry, sli, pods(namespace)), NoData)
        if sli is ERRORS:
            for window in (WINDOW, Window(T - 9000, T - 1)):
                assert isinstance(await telemetry.totals(sli, pods(namespace), window, timeout=TIMEOUT), NoData)
            assert isinstance(await telemetry.load(sli, pods(namespace), WINDOW, timeout=TIMEOUT), NoData)

    async def test_an_ha_pair_is_ambiguous(self, telemetry: Telemetry) -> None:
        assert isinstance(await read(telemetry, ERRORS, pods("ha")), Ambiguous)

    @pytest.mark.parametrize("sli", [ERRORS, VALUE])
    async def test_a_pod_that_is_not_scraped_any_more_is_stale(self, telemetry: Telemetry, sli: Sli) -> None:
        found = await read(telemetry, sli, pods("stale", live=(POD,)))
        assert isinstance(found, Stale)

    @pytest.mark.parametrize("sli", [ERRORS, RATE])
    async def test_one_pod_of_two_is_stale(self, telemetry: Telemetry, sli: Sli) -> None:
        found = await read(telemetry, sli, pods("half", live=(POD, OTHER)))
        assert isinstance(found, Stale)
        assert OTHER in found.detail
        assert 0 < found.age < 100  # a number that a Trial can store
        assert isinstance(await read(telemetry, sli, pods("half", live=(POD,))), Sample)
        assert isinstance(await read(telemetry, sli, pods("half", live=(POD, OTHER)), fresh=False), Sample)

    async def test_a_reading_says_how_fresh_it_was(self, telemetry: Telemetry) -> None:
        for sli, namespace in ((ERRORS, "plain"), (SLOW, "buckets"), (VALUE, "gauge")):
            found = await counted(telemetry, sli, pods(namespace, live=(POD,)))
            assert found.newest == pytest.approx(WINDOW.end - 0.75)

    async def test_nothing_asked_nothing_answered(self, telemetry: Telemetry) -> None:
        assert await telemetry.read([], timeout=TIMEOUT) == ()


class TestSums:
    async def test_an_arm_is_counted_from_its_first_request(self, telemetry: Telemetry) -> None:
        found = await telemetry.totals(ERRORS, pods("born"), Window(T - 40, T - 12), timeout=TIMEOUT)
        assert isinstance(found, Sample)
        assert found.total == pytest.approx(725.0)
        assert found.bad == pytest.approx(72.5)

    async def test_an_arm_that_is_gone_is_counted_all_the_same(self, telemetry: Telemetry) -> None:
        """Whichever of a preset's spellings it had."""
        found = await telemetry.totals(PRESET, pods("gone"), Window(T - 1000, T - 12), timeout=TIMEOUT)
        assert isinstance(found, Sample)
        assert found.total == pytest.approx(29_925, rel=0.001)
        assert found.value == pytest.approx(0.02, rel=0.001)
        assert found.newest == pytest.approx(T - 600.75)

    async def test_a_past_by_pod_and_minute(self, telemetry: Telemetry) -> None:
        """Two pods of a long-lived workload; each minute has what each of them was asked and failed."""
        both = pods("plain", CANARY, CONTROL)
        for sli in (ERRORS, PRESET):
            steps = await telemetry.history(sli, both, Window(T - 50, T - 10), 10.0, timeout=TIMEOUT)
            if sli is PRESET:
                assert isinstance(steps, NoData)
                continue
            assert not isinstance(steps, Absence)
            assert len(steps) == 4
            for step in steps:
                assert sorted(step) == [(10.0, 1000.0), (20.0, 1000.0)]

    async def test_a_past_of_slow_requests_and_of_a_restart(self, telemetry: Telemetry) -> None:
        """10 of 100 requests a second are slow; a counter that begins anew loses what came after its last scrape."""
        window = Window(T - 50, T - 10)
        slow = await telemetry.history(SLOW, pods("buckets"), window, 10.0, timeout=TIMEOUT)
        assert not isinstance(slow, Absence)
        assert [step[0] for step in slow] == [(100.0, 1000.0)] * 4
        again = await telemetry.history(ERRORS, pods("reset"), window, 10.0, timeout=TIMEOUT)
        assert not isinstance(again, Absence)
        totals = [step[0][1] for step in again]
        assert len(totals) == 4
        assert all(500 <= n <= 1000 for n in totals)

    async def test_a_past_that_is_not_there(self, telemetry: Telemetry) -> None:
        window = Window(T - 50, T - 10)
        for sli, namespace, absence in ((ERRORS, "nowhere", NoData), (VALUE, "gauge", TelemetryError)):
            found = await telemetry.history(sli, pods(namespace), window, 10.0, timeout=TIMEOUT)
            assert isinstance(found, absence)

    async def test_long_windows_are_about_right(self, telemetry: Telemetry) -> None:
        found = await telemetry.totals(ERRORS, pods("plain"), Window(T - 9000, T - 1), timeout=TIMEOUT)
        assert isinstance(found, Sample)
        assert found.total == pytest.approx(5900, rel=0.02)
        assert found.value == pytest.approx(0.02, rel=0.05)

    @pytest.mark.parametrize(
        ("days", "begin", "end", "rate"), [(0, -900, 0, 10), (1, -900, 0, 20), (1, 0, 720, 10), (2, -720, 0, 30)]
    )
    async def test_a_quarter_of_an_hour_days_ago(
        self, telemetry: Telemetry, days: int, begin: float, end: float, rate: float
    ) -> None:
        """What a forecast is made of."""
        window = Window(T - days * DAY + begin, T - days * DAY + end)
        found = await telemetry.totals(ERRORS, pods("days", "web"), window, timeout=TIMEOUT)
        assert isinstance(found, Sample), found
        assert found.total / window.seconds == pytest.approx(
            rate, rel=0.08
        )  # a scrape of twelve may count for the next

    async def test_days_of_which_there_is_nothing(self, telemetry: Telemetry) -> None:
        window = Window(T - 5 * DAY, T - 5 * DAY + 900)
        assert isinstance(await telemetry.totals(ERRORS, pods("days", "web"), window, timeout=TIMEOUT), NoData)

    async def test_sums_without_series_or_traffic_are_absent(self, telemetry: Telemetry) -> None:
        for namespace in ("nowhere", "no-traffic"):
            for window in (WINDOW, Window(T - 9000, T - 1)):
                found = await telemetry.totals(ERRORS, pods(namespace), window, timeout=TIMEOUT)
                assert isinstance(found, NoData)

    async def test_a_long_window_is_read_from_what_rules_recorded(self, telemetry: Telemetry) -> None:
        for namespace in ("recorded", "recorded-by-two"):
            found = await telemetry.totals(ERRORS, pods(namespace, "web"), Window(T - DAY, T), timeout=TIMEOUT)
            assert isinstance(found, Sample), found
            assert (found.total, found.bad) == (288 * 60.0, 288 * 3.0)

    @pytest.mark.parametrize(
        ("namespace", "seconds"),
        [
            ("recorded-of-late", DAY),  # the rule is younger than the window
            ("recorded-once", DAY),  # it has ended
            ("recorded-nan", DAY),
            ("recorded", DAY - 1),  # too short for five minutes not to be seen
        ],
    )
    async def test_what_rules_did_not_record_throughout_is_read_from_the_counters(
        self, telemetry: Telemetry, namespace: str, seconds: float
    ) -> None:
        found = await telemetry.totals(ERRORS, pods(namespace, "web"), Window(T - seconds, T), timeout=TIMEOUT)
        assert isinstance(found, Sample), found
        assert found.total == pytest.approx(0.1 * seconds, rel=0.01)
        assert found.bad == pytest.approx(0.01 * seconds, rel=0.01)

    @pytest.mark.parametrize("threshold", ["404", "5..|429"])
    async def test_what_was_recorded_before_an_edit_is_not_what_is_asked_now(
        self, telemetry: Telemetry, threshold: str
    ) -> None:
        query = RatioQuery((f'bad_total{{$selector,code=~"{threshold}"}}',), ("all_total{$selector}",))
        edited = Sli("errors", SliKind.ERRORS, query, 1)
        found = await telemetry.totals(edited, pods("recorded", "web"), Window(T - DAY, T), timeout=TIMEOUT)
        assert isinstance(found, Sample), found
        assert found.total == pytest.approx(0.1 * DAY, rel=0.01)

    async def test_values_have_no_sums(self, telemetry: Telemetry) -> None:
        assert isinstance(await telemetry.totals(VALUE, pods("gauge"), WINDOW, timeout=TIMEOUT), TelemetryError)
        assert isinstance(await telemetry.load(VALUE, pods("gauge"), WINDOW, timeout=TIMEOUT), TelemetryError)

    @pytest.mark.parametrize(("sli", "namespace"), [(ERRORS, "plain"), (SLOW, "buckets"), (P95, "buckets")])
    async def test_load_is_requests_per_second(self, telemetry: Telemetry, sli: Sli, namespace: str) -> None:
        found = await telemetry.load(sli, pods(namespace), WINDOW, timeout=TIMEOUT)
        assert isinstance(found, Sample)
        assert found.value == 100.0
        assert found.standard_error >= math.sqrt(800) / 8

    async def test_no_load_is_absent(self, telemetry: Telemetry) -> None:
        assert isinstance(await telemetry.load(ERRORS, pods("no-traffic"), WINDOW, timeout=TIMEOUT), NoData)


class TestUsage:
    async def read(self, telemetry: Telemetry, namespace: str, *workloads: str) -> tuple[ContainerUse, ...]:
        found = await telemetry.usage(
            PodSet(namespace, workloads or (CANARY,)), WINDOW, store="default", timeout=TIMEOUT
        )
        assert isinstance(found, tuple), found
        return found

    async def test_every_container_of_both_arms_by_its_own_counters(self, telemetry: Telemetry) -> None:
        control = f"{CONTROL}-5b8c-abcde"
        found = await self.read(telemetry, "usage", CANARY, CONTROL)
        assert [(u.pod, u.container) for u in found] == [(control, "proxy"), (control, "web"), (POD, "web")]
        assert [u.throttled for u in found] == pytest.approx([0.5, 0.03, 0.62])
        assert [u.working_set for u in found] == [30 * 2**20, 500 * 2**20, 900 * 2**20]
        assert [u.memory_stalled for u in found] == [None, pytest.approx(0.25), 0.0]
        assert [u.cpu_waiting for u in found] == [None] * 3

    async def test_a_container_that_began_anew(self, telemetry: Telemetry) -> None:
        (found,) = await self.read(telemetry, "usage-restart")
        assert found.throttled == pytest.approx(0.5, abs=0.05)
        assert found.working_set is None

    async def test_a_series_that_is_stored_twice_counts_once(self, telemetry: Telemetry) -> None:
        (found,) = await self.read(telemetry, "usage-twice")
        assert (found.throttled, found.memory_stalled) == (pytest.approx(0.62), pytest.approx(0.2))

    async def test_a_handful_of_periods_says_nothing(self, telemetry: Telemetry) -> None:
        found = await telemetry.usage(PodSet("usage-idle", (CANARY,)), WINDOW, store="default", timeout=TIMEOUT)
        assert isinstance(found, NoData)

    async def test_nothing_there_is_absent(self, telemetry: Telemetry) -> None:
        for namespace in ("nowhere", "plain"):
            found = await telemetry.usage(PodSet(namespace, (CANARY,)), WINDOW, store="default", timeout=TIMEOUT)
            assert isinstance(found, NoData)


class TestUse:
    async def read(
        self,
        telemetry: Telemetry,
        namespace: str,
        *sets: PodSet,
        resource: Resource = Resource.CPU,
        container: str = "",
    ) -> tuple[Reading, ...]:
        asked = sets or (PodSet(namespace, (CANARY,)),)
        return await telemetry.use(asked, UseOf(resource, container, "default"), WINDOW, timeout=TIMEOUT)

    async def one(self, telemetry: Telemetry, namespace: str, **options: Any) -> Sample:
        (found,) = await self.read(telemetry, namespace, **options)
        assert isinstance(found, Sample), found
        return found

    async def test_of_one_container_on_average_over_pods(self, telemetry: Telemetry) -> None:
        found = await self.one(telemetry, "use", container="web")
        assert (found.value, found.total) == (pytest.approx(0.6), 2.0)
        assert found.standard_error == pytest.approx(0.1)

    async def test_of_a_whole_pod_is_of_all_of_its_containers(self, telemetry: Telemetry) -> None:
        assert (await self.one(telemetry, "use")).value == pytest.approx(0.7)

    async def test_of_memory_it_is_the_working_set(self, telemetry: Telemetry) -> None:
        found = await self.one(telemetry, "use", resource=Resource.MEMORY, container="web")
        assert found.value == pytest.approx(300.0 * 2**20)

    async def test_both_arms_in_one_call_in_order(self, telemetry: Telemetry) -> None:
        control, canary = await self.read(telemetry, "use", *(PodSet("use", (a,)) for a in (CONTROL, CANARY)))
        assert isinstance(control, Sample)
        assert isinstance(canary, Sample)
        assert (control.value, canary.value) == (pytest.approx(3.0), pytest.approx(0.7))

    async def test_a_pod_counts_by_the_time_that_it_was_there(self, telemetry: Telemetry) -> None:
        found = await self.one(telemetry, "use-brief")
        assert found.value == pytest.approx((0.4 * 8 + 1.4 * 2) / 10, abs=0.02)

    async def test_a_counter_that_began_anew(self, telemetry: Telemetry) -> None:
        assert (await self.one(telemetry, "use-restart")).value == pytest.approx(1.0, abs=0.1)

    async def test_a_series_that_is_stored_twice_counts_once(self, telemetry: Telemetry) -> None:
        found = await self.one(telemetry, "use-twice")
        assert (found.value, found.total) == (pytest.approx(0.5), 1.0)

    async def test_what_the_store_has_of_few_of_the_live_pods_is_absent(self, telemetry: Telemetry) -> None:
        known = PodSet("use", (CANARY,), (POD, OTHER, f"{CANARY}-7d9f6c-aaaaa"))
        few = PodSet("use", (CANARY,), (POD, *(f"{CANARY}-7d9f6c-aaaa{n}" for n in range(3))))
        enough, missing = await self.read(telemetry, "use", known, few)
        assert isinstance(enough, Sample)
        assert isinstance(missing, NoData)

    @pytest.mark.parametrize("namespace", ["nowhere", "plain", "use-once"])
    async def test_nothing_there_is_absent(self, telemetry: Telemetry, namespace: str) -> None:
        (found,) = await self.read(telemetry, namespace)
        assert isinstance(found, NoData)

    async def test_of_nobody_nothing_is_asked(self, telemetry: Telemetry) -> None:
        assert await telemetry.use((), UseOf(Resource.CPU, "", "default"), WINDOW, timeout=TIMEOUT) == ()


async def test_of_an_unknown_store_each_use_is_an_error() -> None:
    sets = [PodSet("use", (a,)) for a in (CONTROL, CANARY)]
    found = await Stores({}).use(sets, UseOf(Resource.CPU, "", "elsewhere"), WINDOW, timeout=TIMEOUT)
    assert [type(each) for each in found] == [TelemetryError] * 2


class TestWorkingSet:
    async def read(self, telemetry: Telemetry, namespace: str, workload: str, container: str = "web") -> Reading:
        of, window = PodSet(namespace, (workload,)), Window(T - 9000, T - 1)
        return await telemetry.working_set(of, container, window, store="default", timeout=TIMEOUT)

    async def test_the_highest_of_all_pods_and_of_all_times(self, telemetry: Telemetry) -> None:
        found = await self.read(telemetry, "memory", "web")
        assert isinstance(found, Sample)
        assert (found.value, found.total) == (500 * 2**20, 2.0)

    async def test_of_that_container_of_these_pods(self, telemetry: Telemetry) -> None:
        proxy = await self.read(telemetry, "memory", "web", "proxy")
        assert isinstance(proxy, Sample)
        assert (proxy.value, proxy.total) == (900 * 2**20, 1.0)
        arm = await self.read(telemetry, "memory", CANARY)
        assert isinstance(arm, Sample)
        assert arm.value == 950 * 2**20

    @pytest.mark.parametrize(("namespace", "container"), [("memory", "other"), ("plain", "web"), ("no-memory", "web")])
    async def test_where_there_is_none_it_is_absent(self, telemetry: Telemetry, namespace: str, container: str) -> None:
        assert isinstance(await self.read(telemetry, namespace, "web", container), NoData)


class TestAlerts:
    QUARTER = Window(T - 900, T)

    async def names(self, telemetry: Telemetry, *names: str, namespace: str = "alerts") -> list[str]:
        found = await telemetry.alerts(names, namespace, self.QUARTER, store="default", timeout=TIMEOUT)
        assert not isinstance(found, TelemetryError), found
        return [each.name for each in found]

    async def test_one_that_fires_however_many_series_it_has(self, telemetry: Telemetry) -> None:
        found = await telemetry.alerts(("CheckoutDown",), "alerts", self.QUARTER, store="default", timeout=TIMEOUT)
        assert found == (AlertSeen("CheckoutDown", T, firing=True),)

    async def test_one_that_fired_not_long_ago(self, telemetry: Telemetry) -> None:
        found = await telemetry.alerts(("Over",), "alerts", self.QUARTER, store="default", timeout=TIMEOUT)
        assert found == (AlertSeen("Over", T - 520, firing=False),)

    async def test_neither_one_that_is_long_over_nor_one_that_only_may_come(self, telemetry: Telemetry) -> None:
        assert await self.names(telemetry, "LongOver", "Coming", "Unknown") == []

    async def test_those_about_this_namespace_or_about_none(self, telemetry: Telemetry) -> None:
        assert await self.names(telemetry, "Clusterwide", "Elsewhere") == ["Clusterwide"]
        assert await self.names(telemetry, "CheckoutDown", "Clusterwide", namespace="other") == ["Clusterwide"]
        assert await self.names(telemetry, "Elsewhere", namespace="other") == ["Elsewhere"]
        assert await self.names(telemetry, "Elsewhere", namespace="alerts.2") == []

    async def test_a_name_is_no_pattern(self, telemetry: Telemetry) -> None:
        assert await self.names(telemetry, "a.b", "High Error-Rate", "Check.*") == ["High Error-Rate", "a.b"]

    async def test_as_of_the_windows_end(self, telemetry: Telemetry) -> None:
        then = await telemetry.alerts(
            ("Over", "CheckoutDown"), "alerts", Window(T - 1600, T - 600), store="default", timeout=TIMEOUT
        )
        assert not isinstance(then, TelemetryError)
        assert [(each.name, each.firing) for each in then] == [("Over", True)]
        assert 0 <= T - 600 - then[0].last < 15

    async def test_nobody_named_nothing_asked(self, telemetry: Telemetry) -> None:
        assert await telemetry.alerts((), "alerts", self.QUARTER, store="default", timeout=TIMEOUT) == ()


class TestPreflight:
    @pytest.mark.parametrize(
        ("sli", "namespace", "ratio"),
        [(ERRORS, "plain", 0.02), (ERRORS, "no-errors", 0.0), (SLOW, "buckets", 0.1), (PRESET, "status", 0.02)],
    )
    async def test_what_can_be_measured(self, telemetry: Telemetry, sli: Sli, namespace: str, ratio: float) -> None:
        found = await telemetry.probe(sli, pods(namespace), T - 1, 3600.0, timeout=TIMEOUT)
        assert (found.sli, found.reason) == (sli.name, "")
        assert found.scrape_interval == pytest.approx(1.0)
        assert found.requests_per_second == pytest.approx(100.0, rel=0.03)
        assert found.usual_per_second == pytest.approx(100.0, rel=0.05)
        assert found.bad_ratio == pytest.approx(ratio, rel=0.05)

    @pytest.mark.parametrize(
        ("sli", "namespace", "reason"),
        [
            (ERRORS, "nowhere", "NoData"),
            (SLOW, "nowhere", "NoData"),
            (VALUE, "nowhere", "NoData"),
            (VALUE, "nan", "NoData"),
            (ERRORS, "ha", "Ambiguous"),
            (EACH, "gauges", "Ambiguous"),
            (ERRORS, "no-traffic", "NoTraffic"),
        ],
    )
    async def test_what_cannot(self, telemetry: Telemetry, sli: Sli, namespace: str, reason: str) -> None:
        found = await telemetry.probe(sli, pods(namespace), T - 1, 3600.0, timeout=TIMEOUT)
        assert found.reason == reason
        assert found.problem
        assert found.remedy

    async def test_a_threshold_that_is_no_bound_names_the_nearest(self, telemetry: Telemetry) -> None:
        sli = Sli("slow", SliKind.LATENCY, SlowRatioQuery(("d_seconds",), 0.3), 1)
        found = await telemetry.probe(sli, pods("buckets"), T - 1, 3600.0, timeout=TIMEOUT)
        assert found.reason == "NoBucketBound"
        assert "0.1 or 1," in found.remedy

    async def test_values_and_quantiles_have_a_level_and_no_ratio(self, telemetry: Telemetry) -> None:
        found = await telemetry.probe(P95, pods("buckets"), T - 1, 3600.0, timeout=TIMEOUT)
        assert (found.reason, found.bad_ratio) == ("", None)
        assert found.usual_per_second == pytest.approx(100.0, rel=0.05)
        assert isinstance(found.level, Sample)
        assert found.level.value == pytest.approx(0.1 + 0.9 * 5 / 9, rel=0.03)
        value = await telemetry.probe(VALUE, pods("gauge"), T - 1, 3600.0, timeout=TIMEOUT)
        assert (value.reason, value.bad_ratio, value.usual_per_second) == ("", None, None)
        assert isinstance(value.level, Sample)
        ratio = await telemetry.probe(ERRORS, pods("plain"), T - 1, 3600.0, timeout=TIMEOUT)
        assert ratio.level == NOT_ASKED

    async def test_what_is_usual_is_of_hours_and_not_of_the_moment(self, telemetry: Telemetry) -> None:
        """Two hours are there of the six that are asked for."""
        found = await telemetry.probe(ERRORS, pods("busier"), T - 1, 3600.0, timeout=TIMEOUT)
        assert found.requests_per_second == pytest.approx(100.0, rel=0.03)
        assert found.usual_per_second == pytest.approx(13.75, rel=0.04)
        assert found.history == 3600.0
        month = await telemetry.probe(ERRORS, pods("busier"), T - 1, 720 * HOUR, timeout=TIMEOUT)
        assert month.usual_per_second == pytest.approx(13.75, rel=0.04)
        assert month.history == pytest.approx(2 * HOUR, rel=0.03)
        depth = await telemetry.probe(VALUE, pods("busier"), T - 1, 3600.0, timeout=TIMEOUT)
        assert isinstance(depth.level, Sample)
        assert depth.level.value == pytest.approx(15.0, rel=0.05)

    async def test_what_resource_guards_would_look_at_in_vain(self, telemetry: Telemetry) -> None:
        """Of a pod's sandbox and its own cgroup there is more, which does not count."""
        without = await telemetry.probe(ERRORS, pods("plain"), T - 1, 3600.0, timeout=TIMEOUT)
        assert without.unseen == METRICS
        memory = Sli("memory", SliKind.VALUE, ValueQuery("avg(container_memory_working_set_bytes{$selector})", "1"), 1)
        some = await telemetry.probe(memory, pods("usage"), T - 1, 3600.0, timeout=TIMEOUT)
        assert (some.reason, some.unseen) == ("", (CPU_WAITING,))
        broken = await telemetry.probe(ERRORS, pods("nowhere"), T - 1, 3600.0, timeout=TIMEOUT)
        assert broken.unseen is None

    async def test_a_level_that_cannot_be_told_is_an_absence(self, telemetry: Telemetry) -> None:
        """By now there is one series, but there were two in the last hours."""
        found = await telemetry.probe(EACH, pods("rolled"), T - 1, 3600.0, timeout=TIMEOUT)
        assert found.reason == ""
        assert isinstance(found.level, Ambiguous)

    async def test_how_far_the_past_reaches(self, telemetry: Telemetry) -> None:
        found = await telemetry.probe(ERRORS, pods("slow-scrapes"), T - 1, 600.0, timeout=TIMEOUT)
        assert found.history == 600.0

    @pytest.mark.parametrize(("namespace", "age"), [("plain", 58.75), ("born", 18.75), ("slow-scrapes", 592.0)])
    async def test_how_old_a_young_service_is(self, telemetry: Telemetry, namespace: str, age: float) -> None:
        month = await telemetry.probe(ERRORS, pods(namespace), T - 1, 720 * 3600.0, timeout=TIMEOUT)
        assert month.history == pytest.approx(age, rel=0.05, abs=1.0)
