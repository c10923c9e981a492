"""The operator dies by SIGKILL in a trial whose arms scale and get their traffic by a route's weights. Its successor
ends the trial, and route and autoscaler are what they were: for their owner's next apply, too.

One moment here; all of them are `make chaos-cluster`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field

import pytest
from benchmarks.operator.live import Live, live_places
from tests.cluster.autoscaled import applied, as_before, sections
from tests.cluster.crashes import Lived, Lives
from tests.cluster.stories import EITHER, RECONCILE, Point, Story, ended, succeeded

from controlplane import ControlPlane

PLACES, REPLICAS = 2, 8
LOAD = 6400  # requests per second: 800 for each pod
UTILIZATION = 20
AGAIN = 3

POINTS = {
    "after create Service: no arm behind it": "after:create:Service:1",
    "after create HPA: it scales nothing yet": "after:create:HorizontalPodAutoscaler:1",
    "after second create Deployment": "after:create:Deployment:2",
    "after the first weights": "after:replace:HTTPRoute:1",
    "after the last weights": "after:replace:HTTPRoute:3",
    "before the route is freed": "before:replace:HTTPRoute:4",
    "after the rule is put back: annotation and ownership are not": "after:replace:HTTPRoute:4",
    "the route is free: arms still there": "before:delete:HorizontalPodAutoscaler:1",
    "after delete HPA: its arm still there": "after:delete:HorizontalPodAutoscaler:1",
    "after delete Service: another one still there": "after:delete:Service:1",
}
SHORT_FORM = ("after the last weights",)


def as_it_was(live: Live, name: str) -> None:
    """One trial succeeded, and nothing of the target's surroundings is other than before."""
    succeeded(live, name)
    as_before(live.client, live.namespace, BEFORE[live.namespace])


BEFORE: dict[str, dict[str, object]] = {}
TRIAL = {"warmUp": "4s", "duration": "12s", "deadline": "120s"}
SCALED = Story("scaled", ended, as_it_was, TRIAL, sections=sections())


def point(text: str) -> Point:
    """Of the reconciler, or of whoever is the first to take away what is to go."""
    moment, verb, kind, nth = text.split(":")
    undo = verb == "delete" or (kind == "HTTPRoute" and int(nth) > 3)
    return Point(EITHER if undo else RECONCILE, moment, f"{verb}:{kind}", int(nth))


@dataclass
class Told:
    """Lives that were asked for, by the name of their moment."""

    lives: Lives
    named: dict[str, Future[Lived]] = field(default_factory=dict)

    def died(self, name: str) -> bool:
        """Whether the operator died at its moment. Reconciler and safety loop both free a route, and each counts its
        own effects: where the other one was faster, the life is told again."""
        lived = self.named[name].result()
        for _ in range(AGAIN):
            if lived.deaths:
                break
            lived = self.lives.submit(SCALED, point(POINTS[name])).result()
        return lived.deaths == 1


@pytest.fixture(scope="module")
def told(
    controlplane: ControlPlane, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Told]:
    """The lives of the selected tests, begun at once."""
    wanted = {item.name for item in request.session.items if item.path == request.path}
    directory = tmp_path_factory.mktemp("scaled")
    values = {"traffic": {"httpRoute": True}}
    with live_places(
        controlplane, directory, "scaled", PLACES, replicas=REPLICAS, load=LOAD, values=values, metrics_api=True
    ) as places:
        for live in places:
            BEFORE[live.namespace] = applied(live.client, live.namespace, UTILIZATION)
        with Lives(places, directory) as lives:
            asked = {n: at for n, at in POINTS.items() if any(f"[{n}]" in item for item in wanted)}
            yield Told(lives, {name: lives.submit(SCALED, point(at)) for name, at in asked.items()})


@pytest.mark.parametrize("name", SHORT_FORM)
def test_a_trial_by_weights_survives_the_death_of_its_operator(told: Told, name: str) -> None:
    assert told.died(name)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", POINTS)
def test_all_moments(told: Told, name: str) -> None:
    assert told.died(name)
