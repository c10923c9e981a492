"""What the safety loop promises about each fault of an arm, wherever it runs: over faked ports, or in a whole operator.

A stage plays the fault and hands over the Trial as the ledger has it afterwards; `check` says whether it was kept.
"""

from __future__ import annotations

from dataclasses import dataclass

from trimtab.domain.measurement import Arm
from trimtab.domain.trial import Trial, TrialPhase
from trimtab.workload.faults import FaultKind

CANARY, CONTROL, BOTH = frozenset({Arm.CANARY}), frozenset({Arm.CONTROL}), frozenset(Arm) - {Arm.TARGET}
GONE_SECONDS = 5.0  # one checkInterval later, at the latest, no endpoint of the canary is ready


@dataclass(frozen=True)
class Promise:
    """A fault of some arms while a trial measures, and the outcome that the Trial must have for it.

    `hard` signals come from the API server and need no telemetry.
    """

    fault: FaultKind
    arms: frozenset[Arm]
    phase: TrialPhase
    reasons: frozenset[str]
    hard: bool = False

    def __str__(self) -> str:
        return f"{self.fault.value} of {' and '.join(sorted(self.arms))}"


def _hard(fault: FaultKind, arms: frozenset[Arm], phase: TrialPhase, reason: str) -> Promise:
    return Promise(fault, arms, phase, frozenset({reason}), hard=True)


PROMISES = (
    _hard(FaultKind.OOM, CANARY, TrialPhase.INFEASIBLE, "OOMKilled"),
    _hard(FaultKind.CRASH_LOOP, CANARY, TrialPhase.INFEASIBLE, "CrashLoop"),
    _hard(FaultKind.NOT_READY, CANARY, TrialPhase.INFEASIBLE, "ReadinessLost"),
    _hard(FaultKind.EVICT, CANARY, TrialPhase.INFRA_FAILED, "Disrupted"),
    _hard(FaultKind.OOM, CONTROL, TrialPhase.ABORTED, "ControlFailed"),
    _hard(FaultKind.OOM, BOTH, TrialPhase.ABORTED, "ControlFailedToo"),
    Promise(FaultKind.ERRORS, CANARY, TrialPhase.INFEASIBLE, frozenset({"AbortRule", "WorseThanControl"})),
    Promise(FaultKind.ERRORS, BOTH, TrialPhase.ABORTED, frozenset({"ControlFailedToo"})),
    Promise(FaultKind.SCRAPE_MISSING, CANARY, TrialPhase.INCONCLUSIVE, frozenset({"TelemetryBlind"})),
)


def check(promise: Promise, ended: Trial) -> None:
    """The Trial ended as promised, and says why."""
    outcome = ended.outcome
    assert outcome is not None, f"{promise}: the trial goes on ({ended.phase})"
    assert (outcome.phase, outcome.reason in promise.reasons) == (promise.phase, True), f"{promise}: {outcome}"
    assert outcome.message
    assert ended.evidence
    assert ended.withdraw_seconds is not None
    assert ended.withdraw_seconds <= GONE_SECONDS


__all__ = ["GONE_SECONDS", "PROMISES", "Promise", "check"]
