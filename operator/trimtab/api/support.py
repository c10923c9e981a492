"""Fields that are part of the API but whose behaviour this version does not have: refused, never silently ignored."""

from __future__ import annotations

from collections.abc import Iterator

from trimtab.api.experiment import ExperimentSpec
from trimtab.api.presets import SOURCES
from trimtab.api.settings import Promotion
from trimtab.domain.errors import NotYetSupported

Gap = tuple[str, str]  # field, remedy


def gaps(spec: ExperimentSpec) -> tuple[Gap, ...]:
    """Every field of this spec that this version cannot honour, with the remedy."""
    return (*_parameters(spec), *_slis(spec), *_trials(spec), *_rest(spec))


def require_supported(spec: ExperimentSpec) -> None:
    """Refuse a spec with gaps.

    Raises:
        NotYetSupported: names the first field and says how many more there are.
    """
    found = gaps(spec)
    if found:
        field, remedy = found[0]
        more = f" (also: {', '.join(other for other, _ in found[1:6])})" if len(found) > 1 else ""
        raise NotYetSupported(field, remedy + more)


def _parameters(spec: ExperimentSpec) -> Iterator[Gap]:
    for index, parameter in enumerate(spec.parameters):
        field = f"spec.parameters[{index}]"
        if parameter.autoscaler is not None:
            yield f"{field}.autoscaler", "tune container cpu and memory"
        if parameter.replicas is not None:
            yield f"{field}.replicas", "tune container cpu and memory"
        if parameter.env is not None:
            yield f"{field}.env", "tune container cpu and memory"
        if parameter.node_selector is not None:
            yield f"{field}.nodeSelector", "tune container cpu and memory"
        if parameter.when is not None:
            yield f"{field}.when", "remove it"
    if spec.prices.nodes:
        yield "spec.prices.nodes", "remove it, as nodeSelector parameters are not supported"


def _slis(spec: ExperimentSpec) -> Iterator[Gap]:
    for index, sli in enumerate(spec.slis):
        if sli.preset is not None and sli.preset.source not in SOURCES:
            known = " or ".join(SOURCES)
            yield f"spec.slis[{index}].preset.source", f"use {known}, or write ratio or latency with its metrics"


def _trials(spec: ExperimentSpec) -> Iterator[Gap]:
    if spec.trial.parallel > 1:
        yield "spec.trial.parallel", "set it to 1"
    if (spec.trial.replicates.min, spec.trial.replicates.max) != (1, 3):
        yield "spec.trial.replicates", "remove it; the optimizer measures the incumbent again by itself"
    if spec.canary.control != "Clone":
        yield "spec.canary.control", "use Clone"
    if spec.traffic.mode != "Service":
        yield "spec.traffic.mode", "use Service"
    if spec.safety.pause_on_alerts:
        yield "spec.safety.pauseOnAlerts", "remove it; errorBudgets pause the Experiment"


def _rest(spec: ExperimentSpec) -> Iterator[Gap]:
    if spec.mode == "Promote":
        yield "spec.mode", "use Recommend and apply the exported recommendation with your pipeline"
    if spec.promotion.strategy != "Export":
        yield "spec.promotion.strategy", "use Export"
    if spec.promotion.approval != "Required":
        yield "spec.promotion.approval", "use Required"
    if spec.promotion.bake != Promotion().bake:
        yield "spec.promotion.bake", "remove it; nothing is baked with the strategy Export"
    if spec.schedule is not None:
        yield "spec.schedule", "remove it; the annotation trimtab.dev/pause stops trials by hand"
