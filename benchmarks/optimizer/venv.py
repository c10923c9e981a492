"""The peers' own virtual environment, outside the checkout: `python -m benchmarks.optimizer.venv [--python]`.

It lies in the cache (`$TRIMTAB_CACHE`, default `~/.cache/trimtab`), keyed by what decides its content: requirements,
Python and platform. 5.7 GB on x86_64 Linux, where the package index has PyTorch only with its
CUDA libraries, which it cannot be imported without. Two minutes with a fast connection. A file lock makes parallel
processes install once; a stamp, written last, says that it is whole.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from controlplane.build import cache_dir

REQUIREMENTS = Path(__file__).parent / "peers" / "requirements.txt"
STAMP = ".installed"


def home(requirements: str, cache: Path) -> Path:
    """Where the environment of these requirements belongs."""
    parts = [requirements, sys.version, platform.system(), platform.machine()]
    return cache / "peers" / hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def find(requirements: str, cache: Path) -> Path | None:
    """Its Python; None while it is not installed."""
    place = home(requirements, cache)
    return place / "bin" / "python" if (place / STAMP).exists() else None


def install(requirements: Path, cache: Path) -> Path:
    """Its Python, installed first where needed.

    Raises:
        SystemExit: pip failed; its last line is the message.
    """
    text = requirements.read_text()
    place = home(text, cache)
    place.parent.mkdir(parents=True, exist_ok=True)
    with (place.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = find(text, cache)
        if found is not None:
            return found
        print(f"peers: installing into {place} (5.7 GB, some minutes)", file=sys.stderr, flush=True)
        shutil.rmtree(place, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(place)])
        python = place / "bin" / "python"
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-cache-dir"]
        _run([*pip, "--requirement", str(requirements)])
        (place / STAMP).touch()
        return python


def _run(command: list[str]) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        last = done.stdout.strip().splitlines()[-1:] or ["no output"]
        raise SystemExit(f"peers: {' '.join(command[1:4])} failed: {last[0]}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Install, and print the path of the Python; with `--python` only print, and fail while there is none."""
    parser = argparse.ArgumentParser(prog="benchmarks.optimizer.venv", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--python", action="store_true", help="install nothing")
    if parser.parse_args(arguments).python:
        found = find(REQUIREMENTS.read_text(), cache_dir())
        if found is None:
            raise SystemExit("peers: not installed: make bench-peers")
    else:
        found = install(REQUIREMENTS, cache_dir())
    print(found)


if __name__ == "__main__":
    main()
