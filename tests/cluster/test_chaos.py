"""The long forms on the real control plane: `make chaos-cluster`. Figures are printed and kept in build/chaos."""

from __future__ import annotations

import contextlib
import json
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from benchmarks.operator.breaches import PARTS, Options
from benchmarks.operator.live import Live, cluster_stack, live_places
from benchmarks.operator.soak import PATIENT, soak
from benchmarks.operator.soak import PLACES as SOAK_PLACES
from tests.cluster.crashes import Lived, Lives
from tests.cluster.ground import Breaker, KeptAlive, Tally, proxied, run
from tests.cluster.stories import ALL_STORIES, ELECTION, TUNE, Point, Story

from controlplane import ControlPlane
from faultproxy import Plan
from faultproxy.plan import Rates
from stack.paths import ROOT

pytestmark = [pytest.mark.long, pytest.mark.timeout(4 * 3600)]

OUT = ROOT / "build" / "chaos"
PLACES = 3
ALIKE = 2  # renewals of a lease are all alike: so many of them are points
PAIRS = 30
RATES = Rates(often_silent=True)
Death = TypeVar("Death")
NETWORK_SECONDS, GROUND_SECONDS, SOAK_SECONDS = 600.0, 600.0, 1200.0


def keep(name: str, figures: dict[str, Any]) -> None:
    """Print figures, and write them to a file of this name."""
    OUT.mkdir(parents=True, exist_ok=True)
    text = json.dumps(figures, indent=1)
    (OUT / f"{name}.json").write_text(text + "\n")
    print(f"\n{name}: {text}")


@pytest.fixture(scope="module")
def places(controlplane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Live]]:
    """One stack with several installs."""
    with live_places(controlplane, tmp_path_factory.mktemp("chaos"), "chaos", PLACES) as found:
        yield found


def worth_dying_at(points: tuple[Point, ...]) -> list[Point]:
    """All of them, but of the election only the first of each kind."""
    return [point for point in points if point.part != ELECTION or point.nth <= ALIKE]


@pytest.fixture(scope="module")
def lives(places: list[Live], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lives]:
    """What tells stories in all places."""
    with Lives(places, tmp_path_factory.mktemp("lives")) as found:
        yield found


@pytest.fixture(scope="module")
def calm(lives: Lives) -> dict[str, tuple[Point, ...]]:
    """The points of every story, by its name."""
    return lives.record(ALL_STORIES)


@pytest.mark.parametrize("story", ALL_STORIES, ids=lambda story: story.name)
def test_every_effect(lives: Lives, calm: dict[str, tuple[Point, ...]], story: Story) -> None:
    """The operator dies before and after every single effect of the story."""
    points, begun = worth_dying_at(calm[story.name]), time.monotonic()
    lived, failed = told({point: lives.submit(story, point) for point in points})
    again, failed_again = told({point: lives.submit(story, point) for point, life in lived.items() if not life.deaths})
    lived |= again
    died = [point for point, life in lived.items() if life.deaths]
    figures = {
        "effects": len(calm[story.name]) // 2,
        "points": len(points),
        "killed": len(died),
        "failed": sorted(map(str, {*failed, *failed_again})),
        "seconds": round(time.monotonic() - begun),
        "notReached": sorted(str(point) for point, life in lived.items() if not life.deaths),
        "byKind": dict(sorted(Counter(f"{point.part} {point.effect}" for point in died).items())),
    }
    keep(f"crash-points-{story.name}", figures)
    assert figures["failed"] == []
    never = {point.line for point in points} - {point.line for point in died}
    assert sorted(never) == [], "kinds of effects at which no operator died"
    assert len(died) >= min(0.9 * len(points), len(points) - 1)  # one of a few may not come again


def told(futures: Mapping[Death, Future[Lived]]) -> tuple[dict[Death, Lived], list[Death]]:
    """All lives are told before the first failure counts; which ended well, and which failed."""
    for death, future in futures.items():
        future.add_done_callback(partial(say, death))
    failed = [death for death, future in futures.items() if future.exception() is not None]
    return {death: future.result() for death, future in futures.items() if death not in failed}, failed


def say(death: object, future: Future[Lived]) -> None:
    """What a life came to, as soon as it is over: there are hours of them."""
    if future.cancelled():
        return
    error = future.exception()
    words = f"held, deaths: {future.result().deaths}" if error is None else f"FAILED: {error}"
    print("\n".join([f"{death}: {words}", *getattr(error, "__notes__", ())]), flush=True)


def test_two_deaths_in_one_life(lives: Lives, calm: dict[str, tuple[Point, ...]]) -> None:
    """The successor dies, too, while it finishes or undoes what it found."""
    rng, points, begun = random.Random(1), worth_dying_at(calm[TUNE.name]), time.monotonic()
    pairs = [rng.sample(points, 2) for _ in range(PAIRS)]
    futures = {f"{number}: {a}, then {b}": lives.submit(TUNE, a, b) for number, (a, b) in enumerate(pairs)}
    lived, failed = told(futures)
    deaths = Counter(life.deaths for life in lived.values())
    figures = {
        "lives": len(futures),
        "livesByDeaths": {str(n): deaths[n] for n in sorted(deaths)},
        "failed": failed,
        "seconds": round(time.monotonic() - begun),
    }
    keep("crash-pairs", figures)
    assert failed == []
    assert deaths[2] >= PAIRS // 3


def told_of(tallies: list[Tally]) -> dict[str, Any]:
    """Figures of several places."""
    return {
        "experiments": sum(tally.experiments for tally in tallies),
        "trials": dict(sorted(sum((tally.trials for tally in tallies), Counter[str]()).items())),
        "operatorStarts": sum(tally.starts for tally in tallies),
    }


def test_bad_networks(places: list[Live], controlplane: ControlPlane) -> None:
    """Each place has a proxy with a seed of its own."""
    with contextlib.ExitStack() as open_, ThreadPoolExecutor(PLACES) as pool:
        proxies = [open_.enter_context(proxied(controlplane, Plan(seed, RATES))) for seed in range(PLACES)]
        told = [
            pool.submit(run, live, KeptAlive(live, proxy.address), seed, NETWORK_SECONDS)
            for seed, (live, proxy) in enumerate(zip(places, proxies, strict=True))
        ]
        tallies = [future.result() for future in told]
    faults = sum((Counter(proxy.by_fault()) for proxy in proxies), Counter[str]())
    requests = sum(sum(proxy.passed.values()) for proxy in proxies) + sum(faults.values())
    keep("bad-networks", {**told_of(tallies), "requests": requests, "faults": dict(sorted(faults.items()))})
    for live in places:
        live.kill_operators()
    assert told_of(tallies)["trials"].get("Succeeded", 0) > 0


@pytest.mark.parametrize("seed", [1, 2])
def test_ground_that_breaks(places: list[Live], seed: int) -> None:
    """Prometheus, etcd, the API server and operators go and come back; the ground holds again before the end."""
    operators = [KeptAlive(live) for live in places]
    with (
        Breaker(places[0].stack, operators, seed, GROUND_SECONDS) as breaker,
        ThreadPoolExecutor(PLACES) as pool,
    ):
        told = [
            pool.submit(run, live, operator, 100 * seed + number, GROUND_SECONDS)
            for number, (live, operator) in enumerate(zip(places, operators, strict=True))
        ]
        tallies = [future.result() for future in told]
    keep(f"breaking-ground-{seed}", {**told_of(tallies), "broken": dict(sorted(breaker.broken.items()))})
    for live in places:
        live.kill_operators()
    assert told_of(tallies)["trials"].get("Succeeded", 0) > 0


@pytest.mark.parametrize("part", PARTS)
def test_promises_about_time(controlplane: ControlPlane, tmp_path: Path, part: str) -> None:
    """Thirty forced breaches, ticks beside four fits, a leader killed in a breach, a budget that burns."""
    with cluster_stack(controlplane, tmp_path, "time", PLACES, operator=False) as stack:
        found = PARTS[part](stack, [Live(stack, namespace) for namespace in stack.options.places], Options())
    keep(f"time-{part}", dict(found.document))
    print(f"\n{found.title}\n{found.text}")
    assert found.kept, found.text


def test_soak(controlplane: ControlPlane, tmp_path: Path) -> None:
    """What one operator process holds does not grow over hundreds of trials."""
    with cluster_stack(controlplane, tmp_path, "soak", SOAK_PLACES, environment=PATIENT) as stack:
        figures = soak(stack, SOAK_SECONDS)
    keep("soak", figures)
    first, last = figures["first"], figures["last"]
    assert last["operatorMiB"] <= 1.05 * first["operatorMiB"] + 5.0
    assert last["workerMiB"] <= 1.05 * first["workerMiB"] + 5.0
    assert last["files"] <= first["files"] + 5
    assert last["threads"] <= first["threads"] + 2
    assert last["tasks"] <= first["tasks"] + 10
