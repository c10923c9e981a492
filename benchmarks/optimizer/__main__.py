"""The safety scenarios: plays methods on drawn services, prints tables, writes JSON and plots.

`make bench-optimizer` is the short form, with ARGS=--full the full one; `make bench-optimizer
ARGS='--scenarios stationary --dims 4 --seeds 100-109 --methods trimtab,greedy'` chooses. Runs that were played by the
same code are kept in build/bench/optimizer, so an interrupted one goes on. Seeds below 100 are for tuning.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path

from benchmarks.optimizer import report
from benchmarks.optimizer.methods import ENTRIES
from benchmarks.optimizer.safety import Run, Where
from benchmarks.optimizer.scenarios import DIMENSIONS, SCENARIOS
from benchmarks.optimizer.works import Work, digest, entries, memory, work
from chaos.parts import ROOT, Parts, played

OUT = ROOT / "build" / "bench" / "optimizer"
HERE = "benchmarks/optimizer"
MODEL = ("operator/trimtab/workload", *(f"{HERE}/{n}.py" for n in ("services", "scenarios", "optimum")))
CODE = (
    *MODEL,
    "operator/trimtab/optimize",
    "operator/trimtab/domain",
    *(f"{HERE}/{n}.py" for n in ("contract", "safety", "box", "recommender")),
    f"{HERE}/methods",
    f"{HERE}/peers",
)
SHORT = {"scenarios": "stationary,diurnal,barely-feasible", "dims": "2,4", "seeds": "100-101"}
FULL = {"scenarios": ",".join(SCENARIOS), "dims": "2,4,8", "seeds": "100-119"}
QUICK = frozenset({"trimtab", "hold", "random", "greedy", "safeopt", "sklearn-ei-box"})
PEER_SEEDS = 5
SCENARIO_NAMES: tuple[str, ...] = SCENARIOS


def main() -> int:
    """0 when every run was played."""
    options = _options()
    known = entries()
    names = options.methods.split(",") if options.methods else [n for n in known if options.full or n in QUICK]
    unknown = [n for n in names if n not in known]
    if unknown:
        print(f"bench-optimizer: --methods: unknown {', '.join(unknown)}; known: {', '.join(known)}", file=sys.stderr)
        return 2
    runs = _play(options, names)
    options.out.mkdir(parents=True, exist_ok=True)
    used = {name: peak for name in names if (peak := memory(_first(name, options))) is not None}
    text = f"{report.tables(runs)}\n{report.memory(used)}\n\n{versions()}\n"
    (options.out / "safety.md").write_text(text, encoding="utf-8")
    rows = report.as_json(runs)
    document = {"versions": versions(), "seeds": options.seeds, "memoryMiB": used, "rows": rows}
    (options.out / "safety.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    written = report.plots(runs, options.out)
    print(text)
    print(f"{options.out / 'safety.md'}, safety.json, {', '.join(path.name for path in written)}")
    return 0


def versions() -> str:
    """What the figures were made with."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "scikit-learn"))
    return f"{platform.machine()}, Python {platform.python_version()}, {libraries}"


def _first(name: str, options: argparse.Namespace) -> Work:
    """The run of which the memory is told: the first scenario and seed, the most parameters."""
    where = Where(options.scenarios.split(",")[0], int(options.dims.split(",")[-1]), _span(options.seeds)[0])
    return Work(name, where, OUT / "optima", digest(*MODEL))


def _play(options: argparse.Namespace, names: list[str]) -> list[Run]:
    model = digest(*MODEL)
    first, last = _span(options.seeds)
    works: dict[str, Work] = {}
    for scenario in options.scenarios.split(","):
        for d in map(int, options.dims.split(",")):
            for seed in range(first, last + 1):
                for name in names:
                    if not (_own(name) or seed < first + PEER_SEEDS or options.methods):
                        continue
                    key = f"{name.replace('/', '_')}-{scenario}-d{d}-{seed}"
                    works[key] = Work(name, Where(scenario, d, seed), OUT / "optima", model)
    parts: Parts[Run] = Parts(OUT / "parts", digest(*CODE), afresh=options.afresh)
    begun, runs = time.monotonic(), []
    for number, part in enumerate(played(parts, works, work, options.jobs), start=1):
        runs.append(part.value)
        print(f"\r{number}/{len(works)} runs, {time.monotonic() - begun:.0f} s   ", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    order = {name: i for i, name in enumerate(names)}
    return sorted(runs, key=lambda r: (r.dimensions, SCENARIO_NAMES.index(r.scenario), order[r.method], r.seed))


def _own(name: str) -> bool:
    return any(entry.name == name for entry in ENTRIES)


def _span(text: str) -> tuple[int, int]:
    low, _, high = text.partition("-")
    return int(low), int(high or low)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.optimizer", description=(__doc__ or "").splitlines()[0])
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--short", action="store_true", help="three scenarios, d = 2 and 4, two seeds (the default)")
    form.add_argument("--full", action="store_true", help="every scenario, d = 2, 4 and 8, seeds 100-119")
    parser.add_argument("--scenarios", metavar="A,B", help=f"some of {', '.join(SCENARIOS)}")
    parser.add_argument("--dims", metavar="2,4", help=f"some of {', '.join(map(str, DIMENSIONS))}")
    parser.add_argument("--seeds", metavar="A-B", help="first and last")
    parser.add_argument("--methods", metavar="A,B")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--afresh", action="store_true", help="play also what was played before")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    for name, value in (FULL if options.full else SHORT).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    bad = [s for s in options.scenarios.split(",") if s not in SCENARIOS]
    if bad:
        parser.error(f"--scenarios: unknown {', '.join(bad)}; give some of {', '.join(SCENARIOS)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
