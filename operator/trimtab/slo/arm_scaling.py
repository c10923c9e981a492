"""Arms that an autoscaler scales: pods that come and go are no failure of the canary; a canary that has none, or whose
new pods do not get ready, is. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from trimtab.domain.kube import ArmView, PodView
from trimtab.domain.trial import Outcome, PhaseTimes, TrialPhase

LEAST_GRACE = 60.0  # seconds that a new pod may take to get ready, or to be scheduled
GRACE_FACTOR = 2.0  # times what the arms' first pods took


def unscaled(arms: Iterable[ArmView | None]) -> Outcome | None:
    """How a trial ends of which an arm lost its autoscaler: it has not the pods any more that its values would give."""
    for arm in arms:
        if arm is not None and arm.uid is not None and arm.scaled_by and (arm.scaler is None or arm.scaler.deleting):
            message = f"HorizontalPodAutoscaler {arm.scaled_by} of an arm was deleted by somebody else"
            return Outcome(TrialPhase.ABORTED, "ArmDeleted", message)
    return None


def settled(pod: PodView, times: PhaseTimes) -> bool:
    """It was there when the arms got ready, so it is none that an autoscaler added."""
    return pod.created is None or times.warming_up is None or pod.created <= times.warming_up


def grace(times: PhaseTimes) -> float:
    """Seconds after which a new pod has to be ready."""
    if times.deploying is None or times.warming_up is None:
        return LEAST_GRACE
    return max(LEAST_GRACE, GRACE_FACTOR * (times.warming_up - times.deploying))


def unready(arm: ArmView, times: PhaseTimes, now: float) -> str:
    """Words when the arm does not serve as it should, "" when pods that are not ready are only new."""
    pods = [p for p in arm.pods if not p.deleting]
    if pods and not any(p.ready for p in pods):
        return f"none of the {len(pods)} pods of {arm.name} is ready"
    for pod in pods:
        if pod.ready:
            continue
        if settled(pod, times):
            return f"pod {pod.name} was ready and is not any more"
        age = 0.0 if pod.created is None else now - pod.created
        if age > grace(times) and not pod.unschedulable:
            return f"pod {pod.name}, which the autoscaler added, is not ready after {age:.0f} s"
    return ""


def unplaced(arm: ArmView, times: PhaseTimes, now: float) -> str:
    """Words when the cluster has had no room for a new pod for a while, "" when it has."""
    for pod in arm.pods:
        if pod.unschedulable and not pod.deleting and pod.created is not None and now - pod.created > grace(times):
            return f"pod {pod.name}, which the autoscaler added, cannot be scheduled: {pod.unschedulable}"
    return ""


__all__ = ["settled", "unplaced", "unready", "unscaled"]
