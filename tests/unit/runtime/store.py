"""A metrics store in virtual time: counters that grow as a test says, scraped at even moments, and down when told so.

Counts are expected values, without noise, so that every figure can be foretold.
"""

# ruff: noqa: ARG002 - it has the signatures of its port

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from trimtab.domain.measurement import Absence, ContainerUse, NoData, Reading, Sample, Stale, TelemetryError, Window
from trimtab.domain.spec import Sli
from trimtab.ports import Clock, PodSet, SliProbe, SliRequest, Steps

FOREVER = math.inf


@dataclass
class Flow:
    """Requests of one workload: `rate` a second from `born` to `died`, of which a fraction is bad.

    `bad` lists (from when on, fraction), ascending; all times are unix seconds.
    """

    rate: float
    born: float
    died: float = FOREVER
    bad: list[tuple[float, float]] = field(default_factory=lambda: [(0.0, 0.0)])

    def turns(self, at: float, fraction: float) -> None:
        """From now on another fraction is bad."""
        self.bad.append((at, fraction))

    def total(self, until: float) -> float:
        """Requests served until then."""
        return self.rate * max(min(until, self.died) - self.born, 0.0)

    def bad_until(self, until: float) -> float:
        """Bad ones among them."""
        end = min(until, self.died)
        ends = [start for start, _ in self.bad[1:]] + [FOREVER]
        spans = ((max(start, self.born), min(stop, end), p) for (start, p), stop in zip(self.bad, ends, strict=True))
        return sum(self.rate * p * max(stop - start, 0.0) for start, stop, p in spans)


@dataclass
class Store:
    """`flows` by workload (the arm's or the target's name). Queries about a workload in `slow` take so many seconds;
    from `down` on (unix seconds) nothing answers until `up`, and nothing is scraped."""

    clock: Clock
    scrape: float = 1.0
    flows: dict[str, Flow] = field(default_factory=dict)
    slow: dict[str, float] = field(default_factory=dict)
    down: float = FOREVER
    up: float = FOREVER
    hidden: set[str] = field(default_factory=set)  # workloads that are not scraped
    asked: list[str] = field(default_factory=list)
    past: Steps = ()  # what the target's pods were asked and failed before
    histories: int = 0  # how often that was asked for

    async def read(self, requests: Sequence[SliRequest], *, timeout: float) -> tuple[Reading, ...]:
        problem = await self._answer([w for r in requests for w in r.pods.workloads], timeout)
        return tuple(problem or self._window(r.pods, r.window, fresh=r.fresh) for r in requests)

    async def usage(
        self, pods: PodSet, window: Window, *, store: str, timeout: float
    ) -> tuple[ContainerUse, ...] | Absence:
        """No cAdvisor."""
        return NoData("no series of cAdvisor")

    async def totals(self, sli: Sli, pods: PodSet, window: Window, *, timeout: float) -> Reading:
        return await self._answer(pods.workloads, timeout) or self._window(pods, window, fresh=False)

    async def history(self, sli: Sli, pods: PodSet, window: Window, step: float, *, timeout: float) -> Steps | Absence:
        problem = await self._answer(pods.workloads, timeout)
        self.histories += 1
        return problem or self.past or NoData("no traffic in the window")

    async def load(self, sli: Sli, pods: PodSet, window: Window, *, timeout: float) -> Reading:
        found = await self.totals(sli, pods, window, timeout=timeout)
        if not isinstance(found, Sample):
            return found
        return Sample(found.total / window.seconds, 0.1, found.total, newest=found.newest)

    async def probe(self, sli: Sli, pods: PodSet, now: float, history: float, *, timeout: float) -> SliProbe:
        return SliProbe(sli.name, scrape_interval=self.scrape)

    async def _answer(self, workloads: Sequence[str], timeout: float) -> TelemetryError | None:
        """Take the time that an answer takes; the error when there is none."""
        self.asked += workloads
        seconds = max((self.slow.get(w, 0.0) for w in workloads), default=0.0)
        if self.down <= self.clock.now() < self.up:
            return TelemetryError("not reachable")
        await self.clock.sleep(min(seconds, timeout))
        return TelemetryError(f"no answer within {timeout:g} s") if seconds > timeout else None

    def _window(self, pods: PodSet, window: Window, *, fresh: bool) -> Reading:
        flows = [self.flows[w] for w in pods.workloads if w in self.flows and w not in self.hidden]
        newest = max((self._scraped(f, window.end) for f in flows), default=-math.inf)
        if newest == -math.inf:
            return Stale("Ready but not scraped", window.seconds) if fresh and pods.live else NoData("no series")
        if fresh and pods.live and window.end - newest > 3 * self.scrape + 1:
            return Stale("the newest sample is old", window.end - newest)
        edges = [(self._scraped(f, window.start), self._scraped(f, window.end), f) for f in flows]
        total = sum(f.total(end) - f.total(start) for start, end, f in edges)
        bad = sum(f.bad_until(end) - f.bad_until(start) for start, end, f in edges)
        if total <= 0:
            return NoData("no traffic in the window", newest)
        error = math.sqrt((bad + 0.5) / (total + 1) / total)
        return Sample(bad / total, error, total, bad, newest=newest)

    def _scraped(self, flow: Flow, until: float) -> float:
        """The last scrape of a workload until then; minus infinity before its first."""
        last = min(until, flow.died)
        at = math.floor(last / self.scrape) * self.scrape
        if self.down <= at < self.up:
            at = math.ceil(self.down / self.scrape - 1) * self.scrape
        return at if at >= flow.born else -math.inf


__all__ = ["Flow", "Store"]
