"""What Trials taught, written for another Experiment and read back."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.simulate.stories import stored, story

from trimtab.api.history import FORMAT, KEY, MOST_BYTES, experiment_history, read_history, simulated_history
from trimtab.domain.errors import InvalidSpec
from trimtab.domain.trial import TrialPhase

TRUTH, FINISHED = story()
SPACE = TRUTH.spec.space


def exported(**changes: Any) -> dict[str, Any]:
    """The ConfigMap; `changes` go into its document."""
    manifest = simulated_history("web", "shop", "web-service/abc", 7, [stored(t) for t in FINISHED.trials])
    document = json.loads(manifest["data"][KEY]) | changes
    return {**manifest, "data": {KEY: json.dumps(document)}}


def test_what_was_written_reads_back() -> None:
    found = read_history(exported(), SPACE)
    assert (found.source, found.safety_evidence, found.experiment) == ("Simulation", False, "web")
    assert [t.index for t in found.trials] == [t.index for t in FINISHED.trials]
    first, again = FINISHED.trials[6], found.trials[6]
    assert again.assignment == first.assignment
    assert again.measurements == first.measurements
    assert (again.outcome, again.load, again.window) == (first.outcome, first.load, first.window)


def test_it_is_an_immutable_config_map_marked_as_simulated() -> None:
    manifest = exported()
    assert (manifest["kind"], manifest["metadata"]["name"], manifest["immutable"]) == ("ConfigMap", "web-history", True)
    assert manifest["metadata"]["labels"]["trimtab.dev/history-source"] == "Simulation"
    document = json.loads(manifest["data"][KEY])
    assert (document["format"], document["safetyEvidence"], document["seed"]) == (FORMAT, False, 7)


def test_only_trials_that_teach_are_kept_in_order() -> None:
    trials = [stored(t) for t in reversed(FINISHED.trials)]
    trials[0] = {**trials[0], "status": {**trials[0]["status"], "phase": TrialPhase.INCONCLUSIVE.value}}
    found = read_history(simulated_history("web", "shop", "w", 1, trials), SPACE)
    assert [t.index for t in found.trials] == list(range(len(FINISHED.trials) - 1))


def test_how_long_the_machine_took_is_not_kept() -> None:
    slow = replace(FINISHED.trials[4], suggestion=replace(FINISHED.trials[4].suggestion, fit_seconds=9.9))
    texts = [simulated_history("web", "shop", "w", 1, [stored(t)])["data"][KEY] for t in (slow, FINISHED.trials[4])]
    assert texts[0] == texts[1]


def test_nothing_can_claim_to_be_evidence() -> None:
    with pytest.raises(InvalidSpec, match="safetyEvidence must be false; neither a model nor a copy"):
        read_history(exported(safetyEvidence=True), SPACE)


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        ({"metadata": {"name": "other"}}, "ConfigMap other: has no key"),
        ({"data": {KEY: "{"}}, "is no history of the form"),
        ({"data": {KEY: "{}"}}, "is no history of the form"),
        (exported(format="trimtab.dev/history/v9"), "is no history of the form"),
    ],
)
def test_what_is_no_history_is_refused(manifest: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        read_history(manifest, SPACE)
    assert words in str(caught.value)


def test_a_history_of_other_parameters_is_refused() -> None:
    other = replace(SPACE, parameters=SPACE.parameters[:1])
    with pytest.raises(InvalidSpec, match=r"trial 0 .*memory"):
        read_history(exported(), other)


def test_a_history_too_large_for_a_config_map_is_refused() -> None:
    one = stored(FINISHED.trials[4])
    many = [one] * (MOST_BYTES // len(json.dumps(one)) + 50)
    with pytest.raises(InvalidSpec, match="larger than the 1,000,000 bytes of a ConfigMap; let it have fewer"):
        simulated_history("web", "shop", "w", 1, many)


def test_an_experiment_elsewhere_says_so_and_is_no_evidence_either() -> None:
    manifest = experiment_history("web", "production", [stored(t) for t in FINISHED.trials])
    assert manifest["metadata"]["namespace"] == "production"
    assert manifest["metadata"]["labels"]["trimtab.dev/history-source"] == "Experiment"
    found = read_history(manifest, SPACE)
    assert (found.source, found.safety_evidence, found.experiment) == ("Experiment", False, "web")
    assert [t.index for t in found.trials] == [t.index for t in FINISHED.trials]


def test_an_experiment_that_measured_nothing_has_no_history() -> None:
    with pytest.raises(InvalidSpec, match="none of its trials was measured; export it when some were"):
        experiment_history("web", "production", [])
