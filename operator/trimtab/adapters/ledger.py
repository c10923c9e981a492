"""The Ledger over any Cluster: Experiments' status and Trials, each write with the resourceVersion that was read.

What was not read in this pass is not known: every answer is the API server's. Only the work of parsing is remembered,
by uid and resourceVersion, since the same version of an object says the same. A status is written as its own
subresource with no spec in the body, so that a write can never carry an old spec back.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import replace
from typing import Any

from trimtab.api import convert
from trimtab.api.kube_read import experiment_uid_of
from trimtab.domain.errors import AlreadyExists, Conflict, CorruptLedger
from trimtab.domain.kinds import EXPERIMENTS, TRIALS, Kind
from trimtab.domain.kube import Manifest
from trimtab.domain.names import FINALIZER, LABEL_EXPERIMENT
from trimtab.domain.remembered import Remembered, version_of
from trimtab.domain.space import SearchSpace
from trimtab.domain.state import ExperimentState
from trimtab.domain.trial import BrokenTrial, StrayTrial, Trial, TrialRows
from trimtab.ports import Cluster, ExperimentRecord, NewTrial


class Parsed:
    """What was parsed, by uid and resourceVersion, of Experiments that there are. The ledgers of one process share it:
    what one of them writes, the other reads next."""

    def __init__(self) -> None:
        self.experiments: Remembered[ExperimentRecord] = Remembered()
        self.parts: Remembered[convert.TrialParts] = Remembered()
        self.trials: Remembered[Trial] = Remembered()  # with a search space, and without

    def keep_only(self, experiment_uids: Set[str]) -> None:
        """Forget Experiments that are gone, and their Trials."""
        for each in (self.experiments, self.parts, self.trials):
            each.keep_only(experiment_uids)


class KubernetesLedger:
    """Implements `trimtab.ports.Ledger`."""

    def __init__(self, cluster: Cluster, parsed: Parsed | None = None) -> None:
        self._cluster = cluster
        self._parsed = parsed or Parsed()

    async def experiment(self, namespace: str, name: str) -> ExperimentRecord:
        """Read one Experiment."""
        return self._experiment(await self._cluster.get(EXPERIMENTS, namespace, name))

    async def trials(self, experiment: ExperimentRecord) -> TrialRows:
        """The Trials of this very Experiment; those of an earlier one of the same name are not its own."""
        stored = await self._named(experiment.namespace, experiment.name)
        own = (each for each in stored if experiment_uid_of(each) == experiment.uid)
        found = [self._row(each, _space(experiment)) for each in own]
        readable = (t for t in found if isinstance(t, Trial) and t.experiment_uid == experiment.uid)
        broken = (t for t in found if isinstance(t, BrokenTrial))
        by_index, by_name = sorted(readable, key=lambda t: t.index), sorted(broken, key=lambda t: t.name)
        return TrialRows(tuple(by_index), tuple(by_name), _held(stored, alive=experiment.uid))

    async def strays(self, namespace: str, name: str) -> tuple[StrayTrial, ...]:
        """Trials that are held for an Experiment of this name, of which there is none."""
        return _held(await self._named(namespace, name))

    async def _named(self, namespace: str, name: str) -> tuple[Manifest, ...]:
        return await self._cluster.list(TRIALS, namespace, labels=f"{LABEL_EXPERIMENT}={name}")

    async def trial(self, namespace: str, name: str) -> Trial:
        """Read one Trial. Its phase and identity are exact; a category that looks like a number reads as one, since
        only the Experiment's search space tells them apart."""
        return self._trial(await self._cluster.get(TRIALS, namespace, name))

    async def create_trial(self, experiment: ExperimentRecord, new: NewTrial) -> Trial:
        """The write-ahead of everything that a trial does.

        Raises:
            AlreadyExists: another Trial has this name: of another Experiment's uid, or with other content.
        """
        body = convert.trial_manifest(experiment, new)
        name = str(body["metadata"]["name"])
        try:
            stored = await self._cluster.create(TRIALS, experiment.namespace, body)
        except AlreadyExists:
            stored = await self._cluster.get(TRIALS, experiment.namespace, name)
            if not convert.same_trial(stored, body):
                raise AlreadyExists(409, f"Trial {experiment.namespace}/{name} exists with another content") from None
        return self._trial(stored, _space(experiment))

    async def write_trial(self, trial: Trial) -> Trial:
        """Write a Trial's status."""
        body = _status_body(TRIALS, trial.namespace, trial.name, trial.uid, trial.resource_version)
        body["status"] = convert.trial_status(trial)
        stored = await self._cluster.replace(TRIALS, trial.namespace, trial.name, body, subresource="status")
        return replace(self._trial(stored), suggestion=trial.suggestion)

    async def finalize_trial(self, trial: Trial, present: bool) -> Trial:
        """Add or remove our finalizer on a Trial."""
        stored = await self._finalize(TRIALS, trial.namespace, trial.name, trial.resource_version, present)
        return replace(self._trial(stored), suggestion=trial.suggestion)

    async def let_go(self, trial: BrokenTrial | StrayTrial) -> None:
        """Remove our finalizer from a Trial that cannot be read, or whose Experiment is gone."""
        await self._finalize(TRIALS, trial.namespace, trial.name, trial.resource_version, False)

    async def write_state(self, experiment: ExperimentRecord, state: ExperimentState) -> ExperimentRecord:
        """Write an Experiment's status."""
        name, namespace = experiment.name, experiment.namespace
        body = _status_body(EXPERIMENTS, namespace, name, experiment.uid, experiment.resource_version)
        body["status"] = convert.experiment_status(experiment, state)
        stored = await self._cluster.replace(EXPERIMENTS, namespace, name, body, subresource="status")
        return self._experiment(stored)

    async def finalize_experiment(self, experiment: ExperimentRecord, present: bool) -> ExperimentRecord:
        """Add or remove our finalizer on an Experiment."""
        name, namespace = experiment.name, experiment.namespace
        stored = await self._finalize(EXPERIMENTS, namespace, name, experiment.resource_version, present)
        return self._experiment(stored)

    def _experiment(self, manifest: Manifest) -> ExperimentRecord:
        uid, version = version_of(manifest)
        known = self._parsed.experiments
        return known.known((uid,), version, lambda before: convert.experiment_record(manifest, before))

    def _trial(self, manifest: Manifest, space: SearchSpace | None = None) -> Trial:
        uid, version = version_of(manifest)
        key = (experiment_uid_of(manifest), uid, "without" if space is None else "with")
        return self._parsed.trials.known(
            key, (version, space), lambda _: convert.trial_record(manifest, space, self._parts)
        )

    def _parts(self, manifest: Manifest) -> convert.TrialParts:
        uid, version = version_of(manifest)
        return self._parsed.parts.known(
            (experiment_uid_of(manifest), uid), version, lambda _: convert.trial_parts(manifest)
        )

    def _row(self, manifest: Manifest, space: SearchSpace | None) -> Trial | BrokenTrial:
        try:
            return self._trial(manifest, space)
        except CorruptLedger as error:
            return convert.broken_trial(manifest, str(error))

    async def _finalize(self, kind: Kind, namespace: str, name: str, version: str, present: bool) -> Manifest:
        """Read the whole object, since a PUT replaces it whole, and write it back with the finalizers changed."""
        current = await self._cluster.get(kind, namespace, name)
        metadata: dict[str, Any] = dict(current["metadata"])
        if metadata["resourceVersion"] != version:
            raise Conflict(409, f"{kind.name} {namespace}/{name} was changed since it was read")
        finalizers = list(metadata.get("finalizers") or ())
        if (FINALIZER in finalizers) == present:
            return current
        metadata["finalizers"] = [f for f in finalizers if f != FINALIZER] + ([FINALIZER] if present else [])
        return await self._cluster.replace(kind, namespace, name, {**current, "metadata": metadata})


def _held(trials: Iterable[Manifest], alive: str = "") -> tuple[StrayTrial, ...]:
    """Those of them that wait for us, but for the Experiment that is alive."""
    held = (each for each in trials if FINALIZER in (each["metadata"].get("finalizers") or ()))
    strays = (convert.stray_trial(each) for each in held)
    return tuple(stray for stray in strays if not alive or stray.experiment_uid != alive)


def _space(experiment: ExperimentRecord) -> SearchSpace | None:
    return experiment.spec.space if experiment.spec is not None else None


def _status_body(kind: Kind, namespace: str, name: str, uid: str, version: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "uid": uid, "resourceVersion": version}
    return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata}


__all__ = ["KubernetesLedger", "Parsed"]
