"""The chart's rights on a control plane: everything that it renders but the operator's own pods."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from controlplane import ApiClient, ApiError, ControlPlane, ControlPlaneError
from stack.paths import CHART

NAMESPACED = frozenset({"ServiceAccount", "Role", "RoleBinding"})
CLUSTER_WIDE = ("ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy", "ClusterRoleBinding", "ClusterRole")
RELEASE = "trimtab"


@dataclass(frozen=True)
class Rights:
    """What was applied, and the name of the operator's ServiceAccount."""

    account: str
    documents: tuple[dict[str, Any], ...]

    def remove(self, client: ApiClient) -> None:
        """Delete what the namespace does not take with it: a policy that stays would answer other people's requests."""
        for document in self.documents:
            if document["kind"] in CLUSTER_WIDE:
                with contextlib.suppress(ApiError):
                    client.delete(document["apiVersion"], document["kind"], document["metadata"]["name"])


def render(helm: Path, namespace: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All objects of the chart.

    Raises:
        ControlPlaneError: helm's last line.
    """
    command = [str(helm), "template", RELEASE, str(CHART), "--namespace", namespace, "--values", "-"]
    done = subprocess.run(command, input=yaml.safe_dump(dict(values)), capture_output=True, text=True)
    if done.returncode:
        raise ControlPlaneError(f"helm template: {done.stderr.strip().splitlines()[-1]}")
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def install_rights(plane: ControlPlane, helm: Path, namespace: str, values: Mapping[str, Any]) -> Rights:
    """Apply the chart's ServiceAccounts and rights."""
    documents, rendered = [], render(helm, namespace, values)
    for document in rendered:
        if document["kind"] not in NAMESPACED | set(CLUSTER_WIDE):
            continue
        if (document["metadata"].get("annotations") or {}).get("helm.sh/hook"):
            continue
        if document["kind"] in NAMESPACED:
            document["metadata"].setdefault("namespace", namespace)
        plane.client.apply(document)
        documents.append(document)
    if not any(d["kind"] == "ServiceAccount" for d in documents):
        raise ControlPlaneError("the chart renders no ServiceAccount")
    operator = next(d for d in rendered if d["kind"] == "Deployment")
    return Rights(operator["spec"]["template"]["spec"]["serviceAccountName"], tuple(documents))
