"""Preflight of autoscalers: can an arm have one of its own without disturbing anybody, and does a trial show what it
does?"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from trimtab.control.arms import arm_labels
from trimtab.control.preflight_findings import Problem, note, problem
from trimtab.control.scale_point import moving, point_words, scale_points
from trimtab.control.scaling import (
    BOUNDS,
    ROUNDING,
    UTILIZATION,
    WINDOWS,
    Tuned,
    arms_autoscaler,
    autoscaler_of,
    fields,
    scaled_bounds,
)
from trimtab.domain.autoscaler import TOLERANCE_SINCE, AutoscalerView
from trimtab.domain.kube import Surroundings, Target
from trimtab.domain.measurement import Reading, Sample
from trimtab.domain.quantity import format_duration, percent
from trimtab.domain.space import Assignment, Numeric, Parameter, Resource
from trimtab.domain.spec import ExperimentSpec
from trimtab.domain.state import ScaledBy

SHOWN_BY_SWING = frozenset({*BOUNDS, *WINDOWS, "ScaleDownTolerancePercent", "ScaleUpTolerancePercent"})
FEW_PODS = 3.0  # with fewer, rounding up to whole pods hides most of what a target changes


def undisturbed(spec: ExperimentSpec, target: Target, surroundings: Surroundings) -> Iterator[Problem]:
    """Nobody may count an arm's pods beside the arm's own autoscaler. May change under a running Experiment."""
    if spec.route is None:
        return
    if len(surroundings.autoscalers) > 1:
        names = ", ".join(a.name for a in surroundings.autoscalers)
        what = (
            f"several HorizontalPodAutoscalers scale it ({names}), and Kubernetes stops all of them (AmbiguousSelector)"
        )
        yield problem("AutoscalerAmbiguous", f"Deployment {target.name}", what, "delete all but one")
    labels = arm_labels(spec, target, surroundings)
    for counted in surroundings.scaled_elsewhere:
        if counted.matches(labels):
            what = "the selector of what it scales matches arms, too: it would count them, and with an arm's own "
            what += "autoscaler Kubernetes would stop both (AmbiguousSelector)"
            remedy = "give that workload's selector a label that the target's pods do not have"
            yield problem("AmbiguousSelector", f"HorizontalPodAutoscaler {counted.name}", what, remedy)
    view = arms_autoscaler(spec, surroundings)
    for metric in view.metrics if view is not None else ():
        if metric.shared:
            what = f"its metric {metric.words} tells of the whole service, so an arm would scale by all of its load"
            remedy = (
                "use metrics of pods (Resource, ContainerResource, Pods), or mode Service without autoscaler fields"
            )
            assert view is not None
            yield problem("AutoscalerMetricShared", f"HorizontalPodAutoscaler {view.name}", what, remedy)


def scaling_problems(
    spec: ExperimentSpec, target: Target, surroundings: Surroundings, baseline: Assignment
) -> Iterator[Problem]:
    """What keeps trials from showing what an autoscaler's fields do, and what is worth knowing of it."""
    view = autoscaler_of(spec, surroundings)
    if view is None:
        return
    if view.inactive:
        what, remedy = f"it does not scale: {view.inactive}", "see that the metrics API has the metrics of its pods"
        yield problem("AutoscalerInactive", f"HorizontalPodAutoscaler {view.name}", what, remedy)
    tuned = fields(spec)
    yield from _tolerance(tuned, surroundings)
    yield from _counted_pods(spec, view)
    yield from _scale_point_moves(spec, target, view, baseline)
    yield from _bounds(target, tuned, view)
    if tuned:
        yield from _long_enough(spec, tuned, view)
        yield from _can_scale(spec, tuned, view)
        yield from _requests(target, view)
    yield from _notes(spec, target, surroundings, view, baseline)


def _range(parameter: Parameter) -> Numeric:
    domain = parameter.domain
    assert isinstance(domain, Numeric)
    return domain


def _counted_pods(spec: ExperimentSpec, view: AutoscalerView) -> Iterator[Problem]:
    """Where arms scale, their cost is known only once their pods were counted."""
    if spec.route is None:
        return
    what = f"HorizontalPodAutoscaler {view.name} decides how many pods an arm has, so its cost is known only afterwards"
    for limit in spec.cost_limits:
        remedy = "remove the bound, or bound what pods request by spec.parameterConstraints"
        yield problem("CostNotKnown", f"spec.constraints[{limit.name}]", what, remedy)
    if spec.trial.early_success:
        remedy = "remove it: pods are counted over a whole trial"
        yield problem("CostNotKnown", "spec.trial.earlySuccess", what, remedy)


def _scale_point_moves(
    spec: ExperimentSpec, target: Target, view: AutoscalerView, baseline: Assignment
) -> Iterator[Problem]:
    """Smaller requests are more pods: without arms that scale, a saving would be told that is none."""
    costs = any(term.sli is None for objective in spec.objectives for term in objective.terms)
    if spec.route is not None or not costs or not moving(spec, scale_points(spec, target, view, baseline)):
        return
    what = (
        "requests are tuned, and it scales by a share of them: with smaller ones there will be more pods, which arms of"
    )
    what += " a fixed size cannot show"
    remedy = (
        "set traffic.mode: HTTPRoute, so that arms scale, too, or give it an averageValue in place of a utilization"
    )
    yield problem("ScalePointMoves", f"HorizontalPodAutoscaler {view.name}", what, remedy)


# Fields


def _tolerance(tuned: Tuned, surroundings: Surroundings) -> Iterator[Problem]:
    found = re.match(r"v?(\d+)\.(\d+)", surroundings.kubernetes_version)
    if found is None or (int(found[1]), int(found[2])) >= TOLERANCE_SINCE:
        return
    for parameter, locus in tuned:
        if "Tolerance" in locus.field:
            since = ".".join(map(str, TOLERANCE_SINCE))
            what = f"Kubernetes {surroundings.kubernetes_version} drops an autoscaler's tolerance, which {since} keeps"
            field = f"spec.parameters[{parameter.name}].autoscaler.field"
            yield problem("ToleranceUnsupported", field, what, f"remove the parameter, or upgrade to {since} or later")


def _bounds(target: Target, tuned: Tuned, view: AutoscalerView) -> Iterator[Problem]:
    """maxReplicas stays above what runs today, and above a minReplicas that is not tuned, and the other way round."""
    by_field = {locus.field: parameter for parameter, locus in tuned}
    least, most = by_field.get("MinReplicas"), by_field.get("MaxReplicas")
    running = max(target.replicas, view.current)
    if most is not None and _range(most).minimum < running:
        low, field = most.format(_range(most).minimum), f"spec.parameters[{most.name}].integer.min"
        what = f"it allows maxReplicas {low} where {running} pods run now, more of them at peak"
        yield problem("MaxReplicasTooLow", field, what, f"raise min to at least {running}")
    if least is not None and most is None and _range(least).maximum > view.maximum:
        what = f"it allows minReplicas {least.format(_range(least).maximum)} above maxReplicas {view.maximum}"
        field = f"spec.parameters[{least.name}].integer.max"
        yield problem("BoundsCross", field, what, f"lower max to {view.maximum}, or tune MaxReplicas, too")
    if most is not None and least is None and _range(most).minimum < view.minimum:
        what = f"it allows maxReplicas {most.format(_range(most).minimum)} below minReplicas {view.minimum}"
        field = f"spec.parameters[{most.name}].integer.min"
        yield problem("BoundsCross", field, what, f"raise min to {view.minimum}, or tune MinReplicas, too")


# Time and size: is what a field does to be seen in an arm?


def _long_enough(spec: ExperimentSpec, tuned: Tuned, view: AutoscalerView) -> Iterator[Problem]:
    """What an arm scales down within a trial was too much for a whole stabilization window before."""
    ranges = {locus.field: int(_range(p).maximum) for p, locus in tuned}
    windows = {name: ranges.get(name, getattr(view, attribute)) for name, attribute in WINDOWS.items()}
    name = max(windows, key=lambda each: windows[each])
    window, shown = windows[name], format_duration(windows[name])
    lengths = [("spec.trial.duration", spec.trial.duration)]
    if spec.verification.replicates > 0:
        lengths.append(("spec.verification.duration", spec.verification.duration))
    for field, seconds in lengths:
        if seconds < window:
            side = "scale-down" if "Down" in name else "scale-up"
            what = (
                f"{format_duration(seconds)} is shorter than the {side} stabilization of {shown}, within which an arm "
            )
            remedy = (
                f"raise it to at least {shown}, or lower max of {name}" if name in ranges else f"raise it to {shown}"
            )
            yield problem("TrialTooShort", field, f"{what}does not scale", remedy)


def _can_scale(spec: ExperimentSpec, tuned: Tuned, view: AutoscalerView) -> Iterator[Problem]:
    if spec.route is None or not any(locus.field not in BOUNDS for _, locus in tuned):
        return
    share = spec.route.share
    low, high = scaled_bounds(view.minimum, view.maximum, share)
    if low < high:
        return
    field, bounds = "spec.traffic.httpRoute.canaryPercent", f"{view.minimum} to {view.maximum} pods"
    if view.maximum <= view.minimum:
        what = f"HorizontalPodAutoscaler {view.name} keeps {view.minimum} pods, so nothing scales"
        yield problem("CannotScale", f"HorizontalPodAutoscaler {view.name}", what, "raise maxReplicas")
        return
    needed = math.floor(100 / view.maximum + ROUNDING) + 1
    what = f"{percent(share)} of {bounds} is {low} pod, so an arm cannot scale"
    yield problem("CannotScale", field, what, f"raise it to at least {needed}")


def _requests(target: Target, view: AutoscalerView) -> Iterator[Problem]:
    """A utilization is a share of requests: where one is missing, Kubernetes does not scale at all."""
    for metric in view.metrics:
        if metric.utilization is None:
            continue
        for container in target.containers:
            counts = metric.container in {"", container.name}
            if counts and container.resources.request(Resource(metric.name)) is None:
                what = f"container {container.name} sets no {metric.name} request, so nothing scales by its utilization"
                yield problem("NoRequest", f"HorizontalPodAutoscaler {view.name}", what, "set one in the Deployment")


# Notes


def _notes(
    spec: ExperimentSpec, target: Target, surroundings: Surroundings, view: AutoscalerView, baseline: Assignment
) -> Iterator[Problem]:
    tuned, where = fields(spec), f"HorizontalPodAutoscaler {view.name}"
    for parameter, locus in tuned:
        if locus.field in SHOWN_BY_SWING:
            what = f"what {locus.field} does shows only while the load changes within a trial"
            remedy = "let trials run over a swing, by trial.duration and schedule.windows"
            yield note("NeedsLoadSwing", f"spec.parameters[{parameter.name}]", what, remedy)
    if spec.route is not None and any(locus.field in UTILIZATION for _, locus in tuned):
        pods = spec.route.share * max(target.replicas, view.current)
        if pods < FEW_PODS:
            what = (
                f"an arm has about {pods:.2g} of the target's {max(target.replicas, view.current)} pods, so that whole "
            )
            what += "pods hide small changes of a target"
            yield note("FewArmPods", "spec.traffic.httpRoute.canaryPercent", what, "raise it")
    points = scale_points(spec, target, view, baseline)
    if points and (tuned or moving(spec, points)):
        yield note("ScalePoint", where, f"it adds pods above {point_words(points)}")
    if tuned and view.managed_by:
        what = f"it belongs to {view.managed_by}; the recommendation is exported for its source, never applied"
        yield note("GitOpsOwned", where, what)
    for budget in surroundings.disruption_budgets if spec.route is not None else ():
        if budget.matches(arm_labels(spec, target, surroundings)):
            what = "it selects arms, too, whose pods count for it while a trial runs"
            yield note("DisruptionBudgetCounts", f"{budget.kind} {budget.name}", what)


def use_notes(by: ScaledBy | None, use: Reading | None) -> Iterator[Problem]:
    """Says so where it is not known what pods use of what their autoscaler goes by; `use` is the target's."""
    if by is None or by.resource is None or use is None or isinstance(use, Sample):
        return
    kind = "CPU" if by.resource is Resource.CPU else "memory"
    what = (
        f"what its pods use of {kind} is not measured ({use.detail}), so how hard arms are driven is reckoned by their "
    )
    what += "requests, and what they cost is known to whole pods only"
    remedy = "let that store scrape cAdvisor, the kubelet's /metrics/cadvisor"
    yield note("UseNotMeasured", f"HorizontalPodAutoscaler {by.name}", what, remedy)


__all__ = ["scaling_problems", "undisturbed", "use_notes"]
