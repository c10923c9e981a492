"""Arms that somebody changed: they measure something else than the trial's assignment, and are never patched back."""

from __future__ import annotations

from collections.abc import Iterable

from trimtab.domain.kube import ArmView
from trimtab.domain.trial import Outcome, TrialPhase

ENDPOINT_SECONDS = 5.0  # for which a ready pod may not be known as an endpoint yet


def edited(arms: Iterable[ArmView | None]) -> Outcome | None:
    """How a trial ends whose arm is not what was created; None while all are."""
    for arm in arms:
        if arm is not None and arm.uid is not None and arm.observed_digest != arm.spec_digest:
            return _edited(f"Deployment {arm.name}")
        scaler = arm.scaler if arm is not None else None
        if scaler is not None and scaler.observed_digest != scaler.spec_digest:
            return _edited(f"HorizontalPodAutoscaler {scaler.name}")
    return None


def unreached(arms: Iterable[ArmView | None], now: float) -> Outcome | None:
    """How a trial by weights ends of which an arm is ready and gets nothing: what the route sends to it fails."""
    for arm in arms:
        if arm is None or arm.uid is None or arm.deleting or arm.ready_endpoints:
            continue
        since = [p.ready_since for p in arm.pods if p.ready and not p.deleting and p.ready_since is not None]
        if since and now - min(since) > ENDPOINT_SECONDS:
            return _edited(f"Service {arm.name}, which leads to none of {len(since)} ready pods,")
    return None


def _edited(what: str) -> Outcome:
    message = f"{what} was changed by somebody else; arms are never patched"
    return Outcome(TrialPhase.ABORTED, "ArmEdited", message)


__all__ = ["edited", "unreached"]
