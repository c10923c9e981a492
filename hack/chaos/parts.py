"""A long campaign in parts, each kept on disk as soon as it is played: one that is interrupted goes on where it was.

Parts are kept for exactly the code and the Python that played them. Another version begins anew, in a folder of its
own, so figures of two versions are never added up.
"""

from __future__ import annotations

import hashlib
import pickle
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

W = TypeVar("W")
R = TypeVar("R")

ROOT = Path(__file__).parents[2]
CODE = ("operator/trimtab", "hack/chaos", "benchmarks/simulation")


@dataclass(frozen=True)
class Part(Generic[R]):
    """What a part came to, and the seconds of one process that it took; `kept` when it was played before."""

    value: R
    seconds: float
    kept: bool = False


def code_digest(root: Path = ROOT) -> str:
    """Names the code of campaigns, and the Python that runs it."""
    found = hashlib.sha256(sys.version.encode())
    for folder in CODE:
        for path in sorted((root / folder).rglob("*.py")):
            found.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return found.hexdigest()[:12]


class Parts(Generic[R]):
    """The parts of one campaign that were played.

    Args:
        folder: of all versions' parts.
        version: whose these are.
        afresh: forget what this version has played.
    """

    def __init__(self, folder: Path, version: str, *, afresh: bool = False) -> None:
        self._folder = folder / version
        self._folder.mkdir(parents=True, exist_ok=True)
        if afresh:
            for path in self._folder.glob("*.pickle"):
                path.unlink()

    def find(self, name: str) -> Part[R] | None:
        """A part that was played; None when there is none, or half of one."""
        try:
            value, seconds = pickle.loads(self._path(name).read_bytes())
        except (OSError, EOFError, ValueError, TypeError, AttributeError, ImportError, pickle.UnpicklingError):
            return None
        return Part(value, seconds, kept=True)

    def keep(self, name: str, part: Part[R]) -> None:
        """Keep a part, whole or not at all."""
        path = self._path(name)
        half = path.with_suffix(".half")
        half.write_bytes(pickle.dumps((part.value, part.seconds)))
        half.replace(path)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.pickle"


def played(parts: Parts[R], works: Mapping[str, W], play: Callable[[W], R], jobs: int) -> Iterator[Part[R]]:
    """All parts of a campaign: first those that are kept, then the others as they are played, by so many processes.

    Args:
        parts: what is kept.
        works: what to play, by the part's name.
        play: plays one part; must be picklable, and so must its answer.
        jobs: processes; one: this one.
    """
    due = {}
    for name, work in works.items():
        found = parts.find(name)
        if found is None:
            due[name] = work
        else:
            yield found
    for name, part in _fresh(due, play, jobs):
        parts.keep(name, part)
        yield part


def _fresh(due: Mapping[str, W], play: Callable[[W], R], jobs: int) -> Iterator[tuple[str, Part[R]]]:
    if jobs <= 1:
        yield from ((name, _timed(play, work)) for name, work in due.items())
        return
    with ProcessPoolExecutor(jobs) as pool:
        names = {pool.submit(_timed, play, work): name for name, work in due.items()}
        try:
            for future in as_completed(names):
                yield names[future], future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _timed(play: Callable[[W], R], work: W) -> Part[R]:
    begun = time.monotonic()
    return Part(play(work), time.monotonic() - begun)


__all__ = ["ROOT", "Part", "Parts", "code_digest", "played"]
