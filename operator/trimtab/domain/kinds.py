"""The Kubernetes resource types that Trimtab reads or writes."""

from __future__ import annotations

from typing import NamedTuple

from trimtab.domain.errors import Rejected
from trimtab.domain.names import GROUP, VERSION


class Kind(NamedTuple):
    """A Kubernetes resource type. `group` is empty for the core API. A tuple, as kinds are keys everywhere."""

    group: str
    version: str
    plural: str
    name: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def reference(self, name: str, uid: str) -> dict[str, str]:
        """An object of this kind, as those that it owns refer to it."""
        return {"apiVersion": self.api_version, "kind": self.name, "name": name, "uid": uid}

    def named(self, name: str) -> str:
        """The name, for a request about one object.

        Raises:
            Rejected: it is empty; the same request would be about all objects of this kind.
        """
        if not name:
            raise Rejected(400, f"the name of a {self.name} may not be empty")
        return name


EXPERIMENTS = Kind(GROUP, VERSION, "experiments", "Experiment")
TRIALS = Kind(GROUP, VERSION, "trials", "Trial")
DEPLOYMENTS = Kind("apps", "v1", "deployments", "Deployment")
STATEFUL_SETS = Kind("apps", "v1", "statefulsets", "StatefulSet")
DAEMON_SETS = Kind("apps", "v1", "daemonsets", "DaemonSet")
REPLICA_SETS = Kind("apps", "v1", "replicasets", "ReplicaSet")
PODS = Kind("", "v1", "pods", "Pod")
SERVICES = Kind("", "v1", "services", "Service")
CONFIG_MAPS = Kind("", "v1", "configmaps", "ConfigMap")
NODES = Kind("", "v1", "nodes", "Node")
NAMESPACES = Kind("", "v1", "namespaces", "Namespace")
RESOURCE_QUOTAS = Kind("", "v1", "resourcequotas", "ResourceQuota")
LIMIT_RANGES = Kind("", "v1", "limitranges", "LimitRange")
ENDPOINT_SLICES = Kind("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
HORIZONTAL_POD_AUTOSCALERS = Kind("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
POD_DISRUPTION_BUDGETS = Kind("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
NETWORK_POLICIES = Kind("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
VERTICAL_POD_AUTOSCALERS = Kind("autoscaling.k8s.io", "v1", "verticalpodautoscalers", "VerticalPodAutoscaler")
HTTP_ROUTES = Kind("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute")
LEASES = Kind("coordination.k8s.io", "v1", "leases", "Lease")
EVENTS = Kind("events.k8s.io", "v1", "events", "Event")
