"""A sample of the crash matrix and of two operators at once; `make chaos` tells all of it."""

from __future__ import annotations

import ast
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.simulation import branches, crashes, rivals
from benchmarks.simulation.stories import STORIES
from tests.simulation.world import told

import trimtab
from trimtab.simulate.life import ActAt

pytestmark = pytest.mark.thorough

PACKAGE = Path(trimtab.__file__).parent
WRITES = frozenset({"create", "replace", "delete", "create_subresource"})
SAMPLE = 12
SEED = 20260302

Site = tuple[str, int]
"""A module's file name and the first line of a call."""


@pytest.mark.parametrize("story", [s.name for s in STORIES])
def test_a_story_without_a_crash(story: str) -> None:
    (calm, *_) = told(crashes.told(crashes.Case(story, (crashes.NEVER,))))
    assert len(calm.seen) > 50


def test_some_crashes_and_second_crashes() -> None:
    rng = random.Random(SEED)
    for case in rng.sample(list(crashes.singles(STORIES)), SAMPLE):
        lives = told(crashes.told(case))
        assert lives[0].seen[-1] == case.crashes[0]
        second = rng.choice(lives[1].seen[: branches.SECOND_POINTS])
        told(crashes.told(crashes.Case(case.story, (*case.crashes, second))))


@pytest.mark.parametrize("way", rivals.WAYS)
def test_some_moves_of_the_leadership(way: str) -> None:
    for case in random.Random(SEED).sample(list(rivals.cases(STORIES, (way,))), SAMPLE // 2):
        told(rivals.told(case))


@pytest.mark.parametrize("at", [("before:replace:Lease", 2), ("after:replace:Lease", 3)])
def test_a_leader_that_lost_its_lease_records_nothing_over_a_later_one(at: crashes.Point) -> None:
    """Both withdrew; what the first had proved to be gone, the second was about to make."""
    told(rivals.told(rivals.Case("deletion", "usurped", at)))


def test_a_trial_that_a_leader_makes_after_its_experiment_is_gone_is_let_go() -> None:
    told(rivals.told(rivals.Case("deletion", "frozen", ("before:create:Trial", 1))))


def test_the_stories_hold_every_effect_that_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every place in the operator that writes to the cluster is reached, so each has its crash points."""
    known, reached = dict(_write_sites()), set[Site]()
    note = ActAt.__call__

    async def noting(self: ActAt, point: str) -> None:
        reached.update(_callers(known))
        await note(self, point)

    monkeypatch.setattr(ActAt, "__call__", noting)
    for story in STORIES:
        told(crashes.told(crashes.Case(story.name, (crashes.NEVER,))))
    told(crashes.told(crashes.Case("recommendation", (("after:create:ConfigMap", 2),))))
    assert {f"{name}:{line}" for (name, line) in known.keys() - reached} == set()


def _write_sites() -> Iterator[tuple[Site, int]]:
    """Calls of the Cluster port that write: where each begins, and its last line."""
    for folder in ("runtime", "adapters"):
        for path in sorted((PACKAGE / folder).glob("*.py")):
            if path.name in ("effects.py", "cluster.py", "uninstall.py"):
                continue  # the port itself; and another process, whose crashes test_reap.py tells
            for node in ast.walk(ast.parse(path.read_text())):
                if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                    continue
                holder = node.func.value
                if node.func.attr in WRITES and isinstance(holder, ast.Attribute) and holder.attr == "_cluster":
                    yield (str(path), node.lineno), node.end_lineno or node.lineno


def _callers(known: dict[Site, int]) -> Iterator[Site]:
    """Those of the known calls that are on the stack."""
    frame = sys._getframe(1)
    while frame is not None:
        for (name, first), last in known.items():
            if frame.f_code.co_filename == name and first <= frame.f_lineno <= last:
                yield name, first
        frame = frame.f_back  # type: ignore[assignment]


def test_a_crash_is_where_it_was_wanted() -> None:
    (first, second, *_) = told(crashes.told(crashes.Case("success", (("before:create:Deployment", 2),))))
    assert first.seen[-1] == ("before:create:Deployment", 2)
    assert ("before:create:Deployment", 1) in second.seen
