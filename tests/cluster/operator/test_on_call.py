"""What the on-call asks for by annotation, while Prometheus does not answer: acknowledged at once, and done."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.cluster.operator.support import NAME, experiment

from stack import Place, Stack
from stack.place import Obj

SOON = 45.0  # also with twice the patience well before what waits for Prometheus would give up (staleAfter, 2 minutes)


@pytest.fixture
def dark(stack: Stack, place: Place) -> Iterator[Obj]:
    """A trial that measures, and then a Prometheus that is gone; it comes back when the test has ended."""
    place.create(experiment(safety={"staleAfter": "2m"}))
    trial = place.wait_live(NAME, {"Measuring"})
    stack.prometheus.kill()
    yield trial
    stack.prometheus.restart()


@pytest.fixture
def stuck(stack: Stack, place: Place) -> Iterator[Obj]:
    """A trial that measures, and then a Prometheus that accepts connections and answers nothing."""
    place.create(experiment(safety={"staleAfter": "2m"}))
    trial = place.wait_live(NAME, {"Measuring"})
    stack.prometheus.pause()
    yield trial
    stack.prometheus.resume()


def aborted(place: Place, trial: Obj, reason: str) -> str:
    """The trial ends for this reason and none of its arms is left; returns the message."""
    outcome = place.wait_outcome(trial, seconds=90)
    assert (outcome["phase"], outcome["reason"]) == ("Aborted", reason), outcome
    place.wait_no_arms()
    return str(outcome["message"])


def test_pause_and_resume(stack: Stack, place: Place, dark: Obj) -> None:
    place.annotate(NAME, "pause", "alice: odd latency since 14:00")
    assert place.wait_handled(NAME, "pause", seconds=SOON) == "paused on call: alice: odd latency since 14:00"
    assert "alice" in place.wait_condition(NAME, "Paused", reason="OnCallPause")
    assert "alice" in aborted(place, dark, "OnCallPause")
    place.wait_message(NAME, "paused on call: alice: odd latency since 14:00")
    assert place.status(NAME)["phase"] == "Paused"
    place.wait_clean_but_locked()
    stack.prometheus.restart()
    place.annotate(NAME, "pause", None)
    place.wait_condition(NAME, "Paused", "False", "Resumed")
    place.wait_live(NAME, after=int(dark["spec"]["index"]), seconds=90)
    place.delete(NAME)
    place.wait_deleted(NAME)


def test_pause_while_prometheus_hangs(place: Place, stuck: Obj) -> None:
    place.annotate(NAME, "pause", "")
    assert place.wait_handled(NAME, "pause", seconds=SOON) == "paused on call: no words given"
    aborted(place, stuck, "OnCallPause")
    place.delete(NAME)
    place.wait_deleted(NAME, seconds=90)


def test_rollback_stays_until_it_is_removed(place: Place, dark: Obj) -> None:
    place.annotate(NAME, "rollback", "INC-7, bob")
    assert "INC-7" in place.wait_handled(NAME, "rollback", seconds=SOON)
    assert place.wait_condition(NAME, "RolledBack", reason="OnCallRollback")
    assert "INC-7" in aborted(place, dark, "OnCallRollback")
    assert place.wait_phase(NAME, "Paused")
    place.annotate(NAME, "pause", "carol: not before Monday")
    place.annotate(NAME, "rollback", None)
    place.wait_condition(NAME, "Paused", reason="OnCallPause")
    place.delete(NAME)
    place.wait_deleted(NAME)


def test_skip_one_trial(place: Place, dark: Obj) -> None:
    place.annotate(NAME, "skip", "17")
    assert place.wait_handled(NAME, "skip", seconds=SOON) == "'17' is no live trial of this Experiment"
    assert place.wait_event("SkipRefused")["type"] == "Warning"
    place.annotate(NAME, "skip", f"{dark['spec']['index']}, dave: too slow")
    assert "dave: too slow" in aborted(place, dark, "Skipped")
    answer = place.wait_handled(NAME, "skip", f"{dark['spec']['index']}, dave: too slow")
    assert answer == f"trial {dark['spec']['index']} withdrawn"
    place.delete(NAME)
    place.wait_deleted(NAME)


def test_a_misspelt_annotation_is_told_at_once(place: Place, dark: Obj) -> None:
    place.annotate(NAME, "puase", "erin")
    note = place.wait_event("UnknownAnnotation", seconds=SOON)["note"]
    assert note == "unknown annotation trimtab.dev/puase; did you mean trimtab.dev/pause?"
    assert place.trials(NAME)[-1]["status"]["phase"] == "Measuring"
    place.annotate(NAME, "approve", "0123456789ab")
    assert "no recommendation" in place.wait_handled(NAME, "approve", seconds=SOON)
    place.delete(NAME)
    place.wait_deleted(NAME)


def test_the_kill_switch_on_the_namespace(place: Place, dark: Obj) -> None:
    switch = {"metadata": {"annotations": {"trimtab.dev/pause": "release freeze"}}}
    place.client.patch("v1", "Namespace", place.namespace, switch)
    assert "release freeze" in aborted(place, dark, "NamespacePaused")
    assert "release freeze" in place.wait_condition(NAME, "Paused", reason="NamespacePaused")
    place.client.patch("v1", "Namespace", place.namespace, {"metadata": {"annotations": {"trimtab.dev/pause": None}}})
    place.wait_condition(NAME, "Paused", "False", seconds=90)
    place.delete(NAME)
    place.wait_deleted(NAME)
