"""What is written to the API server reads back as the same thing: status, Trial, assignment, time."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.api import strategies as some
from tests.unit.api.samples import experiment, space

from trimtab.api import assignment
from trimtab.api.convert import (
    experiment_record,
    experiment_status,
    same_trial,
    trial_manifest,
    trial_record,
    trial_status,
)
from trimtab.api.times import format_seconds, format_time, parse_time
from trimtab.domain import names
from trimtab.domain.space import Assignment
from trimtab.domain.state import ExperimentState
from trimtab.domain.trial import Trial
from trimtab.ports import NewTrial


def through_the_server(value: Any) -> Any:
    """What the API server gives back: JSON, in which 1.0 may have become 1."""
    if isinstance(value, dict):
        return {key: through_the_server(child) for key, child in value.items()}
    if isinstance(value, list):
        return [through_the_server(child) for child in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return json.loads(json.dumps(value))


@pytest.mark.thorough
@settings(max_examples=80, deadline=None)
@given(some.of(ExperimentState))
def test_status_reads_back_as_the_same_state(state: ExperimentState) -> None:
    record = experiment_record(experiment())
    status = experiment_status(record, state)
    again = experiment_record({**experiment(), "status": through_the_server(status)})
    assert again.state_problem == ""
    assert again.state == state
    assert experiment_status(again, state) == status


@pytest.mark.thorough
@settings(max_examples=50, deadline=None)
@given(some.of(ExperimentState))
def test_status_survives_a_spec_that_became_unreadable(state: ExperimentState) -> None:
    broken = experiment()
    broken["spec"]["parameters"][0]["quantity"]["min"] = "much"
    record = experiment_record(broken)
    assert record.spec is None
    again = experiment_record({**broken, "status": through_the_server(experiment_status(record, state))})
    assert again.state == state


@pytest.mark.thorough
@settings(max_examples=80, deadline=None)
@given(some.of(Trial, index=st.integers(0, 9999), deleting=st.just(False)), st.booleans())
def test_trial_reads_back_as_the_same_trial(trial: Trial, with_space: bool) -> None:
    record = experiment_record(experiment())
    trial = replace(
        trial,
        name=names.trial_name(record.name, record.uid, trial.index),
        namespace=record.namespace,
        experiment_name=record.name,
        experiment_uid=record.uid,
        cost=0.25 if trial.cost is None else trial.cost,
    )
    stored = as_stored(trial, trial_manifest(record, new_trial(trial)))
    again = trial_record(stored, space() if with_space else None)
    assert again == trial
    assert trial_status(again) == trial_status(trial)


def new_trial(trial: Trial) -> NewTrial:
    assert trial.cost is not None
    return NewTrial(trial.index, trial.suggestion, trial.environment, trial.spec_digest, trial.cost)


def as_stored(trial: Trial, body: dict[str, Any]) -> dict[str, Any]:
    metadata = body["metadata"] | {
        "uid": trial.uid,
        "resourceVersion": trial.resource_version,
        "creationTimestamp": format_seconds(trial.times.created),
    }
    if not trial.finalized:
        del metadata["finalizers"]
    return dict(through_the_server({**body, "metadata": metadata, "status": trial_status(trial)}))


@settings(max_examples=50, deadline=None)
@given(some.of(Trial, index=st.integers(0, 9999)), some.numbers)
@pytest.mark.thorough
def test_the_same_post_is_recognized_however_long_fitting_took(trial: Trial, seconds: float) -> None:
    record = experiment_record(experiment())
    new = NewTrial(trial.index, trial.suggestion, trial.environment, trial.spec_digest, 0.25)
    body = trial_manifest(record, new)
    slower = replace(new, suggestion=replace(new.suggestion, fit_seconds=seconds, search_seconds=seconds))
    assert same_trial(through_the_server(body), trial_manifest(record, slower))
    digest = names.ANNOTATION_DIGEST
    assert body["metadata"]["annotations"][digest] == trial_manifest(record, slower)["metadata"]["annotations"][digest]
    other = replace(new, suggestion=replace(new.suggestion, seed=new.suggestion.seed + 1))
    assert not same_trial(body, trial_manifest(record, other))


@settings(deadline=None)
@given(some.assignments())
def test_an_assignment_is_exact_with_and_without_its_space(values: Assignment) -> None:
    for writer in (space(), None):
        written = assignment.write(values, writer)
        for reader in (space(), None):
            assert assignment.read(written, reader) == values


def test_an_assignment_is_written_as_people_write_it() -> None:
    values = Assignment((("cpu", Decimal("0.25")), ("memory", Decimal(768 * 2**20))))
    assert assignment.describe(assignment.write(values, space())) == "cpu=250m memory=768Mi"


@settings(deadline=None)
@given(some.times)
def test_times_are_exact_to_the_millisecond(moment: float) -> None:
    assert parse_time(format_time(moment)) == moment


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-01-31T12:00:00Z", 1769860800.0),
        ("2026-01-31T13:00:00+01:00", 1769860800.0),
        ("2026-01-31T12:00:00.123456789Z", 1769860800.123),
        ("2026-01-31T12:00:00.5Z", 1769860800.5),
    ],
)
def test_times_of_other_writers_are_read(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "now", "2026-01-31", "2026-01-31T12:00:00", "2026-13-31T12:00:00Z", "1769860800"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"time|month"):
        parse_time(text)
