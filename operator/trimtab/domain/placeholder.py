"""`$selector` in PromQL that people write: where the matchers that pick an arm's pods are put.

The text is read token by token, so that a `$selector` inside a string or a comment is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

PLACEHOLDER = "$selector"
_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)|(?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)|(?P<here>\$selector\b)"""
    r"""|(?P<word>[A-Za-z_][\w:]*)|(?P<number>[0-9.][\w.]*)|(?P<sign>.)""",
    re.DOTALL,
)


def tokens(query: str) -> Iterator[tuple[str, str, int]]:
    """(kind, text, position from 1); kinds are space (comments too), text, here, word, number and sign."""
    for match in _TOKEN.finditer(query):
        yield match.lastgroup or "", match.group(), match.start() + 1


@lru_cache(maxsize=2048)
def fill(query: str, matchers: str) -> str:
    """The query with these matchers where `$selector` stands."""
    return "".join(matchers if kind == "here" else text for kind, text, _ in tokens(query))


def narrowed(query: str, matchers: str) -> str:
    """The query with these matchers beside each `$selector`; itself when there are none."""
    return fill(query, f"{PLACEHOLDER},{matchers}") if matchers else query
