"""How an arm scaled, from the counters of its pods: here over the loopback server and the simulated store;
`tests/cluster/test_scaling.py` runs the same over a real Prometheus.

The window is 120 s, scraped each second. One pod of the canary is there all the time, another one for its middle half;
in its last quarter a tenth of the requests fails.
"""

from __future__ import annotations

import pytest
from tests.contract.test_telemetry import CANARY, CONTROL, TIMEOUT, T, counter, pods
from tests.unit.slo.loopback import Stored

from trimtab.domain.measurement import NoData, Reading, Sample, Stale, Window
from trimtab.domain.spec import RatioQuery, Scaling, ScalingQuery, Sli, SliKind, SlowRatioQuery
from trimtab.ports import SliRequest, Telemetry

WINDOW = Window(T - 121, T - 1)
ALWAYS, MIDDLE = f"{CANARY}-7d9f6c-aaaaa", f"{CANARY}-7d9f6c-bbbbb"
STEADY = f"{CONTROL}-5c8d7b-ccccc"
SINCE = T - 180


def breaking(t: float) -> float:
    """Ten failures a second from 30 s before the window's end on; `t` counts from 60 s before T."""
    return max(10.0 * (t - 29.0), 0.0)


def requests(pod: str, since: float = SINCE, until: float = T) -> list[Stored]:
    return [
        counter("scaling", "all_total", lambda t: 100.0 * (t + 200.0), pod=pod, since=since, until=until),
        counter(
            "scaling", "d_seconds_bucket", lambda t: 100.0 * (t + 200.0), pod=pod, since=since, until=until, le="+Inf"
        ),
    ]


def failures(pod: str, since: float = SINCE, until: float = T) -> list[Stored]:
    return [
        counter("scaling", "bad_total", breaking, pod=pod, since=since, until=until, code="500"),
        counter(
            "scaling",
            "d_seconds_bucket",
            lambda t: 100.0 * (t + 200.0) - breaking(t),
            pod=pod,
            since=since,
            until=until,
            le="0.1",
        ),
    ]


STORED = (
    *requests(ALWAYS),
    *failures(ALWAYS),
    *requests(MIDDLE, T - 91, T - 31),
    *failures(MIDDLE, T - 91, T - 31),
    *requests(STEADY),
    *requests(STEADY.replace("ccccc", "ddddd")),
)
RATIO = RatioQuery(('bad_total{$selector,code=~"5.."}',), ("all_total{$selector}",))
SLOW = SlowRatioQuery(("d_seconds",), 0.1)


def sli(measure: Scaling, counting: RatioQuery | SlowRatioQuery = RATIO) -> Sli:
    above = 0.05 if measure is Scaling.BREACH_SECONDS else None
    return Sli("scaling", SliKind.VALUE, ScalingQuery(measure, counting, above), 8)


async def read(telemetry: Telemetry, measure: Scaling, workload: str = CANARY, live: tuple[str, ...] = ()) -> Reading:
    request = SliRequest(sli(measure), pods("scaling", workload, live=live), WINDOW)
    return (await telemetry.read([request], timeout=TIMEOUT))[0]


class TestScaling:
    async def test_pods_on_average(self, telemetry: Telemetry) -> None:
        found = await read(telemetry, Scaling.MEAN_REPLICAS, live=(ALWAYS,))
        assert isinstance(found, Sample)
        assert found.value == pytest.approx(1.5, abs=0.02)
        assert 0.05 < found.standard_error < 0.6
        assert found.newest == pytest.approx(T - 1.75, abs=1.0)

    async def test_an_arm_that_never_scaled(self, telemetry: Telemetry) -> None:
        found = await read(telemetry, Scaling.MEAN_REPLICAS, CONTROL)
        assert isinstance(found, Sample)
        assert (found.value, found.standard_error) == (2.0, 0.0)

    async def test_both_changes_are_scale_events(self, telemetry: Telemetry) -> None:
        found = await read(telemetry, Scaling.SCALE_EVENTS)
        assert isinstance(found, Sample)
        assert found.value == pytest.approx(2 / (120 / 3600), rel=0.02)
        assert found.standard_error == pytest.approx(2.5**0.5 / (120 / 3600), rel=0.02)

    async def test_none_is_a_value_whose_error_is_not_zero(self, telemetry: Telemetry) -> None:
        found = await read(telemetry, Scaling.SCALE_EVENTS, CONTROL)
        assert isinstance(found, Sample)
        assert found.value == 0.0
        assert found.standard_error > 0

    async def test_a_quarter_of_the_time_in_breach(self, telemetry: Telemetry) -> None:
        found = await read(telemetry, Scaling.BREACH_SECONDS)
        assert isinstance(found, Sample)
        assert found.value == pytest.approx(900.0, rel=0.05)
        assert found.standard_error == pytest.approx(found.value, rel=0.01)  # one run, so nobody knows how many come

    async def test_no_breach_without_failures(self, telemetry: Telemetry) -> None:
        found = await read(telemetry, Scaling.BREACH_SECONDS, CONTROL)
        assert isinstance(found, Sample)
        assert found.value == 0.0
        assert found.standard_error > 0

    async def test_a_histogram_says_the_same(self, telemetry: Telemetry) -> None:
        of = pods("scaling", CANARY)
        for measure in Scaling:
            by_ratio, by_histogram = await telemetry.read(
                [SliRequest(sli(measure, counting), of, WINDOW) for counting in (RATIO, SLOW)], timeout=TIMEOUT
            )
            assert isinstance(by_ratio, Sample)
            assert isinstance(by_histogram, Sample)
            assert by_histogram.value == pytest.approx(by_ratio.value)

    async def test_a_live_pod_that_is_not_scraped_is_stale(self, telemetry: Telemetry) -> None:
        assert isinstance(await read(telemetry, Scaling.MEAN_REPLICAS, live=(ALWAYS, MIDDLE)), Stale)

    async def test_other_pods_are_not_counted(self, telemetry: Telemetry) -> None:
        assert isinstance(await read(telemetry, Scaling.MEAN_REPLICAS, "web"), NoData)

    async def test_preflight_asks_for_what_it_is_counted_by(self, telemetry: Telemetry) -> None:
        found = await telemetry.probe(
            sli(Scaling.SCALE_EVENTS), pods("scaling", CONTROL), T - 1, 100.0, timeout=TIMEOUT
        )
        assert (found.sli, found.problem) == ("scaling", "")
        assert found.requests_per_second == pytest.approx(200.0, rel=0.05)
