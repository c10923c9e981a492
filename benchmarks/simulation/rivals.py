"""Two operators at once: leadership is moved at every effect, and the old leader comes back with what it knew.

`python -m benchmarks.simulation.rivals [--jobs 2] [--story NAME] [--way NAME] [--afresh]`, with
PYTHONPATH=operator:hack. At each effect of each story one of these happens to the leader, while a second operator
stands by:

- frozen: it stops, as a process on a node that hangs. The standby takes over when the Lease has run out; then the old
  leader goes on where it stopped, in the middle of that effect, and must find out by itself.
- usurped: the Lease is given away under it, so that for a while both believe that they lead.
- cut: it reaches the API server no more, for half a minute; then it does.

What a frozen leader was about to send arrives when it thaws: a create carries no resourceVersion, so an arm may appear
whose Trial has ended. It must be gone within `GRACE_SECONDS`; everything else holds at every moment.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks.simulation.crashes import MOST_RENEWALS, Point, judge, story_of
from benchmarks.simulation.crashes import points as crash_points
from benchmarks.simulation.stories import SECONDS, STORIES, Story, begun
from benchmarks.simulation.telling import Told, in_parts, named, parser_of, quiet, tell, tell_all
from trimtab.domain.errors import Unavailable
from trimtab.simulate.client import Request
from trimtab.simulate.life import ActAt, CrashAt, Life, LifeOptions
from trimtab.simulate.world import World

REPLICAS = 2
WAYS = ("frozen", "usurped", "cut")
FREEZE_SECONDS, CUT_SECONDS = 30.0, 30.0
GRACE_SECONDS = 5.0  # until what came late is gone again


@dataclass(frozen=True)
class Case:
    """A story, what happens to the first leader, and at which of its effects."""

    story: str
    way: str
    at: Point
    seed: int = 1

    def __str__(self) -> str:
        return f"{self.story}, seed {self.seed}, leader {self.way} at {self.at[0]}:{self.at[1]}"


async def told(case: Case) -> None:
    """Tell it to its end with two operators, and check what must hold.

    Raises:
        AssertionError: with the case in its notes.
    """
    story = story_of(case.story)
    world = await begun(story, case.seed)
    rivalry = _Rivalry(world, case.way)
    fail_point = ActAt(*case.at, rivalry.strike)
    world.start(LifeOptions("first", fail_point=fail_point, lease_fail_point=fail_point))
    await world.run(0.5)
    world.start(LifeOptions("second", fail_point=CrashAt()))
    ended = await _until_ended(world, story)
    await world.run(FREEZE_SECONDS + GRACE_SECONDS)  # whatever the old leader still does, it does now
    leading = [life.options.identity for life in world.lives if life.parts.elector.leading]
    await world.close()
    assert rivalry.struck, f"the point was never reached: {case}"
    assert len(leading) < 2, f"both lead: {case}"
    judge(str(case), story, world, ended, strict=case.way != "frozen")


async def _until_ended(world: World, story: Story) -> bool:
    """Two replicas are kept, as a Deployment does: whoever ends is started anew."""
    until = world.clock.monotonic() + SECONDS
    while not story.ended(world) and world.clock.monotonic() < until:
        running = [life for life in world.lives if life.alive]
        if len(running) < REPLICAS:
            running.append(world.start(LifeOptions(f"life-{len(world.lives)}", fail_point=CrashAt())))
            continue

        def changed(running: Sequence[Life] = running) -> bool:
            return story.ended(world) or not all(life.alive for life in running)

        await world.until(changed, seconds=SECONDS)
    return story.ended(world)


class _Rivalry:
    """What happens to the leader, once."""

    def __init__(self, world: World, way: str) -> None:
        self._world, self._way = world, way
        self.struck = False
        self.first: Life | None = None

    async def strike(self, life: Life) -> None:
        """At the effect."""
        self.struck, self.first = True, life
        loop = asyncio.get_running_loop()
        if self._way == "frozen":
            life.freeze()
            loop.call_later(FREEZE_SECONDS, life.thaw, context=self._world.context)
            await asyncio.sleep(0)  # here it stops, and here it goes on
        elif self._way == "usurped":
            self._world.expire_lease()
        else:
            for client in life.clients:
                client.before = _unreachable
            loop.call_later(CUT_SECONDS, self._reconnect, life, context=self._world.context)

    @staticmethod
    def _reconnect(life: Life) -> None:
        for client in life.clients:
            client.before = None


async def _unreachable(_: Request) -> None:
    raise Unavailable(0, "connection refused")


def cases(stories: Sequence[Story], ways: Sequence[str] = WAYS) -> Iterator[Case]:
    """Each way at each effect, before it is sent and after it was."""
    for story in stories:
        for point in crash_points(story):
            if "Lease" in point[0] and point[1] > MOST_RENEWALS:
                continue
            for way in ways:
                yield Case(story.name, way, point)


def main() -> int:
    """Tell all cases; 1 when one of them failed."""
    parser = parser_of(__doc__)
    parser.add_argument("--way", action="append", choices=WAYS)
    args = parser.parse_args()
    quiet()
    every = cases([s for s in STORIES if not args.story or s.name in args.story], args.way or WAYS)
    name = named("rivals", args.story, *sorted(args.way or ()))
    return tell_all(name, in_parts(every), partial(tell, story=told), args.jobs, sum_=Told(), afresh=args.afresh)


if __name__ == "__main__":
    sys.exit(main())
