"""An Experiment's SLIs as questions to a workload: what is answered, and how the rest is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.simulate.stories import web_truth

from trimtab.domain.errors import InvalidSpec
from trimtab.domain.measurement import NoData
from trimtab.domain.spec import QuantileQuery, RatioQuery, Sli, SliKind, SliQuery, SlowRatioQuery, ValueQuery
from trimtab.simulate.questions import describe, question
from trimtab.workload import PodBehaviour, Resources, evaluate
from trimtab.workload.units import MIB

WORKLOAD = web_truth().workload
HISTOGRAM = ("http_request_duration_seconds",)


def behaviour() -> PodBehaviour:
    return evaluate(WORKLOAD, Resources.equal(0.75, 704 * MIB), 880.0)


def asked(query: SliQuery, pods: int = 1) -> float | NoData:
    return question(Sli("it", SliKind.VALUE, query, 1), WORKLOAD).of(behaviour(), pods)


def value(query: str, pods: int = 1) -> float | NoData:
    return asked(ValueQuery(query, "1"), pods)


def refusal(query: SliQuery) -> str:
    with pytest.raises(InvalidSpec) as caught:
        asked(query)
    assert caught.value.field == "spec.slis[it]"
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_errors_and_slow_requests_are_those_of_the_model() -> None:
    bad, total = 'http_requests_total{$selector,code=~"5.."}', "http_requests_total{$selector}"
    assert asked(RatioQuery((bad,), (total,))) == pytest.approx(behaviour().error_ratio)
    assert asked(SlowRatioQuery(HISTOGRAM, 0.1)) == pytest.approx(behaviour().slow_fraction(0.1))
    assert asked(QuantileQuery(HISTOGRAM, 0.95)) == pytest.approx(behaviour().p95_s)


def test_of_several_spellings_the_first_that_exists_counts() -> None:
    bad = tuple(f'http_requests_total{{$selector,{label}=~"5.."}}' for label in ("status", "code"))
    total = tuple(f'http_requests_total{{$selector,{label}!=""}}' for label in ("status", "code"))
    assert asked(RatioQuery(bad, total)) == pytest.approx(behaviour().error_ratio)


def test_a_bucket_is_a_counter_like_any_other() -> None:
    fast = 'http_request_duration_seconds_bucket{$selector,le="0.1"}'
    slow = asked(RatioQuery((fast,), ("http_request_duration_seconds_count{$selector}",)))
    assert slow == pytest.approx(1 - behaviour().slow_fraction(0.1))


def test_expressions_are_arithmetic_on_gauges_and_rates() -> None:
    memory = "container_memory_working_set_bytes{$selector}"
    cpu = "rate(container_cpu_usage_seconds_total{$selector}[5m])"
    one = behaviour()
    assert value(f"avg({memory}) / 1048576", 3) == pytest.approx(one.working_set_bytes / MIB)
    assert value(f"sum({cpu})", 3) == pytest.approx(3 * one.cpu_usage_cores)
    assert value(f"-(max({cpu}) - 1) * 2 + min({cpu})") == pytest.approx(2 - one.cpu_usage_cores)
    assert value(cpu) == pytest.approx(one.cpu_usage_cores)


def test_a_value_that_does_not_exist_is_no_number() -> None:
    nothing = "sum(rate(container_oom_events_total{$selector}[5m])) * 0"
    assert value(f"1 / ({nothing})") == NoData("the expression has no finite value")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (ValueQuery("avg(queue_depth{$selector})", "1"), "no series matches queue_depth"),
        (ValueQuery("quantile(0.5, container_memory_working_set_bytes{$selector})", "1"), "quantile is not simulated"),
        (ValueQuery("predict_linear(up{$selector}[5m], 60)", "1"), "predict_linear() is not simulated"),
        (ValueQuery("rate(http_requests_total{$selector}[5m])", "1"), "it yields 3 series for one pod; aggregate it"),
        (ValueQuery("avg(up{$selector})", "1", "sum(nothing{$selector})"), "no series matches nothing"),
        (RatioQuery(("a{$selector}",), ("b{$selector}",)), "there is no b"),
        (
            RatioQuery(('http_requests_total{$selector,code="418"}',), ("http_requests_total{$selector}",)),
            "no series of",
        ),
        (SlowRatioQuery(HISTOGRAM, 0.12), "0.12 is no bucket bound; the nearest are 0.1 and 0.15"),
        (SlowRatioQuery(("other_seconds",), 0.1), "there is no histogram other_seconds"),
        (QuantileQuery(HISTOGRAM, 0.95, "s", 'route="/pay"'), "no series of http_request"),
    ],
)
def test_what_is_not_there_is_refused_by_name_with_what_there_is(query: SliQuery, words: str) -> None:
    text = refusal(query)
    assert "the workload web-service cannot answer it" in text
    assert words in text
    assert describe(WORKLOAD) in text
    assert 'simulated"' not in text


def test_what_a_workload_offers_fits_on_a_line() -> None:
    offer = describe(WORKLOAD)
    assert "http_requests_total{code=200|500|503}" in offer
    assert "0.1, 0.15" in offer
    assert len(offer) < 500


def test_a_pod_without_errors_still_answers() -> None:
    calm = WORKLOAD.model_copy(update={"request": WORKLOAD.request.model_copy(update={"error_percent": 0.0})})
    ratio = RatioQuery(('http_requests_total{$selector,code="500"}',), ("http_requests_total{$selector}",))
    found = question(replace(Sli("it", SliKind.ERRORS, ratio, 1)), calm).of(
        evaluate(calm, Resources.equal(2.0, 2048 * MIB), 100.0), 1
    )
    assert found == pytest.approx(0.0, abs=1e-9)
