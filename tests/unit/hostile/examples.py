"""Hostile examples: what a person, a tool or an attacker may write, and how much time and memory reading it may take.

TRIMTAB_HOSTILE_EXAMPLES sets how many examples all properties together try: 2,000 by default, 100,000 nightly.
"""

from __future__ import annotations

import contextlib
import copy
import datetime
import gc
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = int(os.environ.get("TRIMTAB_HOSTILE_EXAMPLES", "2000"))
CPU_SECONDS = 2.0
"""Of one example: a hundred times what a sane one takes, and far from what an expansion or a backtracking takes."""
LONGEST_LINE = 20_000
"""Characters of a message: it may quote what was written, not multiply it."""

NASTY = (
    "", " ", "\t", "\x00", "\n", "a\nb", "-", "--", ".", "..", "/", "\\", "'", '"', "`", "$", "${x}", "$(reboot)",
    "%s", "%n", "{}", "{{x}}", "<script>", "../../etc/passwd", "null", "~", "true", "no", "off", "1e9", "1e999",
    "-1", "-0", "+1", "0x10", "0b1", "1_000", "1:30", "NaN", ".nan", "Infinity", "-inf", "9" * 30, "9" * 5000,
    "1e-400", "0." + "0" * 400 + "1", "1" + "0" * 400, "250m", "2Gi", "1.5.5", "1Gim", "١٢٣", "１２３", "Ⅷ", "①",
    "a" * 64, "a" * 254, "a" * 20_000, "é", "e\u0301", "\u202egnp.exe", "\u200b", "\ufeff", "\ud800", "\U0001f600",
    "İ", "ß", "ﬁ", "(" * 500, "[" * 5000, "(a+)+$", "a{1,99999}", "[[:alpha:]]", "(?i)x", ".*", "x{$selector}",
    "$selector", "sum(", 'a{b=~"(.*)*"}', "2026-01-01", "2026-99-99", "2026-01-01T00:00:00Z", "720h", "9999999999h",
    "1d", "90s", "0s", "-5m", "1h30m5", "1ms", "trimtab.dev/pause", "trimtab.dev/", "kubernetes.io/x",
    "!!python/object/apply:os.system ['x']", "&a [*a]", "<<",
)  # fmt: skip


def one_of(values: Sequence[Any]) -> st.SearchStrategy[Any]:
    """One of these; unlike `sampled_from` it never writes them all out."""
    return st.integers(0, len(values) - 1).map(lambda index: values[index])


texts = st.one_of(one_of(NASTY), st.text(max_size=40))
numbers = st.one_of(
    st.integers(-(2**70), 2**70), one_of([0, -1, 2**31, 2**53, 2**63, 10**400]), st.floats(), st.booleans()
)
scalars = st.one_of(st.none(), texts, numbers, st.dates(), st.just(datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)))
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=8,
)
deep = one_of((10, 60)).map(lambda depth: nested(depth))
hostile = st.one_of(anything, scalars, deep)


def of_budget(share: float) -> Callable[[Any], Any]:
    """Settings of a property that gets this share of all examples."""
    return settings(
        max_examples=max(1, round(EXAMPLES * share)),
        deadline=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """What happens inside takes little time of this process, however busy the machine is. The garbage of a hundred
    thousand examples is collected in between: a look through all of it takes seconds."""
    gc.disable()
    begun = time.process_time()
    try:
        yield
        taken = time.process_time() - begun
    finally:
        gc.enable()
    assert taken < CPU_SECONDS, f"took {taken:.1f} s of CPU time"


def one_line(text: str, *parts: str) -> None:
    """A message that a person can read, and that says all of this."""
    assert text.strip()
    assert all(part in text for part in parts), text
    assert "\n" not in text
    assert len(text) <= LONGEST_LINE, f"{len(text)} characters"


def example(name: str) -> dict[str, Any]:
    """A good manifest."""
    found: dict[str, Any] = yaml.safe_load((ROOT / "examples" / name).read_text(encoding="utf-8"))
    return found


def mutated(document: Any, values: st.SearchStrategy[Any] = hostile) -> st.SearchStrategy[Any]:
    """A good document with one to three places made hostile: replaced, removed, added or repeated."""
    return st.lists(st.tuples(st.integers(0, 10**6), one_of(_CHANGES), texts, values), min_size=1, max_size=3).map(
        lambda changes: _applied(document, changes)
    )


def nested(depth: int) -> Any:
    """Lists and objects within each other."""
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


def _places(value: Any, depth: int = 12) -> list[tuple[Any, Any]]:
    """(container, key) of every value inside."""
    if depth == 0 or not isinstance(value, dict | list):
        return []
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    return [place for key in keys for place in ((value, key), *_places(value[key], depth - 1))]


def _replace(container: Any, key: Any, text: str, value: Any) -> None:
    container[key] = value


def _remove(container: Any, key: Any, text: str, value: Any) -> None:
    del container[key]


def _add(container: Any, key: Any, text: str, value: Any) -> None:
    if isinstance(container, dict):
        container[text] = value
    else:
        container.append(value)


def _repeat(container: Any, key: Any, text: str, value: Any) -> None:
    if isinstance(container, list):
        container.extend(copy.deepcopy(container[key]) for _ in range(20))
    else:
        container[text] = copy.deepcopy(container[key])


_CHANGES = (_replace, _replace, _replace, _remove, _add, _repeat)


def _applied(document: Any, changes: list[tuple[int, Callable[..., None], str, Any]]) -> Any:
    changed = copy.deepcopy(document)
    for number, change, text, value in changes:
        places = _places(changed)[:2000]
        if places:
            container, key = places[number % len(places)]
            change(container, key, text, value)
    return changed
