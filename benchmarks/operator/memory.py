"""Resident memory of the operator and its fitting worker while an Experiment runs, as in the demo.

`python -m benchmarks.operator.memory [--quick] [--json FILE]` (with PYTHONPATH=operator:hack) starts a control plane, a
workload with a day of past, Prometheus and the operator, lets it tune with the model, and reads /proc five times a
second. The sum of both processes counts shared libraries twice, so it is an upper bound.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.operator.live import Live, live_stack
from benchmarks.operator.meter import Meter
from controlplane import ControlPlane

NAME = "memory"
REPLICAS, LOAD = 20, 16_000  # the example's own: a small share of the load leaves the model something to explore


def measure(live: Live, trials: int) -> dict[str, Any]:
    """One Experiment of this many search trials, most of them suggested by the model, then a verification."""
    operator = live.operator()
    assert operator.component.pid is not None
    meter = Meter(operator.component.pid)
    search = {"designer": "GaussianProcess", "initialTrials": 5}
    trial = {"warmUp": "2s", "duration": "8s", "deadline": "90s"}
    live.create(NAME, search=search, trial=trial, stopping={"maxTrials": trials}, verification={"replicates": 1})
    ended = live.wait_ended(NAME, 60.0 + 30.0 * trials)
    live.wait_nothing_left()
    meter.stop()
    done = live.trials(NAME)
    return {
        "trials": len(done),
        "byModel": sum(bool((t["spec"].get("suggestion") or {}).get("byModel")) for t in done),
        "message": ended["status"]["message"],
        "operatorMedianMiB": round(statistics.median(held.own for held in meter.samples), 1),
        "workerMedianMiB": round(statistics.median(held.children for held in meter.samples), 1),
        "togetherMedianMiB": round(statistics.median(held.together for held in meter.samples), 1),
        "togetherMaxMiB": round(max(held.together for held in meter.samples), 1),
        "samples": len(meter.samples),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="seven trials instead of twelve")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="trimtab-bench-") as folder,
        ControlPlane() as plane,
        live_stack(plane, Path(folder), "bench", replicas=REPLICAS, load=LOAD) as live,
        live.explained(NAME),
    ):
        found = measure(live, 7 if options.quick else 12)
    print(json.dumps(found, indent=2))
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
