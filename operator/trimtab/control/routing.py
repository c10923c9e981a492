"""A trial's traffic by a route's weights: what it is to be now, and what somebody else made of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from trimtab.control.context import Context
from trimtab.domain.measurement import Arm
from trimtab.domain.names import arm_name
from trimtab.domain.route import Claim, RoutePlan, RouteView, Shares, Standing
from trimtab.domain.spec import ExperimentSpec, RouteSpec
from trimtab.domain.trial import Outcome, Trial, TrialPhase

# Once so much of the warm-up is over the arms get so much of their share. The rest of it is for all of the share.
RAMP = ((0.0, 0.25), (0.25, 0.5), (0.5, 1.0))
LOOK = 5.0  # seconds between two looks at a route that carries weights: nobody tells of its changes


def wanted_part(spec: ExperimentSpec, elapsed: float) -> float:
    """What the arms are to get of their shares, so many seconds after both were ready."""
    return max(part for after, part in RAMP if elapsed >= after * spec.trial.warm_up or not after)


def next_step(spec: ExperimentSpec, elapsed: float) -> float:
    """Seconds until the arms get more, 0 when they have all."""
    edges = (after * spec.trial.warm_up for after, _ in RAMP)
    return min((edge - elapsed for edge in edges if edge > elapsed), default=0.0)


def settled(spec: ExperimentSpec, claim: Claim) -> float:
    """When the arms will have had all of their share for as long as the warm-up leaves for that (unix seconds)."""
    return claim.since + (1.0 - RAMP[-1][0]) * spec.trial.warm_up


def claim_of(context: Context, trial: Trial) -> Claim | None:
    """What the route carries of this trial."""
    route = context.seen.route
    claim = route.claim if isinstance(route, RouteView) else None
    return claim if claim is not None and claim.trial_uid == trial.uid else None


def plan_weights(route: RouteSpec, trial: Trial, shares: Shares) -> RoutePlan:
    """What to write for this trial."""
    return RoutePlan(
        namespace=trial.namespace,
        route=route.name,
        rule=route.rule,
        backend=route.backend,
        canary=arm_name(trial.experiment_uid, trial.index, Arm.CANARY),
        control=arm_name(trial.experiment_uid, trial.index, Arm.CONTROL),
        shares=shares,
        trial_uid=trial.uid,
        trial_name=trial.name,
        experiment_uid=trial.experiment_uid,
        experiment_name=trial.experiment_name,
        deadline=trial.deadline if trial.deadline is not None else trial.times.created,
    )


def lost(context: Context, trial: Trial) -> Outcome | None:
    """How a trial ends whose weights are not what was written; None while they are, or before the first of them.

    A route that is gone or that somebody else uses is preflight's to notice, which comes first.
    """
    route, wanted = context.seen.route, context.spec.route
    if wanted is None or not isinstance(route, RouteView):
        return None
    if route.claim is None and not route.claim_problem and trial.phase is not TrialPhase.MEASURING:
        return None
    if route.claim is not None and route.claim.standing is Standing.WRITTEN:
        return None
    where = f"rule {wanted.rule} of HTTPRoute {wanted.name}"
    words = f"somebody else changed {where}; what they wrote stays, the arms' weights go"
    return Outcome(TrialPhase.STALE, "RouteEdited", words)


def left_weights(context: Context) -> Iterator[str]:
    """Uids of Trials of this Experiment that are not live and whose weights a route still carries."""
    route = context.seen.route
    claim = route.claim if isinstance(route, RouteView) else None
    if claim is None or claim.experiment_uid != context.seen.experiment.uid:
        return
    if claim.trial_uid not in {t.uid for t in context.seen.live}:
        yield claim.trial_uid


__all__ = ["LOOK", "claim_of", "left_weights", "lost", "next_step", "plan_weights", "settled", "wanted_part"]
