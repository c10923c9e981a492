"""Deletions that the operator sees late or in the middle of a trial: nothing hangs, nothing is left."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.cluster.operator.support import NAME, experiment

from controlplane import wait_for
from stack import Place, Stack
from stack.place import API


@pytest.fixture
def absent(stack: Stack) -> Iterator[None]:
    """The operator runs again after the test, whatever the test did to it."""
    yield
    stack.operator.start()


def namespace_gone(place: Place, seconds: float = 120.0) -> None:
    """Wait until the namespace itself is gone: no finalizer held it."""
    place.spoiled = True
    wait_for(
        lambda: place.client.find("v1", "Namespace", place.namespace) is None,
        f"namespace {place.namespace} to be gone",
        seconds=seconds,
        interval=0.25,
    )


def test_an_experiment_deleted_while_the_operator_is_absent(stack: Stack, place: Place, absent: None) -> None:
    place.create(experiment())
    place.wait_live(NAME, {"Measuring"})
    stack.operator.kill()
    place.delete(NAME)
    assert place.experiment(NAME)["metadata"]["deletionTimestamp"]
    assert place.arms()
    stack.operator.start()
    place.wait_deleted(NAME, seconds=120)


def test_the_namespace_deleted_in_the_middle_of_a_trial(place: Place) -> None:
    place.create(experiment())
    place.wait_live(NAME, {"Measuring"})
    place.client.delete("v1", "Namespace", place.namespace)
    namespace_gone(place)


def test_the_namespace_deleted_while_the_operator_is_absent(stack: Stack, place: Place, absent: None) -> None:
    place.create(experiment())
    place.wait_live(NAME, {"Measuring"})
    stack.operator.kill()
    place.client.delete("v1", "Namespace", place.namespace)
    wait_for(lambda: not place.arms(), "the garbage collector to have taken the arms", seconds=60)
    assert place.client.list(API, "Experiment", place.namespace), "the finalizer waits for the operator"
    stack.operator.start()
    namespace_gone(place)


def test_an_experiment_deleted_although_its_status_cannot_be_read(place: Place) -> None:
    """Somebody wrote into the status: it is never overwritten, the trial is withdrawn, and a delete goes through."""
    place.create(experiment())
    trial = place.wait_live(NAME, {"Measuring"})
    spoiled = {"status": {"target": {"baseline": [{"name": "cpu", "value": "many"}]}}}
    place.client.patch(API, "Experiment", NAME, spoiled, place.namespace, subresource="status")
    outcome = place.wait_outcome(trial, seconds=120)
    assert (outcome["phase"], outcome["reason"]) == ("Aborted", "StatusCorrupted")
    assert place.wait_event("StatusCorrupted")["type"] == "Warning"
    assert place.status(NAME)["target"]["baseline"] == spoiled["status"]["target"]["baseline"]
    place.delete(NAME)
    place.wait_deleted(NAME)
