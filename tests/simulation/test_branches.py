"""Crashes told by forks are the crashes told from the beginning, and points that count as alike have one future."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import pytest
import structlog
from benchmarks.simulation import crashes
from benchmarks.simulation.branches import Branched, Moment, Slice, moment_of, tell_slice
from benchmarks.simulation.crashes import NEVER, Case, Point
from benchmarks.simulation.stories import Story, begun
from benchmarks.simulation.telling import quiet
from tests.simulation.world import told

from trimtab.simulate.life import CrashAt
from trimtab.simulate.world import World

pytestmark = pytest.mark.thorough

SEED = 20261127
FIRST: Point = ("before:create:Deployment", 2)
STORIES = ("blindness", "deletion", "beside")


class Noting(CrashAt):
    """Notes at each point where the world stands."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world
        self.moments: list[Moment] = []

    async def __call__(self, point: str) -> None:
        await super().__call__(point)
        self.moments.append(moment_of(self._world))


@dataclass(frozen=True)
class Noted(Case):
    """The life after the last crash notes its points."""

    def death(self, number: int, world: World) -> CrashAt:
        return Noting(world) if number == len(self.crashes) else super().death(number, world)


@pytest.fixture(autouse=True)
def hushed() -> Iterator[None]:
    """Campaigns are quiet for good; other tests are not."""
    quiet()
    yield
    structlog.reset_defaults()


@pytest.fixture
def digests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever judges a story says what happened in it, change by change."""

    def judge(label: str, story: Story, world: World, ended: bool, *, strict: bool = True) -> None:
        del label, story, strict
        changes = [(c.at, c.version, c.type, c.kind, c.object) for c in world.history.changes]
        raise AssertionError(f"digest {hashlib.sha256(json.dumps([ended, changes]).encode()).hexdigest()}")

    monkeypatch.setattr(crashes, "judge", judge)


def digest_of(case: Case) -> str:
    """What happened, told from the beginning; needs `digests`."""
    with pytest.raises(AssertionError, match="digest") as caught:
        told(crashes.told(case))
    return str(caught.value)


def alike(story: str, *before: Point) -> Iterator[tuple[Point, Point]]:
    """Neighbours that count as one, of the life after these crashes."""
    life = told(crashes.told(Noted(story, before)))[len(before)]
    assert isinstance(life, Noting)
    for (point, moment), (other, another) in pairwise(zip(life.seen, life.moments, strict=True)):
        if moment == another:
            yield point, other


@pytest.mark.parametrize("before", [(), (FIRST,)], ids=["first", "second"])
@pytest.mark.parametrize("story", STORIES)
def test_points_that_are_alike_have_the_same_future(
    story: str, before: tuple[Point, ...], request: pytest.FixtureRequest
) -> None:
    found = list(alike(story, *before))
    assert len(found) > 10
    request.getfixturevalue("digests")
    for one, other in random.Random(SEED).sample(found, 3):
        assert digest_of(Case(story, (*before, one))) == digest_of(Case(story, (*before, other))), (one, other)


@pytest.mark.usefixtures("digests")
def test_points_that_are_not_alike_have_another() -> None:
    cases = [Case("success", ((f"{side}:create:Deployment", 2),)) for side in ("before", "after")]
    assert digest_of(cases[0]) != digest_of(cases[1])


@pytest.mark.parametrize("story", STORIES)
def test_what_forks_tell_is_what_is_told_from_the_beginning(story: str, request: pytest.FixtureRequest) -> None:
    middle = crashes.points(crashes.story_of(story)).index(FIRST)
    request.getfixturevalue("digests")
    found = tell_slice(Slice(story, range(middle - 2, middle + 2), 4))
    heard = dict(_heard(found))
    assert len(heard) == found.cases == found.singles.played + found.pairs.played
    assert found.singles.played > 0
    assert found.pairs.played > 0
    for crashed in random.Random(SEED).sample(sorted(heard), min(len(heard), 5)):
        assert digest_of(Case(story, crashed)) == heard[crashed], crashed


def _heard(found: Branched) -> Iterator[tuple[tuple[Point, ...], str]]:
    """The crashes of each case that a campaign told and what its judge said, read from what it prints."""
    for text in found.failures:
        *_, said, again = text.splitlines()
        _, _, arguments = again.partition("benchmarks.simulation.crashes ")
        yield tuple(crashes.point(a) for a in arguments.split()[1:]), said.removeprefix("AssertionError: ")


@pytest.mark.parametrize("wanted", [False, True])
def test_who_looks_changes_nothing_until_it_is_found(wanted: bool) -> None:
    """What a story's step does may change no object: that queries are not answered any more, for example."""

    async def look() -> tuple[Moment, Moment, list[str]]:
        done: list[str] = []
        story = Story("looks", {}, ((lambda _: wanted, lambda _: done.append("it")),))
        world = await begun(story)  # what was just applied is looked at as soon as the loop turns
        before = moment_of(world)
        await world.clock.sleep(0.0)
        return before, moment_of(world), done

    before, after, done = told(look())
    assert done == (["it"] if wanted else [])
    assert (before == after) is not wanted


def test_parts_of_a_story_are_the_whole() -> None:
    whole = tell_slice(Slice("deletion", range(20, 28), 4))
    parts = [tell_slice(Slice("deletion", firsts, 4)) for firsts in (range(20, 23), range(23, 28))]
    assert whole.failures == []
    assert whole.singles.points == 8
    assert whole.singles.alike > 0
    assert whole.pairs.points == 4 * whole.singles.played
    sum_ = Branched()
    for part in parts:
        sum_.merge(part)
    assert (sum_.singles, sum_.pairs, sum_.cases) == (whole.singles, whole.pairs, whole.cases)


def test_a_process_that_is_lost_is_a_failure_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    crashes.points(crashes.story_of("deletion"))
    monkeypatch.setattr(crashes, "judge", lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
    found = tell_slice(Slice("deletion", range(1), 0))
    point, number = crashes.points(crashes.story_of("deletion"))[0]
    (failure,) = found.failures
    assert f"killed at {point}:{number}\nits process was lost: killed by SIGKILL\n" in failure
    assert f"benchmarks.simulation.crashes deletion {point}:{number}" in failure


def test_a_story_that_has_fewer_points_than_its_calm_life_showed_is_a_failure() -> None:
    beyond = len(crashes.points(crashes.story_of("deletion")))
    (failure,) = tell_slice(Slice("deletion", range(beyond, beyond + 1), 0)).failures
    assert f"the calm story passed {beyond} points only" in failure


def test_a_case_is_told_again_by_its_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["crashes", *crashes.again(Case("deletion", (FIRST,))).split()[-2:]])
    assert crashes.main() == 0
    assert "all held" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["crashes", "deletion", "before:create:Deployment:200"])
    assert crashes.main() == 1
    assert "never reached" in capsys.readouterr().out


def test_a_case_without_crashes_is_calm() -> None:
    (calm, *_) = told(crashes.told(Case("deletion", (NEVER,))))
    assert tuple(p for p in calm.seen if crashes.counts(p)) == crashes.points(crashes.story_of("deletion"))
