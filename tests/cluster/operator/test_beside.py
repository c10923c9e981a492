"""Trials side by side on a real control plane: staggered, each with arms of its own, together within their share of the
load, each withdrawn for what it did itself, and all of them when somebody asks for it.

An eyewitness keeps every version of every object, so what must never be is looked for at each of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest
from benchmarks.operator.witness import Witness
from tests.cluster.operator.support import CANARY, NAME, REPLICAS, experiment

from controlplane import wait_for
from stack import Place, Stack
from stack.place import TERMINAL, TRIAL_UID, Obj, phase_of, untouchable
from trimtab.domain.names import ANNOTATION_ROLLBACK
from trimtab.simulate.history import Change, View, views
from trimtab.simulate.invariants import check_history

FIT = 2  # trials: two arms of each beside four pods are what `maxSharePercent` of these tests allows
SHARE = 0.5
SOON = 15.0  # seconds, on a machine that is busy with other tests
BESIDE = {
    "search": {"designer": "Sobol"},
    "trial": {"parallel": FIT + 1, "duration": "15s"},
}


def test_two_at_a_time_each_for_itself(stack: Stack, place: Place) -> None:
    """After the baselines two run side by side; one breaks, then all are asked to go."""
    before = untouchable(place.target())
    with Witness(stack.plane, place.namespace) as witness:
        place.create(experiment(**BESIDE))
        assert f"at most {FIT} run at a time" in place.wait_condition(NAME, "Preflight")
        older, younger = measuring(place)
        assert younger["spec"]["suggestion"]["beside"] == [older["spec"]["index"]]
        arms = [place.arm(trial, arm) for trial in (older, younger) for arm in ("canary", "control")]
        assert len({arm["metadata"]["uid"] for arm in arms if arm is not None}) == 2 * FIT

        selector = {**CANARY, TRIAL_UID: younger["metadata"]["uid"]}
        fault = {"kind": "Errors", "errorPercent": 20, "selector": selector, "namespace": place.namespace}
        stack.playground.fault(name=place.namespace, **fault)
        outcome = place.wait_outcome(younger)
        stack.playground.clear(place.namespace)
        assert (outcome["phase"], outcome["reason"]) == ("Infeasible", "AbortRule"), outcome
        assert place.wait_outcome(older)["phase"] == "Succeeded"

        both = measuring(place, after=younger["spec"]["index"])
        place.annotate(NAME, "rollback", "it hurts")
        for trial in both:
            outcome = place.wait_outcome(trial)
            assert (outcome["phase"], outcome["reason"]) == ("Aborted", "OnCallRollback"), outcome
        place.wait_no_arms()
        place.wait_phase(NAME, "Paused")
        assert all(phase_of(t) in TERMINAL for t in place.trials(NAME))
        assert place.condition(NAME, "Parallel")["status"] == "True"
        place.delete(NAME)
        place.wait_deleted(NAME)
        changes = witness.changes()
    assert untouchable(place.target()) == before
    check_history(changes)
    assert max(planned(changes)) == SHARE  # as much as was allowed, and never more
    assert max(served(changes)) <= SHARE
    assert max(begun_beside(changes)) == FIT - 1
    silent, gone = after_rollback(changes)
    print(f"\nno arm had traffic {silent:.1f} s after the rollback was asked for, and none was left after {gone:.1f} s")
    assert max(silent, gone) <= SOON
    with pytest.raises(AssertionError, match="ShareCapped"):  # which has seen the target, as this history shows it
        check_history(with_less_allowed(changes))


def measuring(place: Place, after: int = -1) -> list[Obj]:
    """Wait until two trials with an index above `after` measure at the same time."""

    def look() -> list[Obj] | None:
        found = [t for t in place.trials(NAME) if t["spec"]["index"] > after and phase_of(t) == "Measuring"]
        return found if len(found) == FIT else None

    return wait_for(look, f"{FIT} trials to measure side by side", seconds=180)


def planned(changes: Iterable[Change]) -> Iterator[float]:
    """The arms' part of all pods that Deployments ask for, after each change of one."""
    for change, view in views(changes):
        if change.kind == "deployments":
            asked = {name: int(d["spec"]["replicas"]) for name, d in view.all("deployments").items() if stays(d)}
            arms = sum(asked[d["metadata"]["name"]] for d in view.arms() if stays(d))
            yield arms / sum(asked.values())


def stays(obj: Obj) -> bool:
    return "deletionTimestamp" not in obj["metadata"]


def served(changes: Iterable[Change]) -> Iterator[float]:
    """The arms' part of the Service's ready endpoints, after each change of these."""
    for change, view in views(changes):
        if change.kind == "endpointslices":
            ready = endpoints(view)
            assert len(ready) >= REPLICAS
            yield sum(is_arm(name) for name in ready) / len(ready)


def endpoints(view: View) -> set[str]:
    """Pods that some EndpointSlice shows ready."""
    slices = (e for s in view.all("endpointslices").values() for e in s.get("endpoints") or ())
    return {e["targetRef"]["name"] for e in slices if e["conditions"].get("ready") is not False}


def is_arm(pod: str) -> bool:
    return pod.startswith("tt-")


def begun_beside(changes: Iterable[Change]) -> Iterator[int]:
    """At the making of each Trial: how many were live, all of which had come through their warm-up."""
    for change, view in views(changes):
        if change.kind == "trials" and change.type == "ADDED":
            others = [t for t in view.all("trials").values() if t["metadata"]["name"] != change.name]
            live = [t for t in others if phase_of(t) not in TERMINAL]
            assert all("measuring" in t["status"]["times"] for t in live), change.name
            yield len(live)


def after_rollback(changes: list[Change]) -> tuple[float, float]:
    """Seconds from when it was asked for until no arm had traffic, and until no Deployment of one was left."""
    asked = next(c.at for c in changes if ANNOTATION_ROLLBACK in (c.object["metadata"].get("annotations") or {}))
    after = [(c.at, any(map(is_arm, endpoints(view))), any(view.arms())) for c, view in views(changes) if c.at > asked]
    silent = next(at for at, serving, _ in after if not serving)
    gone = next(at for at, _, left in after if not left)
    return silent - asked, gone - asked


def with_less_allowed(changes: Iterable[Change]) -> list[Change]:
    """The same, of an Experiment whose arms had taken more than it allows."""
    canary = {"canary": {"maxSharePercent": str(100 * SHARE - 1)}}
    return [
        replace(c, object={**c.object, "spec": c.object["spec"] | canary}) if c.kind == "experiments" else c
        for c in changes
    ]
