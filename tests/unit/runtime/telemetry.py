"""A telemetry that answers what a test tells it, and remembers what it was asked."""

# ruff: noqa: ARG002 - it has the signatures of its port

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from trimtab.domain.measurement import Absence, AlertSeen, ContainerUse, NoData, Reading, TelemetryError, Window
from trimtab.domain.spec import Sli
from trimtab.ports import PodSet, SliProbe, SliRequest, Steps, UseOf


@dataclass
class Told:
    """`reads`, `sums` and `loads` answer; by default nothing was measured."""

    reads: Callable[[SliRequest], Reading] = lambda _: NoData("not told")
    sums: Callable[[PodSet, Window], Reading] = lambda *_: NoData("not told")
    loads: Callable[[PodSet], Reading] = lambda _: NoData("not told")
    past: Callable[[Window], Steps | Absence] = lambda _: NoData("not told")
    uses: Callable[[Window], tuple[ContainerUse, ...] | Absence] = lambda _: NoData("not told")
    used: Callable[[PodSet, UseOf], Reading] = lambda *_: NoData("not told")
    firing: Callable[[Window], tuple[AlertSeen, ...] | TelemetryError] = lambda _: ()
    asked: list[SliRequest] = field(default_factory=list)

    async def read(self, requests: Sequence[SliRequest], *, timeout: float) -> tuple[Reading, ...]:
        self.asked += requests
        return tuple(self.reads(r) for r in requests)

    async def totals(self, sli: Sli, pods: PodSet, window: Window, *, timeout: float) -> Reading:
        return self.sums(pods, window)

    async def history(self, sli: Sli, pods: PodSet, window: Window, step: float, *, timeout: float) -> Steps | Absence:
        return self.past(window)

    async def load(self, sli: Sli, pods: PodSet, window: Window, *, timeout: float) -> Reading:
        return self.loads(pods)

    async def working_set(self, pods: PodSet, container: str, window: Window, *, store: str, timeout: float) -> Reading:
        return NoData("not told")

    async def usage(
        self, pods: PodSet, window: Window, *, store: str, timeout: float
    ) -> tuple[ContainerUse, ...] | Absence:
        return self.uses(window)

    async def use(self, pods: Sequence[PodSet], of: UseOf, window: Window, *, timeout: float) -> tuple[Reading, ...]:
        return tuple(self.used(each, of) for each in pods)

    async def alerts(
        self, names: Sequence[str], namespace: str, window: Window, *, store: str, timeout: float
    ) -> tuple[AlertSeen, ...] | TelemetryError:
        return self.firing(window) if names else ()

    async def probe(self, sli: Sli, pods: PodSet, now: float, history: float, *, timeout: float) -> SliProbe:
        return SliProbe(sli.name)
