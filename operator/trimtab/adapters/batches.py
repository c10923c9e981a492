"""Many requests at once: those that belong together are asked together, and each answer goes back to its place."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


async def in_groups(
    requests: Sequence[Q], key: Callable[[Q], Hashable], ask: Callable[[list[Q]], Awaitable[Sequence[A]]]
) -> tuple[A, ...]:
    """One answer per request, in order.

    Args:
        key: requests with the same one are asked together.
        ask: answers some requests, in their order.
    """
    groups: dict[Hashable, list[int]] = {}
    for number, request in enumerate(requests):
        groups.setdefault(key(request), []).append(number)
    answers = await asyncio.gather(*(ask([requests[n] for n in numbers]) for numbers in groups.values()))
    found: dict[int, A] = {}
    for numbers, batch in zip(groups.values(), answers, strict=True):
        found.update(zip(numbers, batch, strict=True))
    return tuple(found[n] for n in range(len(requests)))


__all__ = ["in_groups"]
