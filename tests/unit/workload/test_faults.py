"""Faults: when they act, on whom, and what they change."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from trimtab.workload import ORDINARY, Conditions, Fault, FaultKind, conditions_under
from trimtab.workload.faults import acting

CANARY = {"app": "web", "trimtab.dev/arm": "canary"}
CONTROL = {"app": "web", "trimtab.dev/arm": "control"}


def fault(**fields: object) -> Fault:
    return Fault.model_validate({"name": "f", "kind": "SlowDependency", "factor": 4, **fields})


def test_a_fault_acts_on_the_pods_it_selects() -> None:
    slow = fault(selector={"trimtab.dev/arm": "canary"}, addend="50ms")
    hit = conditions_under([slow], CANARY, 10.0, ORDINARY)
    assert hit == Conditions(dependency_factor=4.0, dependency_addend_s=0.05)
    assert conditions_under([slow], CONTROL, 10.0, ORDINARY) == ORDINARY
    assert conditions_under([slow.model_copy(update={"namespace": "other"})], CANARY, 1.0, ORDINARY, "shop") == ORDINARY


def test_a_fault_has_a_beginning_and_an_end() -> None:
    slow = fault(start=100.0, duration="10s")
    assert [slow.active(t) for t in (99.0, 100.0, 109.9, 110.0)] == [False, True, True, False]
    assert fault().active(0.0)
    assert not fault().starting_at(50.0).active(49.0)
    assert fault(start=5.0).starting_at(50.0).start == 5.0


def test_faults_add_up() -> None:
    faults = [
        fault(factor=2),
        fault(name="g", factor=3),
        fault(name="e", kind="Errors", factor=1, errorPercent=50),
        fault(name="h", kind="Errors", factor=1, errorPercent=50),
        fault(name="m", kind="Memory", factor=1, bytes="64Mi"),
        fault(name="c", kind="SlowCPU", factor=1.5),
    ]
    result = conditions_under(faults, CANARY, 0.0, Conditions(cpu_slowdown=2.0))
    assert result == Conditions(3.0, 6.0, 0.0, 0.75, 64 * 2**20)


def test_other_kinds_change_no_behaviour_but_are_found() -> None:
    oom = fault(kind="OOM", factor=1, selector={"app": "web"})
    assert conditions_under([oom], CANARY, 0.0, ORDINARY) == ORDINARY
    assert acting([oom], FaultKind.OOM, CANARY, 0.0)
    assert not acting([oom], FaultKind.EVICT, CANARY, 0.0)
    assert not acting([oom], FaultKind.OOM, {}, 0.0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"factor": 1}, "factor: SlowDependency needs a factor other than 1 or an addend"),
        ({"kind": "Errors"}, "errorPercent: Errors needs an errorPercent above 0"),
        ({"kind": "Memory"}, 'bytes: Memory needs a size such as "256Mi"'),
        ({"name": "A b"}, "name"),
        ({"kind": "Earthquake"}, "kind"),
        ({"duration": 5}, "duration"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wrong_fault_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        fault(**fields)
