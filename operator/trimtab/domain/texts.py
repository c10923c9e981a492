"""Text that people or tools wrote, as a message may quote it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MOST_SHOWN = 500  # characters
CONTRADICTIONS = (ValueError, TypeError, AttributeError, LookupError)
"""What PyYAML raises, besides its own errors, for a value that contradicts its tag."""


def printable(text: str, most: int = MOST_SHOWN) -> str:
    """One line, without control characters, not too long: nobody's terminal or log is written into."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[: most + 1])
    return plain if len(text) <= most else f"{plain[:most]}…"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was most likely meant, or None."""
    lowered = {name.lower(): name for name in known}
    match = difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.6)
    return lowered[match[0]] if match else None


__all__ = ["CONTRADICTIONS", "nearest", "printable"]
