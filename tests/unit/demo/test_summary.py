"""The demo's numbers: the keys that others read, and the same truth as a simulation's."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from tests.unit.simulate.stories import START, WEB, stored, story

from demo.script import Script
from demo.summary import Summary, summarize
from trimtab.api.convert import experiment_record, experiment_status

KEYS = (
    "trials", "suggestedByModel", "searchTrials", "optimumSavingPercent", "succeeded", "infeasible", "inconclusive",
    "aborted", "rollbacks", "rollbackSecondsMax", "withdrawnFor", "savingPercent", "costPerHourBefore",
    "costPerHourAfter", "sloHeld", "targetUnchanged", "armsLeft", "recommendation", "verified",
    "pauseAcknowledgedSeconds", "seconds", "seed",
)  # fmt: skip


class Nothing:
    """A cluster in which no arm is left."""

    def list(self, *_: str, **__: str) -> list[dict[str, Any]]:
        return []


def summary(recommended: bool = True) -> Summary:
    _, finished = story()
    target = next(yaml.safe_load_all((WEB / "deployment.yaml").read_text()))
    target["metadata"] |= {"namespace": "shop", "uid": "target-uid"}
    experiment = yaml.safe_load((WEB / "experiment.yaml").read_text())
    experiment["metadata"] |= {
        "namespace": "shop", "uid": "uid", "resourceVersion": "1", "creationTimestamp": "2026-03-02T09:00:00Z",
    }  # fmt: skip
    experiment["status"] = experiment_status(experiment_record(experiment), finished.state)
    if not recommended:
        del experiment["status"]["recommendation"]
    script = Script(client=Nothing(), playground=None)  # type: ignore[arg-type]
    trials = [stored(t) for t in finished.trials]
    script.fault_trial, script.paused_at, script.pause_acknowledged = trials[6]["metadata"]["name"], 10.0, 10.75
    return summarize(Nothing(), experiment, trials, script, target, target, START, 123.44, 7)  # type: ignore[arg-type]


def test_the_keys_stay_as_they_are() -> None:
    assert tuple(summary().document()) == KEYS


def test_the_numbers_are_those_of_the_model() -> None:
    found = summary()
    assert (found.trials, found.succeeded, found.infeasible, found.rollbacks) == (10, 9, 1, 1)
    assert (found.suggestedByModel, found.searchTrials) == (5, 5)
    assert found.optimumSavingPercent == pytest.approx(64.0, abs=1.5)
    assert found.savingPercent == 60.3
    assert found.recommendation == {"cpu": "800m", "memory": "768Mi"}
    assert (found.sloHeld, found.targetUnchanged, found.armsLeft, found.verified) == (True, True, 0, True)
    assert (found.withdrawnFor, found.rollbackSecondsMax, found.pauseAcknowledgedSeconds) == ("AbortRule", 3.25, 0.75)
    assert found.failures() == []


def test_without_a_recommendation_the_demo_has_failed() -> None:
    found = summary(recommended=False)
    assert (found.savingPercent, found.recommendation, found.sloHeld) == (None, None, False)
    assert found.failures() == ["no recommendation came"]
