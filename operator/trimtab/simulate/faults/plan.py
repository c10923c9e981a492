"""Fault plans: what goes wrong in a simulated world, when, and for how long; and their YAML or JSON form.

    seed: 7
    faults:
    - {kind: APIUnreachable, at: 2m, duration: 30s}
    - {kind: OOMKilled, when: {moment: Measuring, trial: 1, after: 5s}, parameters: {of: canary}}
    - {kind: OperatorKilled, when: {effect: "after:create:Deployment", nth: 2}, parameters: {restartAfter: 10s}}

A plan is complete: read and printed it names every parameter, so that it means the same for ever.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator
from pydantic.alias_generators import to_camel

from trimtab.api.base import failed_rules
from trimtab.api.problems import Problem, Unreadable, read
from trimtab.domain.texts import nearest
from trimtab.simulate.faults.catalogue import CATALOGUE, Row
from trimtab.simulate.faults.kinds import (
    DAY,
    EFFECTS,
    LIVE_MOMENTS,
    Asks,
    FaultKind,
    Moment,
    Value,
    read_seconds,
    write_seconds,
)

MAX_FAULTS = 50
MAX_TRIAL = 9999
_EFFECT = re.compile(r"(before|after):(create|replace|delete):[A-Z][A-Za-z]*(/[a-z]+)?")


class InvalidPlan(Exception):
    """A plan that a person must change: one line with the file, the field, the problem and the remedy."""


def _within(low: float, high: float) -> Callable[[object], float]:
    def check(value: object) -> float:
        try:
            seconds = read_seconds(value)
        except ValueError as error:
            raise failed_rules([("", str(error))]) from None
        if not low <= seconds <= high:
            raise failed_rules([("", f"is out of bounds; use {write_seconds(low)} to {write_seconds(high)}")])
        return seconds

    return check


Time = Annotated[float, BeforeValidator(_within(0.0, 30 * DAY)), PlainSerializer(write_seconds)]
Duration = Annotated[float, BeforeValidator(_within(0.001, 30 * DAY)), PlainSerializer(write_seconds)]


class _Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)


class Trigger(_Model):
    """A place in the story instead of a time: a moment of a Trial's life, or the nth time that an effect happens."""

    moment: Moment | None = None
    trial: Annotated[int, Field(ge=0, le=MAX_TRIAL)] = 0
    """Index of the Trial; without meaning for moments outside of a trial."""
    after: Time = 0.0
    """Seconds after that moment began."""
    effect: Annotated[str, Field(max_length=80)] | None = None
    """`before:create:Deployment`, `after:replace:Trial/status`, ..."""
    nth: Annotated[int, Field(ge=1, le=100_000)] = 1

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.moment is None) == (self.effect is None):
            raise failed_rules([("", "needs exactly one of moment and effect; remove or add one")])
        if self.effect is not None and (words := _wrong(self.effect)):
            raise failed_rules([(".effect", words)])
        return self


def _wrong(point: str) -> str:
    """Why this is no effect of an operator, with the remedy; "" when it is one."""
    if not _EFFECT.fullmatch(point):
        return f"{point!r} is no effect; write <before|after>:<create|replace|delete>:<Kind>[/<subresource>]"
    effect = point.partition(":")[2]
    if effect in EFFECTS:
        return ""
    verb, _, what = effect.partition(":")
    known = sorted(each.partition(":")[2] for each in EFFECTS if each.startswith(f"{verb}:"))
    return f"no operator writes {what} by {verb}; use one of {', '.join(known)}"


class Fault(_Model):
    """One fault. `parameters` holds every parameter of its kind."""

    kind: FaultKind
    at: Time | None = None
    """Seconds from the world's beginning."""
    when: Trigger | None = None
    duration: Duration | None = None
    parameters: dict[str, Value] = Field(default_factory=dict, max_length=8)

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: Any) -> Any:
        """Check the parameters against the catalogue, and fill in what was left out."""
        if not isinstance(data, Mapping) or data.get("kind") is None:
            return data
        row = _row(str(data["kind"]))
        given = data.get("parameters") or {}
        if not isinstance(given, Mapping):
            raise failed_rules([(".parameters", "must be an object; write its fields below it, indented")])
        filled = dict(data) | {"parameters": _parameters(row, given)}
        if row.usual is not None and data.get("duration") is None:
            filled["duration"] = write_seconds(round(sum(row.usual) / 2, 1))
        return filled

    @model_validator(mode="after")
    def _check(self) -> Self:
        row = self.row
        if (self.at is None) == (self.when is None):
            raise failed_rules([("", "needs exactly one of at and when; remove or add one")])
        if self.duration is not None and not row.lasts:
            raise failed_rules([(".duration", f"{self.kind} happens in an instant; remove it")])
        moment = self.when.moment if self.when is not None else None
        if moment is not None and moment not in row.moments:
            words = f"{self.kind} does not strike at {moment}; use one of {', '.join(row.moments)}"
            raise failed_rules([(".when.moment", words)])
        return self

    @property
    def row(self) -> Row:
        """Its row of the catalogue."""
        return CATALOGUE[self.kind]

    def text(self, name: str) -> str:
        """A parameter that is a word."""
        value = self.parameters[name]
        assert isinstance(value, str)
        return value

    def number(self, name: str) -> float:
        """A parameter that is a number or a time in seconds."""
        value = self.parameters[name]
        assert isinstance(value, float)
        return value

    def wire(self) -> dict[str, Any]:
        """The form in a file: only what means something."""
        found: dict[str, Any] = {"kind": self.kind.value}
        if self.at is not None:
            found["at"] = write_seconds(self.at)
        if self.when is not None:
            found["when"] = _trigger_wire(self.when)
        if self.duration is not None:
            found["duration"] = write_seconds(self.duration)
        if self.row.parameters:
            found["parameters"] = {p.name: p.write(self.parameters[p.name]) for p in self.row.parameters}
        return found


class Scenario(_Model):
    """The built-in Experiment that a plan is played on when none is given: how long it is, what chooses its
    assignments, how many trials verify the recommendation (0: none), and what it asks for beyond the usual: a short
    window first, a cap on what trials cost, the repair of a baseline that breaks its bound, a measured objective, two
    objectives, trials that end early, traffic by the weights of a route, replicas or an autoscaler that are tuned
    behind one, an operator of several namespaces, bounds on values and cohorts, variables and node types, an earlier
    history, or arms of several pods."""

    trials: Annotated[int, Field(ge=1, le=50)] = 4
    designer: Literal["Sobol", "GaussianProcess"] = "Sobol"
    replicates: Annotated[int, Field(ge=0, le=5)] = 1
    parallel: Annotated[int, Field(ge=1, le=4)] = 1
    asks: Asks = "Plain"

    @property
    def all_trials(self) -> int:
        """Trials of an undisturbed story."""
        return self.trials + self.replicates


class FaultPlan(_Model):
    """All faults of one simulated world; `seed` draws what chance decides while they act."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    scenario: Scenario = Scenario()
    faults: tuple[Fault, ...] = Field(default=(), max_length=MAX_FAULTS)

    def wire(self) -> dict[str, Any]:
        """The form in a file; read again it is the same plan."""
        scenario = self.scenario.model_dump(mode="json", by_alias=True)
        return {"seed": self.seed, "scenario": scenario, "faults": [fault.wire() for fault in self.faults]}

    def with_faults(self, faults: tuple[Fault, ...]) -> FaultPlan:
        """The same seed with other faults."""
        return self.model_copy(update={"faults": faults})


def plan_of(document: Any, source: str) -> FaultPlan:
    """A plan from a YAML or JSON document.

    Raises:
        InvalidPlan: one line that names the source, the field and the remedy.
    """
    if not isinstance(document, Mapping):
        raise InvalidPlan(f"{source}: is no fault plan; start with `faults:` and a list of faults")
    try:
        return read(FaultPlan, document, "")
    except Unreadable as error:
        first, more = error.problems[0], len(error.problems) - 1
        field = first.field.removeprefix(".")
        shown = str(Problem(field, first.problem, first.remedy)) if field else f"{first.problem}; {first.remedy}"
        raise InvalidPlan(f"{source}: {shown}" + (f" (and {more} more)" if more else "")) from None


def _row(kind: str) -> Row:
    try:
        return CATALOGUE[FaultKind(kind)]
    except ValueError:
        meant = nearest(kind, (k.value for k in FaultKind))
        remedy = f"did you mean {meant}?" if meant else "the reference page of faults lists them"
        raise failed_rules([(".kind", f"{kind[:60]!r} is no kind of fault; {remedy}")]) from None


def _parameters(row: Row, given: Mapping[Any, Any]) -> dict[str, Value]:
    failures = [(f".parameters.{name}", _unknown(row, str(name))) for name in given if row.parameter(str(name)) is None]
    found: dict[str, Value] = {}
    for parameter in row.parameters:
        value = given.get(parameter.name)
        if value is None:
            found[parameter.name] = parameter.default
            continue
        try:
            found[parameter.name] = parameter.read(value)
        except ValueError as error:
            failures.append((f".parameters.{parameter.name}", str(error)))
    if failures:
        raise failed_rules(failures)
    return found


def _unknown(row: Row, name: str) -> str:
    known = [p.name for p in row.parameters]
    meant = nearest(name, known)
    remedy = f"did you mean {meant}?" if meant else f"it has {', '.join(known)}" if known else "remove it"
    return f"{row.kind} has no such parameter; {remedy}"


def _trigger_wire(trigger: Trigger) -> dict[str, Any]:
    if trigger.effect is not None:
        return {"effect": trigger.effect, "nth": trigger.nth}
    assert trigger.moment is not None
    found: dict[str, Any] = {"moment": trigger.moment.value}
    if trigger.moment in LIVE_MOMENTS or trigger.trial:
        found["trial"] = trigger.trial
    if trigger.after:
        found["after"] = write_seconds(trigger.after)
    return found


__all__ = ["Fault", "FaultPlan", "InvalidPlan", "Scenario", "Trigger", "plan_of"]
