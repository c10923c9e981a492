"""The optimizer as a library, without Kubernetes: `ask` what to try, `tell` what was measured, `recommend`.

    optimizer = Optimizer(
        {"cpu": Range(0.25, 2.0, step=0.05, scale="Log", safer="Higher")},
        objective=lambda x: 0.03 * x["cpu"],
        constraints={"p95": Bound(max=0.3, kind="Latency")},
        baseline={"cpu": 2.0},
    )
    for _ in range(20):
        for suggestion in optimizer.ask():
            value, error = measure(suggestion.assignment)
            optimizer.tell(suggestion, {"p95": (value, error)})
    print(optimizer.recommend())

The objective is a known cost (minimized); what is unknown are the bounds. It is the same code as the operator's, so the
same history gives the same suggestion there and here. `examples/library/tune.py` is a complete example.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal

from trimtab.domain.measurement import Sample
from trimtab.domain.space import Assignment, Categorical, Numeric, Parameter, PlainValue, Scale, SearchSpace, Value
from trimtab.domain.spec import SearchSettings, SliKind
from trimtab.domain.study import (
    ArmOutcome,
    ConstraintReading,
    ConstraintTarget,
    FailureKind,
    HardFailure,
    NoAnswer,
    Study,
    TrialOutcome,
)
from trimtab.domain.trial import Purpose
from trimtab.domain.trial import Suggestion as Proposed
from trimtab.optimize import designer
from trimtab.optimize.schedule import BASELINES, complete_baselines
from trimtab.optimize.steps import axis

Plain = float | int | str
Measured = tuple[float, float]
"""(value, standard error), both in the unit of the bound."""


@dataclass(frozen=True)
class Counts:
    """A ratio as it was counted: `bad` of `total` events. Few events say more this way than as a value with a standard
    error: no bad event at all is evidence too. `overdispersion` is their variance / binomial variance, >= 1."""

    bad: float
    total: float
    overdispersion: float = 1.0


@dataclass(frozen=True)
class Forecast:
    """What the model expects of one bound: the median of value / bound, the standard deviation of its logarithm, and
    by how much one trial differs from the next beside that (`between`, of the logarithm too)."""

    median: float
    sd: float
    between: float


SPACING = 3600.0  # seconds between two trials when nobody says when they were
_DIRECTIONS = {"Higher": 1, "Lower": -1, "Unknown": 0}
_NO_LIMIT = 1e12


@dataclass(frozen=True)
class Range:
    """A numeric parameter: `low, low + step, ..., <= high`.

    `safer` says which way the bounds gain room, if that is known. `max_decrease` and `max_increase` are the fractions
    of a verified value by which one trial may go down or up (30 % and 50 % when None).
    """

    low: float
    high: float
    step: float
    scale: Literal["Linear", "Log", "Logit"] = "Linear"
    safer: Literal["Higher", "Lower", "Unknown"] = "Unknown"
    max_decrease: float | None = None
    max_increase: float | None = None


@dataclass(frozen=True)
class Choices:
    """A parameter with one of these values. Nothing says how one of them compares with another, so with `safe` a value
    that was never tried is only tried where the bounds are far."""

    values: tuple[str, ...]


@dataclass(frozen=True)
class Bound:
    """A measured quantity > 0 must stay at or below `max`, or at or above `min`; exactly one of them, > 0.

    `kind` chooses the priors: Errors range over orders of magnitude, Latency and Value over less.
    """

    max: float | None = None
    min: float | None = None
    kind: Literal["Errors", "Latency", "Value"] = "Value"


@dataclass(frozen=True)
class Suggestion:
    """What to try next. `safety_probability` is None when no model was asked; `predicted` has for each bound the median
    of value / bound at the peak and the standard deviation of its logarithm."""

    number: int
    assignment: dict[str, Plain]
    purpose: str
    safety_probability: float | None
    predicted: dict[str, Measured]
    reason: str


@dataclass(frozen=True)
class Recommendation:
    """The cheapest assignment that holds every bound with a margin. `saving` is a fraction of the baseline's cost."""

    assignment: dict[str, Plain]
    saving: float
    predicted: dict[str, Measured]
    message: str


@dataclass(frozen=True)
class _FunctionCost:
    """Any known cost of an assignment."""

    function: Callable[[dict[str, Plain]], float]
    space: SearchSpace

    def hourly(self, assignment: Assignment) -> float:
        return float(self.function(_plain(self.space, assignment)))


class Optimizer:
    """Safe constrained Bayesian optimization of a known cost under measured bounds.

    Args:
        space: `Range` or `Choices` by name.
        objective: cost of an assignment, to be minimized; positive.
        constraints: `Bound` by name.
        baseline: what runs today; where the search starts. Its values may lie between grid points.
        seed: same history and seed, same suggestions.
        safe: propose only what the model holds safe with `probability`, in limited steps from what was verified.
            Without it the whole grid may be tried.
        probability: least probability that a suggestion keeps every bound, in (0.5, 1).
        acquisition: ConstrainedEI, UCB, PI or Thompson.
        peak_load: load for which bounds must hold, in the unit of `context={"load": ...}`.
        initial: trials before the model suggests, the baseline's two included; max(5, 2 d) when None.
        max_trials, patience, min_improvement: when `ask` stops: trials in all, search trials without an improvement,
            least fraction of the baseline's cost that is worth a change.

    Raises:
        ValueError: names the parameter, bound or value that makes no sense.
    """

    def __init__(
        self,
        space: Mapping[str, Range | Choices],
        objective: Callable[[dict[str, Plain]], float],
        constraints: Mapping[str, Bound],
        baseline: Mapping[str, Plain],
        seed: int = 0,
        safe: bool = True,
        *,
        probability: float = 0.95,
        acquisition: Literal["ConstrainedEI", "UCB", "PI", "Thompson"] = "ConstrainedEI",
        peak_load: float | None = None,
        initial: int | None = None,
        max_trials: int = 1000,
        patience: int = 1000,
        min_improvement: float = 0.001,
    ) -> None:
        if not space:
            raise ValueError("space: give at least one parameter")
        if not 0.5 < probability < 1:
            raise ValueError(f"probability: {probability} is not between 0.5 and 1")
        self._space = SearchSpace(tuple(_parameter(name, given, safe) for name, given in space.items()))
        self._outcomes: list[TrialOutcome] = []
        self._pending: list[Assignment] = []
        self._stopped = ""
        self._study = Study(
            space=self._space,
            baseline=_assignment(self._space, baseline),
            cost=_FunctionCost(objective, self._space),
            constraints=tuple(_target(name, bound) for name, bound in constraints.items()),
            outcomes=(),
            pending=(),
            search=SearchSettings("GaussianProcess", acquisition, seed, initial or max(5, 2 * len(space))),
            probability=probability,
            index=0,
            now=0.0,
            peak_load=peak_load,
            min_improvement=min_improvement,
            max_trials=max_trials,
            patience=patience,
            safe=safe,
        )

    @property
    def stopped(self) -> str:
        """Why the last `ask` returned fewer suggestions than it was asked for; "" when it did not."""
        return self._stopped

    def ask(self, n: int = 1) -> list[Suggestion]:
        """At most `n` suggestions that differ, none of which was asked before and not been told; fewer when nothing
        more is worth a trial or results must come in first (`stopped` says which)."""
        found: list[Suggestion] = []
        self._stopped = ""
        while len(found) < n and not self._stopped:
            study = self._now()
            waiting = study.pending.count(study.baseline)
            if 0 < waiting >= BASELINES - complete_baselines(study):
                self._stopped = "tell what the baseline measured first"
                break
            answer = designer.suggest(study).answer
            if not isinstance(answer, Proposed):
                self._stopped = answer.message
                break
            self._pending.append(answer.assignment)
            found.append(self._suggestion(answer, study.index))
        return found

    def tell(
        self,
        tried: Suggestion | Mapping[str, Plain],
        measurements: Mapping[str, Measured | Counts] | None = None,
        *,
        failure: Literal["OOMKilled", "CrashLoop", "ReadinessLost"] | None = None,
        context: Mapping[str, float] | None = None,
        control: Mapping[str, Measured | Counts] | None = None,
        at: float | None = None,
    ) -> None:
        """Say what was measured, or how it failed; an assignment that was never suggested will do.

        Args:
            measurements: (value, standard error) or `Counts` of each bound; bounds that were not measured may be left
                out.
            failure: it broke in a way that no bound shows.
            context: {"load": l}, in the unit of `peak_load`.
            control: what the baseline measured at the same time, if it did.
            at: unix seconds; what is older weighs less. An hour after the last one when None.

        Raises:
            ValueError: an unknown name, or numbers that are not finite; nothing is learned then.
        """
        given = tried.assignment if isinstance(tried, Suggestion) else tried
        assignment = _assignment(self._space, given)
        load = _load(context)
        canary = ArmOutcome(assignment, load, self._readings(measurements or {}))
        beside = ArmOutcome(self._study.baseline, load, self._readings(control)) if control else None
        outcomes, broken = self._outcomes, None
        if failure is not None:
            broken = HardFailure(FailureKind(failure), None)
        elif not canary.readings:
            raise ValueError("measurements: give at least one, or a failure")
        finished = at if at is not None else (outcomes[-1].finished if outcomes else 0.0) + SPACING
        purpose = Purpose.BASELINE if assignment == self._study.baseline else Purpose.SEARCH
        outcomes.append(TrialOutcome(len(outcomes), purpose, finished, canary, beside, broken))
        if assignment in self._pending:
            self._pending.remove(assignment)

    def recommend(self) -> Recommendation | None:
        """The best so far, or None while nothing is better than the baseline beyond doubt."""
        answer = designer.recommend(self._now())
        if isinstance(answer, NoAnswer) or answer.keep_baseline:
            return None
        predicted = {p.constraint: (math.exp(p.mean), p.sd) for p in answer.predictions}
        return Recommendation(_plain(self._space, answer.assignment), answer.saving, predicted, answer.message)

    def predict(self, assignment: Mapping[str, Plain], *, load: float | None = None) -> dict[str, Forecast]:
        """What the model expects of an assignment now, by bound; at the peak when `load` is None. Empty before the
        baseline was measured.

        Raises:
            ValueError: an assignment or a load that makes no sense.
        """
        place = _assignment(self._space, assignment)
        at = _load({"load": load}) if load is not None else None
        found = designer.expect(self._now(), place, at)
        return {p.constraint: Forecast(math.exp(p.mean), p.sd, between) for p, between in found}

    def _now(self) -> Study:
        done, pending = self._outcomes, self._pending
        now = done[-1].finished if done else 0.0
        index = len(done) + len(pending)
        return replace(self._study, outcomes=tuple(done), pending=tuple(pending), index=index, now=now)

    def _suggestion(self, answer: Proposed, number: int) -> Suggestion:
        return Suggestion(
            number=number,
            assignment=_plain(self._space, answer.assignment),
            purpose=answer.purpose.value,
            safety_probability=answer.safety_probability,
            predicted={p.constraint: (math.exp(p.mean), p.sd) for p in answer.predictions},
            reason=answer.reason,
        )

    def _readings(self, measured: Mapping[str, Measured | Counts]) -> tuple[ConstraintReading, ...]:
        known = {target.name for target in self._study.constraints}
        found = []
        for name, given in measured.items():
            if name not in known:
                raise ValueError(f"{name}: not among the constraints ({', '.join(sorted(known)) or 'none'})")
            if isinstance(given, Counts):
                found.append(ConstraintReading(name, _counted(name, given)))
                continue
            value, error = given
            if not (math.isfinite(value) and math.isfinite(error)) or value < 0 or error < 0:
                raise ValueError(f"{name}: ({value}, {error}) is not a value >= 0 with a standard error >= 0")
            found.append(ConstraintReading(name, Sample(float(value), float(error), 1.0)))
        return tuple(found)


def _parameter(name: str, given: Range | Choices, safe: bool) -> Parameter:
    if isinstance(given, Choices):
        if len(set(given.values)) != len(given.values) or not given.values:
            raise ValueError(f"{name}: choices must be given, each once")
        return Parameter(name, PlainValue(), Categorical(given.values))
    if not (given.low < given.high and given.step > 0 and all(map(math.isfinite, (given.low, given.high, given.step)))):
        raise ValueError(f"{name}: low {given.low} must be below high {given.high}, and step {given.step} above 0")
    if given.scale == "Log" and given.low <= 0:
        raise ValueError(f"{name}: a Log scale begins above 0, not at {given.low}")
    domain = Numeric(_exact(given.low), _exact(given.high), _exact(given.step), Scale(given.scale))
    down, up = (given.max_decrease, given.max_increase) if safe else (_NO_LIMIT, _NO_LIMIT)
    return Parameter(name, PlainValue(_DIRECTIONS[given.safer]), domain, down, up)


def _target(name: str, bound: Bound) -> ConstraintTarget:
    limit = bound.max if bound.max is not None else bound.min
    if limit is None or (bound.max is not None and bound.min is not None) or not (math.isfinite(limit) and limit > 0):
        raise ValueError(f"{name}: give one of max and min, above 0")
    return ConstraintTarget(name, SliKind(bound.kind), float(limit), upper=bound.max is not None)


def _assignment(space: SearchSpace, given: Mapping[str, Plain]) -> Assignment:
    unknown, missing = set(given) - set(space.names), set(space.names) - set(given)
    if unknown or missing:
        raise ValueError(f"assignment: unknown {sorted(unknown) or 'none'}, missing {sorted(missing) or 'none'}")
    return Assignment(tuple((p.name, _value(p, given[p.name])) for p in space.parameters))


def _value(parameter: Parameter, given: Plain) -> Value:
    values = axis(parameter.domain)
    if isinstance(parameter.domain, Categorical):
        if given not in values:
            raise ValueError(f"{parameter.name}: {given!r} is none of {', '.join(map(str, values))}")
        return str(given)
    if isinstance(given, str) or not math.isfinite(given):
        raise ValueError(f"{parameter.name}: {given!r} is not a finite number")
    return _exact(given)


def _plain(space: SearchSpace, assignment: Assignment) -> dict[str, Plain]:
    return {p.name: v if isinstance(v := assignment[p.name], str) else float(v) for p in space.parameters}


def _counted(name: str, given: Counts) -> Sample:
    bad, total, spread = given.bad, given.total, given.overdispersion
    if not (all(map(math.isfinite, (bad, total, spread))) and 0 <= bad <= total and total > 0 and spread >= 1):
        raise ValueError(f"{name}: {given} is not 0 <= bad <= total, total > 0, overdispersion >= 1")
    share = bad / total
    return Sample(share, math.sqrt(spread * share * (1 - share) / total), total, bad, spread)


def _load(context: Mapping[str, float] | None) -> float | None:
    for name in context or {}:
        if name != "load":
            raise ValueError(f"context: {name!r} is not known; give load")
    load = (context or {}).get("load")
    if load is not None and not (math.isfinite(load) and load > 0):
        raise ValueError(f"context: load {load} is not above 0")
    return load


def _exact(number: float) -> Decimal:
    return Decimal(repr(float(number)))


__all__ = ["Bound", "Choices", "Counts", "Forecast", "Optimizer", "Range", "Recommendation", "Suggestion"]
