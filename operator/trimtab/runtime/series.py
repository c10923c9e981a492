"""Gauges that say nothing where nothing is known.

A gauge of the client library keeps its last value for ever, and begins at 0. What is true only now, as the state of
canaries in the traffic, is replaced as a whole by each safety tick; what only the leader knows has no sample elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar, cast

from prometheus_client import CollectorRegistry, Gauge, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector

Labels = tuple[str, ...]
M = TypeVar("M", bound=MetricWrapperBase)


def of(metric: M, labels: Labels) -> M:
    """The series of these labels; one that is there is found without the library's checks, a third of whose time it
    takes."""
    found = metric._metrics.get(labels)
    return metric.labels(*labels) if found is None else cast(M, found)


def show(gauge: Gauge, labels: Labels, value: float | None) -> None:
    """Set a gauge, or take its series away: what is not known has no value."""
    if value is not None:
        of(gauge, labels).set(value)
    elif labels in gauge._metrics:
        gauge.remove(*labels)


class Exactly:
    """Gauges that are replaced as a whole; nothing is done while the series are those of the last time."""

    def __init__(self) -> None:
        self._shown: dict[Gauge, Mapping[Labels, float]] = {}

    def show(self, gauge: Gauge, values: Mapping[Labels, float]) -> None:
        """Set these series and remove every other one."""
        if self._shown.get(gauge) == values:
            return
        for labels in gauge._metrics.keys() - values.keys():
            gauge.remove(*labels)
        for labels, value in values.items():
            of(gauge, labels).set(value)
        self._shown[gauge] = dict(values)

    def forget(self) -> None:
        """Somebody else removed series: the next ones are all set anew."""
        self._shown.clear()


def show_of(gauge: Gauge, owner: Labels, values: Mapping[str, float | None]) -> None:
    """Of this owner show these series, by their last label, and remove every other one."""
    gone = {labels[-1] for labels in list(gauge._metrics) if labels[:-1] == owner} - set(values)
    for name, value in {**values, **dict.fromkeys(gone)}.items():
        show(gauge, (*owner, name), value)


class Asked(Collector):
    """A gauge without labels whose source is asked at each scrape; no sample while it answers None."""

    def __init__(self, name: str, text: str, registry: CollectorRegistry) -> None:
        self._name, self._text = name, text
        self.source: Callable[[], float | None] = lambda: None
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """The family, with one sample or none."""
        value = self.source()
        family = GaugeMetricFamily(self._name, self._text)
        if value is not None:
            family.add_metric([], value)
        return [family]


__all__ = ["Asked", "Exactly", "Labels", "of", "show", "show_of"]
