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

The objective is a known cost (minimized), and what is unknown are the bounds; or it is the name of a measured quantity,
which `tell` is given among the measurements; or a pair of both, whose answer has a front. It is the same code as the
operator's, so the same history gives the same suggestion there and here. `examples/library/tune.py` is a complete
example.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from trimtab.domain.space import Assignment, Order, ParameterConstraint, Ratio, Sum
from trimtab.domain.spec import SearchSettings, initial_trials_for
from trimtab.domain.study import (
    ArmOutcome,
    ConstraintReading,
    FailureKind,
    HardFailure,
    NoAnswer,
    Study,
    TrialOutcome,
    measured_name,
)
from trimtab.domain.trial import Purpose
from trimtab.domain.trial import Suggestion as Proposed
from trimtab.optimize import designer
from trimtab.optimize.library_inputs import (
    Bound,
    Choices,
    Counts,
    FunctionCost,
    Measured,
    Objective,
    Plain,
    Range,
    aims_of,
    amounts,
    assignment_of,
    check_objectives,
    floors_of,
    load_of,
    measured_of,
    no_cost,
    plain,
    sample_of,
    space_of,
    target_of,
)
from trimtab.optimize.schedule import BASELINES, complete_baselines


@dataclass(frozen=True)
class Forecast:
    """What the model expects of one bound: the median of value / bound, the standard deviation of its logarithm, and
    by how much one trial differs from the next beside that (`between`, of the logarithm too)."""

    median: float
    sd: float
    between: float


SPACING = 3600.0  # seconds between two trials when nobody says when they were


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
class FrontPoint:
    """An assignment that no other one beats in both objectives. `objectives` has (mean, standard deviation) by name; a
    known cost is named "cost"."""

    assignment: dict[str, Plain]
    objectives: dict[str, Measured]


@dataclass(frozen=True)
class Recommendation:
    """The best assignment that holds every bound with a margin, by default the cheapest. `saving` is a fraction of the
    baseline's objective, of its cost by default.

    A measured objective is predicted in `objectives`, as in `FrontPoint`; `front` has for two objectives all that could
    be recommended, the best of the first one first.
    """

    assignment: dict[str, Plain]
    saving: float
    predicted: dict[str, Measured]
    message: str
    objectives: dict[str, Measured] = field(default_factory=dict)
    front: tuple[FrontPoint, ...] = ()


class Optimizer:
    """Safe constrained Bayesian optimization of a known cost under measured bounds.

    Args:
        space: `Range` or `Choices` by name.
        objective: cost of an assignment, to be minimized; positive. Or the name of a measured quantity, above 0, which
            may be bounded, too. Or two of these.
        constraints: `Bound` by name.
        baseline: what runs today; where the search starts. Its values may lie between grid points.
        seed: same history and seed, same suggestions.
        safe: propose only what the model holds safe with `probability`, in limited steps from what was verified.
            Without it the whole grid may be tried. If every standard error is 0 as well (a function, a model of a
            service), nothing is measured again, what holds needs no margin to be recommended, and while anything is
            cheaper only `max_trials` and `patience` end the search.
        probability: least probability that a suggestion keeps every bound, in (0.5, 1).
        acquisition: ConstrainedEI, UCB, PI or Thompson; for a measured objective ConstrainedEI or NoisyEI, for two
            ConstrainedEI or HypervolumeEI.
        peak_load: load for which bounds must hold, in the unit of `context={"load": ...}`.
        initial: trials before the model suggests, the baseline's two included; max(5, d + 2) when None.
        rules: `Order`, `Sum` and `Ratio` between numeric parameters that every assignment must keep.
        floors: least values by name that are known to be needed, as 1.15 x the highest working set of the memory.
        max_trials, patience, min_improvement: when `ask` stops: trials in all, search trials without an improvement,
            least fraction of the baseline's cost that is worth a change.

    Raises:
        ValueError: names the parameter, bound, objective or value that makes no sense.
    """

    def __init__(
        self,
        space: Mapping[str, Range | Choices],
        objective: Objective | tuple[Objective, Objective],
        constraints: Mapping[str, Bound],
        baseline: Mapping[str, Plain],
        seed: int = 0,
        safe: bool = True,
        *,
        probability: float = 0.95,
        acquisition: Literal["ConstrainedEI", "UCB", "PI", "Thompson", "NoisyEI", "HypervolumeEI"] = "ConstrainedEI",
        peak_load: float | None = None,
        initial: int | None = None,
        rules: Sequence[ParameterConstraint] = (),
        floors: Mapping[str, float] | None = None,
        max_trials: int = 1000,
        patience: int = 1000,
        min_improvement: float = 0.001,
    ) -> None:
        if not space:
            raise ValueError("space: give at least one parameter")
        if not 0.5 < probability < 1:
            raise ValueError(f"probability: {probability} is not between 0.5 and 1")
        wanted = objective if isinstance(objective, tuple) else (objective,)
        check_objectives(wanted, acquisition)
        self._space = space_of(space, rules, safe)
        self._outcomes: list[TrialOutcome] = []
        self._earlier: tuple[TrialOutcome, ...] = ()  # of releases before the present one
        self._pending: list[tuple[Assignment, Purpose]] = []
        self._stopped = ""
        self._study = Study(
            space=self._space,
            baseline=assignment_of(self._space, baseline),
            cost=FunctionCost(next((o for o in wanted if not isinstance(o, str)), no_cost), self._space),
            constraints=tuple(target_of(name, bound) for name, bound in constraints.items()),
            outcomes=(),
            pending=(),
            search=SearchSettings("GaussianProcess", acquisition, seed, initial or initial_trials_for(len(space))),
            probability=probability,
            index=0,
            now=0.0,
            peak_load=peak_load,
            floors=floors_of(self._space, floors or {}),
            min_improvement=min_improvement,
            max_trials=max_trials,
            patience=patience,
            safe=safe,
            objectives=aims_of(wanted),
            measured=tuple(measured_of(o, constraints) for o in dict.fromkeys(wanted) if isinstance(o, str)),
        )

    @property
    def stopped(self) -> str:
        """Why the last `ask` returned fewer suggestions than it was asked for; "" when it did not."""
        return self._stopped

    def ask(self, n: int = 1, *, context: Mapping[str, float] | None = None) -> list[Suggestion]:
        """At most `n` suggestions that differ, none of which was asked before and not been told; fewer when nothing
        more is worth a trial or results must come in first (`stopped` says which).

        Args:
            context: {"load": l}, the highest load that is expected while they are tried, in the unit of `peak_load`:
                they need only be safe at that. At the peak when None.

        Raises:
            ValueError: a load that makes no sense.
        """
        found: list[Suggestion] = []
        self._stopped, expected = "", load_of(context)
        while len(found) < n and not self._stopped:
            study = replace(self._now(), expected_load=expected)
            waiting = study.pending.count(study.baseline)
            if 0 < waiting >= BASELINES - complete_baselines(study):
                self._stopped = "tell what the baseline measured first"
                break
            answer = designer.suggest(study).answer
            if not isinstance(answer, Proposed):
                self._stopped = answer.message
                break
            self._pending.append((answer.assignment, answer.purpose))
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
            measurements: (value, standard error) or `Counts` of each bound and of each measured objective; what was
                not measured may be left out.
            failure: it broke in a way that no bound shows.
            context: {"load": l}, in the unit of `peak_load`.
            control: what the baseline measured at the same time, if it did.
            at: unix seconds; what is older weighs less. An hour after the last one when None.

        Raises:
            ValueError: an unknown name, or numbers that are not finite; nothing is learned then.
        """
        given = tried.assignment if isinstance(tried, Suggestion) else tried
        assignment = assignment_of(self._space, given, self._study.baseline)
        load = load_of(context)
        canary = ArmOutcome(assignment, load, self._readings(measurements or {}))
        beside = ArmOutcome(self._study.baseline, load, self._readings(control)) if control else None
        told, broken = self._told, None
        if failure is not None:
            broken = HardFailure(FailureKind(failure), None)
        elif not canary.readings:
            raise ValueError("measurements: give at least one, or a failure")
        finished = at if at is not None else (told[-1].finished if told else 0.0) + SPACING
        purpose = self._purpose(assignment)
        self._outcomes.append(TrialOutcome(len(told), purpose, finished, canary, beside, broken))

    def released(self) -> None:
        """The service is another one from now on (a new version, other data): what was told before teaches what to
        expect, with less weight, but shows nothing safe any more, and the baseline is measured anew."""
        self._earlier, self._outcomes = self._told, []

    def recommend(self) -> Recommendation | None:
        """The best so far, or None while nothing is better than the baseline beyond doubt."""
        answer = designer.recommend(self._now())
        if isinstance(answer, NoAnswer) or answer.keep_baseline:
            return None
        predicted = {p.constraint: (math.exp(p.mean), p.sd) for p in answer.predictions}
        return Recommendation(
            assignment=plain(self._space, answer.assignment),
            saving=answer.saving,
            predicted=predicted,
            message=answer.message,
            objectives=amounts(answer.objectives),
            front=tuple(FrontPoint(plain(self._space, m.assignment), amounts(m.values)) for m in answer.front),
        )

    @property
    def _told(self) -> tuple[TrialOutcome, ...]:
        """Everything, of all releases."""
        return *self._earlier, *self._outcomes

    def _purpose(self, assignment: Assignment) -> Purpose:
        """Why it was tried: as suggested, which is then pending no more; else as the baseline, or a search trial."""
        for at, (waiting, purpose) in enumerate(self._pending):
            if waiting == assignment:
                del self._pending[at]
                return purpose
        return Purpose.BASELINE if assignment == self._study.baseline else Purpose.SEARCH

    def predict(self, assignment: Mapping[str, Plain], *, load: float | None = None) -> dict[str, Forecast]:
        """What the model expects of an assignment now, by bound; at the peak when `load` is None. Empty before the
        baseline was measured.

        Raises:
            ValueError: an assignment or a load that makes no sense.
        """
        place = assignment_of(self._space, assignment, self._study.baseline)
        at = load_of({"load": load}) if load is not None else None
        found = designer.expect(self._now(), place, at)
        return {p.constraint: Forecast(math.exp(p.mean), p.sd, between) for p, between in found}

    def _now(self) -> Study:
        done, pending = self._told, tuple(assignment for assignment, _ in self._pending)
        waiting = tuple(purpose for _, purpose in self._pending)
        now, here = done[-1].finished if done else 0.0, tuple(self._outcomes)
        index = len(done) + len(pending)
        study = replace(self._study, inherited=self._earlier, outcomes=here, pending=pending, waiting=waiting)
        return replace(study, index=index, now=now)

    def _suggestion(self, answer: Proposed, number: int) -> Suggestion:
        return Suggestion(
            number=number,
            assignment=plain(self._space, answer.assignment),
            purpose=answer.purpose.value,
            safety_probability=answer.safety_probability,
            predicted={p.constraint: (math.exp(p.mean), p.sd) for p in answer.predictions},
            reason=answer.reason,
        )

    def _readings(self, measured: Mapping[str, Measured | Counts]) -> tuple[ConstraintReading, ...]:
        bounds = {target.name for target in self._study.constraints}
        aims = {target.name.partition("/")[2] for target in self._study.measured}
        found = []
        for name, given in measured.items():
            if name not in bounds | aims:
                what = "constraints and objectives" if aims else "constraints"
                raise ValueError(f"{name}: not among the {what} ({', '.join(sorted(bounds | aims)) or 'none'})")
            sample = sample_of(name, given)
            found += [ConstraintReading(name, sample)] if name in bounds else []
            found += [ConstraintReading(measured_name(name), sample)] if name in aims else []
        return tuple(found)


__all__ = [
    "Bound", "Choices", "Counts", "Forecast", "FrontPoint", "Optimizer", "Order", "Range", "Ratio", "Recommendation",
    "Suggestion", "Sum",
]  # fmt: skip
