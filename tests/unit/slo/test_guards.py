"""Resource guards: what strains a canary, what its control excuses, and what nobody can tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.control.builders import BASELINE, CHEAPER, NOW, arm, spec, trial

from trimtab.control.study import HARD_FAILURES
from trimtab.domain.measurement import Arm, ContainerUse, Window
from trimtab.domain.space import Resource
from trimtab.domain.trial import Outcome, TrialPhase
from trimtab.slo.guards import GUARDS, strained
from trimtab.slo.safety import Continue, SafetyView, Withdraw, judge_tick
from trimtab.slo.watching import SafetyWindow, WatchState

LIVE = trial(TrialPhase.MEASURING)
BEGUN = LIVE.times.measuring or 0.0
CANARY, CONTROL = arm(LIVE, Arm.CANARY), arm(LIVE, Arm.CONTROL)
LIMITS = {Arm.CANARY: float(CHEAPER.number("memory")), Arm.CONTROL: float(BASELINE.number("memory"))}
Share = Mapping[str, float]


def window(number: int, canary: Share | None, control: Share | None, begun: float = BEGUN) -> SafetyWindow:
    """What both arms used, `working_set` as a share of the arm's limit; None: it was not seen."""
    uses = []
    for of, share in ((CANARY, canary), (CONTROL, control)):
        if share is not None:
            known: dict[str, Any] = dict(share)
            if "working_set" in known:
                known["working_set"] *= LIMITS[of.arm]
            uses.append(ContainerUse(of.pods[0].name, "web", **known))
    span = Window(begun + 5.0 * number, begun + 5.0 * (number + 1))
    return SafetyWindow(span, (), tuple(uses))


def windows(*pairs: tuple[Share | None, Share | None]) -> list[SafetyWindow]:
    return [window(number, *pair) for number, pair in enumerate(pairs)]


def judged(*pairs: tuple[Share | None, Share | None]) -> Outcome | None:
    return strained(windows(*pairs), CANARY, CONTROL)


BAD: dict[str, Share] = {
    "CpuThrottled": {"throttled": 0.5},
    "CpuStarved": {"cpu_waiting": 0.8},
    "MemoryNearLimit": {"working_set": 0.98},
    "MemoryStalled": {"memory_stalled": 0.1},
}
FIELD = {reason: next(iter(share)) for reason, share in BAD.items()}
WELL: Share = {"throttled": 0.05, "cpu_waiting": 0.1, "working_set": 0.5, "memory_stalled": 0.0}


def test_each_guard_has_a_case_here_and_teaches_its_resource() -> None:
    assert {g.reason for g in GUARDS} == set(BAD)
    taught = {reason: HARD_FAILURES[reason].resource for reason in BAD}
    assert taught == {
        "CpuThrottled": Resource.CPU, "CpuStarved": Resource.CPU,
        "MemoryNearLimit": Resource.MEMORY, "MemoryStalled": Resource.MEMORY,
    }  # fmt: skip


@pytest.mark.parametrize("reason", BAD)
def test_twice_in_three_windows(reason: str) -> None:
    bad, well = {**WELL, **BAD[reason]}, WELL
    assert judged((bad, well)) is None
    assert judged((bad, well), (well, well), (well, well), (bad, well)) is None
    found = judged((bad, well), (well, well), (bad, well))
    assert found is not None
    assert (found.phase, found.reason) == (TrialPhase.INFEASIBLE, reason)


@pytest.mark.parametrize("reason", BAD)
def test_just_under_the_guard(reason: str) -> None:
    almost = {**WELL, **{name: 0.99 * value for name, value in BAD[reason].items()}}
    assert judged(*[(almost, WELL)] * 3) is None


@pytest.mark.parametrize("reason", BAD)
def test_what_the_control_lives_with_is_no_fault_of_the_assignment(reason: str) -> None:
    guard = next(g for g in GUARDS if g.reason == reason)
    same = {**WELL, FIELD[reason]: guard.control}
    assert judged(*[({**WELL, **BAD[reason]}, same)] * 3) is None


def test_an_arm_that_is_not_seen_proves_nothing() -> None:
    bad = {**WELL, "throttled": 1.0}
    assert judged(*[(bad, None)] * 3) is None
    assert judged(*[(None, WELL)] * 3) is None
    assert strained(windows(*[(bad, WELL)] * 3), CANARY, None) is None
    assert strained(windows(*[(bad, WELL)] * 3), None, CONTROL) is None


def test_windows_without_series_do_not_count() -> None:
    bad = {**WELL, "throttled": 1.0}
    assert judged((bad, WELL), *[(None, None)] * 5, (bad, WELL)) is not None


def test_no_limit_no_share_of_it() -> None:
    pod = replace(CANARY.pods[0], resources=(("web", replace(CANARY.pods[0].resources[0][1], memory_limit=None)),))
    bad = {**WELL, "working_set": 5.0}
    assert judged(*[(bad, WELL)] * 3) is not None
    assert strained(windows(*[(bad, WELL)] * 3), replace(CANARY, pods=(pod,)), CONTROL) is None


def test_the_message_has_the_numbers() -> None:
    found = judged(*[({**WELL, "throttled": 0.625}, WELL)] * 3)
    assert found is not None
    assert found.message == (
        "container web is throttled in 62.5 % of its CPU periods in 3 of 3 windows, guard at 50 %, control 5 %"
    )


def view(**changes: Any) -> SafetyView:
    watch = WatchState(windows=tuple(windows(*[({**WELL, "throttled": 1.0}, WELL)] * 3)))
    return replace(SafetyView(NOW, spec(), LIVE, CANARY, CONTROL, watch), **changes)


def test_a_rule_of_the_safety_tick() -> None:
    found = judge_tick(view())
    assert isinstance(found, Withdraw)
    assert (found.rule, found.outcome.reason) == ("resourceGuard", "CpuThrottled")


def test_switched_off() -> None:
    assert judge_tick(view(spec=replace(spec(), safety=replace(spec().safety, resource_guards=False)))) == Continue()


def test_a_cold_start_is_not_judged() -> None:
    early = tuple(window(n, {**WELL, "throttled": 1.0}, WELL, begun=BEGUN - 100.0) for n in range(3))
    assert judge_tick(view(watch=WatchState(windows=early))) == Continue()
