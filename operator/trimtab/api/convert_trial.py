"""Trials, both ways: the POST of a new one, its status, and the row read back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from trimtab.api import assignment
from trimtab.api import trial as wire
from trimtab.api.kube_read import experiment_uid_of
from trimtab.api.problems import Unreadable, read
from trimtab.api.times import format_time, parse_time
from trimtab.domain import names
from trimtab.domain.errors import CorruptLedger, InvalidSpec
from trimtab.domain.kinds import EXPERIMENTS, TRIALS
from trimtab.domain.measurement import Ambiguous, Measurement, NoData, Reading, Sample, Stale, TelemetryError, Window
from trimtab.domain.space import SearchSpace
from trimtab.domain.trial import (
    BrokenTrial,
    Environment,
    EventDigest,
    Load,
    NodeTypes,
    Outcome,
    PhaseTimes,
    Prediction,
    Spent,
    StrayTrial,
    Suggestion,
    Trial,
)
from trimtab.ports import ExperimentRecord, NewTrial

_UNTIMED = ("fitSeconds", "searchSeconds")


def trial_manifest(experiment: ExperimentRecord, new: NewTrial) -> dict[str, Any]:
    """The body of the write-ahead POST. The same suggestion gives the same name and content digest."""
    space = experiment.spec.space if experiment.spec is not None else None
    spec = _write_spec(experiment, new, space).wire()
    return {
        "apiVersion": TRIALS.api_version,
        "kind": TRIALS.name,
        "metadata": {
            "name": names.trial_name(experiment.name, experiment.uid, new.index),
            "namespace": experiment.namespace,
            "labels": {
                names.LABEL_EXPERIMENT: experiment.name,
                names.LABEL_EXPERIMENT_UID: experiment.uid,
                names.LABEL_MANAGED_BY: names.MANAGED_BY,
            },
            "annotations": {names.ANNOTATION_DIGEST: _content_digest(spec)},
            "finalizers": [names.FINALIZER],
            "ownerReferences": [
                {
                    **EXPERIMENTS.reference(experiment.name, experiment.uid),
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": spec,
    }


def same_trial(stored: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
    """Whether a stored Trial is what this POST would have created, so that AlreadyExists is success.

    The immutable specs are compared, not annotations; how long fitting took does not matter.
    """
    return _content_digest(stored.get("spec", {})) == _content_digest(body["spec"])


def _content_digest(spec: Mapping[str, Any]) -> str:
    suggestion = {key: value for key, value in spec.get("suggestion", {}).items() if key not in _UNTIMED}
    content = json.dumps(_plain({**spec, "suggestion": suggestion}), sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _plain(value: Any) -> Any:
    """The API server may store 1.0 as 1: one spelling for both."""
    if isinstance(value, Mapping):
        return {key: _plain(child) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(child) for child in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _write_spec(experiment: ExperimentRecord, new: NewTrial, space: SearchSpace | None) -> wire.TrialSpec:
    suggestion, environment = new.suggestion, new.environment
    values = assignment.write(suggestion.assignment, space)
    return wire.TrialSpec(
        experiment=wire.ExperimentId(name=experiment.name, uid=experiment.uid),
        index=new.index,
        purpose=suggestion.purpose,
        assignment=values,
        summary=assignment.describe(values),
        seed=suggestion.seed,
        suggestion=wire.SuggestionWire(
            by_model=suggestion.by_model,
            safety_probability=suggestion.safety_probability,
            expected_load=suggestion.expected_load,
            usual_peak=suggestion.usual_peak,
            acquisition=suggestion.acquisition,
            predictions=tuple(
                wire.PredictionWire(constraint=p.constraint, mean=p.mean, sd=p.sd) for p in suggestion.predictions
            ),
            model_digest=suggestion.model_digest,
            fit_seconds=suggestion.fit_seconds,
            search_seconds=suggestion.search_seconds,
            reason=suggestion.reason,
            explores=suggestion.explores or None,
            beside=suggestion.beside or None,
        ),
        environment=wire.EnvironmentWire(
            template_hash=environment.template_hash,
            target_uid=environment.target_uid,
            image=environment.image,
            target_replicas=environment.target_replicas,
            kubernetes_version=environment.kubernetes_version,
        ),
        spec_digest=new.spec_digest,
        cost=new.cost,
    )


def trial_status(trial: Trial) -> dict[str, Any]:
    """The status of a Trial; what its immutable spec holds is not repeated."""
    status = wire.TrialStatus(
        phase=trial.phase,
        times=_write_times(trial.times),
        deadline=_write_moment(trial.deadline),
        window=_write_window(trial.window) if trial.window is not None else None,
        outcome=_write_outcome(trial.outcome),
        measurements=tuple(_write_measurement(m) for m in trial.measurements),
        load=tuple(_write_load(load) for load in trial.load),
        spent=tuple(_write_spent(s) for s in trial.spent),
        extended=trial.extended,
        evidence=trial.evidence,
        withdraw_seconds=trial.withdraw_seconds,
        node_types=tuple(wire.NodeTypesWire(arm=n.arm, types=n.types) for n in trial.node_types),
        events=tuple(wire.EventDigestWire(reason=e.reason, count=e.count, note=e.note) for e in trial.events),
        leader=trial.leader or None,
    )
    return status.wire()


def _write_spent(s: Spent) -> wire.SpentWire:
    return wire.SpentWire(
        sli=s.sli, bad=s.bad, total=s.total, unseen=s.unseen, rate=s.rate, until=_write_moment(s.until)
    )


def _write_moment(seconds: float | None) -> str | None:
    return format_time(seconds) if seconds is not None else None


def _write_times(times: PhaseTimes) -> wire.TimesWire:
    return wire.TimesWire(
        deploying=_write_moment(times.deploying),
        warming_up=_write_moment(times.warming_up),
        measuring=_write_moment(times.measuring),
        draining=_write_moment(times.draining),
        finished=_write_moment(times.finished),
    )


def _write_window(window: Window) -> wire.WindowWire:
    return wire.WindowWire(start=format_time(window.start), end=format_time(window.end))


def _write_outcome(outcome: Outcome | None) -> wire.OutcomeWire | None:
    if outcome is None:
        return None
    return wire.OutcomeWire(
        phase=outcome.phase,
        reason=outcome.reason or outcome.phase.value,
        message=outcome.message,
        subject=outcome.subject,
    )


def _write_measurement(m: Measurement) -> wire.MeasurementWire:
    base: dict[str, Any] = {"sli": m.sli, "arm": m.arm, "window": _write_window(m.window)}
    match m.reading:
        case Sample() as s:
            base["sample"] = wire.SampleWire(
                value=s.value, standard_error=s.standard_error, total=s.total, bad=s.bad,
                overdispersion=s.overdispersion, degrees=s.degrees, below=s.below,
            )  # fmt: skip
        case NoData(detail):
            base["no_data"] = wire.AbsentWire(detail=detail)
        case Ambiguous(detail):
            base["ambiguous"] = wire.AbsentWire(detail=detail)
        case Stale(detail, age):
            base["stale"] = wire.StaleWire(detail=detail, age=age)
        case TelemetryError(detail):
            base["telemetry_error"] = wire.AbsentWire(detail=detail)
    return wire.MeasurementWire(**base)


def broken_trial(manifest: Mapping[str, Any], problem: str) -> BrokenTrial:
    """What is known of a Trial that cannot be read."""
    metadata = manifest["metadata"]
    return BrokenTrial(
        name=metadata["name"],
        namespace=metadata["namespace"],
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        problem=problem,
        finalized=names.FINALIZER in metadata.get("finalizers", ()),
        deleting="deletionTimestamp" in metadata,
    )


def stray_trial(manifest: Mapping[str, Any]) -> StrayTrial:
    """What is known of a Trial whose Experiment is gone."""
    metadata = manifest["metadata"]
    where = metadata["name"], metadata["namespace"], metadata["uid"], metadata["resourceVersion"]
    return StrayTrial(*where, experiment_uid_of(manifest))


TrialParts = tuple[wire.TrialSpec, wire.TrialStatus]
"""A Trial's spec and status, read, and not yet put together."""


def trial_parts(manifest: Mapping[str, Any]) -> TrialParts:
    """Spec and status by themselves: that they fit takes most of the work, and has nothing to do with the space.

    Raises:
        Unreadable: one does not fit.
    """
    spec = read(wire.TrialSpec, manifest.get("spec"), "spec")
    return spec, read(wire.TrialStatus, manifest.get("status") or {}, "status")


def trial_record(
    manifest: Mapping[str, Any],
    space: SearchSpace | None = None,
    parts: Callable[[Mapping[str, Any]], TrialParts] = trial_parts,
) -> Trial:
    """A Trial as read; `space` (of its Experiment) tells categories from numbers and may be left out while all
    parameters are numeric. `parts` reads its parts, or remembers them.

    Raises:
        CorruptLedger: its content cannot be read; names the Trial and the field.
    """
    metadata = manifest.get("metadata", {})
    where = f"Trial {metadata.get('namespace', '')}/{metadata.get('name', '')}"
    try:
        return _trial(metadata, *parts(manifest), space)
    except (Unreadable, InvalidSpec, KeyError, ValueError) as error:
        raise CorruptLedger(f"{where} cannot be read: {error}") from error


def _trial(
    metadata: Mapping[str, Any], spec: wire.TrialSpec, status: wire.TrialStatus, space: SearchSpace | None
) -> Trial:
    return Trial(
        name=metadata["name"],
        namespace=metadata["namespace"],
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        experiment_uid=spec.experiment.uid,
        experiment_name=spec.experiment.name,
        index=spec.index,
        suggestion=_suggestion(spec, space),
        spec_digest=spec.spec_digest,
        environment=Environment(
            spec.environment.template_hash,
            spec.environment.target_uid,
            spec.environment.image,
            spec.environment.target_replicas,
            spec.environment.kubernetes_version,
        ),
        phase=status.phase,
        times=_times(parse_time(metadata["creationTimestamp"]), status.times),
        deadline=_moment(status.deadline),
        window=_window(status.window) if status.window is not None else None,
        outcome=_outcome(status.outcome),
        measurements=tuple(Measurement(m.sli, m.arm, _window(m.window), _reading(m)) for m in status.measurements),
        load=tuple(Load(x.arm, x.rps_per_pod, None, x.pods, x.pods_error, x.use, x.use_error) for x in status.load),
        spent=tuple(Spent(s.sli, s.bad, s.total, s.unseen, s.rate, _moment(s.until)) for s in status.spent),
        cost=spec.cost,
        extended=status.extended,
        evidence=status.evidence,
        withdraw_seconds=status.withdraw_seconds,
        node_types=tuple(NodeTypes(n.arm, n.types) for n in status.node_types),
        events=tuple(EventDigest(e.reason, e.count, e.note) for e in status.events),
        finalized=names.FINALIZER in metadata.get("finalizers", ()),
        deleting="deletionTimestamp" in metadata,
        leader=status.leader or "",
    )


def _suggestion(spec: wire.TrialSpec, space: SearchSpace | None) -> Suggestion:
    given = spec.suggestion
    return Suggestion(
        assignment=assignment.read(spec.assignment, space),
        purpose=spec.purpose,
        seed=spec.seed,
        by_model=given.by_model,
        safety_probability=given.safety_probability,
        acquisition=given.acquisition,
        predictions=tuple(Prediction(p.constraint, p.mean, p.sd) for p in given.predictions),
        model_digest=given.model_digest,
        fit_seconds=given.fit_seconds,
        search_seconds=given.search_seconds,
        reason=given.reason,
        explores=bool(given.explores),
        beside=given.beside or (),
        expected_load=given.expected_load,
        usual_peak=given.usual_peak,
    )


def _moment(text: str | None) -> float | None:
    return parse_time(text) if text is not None else None


def _window(window: wire.WindowWire) -> Window:
    return Window(parse_time(window.start), parse_time(window.end))


def _times(created: float, times: wire.TimesWire | None) -> PhaseTimes:
    if times is None:
        return PhaseTimes(created)
    return PhaseTimes(
        created,
        _moment(times.deploying),
        _moment(times.warming_up),
        _moment(times.measuring),
        _moment(times.draining),
        _moment(times.finished),
    )


def _outcome(outcome: wire.OutcomeWire | None) -> Outcome | None:
    if outcome is None:
        return None
    return Outcome(outcome.phase, outcome.reason, outcome.message, outcome.subject)


def _reading(m: wire.MeasurementWire) -> Reading:
    if m.sample is not None:
        s = m.sample
        return Sample(s.value, s.standard_error, s.total, s.bad, s.overdispersion, s.degrees, s.below)
    if m.stale is not None:
        return Stale(m.stale.detail, m.stale.age)
    if m.ambiguous is not None:
        return Ambiguous(m.ambiguous.detail)
    if m.telemetry_error is not None:
        return TelemetryError(m.telemetry_error.detail)
    return NoData(m.no_data.detail if m.no_data is not None else "")


def _write_load(load: Load) -> wire.LoadWire:
    return wire.LoadWire(
        arm=load.arm,
        rps_per_pod=load.rps_per_pod,
        pods=load.pods,
        pods_error=load.pods_error,
        use=load.use,
        use_error=load.use_error,
    )
