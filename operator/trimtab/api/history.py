"""What Trials taught, for another Experiment: a versioned ConfigMap that `warmStart.historyRef` names.

The ConfigMap's key `history.json` holds the stored Trials as they were, so nothing is lost on the way. Only Trials that
teach are in it. A history says where it comes from: a simulation, or an Experiment elsewhere, such as a staging copy.
It is no evidence of safety, so no assignment is held safe, verified or recommended for its sake.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import Field

from trimtab.api.base import Rule, StatusModel
from trimtab.api.convert_trial import trial_record
from trimtab.api.experiment_status import Id
from trimtab.api.problems import Unreadable, read
from trimtab.api.trial import TrialSpec, TrialStatus
from trimtab.domain import names
from trimtab.domain.errors import CorruptLedger, InvalidSpec
from trimtab.domain.kube import Manifest
from trimtab.domain.space import SearchSpace
from trimtab.domain.trial import Trial, TrialPhase

FORMAT: Final = "trimtab.dev/history/v1"
KEY: Final = "history.json"
SIMULATION: Final = "Simulation"
EXPERIMENT: Final = "Experiment"
TEACHING: Final = frozenset({TrialPhase.SUCCEEDED, TrialPhase.INFEASIBLE})
MOST_BYTES: Final = 1_000_000  # of a ConfigMap; the API server's own bound is 1 MiB
_METADATA = ("name", "namespace", "uid", "creationTimestamp")


class HistoryTrial(StatusModel):
    """A stored Trial without what a cluster adds."""

    metadata: dict[str, str] = Field(description="Name, namespace, uid and creation time of the Trial.")
    spec: TrialSpec = Field(description="As stored.")
    status: TrialStatus = Field(description="As stored.")


class HistoryDocument(StatusModel):
    """Content of the key `history.json`."""

    format: Literal["trimtab.dev/history/v1"] = Field(FORMAT, description="Version of this form.")
    source: Literal["Simulation", "Experiment"] = Field(description="Where the Trials ran.")
    safety_evidence: bool = Field(description="Whether the Trials may count as evidence of safety: never.")
    experiment: Id = Field(description="Name of the Experiment.")
    workload: Id = Field("", description="Simulation only: name and digest of the workload.")
    seed: int | None = Field(None, ge=0, description="Simulation only: its seed.")
    trials: tuple[HistoryTrial, ...] = Field(description="Trials that teach, by index.")

    RULES = (
        Rule(
            "!self.safetyEvidence",
            "safetyEvidence must be false; neither a model nor a copy of a service is a proof of the service",
            lambda m: not m.safety_evidence,
        ),
    )


@dataclass(frozen=True)
class History:
    """The same, read back."""

    source: str
    safety_evidence: bool
    experiment: str
    trials: tuple[Trial, ...]


def simulated_history(
    experiment: str, namespace: str, workload: str, seed: int, trials: Iterable[Manifest]
) -> dict[str, Any]:
    """The ConfigMap with a simulation's Trials.

    Raises:
        InvalidSpec: it would be larger than an API server takes.
    """
    about = {"experiment": experiment, "workload": workload, "seed": seed}
    return _config_map(SIMULATION, experiment, namespace, about, trials)


def experiment_history(experiment: str, namespace: str, trials: Iterable[Manifest]) -> dict[str, Any]:
    """The ConfigMap with an Experiment's stored Trials, for a namespace of another one.

    Raises:
        InvalidSpec: none of them teaches, or it would be larger than an API server takes.
    """
    return _config_map(EXPERIMENT, experiment, namespace, {"experiment": experiment}, trials)


def _config_map(
    source: str, experiment: str, namespace: str, about: Mapping[str, Any], trials: Iterable[Manifest]
) -> dict[str, Any]:
    taught = [t for t in trials if (t.get("status") or {}).get("phase") in TEACHING]
    if source == EXPERIMENT and not taught:
        raise InvalidSpec(f"Experiment {experiment}", "none of its trials was measured", "export it when some were")
    stored = [_stored(t) for t in sorted(taught, key=lambda t: int(t["spec"]["index"]))]
    document = {"format": FORMAT, "source": source, "safetyEvidence": False, **about, "trials": stored}
    text = json.dumps(document, sort_keys=True, indent=1, allow_nan=False)
    if len(text.encode()) > MOST_BYTES:
        problem = f"the history of {len(taught)} trials is larger than the {MOST_BYTES:,} bytes of a ConfigMap"
        raise InvalidSpec("spec.stopping.maxTrials", problem, "let it have fewer trials")
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": f"{experiment[:200]}-history",
            "namespace": namespace,
            "labels": {names.LABEL_MANAGED_BY: names.MANAGED_BY, names.LABEL_HISTORY_SOURCE: source},
        },
        "immutable": True,
        "data": {KEY: text + "\n"},
    }


def _stored(trial: Manifest) -> dict[str, Any]:
    metadata = {key: trial["metadata"][key] for key in _METADATA}
    spec = {**trial["spec"], "suggestion": {**trial["spec"]["suggestion"], "fitSeconds": 0.0, "searchSeconds": 0.0}}
    return {"metadata": metadata, "spec": spec, "status": trial["status"]}


def read_history(manifest: Mapping[str, Any], space: SearchSpace) -> History:
    """Read a history's ConfigMap; its Trials must be of this search space.

    Raises:
        InvalidSpec: it is not a history of a known version, or its parameters are others; says what to do.
    """
    where = f"ConfigMap {(manifest.get('metadata') or {}).get('name', '')}"
    try:
        content = json.loads((manifest.get("data") or {})[KEY])
        document = read(HistoryDocument, content, KEY)
        trials = tuple(_record(t, space) for t in content["trials"])
    except KeyError as error:
        raise InvalidSpec(where, f"has no key {error}", f"use a ConfigMap with the key {KEY}") from error
    except (ValueError, Unreadable, CorruptLedger) as error:
        raise InvalidSpec(where, f"is no history of the form {FORMAT}: {error}", "export it again") from error
    require_parameters(where, trials, space, "use a history of")
    return History(document.source, document.safety_evidence, document.experiment, trials)


def require_parameters(where: str, trials: Iterable[Trial], space: SearchSpace, remedy: str) -> None:
    """Refuse Trials of another search space.

    Raises:
        InvalidSpec: names the first of them; the remedy goes on with this space's parameters.
    """
    for trial in trials:
        if set(trial.assignment) != set(space.names):
            problem = f"trial {trial.index} has the parameters {', '.join(trial.assignment)}"
            raise InvalidSpec(where, problem, f"{remedy} {', '.join(space.names)}")


def _record(stored: Mapping[str, Any], space: SearchSpace) -> Trial:
    return trial_record({**stored, "metadata": {**stored["metadata"], "resourceVersion": "0"}}, space)
