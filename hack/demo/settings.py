"""The demo's Experiment: the example's, in windows of seconds instead of minutes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from stack.paths import EXAMPLES

NAMESPACE = "shop"
EXPERIMENT = "web"
# Just before the busiest minute of the workload's day: five minutes can only show what is safe at the load they see.
BUSIEST = "2026-03-04T13:58"
SHORT_WINDOWS: dict[str, dict[str, Any]] = {
    "trial": {"warmUp": "2s", "duration": "7s", "deadline": "90s"},
    "safety": {"probabilityPercent": "95", "checkInterval": "1s", "staleAfter": "6s"},
    "verification": {"duration": "7s", "replicates": 2},
    "stopping": {"maxTrials": 12},
}


@dataclass(frozen=True)
class DemoOptions:
    """What the command line says."""

    seed: int = 1
    keep: bool = False
    plain: bool = False


def experiment(seed: int) -> dict[str, Any]:
    """The example's manifest with short windows and a seed."""
    manifest: dict[str, Any] = yaml.safe_load((EXAMPLES / "web-service" / "experiment.yaml").read_text())
    manifest["metadata"]["namespace"] = NAMESPACE
    spec = manifest["spec"]
    for section, values in SHORT_WINDOWS.items():
        spec[section] = {**spec.get(section, {}), **values}
    spec["search"]["seed"] = seed
    for constraint in spec["constraints"]:  # a window of seven seconds has room for three safety windows at most
        constraint["abort"] = {"breaches": 2, "outOf": 3}
    return manifest
