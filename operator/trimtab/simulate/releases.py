"""Releases of the service in the middle of a simulation, as the workload file has them: a person rolls the target out
at its time, and the truth about arms is that of the version that they run."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from trimtab.api.times import format_time
from trimtab.domain import kinds
from trimtab.domain.errors import InvalidSpec
from trimtab.domain.trial import Trial
from trimtab.simulate.faults.stage import Stage, by_hand
from trimtab.simulate.truth import Truth
from trimtab.workload import WorkloadSpec
from trimtab.workload.spec import ReleaseSpec


@dataclass(frozen=True)
class Versions:
    """The truth about each version: `first` before any release, then `later`, in the order of their times."""

    first: Truth
    later: tuple[tuple[ReleaseSpec, Truth], ...] = ()

    @classmethod
    def of_target(cls, first: Truth) -> Versions:
        """Those of the workload that `first` is about."""
        return cls(first, tuple((r, first.released(r.image)) for r in first.workload.releases))

    def at(self, t: float) -> Truth:
        """Of what the target runs at t (unix seconds)."""
        return next((truth for release, truth in reversed(self.later) if release.time <= t), self.first)

    def of(self, trial: Trial) -> Truth:
        """Of what the arms of a trial ran: copies of the target as it was when that began."""
        images = trial.environment.image.split(", ")
        return next((truth for release, truth in self.later if release.image in images), self.first)


def check_releases(workload: WorkloadSpec, start: float) -> None:
    """Raises:
    InvalidSpec: one was before the simulation begins (unix seconds), so nothing would roll it out.
    """
    early = next((n for n, r in enumerate(workload.releases) if r.time < start), None)
    if early is not None:
        problem = f"is before the simulation begins, {format_time(start)}"
        remedy = "give a later time, or begin earlier with --start"
        raise InvalidSpec(f"workload {workload.name}: releases[{early}].at", problem, remedy)


def plan_releases(stage: Stage, workload: WorkloadSpec) -> None:
    """Roll the target out to each of them when its time has come."""
    loop, context = asyncio.get_running_loop(), stage.world.context
    for release in workload.releases:
        loop.call_later(release.time - stage.now(), _roll, stage, workload, release, context=context)


def _roll(stage: Stage, workload: WorkloadSpec, release: ReleaseSpec) -> None:
    def change(body: dict[str, Any]) -> None:
        for container in body["spec"]["template"]["spec"]["containers"]:
            if container["name"] == workload.target.container:
                container["image"] = release.image

    with by_hand(stage):
        stage.world.admin.edit(kinds.DEPLOYMENTS, stage.namespace, workload.target.deployment, change)


__all__ = ["Versions", "check_releases", "plan_releases"]
