"""Manifests that the tests of the API start from."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

from trimtab.api.convert import parse_experiment
from trimtab.domain.space import SearchSpace

ROOT = Path(__file__).resolve().parents[3]
SHORTEST = ROOT / "examples" / "minimal" / "experiment.yaml"
ONE_BOUND = ROOT / "tests" / "cluster" / "manifests" / "good" / "one-bound.yaml"
_ONE_BOUND: dict[str, Any] = yaml.safe_load(ONE_BOUND.read_text())


def experiment() -> dict[str, Any]:
    """An Experiment of one bound and no budget, as read from the API server."""
    manifest = copy.deepcopy(_ONE_BOUND)
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
    return parse_experiment(_ONE_BOUND).space
