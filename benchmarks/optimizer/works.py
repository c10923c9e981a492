"""What is played: methods by name, one run at a time, and what it takes. Other processes import it."""

from __future__ import annotations

import hashlib
import importlib
import resource
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

from benchmarks.optimizer.contract import Entry
from benchmarks.optimizer.methods import ENTRIES
from benchmarks.optimizer.optimum import optimum_cached
from benchmarks.optimizer.peer import keyed
from benchmarks.optimizer.safety import Run, Where, play
from benchmarks.optimizer.scenarios import Draw, draw
from chaos.parts import ROOT


@dataclass(frozen=True)
class Work:
    """One run to be played."""

    method: str
    where: Where
    folder: Path
    version: str


def entries() -> dict[str, Entry]:
    """Every method by name, those of libraries with their track in it; says so in one line when they are not there."""
    found = {entry.name: entry for entry in ENTRIES}
    try:
        found |= keyed(importlib.import_module("benchmarks.optimizer.peers").ENTRIES)
    except ImportError as error:
        print(f"bench-optimizer: without the libraries' optimizers: {error}", file=sys.stderr)
    return found


def work(given: Work) -> Run:
    """Play one run; the optimum is found once per service."""
    where = given.where
    service = _drawn(where)
    optima = {
        regime: optimum_cached(replace(service, after=regime), given.folder, given.version).cost
        for regime in {service.before, service.after}
    }
    return play(_entry(given.method), service, optima, where)


@lru_cache(maxsize=4)
def _drawn(where: Where) -> Draw:
    return draw(where.scenario, where.dimensions, where.seed)  # type: ignore[arg-type]


def _entry(name: str) -> Entry:
    for entry in ENTRIES:
        if entry.name == name:
            return entry
    return entries()[name]


def digest(*folders: str) -> str:
    """Names the code that plays, and the Python that runs it."""
    found = hashlib.sha256(sys.version.encode())
    for folder in folders:
        place = ROOT / folder
        for path in [place] if place.is_file() else sorted(place.rglob("*.py")):
            found.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return found.hexdigest()[:12]


def memory(given: Work) -> float | None:
    """MiB that a process which plays one run has resident at most; None when it cannot be told."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(_resident, given).result()
        except BrokenProcessPool:
            return None


def _resident(given: Work) -> float:
    work(given)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
