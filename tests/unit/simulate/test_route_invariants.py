"""Each invariant of routes on a history that keeps it, and on one that breaks it."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

from tests.unit.api.route_manifests import PLAN, put_by, route
from tests.unit.simulate.test_invariants import UID, Story, arm, experiment, trial

from trimtab.api.routes import toward_release, with_weights
from trimtab.domain.measurement import Arm
from trimtab.domain.names import arm_name
from trimtab.simulate.invariants.routes import DEAF_SECONDS, LEFT_SECONDS, NOBODY_SECONDS

MINE = replace(
    PLAN,
    trial_uid="u-0",
    experiment_uid=UID,
    canary=arm_name(UID, 0, Arm.CANARY).replace("tt-e1-", "tt-e1000000-"),
    control=arm_name(UID, 0, Arm.CONTROL).replace("tt-e1-", "tt-e1000000-"),
)
BEFORE = route()


def named(kind: str) -> dict[str, Any]:
    made = arm(0, kind)
    made["metadata"]["name"] = MINE.canary if kind == "canary" else MINE.control
    return made


def written(before: dict[str, Any] = BEFORE) -> dict[str, Any]:
    made = with_weights(before, MINE, 1.0)
    assert made is not None
    return put_by(made, before)


def free(live: dict[str, Any]) -> list[dict[str, Any]]:
    """The route after each of the writes that free it."""
    found = []
    while (body := toward_release(live, MINE.trial_uid, UID)) is not None:
        live = put_by(body, live)
        found.append(live)
    return found


def serving() -> Story:
    """A trial whose weights are in the route."""
    story = Story()
    story.put("experiments", experiment())
    story.put("httproutes", BEFORE)
    story.put("trials", trial("WarmingUp"))
    for kind in ("canary", "control"):
        story.put("deployments", named(kind))
    story.put("httproutes", written())
    return story


def heard(story: Story, ready: bool) -> None:
    """Both arms' pods are, or are no longer, ready endpoints."""
    for name in (MINE.canary, MINE.control):
        labels, endpoint = {"kubernetes.io/service-name": name}, {"conditions": {"ready": ready}}
        made = {"metadata": {"name": f"{name}-x", "uid": f"s-{name}", "labels": labels}, "endpoints": [endpoint]}
        story.put("endpointslices", made)


def over(story: Story) -> None:
    for kind in ("canary", "control"):
        story.drop("deployments", named(kind))
    story.put("trials", trial("Succeeded"))


ROUTES = {"NoWeightOnNobody", "NoWeightsLeft", "RouteAsBefore"}


def test_routes_first() -> None:
    story = serving()
    for step in free(written()):
        story.put("httproutes", step)
    over(story)
    story.at += 1000
    story.put("experiments", experiment())
    assert not story.broken() & ROUTES


def test_arms_that_nobody_hears_are_an_outage() -> None:
    story = serving()
    heard(story, True)
    story.at += 1000
    heard(story, False)
    story.at += DEAF_SECONDS - 1
    story.put("httproutes", free(written())[0])
    assert "NoWeightOnTheDeaf" not in story.broken()
    story.put("httproutes", written())
    story.at += DEAF_SECONDS + 1
    story.put("httproutes", free(written())[0])
    assert "NoWeightOnTheDeaf" in story.broken()


def test_arms_first_are_an_outage() -> None:
    story = serving()
    over(story)
    story.at += NOBODY_SECONDS + 1
    for step in free(written()):
        story.put("httproutes", step)
    assert story.broken() & ROUTES == {"NoWeightOnNobody"}


def test_weights_of_a_trial_that_is_over_are_noticed() -> None:
    story = serving()
    half, _ = free(written())
    story.put("httproutes", half)
    over(story)
    story.at += LEFT_SECONDS + 1
    story.put("httproutes", half)
    assert story.broken() & ROUTES == {"NoWeightsLeft"}


def test_a_route_that_is_not_as_before() -> None:
    for spoil in (
        lambda r: r["spec"]["rules"][0]["backendRefs"][0].update(weight=2),
        lambda r: r["metadata"].update(labels={"a": "b"}),
        lambda r: r["metadata"].update(managedFields=[]),
    ):
        story = serving()
        half, whole = free(written())
        changed = copy.deepcopy(whole)
        spoil(changed)
        story.put("httproutes", half)
        story.put("httproutes", changed)
        over(story)
        assert story.broken() & ROUTES == {"RouteAsBefore"}


def test_what_a_hand_wrote_meanwhile_may_stay() -> None:
    story = serving()
    live = copy.deepcopy(written())
    live["spec"]["rules"][0]["timeouts"] = {"request": "1s"}
    story.put("httproutes", put_by(live, written(), "anna"))
    for step in free(live):
        story.put("httproutes", step)
    over(story)
    assert not story.broken() & ROUTES
