"""What all tests share."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from hypothesis import settings

# Machines are noisy, so no example has a deadline; a failing one prints the blob that reproduces it.
settings.register_profile("trimtab", deadline=None, print_blob=True)
settings.load_profile("trimtab")


@pytest.fixture(scope="session", autouse=True)
def no_stray_event_loop() -> None:
    """A plugin asks for the current event loop in every test, and asyncio makes one that nobody closes: close it."""
    with contextlib.suppress(RuntimeError):  # raised when there is none and none is made
        asyncio.get_event_loop_policy().get_event_loop().close()
    asyncio.set_event_loop(None)
