"""What stands beside the target and has a say in whether arms may run: Services, autoscalers, quotas and so on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from trimtab.api.kube_arms import ARM_POD, ready_endpoint_names
from trimtab.api.kube_autoscaler import autoscaler_from
from trimtab.api.kube_read import Raw, labels_of, quantities, selector_owner
from trimtab.domain.autoscaler import AutoscalerView
from trimtab.domain.kube import (
    LimitRangeView,
    LimitRule,
    Manifest,
    QuotaView,
    SelectorOwner,
    ServiceView,
    Surroundings,
    Target,
    VpaView,
)
from trimtab.domain.names import LABEL_ARM
from trimtab.domain.space import Resource

SERVICE_NAME = "kubernetes.io/service-name"
VPA_DEFAULT_MODE = "Auto"


def surroundings_from(
    target: Target,
    *,
    services: Sequence[Manifest],
    autoscalers: Sequence[Manifest],
    disruption_budgets: Sequence[Manifest],
    vpas: Sequence[Manifest],
    quotas: Sequence[Manifest],
    limit_ranges: Sequence[Manifest],
    network_policies: Sequence[Manifest],
    endpoint_slices: Sequence[Manifest],
    version: str,
    scaled: Sequence[tuple[str, Manifest]] = (),
) -> Surroundings:
    """What concerns the target, out of everything in its namespace; `scaled` are those of `scaled_workloads`
    that could be read, each with its kind.

    Raises:
        InvalidSpec: a quantity cannot be read.
    """
    labels = dict(target.pod_labels)
    selecting = tuple(
        ServiceView(s["metadata"]["name"], labels_of(s["spec"].get("selector")))
        for s in services
        if _service_selects(s, labels)
    )
    policies = [*map(_policy, network_policies)]
    others = tuple(autoscaler_from(a) for a in autoscalers if _foreign(a, target))
    return Surroundings(
        services=selecting,
        autoscalers=tuple(autoscaler_from(a) for a in autoscalers if _scales(a["spec"].get("scaleTargetRef"), target)),
        disruption_budgets=tuple(b for b in _budgets(disruption_budgets) if b.matches(labels)),
        vpas=tuple(_vpa(v) for v in vpas if _scales(v["spec"].get("targetRef"), target)),
        quotas=tuple(_quota(q) for q in quotas if _quota_applies(q, target)),
        limit_ranges=tuple(map(_limit_range, limit_ranges)),
        network_policies=tuple(p for p in policies if p.matches(labels)),
        kubernetes_version=version,
        ready_service_endpoints=_ready_behind({s.name for s in selecting}, endpoint_slices),
        network_peers=tuple(p for policy in network_policies for p in _peers(policy) if p.matches(labels)),
        other_autoscalers=others,
        scaled_elsewhere=tuple(_counted(others, scaled)),
    )


def autoscalers_around(target: Target, autoscalers: Sequence[Manifest]) -> Surroundings:
    """The same of the namespace's autoscalers alone."""
    return surroundings_from(
        target,
        services=(),
        autoscalers=autoscalers,
        disruption_budgets=(),
        vpas=(),
        quotas=(),
        limit_ranges=(),
        network_policies=(),
        endpoint_slices=(),
        version="",
    )


def _service_selects(service: Manifest, labels: Mapping[str, str]) -> bool:
    selector = service["spec"].get("selector") or {}
    return bool(selector) and all(labels.get(k) == v for k, v in selector.items())


def _ready_behind(services: set[str], slices: Sequence[Manifest]) -> int:
    """Ready pods behind the smallest of the Services that has any; arms are not counted."""
    by_service: dict[str, list[Manifest]] = {}
    for item in slices:
        name = (item["metadata"].get("labels") or {}).get(SERVICE_NAME)
        if name in services:
            by_service.setdefault(name, []).append(item)
    counts = (
        sum(1 for name in ready_endpoint_names(items) if not ARM_POD.fullmatch(name)) for items in by_service.values()
    )
    return min((c for c in counts if c), default=0)


def _scales(reference: Raw | None, target: Target) -> bool:
    found = reference or {}
    return found.get("kind") == "Deployment" and found.get("name") == target.name


def _foreign(manifest: Manifest, target: Target) -> bool:
    """It scales something else, which is no arm."""
    is_arm = LABEL_ARM in (manifest["metadata"].get("labels") or {})
    return not is_arm and not _scales(manifest["spec"].get("scaleTargetRef"), target)


def scaled_workloads(autoscalers: Sequence[Manifest], target: Target) -> tuple[tuple[str, str], ...]:
    """(kind, name) of what autoscalers of the namespace scale beside the target and arms, sorted."""
    references = (a["spec"]["scaleTargetRef"] for a in autoscalers if _foreign(a, target))
    return tuple(sorted({(r["kind"], r["name"]) for r in references}))


def _counted(
    autoscalers: Sequence[AutoscalerView], workloads: Sequence[tuple[str, Manifest]]
) -> Iterator[SelectorOwner]:
    """An autoscaler counts what its workload's selector matches, whoever owns these pods."""
    selectors = {(kind, w["metadata"]["name"]): w["spec"].get("selector") or {} for kind, w in workloads}
    for view in autoscalers:
        selector = selectors.get((view.target_kind, view.target_name))
        if selector is not None:
            yield selector_owner("HorizontalPodAutoscaler", view.name, selector)


def _budgets(manifests: Sequence[Manifest]) -> Iterator[SelectorOwner]:
    for manifest in manifests:
        selector = (manifest.get("spec") or {}).get("selector")
        if selector is not None:
            yield selector_owner("PodDisruptionBudget", manifest["metadata"]["name"], selector)


def _vpa(manifest: Manifest) -> VpaView:
    spec = manifest["spec"]
    mode = (spec.get("updatePolicy") or {}).get("updateMode", VPA_DEFAULT_MODE)
    return VpaView(manifest["metadata"]["name"], spec["targetRef"]["name"], mode)


def _policy(manifest: Manifest) -> SelectorOwner:
    return selector_owner("NetworkPolicy", manifest["metadata"]["name"], manifest["spec"].get("podSelector") or {})


def _peers(manifest: Manifest) -> Iterator[SelectorOwner]:
    """Whom a policy lets in or out by pod label; a peer with no pod selector does not tell pods apart."""
    spec, name = manifest["spec"], manifest["metadata"]["name"]
    for rules, side in ((spec.get("ingress"), "from"), (spec.get("egress"), "to")):
        for rule in rules or ():
            for peer in rule.get(side) or ():
                if peer.get("podSelector"):
                    yield selector_owner("NetworkPolicy", name, peer["podSelector"])


def _quota(manifest: Manifest) -> QuotaView:
    status, name = manifest.get("status") or {}, manifest["metadata"]["name"]
    hard = quantities(status.get("hard") or manifest["spec"].get("hard"), f"ResourceQuota {name}")
    used = quantities(status.get("used"), f"ResourceQuota {name}")
    return QuotaView(name, tuple((key, hard[key] - used.get(key, Decimal(0))) for key in sorted(hard)))


def _quota_applies(manifest: Manifest, target: Target) -> bool:
    """Does it count pods like the target's? Scopes that cannot be told are taken to apply."""
    spec = manifest["spec"]
    terms = [{"scopeName": s, "operator": "Exists"} for s in spec.get("scopes") or ()]
    terms += (spec.get("scopeSelector") or {}).get("matchExpressions") or ()
    return all(_in_scope(term, target) for term in terms)


def _in_scope(term: Raw, target: Target) -> bool:
    name, operator, values = term["scopeName"], term["operator"], term.get("values") or ()
    best_effort = not any(
        c.resources.request(r) or c.resources.limit(r)
        for c in (*target.containers, *target.init_containers)
        for r in Resource
    )
    if name == "PriorityClass":
        own = target.manifest["spec"]["template"]["spec"].get("priorityClassName")
        inside = own in values if operator in {"In", "NotIn"} else own is not None
        return not inside if operator in {"NotIn", "DoesNotExist"} else inside
    known = {
        "Terminating": False,
        "NotTerminating": True,
        "BestEffort": best_effort,
        "NotBestEffort": not best_effort,
        "VolumeAttributesClass": False,
    }
    return known.get(name, True)


def _limit_range(manifest: Manifest) -> LimitRangeView:
    rules: dict[str, list[LimitRule]] = {"Container": [], "Pod": []}
    defaults: list[tuple[Resource, Decimal | None, Decimal | None]] = []
    where = f"LimitRange {manifest['metadata']['name']}"
    for item in manifest["spec"].get("limits") or ():
        low, high = quantities(item.get("min"), where), quantities(item.get("max"), where)
        ratios = quantities(item.get("maxLimitRequestRatio"), where)
        request, limit = quantities(item.get("defaultRequest"), where), quantities(item.get("default"), where)
        for resource in Resource:
            key = resource.value
            rule = (resource, low.get(key), high.get(key), ratios.get(key))
            if item.get("type") in rules and rule[1:] != (None, None, None):
                rules[item["type"]].append(rule)
            if item.get("type") == "Container" and (key in request or key in limit):
                defaults.append((resource, request.get(key), limit.get(key)))
    return LimitRangeView(manifest["metadata"]["name"], tuple(rules["Container"]), tuple(rules["Pod"]), tuple(defaults))
