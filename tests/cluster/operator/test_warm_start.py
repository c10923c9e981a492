"""An Experiment that begins with what an earlier one taught, on the real control plane."""

from __future__ import annotations

from typing import Any

import pytest
from tests.cluster.operator.support import experiment

from stack import Place
from trimtab.api.convert import experiment_record, trial_record
from trimtab.api.kube_target import target_from
from trimtab.control.study import build_study
from trimtab.domain.study import Proposal
from trimtab.domain.trial import Purpose, Suggestion
from trimtab.optimize.designer import suggest

TARGET_REPLICAS = 20  # with few, arms see much less load than the target, and the model rightly dares nothing
EARLIER, LATER = "earlier", "later"
SHORT: dict[str, Any] = {
    "trial": {"warmUp": "1s", "duration": "5s", "deadline": "60s"},
    "search": {"initialTrials": 2},
    "stopping": {"maxTrials": 3},
    "verification": {"replicates": 0},
}


@pytest.mark.timeout(240)
def test_a_later_experiment_hears_what_the_earlier_one_taught(place: Place) -> None:
    """Its first proposal by the model is made of the earlier Trials, yet it measures the baseline twice by itself."""
    place.create(experiment(EARLIER, **SHORT))
    place.wait_phase(EARLIER, "Completed", seconds=120)
    taught = place.trials(EARLIER)
    warm = {"experimentRef": {"name": EARLIER}, "maxAge": "1h"}
    place.create(experiment(LATER, warmStart=warm, **SHORT))
    place.wait_condition(LATER, "RecommendationReady", seconds=120)
    trials = place.trials(LATER)
    assert [t["spec"]["purpose"] for t in trials[:2]] == ["Baseline", "Baseline"]  # what was taught shows nothing safe
    assert trials[2]["spec"]["purpose"] == "Search"
    assert trials[2]["spec"]["suggestion"]["byModel"]
    heard, deaf = (_first_proposal(place, trials, earlier) for earlier in (taught, []))
    told = trials[2]["spec"]["suggestion"]["modelDigest"]
    assert told == heard.model_digest
    assert told != deaf.model_digest
    assert _assignment(place, trials[2]) == heard.assignment
    assert place.status(LATER)["phase"] == "Completed"
    place.wait_clean()
    assert [t["metadata"]["name"] for t in place.trials(EARLIER)] == [t["metadata"]["name"] for t in taught]


def _first_proposal(place: Place, trials: list[dict[str, Any]], earlier: list[dict[str, Any]]) -> Suggestion:
    """What the model proposes after both baseline trials, knowing these earlier ones: computed anew."""
    record = experiment_record(place.experiment(LATER))
    spec, state = record.spec, record.state
    assert spec is not None
    assert state is not None
    assert state.target is not None
    done, before = (tuple(trial_record(t, spec.space) for t in rows) for rows in (trials[:2], earlier))
    target = target_from(place.target())
    study = build_study(spec, target, state.target, done, state.started or 0.0, state.floors, earlier=before)
    found = suggest(study)
    assert isinstance(found, Proposal)
    assert isinstance(found.answer, Suggestion), found.answer
    assert found.answer.purpose is Purpose.SEARCH
    return found.answer


def _assignment(place: Place, trial: dict[str, Any]) -> object:
    spec = experiment_record(place.experiment(LATER)).spec
    assert spec is not None
    return trial_record(trial, spec.space).assignment
