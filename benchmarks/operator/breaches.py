"""Promises about time on a real control plane: breaches, ticks beside fits, a killed leader, a burned budget.

`make bench-breaches`, or `python -m benchmarks.operator.breaches [--breaches 30] [--only PART] [--json FILE]` (with
PYTHONPATH=operator:hack:.), starts one control plane, Prometheus, the workload in several namespaces, and one operator
for all of them. It exits with 1 when a promise was not kept, or could not be tried.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.operator import burn, campaign, reaped, standby, ticks
from benchmarks.operator.breach import GROUND, KINDS, why
from benchmarks.operator.live import Live, cluster_stack, leading
from benchmarks.operator.shown import Shown, aloud
from controlplane import ControlPlane, PlaneOptions, gateway_definitions
from stack import Stack

PLACES = 3
BREACHES = 6 * len(KINDS)
KIND_NAMES = tuple(kind.name for kind in KINDS)
USUAL = ("breaches", "ticks", "standby")


@dataclass(frozen=True)
class Options:
    """What a part may be told."""

    breaches: int = BREACHES
    kinds: tuple[str, ...] = KIND_NAMES
    ticks: int = ticks.ENOUGH
    rounds: int = standby.ROUNDS


def forced(stack: Stack, lives: Sequence[Live], options: Options) -> Shown:
    """Thirty forced breaches."""
    kinds = [kind for kind in KINDS if kind.name in options.kinds]
    with leading(stack, "forced"):
        return campaign.shown(campaign.campaign(lives, campaign.jobs(options.breaches, kinds), aloud))


def late(stack: Stack, lives: Sequence[Live], options: Options) -> Shown:
    """Ticks while four fits run."""
    return ticks.measure(stack, lives, options.ticks, aloud)


def killed(stack: Stack, lives: Sequence[Live], options: Options) -> Shown:
    """A leader that dies."""
    return standby.run(stack, lives[0], options.rounds, aloud)


def orphaned(stack: Stack, lives: Sequence[Live], options: Options) -> Shown:
    """A canary without an operator; four minutes."""
    del options
    return reaped.run(stack, lives[0], aloud)


def burned(stack: Stack, lives: Sequence[Live], options: Options) -> Shown:
    """A budget that burns; twenty minutes."""
    del options
    with leading(stack, "burned"):
        return burn.run(lives, aloud)


PARTS: dict[str, Callable[[Stack, Sequence[Live], Options], Shown]] = {
    "breaches": forced,
    "ticks": late,
    "standby": killed,
    "reap": orphaned,
    "burn": burned,
}


def attempt(part: str, stack: Stack, lives: Sequence[Live], options: Options) -> Shown:
    """One part, whatever the one before has left: no operator runs between two of them."""
    try:
        for live in lives:
            if not campaign.clean(live):
                live.clear()
        return PARTS[part](stack, lives, options)
    except GROUND as error:
        aloud("\n".join(getattr(error, "__notes__", ())))
        return Shown(part, f"NOT FORCED: {why(error)}", False, {"why": str(error)})


def main() -> int:
    """Exit code: 0 when all was kept, 1 when a promise was not, or could not be tried."""
    options = _options()
    told = Options(options.breaches, tuple(options.kind or KIND_NAMES), options.ticks, options.rounds)
    begun, found = time.monotonic(), dict[str, Shown]()
    with (
        tempfile.TemporaryDirectory(prefix="trimtab-breaches-") as folder,
        ControlPlane(options=PlaneOptions(definitions=gateway_definitions())) as plane,
        cluster_stack(plane, Path(folder), "breach", options.places, operator=False) as stack,
    ):
        lives = [Live(stack, namespace) for namespace in stack.options.places]
        for part in options.only or USUAL:
            aloud(f"{part} ...")
            found[part] = attempt(part, stack, lives, told)
            print(f"\n## {found[part].title}\n\n{found[part].text}\n", flush=True)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{machine}; {time.monotonic() - begun:.0f} s")
    if options.json is not None:
        document = {"machine": machine, **{part: {"kept": x.kept, **x.document} for part, x in found.items()}}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    return 0 if all(x.kept for x in found.values()) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.operator.breaches", description=__doc__)
    parser.add_argument("--breaches", type=int, default=BREACHES, help="how many, of each kind in turn")
    parser.add_argument("--kind", choices=KIND_NAMES, action="append", help="only this (may be repeated)")
    parser.add_argument("--ticks", type=int, default=ticks.ENOUGH, help="how many ticks while four fits run")
    parser.add_argument("--rounds", type=int, default=standby.ROUNDS, help="how many leaders are killed")
    parser.add_argument("--places", type=int, default=PLACES, help="namespaces in which Experiments run at once")
    usual = f"this part (may be repeated; {', '.join(USUAL)} by default; reap takes four minutes, burn twenty)"
    parser.add_argument("--only", choices=PARTS, action="append", help=usual)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
