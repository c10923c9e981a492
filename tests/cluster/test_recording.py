"""Recording rules on a real Prometheus: days of a service, with what happens to one, read with and without them.

The rules are those that `trimtab rules` prints, filled in by promtool as somebody would who installs them late. The
figures of the documentation are those of TRIMTAB_RECORDING_DAYS=30, _PODS=10 and _SCRAPE=30; `pytest -s` prints them.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit.slo.loopback import Stored
from typer.testing import CliRunner

from controlplane import PrometheusServer, backfill, scrape_config
from trimtab.adapters.prometheus import PrometheusTelemetry
from trimtab.api.convert import parse_experiment
from trimtab.cli.app import app
from trimtab.domain.measurement import Sample, Window
from trimtab.domain.spec import ExperimentSpec
from trimtab.ports import PodSet
from trimtab.slo.counters import counters_of
from trimtab.slo.recording import INTERVAL, TOLERANCE, count_query, recent_query, sum_query

DAY = 86400.0
DAYS, PODS, SCRAPE = (
    int(os.environ.get(f"TRIMTAB_RECORDING_{name}", default))
    for name, default in (("DAYS", "6"), ("PODS", "3"), ("SCRAPE", "60"))
)
LONGEST = DAYS - 0.1
END = 1_790_000_100.0  # on a boundary of the rules' intervals
NAMESPACE = "shop"
OF = PodSet(NAMESPACE, ("web",))
TIMEOUT = 60.0


def experiment() -> dict[str, Any]:
    """A budget on errors, and one on slow requests by a histogram."""
    counter = "http_requests_total"
    spec = {
        "targetRef": {"name": "web"},
        "parameters": [
            {"name": "cpu", "container": {"name": "web", "resource": "cpu"}, "quantity": {"min": "250m", "max": 2}}
        ],
        "slis": [
            {
                "name": "errors",
                "ratio": {"bad": f"{counter}{{$selector,code=~'5..'}}", "total": f"{counter}{{$selector}}"},
            },
            {"name": "slow", "latency": {"histogram": "http_request_duration_seconds", "threshold": "0.1"}},
        ],
        "constraints": [{"name": "slow", "sli": "slow", "max": "0.05"}],
        "errorBudgets": [
            {"name": "availability", "sli": "errors", "objectivePercent": "99"},
            {"name": "latency", "sli": "slow", "objectivePercent": "95"},
        ],
    }
    metadata = {"name": "web", "namespace": NAMESPACE}
    return {"apiVersion": "trimtab.dev/v1alpha1", "kind": "Experiment", "metadata": metadata, "spec": spec}


def spec() -> ExperimentSpec:
    return parse_experiment(experiment())


def life(rng: random.Random) -> Iterator[tuple[str, float, float, list[float]]]:
    """(pod, from, to, restarts): a place of the Deployment is filled by other pods over time, some of which restart."""
    start = END - DAYS * DAY
    while start < END:
        stop = min(start + rng.uniform(0.05, 0.4) * DAYS * DAY, END)
        name = f"web-7d9f6c-{''.join(rng.choices('bcdfghjklmnpqrstvwxz2456789', k=5))}"
        yield name, start, stop, sorted(rng.uniform(start, stop) for _ in range(rng.randrange(3)))
        start = stop + 30.0


def series_of(rng: random.Random, pod: str, start: float, stop: float, restarts: list[float]) -> list[Stored]:
    """Requests, failures, and a histogram of one pod: busier by day, with an outage of an hour."""
    first, outage = start + rng.uniform(0.0, SCRAPE), END - 0.45 * DAYS * DAY
    times = [first + SCRAPE * n for n in range(int((stop - start) / SCRAPE) - 1)]
    counts = {"good": 0.0, "bad": 0.0, "fast": 0.0}
    points: dict[str, list[tuple[float, float]]] = {name: [] for name in counts}
    pending = list(restarts)
    for at in times:
        if pending and at > pending[0]:
            pending.pop(0)
            counts = dict.fromkeys(counts, 0.0)
        asked = rng.gauss(1.0, 0.05) * SCRAPE * (12.0 if 8 <= (at / 3600) % 24 < 20 else 5.0)
        failed = asked * (0.4 if outage < at < outage + 3600 else 0.002)
        counts["good"] += round(asked - failed)
        counts["bad"] += round(failed)
        counts["fast"] += round(0.97 * asked)
        for name, count in counts.items():
            points[name].append((round(at, 3), count))
    both = [(t, g + b) for (t, g), (_, b) in zip(points["good"], points["bad"], strict=True)]

    def stored(name: str, values: list[tuple[float, float]], **more: str) -> Stored:
        return Stored(name, tuple(sorted({"namespace": NAMESPACE, "pod": pod, **more}.items())), tuple(values))

    return [
        stored("http_requests_total", points["good"], code="200"),
        stored("http_requests_total", points["bad"], code="500"),
        stored("http_request_duration_seconds_bucket", points["fast"], le="0.1"),
        stored("http_request_duration_seconds_bucket", both, le="+Inf"),
    ]


def write_openmetrics(path: Path) -> int:
    """The past as promtool takes it, series by series; returns the number of samples."""
    rng = random.Random(7)
    listed = [s for _ in range(PODS) for pod in life(rng) for s in series_of(rng, *pod)]
    count = 0
    with path.open("w") as file:
        for each in sorted(listed, key=lambda s: (s.name, s.labels)):
            labels = ",".join(f'{k}="{v}"' for k, v in each.labels)
            file.writelines(f"{each.name}{{{labels}}} {value:g} {at:.3f}\n" for at, value in each.points)
            count += len(each.points)
        file.write("# EOF\n")
    return count


def printed_rules(directory: Path) -> Path:
    """What the command line prints."""
    (directory / "experiment.yaml").write_text(yaml.safe_dump(experiment()))
    done = CliRunner().invoke(app, ["rules", "-f", str(directory / "experiment.yaml")])
    assert done.exit_code == 0, done.output
    (directory / "rules.yaml").write_text(done.stdout)
    return directory / "rules.yaml"


def copied(blocks: Path, to: Path) -> Path:
    """A data directory belongs to one server."""
    for block in blocks.iterdir():
        if (block / "meta.json").is_file():
            shutil.copytree(block, to / block.name)
    return to


@pytest.fixture(scope="module")
def servers(
    built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[PrometheusServer, PrometheusServer]]:
    """(with the raw counters alone, with what the rules recorded besides)."""
    directory = tmp_path_factory.mktemp("recording")
    samples = write_openmetrics(directory / "past.om")
    backfill(directory / "past.om", directory / "raw", promtool=built["promtool"])
    rules = printed_rules(directory)
    with PrometheusServer(
        scrape_config({}), directory / "one", tsdb=directory / "raw", path=built["prometheus"], retention="3650d"
    ) as raw:
        subprocess.run([str(built["promtool"]), "check", "rules", str(rules)], check=True, capture_output=True)
        command = [str(built["promtool"]), "tsdb", "create-blocks-from", "--quiet", "rules", f"--url={raw.url}"]
        span = [f"--start={END - DAYS * DAY:.0f}", f"--end={END:.0f}", f"--output-dir={directory / 'recorded'}"]
        subprocess.run([*command, *span, str(rules)], check=True, capture_output=True)
        both = copied(directory / "raw", copied(directory / "recorded", directory / "both"))
        with PrometheusServer(
            scrape_config({}), directory / "two", tsdb=both, path=built["prometheus"], retention="3650d"
        ) as recorded:
            print(f"\n{samples:,} samples of {DAYS} days")
            yield raw, recorded


async def timed(server: PrometheusServer, name: str, seconds: float) -> tuple[Sample, float]:
    """The events of a window, and the seconds of the fastest of three fresh clients."""
    best, found = float("inf"), None
    for _ in range(3):
        telemetry = PrometheusTelemetry(server.url)
        window = Window(END - seconds, END)
        await telemetry.totals(spec().sli(name), OF, Window(END - 3600, END), timeout=TIMEOUT)  # finds the spelling
        begun = time.perf_counter()
        found = await telemetry.totals(spec().sli(name), OF, window, timeout=TIMEOUT)
        best = min(best, time.perf_counter() - begun)
        telemetry.close()
    assert isinstance(found, Sample), found
    return found, best


@pytest.mark.parametrize("name", ["errors", "slow"])
@pytest.mark.parametrize("days", [1.0, 3.0, LONGEST])
async def test_what_was_recorded_agrees_with_the_counters(
    servers: tuple[PrometheusServer, PrometheusServer], name: str, days: float
) -> None:
    raw, recorded = servers
    (plain, slowly), (summed, quickly) = await timed(raw, name, days * DAY), await timed(recorded, name, days * DAY)
    assert plain.bad is not None
    assert summed.bad is not None
    print(
        f"\n{name} over {days:g} d: {1000 * slowly:.0f} ms raw, {1000 * quickly:.0f} ms recorded; "
        f"total {summed.total / plain.total - 1:+.3%}, bad {summed.bad / plain.bad - 1:+.3%}"
    )
    assert summed != plain  # it was read from what was recorded
    assert summed.total == pytest.approx(plain.total, rel=TOLERANCE)
    assert summed.bad == pytest.approx(plain.bad, rel=TOLERANCE)


def samples_read(server: PrometheusServer, expression: str) -> int:
    """By the server's own count, which no busy machine changes."""
    form = {"query": expression, "time": f"{END:.3f}", "stats": "all"}
    found = json.loads(server.request("POST", "/api/v1/query", form))["data"]["stats"]["samples"]
    return int(found["totalQueryableSamples"])


@pytest.mark.parametrize("name", ["errors", "slow"])
def test_what_was_recorded_costs_a_fraction(servers: tuple[PrometheusServer, PrometheusServer], name: str) -> None:
    """Without rules every sample of every pod is read, with them one for each five minutes."""
    raw, recorded = servers
    [counters] = [c for c in counters_of(spec().sli(name).query, OF) if not c.native]
    seconds = LONGEST * DAY
    plain = sum(
        samples_read(raw, f"sum(increase({selector}[{seconds:.0f}s]))") for selector in (counters.part, counters.total)
    )
    asked = (recent_query(counters), count_query(counters, seconds), sum_query(counters, seconds))
    few = sum(samples_read(recorded, expression) for expression in asked)
    print(f"\n{name} over {LONGEST:g} d of {PODS} pods: {plain:,} samples read raw, {few:,} recorded")
    assert 0 < few <= 4 * (seconds / INTERVAL) + 20
    assert plain > PODS * seconds / SCRAPE
