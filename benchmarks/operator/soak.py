"""One operator process, many short trials in real time: does what it holds grow?

`python -m benchmarks.operator.soak [--minutes 20] [--json FILE]` (with PYTHONPATH=operator:hack) starts a control
plane, Prometheus and an operator for the whole cluster, and in each of several namespaces one Experiment after the
other: three trials, an end, a deletion, the next one. Memory, open files, threads and tasks are sampled each second;
the first and the last quarter are compared. That begins when forty Experiments have come and gone: by then the worker
has recommended, and most of what is remembered a bounded number of times, such as texts of queries, is remembered so
often.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.operator.live import ENDED, Live, cluster_stack, phase_of
from benchmarks.operator.meter import Held, Meter
from controlplane import ControlPlane
from stack import OperatorProcess, Stack

PLACES = 5
TRIALS = 3
WARM_UP, WARM_UP_SECONDS = 40, 1800.0  # Experiments, and how long they may take
PERIOD = 1.0
PATIENT = {"TRIMTAB_LEASE_DURATION": "90"}  # nobody takes over here: no busy machine shall end the one that leads


class Line:
    """One namespace, in which one Experiment follows the other."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._name, self._count, self._leaving = "", 0, False
        self.trials: Counter[str] = Counter()

    def look(self, more: bool) -> bool:
        """Take the next step if it is time; `more`: another Experiment may begin. Returns whether one is there."""
        if not self._name:
            if more:
                self._name, self._leaving = f"soak-{self._count}", False
                self._count += 1
                self._live.create(self._name, stopping={"maxTrials": TRIALS})
            return more
        found = self._live.find(self._name)
        if not found:
            self._name = ""
        elif not self._leaving and (found.get("status") or {}).get("phase") in ENDED:
            self.trials.update(phase_of(trial) for trial in self._live.trials(self._name))
            self._live.delete(self._name)
            self._leaving = True
        return True

    @property
    def experiments(self) -> int:
        """How many were begun."""
        return self._count

    @property
    def gone(self) -> int:
        """How many have come and gone."""
        return self._count - (1 if self._name else 0)


def soak(stack: Stack, seconds: float) -> dict[str, Any]:
    """Run for so long; returns the figures."""
    lines = [Line(Live(stack, namespace)) for namespace in stack.options.places]
    begun, pid = time.monotonic(), stack.operator.component.pid
    assert pid is not None

    def ended() -> bool:
        return stack.operator.component.pid != pid

    _steps(lines, WARM_UP_SECONDS, until=lambda: ended() or _gone(lines) >= WARM_UP)
    assert _gone(lines) >= WARM_UP, "the operator ended" if ended() else "too slow to warm up"
    warm = {"experiments": _gone(lines), "minutes": round((time.monotonic() - begun) / 60.0, 1)}
    meter = Meter(pid, PERIOD, lambda: tasks_of(stack.operator))
    _steps(lines, seconds, until=ended)
    meter.stop()
    assert not ended(), "the operator ended meanwhile"
    _steps(lines, 120.0, more=False)
    trials = sum((line.trials for line in lines), Counter[str]())
    return {
        "warmUp": warm,
        "minutes": round(seconds / 60.0, 1),
        "experiments": sum(line.experiments for line in lines),
        "trials": dict(sorted(trials.items())),
        "first": quarter(meter.samples[: len(meter.samples) // 4]),
        "last": quarter(meter.samples[-(len(meter.samples) // 4) :]),
    }


def _steps(
    lines: Sequence[Line], seconds: float, *, more: bool = True, until: Callable[[], bool] | None = None
) -> None:
    """Keep all lines going for so long, or until something holds; without `more`, until none has an Experiment."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        there = [line.look(more) for line in lines]
        if not any(there) or (until is not None and until()):
            return
        time.sleep(0.5)
    assert more, "Experiments did not end"


def _gone(lines: Sequence[Line]) -> int:
    """How many Experiments have come and gone."""
    return sum(line.gone for line in lines)


def quarter(samples: Sequence[Held]) -> dict[str, float]:
    """Medians and the greatest values of a quarter."""
    assert samples, "too short to compare quarters"
    return {
        "operatorMiB": round(statistics.median(s.own for s in samples), 1),
        "operatorMaxMiB": round(max(s.own for s in samples), 1),
        "workerMiB": round(statistics.median(s.children for s in samples), 1),
        "files": statistics.median(s.files for s in samples),
        "threads": statistics.median(s.threads for s in samples),
        "tasks": statistics.median(s.tasks for s in samples),
        "tasksMax": max(s.tasks for s in samples),
    }


def tasks_of(operator: OperatorProcess) -> int:
    """Tasks of its event loops, by its own metric."""
    found = [line.split()[1] for line in operator.get("/metrics").splitlines() if line.startswith("trimtab_tasks ")]
    return int(float(found[0])) if found else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="trimtab-soak-") as folder,
        ControlPlane() as plane,
        cluster_stack(plane, Path(folder), "soak", PLACES, environment=PATIENT) as stack,
    ):
        found = soak(stack, 60.0 * options.minutes)
    print(json.dumps(found, indent=2))
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
