"""Preflight: may arms of this target run at all, and can its SLIs decide anything? Pure.

All problems are collected, not only the first: a person fixes them in one go. Their order is the order in which they
would be fixed, and the first gives the condition its reason.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from trimtab.control.arms import arm_labels, baseline_assignment, replaceable_label, replaced_labels
from trimtab.control.preflight_capacity import capacity_problems
from trimtab.control.preflight_findings import WAITING_REASONS, Findings, Problem, note, problem
from trimtab.control.preflight_guards import guard_notes
from trimtab.control.preflight_route import NO_ROUTE, SeenRoute, route_problems, share_of_route
from trimtab.control.preflight_scaling import scaling_problems, undisturbed
from trimtab.control.preflight_telemetry import telemetry_problems
from trimtab.control.sharing import ROUNDING, arm_count, parallel_notes, replicas_for, serving_pods, share_of_arms
from trimtab.control.values import BaselineError
from trimtab.domain.kube import Surroundings, Target, TargetMissing
from trimtab.domain.names import ANNOTATION_SIDE_EFFECTS_OK
from trimtab.domain.quantity import format_duration, percent
from trimtab.domain.space import crowd, crowded
from trimtab.domain.spec import ExperimentSpec
from trimtab.ports import SliProbe

MAX_GRACE = 120  # seconds that a withdrawn canary may go on serving connections that were kept alive
CONTROLLERS = {"Rollout": "Argo Rollouts", "Canary": "Flagger"}


def examine(
    spec: ExperimentSpec,
    target: Target | TargetMissing,
    surroundings: Surroundings,
    probes: tuple[SliProbe, ...],
    route: SeenRoute = NO_ROUTE,
) -> Findings:
    """Everything that stands against trials, and what is worth knowing beside it."""
    if isinstance(target, TargetMissing):
        return Findings((_missing(target),))
    return Findings(
        (
            *_rollout(target),
            *_cloning(target),
            *capacity_problems(spec, target, surroundings),
            *_standing(spec, target, surroundings, serving_pods(target, surroundings), route),
            *telemetry_problems(spec, probes, serving_pods(target, surroundings)),
            *_scaling(spec, target, surroundings),
            *guard_notes(spec, target, probes),
            *_notes(spec, target, surroundings),
            *_parameters(spec),
            *parallel_notes(spec, target, surroundings, serving_pods(target, surroundings)),
        )
    )


def _scaling(spec: ExperimentSpec, target: Target, surroundings: Surroundings) -> Iterator[Problem]:
    try:
        baseline = baseline_assignment(spec, target, surroundings)
    except BaselineError:  # one of `capacity_problems`
        return
    yield from scaling_problems(spec, target, surroundings, baseline)


def recheck(spec: ExperimentSpec, target: Target, surroundings: Surroundings, route: SeenRoute = NO_ROUTE) -> Findings:
    """The part that may change under a running Experiment and costs nothing: asked again on every pass.

    A pod of the target that is not ready for a moment counts as one that serves: its load is spread over all others,
    arms included, so it makes their share no larger than it was. A target that is scaled down does.
    """
    unready = max(0, target.replicas - target.ready_replicas)
    serving = serving_pods(target, surroundings) + unready
    return Findings(tuple(_standing(spec, target, surroundings, serving, route)))


def _standing(
    spec: ExperimentSpec, target: Target, surroundings: Surroundings, ready: int, route: SeenRoute
) -> Iterator[Problem]:
    yield from _vertical_autoscaler(surroundings)
    yield from _selectors(spec, target, surroundings)
    yield from undisturbed(spec, target, surroundings)
    yield from route_problems(spec, target, surroundings, route)
    yield from _share(spec, target, surroundings, ready)


# The target


def _missing(target: TargetMissing) -> Problem:
    field = "spec.targetRef"
    if target.found_kind is None:
        return problem(
            "TargetNotFound", field, f"Deployment {target.name} does not exist", "create it or correct the name"
        )
    what = f"{target.name} is a {target.found_kind}, whose pods have an identity or volumes that arms cannot share"
    return problem("UnsupportedKind", field, what, "only Deployments can be tuned")


def _rollout(target: Target) -> Iterator[Problem]:
    where = f"Deployment {target.name}"
    if target.paused:
        yield problem("RolloutPaused", where, "its rollout is paused", "resume it: kubectl rollout resume")
    elif target.rollout_behind and target.rollout_stuck:
        what = f"its rollout makes no progress: {target.rollout_behind}"
        yield problem("RolloutStuck", where, what, "repair its pods, or undo it: kubectl rollout undo")
    elif target.rollout_behind:
        what = f"its rollout is not complete: {target.rollout_behind}"
        yield problem("RolloutIncomplete", where, what, "preflight goes on by itself when it is")


def _cloning(target: Target) -> Iterator[Problem]:
    where = f"Deployment {target.name}"
    for kind in target.owner_kinds:
        if kind in CONTROLLERS:
            what = f"{CONTROLLERS[kind]} controls it and would undo or copy what trials do"
            yield problem("ManagedByRollout", where, what, "tune a plain Deployment")
    accepted = ANNOTATION_SIDE_EFFECTS_OK in dict(target.annotations)
    for words in (*target.hazards, *(() if accepted else target.side_effects)):
        what, _, remedy = words.rpartition("; ")
        yield problem("UnsafeToClone", where, what, remedy)
    if target.termination_grace_seconds > MAX_GRACE:
        grace, most = (format_duration(s) for s in (target.termination_grace_seconds, MAX_GRACE))
        yield problem(
            "GraceTooLong",
            f"{where} terminationGracePeriodSeconds",
            f"a withdrawn canary could go on serving kept-alive connections for {grace}",
            f"lower it to {MAX_GRACE} ({most}) or less",
        )


def _vertical_autoscaler(surroundings: Surroundings) -> Iterator[Problem]:
    for vpa in surroundings.vpas:
        if vpa.mode != "Off":
            where = f"VerticalPodAutoscaler {vpa.name}"
            what = f"its updateMode {vpa.mode} changes the requests that are being tuned"
            yield problem("VpaActive", where, what, "set spec.updatePolicy.updateMode to Off")


# Selectors


def _selectors(spec: ExperimentSpec, target: Target, surroundings: Surroundings) -> Iterator[Problem]:
    """An arm's pods must get the Service's traffic and must not look like the target's own to anything that counts."""
    where = f"Deployment {target.name} spec.selector"
    if not surroundings.services:
        what = "no Service selects these pods, so arms would get no traffic (pods that consume a queue cannot be tuned)"
        yield problem("NoService", where, what, "create a Service, or correct its selector")
        return
    if not target.selector:
        what = "it has matchExpressions only, so arms would count as the target's own pods"
        yield problem("SelectorTooWide", where, what, "recreate the Deployment with a matchLabel that no Service uses")
    elif spec.route is None and replaceable_label(target, surroundings) is None:
        yield from _shared_labels(spec, target, surroundings, where)
    yield from _anti_affinity(spec, target, surroundings)


def _shared_labels(spec: ExperimentSpec, target: Target, surroundings: Surroundings, where: str) -> Iterator[Problem]:
    """The Services select on every matchLabel: arms would carry them all."""
    names = ", ".join(s.name for s in surroundings.services)
    selects = f"Service {names} selects on all of its labels ({', '.join(k for k, _ in target.selector)})"
    remedy = "recreate the Deployment with one more matchLabel, which no Service uses"
    counting = [f"HorizontalPodAutoscaler {a.name}" for a in surroundings.autoscalers]
    counting += [f"{b.kind} {b.name}" for b in surroundings.disruption_budgets]
    if counting:
        what = f"{selects}, and {' and '.join(counting)} would count arms as the target's pods"
        yield problem("SelectorConflict", where, what, remedy)
    elif not spec.share_service_labels_ok:
        what = f"{selects}, so arms would carry them too"
        either = "set spec.traffic.shareServiceLabels (no autoscaler or disruption budget selects these pods)"
        yield problem("SelectorConflict", where, what, f"{either}, or {remedy}")


def _anti_affinity(spec: ExperimentSpec, target: Target, surroundings: Surroundings) -> Iterator[Problem]:
    """A required term that an arm's labels match keeps the target's own new pods off the arm's node."""
    labels = arm_labels(spec, target, surroundings)
    replaced = next(iter(replaced_labels(spec, target, surroundings)), None)
    for term in target.anti_affinity:
        if term.matches(labels):
            remedy = "make it preferred" + (f", or add the label {replaced} to its selector" if replaced else "")
            what = f"arms match this required term ({term.name}) and could keep the target from scaling up"
            yield problem("AntiAffinity", f"Deployment {target.name} podAntiAffinity", what, remedy)


# Share of the load


def _share(spec: ExperimentSpec, target: Target, surroundings: Surroundings, ready: int) -> Iterator[Problem]:
    """What the arms take of the load beside `ready` pods, against what they may."""
    arms, allowed = arm_count(spec), spec.canary.max_share
    if target.ready_replicas == 0:
        yield problem("TargetNotReady", f"Deployment {target.name}", "none of its pods is ready", "repair or scale it")
        return
    if spec.route is not None:
        yield from share_of_route(spec, spec.route, target, surroundings)
        return
    share = share_of_arms(spec, ready)
    taken = f"{arms} arm pods beside {ready} ready pods take {percent(share)} of the load"
    if share > allowed + ROUNDING:
        fits = math.floor(ready * allowed / (1 - allowed) / (arms // spec.canary.replicas))
        fewer = f"set spec.canary.replicas to {fits}, " if 0 < fits < spec.canary.replicas else ""
        needed = math.ceil(replicas_for(arms, allowed))
        yield problem(
            "ShareTooLarge",
            "spec.canary.maxSharePercent",
            f"{taken}, {percent(allowed)} are allowed",
            f"{fewer}run at least {needed} replicas, or allow {math.ceil(100 * share - ROUNDING)}",
        )
    for autoscaler in surroundings.autoscalers:
        tolerance = autoscaler.tolerance
        if share >= tolerance - ROUNDING:
            more = f"run at least {math.floor(replicas_for(arms, tolerance)) + 1} replicas, or " if tolerance else ""
            yield problem(
                "AutoscalerDisturbed",
                f"HorizontalPodAutoscaler {autoscaler.name}",
                f"{taken}, which is not under its tolerance of {percent(tolerance)}: it could scale the target down",
                f"{more}raise behavior.scaleDown.tolerance",
            )


# Notes


def _notes(spec: ExperimentSpec, target: Target, surroundings: Surroundings) -> Iterator[Problem]:
    labels = arm_labels(spec, target, surroundings)
    replaced = " and ".join(replaced_labels(spec, target, surroundings))
    for policy in surroundings.network_policies:
        if not policy.matches(labels):
            what = f"it selects the target's pods by {replaced} but not the arms', which it does not protect"
            yield note("NetworkPolicyMisses", f"NetworkPolicy {policy.name}", what)
    for policy in dict.fromkeys(surroundings.network_peers):
        if not policy.matches(labels):
            what = f"it lets the target's pods through by {replaced} but not the arms', which may not get ready"
            yield note("NetworkPolicyBlocks", f"NetworkPolicy {policy.name}", what, "admit pods by another label")
    if target.managed_by:
        what = f"it belongs to {target.managed_by}; the recommendation is exported for its source, never applied"
        yield note("GitOpsOwned", f"Deployment {target.name}", what)


def _parameters(spec: ExperimentSpec) -> Iterator[Problem]:
    number, trials = len(spec.space.parameters), spec.stopping.max_trials
    if crowded(number, trials):
        yield note("ManyParameters", "spec.parameters", *crowd(number, trials))


__all__ = [
    "MAX_GRACE",
    "WAITING_REASONS",
    "Findings",
    "Problem",
    "examine",
    "recheck",
]
