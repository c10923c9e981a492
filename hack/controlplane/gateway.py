"""The Gateway API's CustomResourceDefinitions: taken from their Go module once per user and version, never committed.

The Go toolchain downloads the module and checks it against `modules/gateway/go.sum`; what the planes need of it is then
kept in the cache, so that later runs need neither Go nor a network.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from controlplane.build import cache_dir, cache_lock, say_on_stderr
from controlplane.client import Obj
from controlplane.definitions import read_definitions
from controlplane.errors import BuildError
from controlplane.golang import Say, find_go, go_environment, minimum_go
from controlplane.tools import MODULES

MODULE = "sigs.k8s.io/gateway-api"
GO_MOD = MODULES / "gateway" / "go.mod"
FILES = ("gateway.networking.k8s.io_httproutes.yaml",)
DOWNLOAD_SECONDS = 300.0


def gateway_version() -> str:
    """The version of the Gateway API, for example v1.6.3."""
    found = re.search(rf"^require {re.escape(MODULE)} (v\S+)", GO_MOD.read_text(), re.MULTILINE)
    if found is None:
        raise ValueError(f"{GO_MOD} does not require {MODULE}")
    return found[1]


def gateway_definitions(files: Sequence[str] = FILES, say: Say = say_on_stderr) -> list[Obj]:
    """The standard channel's definition of HTTPRoute, ready for `PlaneOptions.definitions`.

    Raises:
        BuildError: the module could not be downloaded; the message has the remedy.
    """
    folder = cache_dir() / "crds" / f"gateway-api-{gateway_version()}"
    if not all((folder / name).exists() for name in files):
        _fetch(folder, files, say)
    return read_definitions(folder)


def _fetch(folder: Path, files: Sequence[str], say: Say) -> None:
    cache = cache_dir()
    with cache_lock(cache, say):
        if all((folder / name).exists() for name in files):  # another process was faster
            return
        say(f"downloading the Gateway API {gateway_version()}: first run only")
        source = _download(find_go(cache, minimum_go([GO_MOD]), say)) / "config" / "crd" / "standard"
        folder.mkdir(parents=True, exist_ok=True)
        for name in files:
            unfinished = folder / f".{name}.{os.getpid()}"
            shutil.copyfile(source / name, unfinished)
            unfinished.rename(folder / name)


def _download(go: Path) -> Path:
    """The module's folder in Go's own module cache."""
    command = [str(go), "mod", "download", "-json", MODULE]
    try:
        done = subprocess.run(
            command, cwd=GO_MOD.parent, env=go_environment(os.environ), capture_output=True, text=True,
            timeout=DOWNLOAD_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise BuildError(_failed(f"no answer within {DOWNLOAD_SECONDS:.0f} s")) from None
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        answer = {}
    if done.returncode or "Dir" not in answer:
        lines = [*str(answer.get("Error") or done.stderr).strip().splitlines(), "no output"]
        raise BuildError(_failed(lines[0]))
    return Path(answer["Dir"])


def _failed(why: str) -> str:
    remedy = "check the network and `go env GOPROXY`, or run `go clean -modcache` after a checksum mismatch"
    return f"downloading {MODULE} {gateway_version()} failed ({why}): {remedy}"
