"""What a process and its children hold: memory, open files, threads. Read from /proc."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MIB = 1024.0


@dataclass(frozen=True)
class Held:
    """One sample.

    Attributes:
        own: resident memory of the process, MiB.
        children: of its children together, MiB.
        files: its open files, sockets included.
        threads: its threads.
        tasks: tasks of its event loops, as it says itself; 0 without somebody to ask.
    """

    own: float
    children: float
    files: int
    threads: int
    tasks: int

    @property
    def together(self) -> float:
        """Memory of the process and its children, MiB; shared libraries count twice."""
        return self.own + self.children


class Meter:
    """Samples a process until it is stopped.

    Args:
        pid: the process.
        period: seconds between two samples.
        tasks: asked for the number of tasks at each sample.
    """

    def __init__(self, pid: int, period: float = 0.2, tasks: Callable[[], int] = lambda: 0) -> None:
        self._pid, self._period, self._tasks, self._stop = pid, period, tasks, threading.Event()
        self.samples: list[Held] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """No more samples."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._period):
            found = self._look()
            if found is not None:
                self.samples.append(found)

    def _look(self) -> Held | None:
        """Now; None when the process is gone."""
        own = resident(self._pid)
        if not own:
            return None
        worker = sum(resident(child) for child in children(self._pid))
        files, threads = (len(_listed(Path(f"/proc/{self._pid}/{what}"))) for what in ("fd", "task"))
        return Held(own, worker, files, threads, self._tasks())


def resident(pid: int) -> float:
    """MiB, 0 when the process is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / MIB for line in lines if line.startswith("VmRSS")), 0.0)


def children(pid: int) -> list[int]:
    """Its child processes."""
    found = []
    for task in _listed(Path(f"/proc/{pid}/task")):
        with contextlib.suppress(OSError):
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []
