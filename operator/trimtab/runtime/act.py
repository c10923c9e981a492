"""Actions to effects: one `match`, every branch idempotent.

The order of the actions is the decision's: write-ahead before a start, effect before the record of an undo. A crash
between any two of them leaves a state from which the next pass converges.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import structlog

from trimtab.api.arms import arm_manifest, live_digest
from trimtab.api.companions import arm_autoscaler, arm_service
from trimtab.api.export import recommendation_data
from trimtab.api.kube_arms import plan_digest
from trimtab.control import machine
from trimtab.control.actions import (
    AcquireLock,
    Action,
    CreateArms,
    CreateTrial,
    DeleteArms,
    EmitEvent,
    HoldExperiment,
    PublishRecommendation,
    RecordSpending,
    ReleaseExperiment,
    ReleaseLock,
    ReleaseTrial,
    SetRoute,
    Severity,
    WriteTrial,
)
from trimtab.domain import kinds
from trimtab.domain.errors import AlreadyExists, CorruptLedger, Forbidden, NotFound, Rejected
from trimtab.domain.kinds import Kind
from trimtab.domain.kube import ArmPlan, Manifest
from trimtab.domain.route import RoutePlan
from trimtab.domain.trial import BrokenTrial, Outcome, Trial, TrialPhase
from trimtab.ports import Clock, Cluster, ExperimentRecord, Ledger
from trimtab.runtime.chronicle import Chronicle
from trimtab.runtime.events import EventRecorder
from trimtab.runtime.metrics import Metrics
from trimtab.runtime.publish import publish
from trimtab.runtime.routes import RouteKeeper
from trimtab.runtime.spending import SpendingAccount
from trimtab.runtime.targetlock import Claim, TargetLocks
from trimtab.runtime.withdraw import Latch, Withdrawer

log = structlog.get_logger(__name__)


@dataclass
class _Done:
    """What the actions of one decision have done so far: Trials as written, seconds that withdrawals took."""

    written: dict[str, Trial] = field(default_factory=dict)
    withdrawn: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _ArmFailure:
    """Why an arm cannot be made: how its trial ends, and the missing right, if that is it."""

    outcome: Outcome
    error: Forbidden | None = None


class Actor:
    """Carries out decisions. `check` raises `LeadershipLost` when this process may no longer write."""

    def __init__(
        self,
        cluster: Cluster,
        ledger: Ledger,
        clock: Clock,
        locks: TargetLocks,
        withdrawer: Withdrawer,
        latch: Latch,
        spending: SpendingAccount,
        events: EventRecorder,
        metrics: Metrics,
        check: Callable[[], None],
    ) -> None:
        self._cluster, self._ledger, self._clock = cluster, ledger, clock
        self._locks, self._withdrawer, self._latch = locks, withdrawer, latch
        self._spending, self._events, self._metrics = spending, events, metrics
        self._check = check
        self._chronicle = Chronicle(cluster)
        self._routes = RouteKeeper(cluster, clock)

    async def act(self, experiment: ExperimentRecord, actions: tuple[Action, ...]) -> ExperimentRecord:
        """Carry out the actions in order; returns the Experiment as last written.

        Raises:
            ApiError, RetryLater: an effect failed; what came before it is done, the next pass decides anew.
            LeadershipLost: before the first effect that this process may not have.
        """
        done = _Done()
        for action in actions:
            self._check()
            experiment = await self._one(experiment, action, done)
        return experiment

    async def _one(self, experiment: ExperimentRecord, action: Action, done: _Done) -> ExperimentRecord:
        match action:
            case CreateTrial(new):
                trial = await self._ledger.create_trial(experiment, new)
                log.info("trial.created", trial=trial.name, purpose=trial.purpose.value)
            case WriteTrial(trial):
                await self._write(trial, done)
            case ReleaseTrial(trial):
                await self._release(trial, done)
            case CreateArms(trial, plans):
                await self._create_arms(experiment, trial, plans)
            case SetRoute(trial, plan):
                await self._set_route(experiment, trial, plan)
            case DeleteArms(trial_uid, verify):
                await self._delete_arms(experiment, trial_uid, verify, done)
            case HoldExperiment():
                return await self._ledger.finalize_experiment(experiment, True)
            case ReleaseExperiment():
                return await self._ledger.finalize_experiment(experiment, False)
            case AcquireLock(target_uid):
                await self._locks.acquire(claim(experiment, target_uid))
            case ReleaseLock(target_uid):
                await self._locks.release(claim(experiment, target_uid))
            case RecordSpending():
                await self._record_spending(experiment, action)
            case PublishRecommendation(recommendation, target, changes, scale):
                data = recommendation_data(experiment, recommendation, target, changes, scale)
                await publish(self._cluster, experiment, recommendation.config_map, dict(data))
            case EmitEvent(severity, reason, message, about):
                await self._emit(experiment, severity, reason, message, about)
        return experiment

    async def _write(self, trial: Trial, done: _Done) -> None:
        latest = done.written.get(trial.uid)
        if latest is not None:
            trial = replace(trial, resource_version=latest.resource_version)
        if trial.withdraw_seconds is None and trial.uid in done.withdrawn:
            trial = replace(trial, withdraw_seconds=done.withdrawn[trial.uid])
        done.written[trial.uid] = await self._ledger.write_trial(await self._annotated(trial))
        log.info("trial.phase", trial=trial.name, phase=trial.phase.value)
        self._metrics.observe_trial(trial)

    async def _annotated(self, trial: Trial) -> Trial:
        """With what only this moment shows: the arms' nodes once they serve, the cluster's warnings at the end."""
        if trial.phase is TrialPhase.WARMING_UP and not trial.node_types:
            return replace(trial, node_types=await self._chronicle.node_types(trial))
        if trial.phase.terminal and not trial.events:
            return replace(trial, events=await self._chronicle.events(trial))
        return trial

    async def _release(self, trial: Trial | BrokenTrial, done: _Done) -> None:
        try:
            if isinstance(trial, BrokenTrial):
                await self._ledger.let_go(trial)
            else:
                await self._ledger.finalize_trial(done.written.get(trial.uid, trial), False)
        except NotFound:
            log.info("trial.gone", trial=trial.name)

    async def _record_spending(self, experiment: ExperimentRecord, entry: RecordSpending) -> None:
        try:
            await self._spending.record(
                experiment.namespace, entry.target_uid, entry.trial_uid, entry.at, entry.spent, entry.window
            )
        except (Forbidden, Rejected, CorruptLedger) as error:
            if entry.required:
                raise
            words = f"what a trial has spent is not on record: {error}"
            await self._emit(experiment, Severity.WARNING, "SpendingNotRecorded", words, None)

    async def _create_arms(self, experiment: ExperimentRecord, trial: Trial, plans: tuple[ArmPlan, ...]) -> None:
        assert experiment.spec is not None
        target = await self._cluster.get(kinds.DEPLOYMENTS, trial.namespace, experiment.spec.target.name)
        for plan in plans:
            current = await self._claim(trial)
            if current is None:
                return
            failure = await self._create_arm(plan, target)
            if failure is not None:
                await self._fail(experiment, current, failure.outcome)
                if failure.error is not None:
                    raise failure.error
                return
        await self._fence(experiment, trial)

    async def _create_arm(self, plan: ArmPlan, target: Manifest) -> _ArmFailure | None:
        """POST an arm's companions, then its Deployment; None when all of them are there and this trial's."""
        try:
            bodies = (*await self._companions(plan), (kinds.DEPLOYMENTS, arm_manifest(target, plan)))
        except NotFound as error:
            return _ArmFailure(Outcome(TrialPhase.INFRA_FAILED, "BackendMissing", str(error)[:500]))
        for kind, body in bodies:
            try:
                await self._cluster.create(kind, plan.namespace, body)
            except AlreadyExists:
                if not await self._is_ours(kind, plan):
                    message = f"{kind.name} {plan.name} exists and is not this trial's; rename or delete it"
                    return _ArmFailure(Outcome(TrialPhase.ABORTED, "ArmNameTaken", message))
            except (Rejected, Forbidden) as error:
                lacking = error if isinstance(error, Forbidden) else None
                return _ArmFailure(Outcome(TrialPhase.INFRA_FAILED, "ArmRefused", str(error)[:500]), lacking)
        return None

    async def _companions(self, plan: ArmPlan) -> tuple[tuple[Kind, Manifest], ...]:
        """What the arm has beside its Deployment.

        Raises:
            NotFound: what it is a copy of is gone.
        """
        if not plan.backend:
            return ()
        backend = await self._cluster.get(kinds.SERVICES, plan.namespace, plan.backend)
        service = (kinds.SERVICES, arm_service(backend, plan))
        if plan.autoscaler is None:
            return (service,)
        return (service, (kinds.HORIZONTAL_POD_AUTOSCALERS, arm_autoscaler(plan)))

    async def _set_route(self, experiment: ExperimentRecord, trial: Trial, plan: RoutePlan) -> None:
        """Give the arms their weights; where the API server refuses that, the trial ends."""

        async def fence() -> bool:
            return await self._claim(trial, TrialPhase.WARMING_UP) is not None

        try:
            await self._routes.give(plan, fence)
        except (Rejected, Forbidden) as error:
            current = await self._ledger.trial(trial.namespace, trial.name)
            if current.uid == trial.uid and current.live and current.phase is not TrialPhase.DRAINING:
                refused = Outcome(TrialPhase.INFRA_FAILED, "RouteRefused", str(error)[:500])
                await self._fail(experiment, current, refused)
            if isinstance(error, Forbidden):
                raise
            return
        await self._fence(experiment, trial)

    async def _claim(self, trial: Trial, phase: TrialPhase = TrialPhase.DEPLOYING) -> Trial | None:
        """The Trial with this leader on record; None when nothing of this phase may be started any more.

        A create carries no resourceVersion, this write does: whoever withdrew the trial, or took over, since it was
        read here makes it fail, and with it the create.
        """
        self._check()
        current = await self._ledger.trial(trial.namespace, trial.name)
        there = current.uid == trial.uid and current.phase is phase and not current.deleting
        if self._latch.is_set(trial.uid) or not there:
            log.info("arm.not_started", trial=trial.name, phase=current.phase.value)
            return None
        current = await self._ledger.write_trial(machine.claimed(current, trial.leader))
        self._check()
        return current

    async def _is_ours(self, kind: Kind, plan: ArmPlan) -> bool:
        found = await self._cluster.get(kind, plan.namespace, plan.name)
        owners = {o["uid"] for o in found["metadata"].get("ownerReferences") or ()}
        made_by = live_digest(found) if kind == kinds.DEPLOYMENTS else plan_digest(found)
        return plan.trial_uid in owners and made_by == plan.spec_digest

    async def _fail(self, experiment: ExperimentRecord, trial: Trial, outcome: Outcome) -> None:
        await self._withdrawer.send(trial.namespace, trial.experiment_uid, trial.uid)
        await self._ledger.write_trial(machine.withdrawn(trial, self._clock.now(), outcome))
        words = f"{outcome.reason}: {outcome.message}"
        await self._emit(experiment, Severity.WARNING, "TrialWithdrawn", words, trial)

    async def _fence(self, experiment: ExperimentRecord, trial: Trial) -> None:
        """What was just begun may be too late: look again, and undo it when the trial was withdrawn meanwhile."""
        try:
            current = await self._ledger.trial(trial.namespace, trial.name)
            withdrawn = current.uid != trial.uid or not current.live or current.phase is TrialPhase.DRAINING
        except NotFound:
            withdrawn = True
        if withdrawn or self._latch.is_set(trial.uid):
            log.warning("arm.fenced", trial=trial.name)
            await self._withdrawer.send(trial.namespace, experiment.uid, trial.uid)

    async def _delete_arms(self, experiment: ExperimentRecord, trial_uid: str, verify: bool, done: _Done) -> None:
        self._latch.set(trial_uid)
        if verify:
            await self._withdrawer.verified(experiment.namespace, experiment.uid, trial_uid)
            return
        begun = self._clock.monotonic()
        if await self._withdrawer.silenced(experiment.namespace, experiment.uid, trial_uid):
            done.withdrawn[trial_uid] = self._clock.monotonic() - begun

    async def _emit(
        self, experiment: ExperimentRecord, severity: Severity, reason: str, message: str, trial: Trial | None
    ) -> None:
        owner = experiment.spec.owner if experiment.spec is not None else ""
        await self._events.emit(
            experiment, severity.value, reason, f"{message} (owner: {owner})" if owner else message, trial
        )


def claim(experiment: ExperimentRecord, target_uid: str) -> Claim:
    """The lock that this Experiment wants."""
    return Claim(target_uid, experiment.namespace, experiment.name, experiment.uid)
