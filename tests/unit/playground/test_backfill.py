"""The past: valid OpenMetrics, few samples, and the rates of the service."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from tests.unit.playground.conftest import EXAMPLE

from playground.__main__ import main, parse_time
from playground.backfill import Past, write_past
from trimtab.workload import Resources, WorkloadSpec, evaluate
from trimtab.workload.past import pod_names, sample_times
from trimtab.workload.units import GIB

END = 1_760_000_000.0


def test_recent_samples_are_dense_and_old_ones_sparse() -> None:
    times = sample_times(END, 30 * 86400.0, 60.0)
    gaps = np.diff(times)
    assert times[-1] == END
    assert np.all(gaps > 0)
    assert gaps[-1] == 60.0
    assert gaps[0] == 1800.0
    assert END - times[0] == pytest.approx(30 * 86400.0, abs=1800.0)
    assert len(times) < 2500
    assert len(sample_times(END, 3600.0, 60.0)) == 60


def test_pod_names_are_what_a_replicaset_makes() -> None:
    names = pod_names("web", 20, 1)
    assert len(set(names)) == 20
    assert len({name.rsplit("-", 1)[0] for name in names}) == 1
    assert all(name.startswith("web-") and len(name) == len("web-") + 10 + 1 + 5 for name in names)
    assert pod_names("web", 20, 1) == names != pod_names("web", 20, 2)


@pytest.mark.thorough
def test_the_file_is_openmetrics_with_the_rates_of_the_service(web: WorkloadSpec, tmp_path: Path) -> None:
    past = Past.of(web, namespace="shop", replicas=20, end=END, days=2.0, seed=5)
    out = tmp_path / "past.om"
    written = write_past(past, out)
    series: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    lines = out.read_text().splitlines()
    assert lines[-1] == "# EOF"
    for line in lines[:-1]:
        if line.startswith("#"):
            assert re.fullmatch(r"# TYPE [a-z_]+ (counter|gauge|histogram)", line)
            continue
        name, text, value, at = re.fullmatch(r"([a-z_]+)\{(.*)\} ([0-9.]+) ([0-9.]+)", line).groups()  # type: ignore[union-attr]
        labels = dict(re.findall(r'([a-z]+)="([^"]*)"', text))
        assert labels["namespace"] == "shop"
        key = labels.get("pod", "") + labels.get("code", labels.get("le", ""))
        series[name, key].append((float(at), float(value)))
    assert sum(len(points) for points in series.values()) == written
    counters = [points for (name, _), points in series.items() if name.endswith(("_total", "_bucket", "_count"))]
    assert all(b[1] >= a[1] for points in counters for a, b in itertools.pairwise(points))
    pod = past.pods[0]
    ok, failed = series["http_requests_total", pod + "200"], series["http_requests_total", pod + "500"]
    total = ok[-1][1] + failed[-1][1]
    assert total == series["http_request_duration_seconds_bucket", pod + "+Inf"][-1][1]
    assert total / (ok[-1][0] - ok[0][0]) == pytest.approx(web.load.requests_per_second / 20, rel=0.2)
    fast = series["http_request_duration_seconds_bucket", pod + "0.1"][-1][1]
    truth = evaluate(web, Resources.equal(2.0, 2 * GIB), 800.0)
    assert 1.0 - fast / total == pytest.approx(truth.slow_fraction(0.1), rel=0.02)
    assert failed[-1][1] / total == pytest.approx(1e-4, rel=0.2)


def test_the_command_writes_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "past.om"
    arguments = ["--replicas", "2", "--days", "0.1", "--end", str(END), "--time-origin", "2026-03-02T14:00"]
    assert main(["backfill", "--workload", str(EXAMPLE), "--out", str(out), *arguments]) == 0
    assert out.read_text().endswith("# EOF\n")
    assert "samples to" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--replicas", "0"], "--replicas: must be at least 1, not 0"),
        (["--replicas", "2", "--step", "60"], "'60' is not a duration with a unit"),
        (["--replicas", "2", "--time-origin", "noon"], "--time-origin: 'noon' is no time"),
    ],
)
def test_wrong_arguments_are_told_in_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["backfill", "--workload", str(EXAMPLE), "--out", str(tmp_path / "x"), *arguments]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"playground: {message}")
    assert told.count("\n") == 1


def test_times_are_utc_unless_they_say_otherwise() -> None:
    assert parse_time("2026-03-02T14:00") == parse_time("2026-03-02T15:00+01:00")
