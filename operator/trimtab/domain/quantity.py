"""Kubernetes quantities and Go-style durations, parsed once into plain numbers.

CPU is in cores, memory in bytes; exact decimals, so that a grid point written to a manifest reads back as itself.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from trimtab.domain.errors import InvalidSpec

_SUFFIX = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1),
    "k": Decimal("1e3"), "M": Decimal("1e6"), "G": Decimal("1e9"), "T": Decimal("1e12"),
    "P": Decimal("1e15"), "E": Decimal("1e18"),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30),
    "Ti": Decimal(2**40), "Pi": Decimal(2**50), "Ei": Decimal(2**60),
}  # fmt: skip
_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?)(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?")
GREATEST = 2**63
SHOWN = 40  # characters of a text that a message quotes
_DURATION = re.compile(r"(\d+)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_quantity(text: str, field: str = "quantity") -> Decimal:
    """Read a Kubernetes quantity such as `250m` or `1.5Gi` into cores, bytes or a plain number.

    Raises:
        InvalidSpec: the text is not a quantity.
    """
    match = _QUANTITY.fullmatch(text.strip())
    if not match:
        raise InvalidSpec(field, f"{text[:SHOWN]!r} is not a Kubernetes quantity", "write for example 250m or 512Mi")
    try:
        value = Decimal(match[1]) * _SUFFIX[match[2] or ""]
    except InvalidOperation as error:
        raise InvalidSpec(field, f"{text[:SHOWN]!r} is out of range") from error
    if abs(value) > GREATEST:
        raise InvalidSpec(field, f"{text[:SHOWN]!r} is more than Kubernetes can hold", "write at most 8Ei")
    return value


def format_cpu(cores: Decimal) -> str:
    """Write cores the canonical way: whole cores plain, else millicores (rounded up, never to less)."""
    millicores = (cores * 1000).to_integral_value(rounding="ROUND_CEILING")
    return str(int(millicores) // 1000) if millicores % 1000 == 0 else f"{int(millicores)}m"


def format_memory(size: Decimal) -> str:
    """Write bytes with the largest binary suffix that stays exact."""
    count = int(size.to_integral_value(rounding="ROUND_CEILING"))
    for suffix, factor in (("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10)):
        if count and count % factor == 0:
            return f"{count // factor}{suffix}"
    return str(count)


def parse_duration(text: str, field: str = "duration") -> float:
    """Read a Go-style duration such as `1h30m` into seconds.

    Raises:
        InvalidSpec: not of the form `([0-9]+(ms|s|m|h))+`, or not positive.
    """
    parts = _DURATION.findall(text)
    if not parts or "".join(n + u for n, u in parts) != text:
        raise InvalidSpec(field, f"{text[:SHOWN]!r} is not a duration", "write for example 90s, 10m or 1h30m")
    seconds = sum(int(number) * _SECONDS[unit] for number, unit in parts)
    if seconds <= 0:
        raise InvalidSpec(field, f"{text[:SHOWN]!r} is not positive")
    return seconds


def format_duration(seconds: float) -> str:
    """Write seconds for people: `45s`, `10m`, `1h30m`."""
    total = round(seconds)
    hours, rest = divmod(total, 3600)
    minutes, secs = divmod(rest, 60)
    text = (f"{hours}h" if hours else "") + (f"{minutes}m" if minutes else "") + (f"{secs}s" if secs else "")
    return text or "0s"


def percent(fraction: float) -> str:
    """`9.1 %`, `10 %`."""
    return f"{100 * fraction:.3g} %"


def format_moment(seconds: float) -> str:
    """Write unix seconds for people: `2026-03-01 14:00:05 UTC`."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
