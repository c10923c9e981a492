"""Operators that die at a named effect of an Experiment's life, and what their successors make of it.

The effects are not listed by hand: each story is told once in peace and its effects are recorded, so one that is added
later is killed at, too. Lives run side by side, each in a namespace with an install of its own.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.operator.live import TERMINAL, Live, phase_of
from benchmarks.operator.witness import Witness
from tests.cluster.stories import MEASURING, SECONDS, STORIES, Point, Step, Story, nothing, read_points

from controlplane import ApiError, WaitTimeout, wait_for
from controlplane.processes import group_members
from stack import OperatorProcess
from trimtab.simulate.invariants import check_history

WORKER = "trimtab.optimize.worker"
AFTERMATH = 3.0  # within which an Experiment's last effects happen after its end


@dataclass(frozen=True)
class Lived:
    """One life, told to its end.

    Attributes:
        deaths: how many operators died at their points; fewer than asked for when this life had fewer effects than the
            recorded one.
        effects: what the first operator did.
    """

    deaths: int
    effects: tuple[Point, ...]


class Lives:
    """Tells stories in several places at once; use it as a context manager.

    Args:
        places: installs on one stack; each tells one story at a time.
        directory: for the effect logs.
    """

    def __init__(self, places: Sequence[Live], directory: Path) -> None:
        self._free: queue.Queue[Live] = queue.Queue()
        for live in places:
            self._free.put(live)
        self._directory, self._count, self._lock = directory, 0, threading.Lock()
        self._pool = ThreadPoolExecutor(len(places), thread_name_prefix="life")

    def __enter__(self) -> Lives:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def submit(self, story: Story, *points: Point, **options: Any) -> Future[Lived]:
        """Tell a story as soon as a place is free; see `tell`."""
        return self._pool.submit(self._tell, story, points, options)

    def record(self, stories: Iterable[Story] = STORIES) -> dict[str, tuple[Point, ...]]:
        """The points of each story that are its own, from lives in peace. The first story is told twice: a second
        Experiment on the same target finds what the first one left, as most do, and has other effects; its come first.
        """
        stories = tuple(stories)
        told = [(story, self.submit(story)) for story in (*stories, stories[0])]
        found: dict[str, dict[Point, None]] = {story.name: {} for story in stories}
        for story, life in (told[-1], *told[:-1]):
            found[story.name] |= dict.fromkeys(story.tells(life.result().effects))
        return {name: tuple(points) for name, points in found.items()}

    def _tell(self, story: Story, points: Sequence[Point], options: Mapping[str, Any]) -> Lived:
        with self._lock:
            self._count += 1
            name = f"{story.name}-{self._count}"
        live = self._free.get()
        try:
            return tell(live, story, name, points, self._directory / name, **options)
        except BaseException as error:
            error.add_note(f"{story.name} with deaths at {', '.join(map(str, points)) or 'no point'}")
            with contextlib.suppress(ApiError, AssertionError):  # the next life here is another story
                live.clear()
            raise
        finally:
            self._free.put(live)


def tell(
    live: Live,
    story: Story,
    name: str,
    points: Sequence[Point],
    directory: Path,
    *,
    before_death: Step = nothing,
    after_death: Step = nothing,
    stood_still: Sequence[tuple[float, float]] = (),
) -> Lived:
    """Tell a story to its end: one operator after the other dies at its point, the last one lives; check everything.

    Args:
        live: where.
        story: what happens.
        name: of the Experiment.
        points: where the operators die, each counted from its own start.
        directory: for the effect logs.
        before_death: called once the Experiment exists.
        after_death: called after the first death.
        stood_still: filled by these steps: when the cluster's own controllers did nothing.

    Raises:
        AssertionError: an invariant is broken, or something does not end.
    """
    directory.mkdir()
    logs = [directory / f"{number}.effects" for number in range(len(points) + 1)]
    deaths = 0
    with witnessed(live, name, stood_still), ThreadPoolExecutor(1) as side:
        operator = _operator(live, logs[0], points[0] if points else None)
        live.create(name, **story.sections, **({"trial": story.trial} if story.trial else {}))
        # A death may come before there is anything to provoke: then it is a successor's trial that measures.
        provoked = side.submit(_provoke, live, story, name)
        if not points:
            provoked.result()
        before_death(live, name)
        for point in points:
            if not _dies(live, story, name, operator):
                break
            assert point.stands_for(read_points(logs[deaths])[-1])
            deaths += 1
            if deaths == 1:
                after_death(live, name)
            wait_for(lambda: not orphans(live), "its worker to end with it")
            live.expire_lease()
            operator = _operator(live, logs[deaths], points[deaths] if deaths < len(points) else None)
        provoked.result()
        _end(live, story, name)
    live.kill_operators()
    live.remove(name)
    live.forget_lease()
    return Lived(deaths, read_points(logs[0]))


def _provoke(live: Live, story: Story, name: str) -> None:
    if story.provoke is not None:
        live.wait_trial(name, MEASURING, seconds=SECONDS)
        story.provoke(live, name)
        wait_for(lambda: first_ended(live, name), f"the first trial of {name} to end", seconds=SECONDS)
        story.settle(live, name)


@contextlib.contextmanager
def witnessed(live: Live, name: str, stood_still: Sequence[tuple[float, float]] = ()) -> Iterator[None]:
    """What happens to this Experiment inside breaks no invariant, and leaves the target as it was."""
    target = live.target()
    with live.explained(name), Witness(live.stack.plane, live.namespace) as witness:
        yield
        assert live.target() == target
        check_history(witness.changes(), stood_still)


def _operator(live: Live, log: Path, point: Point | None) -> OperatorProcess:
    """An operator that dies at this point, if any. It may be dead before it answers, so nobody waits for that.

    Its lease lasts as long as by default: `expire_lease` ends a dead one's, and on a machine that many lives share a
    short one is lost by an operator that lives.
    """
    environment = {"TRIMTAB_EFFECT_LOG": str(log), "TRIMTAB_LEASE_DURATION": "15"}
    if point is not None:
        environment["TRIMTAB_FAIL_POINT"] = str(point)
    return live.operator(environment, ready=False)


def _end(live: Live, story: Story, name: str) -> None:
    wait_for(lambda: story.over(live, name), f"the story of {name} to end", seconds=SECONDS)
    live.wait_nothing_left()
    story.check(live, name)


def _dies(live: Live, story: Story, name: str, operator: OperatorProcess) -> bool:
    """Wait for the operator's death; False when the story ended without it."""
    dead = lambda: operator.component.pid is None  # noqa: E731
    wait_for(lambda: dead() or story.over(live, name), f"the operator of {name} to die", seconds=SECONDS)
    try:
        operator.wait_dead(AFTERMATH)
    except WaitTimeout:
        return False
    return True


def first_ended(live: Live, name: str) -> bool:
    """Whether the first trial has ended, or the Experiment is gone."""
    trials = live.trials(name)
    return not live.find(name) or (bool(trials) and phase_of(trials[0]) in TERMINAL)


def orphans(live: Live) -> list[int]:
    """Fitting processes whose operator is gone."""
    operators = {operator.component.pid for operator in live.stack.operators}
    return [
        pid
        for pid in group_members(live.stack.family.group)
        if WORKER in _command(pid) and _parent(pid) not in operators
    ]


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def _parent(pid: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0
