"""The end of every trial: it has a deadline from its first record on, whoever is the first to notice it. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from trimtab.domain.kube import ArmView
from trimtab.domain.trial import Outcome, Trial, TrialPhase

NOT_SERVING = frozenset({TrialPhase.PENDING, TrialPhase.DEPLOYING})


def overdue(trial: Trial, now: float, arms: Iterable[ArmView | None], longest: float | None = None) -> Outcome | None:
    """How a trial that ran past its deadline ends; None while it may go on.

    Args:
        now: unix seconds.
        arms: what is there of its arms; says what kept them from serving.
        longest: seconds from the record to the deadline of a trial that has not begun and so has no deadline yet;
            None: that trial may wait.
    """
    deadline = trial.deadline
    if deadline is None and longest is not None:
        deadline = trial.times.created + longest
    if deadline is None or now < deadline or trial.phase is TrialPhase.DRAINING or trial.phase.terminal:
        return None
    if trial.phase in NOT_SERVING:
        words = _unschedulable(arms) or "the arms did not become ready"
        return Outcome(TrialPhase.INFRA_FAILED, "DeployTimeout", f"{words} until the deadline")
    return Outcome(TrialPhase.INCONCLUSIVE, "DeadlinePassed", "the trial did not end until its deadline")


def _unschedulable(arms: Iterable[ArmView | None]) -> str:
    pods = (pod for arm in arms if arm is not None for pod in arm.pods)
    found = next((pod for pod in pods if pod.unschedulable), None)
    return f"pod {found.name} cannot be scheduled: {found.unschedulable[:200]}" if found is not None else ""


__all__ = ["overdue"]
