"""`python -m controlplane build|up|down|status`: the control plane by hand, in a terminal.

`up` holds a lock on its state directory for as long as it lives, so `down` and `status` can tell a running plane from
the remains of a dead one, and `down` never signals a stranger that got the same process id.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from controlplane.build import binaries, cache_dir
from controlplane.errors import ControlPlaneError
from controlplane.gateway import gateway_definitions
from controlplane.kubeconfig import write_private
from controlplane.plane import ControlPlane, PlaneOptions
from controlplane.tools import EVERYTHING
from controlplane.waiting import WaitTimeout, wait_for

NOT_RUNNING = 3  # as in the Linux Standard Base: "program is not running"


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the result is the exit status."""
    parser = argparse.ArgumentParser(prog="python -m controlplane", description="A real local control plane.")
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="build or find the binaries and print their paths")
    build.add_argument("tools", nargs="*", metavar="TOOL", help=f"of {', '.join(EVERYTHING)}; default all")
    up = commands.add_parser("up", help="start a control plane in the foreground; Ctrl-C stops it and cleans up")
    up.add_argument("--crds", type=Path, help="folder of CustomResourceDefinitions to apply")
    up.add_argument("--hpa-sync-period", type=float, metavar="SECONDS", help="period of the HPA controller")
    down = commands.add_parser("down", help="stop the control plane of another terminal")
    status = commands.add_parser("status", help=f"show what runs; exit status {NOT_RUNNING} when nothing does")
    for command in (up, down, status):
        command.add_argument("--state", type=Path, default=cache_dir() / "up", help="state directory (%(default)s)")
    options = parser.parse_args(arguments)
    try:
        match options.command:
            case "build":
                return _build(options.tools or list(EVERYTHING))
            case "up":
                return _up(options.state.resolve(), options.crds, options.hpa_sync_period)
            case "down":
                return _down(options.state.resolve())
            case _:
                return _status(options.state.resolve())
    except (ControlPlaneError, WaitTimeout) as error:
        print(f"controlplane: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _build(tools: list[str]) -> int:
    for name, path in binaries(tools).items():
        print(f"{name}\t{path}")
    if set(tools) == set(EVERYTHING):
        gateway_definitions()
    return 0


def _up(state: Path, crds: Path | None, hpa_sync_period: float | None) -> int:
    signal.signal(signal.SIGTERM, _interrupt)
    with _lock(state) as alone:
        if not alone:
            raise ControlPlaneError(f"a control plane runs already in {state}: `python -m controlplane down` stops it")
        (state / "state.json").unlink(missing_ok=True)
        plane = ControlPlane(state, PlaneOptions(hpa_sync_period=hpa_sync_period))
        try:
            plane.start()
            if crds is not None:
                plane.apply_crds(crds)
            _announce(plane, state)
            _watch(plane)
        except KeyboardInterrupt:
            print("controlplane: stopping", file=sys.stderr)
        finally:
            plane.stop(keep_logs=True)
            (state / "state.json").unlink(missing_ok=True)
    return 0


def _announce(plane: ControlPlane, state: Path) -> None:
    kubeconfig = plane.kubeconfig()
    facts = {
        "pid": os.getpid(),
        "server": plane.server,
        "kubeconfig": str(kubeconfig),
        "kubectl": str(plane.kubectl),
        "logs": str(plane.logs),
        "group": plane.group,
        "components": plane.pids,
    }
    write_private(state / "state.json", json.dumps(facts, indent=2) + "\n")
    print(f"export KUBECONFIG={kubeconfig}")
    print(f"# kubectl of this version: {plane.kubectl}")
    print(f"# logs: {plane.logs}; Ctrl-C stops everything", flush=True)


def _watch(plane: ControlPlane) -> None:
    """Stay until interrupted, and say once when a component has died."""
    running = dict(plane.pids)
    pause = threading.Event()
    while not pause.wait(1.0):
        for name in set(running) - set(plane.pids):
            print(f"controlplane: {name} ended, see {plane.log(name)}", file=sys.stderr, flush=True)
            del running[name]


def _down(state: Path) -> int:
    facts = _running(state)
    if facts is None:
        print(f"controlplane: nothing runs in {state}", file=sys.stderr)
        return 0
    os.kill(int(facts["pid"]), signal.SIGTERM)
    wait_for(lambda: _running(state) is None, "the control plane to stop", seconds=30)
    return 0


def _status(state: Path) -> int:
    facts = _running(state)
    if facts is None:
        print(f"nothing runs in {state}")
        return NOT_RUNNING
    print(json.dumps(facts, indent=2))
    return 0


def _running(state: Path) -> dict[str, Any] | None:
    """What the plane in this directory says of itself; None when none runs or it is still starting."""
    if not (state / "state.json").exists():
        return None
    with _lock(state) as alone:
        if alone:
            return None
        facts: dict[str, Any] = json.loads((state / "state.json").read_text())
        return facts


@contextmanager
def _lock(state: Path) -> Iterator[bool]:
    """Hold the lock of a state directory; yields False when another process holds it."""
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (state / "lock").open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
