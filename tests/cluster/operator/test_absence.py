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


def namespace_gone(place: Place, seconds: float = 40.0) -> None:
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
    place.wait_deleted(NAME, seconds=45)


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
