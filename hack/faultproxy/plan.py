"""What goes wrong, drawn from a seed: for each kind of request a deck of its own.

A deck deals every fault once before it deals one again, with a fixed share of requests in between that go well. So
no request fails for ever, and the order for one kind of request does not depend on how many of other kinds fall in
between. The first write of each kind fails, the first kind with one fault, the next with another: whatever is written
at all meets a fault, and some kind of write meets each.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from faultproxy.asked import Asked

T = TypeVar("T")


class Fault(StrEnum):
    """What happens to one request."""

    CONFLICT = "409 Conflict"
    """Somebody else wrote in between (on create: to the quota that the object counts in)."""
    THROTTLED = "429 with Retry-After"
    BROKEN = "5xx"
    """An error of the server, or of a load balancer that answers in HTML."""
    CUT_BEFORE = "cut, nothing was done"
    CUT_AFTER = "cut, but it was done"
    SILENT_AFTER = "no answer, but it was done"


class WatchFault(StrEnum):
    """How a watch ends, after some events or seconds; `REPEATED` shows every event twice and old ones again."""

    CLOSED = "watch closed"
    CUT = "watch cut"
    GONE = "watch 410 Gone"
    REPEATED = "watch events repeated"
    REFUSED = "watch refused"


READ_FAULTS = (Fault.THROTTLED, Fault.BROKEN, Fault.CUT_BEFORE)
QUICK_FAULTS = tuple(fault for fault in Fault if fault is not Fault.SILENT_AFTER)


@dataclass(frozen=True)
class Rates:
    """How many requests go well between two that do not. `often_silent`: not only the first of some kinds of writes is
    never answered, but also later ones, and reads; each costs its client the whole time-out."""

    writes: int = 2
    leases: int = 9
    reads: int = 60
    often_silent: bool = False
    events_of_watch: int = 8
    seconds_of_watch: float = 6.0


class Deck(Generic[T]):
    """Deals cards in a seeded order, one in each block of `blanks` + 1; `first` is dealt at once."""

    def __init__(self, seed: str, cards: Sequence[T], blanks: int, first: T | None = None) -> None:
        self._rng = random.Random(seed)
        self._cards, self._blanks = tuple(cards), blanks
        self._coming: list[T] = []
        self._block: list[T | None] = []
        if first is not None:
            self._coming = [card for card in self._rng.sample(self._cards, len(self._cards)) if card != first]
            self._block = [*([None] * blanks), first]

    def draw(self) -> T | None:
        """The next card, None for a blank."""
        if not self._block:
            if not self._coming:
                self._coming = self._rng.sample(self._cards, len(self._cards))
            self._block = [self._coming.pop(), *([None] * self._blanks)]
            self._rng.shuffle(self._block)
        return self._block.pop()


@dataclass(frozen=True)
class WatchLife:
    """How one watch goes: its fault, after so many events or seconds, whatever comes first."""

    fault: WatchFault
    events: int
    seconds: float


class Plan:
    """All decks of one seed.

    Args:
        seed: the same one deals the same faults to the n-th request of each kind.
        rates: how often.
    """

    def __init__(self, seed: int, rates: Rates = Rates()) -> None:
        self.seed, self.rates = seed, rates
        self._decks: dict[str, Deck[Fault]] = {}
        self._writes = 0
        self._watches: dict[str, Deck[WatchFault]] = {}
        self._rng = random.Random(f"{seed}/how")

    def request(self, asked: Asked) -> Fault | None:
        """What happens to this request; None: it goes well."""
        name = str(asked)
        if name not in self._decks:
            self._decks[name] = self._write_deck(asked) if asked.writes else self._read_deck(name)
        return self._decks[name].draw()

    def watch(self, asked: Asked) -> WatchLife:
        """How this watch goes."""
        deck = self._watches.setdefault(asked.resource, Deck(f"{self.seed}/{asked}", tuple(WatchFault), 0))
        fault = deck.draw()
        assert fault is not None
        events = self._rng.randint(1, self.rates.events_of_watch)
        return WatchLife(fault, events, self._rng.uniform(0.5, self.rates.seconds_of_watch))

    def error_code(self) -> int:
        """Which error of the 5xx."""
        return self._rng.choice((500, 502, 503, 504))

    def _write_deck(self, asked: Asked) -> Deck[Fault]:
        first = tuple(Fault)[(self.seed + self._writes) % len(Fault)]
        self._writes += 1
        faults = tuple(Fault) if self.rates.often_silent else QUICK_FAULTS
        blanks = self.rates.leases if asked.resource == "leases" else self.rates.writes
        return Deck(f"{self.seed}/{asked}", faults, blanks, first)

    def _read_deck(self, name: str) -> Deck[Fault]:
        faults = (*READ_FAULTS, Fault.SILENT_AFTER) if self.rates.often_silent else READ_FAULTS
        return Deck(f"{self.seed}/{name}", faults, self.rates.reads)
