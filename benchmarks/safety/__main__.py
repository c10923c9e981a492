"""The safety benchmark: plays trials through the operator's rules, prints tables, writes JSON.

`make bench-safety` is the short form, minutes on one core; `make bench-safety ARGS=--full` has 2,000 trials in each
cell and 10,000 Experiments under the cap. Parts that were played by the same code are kept in build/bench/safety, so an
interrupted run goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.safety import caps, early, intervals, report
from benchmarks.safety.cells import cells
from benchmarks.safety.measure import Found, measure
from chaos.parts import ROOT, Parts, played

OUT = ROOT / "build" / "bench" / "safety"
CODE = ("operator/trimtab/slo", "operator/trimtab/runtime/caps.py", "operator/trimtab/domain", "benchmarks/safety")
SEED = 1000
CALM = ("equal arms", "equal arms, both worse", "errors at the tolerated ratio")
BAD = ("3 times the errors, ratio named", "5 times the errors, ratio named")


@dataclass(frozen=True)
class Sizes:
    """Trials per cell, of the early ends, readings per kind, Experiments per plan and with an ample cap."""

    trials: int
    early: int
    readings: int
    experiments: int
    ample: int


SHORT, FULL = Sizes(250, 100, 500, 20, 5), Sizes(2000, 2000, 8000, 420, 200)


def main() -> int:
    """0 when every promise of withdrawals and caps was kept, 1 when one was not; coverage counts with --full only, as
    few readings cannot tell it."""
    options = _options()
    sizes = FULL if options.full else SHORT
    begun, found = time.monotonic(), _cells(options, sizes)
    shown = early.measure(sizes.early, SEED)
    covered = intervals.measure(sizes.readings, SEED)
    capped: list[report.Capped] = [
        (plan, [caps.play(plan, SEED + i) for i in range(sizes.ample if plan == caps.AMPLE else sizes.experiments)])
        for plan in (*caps.PLANS, caps.AMPLE)
    ]
    options.out.mkdir(parents=True, exist_ok=True)
    text = _text(found, shown, covered, capped)
    (options.out / "safety.md").write_text(text, encoding="utf-8")
    document = report.document(found, shown, covered, capped)
    (options.out / "safety.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(text)
    print(f"{time.monotonic() - begun:.0f} s; {options.out / 'safety.md'}, safety.json")
    over = any(r.over > 1 for _, runs in capped for r in runs)
    judged: list[Found | early.Shown | intervals.Covered] = [*found, *shown, *(covered if options.full else [])]
    return 1 if over or any(j.verdict == "MISSED" for j in judged) else 0


def _cells(options: argparse.Namespace, sizes: Sizes) -> list[Found]:
    works = {
        f"{number}-{sizes.trials}": (number, sizes.trials)
        for number, cell in enumerate(cells())
        if options.only in cell.name
    }
    parts: Parts[Found] = Parts(OUT / "parts", _digest(), afresh=options.afresh)
    found = []
    for done, part in enumerate(played(parts, works, _play, options.jobs), start=1):
        found.append(part.value)
        print(f"\r{done}/{len(works)} cells   ", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    order = {(c.position.name, c.noise.name): i for i, c in enumerate(cells())}
    return sorted(found, key=lambda f: order[f.position, f.noise])


def _play(work: tuple[int, int]) -> Found:
    number, trials = work
    return measure(cells()[number], trials, SEED + number)


def _text(
    found: list[Found], shown: list[early.Shown], covered: list[intervals.Covered], capped: list[report.Capped]
) -> str:
    parts = (
        ("Withdrawn for nothing", report.withdrawals(found)),
        ("Found", report.soon(found)),
        ("Beside one test at the end and counting failed checks", report.beside(found, CALM, late=False)),
        ("", report.beside(found, BAD, late=True)),
        ("Ended early", report.early(shown)),
        ("Intervals of readings", report.coverage(covered)),
        ("The experiments' share of an error budget", report.caps(capped)),
    )
    body = "\n\n".join(f"## {title}\n\n{text}" if title else text for title, text in parts)
    return f"{body}\n\n{report.versions()}\n"


def _digest() -> str:
    """Names the code that plays, and the Python that runs it."""
    found = hashlib.sha256(sys.version.encode())
    for place in (ROOT / name for name in CODE):
        for path in [place] if place.is_file() else sorted(place.rglob("*.py")):
            found.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return found.hexdigest()[:12]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.safety", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--full", action="store_true", help="2,000 trials in each cell, 10,000 Experiments")
    parser.add_argument("--only", default="", metavar="WORDS", help="cells whose name holds these words")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--afresh", action="store_true", help="play also what was played before")
    parser.add_argument("--out", type=Path, default=OUT)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
