"""Check a manifest without a cluster: the API server's own words, near misses, gaps, and defaults in effect."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from trimtab.api.convert_spec import to_domain
from trimtab.api.effective import effective, leaves
from trimtab.api.experiment import ExperimentSpec
from trimtab.api.presets import SOURCES
from trimtab.api.problems import Unreadable, read
from trimtab.api.slis import Sli
from trimtab.api.support import gaps
from trimtab.domain import names
from trimtab.domain.errors import InvalidSpec
from trimtab.domain.kinds import EXPERIMENTS
from trimtab.domain.space import crowd, crowded
from trimtab.domain.texts import nearest, printable
from trimtab.domain.timetable import never

_TOP = ("apiVersion", "kind", "metadata", "spec", "status")
_OBJECT_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_ON_EXPERIMENTS = names.REQUEST_ANNOTATIONS
_EVERYTHING = re.compile(r"""\w+\s*=~\s*(["'`])\.[*+]\1""")


class Level(StrEnum):
    """Errors are refused, by the API server or by the operator; warnings are not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True)
class Finding:
    """One thing to change. `field` is a path such as `spec.parameters[0].quantity.max`."""

    field: str
    problem: str
    remedy: str
    level: Level = Level.ERROR

    def __post_init__(self) -> None:
        for name in ("field", "problem", "remedy"):
            object.__setattr__(self, name, printable(getattr(self, name)))

    def __str__(self) -> str:
        return f"{self.level.value}: {self.field}: {self.problem}" + (f"; {self.remedy}" if self.remedy else "")


@dataclass(frozen=True)
class DefaultInEffect:
    """A value that the manifest leaves open and that the operator will use."""

    field: str
    value: Any


def lint(manifest: Any, now: float | None = None) -> list[Finding]:
    """Everything that is wrong or doubtful about one Experiment, errors first.

    Args:
        now: unix seconds; without it nobody asks whether its schedule leaves time for a trial.
    """
    if not isinstance(manifest, Mapping):
        return [Finding("", "is not an object", "start with apiVersion, kind, metadata and spec")]
    found = [*_envelope(manifest), *_metadata(manifest.get("metadata"))]
    wire, problems = _spec(manifest)
    found += problems
    if wire is not None:
        missing = [Finding(f, "not supported by this version", remedy) for f, remedy in gaps(wire)]
        found += missing or _parsed(wire, now)
        found += _doubts(wire)
    return sorted(found, key=lambda finding: finding.level is Level.WARNING)


def defaults_in_effect(manifest: Mapping[str, Any]) -> list[DefaultInEffect]:
    """What the manifest leaves open, in the order of the reference page; empty while it has errors."""
    wire, _ = _spec(manifest)
    if wire is None or gaps(wire) or _parsed(wire, None):
        return []
    given = dict(leaves(manifest["spec"], "spec"))
    full = leaves(effective(wire, to_domain(wire)), "spec")
    return [DefaultInEffect(field, value) for field, value in full if field not in given and value not in ([], "")]


def unknown_annotations(keys: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    """Annotations under our prefix that mean nothing on an Experiment, each with the nearest one that does."""
    prefix = f"{names.GROUP}/"
    unknown = sorted(key for key in keys if key.startswith(prefix) and key not in _ON_EXPERIMENTS)
    return [(key, nearest(key, _ON_EXPERIMENTS)) for key in unknown]


def _envelope(manifest: Mapping[str, Any]) -> Iterator[Finding]:
    for key, expected in (("apiVersion", EXPERIMENTS.api_version), ("kind", EXPERIMENTS.name)):
        if manifest.get(key) != expected:
            yield Finding(key, f"is {manifest.get(key)!r}", f"write {key}: {expected}")
    for key in manifest:
        if key not in _TOP:
            meant = nearest(str(key), _TOP)
            yield Finding(str(key), "unknown field", f"did you mean {meant}?" if meant else "remove it")


def _metadata(metadata: Any) -> Iterator[Finding]:
    if not isinstance(metadata, Mapping):
        yield Finding("metadata", "is required", "add metadata.name")
        return
    name = metadata.get("name")
    if name is None and "generateName" not in metadata:
        yield Finding("metadata.name", "is required", "add it")
    elif name is not None and not isinstance(name, str):
        yield Finding("metadata.name", f"{name!r} is no text", "put it in quotes")
    elif name is not None and not _OBJECT_NAME.fullmatch(name):
        yield Finding("metadata.name", f"{name!r} is no name", "use lower-case letters, digits, dashes and dots")
    elif name is not None and len(name) > 63:
        problem = "metadata.name may have at most 63 characters, as it becomes a label's value"
        yield Finding("metadata.name", problem, "choose a shorter one")
    annotations = metadata.get("annotations")
    for key, meant in unknown_annotations(annotations if isinstance(annotations, Mapping) else {}):
        remedy = f"did you mean {meant}?" if meant else "remove it"
        yield Finding(f"metadata.annotations[{key}]", "unknown annotation", remedy, Level.WARNING)


def _spec(manifest: Mapping[str, Any]) -> tuple[ExperimentSpec | None, list[Finding]]:
    if manifest.get("spec") is None:
        return None, [Finding("spec", "is required", "add it")]
    try:
        return read(ExperimentSpec, manifest["spec"], "spec"), []
    except Unreadable as error:
        return None, [Finding(p.field, p.problem, p.remedy) for p in error.problems]


def _parsed(wire: ExperimentSpec, now: float | None) -> list[Finding]:
    """What is seen only once everything is read: values off their grid, time zones, a schedule without any time."""
    try:
        spec = to_domain(wire)
    except InvalidSpec as error:
        return [Finding(error.field, error.problem, error.remedy)]
    idle = never(spec, now) if now is not None else None
    return [Finding(idle.field, idle.problem, idle.remedy, Level.WARNING)] if idle is not None else []


def _doubts(wire: ExperimentSpec) -> Iterator[Finding]:
    """Valid, but perhaps not what was meant."""

    def doubt(field: str, problem: str, remedy: str) -> Finding:
        return Finding(field, problem, remedy, Level.WARNING)

    if not wire.error_budgets:
        yield doubt(
            "spec.errorBudgets", "is empty: nothing limits what trials spend of your SLO", "add a budget per SLO"
        )
    if not any(_may_count_failures(sli) for sli in _guarded(wire)):
        problem = "no constraint or error budget counts failures: a request that fails fast counts as fast"
        remedy = "add an SLI of errors, such as preset {sli: ErrorRatio}, and a constraint or an error budget of it"
        yield doubt("spec.slis", problem, remedy)
    if crowded(len(wire.parameters), wire.stopping.max_trials):
        yield doubt("spec.parameters", *crowd(len(wire.parameters), wire.stopping.max_trials))
    if wire.search.initial_trials is not None and wire.search.initial_trials >= wire.stopping.max_trials:
        yield doubt(
            "spec.search.initialTrials", "leaves no trial for the model", "lower it or raise stopping.maxTrials"
        )
    if wire.verification.replicates == 0:
        yield doubt("spec.verification.replicates", "0 recommends what was not verified", "set it to 2")
    for index, sli in enumerate(wire.slis):
        if sli.preset is not None and SOURCES[sli.preset.source].edge:
            problem = (
                "counts in a proxy, whose pods are not the arms': preflight refuses it unless the proxy is the target"
            )
            yield doubt(f"spec.slis[{index}].preset.source", problem, "use metrics of the target's pods or a sidecar")
    for index, sli in enumerate(wire.slis):
        bad = _EVERYTHING.search(sli.ratio.bad) if sli.ratio is not None else None
        if bad is not None:
            problem = f"{bad.group()} matches every value, so all events with that label count as bad"
            yield doubt(
                f"spec.slis[{index}].ratio.bad", problem, "name the values of bad events, or remove the matcher"
            )
    quantiles = {
        sli.name
        for sli in wire.slis
        if (sli.preset is not None and sli.preset.quantile is not None)
        or (sli.latency is not None and sli.latency.quantile is not None)
    }
    for index, constraint in enumerate(wire.constraints):
        if constraint.sli in quantiles and constraint.max is not None:
            problem = "bounds a quantile, which needs native histograms; preflight refuses it on classic ones"
            yield doubt(f"spec.constraints[{index}]", problem, "bound the slow ratio: threshold instead of quantile")
    for index, objective in enumerate(wire.objectives):
        if quantiles & set(objective.slis()):
            problem = "counts a quantile, which a classic histogram tells to its bucket only: little is beyond doubt"
            yield doubt(f"spec.objectives[{index}]", problem, "use native histograms, or narrow buckets around it")


def _guarded(wire: ExperimentSpec) -> list[Sli]:
    """The SLIs that a canary may be withdrawn for."""
    names = {c.sli for c in wire.constraints} | {b.sli for b in wire.error_budgets}
    return [sli for sli in wire.slis if sli.name in names]


def _may_count_failures(sli: Sli) -> bool:
    """Latency never does; what a query of one's own counts is not known here."""
    return sli.latency is None and (sli.preset is None or sli.preset.sli == "ErrorRatio")
