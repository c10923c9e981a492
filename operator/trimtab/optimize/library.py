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
from dataclasses import replace
from typing import Literal, get_args

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
from trimtab.optimize.library_answers import (
    Diagnostics,
    Forecast,
    FrontPoint,
    Recommendation,
    Suggestion,
    diagnostics_of,
    incomplete,
    recommendation_of,
    suggestion_of,
)
from trimtab.optimize.library_checks import by_name, chosen, number, shown, whole
from trimtab.optimize.library_inputs import (
    LARGEST,
    Acquisition,
    Bound,
    Choices,
    Counts,
    Failure,
    FunctionCost,
    Measured,
    Objective,
    Plain,
    Range,
    aims_of,
    assignment_of,
    load_of,
    measured_of,
    no_cost,
    objectives_of,
    sample_of,
    space_of,
    target_of,
)
from trimtab.optimize.library_rules import check_rules, floors_of, ruled
from trimtab.optimize.schedule import BASELINES, complete_baselines

SPACING = 3600.0  # seconds between two trials when nobody says when they were
BaselineMode = Literal["Refuse", "Repair"]


class Optimizer:
    """Safe constrained Bayesian optimization of a known cost under measured bounds.

    Args:
        space: `Range` or `Choices` by name.
        objective: cost of an assignment, to be minimized; positive. What it raises for, or gives no finite number, is
            never tried. Or the name of a measured quantity, above 0, which may be bounded, too. Or a tuple of two.
        constraints: `Bound` by name. A known cost needs one at least: without any, nothing would be learned.
        baseline: what runs today; where the search starts. Its values may lie between grid points.
        seed: same history and seed, same suggestions; from 0.
        safe: propose only what the model holds safe with `probability`, in limited steps from what was verified.
            Without it the whole grid may be tried. If every standard error is 0 as well (a function, a model of a
            service), nothing is measured again, what holds needs no margin to be recommended, and while anything is
            cheaper only `max_trials` and `patience` end the search.
        probability: least probability that a suggestion keeps every bound, in (0.5, 1).
        acquisition: ConstrainedEI, UCB, PI or Thompson; for a measured objective ConstrainedEI or NoisyEI, for two
            ConstrainedEI or HypervolumeEI.
        peak_load: load for which bounds must hold, above 0, in the unit of `context={"load": ...}`.
        initial: trials before the model suggests, the baseline's two included, from 2; max(5, d + 2) when None.
        rules: `Order`, `Sum` and `Ratio` between numeric parameters that every assignment keeps, the baseline's too.
        floors: least values by name that are known to be needed, as 1.15 x the highest working set of the memory.
        max_trials, patience, min_improvement: when `ask` stops: trials in all, search trials without an improvement,
            least fraction of the baseline's cost that is worth a change, in [0, 1).
        infeasible_baseline: what to do where the baseline itself breaks a bound. Refuse: `ask` stops and says so.
            Repair: more of everything first, until something holds every bound, then cheaper from there; needs `safe`.

    Raises:
        TypeError: names the argument that is of the wrong kind.
        ValueError: names the parameter, bound, objective, rule or value that makes no sense.
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
        acquisition: Acquisition = "ConstrainedEI",
        peak_load: float | None = None,
        initial: int | None = None,
        rules: Sequence[ParameterConstraint] = (),
        floors: Mapping[str, float] | None = None,
        max_trials: int = 1000,
        patience: int = 1000,
        min_improvement: float = 0.001,
        infeasible_baseline: BaselineMode = "Refuse",
    ) -> None:
        if not isinstance(safe, bool):
            raise TypeError(f"safe: give True or False, not {shown(safe)}")
        mode = chosen("infeasible_baseline", infeasible_baseline, get_args(BaselineMode))
        wanted = objectives_of(objective, acquisition)
        known = next((o for o in wanted if not isinstance(o, str)), None)
        self._space = ruled(space_of(space, safe), rules)
        start = assignment_of(self._space, baseline)
        least = floors_of(self._space, {} if floors is None else floors)
        check_rules(self._space, start, least)
        self._outcomes: list[TrialOutcome] = []
        self._earlier: tuple[TrialOutcome, ...] = ()  # of releases before the present one
        self._pending: list[tuple[Assignment, Purpose]] = []
        self._stopped = self._kept = ""
        self._health: Diagnostics | None = None
        self._cost = FunctionCost(known or no_cost, self._space)
        self._study = Study(
            space=self._space,
            baseline=start,
            cost=self._cost,
            constraints=tuple(
                target_of(name, bound) for name, bound in by_name("constraints", constraints, "bounds").items()
            ),
            outcomes=(),
            pending=(),
            search=_search(acquisition, seed, initial_trials_for(len(space)) if initial is None else initial, mode),
            probability=number("probability", probability, above=0.5, below=1, remedy="0.95 is 95 %"),
            index=0,
            now=0.0,
            peak_load=None if peak_load is None else number("peak_load", peak_load, above=0),
            floors=least,
            min_improvement=number(
                "min_improvement", min_improvement, least=0, below=1, remedy="it is a fraction: 0.01 is 1 %"
            ),
            max_trials=whole("max_trials", max_trials, 1),
            patience=whole("patience", patience, 1),
            safe=safe,
            objectives=aims_of(wanted),
            measured=tuple(measured_of(o, constraints) for o in dict.fromkeys(wanted) if isinstance(o, str)),
            cost_limit=None if known is None else LARGEST,
        )
        self._check()

    def _check(self) -> None:
        """What only the whole shows: something is measured, and the objective has a value where the search starts."""
        study = self._study
        if not (study.constraints or study.measured):
            raise ValueError("constraints: give at least one Bound; without any nothing is learned of a known cost")
        if study.search.repair and not study.safe:
            raise ValueError("infeasible_baseline: Repair needs safe=True; else all of the grid may be tried anyway")
        why, found = self._cost.value(study.baseline)
        if why or found <= 0:
            raise ValueError(f"objective: it {why or f'is {found}'} at the baseline; it must be a number above 0 there")

    @property
    def stopped(self) -> str:
        """Why the last `ask` returned fewer suggestions than it was asked for; "" when it did not."""
        return self._stopped

    @property
    def kept(self) -> str:
        """Why the last `recommend` returned None; "" when it did not."""
        return self._kept

    @property
    def diagnostics(self) -> Diagnostics | None:
        """Health of the model when `ask` last had to decide; None before."""
        return self._health

    def ask(self, n: int = 1, *, context: Mapping[str, float] | None = None) -> list[Suggestion]:
        """At most `n` suggestions that differ, none of which was asked before and not been told; fewer when nothing
        more is worth a trial or results must come in first (`stopped` says which).

        Args:
            context: {"load": l}, the highest load that is expected while they are tried, in the unit of `peak_load`:
                they need only be safe at that. At the peak when None.

        Raises:
            TypeError: `n` or a load that is no number.
            ValueError: `n` below 0, or a load that makes no sense.
        """
        found: list[Suggestion] = []
        most, expected = whole("n", n, 0), load_of(context)
        self._stopped = ""
        while len(found) < most and not self._stopped:
            study = replace(self._now(), expected_load=expected)
            waiting = study.pending.count(study.baseline)
            if 0 < waiting >= BASELINES - complete_baselines(study):
                self._stopped = "tell what the baseline measured first, or forget it"
                break
            proposal = designer.suggest(study)
            self._health = diagnostics_of(proposal, study, next(iter(self._cost.odd), ""))
            answer = proposal.answer
            if not isinstance(answer, Proposed):
                self._stopped = "; ".join((answer.message, *self._cost.odd))
                break
            self._pending.append((answer.assignment, answer.purpose))
            found.append(suggestion_of(self._space, proposal, answer, study.index))
        return found

    def tell(
        self,
        tried: Suggestion | Mapping[str, Plain],
        measurements: Mapping[str, Measured | Counts] | None = None,
        *,
        failure: Failure | None = None,
        context: Mapping[str, float] | None = None,
        control: Mapping[str, Measured | Counts] | None = None,
        at: float | None = None,
    ) -> None:
        """Say what was measured, or how it failed; an assignment that was never suggested will do. A new optimizer that
        is told the suggestions of another one in the same order, with their times, goes on where that one was.

        Args:
            measurements: (value, standard error) or `Counts` of each bound and of each measured objective. What was
                not measured may be left out; but only what was told with every bound is ever recommended.
            failure: it broke in a way that no bound shows.
            context: {"load": l}, in the unit of `peak_load`.
            control: what the baseline measured at the same time, if it did.
            at: unix seconds; what is older weighs less. An hour after the last one when None.

        Nothing is learned from a call that raises.

        Raises:
            TypeError: an argument or a measurement of the wrong kind.
            ValueError: an unknown name or failure, numbers that are not finite, or an assignment for which the
                objective has no value.
        """
        assignment, load = self._given(tried), load_of(context)
        canary = ArmOutcome(assignment, load, self._readings("measurements", measurements))
        control_readings = self._readings("control", control)
        beside = ArmOutcome(self._study.baseline, load, control_readings) if control_readings else None
        told, broken = self._told, None
        if failure is not None:
            broken = HardFailure(FailureKind(chosen("failure", failure, get_args(Failure))), None)
        elif not canary.readings:
            raise ValueError("measurements: give at least one, or a failure")
        why, _ = self._cost.value(assignment)
        if why:
            raise ValueError(f"objective: it {why} at {self._space.describe(assignment)}, where nothing can be learned")
        finished = number("at", at) if at is not None else (told[-1].finished if told else 0.0) + SPACING
        purpose = self._purpose(assignment, tried)
        self._outcomes.append(TrialOutcome(len(told), purpose, finished, canary, beside, broken))

    def forget(self, tried: Suggestion | Mapping[str, Plain]) -> None:
        """Give up a suggestion whose result will never come: it waits no more, and may be asked again. Nothing is
        learned; what broke is told with a failure.

        Raises:
            TypeError: no suggestion, nor an assignment.
            ValueError: it does not wait: it was told, was forgotten before, or was never asked.
        """
        assignment = self._given(tried)
        at = self._waiting(assignment)
        if at is None:
            raise ValueError(f"forget: nothing waits for {self._space.describe(assignment)}")
        del self._pending[at]

    def released(self) -> None:
        """The service is another one from now on (a new version, other data): what was told before teaches what to
        expect, with less weight, but shows nothing safe any more, and the baseline is measured anew."""
        self._earlier, self._outcomes = self._told, []

    def recommend(self) -> Recommendation | None:
        """The best so far, or None while nothing is better than the baseline beyond doubt (`kept` says why)."""
        study = self._now()
        answer = designer.recommend(study)
        self._kept = ""
        if isinstance(answer, NoAnswer) or answer.keep_baseline:
            lacking = incomplete(study)
            self._kept = answer.message + (f"; {lacking} trials were told without every bound" if lacking else "")
            return None
        return recommendation_of(self._space, answer)

    @property
    def _told(self) -> tuple[TrialOutcome, ...]:
        """Everything, of all releases."""
        return *self._earlier, *self._outcomes

    def _purpose(self, assignment: Assignment, tried: object) -> Purpose:
        """Why it was tried: as suggested, here (it is then pending no more) or by an optimizer before this one; else as
        the baseline, or a search trial."""
        at = self._waiting(assignment)
        if at is not None:
            return self._pending.pop(at)[1]
        if isinstance(tried, Suggestion):
            return Purpose(chosen("purpose", tried.purpose, tuple(Purpose)))
        return Purpose.BASELINE if assignment == self._study.baseline else Purpose.SEARCH

    def _waiting(self, assignment: Assignment) -> int | None:
        """Where it is among what waits."""
        return next((at for at, (waiting, _) in enumerate(self._pending) if waiting == assignment), None)

    def _given(self, tried: Suggestion | Mapping[str, Plain]) -> Assignment:
        given = tried.assignment if isinstance(tried, Suggestion) else tried
        return assignment_of(self._space, given, self._study.baseline)

    def predict(self, assignment: Mapping[str, Plain], *, load: float | None = None) -> dict[str, Forecast]:
        """What the model expects of an assignment now, by bound; at the peak when `load` is None. Empty before the
        baseline was measured.

        Raises:
            TypeError: no assignment, or a load that is no number.
            ValueError: an assignment or a load that makes no sense.
        """
        place = self._given(assignment)
        at = load_of({"load": load}) if load is not None else None
        found = designer.expect(self._now(), place, at)
        return {p.constraint: Forecast(math.exp(p.mean), p.sd, between) for p, between in found}

    def _now(self) -> Study:
        done, pending = self._told, tuple(assignment for assignment, _ in self._pending)
        waiting = tuple(purpose for _, purpose in self._pending)
        now, here = max((trial.finished for trial in done), default=0.0), tuple(self._outcomes)
        index = len(done) + len(pending)
        study = replace(self._study, inherited=self._earlier, outcomes=here, pending=pending, waiting=waiting)
        return replace(study, index=index, now=now)

    def _readings(self, what: str, measured: Mapping[str, Measured | Counts] | None) -> tuple[ConstraintReading, ...]:
        bounds = {target.name for target in self._study.constraints}
        aims = {target.name.partition("/")[2] for target in self._study.measured}
        found = []
        rows = {} if measured is None else by_name(what, measured, "(value, standard error)")
        for name, given in rows.items():
            if name not in bounds | aims:
                words = "constraints and objectives" if aims else "constraints"
                raise ValueError(f"{name}: not among the {words} ({', '.join(sorted(bounds | aims)) or 'none'})")
            sample = sample_of(name, given)
            found += [ConstraintReading(name, sample)] if name in bounds else []
            found += [ConstraintReading(measured_name(name), sample)] if name in aims else []
        return tuple(found)


def _search(acquisition: str, seed: int, initial: int, mode: str) -> SearchSettings:
    seed, initial = whole("seed", seed, 0), whole("initial", initial, BASELINES)
    return SearchSettings("GaussianProcess", acquisition, seed, initial, repair=mode == "Repair")


__all__ = [
    "Bound", "Choices", "Counts", "Diagnostics", "Forecast", "FrontPoint", "Optimizer", "Order", "Range", "Ratio",
    "Recommendation", "Suggestion", "Sum",
]  # fmt: skip
