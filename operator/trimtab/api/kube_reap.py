"""What `trimtab reap` reads of a Lease and of a Trial: a few raw fields, so that it needs to understand nothing else.

It runs when something is wrong, perhaps from another version than the operator: a Trial whose other fields it cannot
read is live or not all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trimtab.domain.kube import ArmView, Manifest
from trimtab.domain.reaping import LeaseSeen, LeftArms, Standing
from trimtab.domain.route import Claim
from trimtab.domain.trial import TERMINAL_PHASES

_TERMINAL = frozenset(phase.value for phase in TERMINAL_PHASES)


def lease_seen(manifest: Manifest) -> LeaseSeen:
    """The Lease's holder and renewal; whatever a hand wrote into it."""
    spec: Mapping[str, Any] = manifest.get("spec") or {}
    duration = spec.get("leaseDurationSeconds")
    known = isinstance(duration, int) and not isinstance(duration, bool) and duration > 0
    return LeaseSeen(
        holder=str(spec.get("holderIdentity") or ""),
        renewed=str(spec.get("renewTime") or ""),
        duration=float(duration) if known and duration is not None else 0.0,
    )


def trial_standing(manifest: Manifest, trial_uid: str) -> Standing:
    """How the Trial of this name stands to arms of this uid; a phase that is not known is live."""
    if manifest["metadata"]["uid"] != trial_uid:
        return Standing.GONE
    return Standing.ENDED if (manifest.get("status") or {}).get("phase") in _TERMINAL else Standing.LIVE


def leaving(view: ArmView) -> bool:
    """Nothing of this arm is left but pods that end and get no new requests: it has been withdrawn already."""
    return view.uid is None and bool(view.pods) and all(p.deleting for p in view.pods) and not view.ready_endpoints


def left_arms(views: Sequence[ArmView], standing: Standing) -> LeftArms:
    """The arms of one trial, of which there is at least one view; a label that a hand took from one is on another."""
    first = max(views, key=lambda v: bool(v.experiment_uid))
    return LeftArms(
        namespace=first.namespace,
        experiment_uid=first.experiment_uid,
        experiment_name=first.experiment_name,
        trial_uid=first.trial_uid,
        trial_name=next((v.trial_name for v in views if v.trial_name), ""),
        deadline=min((v.deadline for v in views if v.deadline is not None), default=None),
        standing=standing,
    )


def left_weights(namespace: str, claim: Claim) -> LeftArms:
    """The weights of a trial that a route carries, where no arm of it is left; how its Trial stands was not asked."""
    return LeftArms(
        namespace=namespace,
        experiment_uid=claim.experiment_uid,
        experiment_name=claim.experiment_name,
        trial_uid=claim.trial_uid,
        trial_name=claim.trial_name,
        deadline=claim.deadline,
        standing=Standing.UNREAD,
    )


__all__ = ["lease_seen", "leaving", "left_arms", "left_weights", "trial_standing"]
