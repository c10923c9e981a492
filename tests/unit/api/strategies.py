"""Random domain objects for the round trips, built from the dataclasses' own fields.

A field that is added to the domain later is filled with random values without any change here, so a conversion that
forgets it fails.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from decimal import Decimal
from enum import StrEnum
from typing import Any

from hypothesis import strategies as st

from trimtab.domain.measurement import Sample
from trimtab.domain.space import Assignment
from trimtab.domain.state import Condition, ExperimentState, HandledRequest
from trimtab.domain.trial import EventDigest, Outcome, PhaseTimes, Suggestion, TrialPhase

EPOCH_2000, EPOCH_2100 = 946_684_800, 4_102_444_800
TIMES = {
    "started", "finished", "retry_at", "clear_since", "observed", "metrics_since", "at", "start", "end", "deadline",
    "deploying", "warming_up", "measuring", "draining", "until",
}  # fmt: skip
WHOLE_SECONDS = {(Condition, "changed"), (PhaseTimes, "created")}
NON_NEGATIVE = {"age", "total"}
UNIQUE = {
    "conditions": "type", "budgets": "name", "floors": "parameter", "load": "arm", "spent": "sli", "node_types": "arm",
    "slis": "sli", "objectives": "name",
}  # fmt: skip

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
names = st.from_regex(r"[a-z][a-z0-9-]{0,20}[a-z0-9]", fullmatch=True)
reasons = st.from_regex(r"[A-Z][A-Za-z]{0,20}", fullmatch=True)
times = st.integers(EPOCH_2000 * 1000, EPOCH_2100 * 1000).map(lambda milliseconds: milliseconds / 1000)
whole_seconds = st.integers(EPOCH_2000, EPOCH_2100).map(float)
numbers = st.floats(allow_nan=False, allow_infinity=False)


def assignments() -> st.SearchStrategy[Assignment]:
    """Values of two parameters as the shortest example has them, on the grid or between."""
    cores = st.integers(1, 64_000_000).map(lambda n: Decimal(n) / 1_000_000)
    sizes = st.integers(2**20, 2**40).map(Decimal)
    return st.builds(lambda c, m: Assignment((("cpu", c), ("memory", m))), cores, sizes)


def of(cls: type[Any], **overrides: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Random instances of a dataclass with every field filled."""
    hints = typing.get_type_hints(cls)
    fields = [field.name for field in dataclasses.fields(cls) if field.init]
    return st.builds(cls, **{name: overrides.get(name, _field(cls, name, hints[name])) for name in fields})


def _field(cls: type[Any], name: str, hint: Any) -> st.SearchStrategy[Any]:
    special = {
        (Condition, "reason"): reasons,
        (Outcome, "reason"): reasons,
        (ExperimentState, "counts"): _counts(),
        (ExperimentState, "active"): st.lists(names, max_size=4).map(tuple),
        (HandledRequest, "annotation"): names,
        (Sample, "overdispersion"): st.floats(1, 100),
        (Suggestion, "beside"): st.lists(st.integers(0, 100_000), max_size=4).map(tuple),
        (EventDigest, "count"): st.integers(1, 2**31),
    }
    if (cls, name) in special:
        return special[cls, name]
    if (cls, name) in WHOLE_SECONDS:
        return whole_seconds
    return _value(name, hint)


def _value(name: str, hint: Any) -> st.SearchStrategy[Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in {typing.Union, types.UnionType}:
        return st.one_of(*(_value(name, argument) for argument in arguments))
    if origin is tuple and arguments[-1] is Ellipsis:
        key = UNIQUE.get(name)
        by = (lambda item: getattr(item, key)) if key else None
        return st.lists(_value(name, arguments[0]), max_size=3, unique_by=by).map(tuple)
    if origin is tuple:
        return st.tuples(*(_value(name, argument) for argument in arguments))
    return _scalar(name, hint)


def _scalar(name: str, hint: Any) -> st.SearchStrategy[Any]:
    if hint is type(None):
        return st.none()
    if hint is Assignment:
        return assignments()
    if hint is float:
        return times if name in TIMES else numbers
    if hint is int:
        return st.integers(0, 2**31)
    if hint is bool:
        return st.booleans()
    if hint is str:
        return texts
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return st.sampled_from(list(hint))
    return of(hint)


def _counts() -> st.SearchStrategy[Any]:
    terminal = [phase for phase in TrialPhase if phase.terminal]
    chosen = st.dictionaries(st.sampled_from(terminal), st.integers(0, 1000))
    return chosen.map(lambda found: tuple((phase.value, found[phase]) for phase in terminal if phase in found))
