"""Text that people or tools wrote, as a message may quote it."""

from __future__ import annotations

MOST_SHOWN = 500  # characters
CONTRADICTIONS = (ValueError, TypeError, AttributeError, LookupError)
"""What PyYAML raises, besides its own errors, for a value that contradicts its tag."""


def printable(text: str, most: int = MOST_SHOWN) -> str:
    """One line, without control characters, not too long: nobody's terminal or log is written into."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[: most + 1])
    return plain if len(text) <= most else f"{plain[:most]}…"


__all__ = ["CONTRADICTIONS", "printable"]
