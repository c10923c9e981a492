"""Preflight of PromQL that people wrote: parsed and bounded before any of it is sent."""

from __future__ import annotations

from collections.abc import Iterator

from trimtab.control.preflight_findings import Problem
from trimtab.domain.errors import InvalidSpec
from trimtab.domain.spec import ExperimentSpec, QuantileQuery, RatioQuery, Sli, SlowRatioQuery, ValueQuery
from trimtab.slo.promql import PLACEHOLDER, check_query


def query_problems(spec: ExperimentSpec) -> Iterator[Problem]:
    """Every query that must not be sent, by field."""
    for sli in spec.slis:
        for field, query, plain in _queries(sli):
            try:
                check_query(field, query, plain_selector=plain)
            except InvalidSpec as error:
                yield Problem("InvalidQuery", error.field, str(error), error.remedy)
                break


def _queries(sli: Sli) -> Iterator[tuple[str, str, bool]]:
    """(field, PromQL, must it be a plain vector selector?)."""
    field = f"spec.slis[{sli.name}]"
    match sli.query:
        case RatioQuery(bad, total):
            yield from ((f"{field}.ratio.bad", q, True) for q in bad)
            yield from ((f"{field}.ratio.total", q, True) for q in total)
        case SlowRatioQuery() | QuantileQuery():
            matchers = f",{sli.query.matchers}" if sli.query.matchers else ""
            yield from (
                (f"{field}.latency", f"{h}_bucket{{{PLACEHOLDER}{matchers}}}", True) for h in sli.query.histogram
            )
        case ValueQuery(query, _, samples):
            yield f"{field}.value.query", query, False
            if samples is not None:
                yield f"{field}.value.samplesQuery", samples, False
