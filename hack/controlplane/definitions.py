"""CustomResourceDefinitions: read them from a folder, and wait until an API server serves them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

from controlplane.client import ApiClient, ApiError, Obj
from controlplane.waiting import wait_for


def read_definitions(folder: Path) -> list[Obj]:
    """The CustomResourceDefinitions in the YAML files of a folder."""
    import yaml  # only needed here

    documents = [d for path in sorted(folder.glob("*.y*ml")) for d in yaml.safe_load_all(path.read_text()) if d]
    return [d for d in documents if d["kind"] == "CustomResourceDefinition"]


def serve(client: ApiClient, definitions: Sequence[Obj], seconds: float = 30.0) -> list[str]:
    """Create or replace them and wait until they are served.

    Returns:
        their names.
    """
    for definition in definitions:
        client.apply(definition)
    for definition in definitions:
        name = str(definition["metadata"]["name"])
        wait_for(functools.partial(_is_served, client, name), f"the definition {name} to be served", seconds=seconds)
    return [str(definition["metadata"]["name"]) for definition in definitions]


def _is_served(client: ApiClient, definition: str) -> bool:
    found = client.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", definition)
    conditions = {item["type"]: item["status"] for item in (found.get("status") or {}).get("conditions") or []}
    if conditions.get("Established") != "True":
        return False
    group, plural = found["spec"]["group"], found["spec"]["names"]["plural"]
    served = [version["name"] for version in found["spec"]["versions"] if version["served"]]
    try:
        for version in served:
            client.request("GET", f"/apis/{group}/{version}/{plural}", query={"limit": "1"})
    except ApiError:
        return False
    return True
