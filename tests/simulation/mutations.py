"""Ten deliberate defects of the operator, each as a patch of the running code: what a suite worth its name must catch.

Each comes with the faults that bring it to light, and with the invariant that has to notice.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from trimtab.adapters.ledger import KubernetesLedger
from trimtab.control import arms, context, finish, lifecycle, progress, proposal, requests
from trimtab.control.actions import Action, CreateArms, Decision, DeleteArms, EmitEvent, Severity, WriteTrial
from trimtab.control.arms import plan_arms
from trimtab.control.context import Context
from trimtab.control.study import build_study
from trimtab.domain.kube import Target
from trimtab.domain.measurement import Arm
from trimtab.domain.names import arm_name
from trimtab.domain.trial import Outcome, Trial, TrialPhase
from trimtab.runtime.act import Actor
from trimtab.runtime.lease import Elector
from trimtab.runtime.spending import SpendingAccount
from trimtab.simulate import admission
from trimtab.slo import verdict

Patch = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Mutation:
    """A defect, the faults under which it shows, and the invariants of which one must notice."""

    name: str
    apply: Patch
    noticed_by: frozenset[str]
    faults: tuple[dict[str, Any], ...] = ()


def _skipped_write_ahead(patch: pytest.MonkeyPatch) -> None:
    """Arms first, then the record that says so."""

    def begin(seen: Context, trial: Trial) -> Decision:
        target, surroundings = seen.seen.target, seen.seen.surroundings
        assert isinstance(target, Target)
        assert surroundings is not None
        started = progress.machine.start(trial, seen.now, seen.now + seen.spec.trial.deadline, seen.seen.leader)
        plans = plan_arms(seen.spec, target, surroundings, started)
        return seen.do(CreateArms(started, plans), WriteTrial(started))

    async def create(self: Actor, experiment: Any, trial: Trial, plans: Any) -> None:
        target = await self._cluster.get(arm_kind, trial.namespace, experiment.spec.target.name)
        for plan in plans:
            await self._cluster.create(arm_kind, plan.namespace, arm_manifest(target, plan))

    from trimtab.api.arms import arm_manifest
    from trimtab.domain.kinds import DEPLOYMENTS as arm_kind

    patch.setitem(progress.STEPS, TrialPhase.PENDING, begin)
    patch.setattr(Actor, "_create_arms", create)


def _rollback_after_status(patch: pytest.MonkeyPatch) -> None:
    """Recorded as withdrawn, and only then withdrawn."""

    def withdraw(trial: Trial, now: float, outcome: Outcome) -> tuple[Action, ...]:
        if trial.phase is TrialPhase.DRAINING:
            return ()
        written = WriteTrial(context.machine.withdrawn(trial, now, outcome))
        event = EmitEvent(Severity.WARNING, "TrialWithdrawn", outcome.message, trial)
        return written, DeleteArms(trial.uid, verify=False), event

    for module in (context, lifecycle, progress, requests):
        patch.setattr(module, "withdraw", withdraw)


def _retry_without_get(patch: pytest.MonkeyPatch) -> None:
    """AlreadyExists is taken for success without a look at what exists."""

    async def always(*_: object) -> bool:
        return True

    patch.setattr(Actor, "_is_ours", always)


def _terminal_status_overwritten(patch: pytest.MonkeyPatch) -> None:
    """A finished Trial is written once more; the API server's own rule does not help, as an old CRD lacks it."""

    async def release(self: Actor, trial: Trial, done: Any) -> None:
        latest = done.written.get(trial.uid, trial)
        again = await self._ledger.write_trial(replace(latest, evidence=("written once more",)))
        await self._ledger.finalize_trial(again, False)

    patch.setattr(Actor, "_release", release)
    patch.setattr(admission, "TERMINAL", frozenset())


def _lease_ignored(patch: pytest.MonkeyPatch) -> None:
    """Whoever looks at the lease may have it."""
    patch.setattr(Elector, "_may_take", lambda *_: True)


def _finalizer_dropped(patch: pytest.MonkeyPatch) -> None:
    """The Experiment is not held while something must be undone."""
    original = KubernetesLedger.finalize_experiment

    async def finalize(self: KubernetesLedger, experiment: Any, present: bool) -> Any:
        return experiment if present else await original(self, experiment, present)

    patch.setattr(KubernetesLedger, "finalize_experiment", finalize)


def _absence_passes(patch: pytest.MonkeyPatch) -> None:
    """What could not be judged counts as good."""

    def judge(spec: Any, trial: Trial) -> Any:
        found = verdict.judge_trial(spec, trial)
        if isinstance(found, Outcome) and found.phase is TrialPhase.INCONCLUSIVE:
            return Outcome(TrialPhase.SUCCEEDED, "Measured", "nothing speaks against it")
        return found

    patch.setattr(progress, "judge_trial", judge)


def _budget_not_persisted(patch: pytest.MonkeyPatch) -> None:
    """What canaries spend is not put on the target's account."""

    async def record(*_: object, **__: object) -> None:
        return None

    patch.setattr(SpendingAccount, "record", record)


def _duplicate_learning(patch: pytest.MonkeyPatch) -> None:
    """Each Trial is told to the optimizer twice."""

    def twice(*args: Any, **kwargs: Any) -> Any:
        study = build_study(*args, **kwargs)
        return replace(study, outcomes=tuple(o for o in study.outcomes for _ in (1, 2)))

    for module in (proposal, finish):
        patch.setattr(module, "build_study", twice)


def _arm_name_not_deterministic(patch: pytest.MonkeyPatch) -> None:
    """Each attempt makes a name of its own."""
    counter = itertools.count()

    def name(uid: str, index: int, arm: Arm) -> str:
        return arm_name(uid, 1000 + next(counter), arm) if index < 1000 else arm_name(uid, index, arm)

    patch.setattr(arms, "arm_name", name)


def at(moment: str, trial: int = 0, after: str = "0s") -> dict[str, Any]:
    """A trigger."""
    return {"when": {"moment": moment, "trial": trial, "after": after}}


MUTATIONS = (
    Mutation("skipped write-ahead", _skipped_write_ahead, frozenset({"NoStrayArm"})),
    Mutation(
        "rollback after status", _rollback_after_status, frozenset({"UndoneBeforeRecorded"}),
        ({"kind": "RollbackAsked", "duration": "30s", **at("WarmingUp", 1)},),
    ),
    Mutation(
        "retry without GET", _retry_without_get, frozenset({"ForeignNoticed"}),
        ({"kind": "ArmNameTaken", "duration": "180s", "parameters": {"of": "canary"}, **at("Pending", 1)},),
    ),
    Mutation("terminal status overwritten", _terminal_status_overwritten, frozenset({"TerminalFinal"})),
    Mutation(
        "lease ignored", _lease_ignored, frozenset({"LeaderOnly", "OneCanary", "NoStrayArm"}),
        ({"kind": "StandbyStarted", **at("Preflight")},),
    ),
    Mutation("finalizer dropped", _finalizer_dropped, frozenset({"HeldWhileLive"})),
    Mutation(
        "NoData as pass", _absence_passes, frozenset({"AbsenceIsNoSuccess"}),
        ({"kind": "SamplesMissing", "duration": "60s", "parameters": {"of": "canary"}, **at("Measuring", 1, "3s")},),
    ),
    Mutation("budget not persisted", _budget_not_persisted, frozenset({"SpendingKept"})),
    Mutation("duplicate learning", _duplicate_learning, frozenset({"LearnedOnce"})),
    Mutation("arm name not deterministic", _arm_name_not_deterministic, frozenset({"NamesFollow", "OneCanary"})),
)  # fmt: skip


__all__ = ["MUTATIONS", "Mutation"]
