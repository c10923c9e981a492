"""Find or build the binaries of the control plane, each once per user and version.

Order of preference: the folder KUBEBUILDER_ASSETS, the PATH (only with exactly our version), the cache, a build.
The cache is `$TRIMTAB_CACHE` (default `~/.cache/trimtab`), keyed by everything that decides the result. A file lock
makes parallel processes build a tool once; the binary appears under its final name by an atomic rename, so a killed
build leaves nothing half made.
"""

from __future__ import annotations

import fcntl
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from controlplane.errors import BuildError
from controlplane.golang import Say, find_go, go_environment, minimum_go
from controlplane.tools import CONTROL_PLANE, TOOLS, Tool

__all__ = ["BuildError", "binaries", "cache_dir"]

PROGRESS_SECONDS = 10.0


def cache_dir() -> Path:
    """Where binaries and build logs are kept, outside the checkout."""
    chosen = os.environ.get("TRIMTAB_CACHE")
    return Path(chosen).expanduser().resolve() if chosen else Path.home() / ".cache" / "trimtab"


def say_on_stderr(line: str) -> None:
    """Print one progress line."""
    print(f"controlplane: {line}", file=sys.stderr, flush=True)


def binaries(names: Sequence[str] = CONTROL_PLANE, say: Say = say_on_stderr) -> dict[str, Path]:
    """The paths of these tools, built first where needed.

    Args:
        names: keys of `tools.TOOLS`.
        say: takes the progress lines; nothing is said when everything is there.

    Raises:
        BuildError: a tool could not be found or built; the message has the remedy.
    """
    unknown = sorted(set(names) - set(TOOLS))
    if unknown:
        raise BuildError(f"unknown tools {', '.join(unknown)}: choose from {', '.join(TOOLS)}")
    cache = cache_dir()
    found = {name: _existing(TOOLS[name], cache, say) for name in names}
    missing = [TOOLS[name] for name, path in found.items() if path is None]
    if missing:
        go = find_go_locked(cache, missing, say)
        for number, tool in enumerate(missing, start=1):
            found[tool.name] = _build_once(tool, go, cache, say, f"{number} of {len(missing)}")
    return {name: path for name, path in found.items() if path is not None}


def find_go_locked(cache: Path, tools: Sequence[Tool], say: Say) -> Path:
    """A Go compiler for these tools; under the lock, because finding one may mean installing one."""
    with cache_lock(cache, say):
        return find_go(cache, minimum_go([tool.go_mod for tool in tools]), say)


def _existing(tool: Tool, cache: Path, say: Say) -> Path | None:
    cached = _cached_path(tool, cache)
    return _from_assets(tool, say) or _from_path(tool) or (cached if cached.exists() else None)


def _from_assets(tool: Tool, say: Say) -> Path | None:
    """The tool in KUBEBUILDER_ASSETS.

    envtest's folder holds the API server without its controllers. These must not be newer than the API server, so a
    folder of another minor version is used only when it holds all of the control plane.
    """
    folder = os.environ.get("KUBEBUILDER_ASSETS")
    path = Path(folder) / tool.name if folder else None
    if path is None or not os.access(path, os.X_OK):
        return None
    complete = all(os.access(path.parent / name, os.X_OK) for name in CONTROL_PLANE if name != "kubectl")
    reported = _reported_version(tool, path)
    if tool.module == "kubernetes" and not complete and _minor(reported) != _minor(tool.version):
        say(f"not using {path}: version {reported or 'unknown'}, not {tool.version}, and its controllers are missing")
        return None
    return path


def _from_path(tool: Tool) -> Path | None:
    where = shutil.which(tool.name)
    return Path(where) if where and _reported_version(tool, Path(where)) == tool.version else None


def _reported_version(tool: Tool, path: Path) -> str:
    """The first thing in the tool's answer that looks like a version, with a leading v; empty if there is none."""
    try:
        without_context = os.environ | {"KUBECONFIG": os.devnull}
        answer = subprocess.run(
            [path, *tool.version_args], env=without_context, capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"v?(\d+\.\d+\.\d+[-\w.]*)", answer.stdout + answer.stderr)
    return f"v{found[1]}" if found else ""


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]


def _cached_path(tool: Tool, cache: Path) -> Path:
    host = f"{platform.system()}/{platform.machine()}".lower()
    return cache / "bin" / f"{tool.name}-{tool.version}-{tool.key(host)}" / tool.name


def _build_once(tool: Tool, go: Path, cache: Path, say: Say, progress: str) -> Path:
    target = _cached_path(tool, cache)
    with cache_lock(cache, say):
        if not target.exists():  # another process may have built it while this one waited for the lock
            _build(tool, go, cache, target, say, progress)
    return target


def _build(tool: Tool, go: Path, cache: Path, target: Path, say: Say, progress: str) -> None:
    log = cache / "logs" / f"build-{target.parent.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{tool.name}.{os.getpid()}")
    command = [str(go), "build", "-v", *tool.flags(), "-o", str(unfinished), tool.package]
    say(f"[{progress}] building {tool.name} {tool.version}: first run only, about {tool.minutes:g} min on two cores")
    started = time.monotonic()
    try:
        with log.open("w") as out:
            go_build = subprocess.Popen(
                command, cwd=tool.go_mod.parent, env=go_environment(os.environ), stdout=out, stderr=out
            )
            _follow(go_build, log, f"[{progress}] {tool.name}", started, say)
        if go_build.returncode:
            raise BuildError(f"building {tool.name} failed: {_reason(log)} (log: {log})")
        unfinished.rename(target)
    finally:
        unfinished.unlink(missing_ok=True)
    say(f"[{progress}] {tool.name} {tool.version} built in {time.monotonic() - started:.0f} s")


def _follow(go_build: subprocess.Popen[bytes], log: Path, label: str, started: float, say: Say) -> None:
    """Report until the build ends; `go build -v` logs one line per downloaded module and per compiled package."""
    try:
        while True:
            try:
                go_build.wait(PROGRESS_SECONDS)
                return
            except subprocess.TimeoutExpired:
                lines = log.read_text(errors="replace").splitlines()
                fetched = sum(line.startswith("go: downloading") for line in lines)
                fetching = f", {fetched} modules downloaded" if fetched else ""
                elapsed = time.monotonic() - started
                say(f"{label}: {elapsed:.0f} s, {len(lines) - fetched} packages compiled{fetching}")
    finally:
        if go_build.poll() is None:  # interrupted: do not leave the compiler running
            go_build.terminate()
            go_build.wait()


def _reason(log: Path) -> str:
    """One line that says why, with the remedy where it is known."""
    text = log.read_text(errors="replace")
    remedies = {
        "no space left on device": "the disk is full: free about 6 GB, or point GOCACHE and TRIMTAB_CACHE elsewhere",
        "dial tcp": "the Go module proxy cannot be reached: check the network and `go env GOPROXY`",
        "proxyconnect": "the HTTP proxy refuses the Go module proxy: check HTTPS_PROXY",
        "signal: killed": "the compiler was killed, usually for lack of memory: free about 2 GB and run again",
        "checksum mismatch": "a downloaded module is not the one of go.sum: run `go clean -modcache` and try again",
    }
    for symptom, remedy in remedies.items():
        if symptom in text:
            return remedy
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("go: downloading")]
    return lines[-1] if lines else "no output"


@contextmanager
def cache_lock(cache: Path, say: Say) -> Iterator[None]:
    """One build at a time per cache; the kernel drops the lock when its holder dies."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        handle = (cache / "build.lock").open("a+")
    except OSError as error:
        remedy = "set TRIMTAB_CACHE to a writable folder"
        raise BuildError(f"cannot write the cache {cache} ({error.strerror}): {remedy}") from None
    with handle:
        started = told = time.monotonic()
        while not _try_lock(handle):
            now = time.monotonic()
            if now - told >= PROGRESS_SECONDS:
                say(f"waiting for another process that is building ({now - started:.0f} s)")
                told = now
            time.sleep(0.5)
        yield


def _try_lock(handle: IO[str]) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
