"""What a withdrawal leaves in its Trial: each kind has room, however much there is of another."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.control.builders import NOW, arm, pod, spec, trial
from tests.unit.slo.test_safety import counts

from trimtab.domain.kube import ContainerStatus
from trimtab.domain.measurement import AlertSeen, Arm, ContainerUse, Measurement, Window
from trimtab.domain.spec import ExperimentSpec
from trimtab.domain.trial import TrialPhase
from trimtab.slo.alerts import alarm
from trimtab.slo.safety import Closed, SafetyView, Withdraw, judge_tick
from trimtab.slo.traces import LENGTH, MOST, PODS, READINGS, TESTS, WINDOWS, traces
from trimtab.slo.watching import SafetyWindow, WatchState

LIVE = trial(TrialPhase.MEASURING)
BEGUN = LIVE.times.measuring or 0.0
ARMS = (arm(LIVE, Arm.CANARY), arm(LIVE, Arm.CONTROL))


def about(bounds: int) -> ExperimentSpec:
    """So many SLIs, each with a bound and an error budget."""
    made = spec()
    (sli,), (bound,), (budget,) = made.slis, made.constraints, made.budgets
    names = [f"s{number}" for number in range(bounds)]
    return spec(
        slis=tuple(replace(sli, name=name) for name in names),
        constraints=tuple(replace(bound, name=f"bound-{name}", sli=name) for name in names),
        budgets=tuple(replace(budget, name=f"budget-{name}", sli=name) for name in names),
    )


def watched(of: ExperimentSpec, windows: int = 6, uses: tuple[ContainerUse, ...] = ()) -> WatchState:
    state = WatchState()
    for number in range(windows):
        span = Window(BEGUN + 5.0 * number, BEGUN + 5.0 * (number + 1))
        readings = tuple(
            Measurement(sli.name, which, span, counts(bad))
            for sli in of.slis
            for which, bad in ((Arm.CANARY, 3), (Arm.CONTROL, 2))
        )
        state = state.with_window(SafetyWindow(span, readings, uses), of)
    return state


def kinds_of(lines: tuple[str, ...]) -> dict[str, int]:
    return {
        "tests": sum(": e-value " in line for line in lines),
        "pods": sum(line.startswith("pod ") for line in lines),
        "windows": sum(line.endswith(("(open)", "(kept)")) for line in lines),
    }


@pytest.mark.parametrize("bounds", [1, 6, 12])
def test_many_bounds_leave_room_for_tests_and_pods(bounds: int) -> None:
    of = about(bounds)
    found = traces(of, watched(of), ARMS)
    assert len(found) <= MOST
    tests = min(bounds, TESTS)
    assert kinds_of(found) == {"tests": tests, "pods": 2, "windows": min(WINDOWS * bounds, MOST - tests - 2)}


def test_of_twelve_bounds_the_one_that_decided_is_told_whole_and_each_other_once() -> None:
    of = about(12)
    many = replace(ARMS[0], pods=tuple(pod(f"canary-{number}") for number in range(9)))
    found = traces(of, watched(of), (many, ARMS[1]), "bound-s7", [f"reading {number}" for number in range(20)])
    assert len(found) == MOST
    assert [line for line in found if line.startswith("reading")] == [f"reading {n}" for n in range(READINGS)]
    assert kinds_of(found) == {"tests": TESTS, "pods": PODS, "windows": MOST - READINGS - TESTS - PODS}
    windows = found[-12:]
    assert [line.split()[0] for line in windows] == sorted(line.split()[0] for line in windows)
    assert sum(" s7 " in line for line in windows) == WINDOWS
    newest = f"{BEGUN + 25:.0f}..{BEGUN + 30:.0f}"
    assert all(line.startswith(newest) for line in windows if " s7 " not in line)


def test_tests_are_told_with_the_value_that_withdraws() -> None:
    of = about(2)
    lines = traces(of, watched(of), ())
    assert all(line.endswith(" (200 withdraws), overdispersion 3") for line in lines[:2]), lines


def test_pods_with_something_to_tell_come_first() -> None:
    killed = ContainerStatus("web", False, 2, "CrashLoopBackOff", "OOMKilled")
    pods = (*(pod(f"calm-{number}") for number in range(PODS)), pod("dead", containers=(killed,), reason="Evicted"))
    found = traces(spec(), WatchState(), (replace(ARMS[0], pods=pods),))
    assert len(found) == PODS
    assert found[0] == "pod dead Running Evicted web ready=False restarts=2 CrashLoopBackOff"
    assert found[1] == "pod calm-0 Running web ready=True restarts=0"


def test_what_a_container_wrote_at_its_end_is_one_short_line() -> None:
    words = "x" * 5000 + "\nTraceback\n\x1b[31mno heap left"
    killed = ContainerStatus("web", False, 1, last_terminated_reason="Error", last_words=words)
    found = traces(spec(), WatchState(), (replace(ARMS[0], pods=(pod("dead", containers=(killed,)),)), None))
    assert found[1].startswith("container web of pod dead wrote at its end: xxx")
    assert found[1].endswith("x\\nTraceback\\n\\x1b[31mno heap left")
    assert all(line.isprintable() and len(line) <= LENGTH for line in found)


# What a rule was told by


def withdrawn(**changes: object) -> Withdraw:
    view = SafetyView(NOW, spec(), LIVE, *ARMS, WatchState())
    found = judge_tick(replace(view, **changes))  # type: ignore[arg-type]
    assert isinstance(found, Withdraw)
    return found


def test_a_guard_tells_its_windows_of_both_arms() -> None:
    strained, calm = (
        ContainerUse(of.pods[0].name, "web", throttled=share) for of, share in zip(ARMS, (0.7, 0.1), strict=True)
    )
    found = withdrawn(watch=watched(spec(), 2, (strained, calm)))
    assert found.outcome.reason == "CpuThrottled"
    assert found.evidence[:2] == tuple(
        f"{BEGUN + n:.0f}..{BEGUN + n + 5:.0f} CpuThrottled: container web 70 %, control 10 % in web" for n in (0, 5)
    )


def test_budgets_and_alerts_tell_what_they_read() -> None:
    cap = Closed("availability", "ExperimentCapReached", "10 left", ("canaries may cause 10",))
    gate = Closed("availability", "BudgetBurning", "burn rate 20 over 5m", ("5m: 20 of 100",))
    firing = alarm((AlertSeen("CheckoutDown", NOW, True), AlertSeen("CartSlow", NOW - 60, False)), NOW)
    found = withdrawn(cap=cap, gate=gate, alert=firing)
    assert found.evidence[:2] == ("canaries may cause 10", "5m: 20 of 100")
    assert [line[: line.index(",")] for line in found.evidence[2:4]] == [
        "alert CheckoutDown fires", "alert CartSlow is over",
    ]  # fmt: skip
    assert "seen last at 20" in found.evidence[2]
