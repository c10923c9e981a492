"""What a part of the benchmark has to show."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Say = Callable[[str], None]


@dataclass(frozen=True)
class Shown:
    """One part.

    Attributes:
        title: what was tried.
        text: the figures, for people.
        kept: whether all that is promised was forced, measured and kept.
        document: the figures, for JSON.
    """

    title: str
    text: str
    kept: bool
    document: Mapping[str, Any]


def aloud(text: str) -> None:
    """Say it to whoever waits, apart from the figures."""
    print(text, file=sys.stderr, flush=True)
