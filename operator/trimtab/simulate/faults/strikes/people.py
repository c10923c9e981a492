"""What people do to Experiments, Trials and arms, and what they ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trimtab.domain import kinds
from trimtab.domain.kinds import Kind
from trimtab.domain.kube import Manifest
from trimtab.domain.measurement import Arm
from trimtab.domain.names import LABEL_ARM, arm_name
from trimtab.simulate.faults.kinds import FaultKind
from trimtab.simulate.faults.plan import Fault
from trimtab.simulate.faults.stage import Heal, Stage, by_hand
from trimtab.simulate.frozen import thawed

K = FaultKind
RIVAL = "rival"
BROKEN: dict[str, dict[str, Any]] = {
    "unknownPhase": {"phase": "Quiescing"},
    "badTime": {"started": "yesterday", "times": {"deploying": "yesterday"}},
    "badNumber": {"trialsCreated": "many", "window": {"start": 3, "end": None}},
}


def _experiment_deleted(stage: Stage, fault: Fault) -> None:
    absent = fault.number("operatorAbsent")
    if absent > 0:
        stage.fleet.absent(absent)
    with by_hand(stage):
        stage.world.admin.delete(kinds.EXPERIMENTS, stage.namespace, stage.experiment)


NEW_YEAR = {"cron": "0 0 1 1 *", "duration": "1m"}
_EDITS: dict[str, Callable[[dict[str, Any]], object]] = {
    "paused": lambda spec: spec.update(paused=True),
    "constraint": lambda spec: spec["constraints"][0].update(max="0.045"),
    "stopping": lambda spec: spec["stopping"].update(maxTrials=int(spec["stopping"]["maxTrials"]) + 1),
    "safety": lambda spec: spec["safety"].update(checkInterval="2s"),
    "budget": lambda spec: spec["errorBudgets"][0].update(experimentSharePercent="40"),
    "trial": lambda spec: spec["trial"].update(duration="7s"),
    "schedule": lambda spec: spec.update(schedule={"windows": [NEW_YEAR], "onClose": "Withdraw"}),
}


def _spec_edited(stage: Stage, fault: Fault) -> Heal:
    """Another value for a while; then the old one again, of that field alone."""
    field, saved = fault.text("field"), stage.world.experiment(stage.experiment)

    def edit(change: Callable[[dict[str, Any]], object]) -> None:
        with by_hand(stage):
            stage.world.admin.edit(
                kinds.EXPERIMENTS, stage.namespace, stage.experiment, lambda body: change(body["spec"])
            )

    edit(_EDITS[field])

    def heal() -> None:
        section = {"constraint": "constraints", "budget": "errorBudgets"}.get(field, field)
        old = saved["spec"].get(section) if saved is not None else None
        if old is not None:
            edit(lambda spec: spec.update({section: thawed(old)}))
        elif saved is not None:
            edit(lambda spec: spec.pop(section, None))

    return heal


def _trial_deleted(stage: Stage, fault: Fault) -> None:
    trials = stage.world.trials(stage.experiment)
    chosen = stage.live() if fault.text("which") == "live" else trials[0] if trials else None
    if chosen is None:
        return
    name = chosen["metadata"]["name"]
    with by_hand(stage):
        stage.world.admin.delete(kinds.TRIALS, stage.namespace, name)
        if fault.text("finalizer") == "removed":
            stage.world.admin.edit(
                kinds.TRIALS, stage.namespace, name, lambda body: body["metadata"].pop("finalizers", None)
            )


def _arm_deleted(stage: Stage, fault: Fault) -> None:
    with by_hand(stage):
        for name in stage.arms(fault.text("of")):
            stage.world.admin.delete(kinds.DEPLOYMENTS, stage.namespace, name)


def _arm_edited(stage: Stage, fault: Fault) -> None:
    with by_hand(stage):
        for name in stage.arms(fault.text("of")):
            stage.world.admin.roll(stage.namespace, name, "web:edited-by-hand")


def _arm_name_taken(stage: Stage, fault: Fault) -> Heal | None:
    """A Deployment of somebody else under the name that the next trial's arm will have; no arm, by its labels."""
    experiment = stage.world.experiment(stage.experiment)
    target = stage.world.admin.find(kinds.DEPLOYMENTS, stage.namespace, stage.target)
    if experiment is None or target is None:
        return None
    _, last = stage.where()
    live = stage.live()
    index = int(live["spec"]["index"]) if live is not None else last + 1
    uid, of = experiment["metadata"]["uid"], fault.text("of")
    arms = [arm for arm in (Arm.CANARY, Arm.CONTROL) if of in ("arms", arm.value)]
    names = [arm_name(uid, index, arm) for arm in arms]
    made = [name for name in names if _foreign(stage, name)]

    def heal() -> None:
        for name in made:
            found = stage.world.admin.find(kinds.DEPLOYMENTS, stage.namespace, name)
            if found is not None and LABEL_ARM not in (found["metadata"].get("labels") or {}):
                with by_hand(stage):
                    stage.world.admin.delete(kinds.DEPLOYMENTS, stage.namespace, name)

    return heal


def _foreign(stage: Stage, name: str) -> bool:
    labels = {"app": "somebody-elses"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "other:1"}]}}
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": labels}, "spec": spec}
    with by_hand(stage):
        stage.world.admin.apply(body, stage.namespace)
        return True
    return False


def _second_experiment(stage: Stage, fault: Fault) -> Heal | None:
    del fault
    first = stage.world.experiment(stage.experiment)
    if first is None or stage.world.experiment(RIVAL) is not None:
        return None
    body = {"apiVersion": first["apiVersion"], "kind": "Experiment", "metadata": {"name": RIVAL}, "spec": first["spec"]}
    with by_hand(stage):
        stage.world.admin.apply(thawed(body), stage.namespace)

    def heal() -> None:
        with by_hand(stage):
            stage.world.admin.delete(kinds.EXPERIMENTS, stage.namespace, RIVAL)

    return heal


def _status_corrupted(stage: Stage, fault: Fault) -> Heal | None:
    """A person's slip with kubectl, or a newer version's idea; later somebody puts back what was there."""
    of_trial = fault.text("of") == "trial"
    kind = kinds.TRIALS if of_trial else kinds.EXPERIMENTS
    trials = stage.world.trials(stage.experiment)
    found = (stage.live() or (trials[-1] if trials else None)) if of_trial else stage.world.experiment(stage.experiment)
    if found is None or not found.get("status"):
        return None
    before, name = found["status"], found["metadata"]["name"]
    broken = {**before, **{k: v for k, v in BROKEN[fault.text("form")].items() if k in before or k == "phase"}}
    _write_status(stage, kind, name, broken)

    def heal() -> None:
        now = stage.world.admin.find(kind, stage.namespace, name)
        if now is not None and now.get("status") == broken:
            _write_status(stage, kind, name, before)

    return heal


def _write_status(stage: Stage, kind: Kind, name: str, status: Manifest) -> None:
    with stage.hand():
        stage.world.cluster.objects.set_status(kind, stage.namespace, name, thawed(status))


def _annotated(key: str, value: Callable[[Stage, Fault], str]) -> Callable[[Stage, Fault], Heal]:
    """An annotation on the Experiment, for a while."""

    def strike(stage: Stage, fault: Fault) -> Heal:
        def annotate(text: str | None) -> None:
            with by_hand(stage):
                stage.world.admin.annotate(kinds.EXPERIMENTS, stage.namespace, stage.experiment, **{key: text})

        annotate(value(stage, fault))
        return lambda: annotate(None)

    return strike


def _namespace_paused(stage: Stage, fault: Fault) -> Heal:
    del fault

    def annotate(text: str | None) -> None:
        with by_hand(stage):
            stage.world.admin.annotate(kinds.NAMESPACES, None, stage.namespace, pause=text)

    annotate("anna: maintenance")
    return lambda: annotate(None)


def _digest(stage: Stage, fault: Fault) -> str:
    found = stage.world.experiment(stage.experiment)
    recommended = ((found or {}).get("status") or {}).get("recommendation") or {}
    return str(recommended.get("digest", "none")) if fault.text("digest") == "right" else "0123456789ab"


def _live_name(stage: Stage, fault: Fault) -> str:
    del fault
    live = stage.live()
    return str(live["metadata"]["name"]) if live is not None else "none"


PEOPLE: dict[FaultKind, Callable[[Stage, Fault], Heal | None]] = {
    K.EXPERIMENT_DELETED: _experiment_deleted,
    K.SPEC_EDITED: _spec_edited,
    K.TRIAL_DELETED: _trial_deleted,
    K.ARM_DELETED: _arm_deleted,
    K.ARM_EDITED: _arm_edited,
    K.ARM_NAME_TAKEN: _arm_name_taken,
    K.SECOND_EXPERIMENT: _second_experiment,
    K.STATUS_CORRUPTED: _status_corrupted,
    K.PAUSE_ASKED: _annotated("pause", lambda *_: "anna: incident 4711"),
    K.ROLLBACK_ASKED: _annotated("rollback", lambda *_: "anna: roll it back"),
    K.SKIP_ASKED: _annotated("skip", _live_name),
    K.APPROVE_ASKED: _annotated("approve", _digest),
    K.NAMESPACE_PAUSED: _namespace_paused,
    K.ANNOTATION_MISSPELT: _annotated("pauze", lambda *_: "anna: stop"),
}
