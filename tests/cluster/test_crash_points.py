"""The operator dies by SIGKILL at a named effect of a live trial, and its successor finishes or undoes the trial.

An eyewitness sees every change in the API server's order, so "never two canaries" is checked at each of them. Beside
the moments that are named here, it dies once at every other kind of effect that lives in peace show to have; the long
form (`make chaos`) takes every single effect.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field

import pytest
from benchmarks.operator.live import Live, live_places, phase_of
from tests.cluster.crashes import Lived, Lives
from tests.cluster.stories import EITHER, MEASURING, RECONCILE, SAFETY, STORIES, TUNE, WITHDRAW, Point, Story

from controlplane import ControlPlane

CONTROLLERS = "kube-controller-manager"
PLACES = 3

POINTS = {
    "after create Lease: target locked, no Trial": "after:create:Lease:1",
    "before create Trial: Experiment held, no Trial": "before:create:Trial:1",
    "after create Trial: Trial Pending": "after:create:Trial:1",
    "after status Deploying: no arm": "after:replace:Trial/status:1",
    "after the leader's claim: fenced, no arm": "after:replace:Trial/status:2",
    "after create Deployment: canary without control": "after:create:Deployment:1",
    "after second create Deployment: both arms": "after:create:Deployment:2",
    "before status Measuring": "before:replace:Trial/status:5",
    "after status Measuring": "after:replace:Trial/status:5",
    "before status Draining: judged, not recorded": "before:replace:Trial/status:6",
    "after status Draining: arms still there": "after:replace:Trial/status:6",
    "after delete Deployment: control without canary": "after:delete:Deployment:1",
    "before terminal status: arms gone": "before:replace:Trial/status:7",
    "before finalizer release: Trial terminal": "before:replace:Trial:1",
}
WITHDRAWAL = "a withdrawal"
COLLECTED = {"delete:ReplicaSet", "delete:Pod"}  # the garbage collector may be faster: no life must have these
ALONE = "after:delete:Pod:1"  # ReplicaSets gone, a pod left
PATIENT = dataclasses.replace(TUNE, trial={"warmUp": "1s", "duration": "15s", "deadline": "90s"})  # time to interfere


def reconcilers(text: str) -> Point:
    """A point of the reconciler, or of whoever is the first to take away what is to go."""
    moment, verb, kind, nth = text.split(":")
    return Point(EITHER if verb == "delete" else RECONCILE, moment, f"{verb}:{kind}", int(nth))


@dataclass
class Told:
    """Lives that were asked for, and what the operator does in lives in peace."""

    lives: Lives
    calm: dict[str, tuple[Point, ...]]
    named: dict[str, Future[Lived]] = field(default_factory=dict)
    others: dict[str, tuple[Future[Lived], list[Point]]] = field(default_factory=dict)

    def wait(self) -> None:
        """Until no life is under way."""
        for future in (*self.named.values(), *(future for future, _ in self.others.values())):
            future.exception()


@pytest.fixture(scope="module")
def told(
    controlplane: ControlPlane, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Told]:
    """One stack for all lives; those of the selected tests are begun at once."""
    wanted = {item.name for item in request.session.items if item.path == request.path}
    directory = tmp_path_factory.mktemp("crash")
    with (
        live_places(controlplane, directory, "crash", PLACES) as places,
        Lives(places, directory) as lives,
    ):
        found = Told(lives, lives.record())
        for name, at in POINTS.items():
            if any(name in item for item in wanted):
                found.named[name] = lives.submit(TUNE, reconcilers(at))
        if test_a_withdrawal_survives_the_death_of_its_operator.__name__ in wanted:
            point = Point(SAFETY, "after", "delete:Deployment", 1)
            found.named[WITHDRAWAL] = lives.submit(WITHDRAW, point, after_death=still_measuring)
        if test_every_other_kind_of_effect.__name__ in wanted:
            found.others = {story.name: (lives.submit(story, *points), points) for story, points in others(found.calm)}
        yield found


def still_measuring(live: Live, name: str) -> None:
    """The withdrawal has begun, and the Trial does not say so."""
    assert phase_of(live.trials(name)[0]) in MEASURING


def others(calm: dict[str, tuple[Point, ...]]) -> Iterator[tuple[Story, list[Point]]]:
    """After the first effect of each kind that no named point has: one life of each story with all of these deaths, in
    the order in which a life in peace has the effects, so that each is still to come when the next operator starts."""
    known = {(RECONCILE, reconcilers(at).effect) for at in POINTS.values()}
    for story in STORIES:
        points: list[Point] = []
        for point in calm[story.name]:
            if point.moment == "after" and point.kind not in known and point.effect not in COLLECTED:
                known.add(point.kind)
                points.append(dataclasses.replace(point, nth=1))
        if points:
            yield story, sorted(points, key=_is_record)


def _is_record(point: Point) -> bool:
    """A record of the safety loop. It may be kept from its first one by another write of that moment, and then records
    only what it has deleted: a successor can still record, but no longer delete."""
    return point.part == SAFETY and point.effect == "replace:Trial/status"


@pytest.mark.parametrize("name", POINTS)
def test_trial_survives_the_death_of_its_operator(told: Told, name: str) -> None:
    assert told.named[name].result().deaths == 1


def test_a_withdrawal_survives_the_death_of_its_operator(told: Told) -> None:
    """The safety loop has deleted one arm of a slow canary's trial and recorded nothing yet."""
    assert told.named[WITHDRAWAL].result().deaths == 1


def test_every_other_kind_of_effect(told: Told) -> None:
    assert told.others, "a safety loop and an election have effects of their own"
    for name, (future, points) in told.others.items():
        print(f"\n{name}: killed at {', '.join(map(str, points))}")
        assert future.result().deaths == len(points), name


def test_trial_survives_a_death_between_its_pods(told: Told, controlplane: ControlPlane) -> None:
    """Without controllers, so that the garbage collector cannot be faster; they serve all lives, so no other runs."""
    told.wait()
    controllers = controlplane.component(CONTROLLERS)

    stood_still: list[tuple[float, float]] = []

    def pause(live: Live, name: str) -> None:
        live.wait_trial(name, MEASURING)
        controllers.pause()
        stood_still.append((time.time(), math.inf))

    def resume(live: Live, name: str) -> None:
        controllers.resume()
        stood_still[:] = [(since, time.time()) for since, _ in stood_still]

    try:
        life = told.lives.submit(
            PATIENT, reconcilers(ALONE), before_death=pause, after_death=resume, stood_still=stood_still
        )
        assert life.result().deaths == 1
    finally:
        controllers.resume()
