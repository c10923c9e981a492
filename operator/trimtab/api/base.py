"""Building blocks of the wire models: one declaration serves the API server (CEL) and Python alike.

A rule is written twice side by side, as CEL and as a predicate, with one message: the API server refuses a bad manifest
even when no operator runs, and `trimtab lint` says the same words without a cluster. A cluster test holds the two to
each other. Rules that compare with the old object are the server's alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

RULES_KEY = "x-kubernetes-validations"
UNIT_KEY = "x-trimtab-unit"
DEFAULT_KEY = "x-trimtab-default"
RULE_ERROR = "rule"
LIST_ONCE = "remove it or change it"  # the API server refuses repetitions with a problem alone


@dataclass(frozen=True)
class Rule:
    """One validation rule.

    `cel` is what the API server evaluates, `holds` the same in Python (None for a rule that needs the old object).
    `message` is "<problem>; <remedy>", which the server and lint say alike.
    `field` points below the object that carries the rule (".max"). `explain_cel` and `explain` name the culprit where
    the rule looks through a list.
    """

    cel: str
    message: str
    holds: Callable[[Any], bool] | None = None
    field: str = ""
    explain_cel: str = ""
    explain: Callable[[Any], str] | None = None

    def schema(self) -> dict[str, str]:
        """The entry of `x-kubernetes-validations`."""
        entry = {"rule": self.cel, "message": self.message}
        if self.explain_cel:
            entry["messageExpression"] = self.explain_cel
        if self.field:
            entry["fieldPath"] = self.field
        return entry

    def failure(self, value: Any) -> str | None:
        """The message when the rule does not hold."""
        if self.holds is None or self.holds(value):
            return None
        return self.explain(value) if self.explain else self.message


def failed_rules(failures: list[tuple[str, str]]) -> PydanticCustomError:
    """An error that carries (field below the object, message) of every broken rule."""
    text = "; ".join(message for _, message in failures)
    return PydanticCustomError(RULE_ERROR, "{text}", {"text": text, "failures": failures})


class WireModel(BaseModel):
    """A part of a manifest: camelCase on the wire, no unknown fields, with its rules."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)

    RULES: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="after")
    def _hold_rules(self) -> Self:
        failures = [(rule.field, text) for rule in self.RULES if (text := rule.failure(self)) is not None]
        if failures:
            raise failed_rules(failures)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        built = handler(schema)
        if cls.RULES:
            handler.resolve_ref_schema(built)[RULES_KEY] = [rule.schema() for rule in cls.RULES]
        return built

    def wire(self) -> dict[str, Any]:
        """The manifest's form: camelCase, unset optional fields left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class StatusModel(WireModel):
    """A part of a status: unknown fields are ignored, as an older operator must be able to continue after a newer."""

    model_config = ConfigDict(extra="ignore")


@dataclass(frozen=True, eq=False)
class Checked:
    """Annotation of a scalar: its bounds in the schema, and a rule with a message that says the remedy.

    Unlike `pattern`, the rule's message tells a person what to write; the pattern stays for tools that work offline.
    """

    rules: tuple[Rule, ...]
    schema: Mapping[str, Any]
    replace: bool = False  # the schema replaces the derived one instead of extending it

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        built = {} if self.replace else handler.resolve_ref_schema(handler(schema)).copy()
        built.update(self.schema)
        if self.rules:
            built[RULES_KEY] = [rule.schema() for rule in self.rules]
        return built

    def _check(self, value: Any) -> Any:
        most = self.schema.get("maxLength")
        if most is not None and len(value) > most:
            raise PydanticCustomError("string_too_long", "too long", {"max_length": most})
        failures = [("", text) for rule in self.rules if (text := rule.failure(value)) is not None]
        if failures:
            raise failed_rules(failures)
        return value


@dataclass(frozen=True)
class Keyed:
    """Annotation of a list whose items are told apart by one field: a list-map of the API server."""

    key: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        built = handler(schema)
        built["x-kubernetes-list-type"] = "map"
        built["x-kubernetes-list-map-keys"] = [to_camel(self.key)]
        return built

    def _check(self, items: Any) -> Any:
        seen: set[Any] = set()
        for index, item in enumerate(items):
            key = getattr(item, self.key)
            if key in seen:
                shown = json.dumps({to_camel(self.key): str(key)}, separators=(",", ":"))
                raise failed_rules([(f"[{index}]", f"Duplicate value: {shown}; {LIST_ONCE}")])
            seen.add(key)
        return items


@dataclass(frozen=True)
class Unique:
    """Annotation of a list of texts that differ from each other: a set of the API server."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(schema) | {"x-kubernetes-list-type": "set"}

    def _check(self, items: Any) -> Any:
        for index, item in enumerate(items):
            if item in items[:index]:
                raise failed_rules([(f"[{index}]", f"Duplicate value: {json.dumps(item)}; {LIST_ONCE}")])
        return items


@dataclass(frozen=True)
class Clipped:
    """Annotation of free text or a list in a status: cut to its bound instead of being refused.

    A status write that the API server refuses for its length would stop the safety loop; losing the tail of a message
    does not. Lists keep their newest items.
    """

    most: int

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._cut, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        built = handler(schema)
        built["maxLength" if built.get("type") == "string" else "maxItems"] = self.most
        return built

    def _cut(self, value: Any) -> Any:
        if isinstance(value, str):
            clean = value.encode("utf-8", "replace").decode("utf-8")
            return clean if len(clean) <= self.most else clean[: self.most - 1] + "…"
        if isinstance(value, (list, tuple)):
            return value[-self.most :]
        return value


def exactly_one(*names: str) -> Rule:
    """A union: exactly one of these fields is set."""
    wire = [to_camel(name) for name in names]
    listing = ", ".join(wire)
    return Rule(
        cel=f"[{', '.join(f'has(self.{name})' for name in wire)}].filter(x, x).size() == 1",
        message=f"needs exactly one of {listing}; set one and leave out the others",
        holds=lambda model: sum(getattr(model, name) is not None for name in names) == 1,
    )


def section(model: type[WireModel], description: str) -> Any:
    """A field whose parts all have defaults, so that it may be left out.

    The default is written out in full: the API server evaluates rules on it before it fills in the parts' defaults.
    """
    return Field(default_factory=model, description=description, json_schema_extra={"default": model().wire()})
