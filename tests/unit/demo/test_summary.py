"""The demo's numbers: the keys that others read, the same truth as a simulation's, and every way to fail."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any, cast

import pytest
import yaml
from tests.unit.simulate.stories import START, WEB, stored, story

from demo.script import Script
from demo.summary import MIN_TRIALS, Seen, Summary, summarize
from trimtab.api.convert import experiment_record, experiment_status

KEYS = (
    "trials", "suggestedByModel", "searchTrials", "replicates", "optimumSavingPercent", "succeeded", "infeasible",
    "inconclusive", "aborted", "rollbacks", "rollbackSecondsMax", "withdrawnFor", "savingPercent", "costPerHourBefore",
    "costPerHourAfter", "sloHeld", "sloHeldAtEnd", "sloHeldAtPeak", "targetUnchanged", "armsLeft", "recommendation",
    "verified", "pauseAcknowledgedSeconds", "seconds", "seed",
)  # fmt: skip
NIGHT = START + 17 * 3600.0  # 02:00, twelve hours from the peak


def seen() -> Seen:
    """The end of a short Experiment on the example."""
    _, finished = story()
    target = next(yaml.safe_load_all((WEB / "deployment.yaml").read_text()))
    target["metadata"] |= {"namespace": "shop", "uid": "target-uid"}
    experiment = yaml.safe_load((WEB / "experiment.yaml").read_text())
    experiment["metadata"] |= {
        "namespace": "shop", "uid": "uid", "resourceVersion": "1", "creationTimestamp": "2026-03-02T09:00:00Z",
    }  # fmt: skip
    experiment["status"] = experiment_status(experiment_record(experiment), finished.state)
    return Seen(experiment, [stored(t) for t in finished.trials], target, target, 0)


@cache
def usual() -> Summary:
    """Of that end."""
    return summary(seen())


def summary(found: Seen, when: float = START) -> Summary:
    script = Script(client=cast(Any, None), playground=cast(Any, None))
    script.fault_trial = found.trials[6]["metadata"]["name"]
    script.paused_at, script.pause_acknowledged = 10.0, 10.75
    return summarize(found, script, when, 123.44, 7)


def recommending(cpu: str, memory: str) -> Seen:
    """The same with another recommendation."""
    found = seen()
    values = [{"name": "cpu", "value": cpu}, {"name": "memory", "value": memory}]
    found.experiment["status"]["recommendation"]["assignment"] = values
    return found


def passing(**changes: Any) -> Summary:
    """A summary that shows what the demo promises, but for these changes."""
    return replace(usual(), **{"trials": MIN_TRIALS, **changes})


def test_the_keys_stay_as_they_are() -> None:
    assert tuple(usual().document()) == KEYS


def test_the_numbers_are_those_of_the_model() -> None:
    found = usual()
    assert (found.trials, found.succeeded, found.infeasible, found.rollbacks) == (10, 9, 1, 1)
    assert (found.suggestedByModel, found.searchTrials, found.replicates) == (4, 4, 1)
    assert found.optimumSavingPercent == pytest.approx(64.0, abs=1.5)
    assert found.savingPercent == 60.3
    assert found.recommendation == {"cpu": "800m", "memory": "768Mi"}
    assert (found.sloHeld, found.targetUnchanged, found.armsLeft, found.verified) == (True, True, 0, True)
    assert (found.withdrawnFor, found.rollbackSecondsMax, found.pauseAcknowledgedSeconds) == ("AbortRule", 3.25, 0.75)


def test_a_repeated_measurement_is_nobody_s_suggestion() -> None:
    found = seen()
    for trial in found.trials:
        trial["spec"]["purpose"] = "Replicate"
    counted = summary(found)
    assert (counted.suggestedByModel, counted.searchTrials, counted.replicates) == (0, 0, 10)


@pytest.mark.parametrize(
    ("cpu", "memory", "end", "peak"),
    [("800m", "768Mi", True, True), ("700m", "768Mi", True, False), ("400m", "768Mi", False, False)],
)
def test_the_slo_must_hold_at_night_and_at_the_day_s_peak(cpu: str, memory: str, end: bool, peak: bool) -> None:
    found = summary(recommending(cpu, memory), NIGHT)
    assert (found.sloHeldAtEnd, found.sloHeldAtPeak, found.sloHeld) == (end, peak, end and peak)


def test_a_target_that_was_changed_is_noticed_whatever_the_status_says() -> None:
    found = seen()
    scaled = {**found.after, "status": {"replicas": 3}}
    assert summary(replace(found, after=scaled)).targetUnchanged
    edited = {**found.after, "spec": {**found.after["spec"], "replicas": 3}}
    assert not summary(replace(found, after=edited)).targetUnchanged
    labelled = {**found.after, "metadata": {**found.after["metadata"], "labels": {"a": "b"}}}
    assert not summary(replace(found, after=labelled)).targetUnchanged


def test_a_demo_that_showed_everything_has_not_failed() -> None:
    assert passing().failures() == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"trials": MIN_TRIALS - 1}, "11 trials ended, 12 or more are promised"),
        ({"targetUnchanged": False}, "the target Deployment changed"),
        ({"armsLeft": 3}, "3 arm objects are left"),
        ({"withdrawnFor": ""}, "the safety monitor did not withdraw the slow canary"),
        ({"withdrawnFor": "ReadinessLost"}, "the safety monitor did not withdraw the slow canary"),
        ({"recommendation": None}, "no recommendation came"),
        (
            {"sloHeldAtEnd": False},
            "the recommendation breaks the SLO in the noise-free model, at the load of the end",
        ),
        ({"sloHeldAtPeak": False}, "the recommendation breaks the SLO in the noise-free model, at the day's peak"),
    ],
)
def test_each_broken_promise_is_told_by_itself(changes: dict[str, Any], words: str) -> None:
    assert passing(**changes).failures() == [words]


def test_without_a_recommendation_nothing_is_said_of_its_slo() -> None:
    found = seen()
    del found.experiment["status"]["recommendation"]
    ended = replace(summary(found), trials=MIN_TRIALS)
    assert (ended.savingPercent, ended.recommendation, ended.sloHeld) == (None, None, False)
    assert ended.failures() == ["no recommendation came"]
