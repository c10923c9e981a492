"""Wire models of what is wanted: objectives, constraints, error budgets."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trimtab.api.base import DEFAULT_KEY, Rule, WireModel, exactly_one, section
from trimtab.api.scalars import DECIMAL_PATTERN, DURATION_PATTERN, Name, lasting, number, percentage, unless_malformed
from trimtab.domain.quantity import parse_duration

Builtin = Literal["ResourceCost"]
Bound = number("0", "1000000000000", above=True, unit="the SLI's unit", example="0.05")


class ObjectiveTerm(WireModel):
    """weight x (builtin or SLI)."""

    builtin: Builtin | None = Field(None, description="ResourceCost: $ per hour of the target's requests.")
    sli: Name | None = Field(None, description="Name of an SLI.")
    weight: Annotated[str, number("-1000000", "1000000")] = Field(
        "1", description="Weight of the term, as a decimal string."
    )

    RULES = (exactly_one("builtin", "sli"),)


class Objective(WireModel):
    """What is minimized or maximized."""

    name: Name = Field(description="Name of the objective, used in messages.")
    goal: Literal["Minimize", "Maximize"] = Field("Minimize", description="Direction.")
    builtin: Builtin | None = Field(
        None,
        description="ResourceCost: $ per hour of the target's requests at spec.prices, or per million requests where "
        "an autoscaler is tuned.",
    )
    sli: Name | None = Field(
        None, description="Name of an SLI, above 0 at the baseline. Better is what is so beyond doubt, arms paired."
    )
    terms: tuple[ObjectiveTerm, ...] | None = Field(
        None,
        description="A weighted sum of weight x value: $ per hour, and SLIs in their own units (ratios: a fraction).",
        min_length=2,
        max_length=8,
    )

    RULES = (
        exactly_one("builtin", "sli", "terms"),
        Rule(
            "!has(self.builtin) || self.goal == 'Minimize'",
            "ResourceCost can only be minimized; set goal: Minimize",
            lambda m: m.builtin is None or m.goal == "Minimize",
            field=".goal",
        ),
    )

    def slis(self) -> tuple[str, ...]:
        """Names of the SLIs that the objective refers to."""
        named = [self.sli, *(term.sli for term in self.terms or ())]
        return tuple(name for name in named if name is not None)


class RelativeToControl(WireModel):
    """A bound relative to the control arm, measured at the same time."""

    max_increase_percent: Annotated[str, percentage(most="1000")] | None = Field(
        None, description="Canary may exceed the control by this percentage of the control's value."
    )
    max_increase: Annotated[str, number("0", "1000000000000", unit="the SLI's unit", example="0.001")] | None = Field(
        None,
        description="Canary may exceed the control by this much, in the SLI's unit; suits ratios near zero, whose "
        "percentage is noise.",
    )

    RULES = (exactly_one("max_increase_percent", "max_increase"),)


class Abort(WireModel):
    """Withdraws the canary when the bound is broken in several of the last safety windows."""

    breaches: int = Field(3, ge=1, le=20, description="Withdraw at this many broken windows.")
    out_of: int = Field(4, ge=1, le=20, description="Of so many last non-overlapping windows.")

    RULES = (
        Rule(
            "self.breaches <= self.outOf",
            "breaches may not exceed outOf; lower breaches or raise outOf",
            lambda m: m.breaches <= m.out_of,
            field=".breaches",
        ),
    )


class Sequential(WireModel):
    """The sequential test of the canary's errors against the control's."""

    max_error_ratio: Annotated[str, number("1", "100", example="1.2")] = Field(
        "1.2", description="Tolerated ratio of the canary's bad ratio to the control's, as a decimal string."
    )


class Constraint(WireModel):
    """A bound that every assignment must keep: on an SLI, or on the cost."""

    name: Name = Field(description="Name of the constraint, used in messages and measurements.")
    sli: Name | None = Field(None, description="Name of the bounded SLI.")
    builtin: Builtin | None = Field(
        None,
        description="Bounds the cost ($ per hour of the target's requests) instead of an SLI: what costs more is never "
        "tried. The present settings must keep it.",
    )
    max: Annotated[str, Bound] | None = Field(
        None, description="Greatest value, in the SLI's unit (ratios: a fraction), as a decimal string."
    )
    min: Annotated[str, Bound] | None = Field(
        None, description="Least value, in the SLI's unit (ratios: a fraction), as a decimal string."
    )
    relative_to_control: RelativeToControl | None = Field(
        None, description="A bound relative to the control arm, with or instead of max."
    )
    confidence_percent: Annotated[str, percentage("50", "99.9")] = Field(
        "95", description="Confidence at which a measurement is judged against the bound."
    )
    errors: Literal["Modelled", "GuardOnly"] = Field(
        "Modelled",
        description="Modelled: the optimizer learns the bound and stays inside. GuardOnly: it is guarded during trials "
        "and certified at verification only; for ratios too rare to measure in one trial.",
    )
    abort: Abort = section(Abort, "When a trial is withdrawn early for this bound.")
    sequential: Sequential | None = Field(None, description="Sequential test of the canary against the control.")

    RULES = (
        exactly_one("sli", "builtin"),
        Rule(
            "has(self.max) || has(self.min) || has(self.relativeToControl)",
            "is without a bound; set max, min or relativeToControl",
            lambda m: m.max is not None or m.min is not None or m.relative_to_control is not None,
        ),
        Rule(
            f"!has(self.max) || !has(self.min) || {unless_malformed(DECIMAL_PATTERN, 'self.min', 'self.max')}"
            "double(self.min) < double(self.max)",
            "max must be greater than min; raise max or lower min",
            lambda m: m.max is None or m.min is None or float(m.min) < float(m.max),
            field=".max",
        ),
        Rule(
            "!has(self.builtin) || has(self.max) && !has(self.min) && !has(self.relativeToControl)",
            "a bound on the cost takes max alone; remove min and relativeToControl",
            lambda m: m.builtin is None or (m.max is not None and m.min is None and m.relative_to_control is None),
        ),
    )


class PauseOnBurn(WireModel):
    """Pauses everything once this much of the budget is gone within the window."""

    percent: Annotated[str, percentage(above=True)] = Field("50", description="Percent of the whole budget.")
    window: Annotated[str, lasting("1m", "720h")] = Field("6h", description="Window over which the loss is counted.")


class BurnRatePair(WireModel):
    """Withdraws a live trial when both windows burn the budget faster than `factor`."""

    short: Annotated[str, lasting("10s", "24h")] = Field(description="Short window: it is still burning.")
    long: Annotated[str, lasting("1m", "168h")] = Field(description="Long window: it is no blip.")
    factor: Annotated[str, number("1", "100000", example="14.4")] = Field(
        description="Multiple of the speed that would use up the budget exactly at the window's end."
    )

    RULES = (
        Rule(
            unless_malformed(DURATION_PATTERN, "self.short", "self.long")
            + "duration(self.short) < duration(self.long)",
            "short must be shorter than long; shorten short or lengthen long",
            lambda m: parse_duration(m.short) < parse_duration(m.long),
            field=".short",
        ),
    )


def _can_fire(budget: ErrorBudget) -> bool:
    if budget.pause_on_burn is None:
        return True
    spent = float(budget.pause_on_burn.percent) / 100
    stretch = parse_duration(budget.window) / parse_duration(budget.pause_on_burn.window)
    return spent * stretch * (1 - float(budget.objective_percent) / 100) < 1


def _pairs_can_fire(budget: ErrorBudget) -> bool:
    pairs = budget.rollback_on_burn_rate or ()
    return all(float(pair.factor) * (1 - float(budget.objective_percent) / 100) < 1 for pair in pairs)


_STRETCH = "double(duration(self.window).getSeconds()) / double(duration(self.pauseOnBurn.window).getSeconds())"
_BAD = "(1.0 - double(self.objectivePercent) / 100.0)"


class ErrorBudget(WireModel):
    """An SLO and what the experiments may spend of it."""

    name: Name = Field(description="Name of the budget, used in status and messages.")
    sli: Name = Field(description="Name of an SLI that counts events (bad / total).")
    objective_percent: Annotated[str, percentage(above=True, below=True)] = Field(
        description="The SLO: percent of events that must be good, for example 99.9."
    )
    window: Annotated[str, lasting("1m", "2160h")] = Field("720h", description="Window of the SLO.")
    experiment_share_percent: Annotated[str, percentage(above=True)] = Field(
        "5", description="Cap on what all trials of this Experiment may spend, in percent of the whole budget."
    )
    start_above_percent: Annotated[str, percentage()] = Field(
        "40", description="Trials start only while at least this much of the service's budget is left."
    )
    pause_on_burn: PauseOnBurn | None = Field(
        None,
        description="Pauses everything on a fast loss of budget. Default: 50 percent within 6h, left out for SLOs so "
        "low that even an outage could not trigger it.",
        json_schema_extra={DEFAULT_KEY: "50 percent within 6h"},
    )
    rollback_on_burn_rate: tuple[BurnRatePair, ...] | None = Field(
        None,
        max_length=8,
        description="Pairs of windows; any pair that fires withdraws a live trial. Default: 5m with 1h for 2 percent "
        "of the budget and 30m with 6h for 5 percent (factors 14.4 and 6 at a window of 720h).",
        json_schema_extra={DEFAULT_KEY: "5m and 1h at 14.4, 30m and 6h at 6 (window 720h)"},
    )

    RULES = (
        Rule(
            "!has(self.pauseOnBurn) || "
            + unless_malformed(DURATION_PATTERN, "self.window", "self.pauseOnBurn.window")
            + unless_malformed(DECIMAL_PATTERN, "self.objectivePercent", "self.pauseOnBurn.percent")
            + f"double(self.pauseOnBurn.percent) / 100.0 * {_STRETCH} * {_BAD} < 1.0",
            "pauseOnBurn can never fire: even an outage does not burn that much in its window; "
            "lower percent or lengthen pauseOnBurn.window",
            _can_fire,
            field=".pauseOnBurn",
        ),
        Rule(
            f"!has(self.rollbackOnBurnRate) || self.rollbackOnBurnRate.all(p, "
            f"{unless_malformed(DECIMAL_PATTERN, 'self.objectivePercent', 'p.factor')}double(p.factor) * {_BAD} < 1.0)",
            "rollbackOnBurnRate holds a pair that can never fire: a factor must be below 1 / (1 - objective); lower it",
            _pairs_can_fire,
            field=".rollbackOnBurnRate",
        ),
    )
