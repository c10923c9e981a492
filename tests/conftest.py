"""What all tests share."""

from __future__ import annotations

import asyncio

from hypothesis import settings

# Machines are noisy, so no example has a deadline; a failing one prints the blob that reproduces it.
settings.register_profile("trimtab", deadline=None, print_blob=True)
settings.load_profile("trimtab")


def pytest_sessionstart() -> None:
    """A plugin asks for the current event loop in every test, and asyncio makes one that nobody closes: have none."""
    asyncio.set_event_loop(None)
