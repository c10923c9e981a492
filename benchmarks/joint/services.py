"""The services that are tuned, and an Experiment of some of their parameters on what a service has today.

They were fixed before anything was tuned. `storefront` is examples/scaled-web-service as it is. In `no-reserve` nobody
keeps a part of each pod for the failure of a zone, so the target may go up to 90 %, which the bound alone limits. In
`small-pods` the same program was deployed the other way round: a core a pod, and the 50 % that the documentation of
autoscalers has as its example; its pods are too small rather than too large.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import yaml

from trimtab.domain.kinds import DEPLOYMENTS, HORIZONTAL_POD_AUTOSCALERS
from trimtab.domain.space import Assignment
from trimtab.simulate.scenario import START, Scenario, scenario

Manifest = dict[str, Any]

EXAMPLE: Final = Path(__file__).parents[2] / "examples" / "scaled-web-service"
DAYS: Final = 7.0
REQUESTS: Final = ("cpu", "memory")
TARGET: Final = ("target",)
JOINT: Final = (*REQUESTS, *TARGET)
MIB: Final = 2**20


@dataclass(frozen=True)
class Deployed:
    """What a service runs with: requests and limits of a pod (cores, bytes), and the autoscaler's target in percent."""

    cpu: float
    memory: float
    target: int

    def changed(self, assignment: Assignment) -> Deployed:
        """With the parameters that an assignment has."""
        own = {"cpu": self.cpu, "memory": self.memory, "target": float(self.target)}
        own |= {name: float(assignment.number(name)) for name in assignment}
        return Deployed(own["cpu"], own["memory"], round(own["target"]))

    @property
    def assignment(self) -> Assignment:
        """Of all three parameters."""
        return Assignment.of({"cpu": _exact(self.cpu), "memory": _exact(self.memory), "target": _exact(self.target)})

    @property
    def words(self) -> str:
        """For people."""
        return f"{self.cpu * 1000:.0f}m {self.memory / MIB:.0f}Mi {self.target} %"


@dataclass(frozen=True)
class Service:
    """A service as it is today, and how far its target may go. `bounds` are the fewest and most pods."""

    name: str
    today: Deployed
    most_target: int
    bounds: tuple[int, int]


SERVICES: Final = (
    Service("storefront", Deployed(2.5, 4096 * MIB, 45), 76, (40, 400)),
    Service("no-reserve", Deployed(2.5, 4096 * MIB, 45), 90, (40, 400)),
    Service("small-pods", Deployed(1.0, 2048 * MIB, 50), 90, (40, 1200)),
)


def scenario_of(
    service: Service, names: tuple[str, ...], now: Deployed, seed: int, trials: int, start: float = START
) -> Scenario:
    """An Experiment of these parameters on the service as it is `now`, from `start` (unix seconds) on."""
    experiment, objects = deepcopy(_manifest("experiment.yaml")[0]), deepcopy(_manifest("deployment.yaml"))
    spec = experiment["spec"]
    for parameter in spec["parameters"]:
        if parameter["name"] == "target":
            parameter["integer"]["max"] = service.most_target
    spec["parameters"] = [p for p in spec["parameters"] if p["name"] in names]
    spec["stopping"] = {**spec["stopping"], "maxTrials": trials}
    for each in objects:
        _deploy(each, service, now)
    text = (EXAMPLE / "workload.yaml").read_text(encoding="utf-8")
    return scenario(experiment, objects, text, seed=seed, days=DAYS, start=start)


def _exact(number: float) -> Decimal:
    return Decimal(f"{number:.3f}").normalize()


def _manifest(name: str) -> list[Manifest]:
    return [*yaml.safe_load_all((EXAMPLE / name).read_text(encoding="utf-8"))]


def _deploy(manifest: Manifest, service: Service, now: Deployed) -> None:
    spec = manifest["spec"]
    if manifest["kind"] == DEPLOYMENTS.name:
        amounts = {"cpu": f"{round(now.cpu * 1000)}m", "memory": f"{round(now.memory)}"}
        spec["template"]["spec"]["containers"][0]["resources"] = {"requests": amounts, "limits": dict(amounts)}
    if manifest["kind"] == HORIZONTAL_POD_AUTOSCALERS.name:
        spec["minReplicas"], spec["maxReplicas"] = service.bounds
        spec["metrics"][0]["resource"]["target"]["averageUtilization"] = now.target


__all__ = ["JOINT", "REQUESTS", "SERVICES", "TARGET", "Deployed", "Service", "scenario_of"]
