"""PromQL: the queries that Trimtab builds, and the bounds on those that people write.

Arms are told apart by pod name: `$selector` becomes `namespace="...",pod=~"<arm>-[a-z0-9]+-[a-z0-9]+"`. A person's
query is parsed, never pattern-matched; only the position in a message is found by looking at its tokens.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import promql_parser

from trimtab.domain.errors import InvalidSpec
from trimtab.domain.names import pod_pattern
from trimtab.domain.placeholder import PLACEHOLDER, fill, tokens
from trimtab.ports import PodSet

MAX_RANGE_SECONDS = 3600.0
MAX_NESTING = 32
MAX_NODES = 64
MAX_TOKENS = 512
STAND_IN = ("__trimtab__", "1")  # the matcher that stands for $selector while a query is parsed
MAX_MATCHERS = 8
RESERVED = ("namespace", "pod", "le", "__name__")  # what tells arms, and the buckets of a histogram, apart


def selector(pods: PodSet) -> str:
    """The matchers that pick these pods."""
    return f"namespace={quoted(pods.namespace)},pod=~{quoted(pod_pattern(pods.workloads))}"


def quoted(text: str) -> str:
    """A PromQL string literal: the regular expression `a\\.b` is written `"a\\\\.b"`."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def firing_alerts(names: Sequence[str], namespace: str) -> str:
    """A selector of these alerts while they fire, about the namespace or about none."""
    anyone = "|".join(escaped(name) for name in names)
    matchers = (f"alertname=~{quoted(anyone)}", 'alertstate="firing"', f"namespace=~{quoted('|' + escaped(namespace))}")
    return f"ALERTS{{{','.join(matchers)}}}"


def escaped(text: str) -> str:
    """An RE2 regular expression that means this very text."""
    return re.sub(r"[^a-zA-Z0-9_: -]", lambda m: "\\" + m.group(), text)


def inject(query: str, pods: PodSet) -> str:
    """Put the matchers where `$selector` stands."""
    return fill(query, selector(pods))


def with_matchers(metric: str, pods: PodSet, *more: str) -> str:
    """`metric{namespace=...,pod=~...,more}`."""
    return f"{metric}{{{','.join([selector(pods), *(m for m in more if m)])}}}"


def le_matcher(threshold: float, *, total: bool = False) -> str:
    """A matcher for the bucket of a bound in all its spellings, with `+Inf` (the total) if asked for."""
    return f"le=~{quoted(le_pattern(threshold) + ('|[+]Inf' if total else ''))}"


@lru_cache(maxsize=256)
def le_pattern(threshold: float) -> str:
    """A regular expression for all spellings of a bucket bound: a program exposes `1`, Prometheus 3 stores `1.0`;
    1048576 may be `1048576`, `1048576.0` or `1.048576e+06` (Go's shortest form)."""
    plain = repr(float(threshold))
    digits = f"{threshold:.17e}".split("e")[1]
    short = next(t for t in (f"{threshold:.{n}e}" for n in range(18)) if float(t) == threshold)
    spellings = {plain, short, f"{short.split('e')[0]}e{digits}"}
    if float(threshold).is_integer() and abs(threshold) < 1e15:
        spellings |= {str(int(threshold)), f"{int(threshold)}.0"}
    if "e-" in plain and threshold >= 1e-9:
        spellings.add(f"{threshold:.12f}".rstrip("0"))
    return "|".join(sorted(s.replace(".", "[.]").replace("+", "[+]") for s in spellings))


def check_query(field: str, query: str, *, plain_selector: bool = False) -> None:
    """Refuse what cannot be bounded: a selector without `$selector`, `@`, `offset`, subqueries, long ranges.

    Args:
        field: for the message, e.g. `ratio.bad`.
        plain_selector: only a vector selector is allowed; rate and sum are added by Trimtab.

    Raises:
        InvalidSpec: names the field, what is wrong and at which character (counted from 1).
    """
    if not any(kind == "here" for kind, _, _ in tokens(query)):
        raise InvalidSpec(field, "it has no $selector, so it would mix both arms", "write metric{$selector,...}")
    if sum(kind != "space" for kind, _, _ in tokens(query)) > MAX_TOKENS:
        raise InvalidSpec(field, f"it has more than {MAX_TOKENS} words and signs", "use a recording rule instead")
    deep = _too_deep(query)
    if deep:
        raise InvalidSpec(field, f"more than {MAX_NESTING} levels deep at character {deep}", "use a recording rule")
    try:
        tree = _tree(query)
    except ValueError as error:
        words = " ".join(str(error).split())[:200]
        problem = f"not PromQL: {words}, at character {_error_at(query, words)}"
        raise InvalidSpec(field, problem, "try it in Prometheus with $selector replaced") from None
    if plain_selector and not isinstance(tree, promql_parser.VectorSelector):
        problem = f"only a vector selector is allowed here, at character {_beyond_selector_at(query)}"
        raise InvalidSpec(field, problem, "remove functions; rate and sum are added")
    if isinstance(tree, promql_parser.MatrixSelector | promql_parser.StringLiteral):
        problem = f"it yields no value but samples or text, at character {_sign_at(query, '[')}"
        raise InvalidSpec(field, problem, "wrap it, for example in rate(...)")
    found = nodes(tree)
    if len(found) > MAX_NODES:
        raise InvalidSpec(field, f"it has more than {MAX_NODES} parts", "use a recording rule instead")
    for node in found:
        _bounded(field, query, node)


def check_matchers(field: str, text: str, *, taken: tuple[str, ...] = ()) -> None:
    """Refuse what is not a list of label matchers, such as `tenant="gold",route=~"/pay.*"`, or what could change whose
    pods are measured.

    Args:
        field: for the message, e.g. `spec.slis[gold].segment`.
        taken: labels that the SLI itself matches on, beside those of the pods.

    Raises:
        InvalidSpec: names the field, what is wrong and at which character (counted from 1).
    """
    listed = [t for t in tokens(text) if t[0] != "space" or t[1].startswith("#")]
    for kind, sign, at in listed:
        if kind in ("space", "here") or (kind == "sign" and sign not in "=!~,"):
            raise InvalidSpec(field, f"{sign[:20]!r} is no part of a matcher, at character {at}", _MATCHERS)
    if not listed or (listed[-1][0], listed[-1][1]) == ("sign", ","):
        raise InvalidSpec(field, f"a matcher is missing, at character {len(text) or 1}", _MATCHERS)
    try:
        tree: Any = promql_parser.parse('{{{}="{}",{}}}'.format(*STAND_IN, text))
    except ValueError as error:
        words = " ".join(str(error).split())[:200]
        raise InvalidSpec(field, f"{words}, at character {_error_at(text, words)}", _MATCHERS) from None
    if tree.matchers.or_matchers:
        problem = f"`or` is not allowed, at character {_word_at(text, 'or')}"
        raise InvalidSpec(field, problem, 'use one matcher with alternatives, like tenant=~"gold|silver"')
    found = [m.name for m in tree.matchers.matchers if m.name != STAND_IN[0]]
    if len(found) > MAX_MATCHERS:
        raise InvalidSpec(field, f"it has {len(found)} matchers, at most {MAX_MATCHERS} are allowed", "leave some out")
    for name in found:
        if name in (*RESERVED, *taken):
            why = "the pods or the buckets" if name in RESERVED else "what this SLI counts"
            problem = f"{name} is used to pick {why} already, at character {_label_at(text, name)}"
            raise InvalidSpec(field, problem, "match on another label")


_MATCHERS = 'write label matchers, comma separated, like tenant="gold"'


@lru_cache(maxsize=512)
def _tree(query: str) -> Any:
    """A person's query with something in place of `$selector`.

    Raises:
        ValueError: it is not PromQL.
    """
    return promql_parser.parse(fill(query, '{}="{}"'.format(*STAND_IN)))


def nodes(tree: Any) -> list[Any]:
    """The nodes of a parsed query, at most one more than `MAX_NODES`: the time of a walk grows with their cube."""
    found: list[Any] = []

    def visit(node: Any) -> bool:
        found.append(node)
        return len(found) <= MAX_NODES

    promql_parser.walk(tree, visit)
    return found


def vector_selectors(query: str) -> tuple[str, ...]:
    """The vector selectors of a person's query, each with `$selector` in place."""
    tree = _tree(query)
    stand_in = re.compile(r'{}\s*=\s*"{}"'.format(*STAND_IN))
    texts = (n.prettify() for n in nodes(tree) if isinstance(n, promql_parser.VectorSelector))
    return tuple(dict.fromkeys(stand_in.sub(lambda _: PLACEHOLDER, " ".join(t.split())) for t in texts))


def label_names(query: str) -> tuple[str, ...]:
    """Labels that a vector selector matches on, without those of `$selector`."""
    tree = _tree(query)
    if not isinstance(tree, promql_parser.VectorSelector):
        return ()
    return tuple(m.name for m in tree.matchers.matchers if m.name != STAND_IN[0])


def adds_up(query: str) -> bool:
    """Whether what a person's query yields grows with the number of pods: a sum or a count over them, not a mean, and
    not one sum divided by another."""
    return _adds_up(_tree(query))


def _adds_up(node: Any) -> bool:
    match node:
        case promql_parser.AggregateExpr():
            return str(node.op) in {"sum", "count"}
        case promql_parser.ParenExpr() | promql_parser.UnaryExpr():
            return _adds_up(node.expr)
        case promql_parser.BinaryExpr() if str(node.op) == "/":
            return _adds_up(node.lhs) and not _adds_up(node.rhs)
        case promql_parser.BinaryExpr():
            return _adds_up(node.lhs) or _adds_up(node.rhs)
        case promql_parser.Call():
            return node.func.name not in _OF_HISTOGRAMS and any(_adds_up(each) for each in node.args)
    return False


_OF_HISTOGRAMS = frozenset({"histogram_quantile", "histogram_fraction", "histogram_avg", "histogram_stddev"})


def _bounded(field: str, query: str, node: Any) -> None:
    if isinstance(node, promql_parser.SubqueryExpr):
        problem = f"a subquery is not bounded, at character {_sign_at(query, ':', inside='[')}"
        raise InvalidSpec(field, problem, "use a recording rule instead")
    if getattr(node, "offset", None) is not None:
        problem = f"offset is not allowed, at character {_word_at(query, 'offset')}"
        raise InvalidSpec(field, problem, "Trimtab asks for absolute windows itself")
    if getattr(node, "at", None) is not None:
        problem = f"@ is not allowed, at character {_sign_at(query, '@')}"
        raise InvalidSpec(field, problem, "Trimtab asks for absolute windows itself")
    if isinstance(node, promql_parser.VectorSelector):
        if node.matchers.or_matchers:
            problem = f"`or` between matchers would mix both arms, at character {_word_at(query, 'or')}"
            raise InvalidSpec(field, problem, "write two selectors")
        if not any((m.name, m.value) == STAND_IN for m in node.matchers.matchers):
            problem = f"{node.name or 'a selector'} has no $selector, so it would mix both arms"
            where = f"at character {_bare_selector_at(query, node.name or '')}"
            raise InvalidSpec(field, f"{problem}, {where}", "write metric{$selector,...} everywhere")
    if isinstance(node, promql_parser.MatrixSelector) and node.range.total_seconds() > MAX_RANGE_SECONDS:
        problem = f"the range {node.range} is too long, at character {_sign_at(query, '[')}"
        raise InvalidSpec(field, problem, "use at most 1h, or a recording rule")


# Positions, by looking at the tokens


def _too_deep(query: str) -> int:
    """Where brackets, or signs in a row, nest too deeply for a parser that recurses; 0 when they do not."""
    depth = signs = 0
    for kind, text, position in tokens(query):
        if kind == "space":
            continue
        depth += (text in "([{") - (text in ")]}") if kind == "sign" else 0
        signs = signs + 1 if text in "+-" else 0
        if max(depth, signs) > MAX_NESTING:
            return position
    return 0


def _word_at(query: str, word: str) -> int:
    return next((at for kind, text, at in tokens(query) if kind == "word" and text.lower() == word), 1)


def _label_at(matchers: str, name: str) -> int:
    return next((at for kind, text, at in tokens(matchers) if kind == "word" and text == name), 1)


def _sign_at(query: str, sign: str, inside: str = "") -> int:
    opened = not inside
    for kind, text, at in tokens(query):
        if kind == "sign" and text == sign and opened:
            return at
        opened = opened or text == inside
    return 1


def _beyond_selector_at(query: str) -> int:
    """Where what is no `metric{...}` begins: a function, or what follows the braces."""
    listed = [t for t in tokens(query) if t[0] != "space"]
    if listed[0][0] == "word" and listed[1:] and listed[1][1] != "{":
        return listed[0][2]
    closed = next((i for i, t in enumerate(listed) if t[1] == "}"), -1)
    rest = listed[closed + 1 :] if listed[0][0] == "word" or listed[0][1] == "{" else listed
    return rest[0][2] if rest else 1


def _bare_selector_at(query: str, name: str) -> int:
    """The first place where this metric stands without $selector in the braces that follow."""
    listed = [t for t in tokens(query) if t[0] != "space"]
    for index, (kind, text, at) in enumerate(listed):
        if kind != "word" or text != name:
            continue
        rest = listed[index + 1 :]
        if not rest or rest[0][1] != "{":
            return at
        braces = rest[: next((i for i, t in enumerate(rest) if t[1] == "}"), len(rest))]
        if all(k != "here" for k, _, _ in braces):
            return at
    return 1


def _error_at(query: str, words: str) -> int:
    """Where a parser's complaint applies: the bracket or quote left open, the name that it quotes, else the end."""
    opened: list[tuple[str, int]] = []
    named = set(re.findall(r"'([^']+)'", words)) | {words.split()[-1]}
    for kind, text, at in tokens(query):
        if kind == "sign" and text in "\"'`":
            return at
        if kind != "space" and (text in named or (kind == "text" and text[1:-1] in named)):
            return at
        if kind == "sign" and text in "([{":
            opened.append((text, at))
        elif kind == "sign" and text in ")]}" and opened:
            opened.pop()
    return opened[-1][1] if opened else len(query)
