"""What the library answers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from trimtab.domain.space import SearchSpace
from trimtab.domain.study import Proposal, Recommended, Study
from trimtab.domain.trial import Suggestion as Proposed
from trimtab.optimize.library_inputs import Measured, Plain, amounts, plain
from trimtab.optimize.readings import complete


@dataclass(frozen=True)
class Forecast:
    """What the model expects of one bound: the median of value / bound, the standard deviation of its logarithm, and
    by how much one trial differs from the next beside that (`between`, of the logarithm too)."""

    median: float
    sd: float
    between: float


@dataclass(frozen=True)
class Suggestion:
    """What to try next. `number` counts what was told and what waits, from 0.

    `by_model` is False where the place is not the model's choice: the baseline, initial trials, and where it failed.
    `fallback` says what was wrong with it, "" when nothing was: why a space-filling trial stands in, or which bound's
    model had to be replaced by its prior. `safety_probability` is None when no model was asked; `predicted` has for
    each bound the median of value / bound at the peak and the standard deviation of its logarithm.
    """

    number: int
    assignment: dict[str, Plain]
    purpose: str
    safety_probability: float | None
    predicted: dict[str, Measured]
    reason: str
    by_model: bool
    fallback: str


@dataclass(frozen=True)
class FrontPoint:
    """An assignment that no other one beats in both objectives. `objectives` has (mean, standard deviation) by name; a
    known cost is named "cost"."""

    assignment: dict[str, Plain]
    objectives: dict[str, Measured]


@dataclass(frozen=True)
class Recommendation:
    """The best assignment that holds every bound with a margin, by default the cheapest. `saving` is a fraction of the
    baseline's objective, of its cost by default; below 0 where a baseline that breaks a bound was repaired.

    A measured objective is predicted in `objectives`, as in `FrontPoint`; `front` has for two objectives all that could
    be recommended, the best of the first one first.
    """

    assignment: dict[str, Plain]
    saving: float
    predicted: dict[str, Measured]
    message: str
    objectives: dict[str, Measured] = field(default_factory=dict)
    front: tuple[FrontPoint, ...] = ()


@dataclass(frozen=True)
class Diagnostics:
    """Health of the model when `ask` last needed it.

    `outcomes` trials were told since the last release, `incomplete` of them without a bound or a measured objective:
    they teach what they read, but what they tried is not known to hold. `verified_points` assignments are known to,
    `safe_points` of those that were looked at may be tried. `coverage` is the share of left-out readings within their
    95 % intervals, None below 5 outcomes; `kappa` in [1, 2] widens the intervals, the more often a bound was worse than
    foreseen.
    `lengthscales` are by bound (a measured objective is `objective/NAME`) and parameter, in the unit cube.
    `effective_dimension` is how many parameters the bounds depend on; `diversity` in [0, 1] how far apart trials were.
    `symptoms` say in words what is wrong with the model; `fallback` is as of a `Suggestion`. `undefined` is where the
    objective was first met without a finite value, "" when nowhere; such assignments are not tried. `digest` identifies
    code version, history and scales: the same digest and seed give the same suggestion. Where the model was not asked,
    there are no seconds.
    """

    outcomes: int
    incomplete: int
    verified_points: int
    safe_points: int
    kappa: float
    coverage: float | None
    lengthscales: dict[str, dict[str, float]]
    effective_dimension: float | None
    diversity: float | None
    symptoms: tuple[str, ...]
    fallback: str
    undefined: str
    digest: str
    fit_seconds: float | None
    search_seconds: float | None


def suggestion_of(space: SearchSpace, proposal: Proposal, answer: Proposed, number: int) -> Suggestion:
    """A proposal's answer as people read it."""
    return Suggestion(
        number=number,
        assignment=plain(space, answer.assignment),
        purpose=answer.purpose.value,
        safety_probability=answer.safety_probability,
        predicted={p.constraint: (math.exp(p.mean), p.sd) for p in answer.predictions},
        reason=answer.reason,
        by_model=answer.by_model,
        fallback=proposal.diagnostics.fallback,
    )


def recommendation_of(space: SearchSpace, answer: Recommended) -> Recommendation:
    """The same of what is recommended."""
    return Recommendation(
        assignment=plain(space, answer.assignment),
        saving=answer.saving,
        predicted={p.constraint: (math.exp(p.mean), p.sd) for p in answer.predictions},
        message=answer.message,
        objectives=amounts(answer.objectives),
        front=tuple(FrontPoint(plain(space, m.assignment), amounts(m.values)) for m in answer.front),
    )


def incomplete(study: Study) -> int:
    """How many trials lack a bound or a measured objective, those that broke left out."""
    return sum(t.failure is None and not complete(study, t) for t in study.outcomes)


def diagnostics_of(proposal: Proposal, study: Study, undefined: str) -> Diagnostics:
    """The same of a proposal's diagnostics."""
    found, answer = proposal.diagnostics, proposal.answer
    scales: dict[str, dict[str, float]] = {}
    for constraint, parameter, length in found.lengthscales:
        scales.setdefault(constraint, {})[parameter] = length
    modelled = isinstance(answer, Proposed) and bool(found.lengthscales)
    return Diagnostics(
        outcomes=found.outcomes,
        incomplete=incomplete(study),
        verified_points=found.verified_points,
        safe_points=found.safe_points,
        kappa=found.kappa,
        coverage=found.coverage,
        lengthscales=scales,
        effective_dimension=found.effective_dimension,
        diversity=found.diversity,
        symptoms=tuple(f"{s.kind}: {f'{s.constraint}: ' if s.constraint else ''}{s.message}" for s in found.symptoms),
        fallback=found.fallback,
        undefined=undefined,
        digest=answer.model_digest if isinstance(answer, Proposed) else "",
        fit_seconds=answer.fit_seconds if isinstance(answer, Proposed) and modelled else None,
        search_seconds=answer.search_seconds if isinstance(answer, Proposed) and modelled else None,
    )
