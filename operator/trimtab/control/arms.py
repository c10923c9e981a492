"""Arms, planned: names, labels, resources and deadline of canary and control, deterministic per Trial. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import combinations

from trimtab.control.scaled_cost import scaled_cost
from trimtab.control.scaling import autoscaler_plan, first_pods, present_scaling
from trimtab.control.values import BaselineError, env_settings, inside, node_labels, node_parameter, present
from trimtab.domain.cost import CostModel, CostTerm
from trimtab.domain.kube import (
    ArmPlan,
    ArmView,
    ContainerView,
    Labels,
    PodChanges,
    PodView,
    Resources,
    ResourceSetting,
    Surroundings,
    Target,
)
from trimtab.domain.measurement import Arm
from trimtab.domain.names import LABEL_ARM, LABEL_TRIAL, arm_name
from trimtab.domain.quantity import format_cpu, format_memory, parse_quantity
from trimtab.domain.space import (
    Apply,
    Assignment,
    AutoscalerField,
    ContainerResource,
    EnvValue,
    LimitsRule,
    NodeSelectorKey,
    Parameter,
    PlainValue,
    ReplicaCount,
    Resource,
    Value,
)
from trimtab.domain.spec import ExperimentSpec
from trimtab.domain.state import TargetRecord
from trimtab.domain.trial import Trial

# Labels: an arm must not count as one of the target's own pods. It must get the Service's traffic, unless a route's
# weights give it its own: then none of the target's Services may select it.


def replaced_labels(spec: ExperimentSpec, target: Target, surroundings: Surroundings) -> tuple[str, ...]:
    """Pod labels of the target that an arm gets another value for, sorted."""
    if spec.route is not None:
        return _apart(target, surroundings)
    free = replaceable_label(target, surroundings)
    return () if free is None else (free,)


def _apart(target: Target, surroundings: Surroundings) -> tuple[str, ...]:
    """The fewest labels with whose change neither the target's own selector nor any of its Services matches any more;
    where there is a choice, those whose change does least harm. Empty where the target has no matchLabels."""
    selectors = [{key for key, _ in s} for s in (target.selector, *(x.selector for x in surroundings.services))]
    keys = sorted(set().union(*selectors))
    for size in range(1, len(keys) + 1):
        enough = [c for c in combinations(keys, size) if all(selector & {*c} for selector in selectors)]
        if enough:
            return min(enough, key=lambda chosen: _harm(chosen, target, surroundings))
    return ()


def _harm(changed: tuple[str, ...], target: Target, surroundings: Surroundings) -> tuple[int, int, tuple[str, ...]]:
    """How bad it is to change these labels: NetworkPolicies that are lost, then anti-affinity terms and
    PodDisruptionBudgets that still count the pods."""
    labels = dict(target.pod_labels) | dict.fromkeys(changed, "another")
    policies = (*surroundings.network_policies, *surroundings.network_peers)
    counting = (*target.anti_affinity, *surroundings.disruption_budgets)
    return sum(not p.matches(labels) for p in policies), sum(c.matches(labels) for c in counting), changed


def replaceable_label(target: Target, surroundings: Surroundings) -> str | None:
    """A label of the target's own selector that no Service selects on: an arm gets another value for it.

    Where there is a choice, the one whose change costs the pods the fewest NetworkPolicies, then the one that takes
    them out of the most anti-affinity terms and PodDisruptionBudgets.
    """
    used = {key for service in surroundings.services for key, _ in service.selector}
    free = [key for key, _ in target.selector if key not in used]
    return min(free, key=lambda key: _harm((key,), target, surroundings), default=None)


def arm_labels(spec: ExperimentSpec, target: Target, surroundings: Surroundings) -> dict[str, str]:
    """The labels by which Services, policies and affinity see an arm's pods, with a stand-in for the new values."""
    replaced = replaced_labels(spec, target, surroundings)
    return dict(target.pod_labels) | dict.fromkeys(replaced, "arm-of-trimtab")


# Plans


def plan_arms(
    spec: ExperimentSpec, target: Target, surroundings: Surroundings, trial: Trial
) -> tuple[ArmPlan, ArmPlan]:
    """(canary, control): the same count and age; the resources alone differ.

    Raises:
        BaselineError: the target's present values are no baseline any more.
    """
    return (
        _plan(spec, target, surroundings, trial, Arm.CANARY, trial.assignment),
        _plan(spec, target, surroundings, trial, Arm.CONTROL, baseline_assignment(spec, target, surroundings)),
    )


def _plan(
    spec: ExperimentSpec, target: Target, surroundings: Surroundings, trial: Trial, arm: Arm, assignment: Assignment
) -> ArmPlan:
    name = arm_name(trial.experiment_uid, trial.index, arm)
    overrides: Labels = tuple((key, name) for key in replaced_labels(spec, target, surroundings))
    changes, autoscaler = pod_changes(spec, target, assignment), autoscaler_plan(spec, surroundings, assignment)
    begun = trial.times.deploying if trial.times.deploying is not None else trial.times.created
    plan = ArmPlan(
        name=name,
        namespace=target.namespace,
        arm=arm,
        replicas=first_pods(spec, autoscaler, trial.environment.target_replicas, assignment),
        experiment_name=trial.experiment_name,
        experiment_uid=trial.experiment_uid,
        trial_name=trial.name,
        trial_uid=trial.uid,
        trial_index=trial.index,
        deadline=trial.deadline if trial.deadline is not None else begun + spec.trial.deadline,
        settings=changes.resources,
        env=changes.env,
        node_selector=changes.node_selector,
        label_overrides=overrides,
        selector=((LABEL_ARM, arm.value), (LABEL_TRIAL, trial.uid)),
        otel=spec.otel_resource_attributes,
        template_hash=target.template_hash,
        spec_digest="",
        progress_deadline=max(1, round(spec.trial.deadline)),
        backend=spec.route.backend if spec.route is not None else "",
        autoscaler=autoscaler,
        apart=spec.trial.parallel > 1,
    )
    return replace(plan, spec_digest=hashlib.sha256((repr(plan) + _further(plan)).encode()).hexdigest()[:16])


def _further(plan: ArmPlan) -> str:
    """What only some plans have: in the digest only where it is there, so that the others keep theirs."""
    changes = repr((plan.env, plan.node_selector)) if plan.env or plan.node_selector else ""
    changes += f"backend={plan.backend}" if plan.backend else ""
    changes += "apart" if plan.apart else ""
    return changes + (f"autoscaler={plan.autoscaler}" if plan.autoscaler is not None else "")


def pod_changes(spec: ExperimentSpec, target: Target, assignment: Assignment) -> PodChanges:
    """What the target's pods become under an assignment.

    Raises:
        BaselineError: the target lacks a container.
    """
    return PodChanges(
        target_settings(spec, target, assignment), env_settings(spec, assignment), node_labels(spec, assignment)
    )


# Resources


def tuned(spec: ExperimentSpec) -> Iterator[tuple[Parameter, ContainerResource]]:
    """The parameters that set a container's resources; those that set only a limit come last, as they win."""
    loci = [(p, p.locus) for p in spec.space.parameters if isinstance(p.locus, ContainerResource)]
    yield from ((p, locus) for p, locus in loci if locus.apply is not Apply.LIMITS)
    yield from ((p, locus) for p, locus in loci if locus.apply is Apply.LIMITS)


def target_settings(spec: ExperimentSpec, target: Target, assignment: Assignment) -> tuple[ResourceSetting, ...]:
    """What each tuned container gets under an assignment, by the parameters' rules; as exact as a manifest is.

    Raises:
        BaselineError: the target lacks a container.
    """
    made: dict[tuple[str, Resource], ResourceSetting] = {}
    for parameter, locus in tuned(spec):
        now = _container(target, parameter, locus).resources
        key = (locus.container, locus.resource)
        value = assignment.number(parameter.name)
        if locus.apply is Apply.LIMITS and key in made:
            made[key] = replace(made[key], limit=exact(locus.resource, value))
        else:
            made[key] = resource_setting(locus, now, value)
    return tuple(made.values())


def resource_setting(locus: ContainerResource, now: Resources, value: Decimal) -> ResourceSetting:
    """Request and limit of a container that has these `now`, where the parameter has this value."""
    request, limit = now.request(locus.resource), now.limit(locus.resource)

    def made(request: Decimal | None, limit: Decimal | None) -> ResourceSetting:
        request, limit = (None if x is None else exact(locus.resource, x) for x in (request, limit))
        return ResourceSetting(locus.container, locus.resource, request, limit, locus.limits)

    if locus.apply is Apply.LIMITS:
        return made(request, value)
    if locus.apply is Apply.BOTH:
        return made(value, value)
    match locus.limits:
        case LimitsRule.RATIO:
            return made(value, value * limit / request if limit is not None and request else None)
        case LimitsRule.EQUAL:
            return made(value, value)
        case LimitsRule.NONE:
            return made(value, None)
        case LimitsRule.KEEP:
            return made(value, limit)


def exact(resource: Resource, value: Decimal) -> Decimal:
    """The value that a manifest can hold: whole millicores or bytes, rounded up."""
    return parse_quantity(write(resource, value))


def write(resource: Resource, value: Decimal) -> str:
    """As a manifest and a person write it."""
    return format_cpu(value) if resource is Resource.CPU else format_memory(value)


def _container(target: Target, parameter: Parameter, locus: ContainerResource) -> ContainerView:
    found = target.container(locus.container)
    if found is None:
        names = ", ".join(c.name for c in target.containers)
        field = f"spec.parameters[{parameter.name}].container.name"
        problem = f"Deployment {target.name} has no container {locus.container}"
        raise BaselineError("ContainerNotFound", field, problem, f"use one of its containers: {names}")
    return found


# Baseline


def baseline_assignment(spec: ExperimentSpec, target: Target, surroundings: Surroundings) -> Assignment:
    """Today's values of the tuned parameters: a point of the space whose arm would be the target as it is.

    Raises:
        BaselineError: a container, an autoscaler or a value is missing, lies outside its range, or cannot be expressed
            by the parameter's rules.
    """
    baseline = Assignment.of({p.name: _today(spec, target, surroundings, p) for p in spec.space.parameters})
    broken = spec.space.violated(baseline)
    if broken is not None:
        raise BaselineError(
            "BaselineOutsideSpace",
            f"spec.parameterConstraints[{broken.name}]",
            f"the target's present values ({spec.space.describe(baseline)}) break it",
            "widen it until they are allowed",
        )
    _reproduced(spec, target, baseline)
    return baseline


def _today(spec: ExperimentSpec, target: Target, surroundings: Surroundings, parameter: Parameter) -> Value:
    match parameter.locus:
        case ContainerResource() as locus:
            value = _present_value(target, parameter, locus)
            inside(parameter, value, f"container {locus.container} has {locus.resource.value}")
            return value
        case EnvValue() | NodeSelectorKey():
            return present(target, parameter)
        case AutoscalerField() | ReplicaCount():
            return present_scaling(spec, target, surroundings, parameter)
        case PlainValue():  # of a program, which no manifest names
            raise BaselineError("NoBaseline", f"spec.parameters[{parameter.name}]", "it has no baseline", "remove it")


def _present_value(target: Target, parameter: Parameter, locus: ContainerResource) -> Decimal:
    resources = _container(target, parameter, locus).resources
    side = "limit" if locus.apply is Apply.LIMITS else "request"
    value = resources.limit(locus.resource) if side == "limit" else resources.request(locus.resource)
    if value is None:
        raise BaselineError(
            "NoBaseline",
            f"spec.parameters[{parameter.name}].container",
            f"container {locus.container} of Deployment {target.name} sets no {locus.resource.value} {side}",
            "set one in the Deployment: it is what trials are compared with",
        )
    return value


def _reproduced(spec: ExperimentSpec, target: Target, baseline: Assignment) -> None:
    """The rules, applied to the baseline, must give what the target has: else the first trial would be a change."""
    settings = {(s.container, s.resource): s for s in target_settings(spec, target, baseline)}
    for parameter, locus in tuned(spec):
        setting, now = settings[locus.container, locus.resource], _container(target, parameter, locus).resources
        request, limit = now.request(locus.resource), now.limit(locus.resource)
        if (setting.request, setting.limit) == (request, limit):
            continue
        has = f"request {_shown(locus, request)} and limit {_shown(locus, limit)}"
        asked = f"apply: {locus.apply}" + (f" with limits: {locus.limits}" if locus.apply is Apply.REQUESTS else "")
        raise BaselineError(
            "NoBaseline",
            f"spec.parameters[{parameter.name}].container",
            f"container {locus.container} has {locus.resource.value} {has}, which {asked} cannot express",
            "use apply: Requests with limits: Ratio (or Keep), or change the Deployment first",
        )


def _shown(locus: ContainerResource, value: Decimal | None) -> str:
    return "none" if value is None else write(locus.resource, value)


# Cost


def cost_model(spec: ExperimentSpec, target: Target, record: TargetRecord | None = None) -> CostModel:
    """$ per hour of the target: requests of its containers and side-cars, tuned or not, times its replicas.

    A parameter that sets only limits costs nothing. Requests follow a tuned value one to one. `record` says whether an
    autoscaler decides about the replicas: then it is the number that it aims at (`domain.cost`).
    """
    terms: list[CostTerm] = []
    priced: set[tuple[str, Resource]] = set()
    for parameter in spec.space.parameters:
        locus = parameter.locus
        if isinstance(locus, ContainerResource) and locus.apply is not Apply.LIMITS:
            terms.append(CostTerm(parameter.name, locus.resource, container=locus.container))
            priced.add((locus.container, locus.resource))
    running = (*target.containers, *(c for c in target.init_containers if c.sidecar))

    def fixed(resource: Resource) -> float:
        amounts = (c.resources.request(resource) for c in running if (c.name, resource) not in priced)
        return float(sum((a for a in amounts if a is not None), Decimal(0)))

    counted = spec.replicas_parameter
    cost = CostModel(
        target.replicas,
        spec.prices,
        tuple(terms),
        fixed(Resource.CPU),
        fixed(Resource.MEMORY),
        replicas_parameter=counted.name if counted is not None else None,
        node_parameter=node_parameter(spec),
    )
    return cost if record is None or record.scaled is None else scaled_cost(spec, target, cost, record, record.scaled)


# What came of it


def admitted_mismatch(plan: ArmPlan, view: ArmView) -> str:
    """How the admitted pods differ from the plan (a mutating webhook, a LimitRange default), "" when they do not."""
    if view.arm is not plan.arm:
        return ""
    return next((words for pod in view.pods for words in _mismatches(plan, pod)), "")


def _mismatches(plan: ArmPlan, pod: PodView) -> Iterator[str]:
    admitted = dict(pod.resources)
    for setting in plan.settings:
        found = admitted.get(setting.container)
        if found is None:  # no webhook can take a container away and leave a pod that the plan could be compared with
            continue
        for side, wanted, got in (
            ("request", setting.request, found.request(setting.resource)),
            ("limit", setting.limit, found.limit(setting.resource)),
        ):
            removed = side == "limit" and setting.rule is LimitsRule.NONE
            if got != wanted and (wanted is not None or removed):
                was, became = ("none" if x is None else write(setting.resource, x) for x in (wanted, got))
                yield (
                    f"pod {pod.name}: the {setting.resource.value} {side} of container {setting.container} was changed "
                    f"at admission from {was} to {became}; exempt pods labelled {LABEL_ARM} from what changed it"
                )
