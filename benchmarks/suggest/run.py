"""Suggestion time on one core and memory of the fitting worker.

Run with `python benchmarks/suggest/run.py [--quick]`. BLAS gets one thread, as in the worker. Prints p50 and p99 in
milliseconds over different studies with two bounds, and the worker's resident memory with its highest mark (VmHWM);
`--only-memory` leaves the times out. Writes JSON with `--json FILE`.
Times are CPU times (on a free core the same as elapsed time) and the median of three runs of each study, so that other
load on the machine does not decide.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
from pathlib import Path
from time import process_time

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "operator"), str(ROOT)]
os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import numpy as np  # noqa: E402 - after the number of threads is set
from benchmarks.suggest.problem import study  # noqa: E402

from trimtab.adapters.executor import ProcessDesigner  # noqa: E402
from trimtab.domain.trial import Suggestion  # noqa: E402
from trimtab.optimize import designer  # noqa: E402
from trimtab.optimize.worker import warm_up  # noqa: E402

SIZES = ((20, 2), (50, 2), (100, 2), (50, 4), (100, 4), (100, 8), (200, 8))
QUICK_SIZES = ((20, 2), (100, 8))


def timings(rows: int, dimensions: int, repeats: int) -> dict[str, float]:
    """Milliseconds of `suggest` over `repeats` different studies, each the median of three."""
    studies = [study(dimensions, rows, seed) for seed in range(repeats)]
    totals, fits, held = [], [], 0
    for one in studies:
        tries = []
        for _ in range(3):
            started = process_time()
            proposal = designer.suggest(one, process_time)
            tries.append(1000 * (process_time() - started))
        totals.append(statistics.median(tries))
        if isinstance(proposal.answer, Suggestion):
            fits.append(1000 * proposal.answer.fit_seconds)
        else:
            held += 1
    return {
        "rows": rows,
        "d": dimensions,
        "p50": float(np.percentile(totals, 50)),
        "p99": float(np.percentile(totals, 99)),
        "fit_p50": float(np.median(fits)) if fits else float("nan"),
        "held": held,
    }


async def memory() -> dict[str, float]:
    """Resident MiB of the worker at d = 8: after warm-up (idle), after suggestions at 100 rows, after a recommendation,
    and the most that suggestions and a recommendation took above the idle process, at 200 rows and at 200 trials."""
    async with ProcessDesigner() as process:
        found = {"warm": _resident(process.pid)}
        for seed in range(5):
            await process.suggest(study(8, 100, seed))
        found["suggested"] = _resident(process.pid)
        await process.recommend(study(8, 100, 0))
        found["recommended"] = _resident(process.pid)
    for rows in (200, 400):
        async with ProcessDesigner() as process:
            idle = _resident(process.pid)
            for seed in range(3):
                await process.suggest(study(8, rows, seed))
            await process.recommend(study(8, rows, 0))
            found[f"above_idle_{rows}"] = _resident(process.pid, "VmHWM") - idle
    return found


def _resident(pid: int | None, mark: str = "VmRSS") -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(mark))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two sizes, few repeats")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--only-memory", action="store_true", help="no times")
    options = parser.parse_args()
    warm_up()
    sizes, repeats = (QUICK_SIZES, 20) if options.quick else (SIZES, 60)
    print(f"suggestion, one core, two bounds, {repeats} studies each (CPU milliseconds)")
    print("rows   d     p50     p99  fit p50  held")
    rows = [] if options.only_memory else [timings(n, d, repeats) for n, d in sizes]
    for row in rows:
        print(
            f"{row['rows']:4.0f} {row['d']:3.0f} {row['p50']:7.1f} {row['p99']:7.1f} {row['fit_p50']:8.1f} "
            f"{row['held']:5.0f}"
        )
    resident = asyncio.run(memory())
    text = ", ".join(f"{name} {size:.0f}" for name, size in resident.items())
    print(f"worker resident MiB: {text}")
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"suggest": rows, "worker_mib": resident}, indent=1) + "\n")


if __name__ == "__main__":
    main()
