"""What people and controllers do to an Experiment's objects while a trial runs."""

from __future__ import annotations

from tests.cluster.operator.support import NAME, experiment

from controlplane import wait_for
from stack import Place
from stack.place import API, Obj, untouchable


def live(place: Place, name: str = NAME) -> Obj:
    """Create an Experiment and wait until its first trial measures."""
    place.create(experiment(name))
    return place.wait_live(name, {"Measuring"})


def finish(place: Place, name: str = NAME) -> None:
    """Delete the Experiment; nothing may be left."""
    place.delete(name)
    place.wait_deleted(name)


def test_a_second_experiment_on_one_target_waits_for_the_first(place: Place) -> None:
    live(place, "first")
    place.create(experiment("second"))
    message = place.wait_condition("second", "TargetLocked", "False", "Blocked")
    assert f"{place.namespace}/first" in message
    assert "wait for it or delete it" in message
    assert place.condition("second", "Stalled")["reason"] == "Blocked"
    assert place.trials("second") == []
    place.delete("first")
    place.wait_condition("second", "TargetLocked", seconds=60)
    place.wait_condition("second", "Stalled", "False")
    place.wait_live("second")
    finish(place, "second")


def test_an_experiment_deleted_in_the_middle_of_a_trial(place: Place) -> None:
    before = untouchable(place.target())
    live(place)
    place.delete(NAME)
    place.wait_deleted(NAME, seconds=90)
    assert untouchable(place.target()) == before


def test_an_experiment_whose_finalizer_a_hand_took_leaves_nothing(place: Place) -> None:
    before = untouchable(place.target())
    live(place)
    place.client.patch(API, "Experiment", NAME, {"metadata": {"finalizers": None}}, place.namespace)
    place.delete(NAME)
    place.wait_deleted(NAME, seconds=90)
    wait_for(lambda: not place.trials(NAME), "its Trials to be gone", seconds=60)
    assert place.arms() == []
    assert untouchable(place.target()) == before


def test_a_trial_deleted_by_hand(place: Place) -> None:
    trial = live(place)
    name = trial["metadata"]["name"]
    place.client.delete(API, "Trial", name, place.namespace)
    wait_for(lambda: place.client.find(API, "Trial", name, place.namespace) is None, f"Trial {name} to be gone")
    assert f"tt-{place.experiment(NAME)['metadata']['uid'][:8]}-0" not in " ".join(place.arms())
    assert "TrialDeleted" in place.wait_event("TrialWithdrawn")["note"]
    message = place.wait_condition(NAME, "Ready", reason="TrialsMissing")
    assert "trials 0 were deleted" in message
    place.wait_live(NAME, after=0)
    finish(place)


def test_an_arm_edited_by_hand(place: Place) -> None:
    trial = live(place)
    arm = place.arm(trial, "canary")
    assert arm is not None
    larger = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "web:other"}]}}}}
    name = arm["metadata"]["name"]
    place.client.patch("apps/v1", "Deployment", name, larger, place.namespace, strategy="strategic")
    outcome = place.wait_outcome(trial)
    assert (outcome["phase"], outcome["reason"]) == ("Aborted", "ArmEdited")
    assert f"Deployment {name} was changed by somebody else" in outcome["message"]
    finish(place)


def test_an_arm_scaled_by_hand(place: Place) -> None:
    trial = live(place)
    arm = place.arm(trial, "control")
    assert arm is not None
    place.client.patch("apps/v1", "Deployment", arm["metadata"]["name"], {"spec": {"replicas": 3}}, place.namespace)
    outcome = place.wait_outcome(trial)
    assert (outcome["phase"], outcome["reason"]) == ("Aborted", "ArmEdited")
    finish(place)


def test_an_arm_deleted_by_hand(place: Place) -> None:
    trial = live(place)
    arm = place.arm(trial, "canary")
    assert arm is not None
    place.client.delete("apps/v1", "Deployment", arm["metadata"]["name"], place.namespace)
    outcome = place.wait_outcome(trial)
    assert (outcome["phase"], outcome["reason"]) == ("Aborted", "ArmDeleted")
    assert "the canary arm was deleted by somebody else" in outcome["message"]
    finish(place)


def test_the_targets_template_edited_in_the_middle_of_a_trial(place: Place) -> None:
    """A rollout of the target: the trial is Stale, and trials go on once it is complete."""
    place.spoiled = True
    trial = live(place)
    newer = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "web:1.4.3"}]}}}}
    place.client.patch("apps/v1", "Deployment", "web", newer, place.namespace, strategy="strategic")
    outcome = place.wait_outcome(trial)
    assert (outcome["phase"], outcome["reason"]) == ("Stale", "TargetChanged")
    later = place.wait_live(NAME, after=int(trial["spec"]["index"]), seconds=90)
    old, new = (t["spec"]["environment"]["templateHash"] for t in (trial, later))
    assert old != new
    arm = place.arm(later, "control")
    assert arm is not None
    assert arm["spec"]["template"]["spec"]["containers"][0]["image"] == "web:1.4.3"
    finish(place)


def test_the_target_deleted_in_the_middle_of_a_trial(place: Place) -> None:
    place.spoiled = True
    trial = live(place)
    place.client.delete("apps/v1", "Deployment", "web", place.namespace)
    message = place.wait_condition(NAME, "Stalled", reason="TargetNotFound")
    assert "Deployment web was deleted; recreate it or delete this Experiment" in message
    assert place.wait_outcome(trial)["phase"] == "Stale"
    place.wait_no_arms()
    wait_for(lambda: not place.experiment(NAME)["metadata"].get("finalizers"), "the finalizer to be released")
    finish(place)


def test_mode_observe_never_makes_an_arm(place: Place) -> None:
    place.create(experiment(mode="Observe"))
    message = place.wait_phase(NAME, "Running")["message"]
    wait_for(lambda: "observing web" in place.status(NAME)["message"], "the message to say what it does")
    assert place.condition(NAME, "Ready")["status"] == "True", message
    assert place.trials(NAME) == []
    assert place.arms() == []
    finish(place)
