"""What a measurement says about a bound, and what an assignment's own trials say about it, without any model.

Plain Python without numpy. g = ln(SLI / bound) (for a lower bound: ln(bound / SLI)); g <= 0 is safe.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from trimtab.domain.limits import poisson_limits
from trimtab.domain.measurement import Sample
from trimtab.domain.space import Assignment
from trimtab.domain.study import ArmOutcome, ConstraintTarget, FailureKind, Study, TrialOutcome
from trimtab.domain.trial import Purpose
from trimtab.optimize.steps import resource_parameters

SE_FLOOR = 0.01
TRUNCATED_SE = 1.0
UNEXPLAINED_SE = 2.0
FAILURE_G = math.log(3.0)
FAILURE_SE = 0.5
ONE_SIDED_95 = 1.6448536269514722
NOTHING_G, NOTHING_SE = -3.0, 1.5  # a value that is none: at 5 % of its bound, give or take a factor of 4.5
_G_LIMIT = 12.0
_SE_LIMIT, _SPREAD_LIMIT = 100.0, 1e6  # beyond them a reading says nothing, and squares would leave the numbers
_LEAST_EXPECTED = 1e-12  # bad events at the bound: with fewer there was no traffic
_TINY = 1e-300


@dataclass(frozen=True)
class Observation:
    """One reading as data for g.

    Counts carry `bad` events and `expected`, the number of bad events that n requests would have AT the bound
    (n x bound), so that bad ~ Poisson(expected x e^g); then `g` and `se` are only the approximation used for own
    evidence. Without counts `bad` is None and g ~ N(true g, se^2). `overdispersion` >= 1 inflates the variance. `load`
    is what the arm saw meanwhile.
    """

    g: float
    se: float
    bad: float | None = None
    expected: float | None = None
    overdispersion: float = 1.0
    load: float | None = None

    def raised(self, by: float) -> Observation:
        """The same as it would be were g higher."""
        expected = None if self.expected is None else self.expected * math.exp(-by)
        return replace(self, g=self.g + by, expected=expected)


def usable(target: ConstraintTarget) -> bool:
    """Whether g is defined for the target: a positive, finite bound; a margin above -1; an increase of at least 0."""
    if target.relative_increase is not None:
        return math.isfinite(target.relative_increase) and target.relative_increase >= 0
    if target.relative_margin is not None:
        return math.isfinite(target.relative_margin) and target.relative_margin > -1
    return math.isfinite(target.bound) and target.bound > 0


def observe(target: ConstraintTarget, sample: Sample, least: float = SE_FLOOR) -> Observation | None:
    """Read an absolute bound; None where the sample cannot be used (NaN, no traffic, negative counts). `least` as in
    `observe_trial`; below `SE_FLOOR` trials repeat themselves, and zero is a value like any other."""
    spread = _spread(sample)
    if sample.bad is not None:
        return _counts(target, sample, sample.bad, spread)
    if not (math.isfinite(sample.value) and math.isfinite(sample.standard_error) and sample.standard_error >= 0):
        return None
    if sample.value < 0:
        return None
    # A value of zero has no logarithm: it says "at most one standard error", with that width.
    value = max(sample.value, sample.standard_error, target.bound * math.exp(-_G_LIMIT), _TINY)
    g = _clip(_log(value / target.bound))
    se = _width(sample.standard_error / value, least)
    if not target.upper:
        return Observation(-g, se)
    return Observation(g, se) if least < SE_FLOOR else _credited(sample, g, se)


def observe_relative(target: ConstraintTarget, canary: Sample, control: Sample) -> Observation | None:
    """Read a bound relative to the control: y = ln(canary / control) - ln(1 + m), se^2 = se_c^2 + se_b^2."""
    if target.relative_increase is not None:
        return _increase(target.relative_increase, canary, control)
    one, other = _log_value(canary), _log_value(control)
    if one is None or other is None or target.relative_margin is None:
        return None
    sign = 1.0 if target.upper else -1.0
    y = sign * (one[0] - other[0]) - math.log1p(target.relative_margin)
    return Observation(_clip(y), _width(math.hypot(one[1], other[1])))


def observe_trial(
    target: ConstraintTarget, trial: TrialOutcome, arm: ArmOutcome, least: float = SE_FLOOR
) -> Observation | None:
    """The observation of one arm for one constraint; for a relative bound only the canary has one. `least` is the
    least standard error of g that a value is credited with."""
    sample = _sample(arm, target.name)
    if sample is None:
        return None
    if not target.relative:
        return observe(target, sample, least)
    if trial.control is None or arm is not trial.canary:
        return None
    control = _sample(trial.control, target.name)
    return None if control is None else observe_relative(target, sample, control)


@dataclass
class Evidence:
    """What the trials of ONE assignment say by themselves, at the loads they saw.

    `clean` counts complete learnable trials, which read every bound of the safe set: what was not measured was not
    kept. `screened` counts those of them that ended after a short window, `withdrawn` truncated or broken ones,
    `clean_since` the complete ones after the last withdrawal, `early` the complete ones that ended as soon as they were
    clearly good.
    """

    clean: int = 0
    withdrawn: int = 0
    clean_since: int = 0
    screened: int = 0
    early: int = 0
    observations: dict[str, list[Observation]] = field(default_factory=dict)
    _known: dict[str, tuple[int, tuple[float, float, float]]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def full(self) -> int:
        """Complete trials over a whole window."""
        return self.clean - self.screened

    def interval(self, constraint: str) -> tuple[float, float, float] | None:
        """(lower, point, upper) of g pooled over the trials, one-sided 95 % each; None without observations.

        Counts: the limits of a Poisson number (`poisson_limits`).
        """
        rows = self.observations.get(constraint)
        if not rows:
            return None
        known = self._known.get(constraint)
        if known is None or known[0] != len(rows):
            known = self._known[constraint] = len(rows), self.pooled(rows)
        return known[1]

    @staticmethod
    def pooled(rows: list[Observation]) -> tuple[float, float, float]:
        """(lower, point, upper) of at least one observation."""
        counts = [o for o in rows if o.bad is not None and o.expected is not None]
        if len(counts) == len(rows):
            return _poisson_interval(counts)
        weights = [1.0 / o.se**2 for o in rows]
        mean = sum(w * o.g for w, o in zip(weights, rows, strict=True)) / sum(weights)
        half = ONE_SIDED_95 / math.sqrt(sum(weights))
        return mean - half, mean, mean + half

    def contradicts(self, constraints: tuple[ConstraintTarget, ...]) -> bool:
        """Whether its own trials speak against the assignment: withdrawn without two clean trials since, or a pooled
        estimate above a bound (for guard-only bounds: clearly above)."""
        if self.withdrawn and self.clean_since < 2:
            return True
        for target in constraints:
            interval = self.interval(target.name)
            if interval is not None and (interval[0] if target.guard_only else interval[1]) > 0:
                return True
        return False

    def verifies(self, constraints: tuple[ConstraintTarget, ...]) -> bool:
        """Whether they show it safe without a model: every bound's upper limit <= 0, and no contradiction. Trials that
        ended early do not by themselves: they ended because they looked good."""
        return self.clean > self.early and not self.contradicts(constraints) and self.held(constraints)

    def held(self, constraints: tuple[ConstraintTarget, ...]) -> bool:
        """Whether its complete trials kept every bound, whatever a withdrawn one showed."""
        if self.clean == 0:
            return False
        return all((i := self.interval(t.name)) is not None and i[2] <= 0 for t in constraints if not t.guard_only)


def exact(study: Study) -> bool:
    """Whether nothing has to be safe and every reading so far is a value with a standard error of 0: a function, or a
    model of a service, which repeats itself. Then no trial is measured again, and what holds needs no margin."""
    return not study.safe and all(
        reading.sample.standard_error == 0.0 and reading.sample.bad is None
        for trial in study.outcomes
        for arm in (trial.canary, trial.control)
        if arm is not None
        for reading in arm.readings
    )


def gather(study: Study) -> dict[Assignment, Evidence]:
    """Own evidence of every assignment that any arm ran, in the order of the ledger."""
    found: dict[Assignment, Evidence] = {}
    for trial in study.outcomes:
        canary = found.setdefault(trial.canary.assignment, Evidence())
        if not trial.learnable:
            continue
        if trial.failure is not None or trial.truncated:
            canary.withdrawn += 1
            canary.clean_since = 0
            continue
        if _judged(study, trial):
            canary.clean += 1
            canary.clean_since += 1
            canary.screened += trial.purpose is Purpose.SCREEN
            canary.early += trial.early
        _add(study, trial, trial.canary, canary)
        if trial.control is not None:
            _add(study, trial, trial.control, found.setdefault(trial.control.assignment, Evidence()))
    return found


def complete(study: Study, trial: TrialOutcome) -> bool:
    """Whether a trial is learnable and has a usable canary reading of every bound of the safe set and of every SLI that
    an objective counts."""
    if not trial.learnable or trial.truncated or trial.failure is not None:
        return False
    return _judged(study, trial) and all(observe_trial(t, trial, trial.canary) is not None for t in study.measured)


def _judged(study: Study, trial: TrialOutcome) -> bool:
    """Whether the canary has a usable reading of every bound of the safe set."""
    bounds = (t for t in study.constraints if not t.guard_only)
    return all(observe_trial(t, trial, trial.canary) is not None for t in bounds)


def broken_below(study: Study) -> tuple[tuple[tuple[str, float], ...], ...]:
    """Per OOM: ((parameter, value), ...) such that assignments at or below ALL of these values are excluded."""
    found = []
    for trial in study.outcomes:
        if trial.failure is None or (trial.failure.kind is not FailureKind.OOM and trial.failure.resource is None):
            continue
        names = resource_parameters(study.space, trial.failure.resource)
        corner = tuple((n, float(trial.canary.assignment[n])) for n in names)
        if corner:
            found.append(corner)
    return tuple(found)


def _counts(target: ConstraintTarget, sample: Sample, bad: float, spread: float) -> Observation | None:
    total = sample.total
    if not (math.isfinite(bad) and math.isfinite(total)) or bad < 0 or total <= 0 or bad > total * (1 + 1e-9):
        return None
    expected = total * target.bound
    if not _LEAST_EXPECTED < expected < math.inf:
        return None
    if not target.upper:
        good = (bad + 0.5) / (total + 1.0)
        se = math.sqrt(spread * max(1 - good, 0.0) / (total * good))
        return Observation(_clip(math.log(target.bound / good)), _width(se))
    g = math.log((bad + 0.5) / ((total + 1.0) * target.bound))
    se = math.sqrt(spread / (bad + 0.5))
    return Observation(_clip(g), _width(se), bad, expected, spread)


def _log_value(sample: Sample) -> tuple[float, float] | None:
    if sample.bad is not None:
        if not (math.isfinite(sample.bad) and math.isfinite(sample.total)) or sample.total <= 0 or sample.bad < 0:
            return None
        k = sample.bad + 0.5
        return math.log(k / (sample.total + 1.0)), math.sqrt(_spread(sample) / k)
    if not (math.isfinite(sample.value) and math.isfinite(sample.standard_error)) or sample.value <= 0:
        return None
    return math.log(sample.value), abs(sample.standard_error) / sample.value


def _increase(most: float, canary: Sample, control: Sample) -> Observation | None:
    """y = ln(c / (b + a)), by the delta method se^2 = (se_c / c)^2 + (se_b / (b + a))^2; c and b may be zero."""
    one, other = _value(canary), _value(control)
    if one is None or other is None or not other[0] + most > 0:
        return None
    allowed = other[0] + most
    value = max(one[0], one[1], allowed * math.exp(-_G_LIMIT), _TINY)
    g, se = _clip(_log(value / allowed)), _width(math.hypot(one[1] / value, other[1] / allowed))
    return _credited(canary, g, se)


def _credited(sample: Sample, g: float, se: float) -> Observation:
    """What a reading far below its bound teaches. A queue that is empty here tells little of where it fills: a value
    within one standard error of zero counts as 5 % of its bound, so the first that is one is no surprise."""
    if sample.bad is None and sample.value <= sample.standard_error and g < NOTHING_G:
        return Observation(NOTHING_G, max(se, NOTHING_SE))
    return Observation(g, se)


def _value(sample: Sample) -> tuple[float, float] | None:
    """(value, standard error); counts with half an event more, as for their logarithm."""
    if sample.bad is not None:
        found = _log_value(sample)
        return None if found is None else (math.exp(found[0]), math.exp(found[0]) * found[1])
    if not (math.isfinite(sample.value) and math.isfinite(sample.standard_error)) or sample.value < 0:
        return None
    return sample.value, abs(sample.standard_error)


def _poisson_interval(rows: list[Observation]) -> tuple[float, float, float]:
    bad = sum(o.bad or 0.0 for o in rows)
    expected = sum(o.expected or 0.0 for o in rows)
    spread = max(o.overdispersion for o in rows)
    k, scale = bad / spread, spread / expected
    lower, upper = poisson_limits(k, ONE_SIDED_95)
    point = (bad or 0.5) / spread
    return _log(lower * scale), _log(point * scale), _log(upper * scale)


def _log(ratio: float) -> float:
    return _clip(math.log(ratio)) if ratio > 0 else -_G_LIMIT


def _add(study: Study, trial: TrialOutcome, arm: ArmOutcome, evidence: Evidence) -> None:
    for target in study.constraints:
        seen = observe_trial(target, trial, arm)
        if seen is not None:
            evidence.observations.setdefault(target.name, []).append(replace(seen, load=arm.load))


def _sample(arm: ArmOutcome, name: str) -> Sample | None:
    return next((r.sample for r in arm.readings if r.constraint == name), None)


def _spread(sample: Sample) -> float:
    """Overdispersion as far as it means something: from 1, and 1 where it is unknown."""
    return min(max(1.0, sample.overdispersion), _SPREAD_LIMIT) if math.isfinite(sample.overdispersion) else 1.0


def _width(se: float, least: float = SE_FLOOR) -> float:
    """A standard error in ln units that can be worked with; one that is no number is as wide as can be."""
    return max(min(se, _SE_LIMIT), least) if math.isfinite(se) else _SE_LIMIT


def _clip(g: float) -> float:
    return min(max(g, -_G_LIMIT), _G_LIMIT)
