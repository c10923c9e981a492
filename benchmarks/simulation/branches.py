"""Every crash point: the operator is killed before and after each effect of each story, and again after its restart.

`python -m benchmarks.simulation.branches [--seconds N] [--jobs 2] [--story NAME] [--afresh]`, with
PYTHONPATH=operator:hack; writes `build/chaos/crashes.json`. The second crash of a pair is at each of the first twenty
points of the successor, or N of them; with 0 there are no pairs.

Beginnings are shared: one process tells the calm story and forks at each point (`forks` says why it may); in the child
the operator dies there, and the child tells the story to its end; its successor's points fork in the same way.

And what is provably the same is told once. A crash loses all that a process knows, so it cannot matter how far the
operator had come when nothing else did: two points of one life are alike when no virtual time passed between them, no
object changed, no pod's counts were drawn (they are when somebody asks for them, and each draw moves the noise of those
to come), and of what the world itself still has to do nothing was done and nothing was added. Callbacks of the operator
die with it, and callbacks that only look change nothing as long as they do not find what they look for; but while the
world itself has something to do at this very moment, their order would matter, so then two points are alike only within
one turn of the loop. The pairs of a first crash that is alike another are those of the other; they are not counted
again.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.simulation.crashes import Case, Point, again, counts, points, story_of, told
from benchmarks.simulation.forks import Forks, Lost
from benchmarks.simulation.stories import STORIES, Story
from benchmarks.simulation.telling import BUILD, IN_A_PART, Told, named, parser_of, quiet, tell_all
from trimtab.simulate.life import CrashAt, Life
from trimtab.simulate.loop import VirtualLoop, run
from trimtab.simulate.watch import SimulatedWatch
from trimtab.simulate.world import World

SECOND_POINTS = 20  # of the successor, at which it is killed, too


@dataclass(frozen=True)
class Slice:
    """Some first points of a story, by their numbers, and how many of the successor's come after each."""

    story: str
    firsts: range
    seconds: int = SECOND_POINTS


@dataclass
class Count:
    """Points that were passed, and of these the ones alike the one before them; the others were played."""

    points: int = 0
    alike: int = 0

    @property
    def played(self) -> int:
        return self.points - self.alike

    def merge(self, other: Count) -> None:
        """Add another's."""
        self.points += other.points
        self.alike += other.alike

    def as_json(self) -> dict[str, int]:
        """The figures."""
        return {"points": self.points, "alike": self.alike, "played": self.played}

    def __str__(self) -> str:
        return f"{self.points} ({self.alike} alike, {self.played} played)"


@dataclass
class Branched(Told):
    """What a tree of crashes came to, with the seconds of CPU of all its processes."""

    singles: Count = field(default_factory=Count)
    pairs: Count = field(default_factory=Count)
    cpu_seconds: float = 0.0

    def merge(self, other: Branched) -> None:
        """Add another's."""
        super().merge(other)
        self.singles.merge(other.singles)
        self.pairs.merge(other.pairs)
        self.cpu_seconds += other.cpu_seconds

    def __str__(self) -> str:
        told_ = f"points {self.singles}, pairs {self.pairs}" if self.pairs.points else f"points {self.singles}"
        return f"{told_}, {len(self.failures)} failed, {self.cpu_seconds:.0f} s of CPU"


@dataclass(frozen=True)
class Moment:
    """Where the world stands: equal moments have the same future once the operator is dead. The handles are kept, so
    that no other can have the identity of one that is gone."""

    at: tuple[object, ...]
    handles: list[Any] = field(compare=False, repr=False)


def moment_of(world: World) -> Moment:
    """What must be equal: see above."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    due, later = loop.waiting()
    due = [h for h in due if Life.of(h._context) is None]
    later = [h for h in later if Life.of(h._context) is None]
    quiet_now = all(_only_looks(h, world) for h in due)
    handles = [h for h in later if not _only_looks(h, world)] if quiet_now else [*due, *later]
    turn = 0 if quiet_now else loop.turns
    drawn = [meter.drawn_until for meter in world.traffic.meters.values()]
    at = (loop.time(), world.cluster.objects.version, drawn, world.found, turn, [id(h) for h in handles])
    return Moment(at, handles)


def _only_looks(handle: Any, world: World) -> bool:
    """Does it change nothing of the world? What arrives at a watch is its operator's."""
    return handle._context is world.looking or isinstance(getattr(handle._callback, "__self__", None), SimulatedWatch)


class Tree:
    """The fates of a story's operators: all those of a slice, each in a process of its own."""

    def __init__(self, slice_: Slice) -> None:
        self.story, self.seed = slice_.story, 1
        self._slice, self._forks = slice_, Forks[Branched]()
        self._crashes: tuple[Point, ...] = ()
        self._found, self._passed = Branched(), 0
        self._last: Moment | None = None

    @property
    def case(self) -> Case:
        """What happens in this process."""
        return Case(self.story, self._crashes, self.seed)

    def __str__(self) -> str:
        return str(self.case) if self._crashes else f"{self.story}, {self._slice.firsts}"

    def told(self) -> Branched:
        """Tell all of it."""
        answer = self._forks.ask(self._told)
        return _lost(str(self), answer) if isinstance(answer, Lost) else answer

    def death(self, number: int, world: World) -> CrashAt:
        """At each point of the life after the last crash, as long as there may be another."""
        branches = number == len(self._crashes) < (2 if self._slice.seconds else 1)
        return _Branching(self, world) if branches else CrashAt()

    def _told(self) -> Branched:
        """To the end of this process; its children end in here, too."""
        try:
            run(self._to_its_end())
        except Exception:
            self._failed(traceback.format_exc())
        return self._found

    async def _to_its_end(self) -> None:
        await told(self)
        if not self._crashes:
            self._failed(f"the calm story passed {self._passed} points only")
        self._forks.answer(self._found)  # at once: nobody needs the rest of this world

    def _failed(self, why: str) -> None:
        how = f"again: {again(self.case)}\n" if self._crashes else ""
        self._found.failures.append(f"{self}\n{why}{how}")

    def passes(self, point: Point, world: World) -> bool:
        """A point was reached; True in the process in which the operator dies there."""
        first = not self._crashes
        wanted = self._slice.firsts if first else range(self._slice.seconds)
        if self._passed >= wanted.stop or (first and not counts(point)):
            return False
        self._passed += 1
        now, before = moment_of(world), self._last
        self._last = now
        if self._passed <= wanted.start:
            return False
        count = self._found.singles if first else self._found.pairs
        count.points += 1
        if now == before:
            count.alike += 1
        elif self._branches(point):
            return True
        if first and self._passed == wanted.stop:
            self._forks.answer(self._found)
        return False

    def _branches(self, point: Point) -> bool:
        self._found.cases += 1
        answer = self._forks.fork()
        if answer is None:
            self._crashes += (point,)
            self._found, self._passed, self._last = Branched(), 0, None
            return True
        if isinstance(answer, Lost):
            case = Case(self.story, (*self._crashes, point), self.seed)
            answer = _lost(f"{case}", answer, f"again: {again(case)}\n")
        self._found.merge(answer)
        return False


def _lost(label: str, answer: Lost, how: str = "") -> Branched:
    """Its failure stands for all that it would have told."""
    return Branched(failures=[f"{label}\nits process was lost: {answer.how}\n{how}"])


class _Branching(CrashAt):
    """Kills the operator at every point, each time in another process."""

    def __init__(self, tree: Tree, world: World) -> None:
        super().__init__()
        self._tree, self._world = tree, world

    async def __call__(self, point: str) -> None:
        """Note the point; die in the child, go on in the parent."""
        await super().__call__(point)
        life = Life.current()
        if life is not None and self._tree.passes(self.seen[-1], self._world):
            await life.die()


def tell_slice(slice_: Slice) -> Branched:
    """All crashes of a slice."""
    quiet()
    points(story_of(slice_.story))  # what a life loads and caches is there before the first fork
    before = _cpu_seconds()
    found = Tree(slice_).told()
    found.cpu_seconds = _cpu_seconds() - before
    return found


def _cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(u.ru_utime + u.ru_stime for u in used)


def slices(stories: Sequence[Story], seconds: int) -> Iterator[Slice]:
    """Every first point of the stories, some to a part."""
    for story in stories:
        passed = range(len(points(story)))
        for at in passed[::IN_A_PART]:
            yield Slice(story.name, passed[at : at + IN_A_PART], seconds)


def main() -> int:
    """Tell all cases; 1 when one of them failed."""
    parser = parser_of(__doc__)
    parser.add_argument("--seconds", type=int, default=SECOND_POINTS, help="points of the successor; 0: no pairs")
    args = parser.parse_args()
    quiet()
    stories = [s for s in STORIES if not args.story or s.name in args.story]
    works = {f"{s.story}-{s.firsts.start:05}": s for s in slices(stories, args.seconds)}
    other = () if args.seconds == SECOND_POINTS else (f"seconds-{args.seconds}",)
    sum_, name = Branched(), named("crashes", args.story, *other)
    code = tell_all(name, works, tell_slice, args.jobs, sum_=sum_, afresh=args.afresh)
    out = BUILD / f"{name}.json"
    out.write_text(json.dumps(as_json(sum_, len(stories)), indent=1) + "\n", encoding="utf-8")
    print(f"{out} written")
    return code


def as_json(sum_: Branched, stories: int) -> dict[str, Any]:
    """The figures of a campaign."""
    return {
        "stories": stories,
        "singles": sum_.singles.as_json(),
        "pairs": sum_.pairs.as_json(),
        "failed": len(sum_.failures),
        "cpuSeconds": round(sum_.cpu_seconds),
        "failures": sum_.failures,
    }


if __name__ == "__main__":
    sys.exit(main())
