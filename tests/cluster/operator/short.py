"""The examples of autoscaled services in windows of seconds, at a fraction of their load: their manifests, patched."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from stack.paths import EXAMPLES
from trimtab.domain.quantity import parse_quantity
from trimtab.workload.units import parse_seconds

Obj = dict[str, Any]
SECTIONS: dict[str, Obj] = {
    "trial": {"warmUp": "8s", "duration": "25s", "deadline": "4m"},
    "safety": {"checkInterval": "1s", "staleAfter": "30s"},
    "stopping": {"maxTrials": 8},  # today's settings twice, then others
    "verification": {"duration": "25s", "replicates": 0},
}
RATES = {"[2m]": "[15s]"}  # of the queries of SLIs
STARTS = 0.1  # how long pods take to start and to get warm, next to the example's
NODE_CORES, SPARE_NODES = 32, 2  # the second for arms, and for what does not fit together


@dataclass(frozen=True)
class Short:
    """One example.

    Attributes:
        name: its folder.
        scale: of its load and of how many pods it has.
        moment: a time (UTC) at which its load is the mean of a day.
        calm: seconds that its autoscaler waits before it scales down; None: as the example has it.
        spec: further changes of the Experiment's sections.
        parameters: other ranges of its parameters, by name.
        load: changes of the workload's load.
        node_types: that its pods may be on; the first is today's.
    """

    name: str
    scale: float
    moment: str
    calm: int | None = None
    spec: Mapping[str, Obj] = field(default_factory=dict)
    parameters: Mapping[str, Obj] = field(default_factory=dict)
    load: Mapping[str, Any] = field(default_factory=dict)
    node_types: tuple[str, ...] = ()

    def experiment(self) -> Obj:
        """Its Experiment; nested sections keep what is not changed."""
        text = self._read("experiment.yaml")
        for long, short in RATES.items():
            text = text.replace(long, short)
        made: Obj = yaml.safe_load(text)
        spec = made["spec"]
        for changes in (SECTIONS, self.spec):
            for section, values in changes.items():
                spec[section] = {**spec.get(section, {}), **values}
        for parameter in spec["parameters"]:
            parameter.update(self.parameters.get(parameter["name"], {}))
        return made

    def documents(self) -> list[Obj]:
        """What its team applies: Deployment, Service, autoscaler, route."""
        made = [d for d in yaml.safe_load_all(self._read("deployment.yaml")) if d]
        for document in made:
            spec = document["spec"]
            if document["kind"] == "Deployment":
                spec["replicas"] = round(spec["replicas"] * self.scale)
            if document["kind"] == "HorizontalPodAutoscaler":
                for bound in ("minReplicas", "maxReplicas"):
                    spec[bound] = round(spec[bound] * self.scale)
                if self.calm is not None:
                    spec["behavior"] = {"scaleDown": {"stabilizationWindowSeconds": self.calm}}
        return made

    def workload(self) -> Obj:
        """What the program plays."""
        made: Obj = yaml.safe_load(self._read("workload.yaml"))
        made["target"]["replicas"] = round(made["target"]["replicas"] * self.scale)
        made["load"]["requestsPerSecond"] *= self.scale
        made["load"].update(self.load)
        for part in ("base", "cpu", "coldFor"):
            made["startup"][part] = f"{1000 * STARTS * parse_seconds(made['startup'][part]):.0f}ms"
        return made

    def of_kind(self, kind: str) -> Obj:
        """One of its documents."""
        return next(d for d in self.documents() if d["kind"] == kind)

    @property
    def nodes(self) -> list[str]:
        """The type of each node: as many of the first as its pods need, and some of the others."""
        deployment = self.of_kind("Deployment")["spec"]
        (container,) = deployment["template"]["spec"]["containers"]
        cores = deployment["replicas"] * float(parse_quantity(container["resources"]["requests"]["cpu"]))
        first, *others = self.node_types or ("playground.4xlarge",)
        return [first] * (math.ceil(cores / NODE_CORES) + SPARE_NODES) + others * SPARE_NODES

    def write(self, directory: Path) -> tuple[Path, Path]:
        """The workload and the manifest as files."""
        workload, manifest = directory / "workload.yaml", directory / "deployment.yaml"
        workload.write_text(yaml.safe_dump(self.workload()))
        manifest.write_text(yaml.safe_dump_all(self.documents()))
        return workload, manifest

    def _read(self, file: str) -> str:
        return (EXAMPLES / self.name / file).read_text()
