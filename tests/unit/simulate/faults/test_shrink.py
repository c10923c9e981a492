"""Shrinking: the shortest plan that still fails, found the same way each time."""

from __future__ import annotations

from trimtab.simulate.faults.plan import Fault, FaultPlan
from trimtab.simulate.faults.shrink import shrink


def fault(kind: str, **rest: object) -> Fault:
    return Fault.model_validate({"kind": kind, "at": "10.5s"} | rest)


NOISE = tuple(fault(kind) for kind in ("WatchClosed", "APISlow", "PodDeleted", "FitFails", "TargetScaled"))


def test_only_the_faults_that_matter_are_left() -> None:
    killed, cut = fault("OperatorKilled"), fault("APIUnreachable", duration="64s")
    plan = FaultPlan(seed=3, faults=(*NOISE[:2], killed, *NOISE[2:], cut))

    def fails(candidate: FaultPlan) -> bool:
        kinds = [f.kind for f in candidate.faults]
        return killed.kind in kinds and cut.kind in kinds

    found = shrink(plan, fails)
    assert [f.kind for f in found.faults] == [killed.kind, cut.kind]
    assert found.seed == 3
    assert found.faults[1].duration == 1.0
    assert found.faults[0].at == 10.0


def test_durations_shrink_only_as_far_as_it_still_fails() -> None:
    plan = FaultPlan(faults=(fault("PrometheusDown", duration="100s"),))
    found = shrink(plan, lambda p: any((f.duration or 0) >= 20 for f in p.faults))
    assert [f.duration for f in found.faults] == [25.0]


def test_parameters_and_triggers_become_the_plainest() -> None:
    when = {"effect": "after:create:Trial", "nth": 4}
    late = {"moment": "Measuring", "trial": 2, "after": "7.5s"}
    plan = FaultPlan(
        faults=(
            Fault.model_validate({"kind": "OperatorKilled", "when": when, "parameters": {"restartAfter": "90s"}}),
            Fault.model_validate({"kind": "PodDeleted", "when": late, "parameters": {"of": "control"}}),
        )
    )
    found = shrink(plan, lambda p: len(p.faults) == 2)
    assert found.faults[0].when is not None
    assert found.faults[0].when.nth == 1
    assert found.faults[0].number("restartAfter") == 1.0
    assert found.faults[1].when is not None
    assert found.faults[1].when.after == 0.0
    assert found.faults[1].text("of") == "canary"


def test_a_plan_that_fails_without_faults_has_none() -> None:
    assert shrink(FaultPlan(faults=NOISE), lambda _: True).faults == ()


def test_it_asks_no_question_twice_and_not_for_ever() -> None:
    asked: list[str] = []

    def fails(plan: FaultPlan) -> bool:
        asked.append(repr(plan.wire()))
        return len(plan.faults) >= 4

    found = shrink(FaultPlan(faults=NOISE), fails, most=20)
    assert len(found.faults) == 4
    assert len(asked) == len(set(asked)) <= 20


def test_the_same_plan_shrinks_the_same_way() -> None:
    def fails(plan: FaultPlan) -> bool:
        return sum(f.kind in ("APISlow", "FitFails") for f in plan.faults) >= 1

    assert shrink(FaultPlan(faults=NOISE), fails) == shrink(FaultPlan(faults=NOISE), fails)
