"""A toy web service with known truth: M/M/1-like latency in CPU and memory, errors and OOM in memory.

Not the project's workload model: small, smooth and independent of it, so that the optimizer's tests stand alone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal

import numpy as np

from trimtab.domain.cost import CostModel, CostTerm, Prices
from trimtab.domain.measurement import Sample
from trimtab.domain.space import (
    Apply,
    Assignment,
    ContainerResource,
    LimitsRule,
    Numeric,
    Parameter,
    Resource,
    Scale,
    SearchSpace,
)
from trimtab.domain.spec import SearchSettings, SliKind
from trimtab.domain.study import (
    ArmOutcome,
    ConstraintReading,
    ConstraintTarget,
    FailureKind,
    HardFailure,
    Hold,
    NoAnswer,
    Proposal,
    Recommended,
    Study,
    TrialOutcome,
    measured_name,
)
from trimtab.domain.trial import Suggestion

MI = 2**20
SLOW = ConstraintTarget("slow", SliKind.LATENCY, bound=0.05)
ERRORS = ConstraintTarget("errors", SliKind.ERRORS, bound=0.005)
P95 = ConstraintTarget(measured_name("p95"), SliKind.LATENCY, bound=1.0)
HOUR = 3600.0


def resource(name: str, kind: Resource, low: str, high: str, step: str, decrease: float | None = None) -> Parameter:
    locus = ContainerResource("app", kind, Apply.REQUESTS, LimitsRule.RATIO)
    domain = Numeric(Decimal(low), Decimal(high), Decimal(step), Scale.LOG)
    return Parameter(name, locus, domain, max_decrease=decrease)


def web_space(decrease: float | None = None) -> SearchSpace:
    return SearchSpace((
        resource("cpu", Resource.CPU, "0.2", "2.5", "0.05", decrease),
        resource("memory", Resource.MEMORY, str(256 * MI), str(2560 * MI), str(64 * MI), decrease),
    ))  # fmt: skip


def web(cpu: str, mebibytes: int) -> Assignment:
    return Assignment.of({"cpu": Decimal(cpu), "memory": Decimal(mebibytes * MI)})


WEB_COST = CostModel(
    replicas=10,
    prices=Prices(cpu_core_hour=0.04, memory_gib_hour=0.005),
    terms=(CostTerm("cpu", Resource.CPU), CostTerm("memory", Resource.MEMORY)),
)


def search(designer: str = "GaussianProcess", seed: int = 0, initial: int = 5) -> SearchSettings:
    return SearchSettings(designer=designer, acquisition="ConstrainedEI", seed=seed, initial_trials=initial)


def web_study(**changes: object) -> Study:
    """A study of the web service before its first trial."""
    study = Study(
        space=web_space(),
        baseline=web("1.5", 1536),
        cost=WEB_COST,
        constraints=(SLOW, ERRORS),
        outcomes=(),
        pending=(),
        search=search(),
        probability=0.95,
        index=0,
        now=1.8e9,
        peak_load=33.0,
    )
    return replace(study, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Service:
    """Truth. `work` is CPU seconds per request, `need` (MiB) where memory pressure sets in."""

    work: float = 0.0092
    need: float = 400.0
    threshold: float = 0.1
    load: float = 28.0
    base_slow: float = 0.002
    base_errors: float = 0.0005
    trial_sd: float = 0.08
    load_sd: float = 0.08
    requests: float = 4000.0
    p95_error: float = 0.0  # standard error of the 95th percentile, as a fraction; 0: it is not measured

    def p95(self, assignment: Assignment, load: float) -> float:
        """The 95th percentile of M/M/1 (s): ln 20 / (service rate - load)."""
        mib = float(assignment.number("memory")) / MI
        rate = float(assignment.number("cpu")) / (self.work * (1.0 + (self.need / mib) ** 6)) - load
        return 3.0 / max(rate, 1.0)

    def ratios(self, assignment: Assignment, load: float) -> tuple[float, float]:
        """Noise-free (slow ratio, error ratio)."""
        cpu = float(assignment.number("cpu"))
        mib = float(assignment.number("memory")) / MI
        pressure = 1.0 + (self.need / mib) ** 6
        rate = cpu / (self.work * pressure) - load
        slow = math.exp(-max(rate, 0.0) * self.threshold)
        errors = 0.01 * math.exp(-(mib - self.need) / 40.0) + (0.05 if rate <= 0 else 0.0)
        return min(self.base_slow + slow, 1.0), min(self.base_errors + errors, 1.0)

    def worst(self, assignment: Assignment, load: float) -> float:
        """max g over both bounds."""
        slow, errors = self.ratios(assignment, load)
        return max(math.log(slow / SLOW.bound), math.log(errors / ERRORS.bound))

    def broken(self, assignment: Assignment) -> bool:
        return float(assignment.number("memory")) / MI < 0.7 * self.need

    def optimum(self, study: Study) -> float:
        """Cost of the cheapest grid point that is feasible at peak."""
        assert study.peak_load is not None
        axes = [p.domain.grid() for p in study.space.parameters if isinstance(p.domain, Numeric)]
        costs = [
            study.cost.hourly(x)
            for values in itertools.product(*axes)
            if (x := Assignment(tuple(zip(study.space.names, values, strict=True))))
            and not self.broken(x)
            and self.worst(x, study.peak_load) <= 0
        ]
        return min(costs)


@dataclass
class Run:
    """One simulated experiment and what it cost in truth."""

    study: Study
    suggestions: list[Suggestion] = field(default_factory=list)
    proposals: list[Proposal] = field(default_factory=list)
    unsafe: int = 0
    gross: int = 0
    recommended: Recommended | None = None
    hold: Hold | None = None


Suggest = Callable[[Study], Proposal]
Recommend = Callable[[Study], Recommended | NoAnswer]


def play(
    study: Study, service: Service, suggest: Suggest, recommend: Recommend, trials: int, fault_at: int | None = None
) -> Run:
    """Run `trials` trials; at `fault_at` the canary's dependency is slow (40 % slow requests, withdrawn early)."""
    rng = np.random.default_rng(1000 + study.search.seed)
    run = Run(study)
    for index in range(trials):
        now = study.now + HOUR * index
        proposal = suggest(replace(run.study, index=index, now=now))
        run.proposals.append(proposal)
        if isinstance(proposal.answer, Hold):
            run.hold = proposal.answer
            break
        assert isinstance(proposal.answer, Suggestion), proposal.answer
        run.suggestions.append(proposal.answer)
        outcome = trial(service, run.study, proposal.answer, index, now + 600, rng, fault=index == fault_at)
        load = outcome.canary.load or service.load
        if index != fault_at:
            g = service.worst(outcome.canary.assignment, load)
            run.unsafe += g > 0 or outcome.failure is not None
            run.gross += g > math.log(1.5)
        run.study = replace(run.study, outcomes=(*run.study.outcomes, outcome))
    done = len(run.study.outcomes)
    recommended = recommend(replace(run.study, index=done, now=study.now + HOUR * done))
    assert isinstance(recommended, Recommended), recommended
    run.recommended = recommended
    return run


def trial(
    service: Service,
    study: Study,
    suggestion: Suggestion,
    index: int,
    finished: float,
    rng: np.random.Generator,
    fault: bool = False,
) -> TrialOutcome:
    """One trial's outcome; withdrawn early when a bound is broken by far, in repair by the canary alone."""
    load = service.load * math.exp(service.load_sd * rng.standard_normal())
    effect = math.exp(service.trial_sd * rng.standard_normal())
    assignment = suggestion.assignment
    allowed = max(math.log(2.0), service.worst(study.baseline, load) if study.search.repair else 0.0)
    withdrawn = fault or service.worst(assignment, load) > allowed
    size = service.requests * (0.25 if withdrawn else 1.0) * rng.uniform(0.9, 1.1)
    canary = arm(service, assignment, load, effect, size, rng, 0.4 if fault else None)
    control = arm(service, study.baseline, load, effect, size, rng)
    failure = HardFailure(FailureKind.OOM, Resource.MEMORY) if service.broken(assignment) else None
    return TrialOutcome(index, suggestion.purpose, finished, canary, control, failure, truncated=withdrawn)


def arm(
    service: Service,
    assignment: Assignment,
    load: float,
    effect: float,
    size: float,
    rng: np.random.Generator,
    slow: float | None = None,
) -> ArmOutcome:
    true_slow, true_errors = service.ratios(assignment, load)
    ratios = (slow if slow is not None else min(true_slow * effect, 1.0), min(true_errors * effect, 1.0))
    readings = tuple(
        ConstraintReading(name, counts(int(rng.binomial(int(size), ratio)), int(size)))
        for name, ratio in zip(("slow", "errors"), ratios, strict=True)
    )
    if service.p95_error:
        value = service.p95(assignment, load) * math.sqrt(effect)
        error = service.p95_error * value
        sample = Sample(value + error * rng.standard_normal(), error, size)
        readings = (*readings, ConstraintReading(P95.name, sample))
    return ArmOutcome(assignment, load, readings)


def counts(bad: float, total: float) -> Sample:
    ratio = bad / total if total else math.nan
    return Sample(ratio, math.sqrt(max(ratio * (1 - ratio), 0.0) / max(total, 1)), total, bad)
