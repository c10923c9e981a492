"""What is wrong with a manifest, in words: pydantic's errors turned into field, problem and remedy."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from trimtab.api.base import RULE_ERROR
from trimtab.domain.texts import nearest, printable

Model = TypeVar("Model", bound=BaseModel)
MAX_MANIFEST = 1_500_000  # characters; the API server's own limit on a request is 3 MiB

_TYPES = {
    "string_type": ("must be a string", "write it in quotes"),
    "int_type": ("must be a whole number", "write it without quotes and without a fraction"),
    "int_from_float": ("must be a whole number", "write it without quotes and without a fraction"),
    "bool_type": ("must be true or false", "write it without quotes"),
    "tuple_type": ("must be a list", "start each item with a dash"),
    "model_type": ("must be an object", "write its fields below it, indented"),
    "missing": ("is required", "add it"),
}
_BOUNDS = {
    "too_short": ("needs at least {min_length} items", "add one"),
    "too_long": ("may have at most {max_length} items", "remove some"),
    "greater_than_equal": ("must be at least {ge}", "raise it"),
    "less_than_equal": ("must be at most {le}", "lower it"),
    "string_too_short": ("must be at least {min_length} characters long", "write it, or remove the field"),
    "string_too_long": ("must be at most {max_length} characters long", "shorten it"),
    "string_pattern_mismatch": ("must match {pattern}", "write it so"),
}
CORRECT = "correct it"


@dataclass(frozen=True)
class Problem:
    """One thing that a person must change. `field` is a path such as `spec.parameters[0].quantity.max`."""

    field: str
    problem: str
    remedy: str

    def __post_init__(self) -> None:
        for name in ("field", "problem", "remedy"):
            object.__setattr__(self, name, printable(getattr(self, name)))

    def __str__(self) -> str:
        return f"{self.field}: {self.problem}" + (f"; {self.remedy}" if self.remedy else "")


class Unreadable(Exception):
    """A part of a manifest that does not fit its model, with every problem found."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        super().__init__("; ".join(str(p) for p in problems))


def read(model: type[Model], value: Any, root: str) -> Model:
    """Read a part of a manifest as strictly as the API server does: no string passes for a number.

    Raises:
        Unreadable: it does not fit; `root` is the path of the part ("spec").
    """
    try:
        text = json.dumps(value, default=_plain)
        if "null" in text:
            text = json.dumps(_without_nulls(value), default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise Unreadable((Problem(root, f"is no JSON: {error}", CORRECT),)) from error
    if len(text) > MAX_MANIFEST:
        raise Unreadable((Problem(root, f"is {len(text):,} characters long", f"at most {MAX_MANIFEST:,} are read"),))
    try:
        return model.model_validate_json(text, strict=True)
    except ValidationError as error:
        details = sorted(_without_echoes(error.errors(include_url=False)), key=_order)
        raise Unreadable(tuple(p for detail in details for p in _problems(detail, root, model))) from error


def _without_nulls(value: Any) -> Any:
    """A field that is null is a field that is absent, as for the API server."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(child) for key, child in value.items() if child is not None}
    return [_without_nulls(child) for child in value] if isinstance(value, (list, tuple)) else value


def split(message: str) -> tuple[str, str]:
    """A rule's message is "<problem>; <remedy>"; one that is not is left whole."""
    problem, separator, remedy = message.rpartition("; ")  # the last one, as a problem may quote a value
    return (problem, remedy) if separator else (message, "")


def path(root: str, location: Iterable[int | str]) -> str:
    """`spec.parameters[0].name`."""
    return root + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)


def _plain(value: Any) -> Any:
    """YAML turns unquoted times into dates; kubectl keeps them as they are written."""
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "isoformat"):
        return str(value.isoformat()).replace("+00:00", "Z")
    raise TypeError(f"{type(value).__name__} has no place in a manifest")


def _order(detail: ErrorDetails) -> bool:
    """Unknown fields first: one that is misspelled is missing, too, and the misspelling is what to correct."""
    return detail["type"] != "extra_forbidden"


def _without_echoes(details: list[ErrorDetails]) -> list[ErrorDetails]:
    """A list whose items are wrong counts as too short as well: that is no problem of its own."""

    def echo(detail: ErrorDetails) -> bool:
        depth = len(detail["loc"])
        return any(len(d["loc"]) > depth and d["loc"][:depth] == detail["loc"] for d in details)

    return [detail for detail in details if detail["type"] != "too_short" or not echo(detail)]


def _problems(detail: ErrorDetails, root: str, model: type[BaseModel]) -> list[Problem]:
    kind, location = detail["type"], tuple(detail["loc"])
    where = path(root, location)
    context: Mapping[str, Any] = detail.get("ctx", {})
    if kind == RULE_ERROR:
        return [Problem(where + field, *split(message)) for field, message in context["failures"]]
    if kind == "extra_forbidden":
        meant = nearest(str(location[-1]), fields_at(model, location[:-1]))
        return [Problem(where, "unknown field", f"did you mean {meant}?" if meant else "remove it")]
    if kind in _TYPES:
        return [Problem(where, *_TYPES[kind])]
    if kind in {"literal_error", "enum"}:
        given = json.dumps(detail["input"], ensure_ascii=False)
        return [Problem(where, f"unsupported value {given}", f"write one of {context['expected']}")]
    if kind in _BOUNDS:
        text, remedy = _BOUNDS[kind]
        return [Problem(where, text.format(**context), remedy)]
    return [Problem(where, detail["msg"][:1].lower() + detail["msg"][1:], CORRECT)]


def fields_at(model: type[BaseModel], location: Iterable[int | str]) -> tuple[str, ...]:
    """Wire names of the fields of the object at this location below `model`."""
    current: Any = model
    for part in location:
        if isinstance(part, str):
            field = next((f for n, f in current.model_fields.items() if part in {f.alias, n}), None)
            if field is None:
                return ()
            current = _model_of(field.annotation)
            if current is None:
                return ()
    return tuple(field.alias or name for name, field in current.model_fields.items())


def _model_of(annotation: Any) -> type[BaseModel] | None:
    """The model inside `X`, `X | None`, `tuple[X, ...]` or `Annotated` of those."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        if (found := _model_of(inner)) is not None:
            return found
    return None
