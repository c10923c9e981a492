"""Play many seeds, print a line of progress and every plan that breaks a promise; or see one plan again.

A campaign that was interrupted goes on where it was, as long as the code is the same.

python -m chaos --seeds 10000 --jobs 2 --out build/chaos.json --tables build/chaos.md
python -m chaos --replay build/chaos/failed-113.json
python -m chaos --shrink build/chaos/failed-113.json
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from chaos.parts import Parts, code_digest, played
from trimtab.cli.files import UnreadableFile, read_documents
from trimtab.simulate.campaign import Result, Tally, plan_of_seed, play
from trimtab.simulate.campaign_replay import replay_of
from trimtab.simulate.campaign_tables import as_json, explained, shortfalls, tables
from trimtab.simulate.faults.plan import FaultPlan, InvalidPlan, plan_of
from trimtab.simulate.faults.shrink import shrink

CHUNK = 10
FULL_LENGTH = 10_000
EXIT_BROKEN, EXIT_UNREADABLE = 1, 2


def main() -> int:
    """0: every promise was kept; 1: one was not, or a full campaign shows too little; 2: a file cannot be used."""
    arguments = _arguments()
    try:
        if arguments.replay is not None:
            return _shown(play(_plan(arguments.replay), reap=arguments.reap))
        if arguments.shrink is not None:
            return _shrunk(_plan(arguments.shrink), arguments.reap)
    except (InvalidPlan, UnreadableFile) as error:
        print(f"chaos: {error}", file=sys.stderr)
        return EXIT_UNREADABLE
    return _campaign(arguments)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--first", type=int, default=0, metavar="SEED")
    parser.add_argument("--seeds", type=int, default=FULL_LENGTH, metavar="N")
    parser.add_argument("--jobs", type=int, default=2, metavar="N")
    parser.add_argument("--afresh", action="store_true", help="play also what was played before")
    parser.add_argument("--reap", action="store_true", help="trimtab reap runs each minute beside the operators")
    parser.add_argument("--out", type=Path, default=Path("build/chaos.json"))
    parser.add_argument("--tables", type=Path, default=Path("build/chaos.md"))
    parser.add_argument("--replay", type=Path, metavar="FILE")
    parser.add_argument("--shrink", type=Path, metavar="FILE")
    return parser.parse_args()


def _plan(path: Path) -> FaultPlan:
    documents = read_documents(path)
    if len(documents) != 1:
        raise InvalidPlan(f"{path}: holds {len(documents)} documents; write one plan")
    return plan_of(documents[0].content, str(path))


def _shown(result: Result) -> int:
    print(explained(result) if result.broken else f"every promise was kept; it ended as {result.phase or 'Deleted'}")
    return EXIT_BROKEN if result.broken else 0


def _shrunk(plan: FaultPlan, reap: bool) -> int:
    first = play(plan, reap=reap)
    if not first.broken:
        print("this plan breaks nothing")
        return 0
    kinds = {b.invariant for b in first.breaches}
    short = shrink(plan, lambda candidate: bool(kinds & {b.invariant for b in play(candidate, reap=reap).breaches}))
    return _shown(play(short, reap=reap))


def _campaign(arguments: argparse.Namespace) -> int:
    begun, tally, work = time.monotonic(), Tally(), 0.0
    folder = arguments.out.parent / "chaos"
    folder.mkdir(parents=True, exist_ok=True)
    last = arguments.first + arguments.seeds
    parts: Parts[Tally] = Parts(folder / "parts", code_digest(), afresh=arguments.afresh)
    beside = "reap-" if arguments.reap else ""
    chunks = {f"{beside}{a}-{b}": (a, b, arguments.reap) for a, b in _chunks(arguments.first, last)}
    kept = 0
    for part in played(parts, chunks, _chunk, arguments.jobs):
        tally.merge(part.value)
        work += part.seconds
        kept += part.value.seeds if part.kept else 0
        for result in part.value.broken:
            _keep(result, folder, arguments.reap)
        _progress(tally, arguments.seeds, kept, time.monotonic() - begun)
    seconds = {"seconds": round(time.monotonic() - begun), "processSeconds": round(work), "seedsPlayedBefore": kept}
    report = as_json(tally) | seconds | {"firstSeed": arguments.first}
    arguments.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    arguments.tables.write_text(tables(tally), encoding="utf-8")
    print(f"\n{arguments.out} and {arguments.tables} written")
    short = shortfalls(tally)
    for words in short:
        print(f"{'' if _is_long(tally) else 'not at full length: '}{words}")
    return EXIT_BROKEN if tally.broken or (short and _is_long(tally)) else 0


def _keep(result: Result, folder: Path, reap: bool) -> None:
    """Write a plan that broke a promise, and say how to see it again; `trimtab simulate` has no reap beside it."""
    path = folder / f"failed-{result.plan.seed}.json"
    path.write_text(json.dumps(result.plan.wire(), indent=1), encoding="utf-8")
    print(f"\n{explained(result)}\n  again: python -m chaos {'--reap ' if reap else ''}--replay {path}", flush=True)
    if not reap:
        whole = folder / f"replay-{result.plan.seed}.json"
        whole.write_text(replay_of(result), encoding="utf-8")
        print(f"  or: trimtab simulate --replay {whole}", flush=True)


def _is_long(tally: Tally) -> bool:
    """A short campaign owes nobody every cell."""
    return tally.seeds >= FULL_LENGTH


def _chunks(first: int, last: int) -> Iterator[tuple[int, int]]:
    return ((a, min(a + CHUNK, last)) for a in range(first, last, CHUNK))


def _chunk(part: tuple[int, int, bool]) -> Tally:
    first, last, reap = part
    tally = Tally()
    for seed in range(first, last):
        tally.add(play(plan_of_seed(seed), reap=reap))
    return tally


def _progress(tally: Tally, seeds: int, kept: int, seconds: float) -> None:
    line = f"{tally.seeds}/{seeds} seeds, {sum(tally.strikes.values())} faults, {len(tally.broken)} broken"
    if tally.seeds == kept:
        print(f"\r{line}, all played before   ", end="", flush=True)
        return
    pace = seconds / (tally.seeds - kept)
    left = pace * (seeds - tally.seeds) / 60
    print(f"\r{line}, {pace:.2f} s a seed, {left:.0f} min left   ", end="", flush=True)


if __name__ == "__main__":
    sys.exit(main())
