"""Fault plans: their form in a file, and what is said about a bad one."""

from __future__ import annotations

import json

import pytest
import yaml

from trimtab.simulate.faults.catalogue import CATALOGUE, CELLS, ELSEWHERE, JOINING, SITUATIONS, reference_page
from trimtab.simulate.faults.kinds import FaultKind, Moment, Number, Seconds, read_seconds, write_seconds
from trimtab.simulate.faults.plan import FaultPlan, InvalidPlan, plan_of

GOOD = """
seed: 7
faults:
- {kind: APIUnreachable, at: 2m, duration: 30s}
- {kind: OOMKilled, when: {moment: Measuring, trial: 1, after: 5s}, parameters: {of: control}}
- {kind: OperatorKilled, when: {effect: "after:create:Deployment", nth: 2}, parameters: {restartAfter: 10s}}
- {kind: ClockJumped, at: 500ms, parameters: {by: -90s}}
"""


def read(text: str) -> FaultPlan:
    return plan_of(yaml.safe_load(text), "faults.yaml")


def test_a_plan_is_read() -> None:
    plan = read(GOOD)
    cut, killed = plan.faults[0], plan.faults[2]
    assert (plan.seed, cut.at, cut.duration, cut.text("who")) == (7, 120.0, 30.0, "all")
    assert plan.faults[1].text("of") == "control"
    assert killed.number("restartAfter") == 10.0
    assert plan.faults[3].number("by") == -90.0


def test_what_is_printed_is_read_as_the_same_plan() -> None:
    plan = read(GOOD)
    assert plan_of(json.loads(json.dumps(plan.wire())), "again") == plan
    assert read(yaml.safe_dump(plan.wire())) == plan


def test_what_was_left_out_is_written_out() -> None:
    (fault,) = read("faults: [{kind: ClockJumped, at: 1s}]").wire()["faults"]
    assert fault == {"kind": "ClockJumped", "at": "1s", "duration": "31s", "parameters": {"by": "3600s"}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "is no fault plan; start with `faults:` and a list of faults"),
        ("{fault: []}", "fault: unknown field; did you mean faults?"),
        ("{seed: x}", "seed: must be a whole number; write it without quotes and without a fraction"),
        ("{seed: -1}", "seed: must be at least 0"),
        ("{scenario: {trials: 0}}", "scenario.trials: must be at least 1"),
        ("{scenario: {designer: Magic}}", "scenario.designer: unsupported value"),
        ("{faults: [{kind: OOMKiled, at: 1s}]}", "faults[0].kind: 'OOMKiled' is no kind of fault; did you mean"),
        ("{faults: [{kind: 3, at: 1s}]}", "faults[0].kind: '3' is no kind of fault; the"),
        ("{faults: [{at: 1s}]}", "faults[0].kind: is required; add it"),
        ("{faults: [{kind: OOMKilled}]}", "faults[0]: needs exactly one of at and when; remove or add one"),
        ("{faults: [{kind: OOMKilled, at: 1}]}", "faults[0].at: is no time; write for example 500ms, 90s or 2m"),
        ("{faults: [{kind: OOMKilled, at: .nan}]}", "faults[0].at: is no time; write for example"),
        ("{faults: [{kind: OOMKilled, at: 999999h}]}", "faults[0].at: is out of bounds; use 0s to 2592000s"),
        ("{faults: [{kind: OOMKilled, at: 1s, duration: 2s}]}", "OOMKilled happens in an instant; remove it"),
        ("{faults: [{kind: APIError, at: 1s, duration: 0s}]}", "faults[0].duration: is out of bounds; use 0.001s to"),
        ("{faults: [{kind: OOMKilled, at: 1s, parameters: 3}]}", "faults[0].parameters: must be an object; write"),
        ("{faults: [{kind: OOMKilled, at: 1s, parameters: {x: 1}}]}", "has no such parameter; it has of"),
        ("{faults: [{kind: WatchGone, at: 1s, parameters: {x: 1}}]}", "WatchGone has no such parameter; remove it"),
        ("{faults: [{kind: OOMKilled, at: 1s, parameters: {of: me}}]}", "of: is none of its words; use one"),
        (
            "{faults: [{kind: APIConflict, at: 1s, parameters: {chance: 2}}]}",
            "use a number from 0.01 to 1",
        ),
        ("{faults: [{kind: APIConflict, at: 1s, parameters: {chance: true}}]}", "chance: is no number; use"),
        ("{faults: [{kind: APISlow, at: 1s, parameters: {latency: 9h}}]}", "is out of bounds; use 0.1s to 5s"),
        (
            "{faults: [{kind: OOMKilled, when: {moment: Ended}}]}",
            "when.moment: OOMKilled does not strike at",
        ),
        ("{faults: [{kind: OOMKilled, when: {moment: Later}}]}", "when.moment: unsupported value"),
        ("{faults: [{kind: OOMKilled, when: {}}]}", "faults[0].when: needs exactly one of moment and effect"),
        ("{faults: [{kind: OOMKilled, when: {effect: 'before:update:Trial'}}]}", "is no effect; write"),
        (
            "{faults: [{kind: OOMKilled, when: {effect: 'after:create:Zebra'}}]}",
            "faults[0].when.effect: no operator writes Zebra by create; use one of ConfigMap, Deployment, Event, ",
        ),
        (
            "{faults: [{kind: OOMKilled, when: {effect: 'after:create:Trial/status'}}]}",
            "no operator writes Trial/status",
        ),
        (
            "{faults: [{kind: OOMKilled, when: {effect: 'before:delete:Experiment'}}]}",
            "writes Experiment by delete; use",
        ),
        ("{faults: [{kind: OOMKilled, when: {effect: 'after:create:Trial', nth: 0}}]}", "nth: must be at least 1"),
        ("{faults: 3}", "faults: must be a list; start each item with a dash"),
    ],
)
def test_an_error_names_the_field_and_the_remedy_in_one_line(text: str, words: str) -> None:
    with pytest.raises(InvalidPlan) as caught:
        read(text)
    message = str(caught.value)
    assert message.startswith("faults.yaml: ")
    assert words in message
    assert "\n" not in message


def test_more_than_one_problem_is_counted() -> None:
    with pytest.raises(InvalidPlan, match=r"\(and 1 more\)"):
        read("{faults: [{kind: OOMKilled}, {kind: OOMKilled}]}")


def test_every_kind_is_in_the_catalogue_and_every_situation_has_one() -> None:
    assert set(CATALOGUE) == set(FaultKind)
    assert {row.survives for row in CATALOGUE.values()} == set(SITUATIONS)
    assert len(set(CELLS)) == len(CELLS)
    assert {moment for _, moment in CELLS} == set(Moment)
    assert not set(JOINING) & {kind.value for kind in FaultKind}


def test_the_table_shows_every_kind() -> None:
    page = reference_page()
    assert all(f"`{kind}`" in page for kind in FaultKind)
    assert all(f"`{name}`" in page for name in JOINING)
    assert ELSEWHERE


@pytest.mark.parametrize("kind", FaultKind)
def test_defaults_lie_within_bounds(kind: FaultKind) -> None:
    row = CATALOGUE[kind]
    for parameter in row.parameters:
        assert parameter.read(parameter.write(parameter.default)) == parameter.default
        if isinstance(parameter, Seconds | Number):
            assert parameter.low <= parameter.default <= parameter.high
    if row.usual is not None:
        low, high = row.usual
        assert 0 < low < high
    assert row.moments


@pytest.mark.parametrize("seconds", [0.0, 0.001, 1.0, 1.5, 59.999, 3600.0, 86400.0])
def test_times_are_written_as_they_are_read(seconds: float) -> None:
    assert read_seconds(write_seconds(seconds)) == seconds
