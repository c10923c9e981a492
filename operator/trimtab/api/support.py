"""Fields that are part of the API but whose behaviour this version does not have: refused, never silently ignored."""

from __future__ import annotations

from collections.abc import Iterator

from trimtab.api.experiment import ExperimentSpec
from trimtab.api.settings import Promotion
from trimtab.domain.errors import NotYetSupported

Gap = tuple[str, str]  # field, remedy


def gaps(spec: ExperimentSpec) -> tuple[Gap, ...]:
    """Every field of this spec that this version cannot honour, with the remedy."""
    return (*_trials(spec), *_rest(spec))


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


def _trials(spec: ExperimentSpec) -> Iterator[Gap]:
    if spec.trial.parallel > 1 and spec.traffic.mode == "HTTPRoute":
        remedy = "set it to 1, as a route holds the weights of one trial, or use spec.traffic.mode: Service"
        yield "spec.trial.parallel", remedy
    if (spec.trial.replicates.min, spec.trial.replicates.max) != (1, 3):
        yield "spec.trial.replicates", "remove it; the optimizer measures the incumbent again by itself"


def _rest(spec: ExperimentSpec) -> Iterator[Gap]:
    if spec.mode == "Promote":
        yield "spec.mode", "use Recommend and apply the exported recommendation with your pipeline"
    if spec.promotion.strategy != "Export":
        yield "spec.promotion.strategy", "use Export"
    if spec.promotion.approval != "Required":
        yield "spec.promotion.approval", "use Required"
    if spec.promotion.bake != Promotion().bake:
        yield "spec.promotion.bake", "remove it; nothing is baked with the strategy Export"
