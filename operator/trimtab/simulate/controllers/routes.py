"""A gateway: what HTTPRoutes ask for becomes the way that the load takes, and their status says that it did."""

from __future__ import annotations

from trimtab.domain import kinds
from trimtab.simulate.cluster import InMemoryCluster, WatchEvent
from trimtab.simulate.controllers.queue import Reactions
from trimtab.simulate.traffic import Traffic
from trimtab.workload.routing import accepted, parts_of

REACTION_SECONDS = 0.2
MANAGER = "gateway"


class Routes:
    """The controller and the data plane of all Gateways: namespaces are looked at when a route or a Service changed."""

    watches = (kinds.HTTP_ROUTES, kinds.SERVICES)

    def __init__(self, cluster: InMemoryCluster, traffic: Traffic) -> None:
        self._cluster, self._objects, self._traffic = cluster, cluster.objects, traffic
        self._served = kinds.HTTP_ROUTES in cluster.objects.served
        self._reactions: Reactions[str] = Reactions(REACTION_SECONDS, self._sync)

    def changed(self, event: WatchEvent) -> None:
        """A route or a Service changed."""
        if self._served:
            self._reactions.add(event.object["metadata"]["namespace"])

    def _sync(self, namespace: str) -> None:
        routes = [route for _, route in sorted(self._objects.names(kinds.HTTP_ROUTES, namespace).items())]
        for where, service in self._traffic.shares:
            if where == namespace:
                self._traffic.set_parts(namespace, service, parts_of(routes, service))
        services, now = self._objects.names(kinds.SERVICES, namespace), self._objects.timestamp(0)
        for route in routes:
            status = accepted(route, services, now)
            if status["parents"] and status != route.get("status"):
                body = {**route, "status": status}
                name = route["metadata"]["name"]
                self._cluster.put(kinds.HTTP_ROUTES, namespace, name, body, subresource="status", manager=MANAGER)


__all__ = ["Routes"]
