"""The crash-test facility: what is an effect, and when the process dies."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from trimtab.adapters.clock import LoopClock
from trimtab.domain import kinds
from trimtab.domain.errors import AlreadyExists
from trimtab.ports import Cluster
from trimtab.runtime.effects import EffectfulCluster, KillAt, with_fail_points
from trimtab.runtime.settings import InvalidSetting
from trimtab.simulate.cluster import InMemoryCluster


async def one_of_each(cluster: Cluster) -> None:
    """Each kind of request once."""
    made = await cluster.create(kinds.TRIALS, "default", {"metadata": {"name": "t"}, "spec": {}})
    await cluster.create(kinds.TRIALS, "default", {"metadata": {"name": "u"}, "spec": {}}, dry_run=True)
    await cluster.replace(kinds.TRIALS, "default", "t", {**made, "status": {"n": 1}}, subresource="status")
    found = await cluster.get(kinds.TRIALS, "default", "t")
    await cluster.replace(kinds.TRIALS, "default", "t", {**found, "spec": {"n": 1}})
    await cluster.create(kinds.PODS, "default", {"metadata": {"name": "p"}, "spec": {}})
    await cluster.create_subresource(kinds.PODS, "default", "p", "eviction", {})
    await cluster.list(kinds.TRIALS, None)
    await cluster.version()
    await cluster.delete(kinds.TRIALS, "default", "t")


EFFECTS = [
    "create:Trial",
    "replace:Trial/status",
    "replace:Trial",
    "create:Pod",
    "create:Pod/eviction",
    "delete:Trial",
]


async def test_each_write_is_announced_before_and_after() -> None:
    seen: list[str] = []

    async def note(point: str) -> None:
        seen.append(point)

    await one_of_each(EffectfulCluster(InMemoryCluster(LoopClock()), note))
    assert seen == [f"{moment}:{effect}" for effect in EFFECTS for moment in ("before", "after")]


async def test_a_refused_write_has_no_after() -> None:
    seen: list[str] = []

    async def note(point: str) -> None:
        seen.append(point)

    cluster = EffectfulCluster(InMemoryCluster(LoopClock()), note)
    body = {"metadata": {"name": "t"}}
    await cluster.create(kinds.CONFIG_MAPS, "default", body)
    with pytest.raises(AlreadyExists):
        await cluster.create(kinds.CONFIG_MAPS, "default", body)
    assert seen == ["before:create:ConfigMap", "after:create:ConfigMap", "before:create:ConfigMap"]


async def test_it_dies_at_the_nth_only(tmp_path: Path) -> None:
    deaths: list[int] = []
    log = tmp_path / "effects"
    kill = KillAt("after:create:Pod", 2, log, lambda: deaths.append(len(log.read_text().splitlines())))
    for point in ("before:create:Pod", "after:create:Pod", "after:create:Pod", "after:create:Pod"):
        await kill(point)
    assert deaths == [3]


async def test_parts_count_their_own_effects_and_sign_them(tmp_path: Path) -> None:
    log, cluster = tmp_path / "effects", InMemoryCluster(LoopClock())
    environment = {"TRIMTAB_FAIL_POINT": "safety/before:create:Pod:1", "TRIMTAB_EFFECT_LOG": str(log)}
    await one_of_each(with_fail_points(cluster, environment, "reconcile"))
    assert log.read_text().splitlines() == [f"reconcile/{m}:{e}" for e in EFFECTS for m in ("before", "after")]


def test_it_is_off_unless_asked_for() -> None:
    cluster = InMemoryCluster(LoopClock())
    assert with_fail_points(cluster, {}) is cluster


@pytest.mark.parametrize(
    "text",
    [
        "create:Trial",
        "after:create:Trial",
        "after:create:Trial:0",
        "during:create:Trial:1",
        "after:create:1",
        "safety/create:Trial:1",
    ],
)
def test_a_malformed_point_is_refused(text: str) -> None:
    with pytest.raises(InvalidSetting, match=r"^TRIMTAB_FAIL_POINT: "):
        with_fail_points(InMemoryCluster(LoopClock()), {"TRIMTAB_FAIL_POINT": text})


PROGRAM = """
import asyncio, os, sys
from tests.unit.runtime.test_effects import one_of_each
from trimtab.adapters.clock import LoopClock
from trimtab.runtime.effects import with_fail_points
from trimtab.simulate.cluster import InMemoryCluster

async def main():
    await one_of_each(with_fail_points(InMemoryCluster(LoopClock()), os.environ, sys.argv[1]))

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("moment", "part", "last"),
    [
        ("before", "", "before:replace:Trial"),
        ("after", "", "after:replace:Trial"),
        ("reconcile/after", "reconcile", "reconcile/after:replace:Trial"),
        ("after", "reconcile", "reconcile/after:replace:Trial"),
    ],
)
async def test_a_process_really_dies_there(tmp_path: Path, moment: str, part: str, last: str) -> None:
    root = Path(__file__).parents[3]
    log = tmp_path / "effects"
    environment = os.environ | {
        "PYTHONPATH": f"{root / 'operator'}:{root}",
        "TRIMTAB_FAIL_POINT": f"{moment}:replace:Trial:1",
        "TRIMTAB_EFFECT_LOG": str(log),
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", PROGRAM, part, env=environment)
    assert await process.wait() == -signal.SIGKILL
    assert log.read_text().splitlines()[-1] == last
