"""The optimizer without its safe set against its peers on published functions with known optima.

    python -m benchmarks.optimizer.known --seeds 0-9 --trials 50 --jobs 1 --out build/bench

Run with the Python of `python -m benchmarks.optimizer.venv` to have the peers; without their packages Trimtab and
random run alone. Each run is kept on disk as soon as it is done, for exactly the code and the versions that made it.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.optimizer.functions import Function, functions
from benchmarks.optimizer.methods.trimtab import UNSAFE
from benchmarks.optimizer.runs import Run, Work, entries, play
from chaos.parts import ROOT, Parts, played

PEER_PACKAGES = ("torch", "botorch", "gpytorch", "optuna", "scikit-optimize")
PACKAGES = (*PEER_PACKAGES, "scikit-learn", "numpy", "scipy")
_TASKS = ("benchmarks/optimizer/functions.py", "benchmarks/optimizer/runs.py")
_PEERS = (*_TASKS, "benchmarks/optimizer/peer.py", "benchmarks/optimizer/peers")
_TRIMTAB = (
    "benchmarks/optimizer/methods/trimtab.py",
    "benchmarks/optimizer/recommender.py",
    "operator/trimtab/optimize",
    "operator/trimtab/domain",
)


def code_version(method: str) -> str:
    """Names what decides a run of this method: Trimtab's code only where it is asked, the peers' only for peers."""
    parts = [*_TASKS, *_TRIMTAB] if method == UNSAFE.name else [*_PEERS]
    if method.endswith("/equal"):
        parts += _TRIMTAB
    found = hashlib.sha256(sys.version.encode())
    for part in parts:
        path = ROOT / part
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            found.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
    if method != UNSAFE.name:
        found.update(repr(versions(PEER_PACKAGES)).encode())
    return found.hexdigest()[:12]


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Of the packages that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def kept(works: Sequence[Work], out: Path) -> list[Run]:
    """The runs that are on disk already."""
    found: list[Run] = []
    for digest, group in _by_version(works).items():
        parts: Parts[Run] = Parts(out / "known", digest)
        found += [part.value for name in group if (part := parts.find(name)) is not None]
    return found


def _by_version(works: Sequence[Work]) -> dict[str, dict[str, Work]]:
    found: dict[str, dict[str, Work]] = {}
    digests = {method: code_version(method) for method in dict.fromkeys(work.method for work in works)}
    for work in works:
        found.setdefault(digests[work.method], {})[work.name] = work
    return found


def run(works: Sequence[Work], out: Path, jobs: int, afresh: bool = False) -> list[Run]:
    """All runs, from disk where they are kept; progress goes to stderr."""
    found: list[Run] = []
    begun = time.monotonic()
    for digest, group in _by_version(works).items():
        parts: Parts[Run] = Parts(out / "known", digest, afresh=afresh)
        for part in played(parts, group, play, jobs):
            found.append(part.value)
            if not part.kept:
                done = part.value
                took = f"{part.seconds:.0f} s, {time.monotonic() - begun:.0f} s in all"
                print(f"{done.function} {done.method} {done.seed}: {took}", file=sys.stderr, flush=True)
    return found


def numbers(text: str) -> list[int]:
    """'0-4,7' as numbers."""
    found: list[int] = []
    for piece in text.split(","):
        first, _, last = piece.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def chosen(names: Sequence[str], given: str, what: str) -> list[str]:
    """The names that start with one of those given, all without any.

    Raises:
        SystemExit: one that fits no name.
    """
    wanted = [piece for piece in given.split(",") if piece]
    for piece in wanted:
        if not any(name.startswith(piece) for name in names):
            raise SystemExit(f"{what}: {piece!r} is none of {', '.join(names)}")
    return [name for name in names if not wanted or any(name.startswith(piece) for piece in wanted)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is asked, write tables, JSON and plots into `--out`, and print the tables."""
    from benchmarks.optimizer.known_report import write

    options = _parser().parse_args(arguments)
    known: list[Function] = list(functions())
    names = chosen([f.name for f in known], options.functions, "--functions")
    methods = chosen(list(entries()), options.methods, "--methods")
    works = [Work(f, m, s, options.trials) for s in numbers(options.seeds) for f in names for m in methods]
    runs = kept(works, options.out) if options.report else run(works, options.out, options.jobs, options.fresh)
    used = [f for f in known if f.name in names]
    print(write(runs, used, options.trials, versions(), options.out / "known"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks.optimizer.known", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", default="0-9", help="such as 0-4,7")
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--functions", default="", help="beginnings of names, with commas; all by default")
    parser.add_argument("--methods", default="", help="the same: trimtab, botorch-qlognei/native, ...")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--out", type=Path, default=Path("build/bench"))
    parser.add_argument("--fresh", action="store_true", help="forget what was run before")
    parser.add_argument("--report", action="store_true", help="run nothing: the figures of the runs that are kept")
    return parser


if __name__ == "__main__":
    main()
