"""What an arm has beside its Deployment where a route's weights lead to it: a Service, and an autoscaler if the target
has one."""

from __future__ import annotations

from typing import Any

from trimtab.api.arms import arm_metadata, kept_labels
from trimtab.api.kube_arms import ANNOTATION_LIVE
from trimtab.api.kube_autoscaler import changed_spec, scaler_digest
from trimtab.api.kube_read import Raw
from trimtab.domain.kinds import DEPLOYMENTS, HORIZONTAL_POD_AUTOSCALERS, SERVICES
from trimtab.domain.kube import ArmPlan, Manifest

PORT_FIELDS = ("name", "protocol", "port", "targetPort", "appProtocol")
# How requests reach the pods is copied; what only one Service can have (its address, node ports) is not.
COPIED = (
    "internalTrafficPolicy", "ipFamilies", "ipFamilyPolicy", "publishNotReadyAddresses", "sessionAffinity",
    "sessionAffinityConfig", "trafficDistribution",
)  # fmt: skip
SCRAPED = "prometheus.io/"
HEADLESS = "None"


def arm_service(backend: Manifest, plan: ArmPlan) -> dict[str, Any]:
    """The Service to POST for this plan: the backend's ports, in front of the arm's own pods alone.

    It carries the labels and the scrape annotations of the backend: what finds the target's pods by their Service, as
    a ServiceMonitor does, then finds the arm's, too. Other annotations may make load balancers and names, and do not
    come along.
    """
    spec: Raw = backend["spec"]
    made: dict[str, Any] = {key: spec[key] for key in COPIED if key in spec}
    if spec.get("clusterIP") == HEADLESS:
        made["clusterIP"] = HEADLESS
    made["selector"] = dict(plan.selector)
    made["ports"] = [{key: port[key] for key in PORT_FIELDS if key in port} for port in spec.get("ports") or ()]
    metadata = arm_metadata(plan, kept_labels(backend))
    theirs = backend["metadata"].get("annotations") or {}
    metadata["annotations"] |= {key: value for key, value in theirs.items() if key.startswith(SCRAPED)}
    return {"apiVersion": SERVICES.api_version, "kind": SERVICES.name, "metadata": metadata, "spec": made}


def arm_autoscaler(plan: ArmPlan) -> dict[str, Any]:
    """The HorizontalPodAutoscaler to POST for a plan that has one: the target's own with the plan's changes and bounds,
    for the arm's Deployment."""
    assert plan.autoscaler is not None
    original = plan.autoscaler.source.manifest
    spec = changed_spec(original["spec"], plan.autoscaler.changes)
    spec |= {
        "scaleTargetRef": {"apiVersion": DEPLOYMENTS.api_version, "kind": DEPLOYMENTS.name, "name": plan.name},
        "minReplicas": plan.autoscaler.minimum,
        "maxReplicas": plan.autoscaler.maximum,
    }
    kind = HORIZONTAL_POD_AUTOSCALERS
    metadata = arm_metadata(plan, kept_labels(original))
    body = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata, "spec": spec}
    metadata["annotations"][ANNOTATION_LIVE] = scaler_digest(body)
    return body


__all__ = ["arm_autoscaler", "arm_service"]
