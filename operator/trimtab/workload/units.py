"""Quantities with explicit units: cores, bytes, seconds.

A workload file must never leave a reader guessing whether `25` is milliseconds or seconds, so every physical
quantity is a string that carries its unit; numbers without one are refused with an example of what to write.
Inside the package only floats in base units exist: cores, bytes, seconds.
"""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import BeforeValidator

_NUMBER: Final = r"(?P<number>[0-9]+(?:\.[0-9]+)?)"
_QUANTITY: Final = re.compile(_NUMBER + r"(?P<unit>[A-Za-z]*)")

_SECONDS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_BYTES: Final = {
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40,
    "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12,
}  # fmt: skip
_KUBERNETES_BYTES: Final = {**_BYTES, "": 1.0, "m": 1e-3}
_CORES: Final = {"m": 1e-3, "": 1.0, "u": 1e-6, "n": 1e-9}

MIB: Final = 2.0**20
GIB: Final = 2.0**30


def _convert(value: object, units: dict[str, float], example: str) -> float:
    """Value in base units; raise ValueError with an example of the right form."""
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if match is None or match["unit"] not in units:
        raise ValueError(f"{value!r} is not {example}")
    return float(match["number"]) * units[match["unit"]]


def parse_seconds(value: object) -> float:
    """Seconds of a duration such as `25ms`, `1.5s`, `2m` or `1h`."""
    return _convert(value, _SECONDS, 'a duration with a unit; write for example "25ms", "1.5s" or "2m"')


def parse_bytes(value: object) -> float:
    """Bytes of a size such as `160Mi` or `2Gi`; the unit is required."""
    return _convert(value, _BYTES, 'a size with a unit; write for example "512Mi" or "2Gi"')


def parse_cores(value: object) -> float:
    """CPU cores of a quantity such as `250m` or `"2"`, as Kubernetes writes it."""
    return _convert(value, _CORES, 'a number of CPU cores as a string; write for example "250m" or "2"')


def parse_kubernetes_bytes(value: object) -> float:
    """Bytes of a memory quantity as the API server stores it: unlike `parse_bytes` a plain number means bytes."""
    return _convert(str(value), _KUBERNETES_BYTES, 'a memory quantity; write for example "512Mi"')


def parse_kubernetes_cores(value: object) -> float:
    """Cores of a CPU quantity as the API server stores it (a JSON number is possible)."""
    return _convert(str(value), _CORES, 'a CPU quantity; write for example "250m"')


Seconds = Annotated[float, BeforeValidator(parse_seconds)]
Bytes = Annotated[float, BeforeValidator(parse_bytes)]
Cores = Annotated[float, BeforeValidator(parse_cores)]
