"""An SLI that a workload cannot answer is reported by name, with what it offers."""

from __future__ import annotations

from pathlib import Path

import pytest

from trimtab.domain.spec import QuantileQuery, RatioQuery, Sli, SliKind, ValueQuery
from trimtab.simulate.columns import offered
from trimtab.simulate.offers import NotOffered, _asked
from trimtab.workload import load_workload

NAMES = offered(load_workload(Path(__file__).parents[3] / "examples" / "web-service" / "workload.yaml"))


def value(query: str) -> Sli:
    return Sli("mine", SliKind.VALUE, ValueQuery(query, "1"), 1)


@pytest.mark.parametrize(
    ("sli", "names"),
    [
        (value("avg(container_memory_working_set_bytes{$selector})"), {"container_memory_working_set_bytes"}),
        (value("sum(rate(http_requests_total{$selector}[1m])) / 2"), {"http_requests_total"}),
        (Sli("p95", SliKind.LATENCY, QuantileQuery(("other", "http_request_duration_seconds"), 0.95), 1),
         {"http_request_duration_seconds_bucket"}),
        (Sli("e", SliKind.ERRORS, RatioQuery(('http_requests_total{$selector,code="500"}',),
                                             ("http_requests_total{$selector}",)), 1), {"http_requests_total"}),
    ],
)  # fmt: skip
def test_what_is_offered(sli: Sli, names: set[str]) -> None:
    assert _asked(sli, NAMES) == names


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("avg(queue_depth{$selector})", "exposes no queue_depth; it offers container_"),
        ("quantile(0.9, http_requests_total{$selector})", "does not have quantile;"),
        ("deriv(http_requests_total{$selector}[5m])", r"does not have deriv\(\);"),
        ("http_requests_total{$selector} ^ 2", "does not have operator \\^;"),
        ("sum(", "not PromQL"),
    ],
)
def test_what_is_not(query: str, words: str) -> None:
    with pytest.raises(NotOffered, match=rf"spec.slis\[mine\]: .*{words}"):
        _asked(value(query), NAMES)
