"""How much of the load arms take by the Service's balancing, and how many trials may run side by side by that. Pure."""

from __future__ import annotations

import math

from trimtab.control.preflight_capacity import quotas_allow
from trimtab.control.preflight_findings import Problem, note
from trimtab.control.values import BaselineError
from trimtab.domain.kube import Surroundings, Target
from trimtab.domain.quantity import percent
from trimtab.domain.spec import ExperimentSpec

ROUNDING = 1e-9


def arm_count(spec: ExperimentSpec, trials: int = 1) -> int:
    """Pods of all arms of so many trials together."""
    return 2 * spec.canary.replicas * trials


def serving_pods(target: Target, surroundings: Surroundings) -> int:
    """Ready pods, arms left out, that share the Service's load with the arms."""
    return surroundings.ready_service_endpoints or target.ready_replicas


def share_of_arms(spec: ExperimentSpec, ready: int, trials: int = 1) -> float:
    """The fraction of the load that the arms of so many trials take beside `ready` pods."""
    arms = arm_count(spec, trials)
    return arms / (ready + arms)


def replicas_for(arms: int, share: float) -> float:
    """The ready pods beside which the arms take exactly this share."""
    return round(arms * (1 - share) / share, 9)


def at_once(spec: ExperimentSpec, surroundings: Surroundings, ready: int) -> int:
    """How many trials may run side by side beside `ready` pods: all their arms together keep `maxSharePercent` and stay
    under the tolerance of the target's autoscalers. At most `trial.parallel`, at least 1: whether one may run is asked
    elsewhere."""
    tolerances = [a.tolerance for a in surroundings.autoscalers]

    def fits(trials: int) -> bool:
        share = share_of_arms(spec, ready, trials)
        return share <= spec.canary.max_share + ROUNDING and all(share < t - ROUNDING for t in tolerances)

    return max((n for n in range(2, spec.trial.parallel + 1) if fits(n)), default=1)


def parallel_notes(spec: ExperimentSpec, target: Target, surroundings: Surroundings, ready: int) -> tuple[Problem, ...]:
    """Words where fewer trials than `trial.parallel` can run side by side, with what would let them."""
    wanted, field = spec.trial.parallel, "spec.trial.parallel"
    if wanted < 2 or spec.route is not None or ready < 1:
        return ()
    found, most = [], at_once(spec, surroundings, ready)
    if most < wanted:
        arms, share = arm_count(spec, wanted), share_of_arms(spec, ready, wanted)
        allowed = min((spec.canary.max_share, *(a.tolerance for a in surroundings.autoscalers)))
        what = (
            f"{wanted} trials at a time have {arms} arm pods beside {ready} ready pods, {percent(share)} of the load; "
        )
        what += f"{percent(allowed)} are allowed, so at most {most} run at a time"
        more = f"run at least {math.ceil(replicas_for(arms, allowed))} replicas" if allowed > 0 else ""
        raised = f"allow {math.ceil(100 * share - ROUNDING)} in spec.canary.maxSharePercent"
        own = allowed == spec.canary.max_share
        found.append(note("ParallelLimited", field, what, f"{more}, or {raised}" if own else more))
    refused = _quotas(spec, target, surroundings, wanted)
    if refused is not None:
        found.append(refused)
    return tuple(found)


def _quotas(spec: ExperimentSpec, target: Target, surroundings: Surroundings, wanted: int) -> Problem | None:
    """The quota that has no room for so many trials at a time, though it has for some."""
    try:
        words = [quotas_allow(spec, target, surroundings, trials) for trials in range(1, wanted + 1)]
    except BaselineError:  # told by itself
        return None
    room = next((trials for trials, why in enumerate(words) if why), wanted)
    if not 0 < room < wanted:
        return None
    return note("ParallelLimited", "spec.trial.parallel", f"{words[room]}; at most {room} run at a time")


__all__ = ["ROUNDING", "arm_count", "at_once", "parallel_notes", "replicas_for", "serving_pods", "share_of_arms"]
