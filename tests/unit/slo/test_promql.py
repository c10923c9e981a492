"""PromQL: what is built parses and picks one arm, and what people write cannot escape its arm or its window."""

from __future__ import annotations

import re

import promql_parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.domain.errors import InvalidSpec
from trimtab.ports import PodSet
from trimtab.slo.promql import (
    adds_up,
    check_matchers,
    check_query,
    inject,
    label_names,
    le_matcher,
    le_pattern,
    selector,
    vector_selectors,
    with_matchers,
)

ARM = PodSet("shop", ("tt-0f0e0d0c-3-c",))


def refusal(query: str, **options: bool) -> InvalidSpec:
    with pytest.raises(InvalidSpec) as caught:
        check_query("spec.slis[x].value.query", query, **options)
    assert caught.value.field == "spec.slis[x].value.query"
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    "query",
    [
        "a{$selector}",
        'sum(rate(http_requests_total{$selector,code=~"5.."}[1m]))',
        "histogram_quantile(0.9, sum by (le) (rate(a_bucket{$selector}[5m])))",
        "avg(a{$selector}) / avg(b{$selector})",
        "sum(a{ $selector , x = '1' }) # the $selector of a comment",
        "scalar(a{$selector})",
        "rate(a{$selector}[1h])",
    ],
)
def test_bounded_queries_are_accepted(query: str) -> None:
    check_query("f", query)


@pytest.mark.parametrize(
    ("query", "words", "at"),
    [
        ("sum(a)", "no $selector", None),
        ("sum(a) # $selector", "no $selector", None),
        ('a{x="$selector"}', "no $selector", None),
        ("sum(a{$selector}) / sum(b)", "b has no $selector", 25),
        ('sum(a{$selector}) / sum(a{x="1"})', "a has no $selector", 25),
        ("topk(scalar(b), a{$selector})", "b has no $selector", 13),
        ('a{$selector or x="1"}', "`or`", 13),
        ("a{$selector} offset 5m", "offset", 14),
        ("sum(rate(a{$selector}[1m] offset -1h))", "offset", 27),
        ("a{$selector} @ 1700000000", "@", 14),
        ("sum(rate(a{$selector}[1m] @ end()))", "@", 27),
        ("max_over_time(rate(a{$selector}[1m])[10m:1m])", "subquery", None),
        ("rate(a{$selector}[2h])", "too long", 18),
        ("a{$selector}[5m]", "no value", 13),
        ("sum(a{$selector}", "not PromQL", 4),
        ("a{$selector", "not PromQL", 2),
        ('a{$selector,b=~"("}', "not PromQL", 16),
        ("sum(rte(a{$selector}[1m]))", "not PromQL", 5),
        ('a{$selector,x="1}', "not PromQL", 15),
    ],
)
def test_unbounded_queries_are_refused_with_the_place(query: str, words: str, at: int | None) -> None:
    error = refusal(query)
    assert words in error.problem
    assert error.remedy
    if at is not None:
        assert f"at character {at}" in error.problem


@pytest.mark.parametrize(
    ("query", "at"),
    [
        ("rate(a{$selector}[5m])", 1),
        ("a{$selector}[5m]", 13),
        ("  sum(a{$selector})", 3),
        ("-a{$selector}", 1),
        ("a{$selector} + b{$selector}", 14),
        ("{$selector} > 0", 13),
    ],
)
def test_a_counter_is_a_plain_selector(query: str, at: int) -> None:
    problem = refusal(query, plain_selector=True).problem
    assert f"only a vector selector is allowed here, at character {at}" in problem


@pytest.mark.parametrize(
    "bomb",
    [
        "+".join(["a{$selector}"] * 300),
        "+".join(["a{$selector}"] * 50),
        "(" * 500 + "a{$selector}" + ")" * 500,
        "-" * 4000 + "a{$selector}",
        "sum(" * 100 + "a{$selector}" + ")" * 100,
    ],
)
def test_bombs_are_refused_before_they_cost_time(bomb: str) -> None:
    assert refusal(bomb).remedy.startswith("use a recording rule")


@given(st.text(alphabet="a{}$selctor[]()@ \"'`#\\\n0159ms:,=~+-é", max_size=60))
def test_any_text_is_accepted_or_refused(text: str) -> None:
    try:
        check_query("f", text)
    except InvalidSpec:
        return
    promql_parser.parse(inject(text, ARM))


@pytest.mark.parametrize("name", ["web", "web.v1", "a-b-c", "x" * 40])
def test_the_selector_is_promql_for_every_deployment_name(name: str) -> None:
    parsed = promql_parser.parse(f"a{{{selector(PodSet('shop', (name, 'tt-0-1-b')))}}}")
    matchers = {m.name: m.value for m in parsed.matchers.matchers}
    assert matchers["namespace"] == "shop"
    assert re.fullmatch(matchers["pod"], f"{name}-7d9f6c-x2k4z")
    assert not re.fullmatch(matchers["pod"], f"{name}x-7d9f6c-x2k4z")
    assert not re.fullmatch(matchers["pod"], f"other-{name}-7d9f6c-x2k4z")


def test_only_the_placeholder_itself_is_replaced() -> None:
    query = 'a{$selector,x="$selector"} # $selector'
    assert inject(query, ARM) == f'a{{{selector(ARM)},x="$selector"}} # $selector'


def test_selectors_and_labels_of_a_query() -> None:
    query = 'sum(rate(a{$selector,code=~"5.."}[1m])) / max(b{$selector})'
    assert vector_selectors(query) == ('a{$selector,code=~"5.."}', "b{$selector}")
    assert label_names('a{$selector,code=~"5..",route!=""}') == ("code", "route")
    assert label_names("sum(a{$selector})") == ()


@pytest.mark.parametrize(
    "query",
    [
        "sum(a{$selector})",
        "(count by (pod) (a{$selector}))",
        "-sum(a{$selector}) / 5",
        "sum(a{$selector}) / avg(b{$selector})",
        "2 * abs(sum(rate(a{$selector}[1m])))",
        "sum(a{$selector}) - sum(b{$selector})",
    ],
)
def test_what_grows_with_the_number_of_pods(query: str) -> None:
    assert adds_up(query)


@pytest.mark.parametrize(
    "query",
    [
        "a{$selector}",
        "avg(a{$selector})",
        "max(sum by (pod) (a{$selector}))",
        "100 * (1 - sum(a{$selector}) / sum(b{$selector}))",
        "sum(a{$selector}) / count(a{$selector})",
        "histogram_quantile(0.95, sum by (le) (rate(a{$selector}[1m])))",
        "rate(a{$selector}[1m])",
    ],
)
def test_what_is_alike_for_any_number_of_pods(query: str) -> None:
    assert not adds_up(query)


@pytest.mark.parametrize(
    ("threshold", "spellings"),
    [
        (1.0, ["1", "1.0"]),
        (0.1, ["0.1"]),
        (2.5, ["2.5"]),
        (250.0, ["250", "250.0"]),
        (1e6, ["1000000", "1000000.0", "1e+06"]),
        (1048576.0, ["1048576", "1048576.0", "1.048576e+06"]),
        (1e-05, ["1e-05", "0.00001"]),
        (0.1234567, ["0.1234567"]),
    ],
)
def test_a_bucket_bound_is_found_in_every_spelling(threshold: float, spellings: list[str]) -> None:
    for text in spellings:
        assert re.fullmatch(le_pattern(threshold), text)
    for other in ("+Inf", "10", "0.2", "1x0"):
        assert not re.fullmatch(le_pattern(threshold), other)


@given(st.floats(1e-6, 1e9))
def test_a_bucket_bound_matches_itself_alone(threshold: float) -> None:
    pattern = le_pattern(threshold)
    assert re.fullmatch(pattern, repr(threshold))
    assert not re.fullmatch(pattern, repr(threshold * 1.5))
    metric = with_matchers("h_bucket", ARM, le_matcher(threshold, total=True), 'route="/"')
    le = next(m.value for m in promql_parser.parse(metric).matchers.matchers if m.name == "le")
    assert re.fullmatch(le, "+Inf")


@pytest.mark.parametrize(
    "text",
    ['tenant="gold"', ' tenant = "gold" , route=~"/pay.*" ', "a!='x',b!~`y`", 'x="$selector"', 'x="}[(@#"', 'a="é"'],
)
def test_matchers_are_accepted(text: str) -> None:
    check_matchers("spec.slis[x].segment", text)


@pytest.mark.parametrize(
    ("text", "words", "at"),
    [
        ("gold", "at character", None),
        ("tenant", "at character", None),
        ('tenant="gold', "no part of a matcher", 8),
        ('tenant="gold"} or up{x="1"', "no part of a matcher", 14),
        ('tenant="gold"} #', "no part of a matcher", 14),
        ('tenant="gold" # all', "no part of a matcher", 15),
        ('$selector,tenant="gold"', "no part of a matcher", 1),
        ('tenant="gold" or tenant="silver"', "`or`", 15),
        ('tenant="gold",', "missing", 14),
        (",", "missing", 1),
        ("   ", "missing", 3),
        (',tenant="gold"', "at character", 1),
        ('tenant="gold",,a="b"', "at character", None),
        ('tenant=~"("', "at character", 9),
        ('tenant="gold",pod="x"', "pod is used to pick the pods", 15),
        ('namespace="other"', "namespace is used", 1),
        ('le="0.5"', "le is used", 1),
        ('__name__="other"', "__name__ is used", 1),
        ('a="1",code="200"', "code is used to pick what this SLI counts", 7),
        (",".join(f'l{n}="1"' for n in range(9)), "at most 8", None),
        ("tenant offset 5m", "at character", None),
        ('tenant="gold" @ 5', "no part of a matcher", 15),
    ],
)
def test_what_is_no_list_of_matchers_is_refused_with_the_place(text: str, words: str, at: int | None) -> None:
    with pytest.raises(InvalidSpec) as caught:
        check_matchers("spec.slis[x].segment", text, taken=("code",))
    assert caught.value.field == "spec.slis[x].segment"
    assert words in caught.value.problem
    assert caught.value.remedy
    assert "\n" not in str(caught.value)
    if at is not None:
        assert f"at character {at}" in caught.value.problem


@given(st.text(alphabet="ab{}$selctor[]()@ \"'`#\\\n0159ms:,=~+-é!|.*", max_size=40))
def test_accepted_matchers_leave_the_selector_as_it_is(text: str) -> None:
    """Whatever is accepted narrows a selector, and changes neither its metric nor its pods."""
    try:
        check_matchers("f", text)
    except InvalidSpec:
        return
    plain = promql_parser.parse(with_matchers("m", ARM))
    narrow = promql_parser.parse(with_matchers("m", ARM, text))
    assert isinstance(narrow, promql_parser.VectorSelector)
    assert (narrow.name, narrow.offset, narrow.at) == (plain.name, None, None)
    own = [(m.name, m.op, m.value) for m in narrow.matchers.matchers]
    assert {(m.name, m.op, m.value) for m in plain.matchers.matchers} <= set(own)
    assert not narrow.matchers.or_matchers
    assert len(own) > 2
