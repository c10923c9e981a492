"""Thousands of trials in virtual time: does anything of the operator, or of the simulation, grow?

`python -m benchmarks.simulation.soak [--experiments 250] [--trials 20] [--json FILE]` (with PYTHONPATH=operator:hack)
runs Experiments on several services at once, one after the other on each, under one operator that never restarts. What
is reported are resident memory, open files, tasks of the event loop and objects of Python in the first and in the last
quarter of the trials.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import structlog
import yaml

from benchmarks.operator.live import REPLICAS, experiment
from stack.paths import EXAMPLES
from trimtab.domain import kinds
from trimtab.simulate.loop import run
from trimtab.simulate.traffic import Scraping
from trimtab.simulate.world import Options, Setting, World
from trimtab.workload import WorkloadSpec, parse_workload

AT_ONCE = 5
HISTORY = 200
MIB = 1024.0 * 1024.0
LOAD = 1000.0  # requests per second for each replica
QUARTERS = 4
PATIENCE_SECONDS = 120.0  # for one trial of some seconds, with everything around it


@dataclass(frozen=True)
class Sample:
    """What was in use when an Experiment had ended and was deleted."""

    trials: int
    resident_mib: float
    open_files: int
    tasks: int
    objects: int


@dataclass
class Report:
    """All samples, and what they say. Shapes: one sample per Experiment."""

    seconds: float = 0.0
    virtual_seconds: float = 0.0
    samples: list[Sample] = field(default_factory=list)

    @property
    def trials(self) -> int:
        """Trials that ended."""
        return self.samples[-1].trials if self.samples else 0

    def quarter(self, which: int) -> list[Sample]:
        """The samples of one quarter of the trials: 0 is the first."""
        low, high = (self.trials * n / QUARTERS for n in (which, which + 1))
        return [s for s in self.samples if low < s.trials <= high]

    def growth(self, name: str) -> tuple[float, float]:
        """Medians of a field in the first and in the last quarter."""
        first, last = (statistics.median(getattr(s, name) for s in self.quarter(n)) for n in (0, QUARTERS - 1))
        return first, last


def workload() -> WorkloadSpec:
    """The example's, for a few pods and calm, so that a trial is quick."""
    spec = yaml.safe_load((EXAMPLES / "web-service" / "workload.yaml").read_text())
    spec["load"], spec["noise"] = {"requestsPerSecond": LOAD * REPLICAS}, {}
    return parse_workload(yaml.safe_dump(spec))


def manifests() -> tuple[dict[str, Any], ...]:
    """The example's Deployment, smaller, and its Service."""
    found = tuple(yaml.safe_load_all((EXAMPLES / "web-service" / "deployment.yaml").read_text()))
    found[0]["spec"]["replicas"] = REPLICAS
    return found


async def soak(experiments: int, trials: int, seed: int = 1) -> Report:
    """So many Experiments of so many trials each.

    Raises:
        AssertionError: one of them did not end, or something failed.
    """
    service, objects = workload(), manifests()
    at_once = min(AT_ONCE, experiments)
    settings = [Setting(service, objects, f"shop-{n}") for n in range(at_once)]
    options = Options(seed=seed, scraping=Scraping(interval=1.0, past_days=2.0), history=HISTORY)
    world, report, begun = await World.build(settings, options), Report(), time.process_time()
    world.start()
    numbers = iter(range(experiments))
    await asyncio.gather(*(_one_service(world, report, s.namespace, numbers, trials) for s in settings))
    await world.close()
    world.check()
    report.seconds, report.virtual_seconds = time.process_time() - begun, world.clock.monotonic()
    return report


async def _one_service(world: World, report: Report, namespace: str, numbers: Iterator[int], trials: int) -> None:
    for number in numbers:
        name = f"soak-{number}"
        manifest = experiment(
            name,
            namespace,
            search={"designer": "Sobol", "initialTrials": 2, "seed": number},
            stopping={"maxTrials": trials, "maxDuration": "720h"},
        )
        world.admin.apply(manifest, namespace)
        ended = await world.until(world.ended(name, namespace), seconds=trials * PATIENCE_SECONDS)
        assert ended, f"{name} did not end: {(world.experiment(name, namespace) or {}).get('status')}"
        done = len(world.trials(name, namespace))
        world.admin.delete(kinds.EXPERIMENTS, namespace, name)
        await world.until(lambda n=name: not world.trials(n, namespace), seconds=PATIENCE_SECONDS)  # type: ignore[misc]
        report.samples.append(_sample(report.trials + done))


def _sample(trials: int) -> Sample:
    gc.collect()
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MIB
    files = len(os.listdir("/proc/self/fd"))
    return Sample(trials, resident, files, len(asyncio.all_tasks()), len(gc.get_objects()))


def main() -> None:
    """Run, print a table, and write the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=250)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    report = run(soak(args.experiments, args.trials, args.seed))
    print(f"{report.trials} trials of {len(report.samples)} Experiments in {report.seconds:.0f} s of CPU,")
    print(f"{report.virtual_seconds / 3600:.1f} hours of virtual time")
    figures = {name: report.growth(name) for name in ("resident_mib", "open_files", "tasks", "objects")}
    for name, (first, last) in figures.items():
        print(f"{name:14} first quarter {first:10.1f}   last quarter {last:10.1f}")
    if args.json is not None:
        args.json.write_text(json.dumps({"growth": figures, **asdict(report)}, indent=1))


if __name__ == "__main__":
    main()
