"""kube-state-metrics of a simulated cluster: replicas of Deployments and autoscalers, as a store has scraped them.

Changes are noted when they happen and sampled when somebody asks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from trimtab.domain import kinds
from trimtab.ports import Clock
from trimtab.simulate.cluster import InMemoryCluster, WatchEvent
from trimtab.simulate.promql import Source
from trimtab.simulate.promql_selector import Selector
from trimtab.simulate.tracks import Track
from trimtab.workload.kubestate import NAMES, of_autoscaler, of_deployment

KEPT_SECONDS = 26 * 3600.0
"""How far back it is known: a day, and what a rate needs before it."""
TOLD = {
    kinds.DEPLOYMENTS: ("deployment", of_deployment),
    kinds.HORIZONTAL_POD_AUTOSCALERS: ("horizontalpodautoscaler", of_autoscaler),
}
Key = tuple[str, str, str]
"""Name of the series, namespace and name of the object."""


@dataclass
class _Gauge:
    """One series; `changes` are those since the last sample, (unix seconds, value)."""

    track: Track
    changes: list[tuple[float, int]] = field(default_factory=list)
    value: int | None = None

    def sample(self, now: float, interval: float) -> None:
        """Up to now, at each multiple of the interval."""
        times, values = self.track.times, self.track.values
        if not times and not self.changes:
            return
        end = now if self.track.ended is None else min(now, self.track.ended)
        due = times[-1] + interval if times else math.ceil(self.changes[0][0] / interval) * interval
        place = 0
        while due <= end:
            while place < len(self.changes) and self.changes[place][0] <= due:
                self.value = self.changes[place][1]
                place += 1
            times.append(due)
            values.append(float(self.value or 0))
            due += interval
        del self.changes[:place]
        if len(times) > 2 * KEPT_SECONDS / interval:
            drop = int(len(times) - KEPT_SECONDS / interval)
            del times[:drop], values[:drop]


class KubeState:
    """Implements `promql.Source` over another one. `interval` is that of scrapes, in seconds."""

    def __init__(self, cluster: InMemoryCluster, clock: Clock, others: Source, interval: float) -> None:
        self._clock, self._others, self._interval = clock, others, interval
        self._gauges: dict[Key, list[_Gauge]] = {}
        cluster.subscribe(self.changed, TOLD)

    def changed(self, event: WatchEvent) -> None:
        """A Deployment or an autoscaler changed."""
        label, counts = TOLD[event.kind]
        metadata, now = event.object["metadata"], self._clock.now()
        namespace, name = metadata["namespace"], metadata["name"]
        for series, value in counts(event.object).items():
            gauges = self._gauges.setdefault((series, namespace, name), [])
            if not gauges or gauges[-1].track.ended is not None:
                labels = {"__name__": series, "namespace": namespace, label: name}
                gauges.append(_Gauge(Track(tuple(sorted(labels.items())), [], [])))
            gauge = gauges[-1]
            if event.type == "DELETED":
                gauge.track.ended = now
            elif not gauge.changes or gauge.changes[-1][1] != value:
                gauge.changes.append((now, value))
        if event.type == "DELETED":
            self._forget(now)

    def _forget(self, now: float) -> None:
        def known(gauge: _Gauge) -> bool:
            return gauge.track.ended is None or now - gauge.track.ended < KEPT_SECONDS

        kept = {key: [g for g in gauges if known(g)] for key, gauges in self._gauges.items()}
        self._gauges = {key: gauges for key, gauges in kept.items() if gauges}

    def matching(self, selector: Selector) -> Iterable[Track]:
        """Series that match, complete up to now."""
        return self._own(selector) if selector.name in NAMES else self._others.matching(selector)

    def _own(self, selector: Selector) -> Iterator[Track]:
        now = self._clock.now()
        for (series, _, _), gauges in self._gauges.items():
            for gauge in gauges if series == selector.name else ():
                gauge.sample(now, self._interval)
                if gauge.track.times and selector.matches(gauge.track.labels):
                    yield gauge.track


__all__ = ["KubeState"]
