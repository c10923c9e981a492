"""The chart's rights on a control plane: everything that it renders but the operator's own pods."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from controlplane import ControlPlane, ControlPlaneError
from stack.paths import CHART

RIGHTS = frozenset(
    {
        "ServiceAccount",
        "Role",
        "RoleBinding",
        "ClusterRole",
        "ClusterRoleBinding",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    }
)
RELEASE = "trimtab"


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


def install_rights(plane: ControlPlane, helm: Path, namespace: str, values: Mapping[str, Any]) -> str:
    """Apply the chart's ServiceAccount and rights; returns the ServiceAccount's name."""
    account = ""
    for document in render(helm, namespace, values):
        if document["kind"] not in RIGHTS:
            continue
        hooks = (document["metadata"].get("annotations") or {}).get("helm.sh/hook")
        if hooks:
            continue
        if document["kind"] in {"ServiceAccount", "Role", "RoleBinding"}:
            document["metadata"].setdefault("namespace", namespace)
        if document["kind"] == "ServiceAccount" and not account:
            account = document["metadata"]["name"]
        plane.client.apply(document)
    if not account:
        raise ControlPlaneError("the chart renders no ServiceAccount")
    return account
