"""Properties that every field of the definitions must have, whatever is added later."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from tests.unit.api.samples import SHORTEST, experiment

from trimtab.api.base import Rule, WireModel
from trimtab.api.experiment import FROZEN, Experiment, ExperimentSpec
from trimtab.api.problems import read
from trimtab.api.schema import experiment_crd, trial_crd
from trimtab.api.trial import TERMINAL
from trimtab.domain.trial import TERMINAL_PHASES, TrialPhase

Schema = dict[str, Any]
NUMBERED = {"integer", "number"}
LISTS_IN_STATUS = {"map", "set", None}


def root(definition: Schema) -> Schema:
    found: Schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def nodes(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")


ALL = [
    (f"{kind}{path}", node)
    for kind, definition in (("Experiment", experiment_crd()), ("Trial", trial_crd()))
    for path, node in nodes(root(definition))
]


def failing(holds: Any) -> list[str]:
    return [path for path, node in ALL if not holds(path, node)]


def test_nothing_but_what_a_structural_schema_may_have() -> None:
    allowed = {
        "description", "type", "format", "enum", "default", "required", "properties", "items", "pattern",
        "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems",
        "x-kubernetes-validations", "x-kubernetes-list-type", "x-kubernetes-list-map-keys",
        "x-kubernetes-int-or-string",
    }  # fmt: skip
    assert failing(lambda _, node: set(node) <= allowed) == []


def test_every_node_has_a_type() -> None:
    assert failing(lambda _, node: "type" in node or node.get("x-kubernetes-int-or-string") is True) == []


def test_every_field_is_described() -> None:
    ours = failing(lambda _, node: node.get("description"))
    assert [path for path in ours if not path.endswith("[]") and not path.endswith(".metadata")] == []


def test_every_text_list_and_number_is_bounded() -> None:
    def bounded(path: str, node: Schema) -> bool:
        if path.split(".")[-1] in {"apiVersion", "kind"} and ".spec" not in path:
            return True
        if node.get("type") == "string":
            return "enum" in node or "maxLength" in node
        if node.get("type") == "array":
            return "maxItems" in node
        if node.get("type") == "integer":
            return "minimum" in node
        return True

    assert failing(bounded) == []


def test_lists_of_named_objects_are_maps_by_name_unless_they_have_a_default() -> None:
    """Server-side apply would merge the items of a default with those of the user."""

    def keyed(_: str, node: Schema) -> bool:
        named = "name" in node.get("items", {}).get("properties", {})
        return not named or (node.get("x-kubernetes-list-map-keys") == ["name"]) != bool(node.get("default"))

    assert failing(keyed) == []


def test_keys_of_list_maps_are_required_or_have_a_default() -> None:
    def present(_: str, node: Schema) -> bool:
        keys = node.get("x-kubernetes-list-map-keys", [])
        return set(keys) <= set(node.get("items", {}).get("required", []))

    assert failing(present) == []


def test_a_status_has_no_defaults_and_neither_has_a_trial() -> None:
    with_default = [path for path, node in ALL if "default" in node]
    assert [path for path in with_default if not path.startswith("Experiment.spec")] == []
    assert with_default


def test_messages_are_one_line_and_fit() -> None:
    rules = [(path, rule) for path, node in ALL for rule in node.get("x-kubernetes-validations", [])]
    assert len(rules) > 60
    for path, rule in rules:
        assert rule["message"], path
        assert "\n" not in rule["message"], path
        assert len(rule["message"]) <= 300, path


def test_every_rule_but_those_about_changes_also_holds_in_python() -> None:
    def models(cls: type[WireModel]) -> Iterator[type[WireModel]]:
        for child in cls.__subclasses__():
            yield child
            yield from models(child)

    rules: list[Rule] = [rule for model in models(WireModel) for rule in model.RULES]
    only_server = [rule for rule in rules if rule.holds is None]
    assert all("oldSelf" in rule.cel or "metadata.name" in rule.cel for rule in only_server)
    assert len(only_server) == len(FROZEN) + 5


def test_the_shortest_experiment_has_at_most_15_lines_and_reads() -> None:
    assert len(SHORTEST.read_text().splitlines()) <= 15
    assert read(ExperimentSpec, yaml.safe_load(SHORTEST.read_text())["spec"], "spec").mode == "Recommend"


def test_defaults_written_out_mean_the_same() -> None:
    spec = read(ExperimentSpec, experiment()["spec"], "spec")
    assert read(ExperimentSpec, spec.wire(), "spec") == spec


def test_terminal_phases_are_those_of_the_domain() -> None:
    assert {TrialPhase(phase) for phase in TERMINAL} == TERMINAL_PHASES


@pytest.mark.parametrize("field", FROZEN)
def test_frozen_fields_exist(field: str) -> None:
    assert field in {info.alias for info in ExperimentSpec.model_fields.values()}
    assert any(f"spec.{field} is frozen" in rule.message for rule in Experiment.RULES)


@pytest.mark.parametrize("definition", [experiment_crd(), trial_crd()], ids=["experiments", "trials"])
def test_wide_adds_a_column(definition: dict[str, Any]) -> None:
    """The pages tell people to type `-o wide`."""
    (version,) = definition["spec"]["versions"]
    columns = {c["name"]: c.get("priority", 0) for c in version["additionalPrinterColumns"]}
    wide = [name for name, priority in columns.items() if priority]
    assert wide == {"experiments": ["ACTIVE"], "trials": ["MESSAGE"]}[definition["spec"]["names"]["plural"]]
