"""All figures that Trimtab promises, in one table: `make bench`, or `python -m benchmarks.run [--quick]`.

Each benchmark is a program of its own and writes its figures to build/bench; this one starts them one after the other,
so that none of them slows another down, and compares the figures with their limits. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "build" / "bench"
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'hack'}:{ROOT}"}


@dataclass(frozen=True)
class Figure:
    """One line of the table: at most `limit`, at least `least`; without both it is shown only."""

    name: str
    value: float
    unit: str
    limit: float | None = None
    least: float | None = None

    @property
    def verdict(self) -> str:
        if self.limit is not None and self.value > self.limit:
            return "OVER"
        if self.least is not None and self.value < self.least:
            return "UNDER"
        return "ok" if self.limit is not None or self.least is not None else ""

    @property
    def promise(self) -> str:
        """The limit as people read it."""
        if self.limit is not None:
            return f"{self.limit:g}"
        return f">= {self.least:g}" if self.least is not None else ""


def suggestion(quick: bool) -> list[Figure]:
    """CPU time of a suggestion, by rows of history and number of parameters."""
    found = _program([str(ROOT / "benchmarks" / "suggest" / "run.py")], "suggest", quick)
    figures = []
    for row in found["suggest"]:
        size = f"{row['rows']} rows, {row['d']} parameters"
        limit = 100.0 if row["rows"] <= 100 else 300.0  # an Experiment of 40 trials has 80 rows
        figures.append(Figure(f"suggestion p50, {size}", row["p50"], "ms"))
        figures.append(Figure(f"suggestion p99, {size}", row["p99"], "ms", limit))
    worker = found["worker_mib"]
    figures.append(Figure("fitting worker after 100 rows, 8 parameters", worker["recommended"], "MiB"))
    for rows in (200, 400):
        name = f"fitting above the idle worker, {rows} rows, 8 parameters"
        figures.append(Figure(name, worker[f"above_idle_{rows}"], "MiB", 150.0))
    return figures


def memory(quick: bool) -> list[Figure]:
    """Resident memory during an Experiment on a real control plane."""
    found = _program(["-m", "benchmarks.operator.memory"], "memory", quick)
    return [
        Figure("operator, resident, median", found["operatorMedianMiB"], "MiB"),
        Figure("fitting worker, resident, median", found["workerMedianMiB"], "MiB"),
        Figure("operator with its worker, median", found["togetherMedianMiB"], "MiB", 350.0),
        Figure("operator with its worker, greatest", found["togetherMaxMiB"], "MiB", 350.0),
    ]


def control_plane(quick: bool) -> list[Figure]:
    """From nothing to a ready API server with working controllers."""
    sys.path[:0] = [str(ROOT / "hack")]
    from controlplane import ControlPlane, binaries

    paths, seconds = binaries(), []
    for _ in range(1 if quick else 3):
        begun = time.monotonic()
        with ControlPlane(paths=paths):
            seconds.append(time.monotonic() - begun)
    return [Figure("control plane start, median", statistics.median(seconds), "s")]


def check(quick: bool) -> list[Figure]:
    """`make check`, warm: lint, types, layers, generated files, fast tests."""
    seconds = []
    for _ in range(1 if quick else 2):
        begun = time.monotonic()
        done = subprocess.run(["make", "--directory", str(ROOT), "check"], capture_output=True, text=True)
        seconds.append(time.monotonic() - begun)
        if done.returncode:
            raise SystemExit(f"make check failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return [Figure("make check, median", statistics.median(seconds), "s", 60.0)]


def latency(_quick: bool) -> list[Figure]:
    """What the cluster tests measured last, if they ran: from the data to no ready canary endpoint."""
    path = ROOT / "build" / "safety-latency.json"
    rows = json.loads(path.read_text()) if path.exists() else {}
    return [
        Figure(f"withdrawal after {name}, from the data", row["secondsFromData"], "s", row["limitSeconds"])
        for name, row in rows.items()
    ]


def demo(_quick: bool, folder: Path = ROOT / "build" / "demo") -> list[Figure]:
    """What `make demo` reached last on each seed that was run."""
    found = (json.loads(path.read_text()) for path in folder.glob("seed-*.json"))
    return [figure for row in sorted(found, key=lambda r: int(r["seed"])) for figure in _of_demo(row)]


def _of_demo(row: dict[str, Any]) -> list[Figure]:
    name, optimum = f"demo, seed {row['seed']}", row["optimumSavingPercent"]
    saved = 0.0 if row["savingPercent"] is None else row["savingPercent"]  # nothing is saved without a recommendation
    share = 100 * row["suggestedByModel"] / max(row["searchTrials"], 1)
    return [
        Figure(f"{name}: saving", saved, "%", least=25.0),
        Figure(f"{name}: of what the optimum saves", 100 * saved / optimum, "%", least=90.0),
        Figure(f"{name}: trials", row["trials"], "", limit=20.0),
        Figure(f"{name}: search trials by the model", share, "%", least=50.0),
        Figure(f"{name}: SLO held at both loads", float(row["sloHeld"]), "", least=1.0),
        Figure(f"{name}: start to end", row["seconds"], "s", limit=300.0),
    ]


def _program(arguments: list[str], name: str, quick: bool) -> dict[str, Any]:
    path = OUT / f"{name}.json"
    path.unlink(missing_ok=True)
    command = [sys.executable, *arguments, "--json", str(path), *(["--quick"] if quick else [])]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return dict(json.loads(path.read_text()))


BENCHMARKS: dict[str, Callable[[bool], list[Figure]]] = {
    "suggest": suggestion,
    "memory": memory,
    "controlplane": control_plane,
    "latency": latency,
    "demo": demo,
    "check": check,
}


def main() -> int:
    """Exit code: 0 when every figure keeps its limit, 1 when one does not."""
    parser = argparse.ArgumentParser(prog="benchmarks.run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer sizes, trials and repeats")
    parser.add_argument("--only", choices=BENCHMARKS, action="append", help="run this one (may be repeated)")
    options = parser.parse_args()
    chosen = options.only or list(BENCHMARKS)
    OUT.mkdir(parents=True, exist_ok=True)
    figures: list[Figure] = []
    for name in chosen:
        print(f"bench: {name} ...", file=sys.stderr, flush=True)
        figures += BENCHMARKS[name](options.quick)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    document = {"machine": machine, "quick": options.quick, "figures": [asdict(f) for f in figures]}
    (OUT / "figures.json").write_text(json.dumps(document, indent=1) + "\n")
    print(table(figures))
    print(f"{machine}{', quick' if options.quick else ''}; build/bench/figures.json")
    return 1 if any(f.verdict in {"OVER", "UNDER"} for f in figures) else 0


def table(figures: list[Figure]) -> str:
    """For a terminal, and for benchmarks/README.md."""
    width = max([len("figure"), *(len(f.name) for f in figures)])
    head = [
        f"| {'figure':{width}} |   value | unit |   limit |       |",
        f"|{'-' * (width + 2)}|--------:|------|--------:|-------|",
    ]
    rows = (f"| {f.name:{width}} | {f.value:7.1f} | {f.unit:4} | {f.promise:>7} | {f.verdict:5} |" for f in figures)
    return "\n".join([*head, *rows])


if __name__ == "__main__":
    sys.exit(main())
