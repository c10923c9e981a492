"""A real Prometheus with a prepared past."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.unit.slo.loopback import Stored

from controlplane import PrometheusServer, backfill, scrape_config


def openmetrics(series: tuple[Stored, ...]) -> str:
    """The text that promtool turns into blocks: metric by metric, each series in the order of time."""
    lines = [
        f"{each.name}{{{labels}}} {value!r} {time:.3f}"
        for each in sorted(series, key=lambda s: (s.name, s.labels))
        for labels in [",".join(f'{k}="{v}"' for k, v in each.labels)]
        for time, value in each.points
    ]
    return "\n".join([*lines, "# EOF", ""])


@contextlib.contextmanager
def with_past(series: tuple[Stored, ...], directory: Path, built: dict[str, Path]) -> Iterator[PrometheusServer]:
    """A Prometheus that holds these series and has nothing to scrape; its files are below `directory`."""
    past = directory / "past.om"
    past.write_text(openmetrics(series))
    backfill(past, directory / "tsdb", promtool=built["promtool"])
    with PrometheusServer(
        scrape_config({}), directory / "prometheus", tsdb=directory / "tsdb", path=built["prometheus"]
    ) as running:
        yield running
