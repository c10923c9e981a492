"""Preflight of traffic by weights: is there such a rule, may its weights be changed, and what would the arms get? Pure.

Asked again on every pass while no weights of this Experiment are in the route; while they are, `routing.lost` watches.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from trimtab.control.preflight_findings import Problem, note, problem
from trimtab.domain.kube import Surroundings, Target
from trimtab.domain.names import ANNOTATION_WEIGHTS_OK
from trimtab.domain.quantity import percent
from trimtab.domain.route import (
    ARM_BACKEND,
    MOST_BACKENDS,
    BackendView,
    RouteMissing,
    RouteView,
    RuleView,
    coarseness,
)
from trimtab.domain.spec import ExperimentSpec, RouteSpec

FIELD = "spec.traffic.httpRoute"
REFUSED_FILTERS = {
    "RequestMirror": "copies requests to another backend, which counts them once more",
    "RequestRedirect": "answers by itself, so its weights lead nowhere",
}
COARSE = 0.05  # of the share: what weights as whole numbers may be off
OVERLOADED, UNDERLOADED = 1.25, 0.5  # times what a pod of the target gets
ROUNDING = 1e-9


@dataclass(frozen=True)
class SeenRoute:
    """The route that the Experiment names, and the Experiment's uid. None: it was not looked for."""

    view: RouteView | RouteMissing | None = None
    experiment_uid: str = ""


NO_ROUTE = SeenRoute()


def share_of_route(
    spec: ExperimentSpec, wanted: RouteSpec, target: Target, surroundings: Surroundings
) -> Iterator[Problem]:
    """What both arms take of the load at most, against what they may."""
    allowed, tuned = spec.canary.max_share, spec.replicas_parameter
    control = wanted.share if tuned is None else spec.canary.replicas / target.ready_replicas
    both = spec.arm_share(target.ready_replicas) + control
    taken = f"both arms together take {percent(both)} of what the rule sends to {wanted.backend}"
    if tuned is None:
        field, lower, fits = f"{FIELD}.canaryPercent", "lower canaryPercent", f" to {50 * allowed:.3g}"
    else:
        field = f"spec.parameters[{tuned.name}].integer.min"
        taken += " where replicas are least"
        lower, fits = "raise it", ""
    if both > allowed + ROUNDING:
        needed = math.ceil(100 * both - ROUNDING)
        remedy = f"{lower}{fits}, or set spec.canary.maxSharePercent to {needed}"
        yield problem("ShareTooLarge", field, f"{taken}, {percent(allowed)} are allowed", remedy)
    for autoscaler in surroundings.autoscalers:
        if both >= autoscaler.tolerance - ROUNDING:
            yield problem(
                "AutoscalerDisturbed",
                f"HorizontalPodAutoscaler {autoscaler.name}",
                f"{taken}, not under its tolerance of {percent(autoscaler.tolerance)}: it could scale the target down",
                f"{lower} (both arms below {percent(autoscaler.tolerance)}), or raise behavior.scaleDown.tolerance",
            )


def route_problems(
    spec: ExperimentSpec, target: Target, surroundings: Surroundings, seen: SeenRoute
) -> Iterator[Problem]:
    """Everything about the route; nothing in another traffic mode."""
    wanted, route = spec.route, seen.view
    if wanted is None:
        return
    if not isinstance(route, RouteView):
        what = f"there is no HTTPRoute {wanted.name}" + (f" ({route.detail})" if route is not None else "")
        yield problem("RouteNotFound", f"{FIELD}.name", what, "create it or correct the name")
        return
    if route.claim is not None and route.claim.experiment_uid == seen.experiment_uid:
        return
    yield from _usable(route)
    rule = route.rule(wanted.rule)
    if rule is None:
        names = ", ".join(r.name for r in route.rules if r.name) or "none of its rules has a name"
        remedy = "name the rule, or use one of its names"
        yield problem(
            "RouteRuleNotFound", f"{FIELD}.ruleName", f"HTTPRoute {route.name} has no such rule ({names})", remedy
        )
        return
    yield from _rule(route, rule)
    yield from _backend(wanted, surroundings, rule)
    if not surroundings.autoscalers and spec.replicas_parameter is None:  # else the arms have as many pods as it takes
        yield from _load(spec, wanted, target)


def _usable(route: RouteView) -> Iterator[Problem]:
    where = f"HTTPRoute {route.name}"
    if route.claim is not None:
        claim = route.claim
        what = f"it carries the weights of trial {claim.trial_name} of Experiment {claim.experiment_name}"
        yield problem("RouteInUse", where, what, "preflight goes on by itself when that trial is over")
    if route.claim_problem:
        yield problem("RouteNotClean", where, route.claim_problem, "put its weights right and remove the annotation")
    if route.managed_by and not route.weights_ok:
        what = f"it belongs to {route.managed_by}, which would undo the weights during each trial"
        remedy = f"let that tool ignore backendRefs, then annotate the route with {ANNOTATION_WEIGHTS_OK}"
        yield problem("RouteGitOpsOwned", where, what, remedy)
    if not route.accepted:
        what = "no Gateway has accepted it, so its weights send no traffic anywhere"
        yield problem("RouteNotAccepted", where, what, "see its status.parents, and repair its parentRefs")


def _rule(route: RouteView, rule: RuleView) -> Iterator[Problem]:
    where = f"HTTPRoute {route.name} rule {rule.name}"
    if sum(r.name == rule.name for r in route.rules) > 1:
        yield problem("RouteRuleAmbiguous", where, "several rules have this name", "give each rule a name of its own")
    for kind in dict.fromkeys(rule.filters):
        if kind in REFUSED_FILTERS:
            what = f"its filter {kind} {REFUSED_FILTERS[kind]}"
            yield problem("RouteFilterUnsupported", where, what, "name a rule without it")
    left = [b.name for b in rule.backends if ARM_BACKEND.fullmatch(b.name)]
    if left and route.claim is None:
        what = f"backends of an earlier trial are left in it ({', '.join(left)})"
        yield problem("RouteNotClean", where, what, "remove them and put the weights right")
    if len(rule.backends) + 2 > MOST_BACKENDS:
        what = f"it has {len(rule.backends)} backends, and the arms need two of at most {MOST_BACKENDS}"
        yield problem("RouteFull", where, what, "remove backends")


def _backend(wanted: RouteSpec, surroundings: Surroundings, rule: RuleView) -> Iterator[Problem]:
    field, found = f"{FIELD}.backendService", rule.of(wanted.backend)
    if len(found) != 1:
        names = ", ".join(b.name for b in rule.backends) or "none"
        what = f"rule {rule.name} has {len(found) or 'no'} such backends (its backends: {names})"
        yield problem("RouteBackendNotFound", field, what, "name a Service that is exactly one of its backendRefs")
        return
    if wanted.backend not in {s.name for s in surroundings.services}:
        names = ", ".join(s.name for s in surroundings.services) or "none does"
        what = f"Service {wanted.backend} does not select the target's pods ({names})"
        yield problem("BackendNotTarget", field, what, "name the Service of the target")
    yield from _weights(wanted, rule, found[0])


def _weights(wanted: RouteSpec, rule: RuleView, backend: BackendView) -> Iterator[Problem]:
    if backend.weight == 0:
        what = f"rule {rule.name} sends it nothing, its weight is 0"
        yield problem("RouteBackendIdle", f"{FIELD}.backendService", what, "give it a weight, or name another backend")
        return
    weights, at = [b.weight for b in rule.backends], rule.backends.index(backend)
    if coarseness(weights, at, (wanted.share, wanted.share)) > COARSE:
        what = f"the weights of rule {rule.name} are too large to be divided by {percent(wanted.share)}"
        remedy = "divide all its weights by a common factor"
        yield problem("RouteWeightsTooCoarse", f"{FIELD}.canaryPercent", what, remedy)


def _load(spec: ExperimentSpec, wanted: RouteSpec, target: Target) -> Iterator[Problem]:
    """What a pod of an arm gets beside one of the target's, once the weights are given."""
    pods, replicas, share = target.ready_replicas, spec.canary.replicas, wanted.share
    if not pods or share >= 0.5:
        return
    times = share * pods / replicas / (1 - 2 * share)
    fits = max(1, math.ceil(share * pods / (1 - 2 * share) - ROUNDING))
    words = f"a pod of an arm would get {times:.2g} times what one of the target's {pods} pods gets"
    if times > OVERLOADED:
        remedy = f"set spec.canary.replicas to {fits}, or lower canaryPercent"
        yield problem("ArmOverloaded", f"{FIELD}.canaryPercent", words, remedy)
    elif times < UNDERLOADED:
        remedy = f"set spec.canary.replicas to {fits}, or raise canaryPercent, to learn about their load"
        yield note("ArmUnderloaded", f"{FIELD}.canaryPercent", words, remedy)


__all__ = ["NO_ROUTE", "SeenRoute", "route_problems", "share_of_route"]
