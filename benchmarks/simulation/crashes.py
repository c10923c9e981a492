"""Crash points: where the operator of a story is killed, before and after each of its effects, and what must hold then.

`python -m benchmarks.simulation.crashes STORY POINT:N [POINT:N]`, with PYTHONPATH=operator:hack, tells one case from
its beginning, e.g. `success before:create:Trial:1 after:replace:Lease:2`; `branches` tells all of them. The points of a
story are those that its calm run passes, so a new effect cannot be forgotten. After each crash the successor takes over
at once and is answered from a stale cache for a while.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from benchmarks.simulation.stories import NAME, SECONDS, STORIES, Story, begun
from benchmarks.simulation.telling import quiet
from trimtab.simulate.invariants import check_history
from trimtab.simulate.life import ActAt, CrashAt, LifeOptions
from trimtab.simulate.loop import run
from trimtab.simulate.world import World

STALE_CHANGES, STALE_SECONDS = 6, 1.5
Point = tuple[str, int]
"""`before:<effect>` or `after:<effect>`, and its number."""

MOST_LIVES, MOST_RENEWALS = 8, 3
NEVER: Point = ("never", 1)


class Fates(Protocol):
    """A story, and how its operators die; as text, what happened."""

    @property
    def story(self) -> str: ...

    @property
    def seed(self) -> int: ...

    def death(self, number: int, world: World) -> CrashAt:
        """Of this life, counted from 0."""
        ...


@dataclass(frozen=True)
class Case:
    """A story with the points at which its operators die, one after the other."""

    story: str
    crashes: tuple[Point, ...]
    seed: int = 1

    def __str__(self) -> str:
        return f"{self.story}, seed {self.seed}, killed at " + ", then ".join(f"{p}:{n}" for p, n in self.crashes)

    def death(self, number: int, world: World) -> CrashAt:
        """At its point, or never."""
        del world
        return CrashAt(*(self.crashes[number] if number < len(self.crashes) else NEVER))


def story_of(name: str) -> Story:
    """A story by its name."""
    return next(s for s in STORIES if s.name == name)


async def told(case: Fates) -> list[ActAt]:
    """Tell a story to its end, and check what must hold; returns what each life did.

    Raises:
        AssertionError: with the case in its notes.
    """
    story = story_of(case.story)
    world = await begun(story, case.seed)
    lives: list[ActAt] = []
    while len(lives) < MOST_LIVES:
        lives.append(crash := case.death(len(lives), world))
        life = world.start(_options(world, len(lives) - 1, crash))
        await world.until(lambda life=life: not life.alive or story.ended(world), seconds=SECONDS)  # type: ignore[misc]
        if life.alive:
            break
        await life.gone()
        if life.killed:
            world.expire_lease()
    ended = await world.until(lambda: story.ended(world), seconds=1.0)
    await world.close()
    judge(str(case), story, world, ended)
    return lives


def _options(world: World, number: int, crash: CrashAt) -> LifeOptions:
    """The first life sees everything; later ones begin with a cache that lags behind."""
    if number == 0:
        return LifeOptions(f"life-{number}", fail_point=crash, lease_fail_point=crash)
    stale = world.cluster.objects.as_of(world.cluster.objects.version - STALE_CHANGES)
    return LifeOptions(f"life-{number}", fail_point=crash, lease_fail_point=crash, stale=stale, stale_for=STALE_SECONDS)


def judge(label: str, story: Story, world: World, ended: bool, *, strict: bool = True) -> None:
    """What must hold in the end, and with `strict` after every single change.

    Raises:
        AssertionError: with the label in its notes.
    """
    try:
        found = world.experiment(NAME)
        assert ended, f"no end: {(found or {}).get('status')}"
        if strict:
            check_history(world.history.changes)
        story.check(world)
    except AssertionError as error:
        error.add_note(label)
        raise


def counts(point: Point) -> bool:
    """Is it a point of its own? All renewals of the Lease but the first are the same."""
    effect, number = point
    return effect.partition(":")[2] != "replace:Lease" or number <= MOST_RENEWALS


def points(story: Story) -> tuple[Point, ...]:
    """All crash points of a story: every effect of its calm run, before and after."""
    return _points(story.name)


@cache
def _points(name: str) -> tuple[Point, ...]:
    (calm, *_) = run(told(Case(name, (NEVER,))))
    return tuple(p for p in calm.seen if counts(p))


def singles(stories: Sequence[Story]) -> Iterator[Case]:
    """Every crash alone."""
    for story in stories:
        for point in points(story):
            yield Case(story.name, (point,))


def again(case: Case) -> str:
    """The command that tells a case again, from its beginning."""
    crashes = " ".join(f"{point}:{number}" for point, number in case.crashes)
    return f"PYTHONPATH=operator:hack .venv/bin/python -m benchmarks.simulation.crashes {case.story} {crashes}"


def point(text: str) -> Point:
    """Read `before:create:Trial:1`.

    Raises:
        argparse.ArgumentTypeError: it is no point.
    """
    effect, _, number = text.rpartition(":")
    if not effect.startswith(("before:", "after:")) or not number.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no point: write e.g. before:create:Trial:1")
    return effect, int(number)


def main() -> int:
    """Tell one case; 1 when it fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("story", choices=[s.name for s in STORIES])
    parser.add_argument("crashes", nargs="+", type=point, metavar="POINT:N")
    args = parser.parse_args()
    quiet()
    case = Case(args.story, tuple(args.crashes))
    try:
        lives = run(told(case))
    except Exception:
        traceback.print_exc()
        return 1
    reached = all(life.seen[-1] == at for life, at in zip(lives, case.crashes, strict=False))
    print(f"{case}: {len(lives)} lives, {'all held' if reached else 'a point was never reached'}")
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
