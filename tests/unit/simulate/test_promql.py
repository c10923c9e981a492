"""PromQL over tracks: what Prometheus 3 answers, number by number, and a name for what is not simulated."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from trimtab.simulate.promql import NotSimulated, Selector, instant, matrix, selectors
from trimtab.simulate.promql_range import over
from trimtab.simulate.tracks import Past, Track


def track(name: str, points: list[tuple[float, float]], **labels: str) -> Track:
    made = Track(tuple(sorted({"__name__": name, **labels}.items())), [], [])
    for time, value in points:
        made.times.append(time)
        made.extend([value], [time])
    return made


class Tracks:
    def __init__(self, *tracks: Track) -> None:
        self.tracks = tracks

    def matching(self, selector: Selector) -> Iterator[Track]:
        return (t for t in self.tracks if selector.matches(t.labels))


STEADY = [(15.0 * n, 150.0 * n) for n in range(41)]  # 10/s, from 0 to 600 s
SOURCE = Tracks(
    track("requests", STEADY, pod="a", code="200"),
    track("requests", [(t, v / 10) for t, v in STEADY], pod="a", code="500"),
    track("requests", STEADY, pod="b", code="200"),
    track("depth", [(0.0, 4.0), (590.0, 6.0)], pod="a"),
    track("restarted", [(0.0, 100.0), (60.0, 160.0), (120.0, 30.0), (180.0, 90.0)], pod="a"),
    *(
        track("wait_bucket", [(0.0, 0.0), (600.0, n)], le=le)
        for le, n in (("0.1", 60.0), ("0.5", 90.0), ("+Inf", 100.0))
    ),
)


def value(query: str, at: float = 600.0) -> float:
    ((_, found),) = instant(SOURCE, query, at)
    return found


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("sum(rate(requests[1m]))", 21.0),
        ('sum(rate(requests{code="500"}[1m])) / sum(rate(requests[1m]))', 1 / 21),
        ('100 * sum(rate(requests{code=~"5.."}[1m])) / sum(rate(requests{pod="a"}[1m]))', 100 / 11),
        ("increase(depth[10m])", 6.0 - 4.0 + 0.0),
        ("avg_over_time(depth[10m])", 6.0),
        ("max_over_time(depth[11m])", 6.0),
        ("count(requests)", 3.0),
        ("-depth + 10", 4.0),
        ("scalar(depth) * 2", 12.0),
        ("clamp_max(depth, 5)", 5.0),
        ("depth > bool 5", 1.0),
        ("1 - 3 / 4", 0.25),
        ("1 / 0", math.inf),
        ('timestamp(depth{pod="a"})', 590.0),
        ("histogram_quantile(0.5, sum by (le) (rate(wait_bucket[11m])))", 0.1 * 50 / 60),
        ("histogram_quantile(0.99, wait_bucket)", 0.5),
        ("sum without (code, pod) (requests) - sum(requests)", 0.0),
        ("(nothing or depth) * 1", 6.0),
    ],
)
def test_what_it_answers(query: str, expected: float) -> None:
    if query == "increase(depth[10m])":
        assert instant(SOURCE, query, 600.0) == []  # one sample in the left-open range
        return
    assert value(query) == pytest.approx(expected)


@pytest.mark.parametrize(
    "query",
    ["histogram_count(wait_bucket)", "histogram_fraction(-Inf, 0.1, wait_bucket)", "histogram_sum(rate(requests[1m]))"],
)
def test_plain_numbers_are_no_native_histograms(query: str) -> None:
    assert instant(SOURCE, query, 600.0) == []


def test_a_row_gets_a_label_so_that_two_counters_are_told_apart() -> None:
    asked = 'label_replace(vector(1),"counter","a","","") or label_replace(vector(2),"counter","b","","")'
    assert instant(SOURCE, asked, 600.0) == [((("counter", "a"),), 1.0), ((("counter", "b"),), 2.0)]
    with pytest.raises(NotSimulated, match="label_replace"):
        instant(SOURCE, 'label_replace(vector(1),"a","$1","b","(.*)")', 600.0)
    with pytest.raises(NotSimulated, match="label_replace"):
        selectors('label_replace(up,"a","$1","b","(.*)")')  # what people write is refused beforehand


def test_increase_is_extrapolated_as_prometheus_does() -> None:
    # Samples at 15, 30, 45, 60 in (0, 60]: 450 over 45 s; 15 s are missing at the start, less than 1.1 scrapes, but
    # the counter reached zero 15 s before its first sample, so no more than these are added.
    assert value('increase(requests{pod="b"}[1m])', 60.0) == pytest.approx(600.0)
    # In (7, 67]: the end is 7 s after the last sample and is added whole, the start is 8 s before the first.
    assert value('increase(requests{pod="b"}[1m])', 67.0) == pytest.approx(600.0)
    # A gap longer than 1.1 scrapes at an edge counts as half a scrape.
    assert value('increase(requests{pod="b"}[1m])', 640.0) == pytest.approx(150.0 * (15 + 5 + 7.5) / 15)


def test_a_counter_that_starts_again_loses_nothing_that_was_seen() -> None:
    # 100 -> 160 -> (reset) 30 -> 90: 60 + 30 + 60 over 180 s, and nothing at the edges but up to zero.
    assert value("increase(restarted[190s])", 180.0) == pytest.approx(150.0 * (180 + 10) / 180)


def test_ranges_are_left_open_and_old_values_vanish() -> None:
    found = matrix(SOURCE, 'requests{pod="b"}[30s]', 60.0)
    assert found is not None
    assert found[0][1] == [(45.0, 450.0), (60.0, 600.0)]
    assert instant(SOURCE, "depth", 889.0) != []
    assert instant(SOURCE, "depth", 890.0) == []
    gone = track("depth", [(0.0, 1.0)], pod="gone")
    gone.ended = 10.0
    assert instant(Tracks(gone), "depth", 9.0) != []
    assert instant(Tracks(gone), "depth", 10.0) == []
    assert matrix(Tracks(gone), "depth[1m]", 30.0) != []


def test_a_range_of_whole_seconds_is_read_as_every_other_one() -> None:
    for text in ("30s", "0m30s", "30000ms"):
        assert matrix(SOURCE, f'requests{{pod="b"}}[{text}]', 60.0) == matrix(SOURCE, 'requests{pod="b"}[30s]', 60.0)
    assert matrix(Tracks(track("m", [(0.0, 1.0)], a="[1s]")), 'm{a="[1s]"}', 9.0) is None
    assert matrix(SOURCE, "sum(requests)", 60.0) is None
    for wrong in ("sum(requests)[30s]", "requests[30s", "requests[30s][30s]"):
        with pytest.raises(ValueError, match=r"\w"):
            matrix(SOURCE, wrong, 60.0)


def test_a_past_goes_on_in_the_present() -> None:
    past = Past([0.0, 60.0, 120.0], [0.0, 600.0, 1200.0])
    live = Track((("__name__", "requests"),), [], [], past)
    live.times += [180.0, 240.0]
    live.extend([1800.0, 2400.0], [180.0, 240.0])
    source = Tracks(live)
    assert live.between(0.0, 180.0) == [(60.0, 600.0), (120.0, 1200.0), (180.0, 1800.0)]
    assert live.at(130.0) == (120.0, 1200.0)
    ((_, grown),) = instant(source, "increase(requests[4m])", 240.0)
    assert grown == pytest.approx(2400.0)
    live.times.append(300.0)
    live.extend([5.0], [300.0])
    ((_, grown),) = instant(source, "increase(requests[5m])", 300.0)
    assert grown == pytest.approx((5 - 600 + 2400) * 300 / 240)


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("deriv(requests[5m])", r"deriv\(\)"),
        ("topk(3, requests)", "topk"),
        ("requests ^ 2", "operator \\^"),
        ("requests and depth", "operator and"),
        ("requests / on(pod) depth", "operator /"),
        ("rate(requests[5m:1m])", "SubqueryExpr"),
    ],
)
def test_what_is_not_simulated_has_a_name(query: str, name: str) -> None:
    with pytest.raises(NotSimulated, match=name):
        instant(SOURCE, query, 600.0)
    with pytest.raises(NotSimulated, match=name):
        selectors(query)


def test_what_is_no_promql_says_so() -> None:
    with pytest.raises(ValueError, match=r"parse|unexpected|unclosed"):
        instant(SOURCE, "sum(", 600.0)


@pytest.mark.parametrize("query", ["sum by (pod) (requests)", "max by (code) (depth)", "count(requests)", "depth * 2"])
def test_a_range_query_says_at_each_time_what_an_instant_one_does(query: str) -> None:
    """Also of a series that goes on from a past, one that ends, and one that is too old."""
    past = Past((-90.0, -30.0), (1.0, 5.0))
    later = Track((("__name__", "requests"), ("pod", "c")), [40.0, 55.0], [6.0, 7.0], past)
    gone = track("requests", [(0.0, 3.0), (30.0, 4.0)], pod="d")
    gone.ended = 200.0
    source = Tracks(*SOURCE.tracks, later, gone)
    times = [-100.0 + 20.0 * n for n in range(50)]
    expected: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
    for at in times:
        for labels, found in instant(source, query, at):
            expected.setdefault(labels, []).append((at, found))
    assert over(source, query, times) == expected
