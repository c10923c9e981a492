"""Experiments on ground that breaks: operators that are started again, a proxy, seeded breakdowns.

Whatever is in the way, every story comes to its end once the ground holds, and no invariant is broken meanwhile.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.operator.live import ENDED, Live, phase_of
from tests.cluster.crashes import first_ended, witnessed
from tests.cluster.stories import DELETE, MEASURING, TUNE, WITHDRAW, Story

from controlplane import ControlPlane, wait_for
from controlplane.client import Conflict, NotFound, Unavailable
from faultproxy import FaultProxy, Plan
from stack import Stack

SECONDS = 300.0  # for one story
# Of a service whose whole past may be lost: so that a trial's risk fits into what few requests allow.
BUDGET = {
    "name": "availability",
    "sli": "errors",
    "objectivePercent": "90",
    "window": "24h",
    "experimentSharePercent": "100",
    "pauseOnBurn": {"percent": "50", "window": "6h"},
    "rollbackOnBurnRate": [],
}


def proxied(plane: ControlPlane, plan: Plan) -> FaultProxy:
    """A proxy in front of this control plane's API server."""
    return FaultProxy(plane.server, plane.ca_pem, plane.serving_certificate, plan)


class KeptAlive:
    """An operator that is started again whenever it has ended, as a kubelet would."""

    def __init__(self, live: Live, server: str | None = None) -> None:
        self._operator = live.operator(ready=False, server=server)
        self.starts = 1

    def kill(self) -> None:
        """SIGKILL; the next look starts it again."""
        self._operator.kill()

    def look(self) -> None:
        """Start it again if it has ended."""
        if self._operator.component.pid is None:
            self._operator.start(ready=False)
            self.starts += 1

    def until(self, condition: Callable[[], Any], what: str, seconds: float = SECONDS) -> Any:
        """Keep it alive until a condition holds; returns that."""

        def look() -> Any:
            self.look()
            return condition()

        return wait_for(look, what, seconds=seconds)

    def wait_ended(self, live: Live, name: str, seconds: float) -> dict[str, Any]:
        """Keep it alive until the Experiment has ended; returns that."""

        def ended() -> dict[str, Any] | None:
            found = live.find(name)
            return found if (found.get("status") or {}).get("phase") in ENDED else None

        found: dict[str, Any] = self.until(ended, f"Experiment {name} to end", seconds)
        return found


@dataclass
class Tally:
    """What the Experiments of one place came to."""

    experiments: int = 0
    trials: Counter[str] = field(default_factory=Counter)
    starts: int = 0


def run(live: Live, operator: KeptAlive, seed: int, seconds: float) -> Tally:
    """One story after the other, drawn from a seed, for so long."""
    rng, tally, deadline = random.Random(seed), Tally(), time.monotonic() + seconds
    while time.monotonic() < deadline:
        story = rng.choice((TUNE, TUNE, WITHDRAW, DELETE))
        name = f"{story.name}-{seed}-{tally.experiments}"
        with witnessed(live, name):
            through(live, operator, story, name)
            tally.trials.update(phase_of(trial) for trial in live.trials(name))
        persist(lambda name=name: live.delete(name))
        live.remove(name, SECONDS)
        tally.experiments += 1
    tally.starts = operator.starts
    return tally


def through(live: Live, operator: KeptAlive, story: Story, name: str) -> None:
    """Tell a story to its end. Its trial may end in any way: what is in the way may be the reason."""
    trial = {"trial": story.trial} if story.trial else {}
    persist(lambda: live.create(name, errorBudgets=[BUDGET], **trial))
    if story.provoke is not None:
        measuring = lambda: any(phase_of(t) in MEASURING for t in live.trials(name)[:1])  # noqa: E731
        operator.until(lambda: measuring() or first_ended(live, name), f"a trial of {name}")
        persist(lambda: story.provoke(live, name))
        operator.until(lambda: first_ended(live, name), f"the first trial of {name} to end")
        story.settle(live, name)
    operator.until(lambda: story.over(live, name), f"the story of {name} to end")
    operator.until(lambda: not live.arms() and not live.held(), "arms and finalizers to be gone")


def persist(write: Callable[[], object]) -> None:
    """Do it, however often that takes; that it was done already is an answer, too."""

    def attempt() -> bool:
        with contextlib.suppress(Conflict, NotFound):
            write()
        return True

    wait_for(attempt, "a write of the test", seconds=60.0, ignore=(Unavailable,))


class Breaker:
    """Breaks one thing after the other, drawn from a seed, in a thread of its own; use it as a context manager.

    What it broke is whole again before it breaks the next, and at the end: after so many seconds, or when it is left.
    """

    def __init__(self, stack: Stack, operators: Sequence[KeptAlive], seed: int, seconds: float) -> None:
        self._stack, self._operators, self._rng = stack, operators, random.Random(seed)
        self._kinds: dict[str, Callable[[], None]] = {
            "Prometheus paused": self._paused,
            "Prometheus killed": self._killed,
            "Prometheus emptied": self._emptied,
            "etcd killed": lambda: self._component("etcd"),
            "API server killed": lambda: self._component("kube-apiserver"),
            "operator killed": lambda: self._rng.choice(self._operators).kill(),
        }
        self.broken: Counter[str] = Counter()
        self._stop, self._seconds = threading.Event(), seconds
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="breaker", daemon=True)

    def __enter__(self) -> Breaker:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        deadline = time.monotonic() + self._seconds
        try:
            while not self._stop.wait(self._rng.uniform(6.0, 20.0)) and time.monotonic() < deadline:
                kind = self._rng.choice(sorted(self._kinds))
                self._kinds[kind]()
                self.broken[kind] += 1
        except BaseException as error:
            self._failure = error

    def _paused(self) -> None:
        self._stack.prometheus.pause()
        self._stop.wait(self._rng.uniform(1.0, 15.0))
        self._stack.prometheus.resume()

    def _killed(self) -> None:
        self._stack.prometheus.kill()
        self._stop.wait(self._rng.uniform(0.0, 10.0))
        self._stack.prometheus.restart()

    def _emptied(self) -> None:
        self._stack.prometheus.restart(empty=True)

    def _component(self, name: str) -> None:
        self._stack.plane.component(name).kill()
        self._stop.wait(self._rng.uniform(0.0, 8.0))
        self._stack.plane.start_component(name)
