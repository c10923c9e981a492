"""What a simulation needs, from the files of a user: the Experiment, its target's manifests, the workload.

Everything that a person has to change is said here, before anything runs, in one line with field and remedy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Final

import numpy as np

from trimtab.api.convert import parse_experiment
from trimtab.api.kube import autoscalers_around, target_from
from trimtab.api.times import format_time
from trimtab.control.preflight_queries import check_queries
from trimtab.domain.errors import InvalidSpec
from trimtab.domain.kinds import DEPLOYMENTS, HORIZONTAL_POD_AUTOSCALERS, SERVICES
from trimtab.domain.spec import ExperimentSpec
from trimtab.simulate.clock import EPOCH
from trimtab.simulate.manifests import manifests_for
from trimtab.simulate.objects import BY_NAME
from trimtab.simulate.releases import Versions, check_releases
from trimtab.simulate.results import Inputs
from trimtab.simulate.scaling import Period
from trimtab.simulate.traffic import Scraping
from trimtab.simulate.truth import Truth
from trimtab.workload import OfferedLoad, WorkloadSpec, parse_workload
from trimtab.workload.load import DAY_S

Manifest = dict[str, Any]

START: Final = EPOCH + 9 * 3600.0
"""A Monday at nine, UTC: load follows the hour and the day, so a simulation begins at a fixed one."""
SCRAPE_S: Final = 15.0
"""Seconds between scrapes of a pod."""
PAST_DAYS: Final = 30.0
"""How far back the store's memory goes: the longest window of an error budget."""
NAMESPACE: Final = "default"
SAMPLE_S: Final = 300.0


@dataclass(frozen=True)
class Scenario:
    """One Experiment to simulate; everything that its result depends on. Times are unix seconds.

    `objects` are the manifests that exist beside the Experiment: the Deployment, its Service and what else was given.
    `text` is the workload file, `workload` what it says, with this scenario's seed.
    """

    experiment: Manifest
    objects: tuple[Manifest, ...]
    text: str
    workload: WorkloadSpec
    seed: int
    days: float
    start: float = START
    scrape: float = SCRAPE_S
    past_days: float = PAST_DAYS
    past_step: float = Scraping.past_step

    def __getstate__(self) -> dict[str, Any]:
        """Without what was worked out from it: that is done anew in another process."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @property
    def name(self) -> str:
        return str(self.experiment["metadata"]["name"])

    @property
    def namespace(self) -> str:
        return str(self.experiment["metadata"]["namespace"])

    @cached_property
    def spec(self) -> ExperimentSpec:
        return parse_experiment(self.experiment)

    @property
    def end(self) -> float:
        return self.start + self.days * DAY_S

    @cached_property
    def truth(self) -> Truth:
        """The noise-free model of it.

        Raises:
            InvalidSpec: Experiment, Deployment and workload do not fit together.
        """
        deployment = next(o for o in self.objects if o["kind"] == DEPLOYMENTS.name and _named(o, self.spec.target.name))
        deployment = {**deployment, "metadata": {"uid": "", **deployment["metadata"]}}
        target = target_from(deployment)
        autoscalers = [o for o in self.objects if o["kind"] == HORIZONTAL_POD_AUTOSCALERS.name]
        period = Period(self.start, self.end)
        made = Truth(self.spec, target, self.workload, autoscalers_around(target, autoscalers), period)
        if len(made.questions) and made.baseline:
            made.resources(made.baseline)
        made.scaling  # noqa: B018 - raises what nothing answers
        return made

    @cached_property
    def versions(self) -> Versions:
        """The same for each release of the service.

        Raises:
            InvalidSpec: as `truth`.
        """
        return Versions.of_target(self.truth)

    @cached_property
    def offered(self) -> OfferedLoad:
        """The load of the whole service."""
        return OfferedLoad.of(self.workload)

    @cached_property
    def peak_rps(self) -> float:
        """The highest load of the horizon without noise, crowds of one day and arms: per pod of the target, or as
        `Truth.whole` says."""
        times = np.arange(self.start, self.end + SAMPLE_S, SAMPLE_S)
        highest = max(self.offered.expected(float(t)) for t in times)
        return highest if self.truth.whole else highest / self.truth.target.replicas

    def inputs(self, faults: str = "") -> Inputs:
        """What the result depends on, as it is printed."""
        return Inputs(
            experiment=f"{self.namespace}/{self.name}",
            spec_digest=self.spec.digest,
            workload=self.workload.name,
            workload_digest=parse_workload(self.text).digest,
            seed=self.seed,
            days=self.days,
            start=format_time(self.start),
            scrape_interval=self.scrape,
            faults=faults,
        )

    def with_seed(self, seed: int) -> Scenario:
        """The same under other noise: the seed is that of the counts, of the load and of the search."""
        return replace(
            self,
            seed=seed,
            experiment=_seeded(self.experiment, seed),
            workload=self.workload.model_copy(update={"seed": seed}),
        )


def scenario(
    experiment: Mapping[str, Any],
    others: Iterable[Mapping[str, Any]],
    text: str,
    *,
    source: str = "workload",
    seed: int | None,
    days: float,
    start: float = START,
    scrape: float = SCRAPE_S,
) -> Scenario:
    """A scenario that fits together; `others` are further documents of the user's files, `text` the workload file.

    Raises:
        WorkloadError: the workload file cannot be used; names `source`.
        InvalidSpec: names the field and the remedy.
        NotYetSupported: the Experiment asks for what this version does not have.
    """
    metadata = {"namespace": NAMESPACE, **experiment["metadata"]}
    placed = {**experiment, "metadata": metadata}
    placed.pop("status", None)
    spec = parse_experiment(placed)
    check_queries(spec)
    workload = parse_workload(text, source)
    target, played = spec.target.name, workload.target.deployment
    if target != played:
        problem = f"is {target}, but the workload {workload.name} plays the Deployment {played}"
        raise InvalidSpec("spec.targetRef.name", problem, "give the workload file of this target")
    check_releases(workload, start)
    objects = tuple(_placed(o, metadata["namespace"]) for o in others)
    complete = _complete(objects, workload, metadata["namespace"])
    made = Scenario(placed, complete, text, workload, 0, days, start, scrape)
    made = made.with_seed(spec.search.seed if seed is None else seed)
    return replace(made, objects=tuple(_settled(made, each) for each in complete))


def _settled(made: Scenario, manifest: Manifest) -> Manifest:
    """The target of an autoscaler begins with as many pods as that asks for at the time; all else is as it is.

    Raises:
        InvalidSpec: Experiment, Deployment and workload do not fit together.
    """
    truth, is_target = made.truth, manifest["kind"] == DEPLOYMENTS.name and _named(manifest, made.spec.target.name)
    if truth.autoscaler is None or not is_target:
        return manifest
    pods = truth.fleet(truth.baseline).usual(made.offered.series(made.start))
    return {**manifest, "spec": {**manifest["spec"], "replicas": int(pods[0])}}


def _seeded(experiment: Manifest, seed: int) -> Manifest:
    spec = experiment["spec"]
    return {**experiment, "spec": {**spec, "search": {**(spec.get("search") or {}), "seed": seed}}}


def _placed(manifest: Mapping[str, Any], namespace: str) -> Manifest:
    named = (str(manifest.get("apiVersion")), str(manifest.get("kind")))
    if named not in BY_NAME:
        raise InvalidSpec("kind", f"{named[0]} {named[1]} is not simulated", "leave it out of the files")
    return {**manifest, "metadata": {**manifest["metadata"], "namespace": namespace}}


def _named(manifest: Mapping[str, Any], name: str) -> bool:
    return bool(manifest["metadata"]["name"] == name)


def _complete(objects: tuple[Manifest, ...], workload: WorkloadSpec, namespace: str) -> tuple[Manifest, ...]:
    """Add the Deployment and the Service where the user gave none."""
    target = workload.target
    deployed = any(o["kind"] == DEPLOYMENTS.name and _named(o, target.deployment) for o in objects)
    if not deployed and target.replicas is None:
        problem = f"is missing, and the files hold no Deployment {target.deployment}"
        remedy = "add it, with target.requests and target.limits, or give the Deployment with another -f"
        raise InvalidSpec(f"workload {workload.name}: target.replicas", problem, remedy)
    deployment, service = (_placed(o, namespace) for o in manifests_for(workload))
    served = any(o["kind"] == SERVICES.name and _named(o, target.service) for o in objects)
    return (*objects, *(() if deployed else (deployment,)), *(() if served else (service,)))


__all__ = ["START", "Scenario", "scenario"]
