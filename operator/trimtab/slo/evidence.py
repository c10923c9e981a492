"""The sequential tests of one trial: which run, at which level, and what they say so far. Pure.

A canary is withdrawn by either of two findings about an SLI that counts events:

    ratio   a constraint names a tolerated ratio delta, and the canary's bad ratio is more than delta times the
            control's
    limit   the canary's bad ratio is above a limit (1 - objective of an error budget; the max of a constraint that
            names a ratio), and it is more than 1.2 times the control's. A limit alone would blame the canary for what
            hits both arms: then the service's own budget gate and the abort rule speak.

The second finding takes both rejections, each at the full level (an intersection-union test; Berger 1982). The level of
a trial is 1 %, split over its findings and never over looks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from trimtab.domain.measurement import Sample
from trimtab.domain.spec import ExperimentSpec, OutcomeConstraint, RatioQuery, Sli, SlowRatioQuery
from trimtab.slo.sequential import ALPHA, DEFAULT_RATIO, INVERSES, EProcess, LimitProcess
from trimtab.slo.words import show


@dataclass(frozen=True)
class Asked:
    """What is asked of one SLI: the tolerated ratio to the control, whether a constraint names it, and the strictest
    limit of the bad ratio, None without one in (0, 1)."""

    sli: str
    delta: float
    named: bool
    limit: float | None

    @property
    def findings(self) -> int:
        return int(self.named) + int(self.limit is not None)


@dataclass(frozen=True)
class SliTest:
    """The running tests of one SLI. `excess` is against the control at the default ratio; `no_worse` and `within` speak
    for the canary, and run only where a trial may end early."""

    asked: Asked
    ratio: EProcess
    excess: EProcess
    limit: LimitProcess | None = None
    no_worse: EProcess | None = None
    within: LimitProcess | None = None

    @classmethod
    def of(cls, asked: Asked, early: bool) -> SliTest:
        """Before the first request."""
        limit = asked.limit
        return cls(
            asked,
            EProcess(delta=asked.delta),
            EProcess(delta=min(asked.delta, DEFAULT_RATIO)),
            None if limit is None else LimitProcess(limit),
            EProcess(delta=asked.delta, ratios=INVERSES) if early else None,
            LimitProcess(limit, ratios=INVERSES) if early and limit is not None else None,
        )

    def add(self, canary: Sample, control: Sample) -> SliTest:
        """One more window of both arms. Windows in which either arm had no traffic, or no counts, add nothing."""
        if canary.bad is None or control.bad is None or canary.total <= 0 or control.total <= 0:
            return self
        counts = (canary.bad, canary.total, control.bad, control.total)
        ratio = self.ratio.add(*counts)
        same = self.excess.delta == self.ratio.delta
        return SliTest(
            self.asked,
            ratio,
            ratio if same else self.excess.add(*counts),
            None if self.limit is None else self.limit.add(canary.bad, canary.total),
            None if self.no_worse is None else self.no_worse.add(*counts),
            None if self.within is None else self.within.add(canary.bad, canary.total),
        )

    def tempered(self, phi: float) -> SliTest:
        """With this overdispersion."""
        return SliTest(
            self.asked,
            replace(self.ratio, phi=phi),
            replace(self.excess, phi=phi),
            None if self.limit is None else replace(self.limit, phi=phi),
            None if self.no_worse is None else replace(self.no_worse, phi=phi),
            None if self.within is None else replace(self.within, phi=phi),
        )

    @property
    def value(self) -> float:
        """The larger of the e-values by which the canary may be withdrawn."""
        found = [self.ratio.value] if self.asked.named else []
        found += [min(self.limit.value, self.excess.value)] if self.limit is not None else []
        return max(found, default=self.ratio.value)

    def harmful(self, alpha: float) -> bool:
        """Either finding holds at this level."""
        if self.asked.named and self.ratio.rejects(alpha):
            return True
        return self.limit is not None and self.limit.rejects(alpha) and self.excess.rejects(alpha)

    def good(self, alpha: float) -> bool:
        """Below the limit, and not worse than a tolerated ratio that somebody named, beyond doubt at this level."""
        if self.no_worse is None or self.within is None or not self.within.rejects(alpha):
            return False
        return not self.asked.named or self.no_worse.rejects(alpha)


Tests = tuple[tuple[str, SliTest], ...]


def asked_of(spec: ExperimentSpec) -> tuple[Asked, ...]:
    """The SLIs under test: of constraints that name a ratio, and of every error budget. By name."""
    limits: dict[str, list[float]] = {}
    named: dict[str, float] = {}
    for budget in spec.budgets:
        limits.setdefault(budget.sli, []).append(1 - budget.objective)
    for bound in spec.constraints:
        if bound.max_error_ratio is not None:
            named[bound.sli] = min(bound.max_error_ratio, named.get(bound.sli, math.inf))
            limits.setdefault(bound.sli, []).append(math.inf if bound.maximum is None else bound.maximum)
    return tuple(
        Asked(
            sli, named.get(sli, DEFAULT_RATIO), sli in named, min((x for x in limits[sli] if 0 < x < 1), default=None)
        )
        for sli in sorted(limits)
    )


def tested_slis(spec: ExperimentSpec) -> dict[str, float]:
    """SLI to the tolerated ratio of its sequential test."""
    return {t.sli: t.delta for t in asked_of(spec)}


def level(spec: ExperimentSpec) -> float:
    """The level at which each finding is made."""
    return ALPHA / max(1, sum(t.findings for t in asked_of(spec)))


def tempered(tests: Tests, phis: Mapping[str, float]) -> Tests:
    """With what is known of how events cluster, by SLI."""
    return tuple((name, test.tempered(phis[name]) if name in phis else test) for name, test in tests)


def worse_words(sli: Sli, test: SliTest, alpha: float) -> str:
    """Why a harmful canary is withdrawn, with numbers."""
    counts, limit = test.ratio, test.asked.limit
    words = (
        f"{sli.name}: {show(sli, counts.canary_bad / counts.canary_total)} of {counts.canary_total:,.0f} against "
        f"{show(sli, counts.control_bad / counts.control_total)} of {counts.control_total:,.0f} in the control, "
    )
    if limit is not None and not (test.asked.named and counts.rejects(alpha)):
        words += f"limit {show(sli, limit)}, "
    return f"{words}e-value {test.value:,.0f} >= {1 / alpha:,.0f}"


def early_kept(spec: ExperimentSpec, constraint: OutcomeConstraint) -> bool:
    """Whether the tests can show that a constraint is kept: it names a ratio, its SLI counts events, and it has nothing
    but a maximum."""
    counted = isinstance(spec.sli(constraint.sli).query, RatioQuery | SlowRatioQuery)
    alone = constraint.minimum is None and constraint.relative is None and constraint.maximum is not None
    return counted and alone and constraint.max_error_ratio is not None


def clearly_good(spec: ExperimentSpec, tests: Tests) -> bool:
    """Whether nothing that a longer window could tell is in doubt: every constraint can be shown and every SLI under
    test is shown to be good, each at the strictest constraint's level, with the samples that it needs on both arms."""
    if not spec.trial.early_success or not spec.constraints or not spec.is_cost:
        return False
    bounds = [c for c in spec.constraints if not c.guard_only]
    if not bounds or not all(early_kept(spec, c) for c in bounds):
        return False
    alpha, running = 1 - max(c.confidence for c in bounds), dict(tests)
    return all(t.sli in running and _shown(spec, running[t.sli], alpha) for t in asked_of(spec))


def _shown(spec: ExperimentSpec, test: SliTest, alpha: float) -> bool:
    enough = min(test.ratio.canary_total, test.ratio.control_total) >= spec.sli(test.asked.sli).min_samples
    return enough and test.good(alpha)


__all__ = [
    "Asked",
    "SliTest",
    "Tests",
    "asked_of",
    "clearly_good",
    "early_kept",
    "level",
    "tempered",
    "tested_slis",
    "worse_words",
]
