"""Whether a workload can answer an Experiment's SLIs at all: asked before a simulation begins, and answered by name."""

from __future__ import annotations

from dataclasses import replace

from trimtab.domain.errors import InvalidSpec
from trimtab.domain.spec import ExperimentSpec, QuantileQuery, RatioQuery, ScalingQuery, Sli, SlowRatioQuery, ValueQuery
from trimtab.ports import PodSet
from trimtab.simulate.columns import offered
from trimtab.simulate.promql import NotSimulated, selectors
from trimtab.slo.promql import inject
from trimtab.workload import WorkloadSpec

_ANY = PodSet("any", ("any",))


class NotOffered(InvalidSpec):
    """An SLI asks for what the workload does not expose, or for PromQL that is not simulated."""


def check_offered(spec: ExperimentSpec, workload: WorkloadSpec) -> frozenset[str]:
    """The metrics that the SLIs will ask for.

    Raises:
        NotOffered: names the SLI, what it asks for, and what the workload offers.
    """
    return frozenset(name for sli in spec.slis for name in _asked(sli, offered(workload)))


def _asked(sli: Sli, names: tuple[str, ...]) -> frozenset[str]:
    field = f"spec.slis[{sli.name}]"
    match sli.query:
        case ScalingQuery(counting=counting):
            return _asked(replace(sli, query=counting), names)
        case RatioQuery():
            choices = [_metrics(field, b) | _metrics(field, t) for b, t in sli.query.counters]
        case SlowRatioQuery(histogram=histograms) | QuantileQuery(histogram=histograms):
            choices = [frozenset({f"{name}_bucket"}) for name in histograms]
        case ValueQuery(query=query, samples_query=samples):
            choices = [_metrics(field, query) | (_metrics(field, samples) if samples else frozenset())]
    for choice in choices:
        if choice <= set(names):
            return choice
    unknown = sorted(choices[0] - set(names))
    raise NotOffered(field, f"the workload exposes no {', '.join(unknown)}", f"it offers {', '.join(names)}")


def _metrics(field: str, query: str) -> frozenset[str]:
    try:
        return frozenset(s.name for s in selectors(inject(query, _ANY)))
    except NotSimulated as error:
        problem = f"the simulated Prometheus does not have {error}"
        raise NotOffered(field, problem, "write it with rate, increase, sum, avg, min, max or *_over_time") from None
    except ValueError as error:
        raise NotOffered(field, f"not PromQL: {' '.join(str(error).split())[:200]}", "correct the query") from None


__all__ = ["NotOffered", "check_offered"]
