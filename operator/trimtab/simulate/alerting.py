"""Alerts of a simulated Prometheus: the series `ALERTS` as rules that fire write it, beside all other series."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from trimtab.ports import Clock
from trimtab.simulate.promql import Source
from trimtab.simulate.promql_selector import Selector
from trimtab.simulate.tracks import Track

ALERTS = "ALERTS"
EVALUATION_SECONDS = 15.0
KEPT_SECONDS = 6 * 3600.0


@dataclass(eq=False)
class Firing:
    """One alert from `since` on, until it is over (unix seconds)."""

    name: str
    namespace: str
    since: float
    until: float | None = None

    def track(self, now: float) -> Track:
        """Its series up to now; once it is over the series is gone at once, as Prometheus marks it stale."""
        labels = {"__name__": ALERTS, "alertname": self.name, "alertstate": "firing", "namespace": self.namespace}
        end = now if self.until is None else min(self.until, now)
        count = int((end - self.since) / EVALUATION_SECONDS) + 1
        times = [self.since + EVALUATION_SECONDS * k for k in range(count)]
        found = Track(tuple(sorted((k, v) for k, v in labels.items() if v)), times, [1.0] * count)
        found.ended = self.until
        return found


class Alerts:
    """Implements `promql.Source` over another one, with the alerts that fire in this world."""

    def __init__(self, clock: Clock, others: Source) -> None:
        self._clock, self._others = clock, others
        self._all: list[Firing] = []

    def fire(self, name: str, namespace: str = "") -> Firing:
        """From now on, until `resolve`. Without a namespace it is about the whole cluster."""
        now = self._clock.now()
        self._all = [f for f in self._all if f.until is None or now - f.until < KEPT_SECONDS]
        self._all.append(Firing(name, namespace, now))
        return self._all[-1]

    @property
    def firing(self) -> tuple[Firing, ...]:
        """Those that are not over."""
        return tuple(f for f in self._all if f.until is None)

    def resolve(self, firing: Firing) -> None:
        """It is over."""
        firing.until = self._clock.now()

    def matching(self, selector: Selector) -> Iterable[Track]:
        """Series that match, complete up to now."""
        if selector.name != ALERTS:
            return self._others.matching(selector)
        now = self._clock.now()
        return [track for track in (f.track(now) for f in self._all) if selector.matches(track.labels)]


__all__ = ["Alerts", "Firing"]
