"""Memory: all hostile examples of a module together leave nothing behind."""

from __future__ import annotations

import gc
import resource
from collections.abc import Iterator

import pytest

MOST_MEBIBYTES = 400


@pytest.fixture(autouse=True, scope="module")
def bounded_memory() -> Iterator[None]:
    """The highest memory of this process grows by less than MOST_MEBIBYTES."""
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < MOST_MEBIBYTES, f"{grown:.0f} MiB more at the highest"
