"""The leader is killed in a breach: how long until the standby has taken the canary away, with the default lease."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.operator.breach import FAILURES, SLOW, NotForced, breaking, gone_since, measure, why, withdrawn
from benchmarks.operator.live import Live
from benchmarks.operator.replay import unix_seconds
from benchmarks.operator.shown import Say, Shown
from benchmarks.operator.witness import Witness
from controlplane import wait_for
from stack import OperatorProcess, Stack
from trimtab.runtime.settings import Settings

LIMIT = 60.0
ROUNDS = 3


@dataclass(frozen=True)
class Takeover:
    """One of them; seconds since the leader's death, None with the reason when nothing was measured."""

    name: str
    led: float | None = None
    gone: float | None = None
    why: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.why or f'led after {self.led:.1f} s, gone after {self.gone:.1f} s'}"

    @property
    def row(self) -> dict[str, Any]:
        """For JSON."""
        return {"ledSeconds": self.led, "goneSeconds": self.gone, "limitSeconds": LIMIT, "why": self.why}


class Pair:
    """A leader, and a standby that waits for its turn; use it as a context manager."""

    def __init__(self, stack: Stack) -> None:
        self._stack, self._count = stack, 0
        self.leader = self._next()
        self.leader.start()
        self.standby = self._waiting()

    def _next(self) -> OperatorProcess:
        self._count += 1
        environment = {"TRIMTAB_LEASE_DURATION": f"{Settings.lease_duration:g}"}
        return self._stack.new_operator(f"pair-{self._count}", environment)

    def _waiting(self) -> OperatorProcess:
        made = self._next()
        made.start(ready=False)
        wait_for(lambda: made.get("/readyz"), "the standby to answer", seconds=60.0)
        assert not made.is_leading(), "two operators lead"
        return made

    def take_over(self) -> None:
        """The standby leads, and has a standby of its own."""
        self.standby.wait_leading()
        self.leader, self.standby = self.standby, self._waiting()

    def stop(self) -> None:
        """End both."""
        for operator in (self.standby, self.leader):
            operator.stop()


def run(stack: Stack, live: Live, rounds: int, say: Say) -> Shown:
    """So many deaths, one after the other."""
    pair, found = Pair(stack), list[Takeover]()
    try:
        for number in range(1, rounds + 1):
            found.append(_attempt(pair, live, f"killed-{number}"))
            say(str(found[-1]))
            if found[-1].gone is None:
                say(live.report(found[-1].name))
            if pair.leader.component.pid is None:
                pair.take_over()
            live.remove(found[-1].name)
            live.wait_nothing_left()
    finally:
        pair.stop()
    return shown(found)


def _attempt(pair: Pair, live: Live, name: str) -> Takeover:
    try:
        return _kill(pair, live, name)
    except FAILURES as error:
        return Takeover(name, why=why(error))


def _kill(pair: Pair, live: Live, name: str) -> Takeover:
    with Witness(live.stack.plane, live.namespace) as witness:
        measure(live, SLOW, name)
        with breaking(live, SLOW, name):
            pair.leader.kill()
            died = time.time()
            wait_for(pair.standby.is_leading, "the standby to lead", seconds=2 * LIMIT)
            led = time.time() - died
            trial = withdrawn(live, SLOW, name)
        if unix_seconds(trial["status"]["times"]["draining"]) <= died:
            raise NotForced("the leader had decided before it died")
        live.wait_ended(name)
        live.wait_nothing_left()
        gone = gone_since(witness.changes()) - died
    return Takeover(name, round(led, 2), round(gone, 2))


def shown(found: Sequence[Takeover]) -> Shown:
    """What they came to."""
    gone = [t.gone for t in found if t.gone is not None]
    kept = [seconds for seconds in gone if seconds <= LIMIT]
    lines = [f"{len(kept)} of {len(found)} kept: the canary gone within {LIMIT:g} s of the leader's SIGKILL"]
    if gone:
        led = [t.led for t in found if t.led is not None]
        lines.append(f"gone after {statistics.median(gone):.1f} s (median), {max(gone):.1f} s (max)")
        lines.append(f"the standby led after {statistics.median(led):.1f} s (median), {max(led):.1f} s (max)")
    lines += [f"NOT FORCED, or not withdrawn: {t.name}: {t.why}" for t in found if t.gone is None]
    lines += [f"LATE: {t.name}: {t.gone:.1f} s" for t in found if t.gone is not None and t.gone > LIMIT]
    every = bool(found) and len(kept) == len(found)
    return Shown("the leader killed in a breach", "\n".join(lines), every, {t.name: t.row for t in found})


__all__ = ["ROUNDS", "Pair", "Takeover", "run", "shown"]
