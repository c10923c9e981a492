"""Manifests that the tests of the API start from."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

from trimtab.api.convert import parse_experiment
from trimtab.domain.space import SearchSpace

SHORTEST = Path(__file__).resolve().parents[3] / "examples" / "minimal" / "experiment.yaml"
_SHORTEST: dict[str, Any] = yaml.safe_load(SHORTEST.read_text())


def experiment() -> dict[str, Any]:
    """The shortest Experiment, as read from the API server."""
    manifest = copy.deepcopy(_SHORTEST)
    manifest["metadata"] |= {
        "namespace": "shop",
        "uid": "0f8fad5b-d9cb-469f-a165-70867728950e",
        "resourceVersion": "42",
        "generation": 3,
        "creationTimestamp": "2026-01-31T12:00:00Z",
    }
    return manifest


def space() -> SearchSpace:
    """Its search space."""
    return parse_experiment(_SHORTEST).space
