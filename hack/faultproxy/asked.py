"""What a request to the API server asks for, in the API server's own words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True)
class Asked:
    """One request.

    Attributes:
        verb: get, list, watch, create, update, patch, delete, or dryrun.
        resource: plural, with its subresource after a slash; "" for discovery, version and health.
        name: of the object, "" when none is named.
    """

    verb: str
    resource: str
    name: str = ""

    @property
    def writes(self) -> bool:
        """Whether it changes something."""
        return self.verb in VERBS.values()

    def __str__(self) -> str:
        return f"{self.verb} {self.resource or '(discovery)'}"


def asked_of(method: str, path: str, query: Mapping[str, str]) -> Asked:
    """Read a request line.

    Args:
        method: of HTTP.
        path: e.g. /apis/apps/v1/namespaces/shop/deployments/web, without the query.
        query: its parameters.
    """
    parts = [part for part in path.split("/") if part]
    depth = {"api": 2, "apis": 3}.get(parts[0] if parts else "", len(parts))
    parts = parts[depth:]
    if len(parts) > 2 and parts[0] == "namespaces":
        parts = parts[2:]
    resource, name, subresource = (*parts, "", "", "")[:3]
    whole = f"{resource}/{subresource}" if subresource else resource
    if method in VERBS:
        return Asked("dryrun" if query.get("dryRun") else VERBS[method], whole, name)
    if query.get("watch") in {"1", "true"}:
        return Asked("watch", whole, name)
    return Asked("get" if name or not resource else "list", whole, name)
