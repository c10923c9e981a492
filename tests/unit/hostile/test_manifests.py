"""Hostile Experiments, Trials and statuses: refused with the field named, or handled; never a crash."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.api.samples import experiment
from tests.unit.control import builders
from tests.unit.hostile.examples import (
    anything,
    bounded,
    example,
    hostile,
    mutated,
    nested,
    of_budget,
    one_line,
    one_of,
    texts,
)

from trimtab.api.convert import experiment_record, experiment_status, parse_experiment, trial_record
from trimtab.api.lint import Level, defaults_in_effect, lint
from trimtab.control.decide import decide
from trimtab.domain.errors import CorruptLedger, InvalidSpec, NotYetSupported
from trimtab.domain.state import ExperimentState

pytestmark = pytest.mark.thorough

GOOD = example("web-service/experiment.yaml")
MOST_STATUS = 300_000  # characters of a status, whatever an annotation says


def linted(manifest: Any) -> None:
    with bounded():
        found = lint(manifest)
    for finding in found:
        one_line(str(finding))
    if any(f.level is Level.ERROR for f in found):
        return
    with bounded():
        parse_experiment(manifest)
        defaults_in_effect(manifest)


@pytest.mark.parametrize("depth", [200, 900, 5_000, 100_000])
def test_nesting_has_an_end(depth: int) -> None:
    linted({**GOOD, "spec": {**GOOD["spec"], "parameters": nested(depth)}})
    record = experiment_record(experiment() | {"spec": nested(depth), "status": nested(depth)})
    assert record.spec is None
    one_line(record.problem, "spec")
    one_line(record.state_problem, "status")


@of_budget(0.05)
@given(hostile)
def test_anything_may_be_linted(manifest: Any) -> None:
    linted(manifest)


@of_budget(0.2)
@given(mutated(GOOD))
def test_what_lint_lets_pass_can_be_read(manifest: Any) -> None:
    linted(manifest)


@of_budget(0.1)
@given(mutated(GOOD["spec"]))
def test_a_spec_is_read_or_refused_by_name(spec: Any) -> None:
    with bounded():
        record = experiment_record(experiment() | {"spec": spec})
    if record.spec is None:
        assert record.problem_reason in {"InvalidSpec", "NotYetSupported"}
        one_line(record.problem, "spec")
    try:
        parse_experiment({"spec": spec})
    except (InvalidSpec, NotYetSupported) as error:
        one_line(str(error), error.field)
        one_line(error.field, "spec")


@of_budget(0.05)
@given(st.one_of(anything, mutated({"phase": "Running", "conditions": [], "trialsCreated": 3, "started": "x"})))
def test_a_status_is_read_or_reported(status: Any) -> None:
    with bounded():
        record = experiment_record(experiment() | {"status": status})
    assert (record.state is None) == bool(record.state_problem)
    if record.state_problem:
        one_line(record.state_problem)


@of_budget(0.1)
@given(st.data())
def test_a_trial_is_read_or_the_ledger_is_corrupt(data: st.DataObject) -> None:
    stored = data.draw(mutated(stored_trial(), st.one_of(anything, texts)))
    metadata = stored_trial()["metadata"]
    manifest = (stored if isinstance(stored, dict) else {}) | {"metadata": metadata}
    try:
        with bounded():
            trial_record(manifest)
    except CorruptLedger as error:
        one_line(str(error), metadata["name"])


def stored_trial() -> dict[str, Any]:
    """A Trial as the API server has it."""
    from trimtab.api.convert import trial_manifest, trial_status
    from trimtab.ports import NewTrial

    trial = builders.trial()
    new = NewTrial(0, trial.suggestion, trial.environment, "digest", 0.5)
    manifest = json.loads(json.dumps(trial_manifest(builders.experiment(), new)))
    manifest["metadata"] |= {"uid": "u", "resourceVersion": "1", "creationTimestamp": "2026-01-31T12:00:00Z"}
    manifest["status"] = json.loads(json.dumps(trial_status(trial)))
    return dict(manifest)


# The API server itself bounds an annotation's key, not its value.
keys = st.one_of(one_of(("pause", "rollback", "skip", "approve", "pauze")), st.from_regex(r"\A[A-Za-z0-9_.-]{1,62}x\Z"))
annotations = st.dictionaries(keys.map(lambda name: f"trimtab.dev/{name}"), texts, max_size=4)


@of_budget(0.1)
@given(annotations)
def test_annotations_are_handled_whatever_they_say(given_annotations: dict[str, str]) -> None:
    record = builders.experiment(annotations=tuple(sorted(given_annotations.items())))
    seen = builders.snapshot(record, (builders.trial(),))
    with bounded():
        decision = decide(record.state or ExperimentState(), seen)
        status = experiment_status(record, decision.state)
    assert len(json.dumps(status)) < MOST_STATUS
    again = experiment_record(experiment() | {"status": json.loads(json.dumps(status))})
    assert again.state_problem == ""
