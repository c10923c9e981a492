"""What campaigns of many short lives share: they are told in parts by several processes, and go on when interrupted."""

from __future__ import annotations

import argparse
import logging
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

import structlog

from benchmarks.simulation.stories import STORIES
from chaos.parts import ROOT, Parts, code_digest, played
from trimtab.simulate.loop import run

BUILD = ROOT / "build" / "chaos"
IN_A_PART = 16  # cases
C = TypeVar("C")


@dataclass
class Told:
    """How many cases were told, and what went wrong in those that failed."""

    cases: int = 0
    failures: list[str] = field(default_factory=list)

    def merge(self, other: Self) -> None:
        """Add another part's."""
        self.cases += other.cases
        self.failures += other.failures

    def __str__(self) -> str:
        return f"{self.cases} cases, {len(self.failures)} failed"


T = TypeVar("T", bound=Told)


def quiet() -> None:
    """Nobody reads the logs of thousands of lives."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def tell(cases: Iterable[C], story: Callable[[C], Any]) -> Told:
    """Tell cases to their ends; an error of one is its failure."""
    quiet()
    found = Told()
    for case in cases:
        found.cases += 1
        try:
            run(story(case))
        except Exception:
            found.failures.append(f"{case}\n{traceback.format_exc()}")
    return found


def in_parts(cases: Iterable[C]) -> dict[str, tuple[C, ...]]:
    """Cases, some to a part, by its name."""
    every = tuple(cases)
    return {f"{at:05}": every[at : at + IN_A_PART] for at in range(0, len(every), IN_A_PART)}


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """The arguments that all have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--story", action="append", choices=[s.name for s in STORIES])
    parser.add_argument("--afresh", action="store_true", help="tell also what was told before by this code")
    return parser


def tell_all(name: str, works: Mapping[str, C], play: Callable[[C], T], jobs: int, *, sum_: T, afresh: bool) -> int:
    """Tell all parts of a campaign; prints failures and progress.

    Args:
        name: of the campaign; two with different works need different names.
        works: what each part is to tell.
        play: tells a part.
        jobs: processes.
        sum_: nothing, to which all parts are added.
        afresh: tell also what was told before.

    Returns:
        The exit code: 1 when a case failed.
    """
    parts: Parts[T] = Parts(BUILD / name, code_digest(), afresh=afresh)
    begun, work, kept = time.monotonic(), 0.0, 0
    for number, part in enumerate(played(parts, works, play, jobs), start=1):
        sum_.merge(part.value)
        work += part.seconds
        kept += part.value.cases if part.kept else 0
        print(*part.value.failures, sep="\n", end="\n" if part.value.failures else "", flush=True)
        print(f"\r{number}/{len(works)} parts, {sum_}, {time.monotonic() - begun:.0f} s   ", end="", flush=True)
    before = f" ({kept} cases told before)" if kept else ""
    print(f"\n{sum_}{before}, {work:.0f} s of one process")
    return 1 if sum_.failures else 0


def named(name: str, stories: Sequence[str] | None, *more: str) -> str:
    """The campaign's name with what it was narrowed to."""
    return "-".join((name, *sorted(stories or ()), *more))


__all__ = ["Told", "in_parts", "named", "parser_of", "quiet", "tell", "tell_all"]
