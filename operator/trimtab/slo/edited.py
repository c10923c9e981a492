"""Arms that somebody changed: they measure something else than the trial's assignment, and are never patched back."""

from __future__ import annotations

from collections.abc import Iterable

from trimtab.domain.kube import ArmView
from trimtab.domain.trial import Outcome, TrialPhase


def edited(arms: Iterable[ArmView | None]) -> Outcome | None:
    """How a trial ends whose arm is not what was created; None while all are."""
    for arm in arms:
        if arm is not None and arm.uid is not None and arm.observed_digest != arm.spec_digest:
            message = f"Deployment {arm.name} was changed by somebody else; arms are never patched"
            return Outcome(TrialPhase.ABORTED, "ArmEdited", message)
    return None


__all__ = ["edited"]
