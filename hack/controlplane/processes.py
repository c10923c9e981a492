"""Start, stop, pause and watch the child processes of a plane, and never leave one behind.

All children of one plane form one process group whose leader is a guard process (see `guard`). They join the group
before they execute, so there is no moment at which a killed parent could leave an unknown child. Signals to a single
component go to its own process id, which cannot be reused before this parent has reaped it.
"""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from controlplane.errors import StartError
from controlplane.waiting import WaitTimeout, wait_for

GUARD = Path(__file__).with_name("guard.py")
# Below the range from which kernels take ports for outgoing connections (Linux 32768, macOS 49152), so that a component
# can be restarted on its port later.
PORTS = range(20_000, 30_000)
PORT_ATTEMPTS = 8

_given: set[int] = set()


def free_port() -> int:
    """A loopback port that nobody listened on a moment ago, another one at each call.

    Somebody else may take it before it is used, so callers retry with another one (see `start_on_free_port`).
    """
    source = random.SystemRandom()
    for _ in range(200):
        port = source.choice(PORTS)
        if port in _given:
            continue
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            _given.add(port)
            return port
    raise StartError(f"no free port between {PORTS.start} and {PORTS.stop} on 127.0.0.1")


def temporary_path(prefix: str) -> Path:
    """An unused path in the temporary folder; nothing is made there yet."""
    return Path(tempfile.gettempdir()) / f"{prefix}{secrets.token_hex(6)}"


class Family:
    """A process group that ends with this process.

    Args:
        remove: folders that the guard removes if this process dies without calling `close`.
    """

    def __init__(self, remove: Iterable[Path] = ()) -> None:
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", str(GUARD), *map(str, remove)], stdin=subprocess.PIPE, process_group=0
        )

    @property
    def group(self) -> int:
        """The process group of all members."""
        return self._guard.pid

    def spawn(self, command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        """Start a member; its output is appended to the log."""
        if self._guard.poll() is not None:
            raise StartError(f"the guard process {self._guard.pid} is gone: stop this plane and start a new one")
        with log.open("ab") as out:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, process_group=self.group, cwd=log.parent
            )

    def close(self) -> None:
        """Dismiss the guard; the members must have been stopped before."""
        if self._guard.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._guard.stdin.write(b"q")
                self._guard.stdin.flush()
            with contextlib.suppress(BrokenPipeError):
                self._guard.stdin.close()
        self._guard.wait()


class Component:
    """One child process that can be stopped and started again with the same command.

    Args:
        name: for messages.
        family: the group it joins.
        command: makes the command line; called at every start.
        log: where its output goes; kept over restarts.
    """

    def __init__(self, name: str, family: Family, command: Callable[[], Sequence[str]], log: Path) -> None:
        self.name = name
        self.log = log
        self._family = family
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def pid(self) -> int | None:
        """Its process id, or None when it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Start it; does nothing when it runs."""
        if self.pid is None:
            self._log_start = self.log.stat().st_size if self.log.exists() else 0
            self._process = self._family.spawn(self._command(), self.log)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; does nothing when it does not run."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def stop(self, grace: float = 5.0) -> None:
        """SIGTERM, then SIGKILL after the grace period; returns when it is gone."""
        stop_together([self], grace)

    def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        stop_together([self], 0.0)

    def pause(self) -> None:
        """SIGSTOP: it keeps its port and its connections, and answers nothing."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self.signal(signal.SIGCONT)

    def wait(self, seconds: float) -> bool:
        """Wait for its end; False when it still runs then."""
        if self._process is None:
            return True
        try:
            self._process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            return False
        return True

    def wait_ready(self, ready: Callable[[], object], seconds: float) -> None:
        """Wait until `ready` holds, and fail early when the process ends.

        Raises:
            StartError: with the last lines of its log.
        """

        def probe() -> bool:
            if self.pid is None:
                raise StartError(f"{self.name} ended while starting: {self.tail()}")
            return bool(ready())

        try:
            wait_for(probe, f"{self.name} to be ready", seconds=seconds, interval=0.05)
        except WaitTimeout as error:
            raise StartError(f"{error}: {self.tail()}") from None

    def output(self) -> str:
        """What it has logged since its last start."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as lines:
            lines.seek(self._log_start)
            return lines.read().decode(errors="replace")

    def tail(self, lines: int = 5) -> str:
        """The end of its log, for error messages."""
        return "\n".join([f"log {self.log}", *self.output().splitlines()[-lines:]])


def stop_together(components: Sequence[Component], grace: float) -> None:
    """Stop all of them at the same time: SIGTERM, and SIGKILL for those still there after the grace period."""
    if grace > 0:
        for component in components:
            component.signal(signal.SIGTERM)
            component.resume()  # a paused process acts on SIGTERM only once it continues
    deadline = time.monotonic() + grace
    for component in components:
        if not component.wait(deadline - time.monotonic()):
            component.signal(signal.SIGKILL)
    for component in components:
        component.wait(30.0)


def start_on_free_port(start: Callable[[int], None], component: Callable[[], Component]) -> int:
    """Try ports until `start(port)` succeeds; another process may win the race for any of them.

    Args:
        start: starts the component on this port and waits until it is ready; raises StartError.
        component: the component, to look into its log for a failed bind.
    """
    for attempt in range(PORT_ATTEMPTS):
        port = free_port()
        try:
            start(port)
            return port
        except StartError:
            component().kill()
            if "address already in use" not in component().output().lower() or attempt == PORT_ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def group_members(group: int) -> list[int]:
    """The living processes of a process group, from /proc where there is one, else from ps."""
    if not os.path.isdir("/proc/self"):
        listing = subprocess.run(["ps", "-axo", "pid=,pgid=,stat="], capture_output=True, text=True, check=True).stdout
        rows = [line.split() for line in listing.splitlines()]
        return [int(row[0]) for row in rows if int(row[1]) == group and not row[2].startswith("Z")]
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            pid, _, rest = stat.read_text().partition(" ")
            state, _, pgrp = rest.rpartition(")")[2].split()[:3]
            if int(pgrp) == group and state != "Z":
                members.append(int(pid))
    return members
