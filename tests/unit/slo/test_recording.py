"""Recording rules: what they say, that they cannot be taken for each other, and when their sums are used."""

from __future__ import annotations

import itertools
from dataclasses import replace

import promql_parser
import pytest
from tests.unit.api.samples import experiment

from trimtab.api.convert import parse_experiment
from trimtab.domain.spec import ExperimentSpec, QuantileQuery, RatioQuery, Sli, SliKind, SlowRatioQuery, ValueQuery
from trimtab.ports import Account, PodSet
from trimtab.slo.counters import Counters, counters_of
from trimtab.slo.recording import (
    INTERVAL,
    METRIC,
    Sums,
    count_query,
    digest,
    recent_query,
    recorded_sums,
    recorders,
    rule_group,
    sum_query,
)
from trimtab.slo.series import Series

PODS = PodSet("shop", ("web",))
ERRORS = RatioQuery(('r_total{$selector,code=~"5.."}',), ("r_total{$selector}",))
SLOW = SlowRatioQuery(("d_seconds",), 0.3)
ONE = counters_of(ERRORS, PODS)[0]
DAY = 86400.0


def spec(*slis: Sli, budgets: tuple[str, ...]) -> ExperimentSpec:
    manifest = experiment()
    manifest["spec"]["slis"] = [
        {"name": "errors", "preset": {"source": "PlainHTTP", "sli": "ErrorRatio"}},
        {"name": "slow", "latency": {"histogram": "d_seconds", "threshold": "0.3"}},
    ]
    manifest["spec"]["errorBudgets"] = [
        {"name": f"b{number}", "sli": sli, "objectivePercent": "99"} for number, sli in enumerate(budgets)
    ]
    return parse_experiment(manifest)


class TestRules:
    def test_one_pair_for_each_spelling_of_each_budget_s_sli_once(self) -> None:
        found = spec(budgets=("errors", "slow", "errors"))
        group = rule_group("shop", "checkout", found)
        spellings = [c for name in ("errors", "slow") for c in counters_of(found.sli(name).query, PODS)]
        assert len(group["rules"]) == 2 * sum(not c.native for c in spellings)
        assert any(c.native for c in spellings)  # its one series is as cheap as what a rule would leave of it
        assert (group["name"], group["interval"]) == ("trimtab-shop-checkout", "300s")
        assert {r["record"] for r in group["rules"]} == {METRIC}
        labels = [tuple(sorted(r["labels"].items())) for r in group["rules"]]
        assert len(set(labels)) == len(labels)

    def test_without_budgets_there_is_nothing_to_record(self) -> None:
        assert rule_group("shop", "checkout", spec(budgets=()))["rules"] == []

    def test_every_expression_is_promql_over_the_target_s_pods(self) -> None:
        for rule in rule_group("shop", "checkout", spec(budgets=("errors", "slow")))["rules"]:
            promql_parser.parse(rule["expr"])
            assert 'namespace="shop"' in rule["expr"]
            assert "checkout-[a-z0-9]+-[a-z0-9]+" in rule["expr"]

    def test_no_errors_are_none_but_a_bucket_that_is_not_there_is_unknown(self) -> None:
        (bad, total) = rule_group("shop", "checkout", spec(budgets=("slow",)))["rules"]
        assert bad["expr"].startswith("clamp_min(sum(increase(")
        assert " or " not in bad["expr"]
        assert total["expr"].startswith("sum(increase(d_seconds_bucket{")
        (bad, total, *_) = rule_group("shop", "checkout", spec(budgets=("errors",)))["rules"]
        assert bad["expr"].endswith(f" or 0 * {total['expr']}")

    def test_values_and_quantiles_are_not_counted(self) -> None:
        for query in (ValueQuery("avg(a{$selector})", "1"), QuantileQuery(("d_seconds",), 0.95)):
            assert counters_of(query, PODS) == ()


class TestDigest:
    def test_whatever_differs_is_told_apart(self) -> None:
        queries = (
            ERRORS,
            replace(ERRORS, bad=('r_total{$selector,code=~"5..|429"}',)),
            SLOW,
            replace(SLOW, threshold=0.5),
        )
        places = (PODS, PodSet("shop", ("web-2",)), PodSet("other", ("web",)))
        counters = [c for query, pods in itertools.product(queries, places) for c in counters_of(query, pods)]
        found = [digest(c) for c in counters if not c.native]
        assert len(set(found)) == len(found) == 12
        assert len({digest(Counters("a", "b", good)) for good in (True, False)}) == 2

    def test_who_reads_does_not_matter(self) -> None:
        again = counters_of(ERRORS, replace(PODS, live=("web-1-a",), account=Account("uid")))[0]
        assert digest(again) == digest(ONE)

    def test_it_is_the_same_in_every_version(self) -> None:
        """A change here makes every recorded series useless; then the metric's name must change, too."""
        assert digest(Counters("a", "b", False)) == "f10d6ae656226df1"

    def test_questions_are_about_it_alone(self) -> None:
        for asked in (recent_query(ONE), count_query(ONE, DAY), sum_query(ONE, DAY)):
            promql_parser.parse(asked)
            assert f'{METRIC}{{query="{digest(ONE)}"}}' in asked


def rows(bad: float | None, total: float | None, **labels: str) -> list[Series]:
    given = {"experiment": "web", **labels}
    return [
        Series(tuple(sorted({**given, "part": part}.items())), ((0.0, value),))
        for part, value in (("bad", bad), ("total", total))
        if value is not None
    ]


WEB = frozenset({(("experiment", "web"),)})
FULL = DAY / INTERVAL


class TestReading:
    @pytest.mark.parametrize(
        ("bad", "total", "used"),
        [(3, 3, True), (2, 4, True), (1, 3, False), (3, 6, False), (None, 3, False), (3, None, False)],
    )
    def test_who_records_now(self, bad: float | None, total: float | None, used: bool) -> None:
        assert recorders(rows(bad, total)) == (WEB if used else frozenset())

    @pytest.mark.parametrize(
        ("bad", "total", "used"),
        [
            (FULL, FULL, True),
            (FULL + 1, FULL + 1, True),
            (FULL - 1, FULL - 1, True),
            (FULL - 2, FULL, False),
            (FULL, FULL - 2, False),
            (2 * FULL, 2 * FULL, False),  # the same rules loaded twice into one series
            (None, FULL, False),
        ],
    )
    def test_only_a_window_that_is_covered_is_read(self, bad: float | None, total: float, used: bool) -> None:
        found = recorded_sums(rows(bad, total), rows(5.0, 1000.0), DAY, WEB)
        assert found == (Sums(5.0, 1000.0) if used else None)

    @pytest.mark.parametrize(("missing", "used"), [(0, True), (6, True), (7, False), (43, False)])
    def test_half_an_hour_at_most_may_be_missing_of_a_month(self, missing: int, used: bool) -> None:
        """What happened while the rules were not evaluated, perhaps an outage, is in the raw counters alone."""
        counted = rows(30 * FULL - missing, 30 * FULL - missing)
        assert (recorded_sums(counted, rows(1.0, 2.0), 30 * DAY, WEB) is not None) is used

    @pytest.mark.parametrize(
        ("bad", "total"), [(float("nan"), 1.0), (1.0, float("nan")), (float("inf"), 1.0), (-1.0, 1.0), (None, 1.0)]
    )
    def test_what_is_no_count_is_not_used(self, bad: float | None, total: float) -> None:
        assert recorded_sums(rows(FULL, FULL), rows(bad, total), DAY, WEB) is None

    def test_more_bad_events_than_events_are_cut(self) -> None:
        """Both parts are extrapolated by themselves."""
        assert recorded_sums(rows(FULL, FULL), rows(11.0, 10.0), DAY, WEB) == Sums(10.0, 10.0)

    def test_two_recorders_are_not_mixed(self) -> None:
        known = recorders([*rows(3, 3), *rows(3, 3, experiment="b")])
        counted = [*rows(FULL, 10.0), *rows(FULL, FULL, experiment="b")]
        summed = [*rows(1.0, 2.0), *rows(3.0, 4.0, experiment="b")]
        assert recorded_sums(counted, summed, DAY, known) == Sums(3.0, 4.0)

    def test_one_who_does_not_record_any_more_is_not_used(self) -> None:
        assert recorded_sums(rows(FULL, FULL), rows(1.0, 2.0), DAY, frozenset()) is None

    def test_nothing_is_nothing(self) -> None:
        assert recorders(()) == frozenset()
        assert recorded_sums((), (), DAY, WEB) is None


def test_counters_of_a_sli_are_those_that_it_is_read_by() -> None:
    sli = Sli("slow", SliKind.ERRORS, SLOW, 1)
    found, native = counters_of(sli.query, PODS)
    assert found.good
    assert (found.native, native.native) == (False, True)
    assert 'le="+Inf"' in found.total
