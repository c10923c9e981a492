"""Preflight of PromQL that people wrote: parsed and bounded before any of it is sent."""

from __future__ import annotations

from collections.abc import Iterator

from trimtab.control.preflight_findings import Problem
from trimtab.domain.errors import InvalidSpec
from trimtab.domain.placeholder import PLACEHOLDER
from trimtab.domain.spec import ExperimentSpec, QuantileQuery, RatioQuery, Sli, SlowRatioQuery, ValueQuery
from trimtab.slo.promql import check_matchers, check_query, label_names


def query_problems(spec: ExperimentSpec) -> Iterator[Problem]:
    """Every query that must not be sent, by field: the first problem of each SLI."""
    for sli in spec.slis:
        try:
            _check(sli)
        except InvalidSpec as error:
            yield Problem("InvalidQuery", error.field, str(error), error.remedy)


def check_queries(spec: ExperimentSpec) -> None:
    """Raises InvalidSpec: the first query that must not be sent."""
    for sli in spec.slis:
        _check(sli)


def _check(sli: Sli) -> None:
    """Raises InvalidSpec. Positions are those in the text that the person wrote, so each text is read by itself."""
    field, query = f"spec.slis[{sli.name}]", sli.query
    match query:
        case RatioQuery(bad, total, segment):
            for name, texts in (("bad", bad), ("total", total)):
                for text in texts:
                    check_query(f"{field}.ratio.{name}", text, plain_selector=True)
            if segment:
                taken = tuple(label for text in bad for label in label_names(text))
                check_matchers(f"{field}.segment", segment, taken=taken)
        case SlowRatioQuery() | QuantileQuery():
            for base in query.histogram:
                check_query(f"{field}.latency", f"{base}_bucket{{{PLACEHOLDER}}}", plain_selector=True)
            if query.matchers:
                check_matchers(f"{field}.latency.matchers", query.matchers)
            if query.segment:
                check_matchers(f"{field}.segment", query.segment)
        case ValueQuery(text, _, samples):
            check_query(f"{field}.value.query", text)
            if samples is not None:
                check_query(f"{field}.value.samplesQuery", samples)
