"""How steep a latency SLI is next to its bound in how hard pods are driven, by how full they are of use at the peak.

`python -m benchmarks.simulation.steepness [--drawn N] [EXAMPLE ...]`, with PYTHONPATH=operator:hack. Of each assignment
of a coarse grid it takes what the workload model says, without noise, of pods at the scale point and of pods as busy as
the autoscaler lets them be. It prints the slope of ln(SLI / bound) per octave of use where the SLI is near its bound,
and what a recommender that raises a reading at the scale point by such a slope would get wrong. `--drawn`: the same of
so many services that nothing was chosen for, the first example with other requests: CPU time, arrivals, dependencies.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import yaml

from stack.paths import EXAMPLES
from trimtab.domain.space import Assignment, Numeric, Parameter, Value
from trimtab.domain.spec import SlowRatioQuery
from trimtab.optimize.queueing import STEEPEST, Slow, rise
from trimtab.simulate.fleet import Fleet, used
from trimtab.simulate.scenario import scenario
from trimtab.simulate.truth import Truth
from trimtab.workload.model import GRID

NAMES = ("scaled-web-service", "inference")
MOST, MOST_DRAWN = 9, 4  # values of a parameter
NEAR = (0.6, 1.4)  # of the bound, at the peak
LEVELS = 450  # of load, on the model's grid


@dataclass(frozen=True)
class Edge:
    """One assignment: its SLI over the bound at the scale point and at the peak, octaves of use between them, the
    fraction of its limit that a pod uses at the peak, the requests that it gets through in the time of the bound, and
    the bound."""

    usual: float
    peak: float
    octaves: float
    full: float
    turns: float
    bound: float

    @property
    def before(self) -> float:
        """The fraction of its limit that a pod uses at the scale point."""
        return self.full / 2**self.octaves

    @property
    def slope(self) -> float:
        """Of ln(SLI / bound), per octave of use."""
        return math.log(self.peak / self.usual) / self.octaves

    @property
    def near(self) -> bool:
        """Its SLI is near the bound."""
        return NEAR[0] <= self.peak <= NEAR[1]

    def holds(self, rise: Callable[[Edge], float]) -> bool:
        """Whether what is read at the scale point holds with room for the peak."""
        return math.log(self.usual) + rise(self) <= 0


def at_slope(slope: float) -> Callable[[Edge], float]:
    """So much per octave."""
    return lambda edge: slope * edge.octaves


def as_other_bounds(edge: Edge) -> float:
    """What the recommender counts with where a bound is not on slow requests."""
    return float(rise(edge.before, edge.full, None))


def waiting(edge: Edge) -> float:
    """What it counts with where the requests that pods get through are not known."""
    return float(rise(edge.before, edge.full, Slow(edge.bound)))


def counted_with(edge: Edge) -> float:
    """What the recommender counts with."""
    return float(rise(edge.before, edge.full, Slow(edge.bound, edge.turns)))


def edges(truth: Truth, most: int = MOST) -> Iterator[Edge]:
    """Of a coarse grid; without assignments whose pods cannot be driven so hard."""
    (constraint, *_) = [c for c in truth.spec.constraints if c.maximum is not None]
    query = truth.spec.sli(constraint.sli).query
    assert isinstance(query, SlowRatioQuery)
    assert query.seconds is not None
    assert constraint.maximum is not None
    question = next(q for q in truth.questions if q.sli == constraint.sli)
    space = truth.spec.space
    for values in itertools.product(*(_axis(p, most) for p in space.parameters)):
        assignment = Assignment(tuple(zip(space.names, values, strict=True)))
        fleet = truth.fleet(assignment)
        aim, hardest = fleet.limits[0]
        usual, beyond = (_level(fleet, use) for use in (aim.target * aim.request, hardest))
        if space.violated(assignment) is not None or usual is None or beyond is None or beyond - 1 <= usual:
            continue
        low, high = (fleet.pods.at(level) for level in (usual, beyond - 1))
        read = [question.of(each, truth.spec.canary.replicas) for each in (low, high)]
        before, after = (used(each, aim.resource) for each in (low, high))
        found = [value / constraint.maximum for value in read if isinstance(value, float)]
        if len(found) == len(read) and found[0] > 0:
            limit, work = fleet.run[1].cpu_limit, low.cpu_usage_cores / math.exp(usual * GRID)
            turns = query.seconds * limit / work
            yield Edge(found[0], found[1], math.log2(after / before), after / limit, turns, constraint.maximum)


def _axis(parameter: Parameter, most: int) -> list[Value]:
    domain = parameter.domain
    values: list[Value] = [*(domain.grid() if isinstance(domain, Numeric) else domain.values)]
    chosen = np.unique(np.linspace(0, len(values) - 1, min(most, len(values))).round().astype(int))
    return [values[i] for i in chosen]


def _level(fleet: Fleet, use: float) -> int | None:
    """The least load at which a pod uses so much; None where it never does."""
    (aim, _), *_ = fleet.limits
    return next((level for level in range(LEVELS) if used(fleet.pods.at(level), aim.resource) >= use), None)


def told(name: str, found: list[Edge]) -> str:
    """A table in Markdown."""
    lines = [f"{name}: {len(found)} assignments, {sum(e.near for e in found)} near the bound at the peak", ""]
    lines += ["| full at the peak | assignments | slope: median | most | counted with |", "|--:|--:|--:|--:|--:|"]
    by_full: dict[float, list[Edge]] = {}
    for edge in found:
        if edge.near:
            by_full.setdefault(round(edge.full * 20) / 20, []).append(edge)
    for full, near in sorted(by_full.items()):
        slopes, counted = [e.slope for e in near], [counted_with(e) / e.octaves for e in near]
        figures = f"{np.median(slopes):.2f} | {max(slopes):.2f} | {np.median(counted):.2f}"
        lines.append(f"| {full:.2f} | {len(near)} | {figures} |")
    return "\n".join([*lines, "", *verdicts(found)])


def verdicts(found: Sequence[Edge]) -> Iterator[str]:
    """A table of what rules would get wrong."""
    yield from ("| slope | broke the bound and would hold | held it and would not |", "|---|--:|--:|")
    rules = {f"{STEEPEST:g}": at_slope(STEEPEST), "4": at_slope(4.0), "rho^2 / (1 - rho)": as_other_bounds}
    bad, good = ([e for e in found if (e.peak > 1) is broken] for broken in (True, False))
    for words, rule in (rules | {"waiting alone": waiting, "counted with": counted_with}).items():
        wrong, lost = sum(e.holds(rule) for e in bad), sum(not e.holds(rule) for e in good)
        yield f"| {words} | {wrong} of {len(bad)} | {lost} of {len(good)} |"


def example(name: str) -> Truth:
    """An example's, at full length."""
    (experiment,) = [d for d in yaml.safe_load_all((EXAMPLES / name / "experiment.yaml").read_text()) if d]
    deployment = [d for d in yaml.safe_load_all((EXAMPLES / name / "deployment.yaml").read_text()) if d]
    text = (EXAMPLES / name / "workload.yaml").read_text()
    return scenario(experiment, deployment, text, seed=1, days=7.0).truth


def drawn(truth: Truth, seed: int) -> Truth:
    """The same service with other requests: CPU time, arrivals and dependencies, uniform or log-uniform."""
    rng = np.random.default_rng(seed)
    request = truth.workload.request
    cpu, mean = (float(np.exp(rng.uniform(*np.log(ends)))) for ends in ((0.0004, 0.02), (0.005, 0.09)))
    cv, arrivals, varied = (float(rng.uniform(*ends)) for ends in ((0.4, 1.5), (1.0, 10.0), (0.3, 1.2)))
    dependency = request.dependency.model_copy(update={"mean": mean, "cv": varied})
    changed = {"cpu": cpu, "cpu_cv": cv, "burstiness": arrivals, "dependency": dependency}
    return replace(truth, workload=truth.workload.model_copy(update={"request": request.model_copy(update=changed)}))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("examples", nargs="*", default=NAMES, metavar="EXAMPLE")
    parser.add_argument("--drawn", type=int, default=0, metavar="N")
    arguments = parser.parse_args()
    if not arguments.drawn:
        for name in arguments.examples:
            print(told(name, list(edges(example(name)))) + "\n", flush=True)
        return
    first, found = example(arguments.examples[0]), list[Edge]()
    for seed in range(arguments.drawn):
        found += edges(drawn(first, seed), MOST_DRAWN)
        print(f"{seed + 1} of {arguments.drawn} services", end="\r", flush=True)
    print(told(f"{arguments.drawn} drawn services", found))


if __name__ == "__main__":
    main()
