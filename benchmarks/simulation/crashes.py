"""Every crash point: the operator is killed before and after each effect of each story, and again after its restart.

`python -m benchmarks.simulation.crashes [--pairs] [--jobs 2] [--story NAME] [--afresh]`, with PYTHONPATH=operator:hack.
The points of a story are those that its calm run passes, so a new effect cannot be forgotten; of pairs, the second
crash is at each of the first twenty effects after the restart. After each crash the successor takes over at once and is
answered from a stale cache for a while.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial

from benchmarks.simulation.stories import NAME, SECONDS, STORIES, Story, begun
from benchmarks.simulation.telling import Told, in_parts, named, parser_of, quiet, tell, tell_all
from trimtab.simulate.invariants import check_history
from trimtab.simulate.life import ActAt, CrashAt, LifeOptions
from trimtab.simulate.loop import run
from trimtab.simulate.world import World

SECOND_POINTS = 20  # effects of the successor at which it is killed, too
STALE_CHANGES, STALE_SECONDS = 6, 1.5
Point = tuple[str, int]
"""`before:<effect>` or `after:<effect>`, and its number."""

MOST_LIVES, MOST_RENEWALS = 8, 3
NEVER: Point = ("never", 1)
BEFORE, AFTER = "before:", "after:"


@dataclass(frozen=True)
class Case:
    """A story with the points at which its operators die, one after the other."""

    story: str
    crashes: tuple[Point, ...]
    seed: int = 1

    def __str__(self) -> str:
        return f"{self.story}, seed {self.seed}, killed at " + ", then ".join(f"{p}:{n}" for p, n in self.crashes)


def story_of(name: str) -> Story:
    """A story by its name."""
    return next(s for s in STORIES if s.name == name)


async def told(case: Case) -> list[ActAt]:
    """Tell it to its end, and check what must hold; returns what each life did.

    Raises:
        AssertionError: with the case in its notes.
    """
    story = story_of(case.story)
    world = await begun(story, case.seed)
    lives: list[ActAt] = []
    while len(lives) < MOST_LIVES:
        point = case.crashes[len(lives)] if len(lives) < len(case.crashes) else NEVER
        lives.append(crash := CrashAt(*point))
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


def points(story: Story) -> tuple[Point, ...]:
    """All crash points of a story: every effect of its calm run, before and after. Renewals of the Lease are one."""
    return _points(story.name)


@cache
def _points(name: str) -> tuple[Point, ...]:
    (calm, *_) = run(told(Case(name, (NEVER,))))
    renewals = {f"{BEFORE}replace:Lease", f"{AFTER}replace:Lease"}
    return tuple(p for p in calm.seen if p[0] not in renewals or p[1] <= MOST_RENEWALS)


def singles(stories: Sequence[Story]) -> Iterator[Case]:
    """Every crash alone."""
    for story in stories:
        for point in points(story):
            yield Case(story.name, (point,))


def seconds(first: Case, most: int = SECOND_POINTS) -> Iterator[Case]:
    """A crash, and a second one at each of the first effects after the restart. After an effect is before the next, for
    all that is stored, so here a crash is always before one."""
    try:
        lives = run(told(first))
    except AssertionError:
        return  # told as a single
    seen = [p for p in lives[1].seen if p[0].startswith(BEFORE)] if len(lives) > 1 else []
    for second in seen[:most]:
        yield Case(first.story, (*first.crashes, second))


def tell_pairs(first: Case) -> Told:
    """One crash with each of the second ones."""
    return tell(seconds(first), told)


def main() -> int:
    """Tell all cases; 1 when one of them failed."""
    parser = parser_of(__doc__)
    parser.add_argument("--pairs", action="store_true")
    args = parser.parse_args()
    quiet()
    cases = singles([s for s in STORIES if not args.story or s.name in args.story])
    if not args.pairs:
        name = named("crashes", args.story)
        return tell_all(name, in_parts(cases), partial(tell, story=told), args.jobs, afresh=args.afresh)
    firsts = {f"{number:05}": c for number, c in enumerate(cases) if c.crashes[0][0].startswith(BEFORE)}
    return tell_all(named("pairs", args.story), firsts, tell_pairs, args.jobs, afresh=args.afresh)


if __name__ == "__main__":
    sys.exit(main())
