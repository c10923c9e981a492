"""Assignments on the wire: a list-map of {name, value}, values as a manifest writes them.

Writing needs the search space (250m rather than 0.25); reading does without it where it is not at hand, as every
written number is a Kubernetes quantity. What is written always reads back as the same exact value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from trimtab.api.base import Keyed, StatusModel
from trimtab.domain.errors import InvalidSpec
from trimtab.domain.quantity import parse_quantity
from trimtab.domain.space import Assignment, Parameter, SearchSpace, Value


class AssignedText(StatusModel):
    """The value of one parameter."""

    name: str = Field(max_length=63, description="Name of the parameter.")
    value: str = Field(max_length=253, description="Its value, as a manifest writes it: 250m, 512Mi, 70.")


WireAssignment = Annotated[tuple[AssignedText, ...], Field(max_length=12), Keyed("name")]


def write(assignment: Assignment, space: SearchSpace | None) -> tuple[AssignedText, ...]:
    """The wire form; without a space, numbers are plain."""
    return tuple(AssignedText(name=name, value=_text(name, value, space)) for name, value in assignment.items())


def read(items: Sequence[AssignedText], space: SearchSpace | None) -> Assignment:
    """Read back what `write` wrote, with or without the space."""
    return Assignment(tuple((item.name, _value(item, space)) for item in items))


def describe(items: Sequence[AssignedText]) -> str:
    """One line for people: `cpu=500m memory=768Mi`."""
    return " ".join(f"{item.name}={item.value}" for item in items)


def _find(name: str, space: SearchSpace | None) -> Parameter | None:
    return next((p for p in space.parameters if p.name == name), None) if space is not None else None


def _text(name: str, value: Value, space: SearchSpace | None) -> str:
    if isinstance(value, str):
        return value
    parameter = _find(name, space)
    pretty = parameter.format(value) if parameter is not None else ""
    # the canonical form rounds (half a millicore, a fraction of a byte): exactness comes before beauty
    return pretty if pretty and parse_quantity(pretty) == value else format(value.normalize(), "f")


def _value(item: AssignedText, space: SearchSpace | None) -> Value:
    parameter = _find(item.name, space)
    if parameter is not None:
        return parameter.parse(item.value)
    try:
        return parse_quantity(item.value)
    except InvalidSpec:
        return item.value
