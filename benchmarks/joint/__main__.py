"""The joint benchmark: tunes each service in each way on each seed, prints tables, writes JSON.

`make bench-joint` is the short form, four seeds; `make bench-joint ARGS=--full` has the twenty that figures are
reported on. What was played by the same code is kept in build/bench/joint, so an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from typing import Any

from benchmarks.joint import principle, report
from benchmarks.joint.measure import Outcome, measured
from benchmarks.joint.services import SERVICES, Service
from chaos.parts import ROOT, Parts, played

OUT = ROOT / "build" / "bench" / "joint"
CODE = ("operator/trimtab", "benchmarks/joint", "examples/scaled-web-service")
FIRST, SHORT, FULL = 100, 4, 20


def main() -> int:
    """Always 0: figures are told, none is promised here."""
    options = _options()
    chosen = [s for s in SERVICES if options.only in s.name]
    seeds = range(FIRST, FIRST + (FULL if options.full else SHORT))
    works: dict[str, tuple[Service, int | None, int]] = {}
    for each in chosen:
        works |= {f"{each.name}-{options.trials}-{seed}": (each, seed, options.trials) for seed in seeds}
    works |= {f"{each.name}-principle": (each, None, 0) for each in chosen}
    outcomes: list[Outcome] = []
    found: dict[str, dict[str, principle.Reached]] = {}
    parts: Parts[Any] = Parts(OUT / "parts", _digest(), afresh=options.afresh)
    for done, part in enumerate(played(parts, works, _play, options.jobs), start=1):
        if isinstance(part.value, dict):
            found |= part.value
        else:
            outcomes += part.value
        print(f"\r{done}/{len(works)} parts   ", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    text = _text(outcomes, {s.name: found[s.name] for s in chosen}, options.trials, len(seeds))
    (OUT / "joint.md").write_text(text, encoding="utf-8")
    (OUT / "joint.json").write_text(json.dumps(report.document(outcomes, found), indent=1) + "\n", encoding="utf-8")
    print(text)
    return 0


def _play(work: tuple[Service, int | None, int]) -> dict[str, dict[str, principle.Reached]] | list[Outcome]:
    service, seed, trials = work
    return {service.name: principle.reachable(service)} if seed is None else measured(service, seed, trials)


def _text(outcomes: list[Outcome], found: report.Principle, trials: int, seeds: int) -> str:
    parts = (
        ("What each order can reach, without noise", report.principle(found)),
        (f"What each way recommended, {trials} trials, {seeds} seeds", report.ways(outcomes, found)),
        ("Joint against one after the other", report.differences(outcomes)),
    )
    return "\n\n".join(f"## {title}\n\n{table}" for title, table in parts) + "\n"


def _digest() -> str:
    """Names the code and the files that play, and the Python that runs them."""
    found = hashlib.sha256(sys.version.encode())
    for folder in CODE:
        for path in sorted(p for p in (ROOT / folder).rglob("*") if p.suffix in {".py", ".yaml"}):
            found.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return found.hexdigest()[:12]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.joint", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--full", action="store_true", help=f"{FULL} seeds instead of {SHORT}")
    parser.add_argument("--only", default="", metavar="WORDS", help="services whose name holds these words")
    parser.add_argument("--trials", type=int, default=24, help="of each study (24)")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--afresh", action="store_true", help="play also what was played before")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
