"""What a reading is worth, as one table: each row is a past of some pods, and what every kind of SLI must make of it.

A pod answers in four classes of latency; the last two are slow, and fail. A ratio, a slow ratio and a quantile count
the same requests, so they must agree. Here over the loopback server and the simulated store; over a real Prometheus,
which has native histograms too, in `tests/cluster/test_semantics.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from tests.contract.test_telemetry import CANARY, OTHER, POD, TIMEOUT, WINDOW, T, pods
from tests.unit.slo.loopback import Stored

from trimtab.domain.measurement import Ambiguous, NoData, Reading, Sample, Stale, Window
from trimtab.domain.spec import QuantileQuery, RatioQuery, Sli, SliKind, SlowRatioQuery
from trimtab.ports import SliRequest, Telemetry

Classes = tuple[float, float, float, float]
PER_SECOND: Classes = (60.0, 28.0, 8.0, 4.0)  # whole numbers at each quarter of a second
BOUNDS = (0.125, 0.25, 0.5)  # upper bounds of the classes; the last has none
THRESHOLD = 0.25


@dataclass(frozen=True)
class Pod:
    """One pod's requests by class at each scrape, a second apart; `value` by seconds since T - 60."""

    value: Callable[[float], Classes]
    name: str = POD
    since: float = T - 60
    until: float = T
    phase: float = 0.25
    labels: tuple[tuple[str, str], ...] = ()

    def scrapes(self) -> list[tuple[float, Classes]]:
        """(unix seconds, cumulative requests by class)."""
        times = [round(self.since + self.phase + i, 3) for i in range(int(self.until - self.since))]
        return [(t, self.value(t - T + 60)) for t in times]


@dataclass(frozen=True)
class Expected:
    """A sample with these counts, or what is absent in its place."""

    bad: float = 0.0
    total: float = 0.0
    absent: type | None = None
    words: str = ""
    seen: bool | None = None  # the absence says when the pods were last scraped


@dataclass(frozen=True)
class Row:
    name: str
    past: tuple[Pod, ...]
    expected: Expected
    live: tuple[str, ...] = (POD,)
    window: Window = field(default=WINDOW)
    native: bool = True  # a native histogram can tell it


def served(per_second: Classes = PER_SECOND, start: float = 1000.0) -> Callable[[float], Classes]:
    a, b, c, d = per_second
    return lambda t: (start + math.floor(a * t), start + math.floor(b * t), math.floor(c * t), math.floor(d * t))


def restarted(at: float) -> Callable[[float], Classes]:
    before, after = served(), served(start=0.0)
    return lambda t: before(t) if t < at else after(t - at)


def slow_since(at: float) -> Callable[[float], Classes]:
    """No slow request before."""
    return lambda t: (1000.0 + math.floor(88 * t), 0.0, math.floor(12 * max(t - at, 0.0)), 0.0)


FINE = served((88.0, 12.0, 0.0, 0.0))
ROWS = (
    Row("requests of the window and no others", (Pod(served()),), Expected(96.0, 800.0)),
    Row("two pods are one arm", (Pod(served()), Pod(served(), OTHER)), Expected(192.0, 1600.0), (POD, OTHER)),
    Row("no bad requests beside traffic are none", (Pod(FINE),), Expected(0.0, 800.0)),
    Row("the first bad requests count", (Pod(slow_since(44.25)),), Expected(36.0, 740.0)),
    Row("no traffic", (Pod(lambda _: (5.0, 5.0, 5.0, 5.0)),), Expected(absent=NoData, words="no traffic", seen=True)),
    Row("counters that are no numbers", (Pod(lambda _: (math.nan,) * 4),), Expected(absent=NoData), native=False),
    Row(
        "a scrape that is no number is left out",
        (Pod(lambda t: (math.nan,) * 4 if t == 44.25 else served()(t)),),
        Expected(96.0, 800.0),
        native=False,
    ),
    Row("never scraped", (), Expected(absent=NoData, words="no series", seen=False)),
    Row(
        "a restart within the window loses what came after the last scrape",
        (Pod(restarted(44.0)),),
        Expected(87.0, 725.0),
    ),
    Row(
        "two restarts",
        (Pod(lambda t: restarted(42.0)(t) if t < 45.5 else served(start=0.0)(t - 45.5)),),
        Expected(84.0, 700.0),
    ),
    Row(
        "two scrapers of one pod",
        tuple(Pod(served(), labels=(("replica", r),)) for r in "ab"),
        Expected(absent=Ambiguous, words="stored twice"),
    ),
    Row("a pod that is not scraped any more", (Pod(served(), until=T - 25),), Expected(absent=Stale, words="s old")),
    Row(
        "one pod of two was never scraped",
        (Pod(served()),),
        Expected(absent=Stale, words=f"{OTHER} is Ready but not scraped"),
        (POD, OTHER),
    ),
    Row(
        "one pod of two is not scraped any more",
        (Pod(served()), Pod(served(), OTHER, until=T - 25)),
        Expected(absent=Stale, words=f"newest sample of pod {OTHER}"),
        (POD, OTHER),
    ),
    Row(
        "a scrape at the start belongs to before, one at the end within",
        (Pod(served(), phase=0.0),),
        Expected(96.0, 800.0),
    ),
    Row(
        "a window that begins just before a scrape",
        (Pod(served(), phase=0.0),),
        Expected(108.0, 900.0),
        window=Window(T - 20.001, T - 12),
    ),
    Row(
        "a window that ends just before a scrape",
        (Pod(served(), phase=0.0),),
        Expected(84.0, 700.0),
        window=Window(T - 20, T - 12.001),
    ),
    Row("a pod that was born within the window", (Pod(served(), since=T - 16),), Expected(36.0, 300.0)),
    Row(
        "what comes after the window does not matter",
        (Pod(lambda t: served()(min(t, 48.25) + 900 * max(t - 48.25, 0.0))),),
        Expected(96.0, 800.0),
    ),
    Row(
        "another arm with a similar name",
        (Pod(served()), Pod(served((0.0, 0.0, 0.0, 500.0)), f"{CANARY}3-7d9f6c-x2k4z")),
        Expected(96.0, 800.0),
    ),
)
NAMESPACES = {row.name: f"row-{number}" for number, row in enumerate(ROWS)}
RATIO = Sli("ratio", SliKind.ERRORS, RatioQuery(('s_total{$selector,code="500"}',), ("s_total{$selector}",)), 1)
SLOW = Sli("slow", SliKind.ERRORS, SlowRatioQuery(("s_seconds",), THRESHOLD), 1)
QUANTILE = Sli("quantile", SliKind.LATENCY, QuantileQuery(("s_seconds",), 0.95), 1)


def labels_of(row: Row, pod: Pod) -> dict[str, str]:
    return {"namespace": NAMESPACES[row.name], "pod": pod.name, **dict(pod.labels)}


def counters(row: Row) -> list[Stored]:
    """Requests by status. A status that never was has no series."""
    found = []
    for pod in row.past:
        for code, which in (("200", slice(0, 2)), ("500", slice(2, 4))):
            points = tuple((t, sum(v[which])) for t, v in pod.scrapes())
            begun = next((i for i, (_, v) in enumerate(points) if v > 0), len(points)) if code == "500" else 0
            pairs = labels_of(row, pod) | {"code": code}
            found.append(Stored("s_total", tuple(sorted(pairs.items())), points[begun:]))
    return [each for each in found if each.points]


def buckets(row: Row) -> list[Stored]:
    """A classic histogram."""
    found = []
    for pod in row.past:
        for upto, le in enumerate((*map(str, BOUNDS), "+Inf"), start=1):
            points = tuple((t, sum(v[:upto])) for t, v in pod.scrapes())
            pairs = labels_of(row, pod) | {"le": le}
            found.append(Stored("s_seconds_bucket", tuple(sorted(pairs.items())), points))
    return found


STORED = tuple(each for row in ROWS for each in (*counters(row), *buckets(row)))


async def reading(telemetry: Telemetry, sli: Sli, row: Row, namespace: str = "") -> Reading:
    of = pods(namespace or NAMESPACES[row.name], live=row.live)
    (found,) = await telemetry.read([SliRequest(sli, of, row.window)], timeout=TIMEOUT)
    return found


def check(found: Reading, sli: Sli, expected: Expected) -> None:
    """The reading is what the row says."""
    if expected.absent is not None:
        assert isinstance(found, expected.absent), found
        assert expected.words in found.detail  # type: ignore[union-attr]
        if expected.seen is not None and isinstance(found, NoData):
            assert (found.newest is not None) is expected.seen
        return
    assert isinstance(found, Sample), found
    assert found.total == pytest.approx(expected.total)
    if isinstance(sli.query, QuantileQuery):
        assert found.bad is None
        assert 0 < found.value < 1
        return
    assert found.bad == pytest.approx(expected.bad)
    assert found.value == pytest.approx(expected.bad / expected.total)
    assert found.standard_error > 0


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name.replace(" ", "-"))
class TestSemantics:
    @pytest.mark.parametrize("sli", [RATIO, SLOW, QUANTILE], ids=lambda sli: sli.name)
    async def test_every_kind_of_sli_agrees(self, telemetry: Telemetry, row: Row, sli: Sli) -> None:
        check(await reading(telemetry, sli, row), sli, row.expected)
