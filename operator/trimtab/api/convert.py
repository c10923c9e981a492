"""Wire to domain and back, once: the functions that everything else calls.

A manifest that cannot be understood still gives a record: it says why, in `problem` or `state_problem`, so that the
caller can tell the user instead of failing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trimtab.api.convert_spec import parse_spec
from trimtab.api.convert_status import read_state, write_state
from trimtab.api.convert_trial import (
    TrialParts,
    broken_trial,
    same_trial,
    stray_trial,
    trial_manifest,
    trial_parts,
    trial_record,
    trial_status,
)
from trimtab.api.problems import Unreadable
from trimtab.api.times import parse_time
from trimtab.domain import names
from trimtab.domain.errors import InvalidSpec, NotYetSupported
from trimtab.domain.spec import ExperimentSpec
from trimtab.domain.state import ExperimentState
from trimtab.ports import ExperimentRecord

OUR_ANNOTATIONS = f"{names.GROUP}/"
UNKNOWN_MANAGER = "unknown"


def parse_experiment(manifest: Mapping[str, Any]) -> ExperimentSpec:
    """The spec of a manifest in the domain's form.

    Raises:
        InvalidSpec: a person must change the manifest; names the field and the remedy.
        NotYetSupported: a valid field whose behaviour this version does not have.
    """
    return parse_spec(manifest.get("spec"))


def experiment_record(manifest: Mapping[str, Any], before: ExperimentRecord | None = None) -> ExperimentRecord:
    """An Experiment as read from the API server; never raises for what a user wrote into it.

    `before` is an earlier reading of the same object: while the generation is the same, so is the spec.
    """
    metadata: Mapping[str, Any] = manifest["metadata"]
    if before is not None and before.generation == metadata.get("generation") and before.uid == metadata["uid"]:
        spec, reason, problem = before.spec, before.problem_reason, before.problem
    else:
        spec, reason, problem = _spec(manifest)
    state, state_problem = _state(manifest, spec)
    annotations = _annotations(metadata)
    return ExperimentRecord(
        name=metadata["name"],
        namespace=metadata["namespace"],
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        generation=metadata.get("generation", 0),
        created=parse_time(metadata["creationTimestamp"]),
        deleting="deletionTimestamp" in metadata,
        finalized=names.FINALIZER in metadata.get("finalizers", ()),
        annotations=annotations,
        annotation_managers=annotation_managers(metadata, tuple(key for key, _ in annotations)),
        spec=spec,
        problem_reason=reason,
        problem=problem,
        state=state,
        state_problem=state_problem,
    )


def experiment_status(record: ExperimentRecord, state: ExperimentState) -> dict[str, Any]:
    """The status to write for this state."""
    return write_state(state, record.spec)


def annotation_managers(metadata: Mapping[str, Any], keys: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Which field manager set each annotation last; managers name tools, not people."""
    found: dict[str, tuple[str, str]] = {}
    for entry in metadata.get("managedFields", ()):
        fields = entry.get("fieldsV1", {}).get("f:metadata", {}).get("f:annotations", {})
        for key in keys:
            candidate = (entry.get("time", ""), entry.get("manager", UNKNOWN_MANAGER))
            if f"f:{key}" in fields and candidate >= found.get(key, ("", "")):
                found[key] = candidate
    return tuple((key, found[key][1] if key in found else UNKNOWN_MANAGER) for key in keys)


def _annotations(metadata: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    given = metadata.get("annotations") or {}
    return tuple(sorted((key, value) for key, value in given.items() if key.startswith(OUR_ANNOTATIONS)))


def _spec(manifest: Mapping[str, Any]) -> tuple[ExperimentSpec | None, str, str]:
    try:
        return parse_experiment(manifest), "", ""
    except InvalidSpec as error:
        return None, "InvalidSpec", str(error)
    except NotYetSupported as error:
        return None, "NotYetSupported", str(error)


def _state(manifest: Mapping[str, Any], spec: ExperimentSpec | None) -> tuple[ExperimentState | None, str]:
    try:
        return read_state(manifest.get("status"), spec.space if spec is not None else None), ""
    except Unreadable as error:
        return None, str(error)


__all__ = [
    "TrialParts",
    "annotation_managers",
    "broken_trial",
    "experiment_record",
    "experiment_status",
    "parse_experiment",
    "same_trial",
    "stray_trial",
    "trial_manifest",
    "trial_parts",
    "trial_record",
    "trial_status",
]
