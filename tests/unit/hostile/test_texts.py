"""Hostile names, quantities, durations and PromQL: refused with a remedy, or read; in bounded time."""

from __future__ import annotations

import re
from decimal import Decimal

import promql_parser
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.hostile.examples import bounded, of_budget, one_line, one_of, texts

from trimtab.domain.errors import InvalidSpec
from trimtab.domain.measurement import Arm
from trimtab.domain.names import arm_name, pod_pattern, recommendation_name, trial_name
from trimtab.domain.quantity import format_cpu, format_duration, format_memory, parse_duration, parse_quantity
from trimtab.ports import PodSet
from trimtab.slo.promql import PLACEHOLDER, check_query, inject, label_names, vector_selectors

pytestmark = pytest.mark.thorough

ARM = PodSet("shop", ("tt-0f0e0d0c-3-c",))
DNS = r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?"

quantities = st.one_of(
    texts,
    st.from_regex(r"\A[+-]?[0-9]{1,30}\.?[0-9]{0,30}([eE][+-]?[0-9]{1,3})?(n|u|m|k|M|G|Ki|Mi|Gi|Ei|E)?\Z"),
)
durations = st.one_of(texts, st.from_regex(r"\A([0-9]{1,20}(ms|s|m|h)){1,4}\Z"))
parts = one_of((
    PLACEHOLDER, "{", "}", "(", ")", "[5m]", "[2h]", "[1y]", "[5m:1m]", "@ start()", "offset 5m", "sum", "rate",
    "by (pod)", "http_requests_total", "a", 'b="c"', 'd=~".*"', "=~", "!=", ",", "+", "-", "*", "/", "^", "or", "and",
    "unless", "bool", "1", "1e308", "NaN", "Inf", "#", "\n", '"', "'", "`", "\\", "group_left", "quantile_over_time",
    "label_replace", "__name__", '{__name__=~".+"}', "absent", "count_values", "topk(10, ", "histogram_quantile(0.9, ",
))  # fmt: skip
queries = st.one_of(
    st.lists(parts, max_size=40).map(" ".join),
    st.lists(parts, max_size=30).map("".join),
    texts,
    texts.map(lambda t: f"a{{$selector,b={t!r}}}"),
    one_of((1, 30, 40, 500, 20_000)).map(lambda n: "(" * n + "a{$selector}" + ")" * n),
    one_of((1, 20, 100, 5_000)).map(lambda n: "+".join(["a{$selector}"] * n)),
    one_of((1, 20, 100, 5_000)).map(lambda n: "-" * n + "a{$selector}"),
    one_of((1, 20, 40, 4_000)).map(lambda n: "sum(" * n + "a{$selector}" + ")" * n),
    one_of((1, 60, 100, 2_000)).map(lambda n: "a{$selector," + ",".join(f'l{i}="x"' for i in range(n)) + "}"),
)


@of_budget(0.15)
@given(queries, st.booleans())
def test_a_query_is_refused_or_stays_with_its_arm(query: str, plain: bool) -> None:
    try:
        with bounded():
            check_query("spec.slis[x].value.query", query, plain_selector=plain)
    except InvalidSpec as error:
        one_line(str(error), "spec.slis[x].value.query")
        return
    with bounded():
        injected = inject(query, ARM)
        promql_parser.parse(injected)
        assert vector_selectors(query)
        label_names(query)
    assert PLACEHOLDER not in re.sub(r"\"[^\"]*\"|'[^']*'|`[^`]*`|#[^\n]*", "", injected)


@of_budget(0.08)
@given(quantities)
def test_a_quantity_is_read_or_refused(text: str) -> None:
    try:
        with bounded():
            value = parse_quantity(text, "spec.x")
    except InvalidSpec as error:
        one_line(str(error), "spec.x")
        return
    assert isinstance(value, Decimal)
    assert value.is_finite()
    with bounded():
        for written in (format_cpu(value), format_memory(value)):
            assert parse_quantity(written) >= value


@of_budget(0.05)
@given(durations)
def test_a_duration_is_read_or_refused(text: str) -> None:
    try:
        with bounded():
            seconds = parse_duration(text, "spec.x")
    except InvalidSpec as error:
        one_line(str(error), "spec.x")
        return
    assert seconds > 0
    format_duration(seconds)


@of_budget(0.02)
@given(st.from_regex(rf"\A{DNS}\Z").map(lambda n: n[:253].rstrip("-.")), st.uuids(), st.integers(0, 100_000))
def test_names_stay_names(name: str, uid: object, index: int) -> None:
    arms = [arm_name(str(uid), index, arm) for arm in (Arm.CANARY, Arm.CONTROL)]
    for made in (*arms, trial_name(name, str(uid), index), recommendation_name(name)):
        assert re.fullmatch(DNS, made), made
        assert len(made) <= 253
    assert all(len(made) <= 40 for made in arms)
    pattern = pod_pattern(tuple(arms))
    assert all(re.fullmatch(pattern, f"{made}-5d4f-x2x9z") for made in arms)
    assert not re.fullmatch(pattern, f"x{arms[0]}-5d4f-x2x9z")
