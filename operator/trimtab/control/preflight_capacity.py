"""Preflight of resources: the baseline, QoS class, quotas and LimitRanges, over the whole search space.

The API server's own dry run is no help: it lets a Deployment in whose pods a quota or a LimitRange refuses later.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

from trimtab.control.arms import baseline_assignment, cost_model, target_settings, tuned, write
from trimtab.control.preflight_findings import Problem, note, problem
from trimtab.control.scaling import arms_autoscaler, most_pods
from trimtab.control.values import BaselineError
from trimtab.domain.cost import COST_SLACK
from trimtab.domain.kube import ContainerView, LimitRangeView, LimitRule, Resources, Surroundings, Target
from trimtab.domain.space import Apply, Assignment, Categorical, LimitsRule, Resource
from trimtab.domain.spec import ExperimentSpec

Containers = tuple[ContainerView, ...]
SIDES = ("requests", "limits")
AUTOSCALERS = "count/horizontalpodautoscalers.autoscaling"


def capacity_problems(spec: ExperimentSpec, target: Target, surroundings: Surroundings) -> Iterator[Problem]:
    """What keeps some assignment of the space from running, or makes it another kind of pod."""
    try:
        baseline = baseline_assignment(spec, target, surroundings)
    except BaselineError as error:
        yield Problem(error.reason, error.field, str(error), error.remedy)
        return
    yield from _cost_limits(spec, target, baseline)
    corners = tuple(resized(spec, target, a) for a in corner_assignments(spec, baseline))
    yield from _request_above_limit(spec, corners)
    yield from _quality_of_service(target, corners)
    yield from _limit_ranges(spec, target, surroundings, corners)
    yield from _quotas(spec, target, surroundings, corners)


def _cost_limits(spec: ExperimentSpec, target: Target, baseline: Assignment) -> Iterator[Problem]:
    """What runs today must keep each bound on the cost: the search starts there."""
    cost = cost_model(spec, target).hourly(baseline)
    for limit in spec.cost_limits:
        if cost > limit.maximum * COST_SLACK:
            what = f"the present settings cost ${cost:.3f} per hour, {limit.name} allows ${limit.maximum:.3f}"
            field = f"spec.constraints[{limit.name}].max"
            yield problem("CostAboveLimit", field, what, "raise max, or lower the target's requests or replicas")


def corner_assignments(spec: ExperimentSpec, baseline: Assignment) -> tuple[Assignment, ...]:
    """The baseline, everything at its least, everything at its greatest, and requests at their greatest where limits
    are at their least, unless a parameter constraint forbids that."""
    low = high = crossed = baseline
    only_limits = {p.name for p, locus in tuned(spec) if locus.apply is Apply.LIMITS}
    for parameter in spec.space.parameters:
        domain = parameter.domain
        if not isinstance(domain, Categorical):
            low = low.replace(parameter.name, domain.minimum)
            high = high.replace(parameter.name, domain.maximum)
            end = domain.minimum if parameter.name in only_limits else domain.maximum
            crossed = crossed.replace(parameter.name, end)
    allowed = () if not only_limits or spec.space.violated(crossed) is not None else (crossed,)
    return (baseline, low, high, *allowed)


def resized(spec: ExperimentSpec, target: Target, assignment: Assignment) -> Containers:
    """The target's containers with the resources of an arm."""
    found = {c.name: c for c in target.containers}
    for setting in target_settings(spec, target, assignment):
        container = found[setting.container]
        now = container.resources
        if setting.resource is Resource.CPU:
            now = replace(now, cpu_request=setting.request, cpu_limit=setting.limit)
        else:
            now = replace(now, memory_request=setting.request, memory_limit=setting.limit)
        found[setting.container] = replace(container, resources=now)
    return tuple(found.values())


def _request_above_limit(spec: ExperimentSpec, corners: tuple[Containers, ...]) -> Iterator[Problem]:
    names = {(locus.container, locus.resource): p.name for p, locus in tuned(spec)}
    for (container, resource), parameter in names.items():
        for corner in corners:
            resources = next(c.resources for c in corner if c.name == container)
            request, limit = resources.request(resource), resources.limit(resource)
            if request is not None and limit is not None and request > limit:
                asked, most = write(resource, request), write(resource, limit)
                what = f"the range allows a request of {asked} above a limit of {most}"
                remedy = "use limits: Ratio, lower max, or order the two parameters in spec.parameterConstraints"
                yield problem("RequestAboveLimit", f"spec.parameters[{parameter}]", what, remedy)
                break


# QoS class


def qos_class(containers: Containers) -> str:
    """The QoS class that Kubernetes gives a pod of these containers (init containers included)."""
    guaranteed = True
    best_effort = True
    for container in containers:
        for resource in Resource:
            request, limit = container.resources.request(resource), container.resources.limit(resource)
            best_effort &= not request and not limit
            guaranteed &= bool(limit) and request == limit
    return "BestEffort" if best_effort else "Guaranteed" if guaranteed else "Burstable"


def _quality_of_service(target: Target, corners: tuple[Containers, ...]) -> Iterator[Problem]:
    """Another class means other eviction, OOM and CPU pinning rules: a trial would measure that instead."""
    today = qos_class((*target.containers, *target.init_containers))
    for corner in corners:
        then = qos_class((*corner, *target.init_containers))
        if then == today:
            continue
        what = f"its pods are {today}, arms would be {then} for some assignments"
        if today == "Guaranteed":
            yield problem("QosClassChanges", "spec.parameters", what, "use apply: Both, or limits: Ratio or Equal")
        else:
            yield note("QosClassChanges", "spec.parameters", what)
        return


# LimitRanges


def with_defaults(containers: Containers, limit_ranges: tuple[LimitRangeView, ...]) -> Containers:
    """What the LimitRanger makes of containers that set no request or limit."""
    for limit_range in limit_ranges:
        for resource, request, limit in limit_range.defaults:
            containers = tuple(replace(c, resources=_filled(c.resources, resource, request, limit)) for c in containers)
    return containers


def _filled(now: Resources, resource: Resource, request: Decimal | None, limit: Decimal | None) -> Resources:
    has_request, has_limit = now.request(resource), now.limit(resource)
    request = has_request if has_request is not None else request
    limit = has_limit if has_limit is not None else limit
    if resource is Resource.CPU:
        return replace(now, cpu_request=request, cpu_limit=limit)
    return replace(now, memory_request=request, memory_limit=limit)


def _limit_ranges(
    spec: ExperimentSpec, target: Target, surroundings: Surroundings, corners: tuple[Containers, ...]
) -> Iterator[Problem]:
    """The first violation of each LimitRange, over all corners."""
    remedy = "narrow the parameter's range, or change the LimitRange"
    for limit_range in surroundings.limit_ranges:
        found = (
            words
            for corner in corners
            for words in (
                *_bounds(limit_range, target, with_defaults(corner, surroundings.limit_ranges)),
                *_defaults(spec, limit_range, corner),
            )
        )
        what = next(found, None)
        if what is not None:
            yield problem("LimitRangeViolated", f"LimitRange {limit_range.name}", what, remedy)


def _bounds(limit_range: LimitRangeView, target: Target, containers: Containers) -> Iterator[str]:
    for rule in limit_range.rules:
        for container in containers:
            sides = container.resources.request(rule[0]), container.resources.limit(rule[0])
            yield from _breaks(rule, f"container {container.name}", *sides)
    for rule in limit_range.pod_rules:
        totals = (pod_total(containers, target.init_containers, side, rule[0]) for side in SIDES)
        yield from _breaks(rule, "the pod", *totals)


def _defaults(spec: ExperimentSpec, limit_range: LimitRangeView, containers: Containers) -> Iterator[str]:
    """A default limit binds containers that set none: it may be below the request, or undo `limits: None`."""
    removed = {
        (locus.container, locus.resource)
        for _, locus in tuned(spec)
        if locus.apply is Apply.REQUESTS and locus.limits is LimitsRule.NONE
    }
    for resource, _, limit in limit_range.defaults:
        for container in (c for c in containers if limit is not None and c.resources.limit(resource) is None):
            assert limit is not None
            request, given = (
                container.resources.request(resource),
                f"its default {resource} limit {write(resource, limit)}",
            )
            if (container.name, resource) in removed:
                yield f"{given} would be put on container {container.name} in spite of limits: None"
            elif request is not None and request > limit:
                yield f"{given} is below a request of {write(resource, request)} of container {container.name}"


def _breaks(rule: LimitRule, who: str, request: Decimal | None, limit: Decimal | None) -> Iterator[str]:
    """The LimitRanger's own checks, in its order: min, max, ratio."""
    resource, low, high, ratio = rule
    for side, value in (("request", request), ("limit", limit)):
        if value is None:
            continue
        subject = f"a {resource} {side} of {write(resource, value)} of {who}"
        if low is not None and value < low:
            yield f"{subject} is below its min of {write(resource, low)}"
        if high is not None and value > high:
            yield f"{subject} is above its max of {write(resource, high)}"
    if low is not None and request is None:
        yield f"it asks for a {resource} request of at least {write(resource, low)} and {who} has none"
    if high is not None and limit is None:
        yield f"it asks for a {resource} limit of at most {write(resource, high)} and {who} has none"
    if ratio is not None and (not request or not limit):
        yield f"its maxLimitRequestRatio for {resource} asks for a request and a limit and {who} lacks one"
    elif ratio is not None and request and limit and limit / request > ratio:
        yield f"the {resource} limit of {who} is {limit / request:.3g} times its request, its ratio allows {ratio}"


# Quotas


def pod_total(containers: Containers, inits: Containers, side: str, resource: Resource) -> Decimal:
    """What one pod counts for, as scheduler and quota count: containers and side-cars together, or an init container
    with the side-cars started before it, whichever is more."""

    def amount(container: ContainerView) -> Decimal:
        resources = container.resources
        value = resources.request(resource) if side == "requests" else resources.limit(resource)
        return value if value is not None else Decimal(0)

    running, peak = Decimal(0), Decimal(0)
    for init in inits:
        peak = max(peak, running + amount(init))
        running += amount(init) if init.sidecar else Decimal(0)
    return max(running + sum((amount(c) for c in containers), Decimal(0)), peak)


def arm_demand(
    target: Target, canary: Containers, control: Containers, pods: int, trials: int = 1
) -> dict[str, Decimal]:
    """What the arms of so many trials, of so many pods each, count for, by the names that quotas use."""
    arms = (canary, control) * trials
    need = {name: Decimal(pods * len(arms)) for name in ("pods", "count/pods")}
    need |= {name: Decimal(len(arms)) for name in ("count/deployments.apps", "count/replicasets.apps")}
    for resource in Resource:
        for side in SIDES:
            need[f"{side}.{resource.value}"] = sum(
                (pods * pod_total(arm, target.init_containers, side, resource) for arm in arms), Decimal(0)
            )
        need[resource.value] = need[f"requests.{resource.value}"]
    for name, amount in target.extra_demand:
        need[name] = pods * len(arms) * amount
        if name.startswith("requests."):
            need.setdefault(name.removeprefix("requests."), need[name])
    return need


def _quotas(
    spec: ExperimentSpec, target: Target, surroundings: Surroundings, corners: tuple[Containers, ...], trials: int = 1
) -> Iterator[Problem]:
    """So many trials at the largest assignment must fit beside everything that runs."""
    filled = tuple(with_defaults(corner, surroundings.limit_ranges) for corner in corners)
    pods = most_pods(spec, surroundings)
    today, largest = (arm_demand(target, filled[i], filled[0], pods, trials) for i in (0, 2))
    if arms_autoscaler(spec, surroundings) is not None:
        today[AUTOSCALERS] = largest[AUTOSCALERS] = Decimal(2)
    for quota in surroundings.quotas:
        for name, free in quota.free:
            where = f"ResourceQuota {quota.name}"
            yield from _unset(where, name, filled)
            if name not in largest or largest[name] <= free:
                continue
            need, left = _amount(name, largest[name]), _amount(name, max(free, Decimal(0)))
            fits = today[name] <= free
            remedy = "raise the quota" + (" or lower max of the range" if fits else "")
            yield problem("QuotaTooSmall", where, f"arms need up to {need} of {name}, {left} is left", remedy)


def quotas_allow(spec: ExperimentSpec, target: Target, surroundings: Surroundings, trials: int = 1) -> str:
    """Why the arms of so many more trials at the largest assignment do not fit, "" when they do.

    Raises:
        BaselineError: the target's present values are no baseline.
    """
    baseline = baseline_assignment(spec, target, surroundings)
    corners = tuple(resized(spec, target, a) for a in corner_assignments(spec, baseline))
    return next((p.message for p in _quotas(spec, target, surroundings, corners, trials)), "")


def _unset(where: str, name: str, corners: tuple[Containers, ...]) -> Iterator[Problem]:
    """A quota on a resource refuses pods in which a container does not set it."""
    side, _, resource = name.rpartition(".")
    if resource not in {r.value for r in Resource} or side not in {"", *SIDES}:
        return
    for container in (c for corner in corners for c in corner):
        resources = container.resources
        value = resources.limit(Resource(resource)) if side == "limits" else resources.request(Resource(resource))
        if value is None:
            word = "limit" if side == "limits" else "request"
            what = f"it counts {name}, so it refuses pods of which container {container.name} sets no {resource} {word}"
            yield problem("QuotaTooSmall", where, what, f"set a {resource} {word} in the Deployment")
            return


def _amount(name: str, value: Decimal) -> str:
    resource = name.rpartition(".")[2]
    known = {r.value for r in Resource}
    return write(Resource(resource), value) if resource in known else format(value.normalize(), "f")
