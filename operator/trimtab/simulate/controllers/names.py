"""Names as the API server makes them: from characters that spell no words."""

from __future__ import annotations

import random
from collections.abc import Callable

ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def random_suffix(seed: int, length: int = 5) -> Callable[[], str]:
    """Five characters for a pod's name, others each time."""
    rng = random.Random(seed)
    return lambda: "".join(rng.choice(ALPHABET) for _ in range(length))


def safe_encoded(number: int, length: int = 10) -> str:
    """A number as characters of such names."""
    found = []
    for _ in range(length):
        number, digit = divmod(number, len(ALPHABET))
        found.append(ALPHABET[digit])
    return "".join(found)


__all__ = ["random_suffix", "safe_encoded"]
