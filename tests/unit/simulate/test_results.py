"""The JSON of a result: stable bytes, a round trip, and the schema that is published."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.unit.simulate.stories import ROOT, result

from trimtab.simulate.results import (
    SCHEMA_VERSION,
    Absent,
    Sample,
    SimulationSet,
    from_json,
    json_schema,
    stable,
    to_json,
)
from trimtab.simulate.seeds import gathered

SCHEMA = ROOT / "docs" / "reference" / "simulation.schema.json"


def test_floats_have_nine_digits_and_one_zero() -> None:
    assert stable(1 / 3) == 0.333333333
    assert math.copysign(1.0, stable(-0.0)) == 1.0
    assert stable(123456789012.0) == 123456789000.0
    assert (stable(7), stable("x"), stable(True)) == (7, "x", True)


def test_what_was_written_reads_back() -> None:
    one = result(peers=("hold",))
    many = gathered([one, one])
    assert from_json(to_json(one)) == one
    assert from_json(to_json(many)) == many
    assert isinstance(from_json(to_json(many)), SimulationSet)


def test_keys_are_sorted_and_nothing_is_null() -> None:
    text = to_json(result(peers=("hold",)))
    document = json.loads(text)
    assert text == json.dumps(document, sort_keys=True, indent=2, ensure_ascii=False) + "\n"
    assert document["schemaVersion"] == SCHEMA_VERSION
    assert nulls(document) == []


def nulls(value: Any, path: str = "") -> list[str]:
    if isinstance(value, dict):
        return [found for key, child in value.items() for found in nulls(child, f"{path}.{key}")]
    if isinstance(value, list):
        return [found for child in value for found in nulls(child, f"{path}[]")]
    return [path] if value is None else []


def test_the_issue_of_absence_is_an_object_and_not_a_number() -> None:
    document = json.loads(to_json(result()))
    assert document["trials"][0]["withdrawSeconds"] == {"absent": "NotWithdrawn", "detail": ""}


def test_no_number_may_be_infinite() -> None:
    with pytest.raises(ValidationError):
        Sample(value=math.inf, standard_error=0.0, total=1.0, bad=Absent(absent="NotCounted"), overdispersion=1.0)


@pytest.mark.thorough
def test_two_processes_write_the_same_bytes() -> None:
    program = "from tests.unit.simulate.stories import result; from trimtab.simulate.results import to_json; "
    program += "import sys; sys.stdout.write(to_json(result(peers=('vpa', 'random'))))"
    outputs = [_run(program, hash_seed) for hash_seed in ("1", "2")]
    assert outputs[0] == outputs[1]
    assert outputs[0].decode() == to_json(result(peers=("vpa", "random")))


def _run(program: str, hash_seed: str) -> bytes:
    path = os.pathsep.join(str(ROOT / part) for part in ("operator", "hack", "."))
    environment = os.environ | {"PYTHONPATH": path, "PYTHONHASHSEED": hash_seed}
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True).stdout


def test_the_published_schema_is_that_of_the_types() -> None:
    assert json.loads(SCHEMA.read_text()) == json_schema()


def test_the_published_schema_describes_every_field() -> None:
    schema = json_schema()
    bare = [
        f"{name}.{field}"
        for name, part in schema["$defs"].items()
        for field, child in part.get("properties", {}).items()
        if "description" not in child
    ]
    assert bare == []
    assert "Simulation" in schema["$defs"]


def test_every_field_of_a_result_is_in_the_schema() -> None:
    """The schema allows no further fields, so a document may hold only what it names."""
    schema = json_schema()
    document = json.loads(to_json(result(peers=("hold",))))
    assert unknown(document, schema["$defs"]["Simulation"], schema["$defs"]) == []


def unknown(value: Any, schema: dict[str, Any], parts: dict[str, Any], path: str = "") -> list[str]:
    if "$ref" in schema:
        return unknown(value, parts[schema["$ref"].rpartition("/")[2]], parts, path)
    if "anyOf" in schema:
        return min((unknown(value, option, parts, path) for option in schema["anyOf"]), key=len)
    if isinstance(value, dict):
        known = schema.get("properties", {})
        missing = [f"{path}.{key} missing" for key in schema.get("required", ()) if key not in value]
        return missing + [
            found
            for key, child in value.items()
            for found in (unknown(child, known[key], parts, f"{path}.{key}") if key in known else [f"{path}.{key}"])
        ]
    if isinstance(value, list):
        return [found for child in value for found in unknown(child, schema.get("items", {}), parts, f"{path}[]")]
    return [] if _fits(value, schema) else [f"{path}: {value!r} is no {schema.get('type')}"]


def _fits(value: Any, schema: dict[str, Any]) -> bool:
    kinds: dict[str, Any] = {"number": (int, float), "integer": int, "string": str, "boolean": bool}
    if "const" in schema or "enum" in schema:
        return value in schema.get("enum", [schema.get("const")])
    kind = schema.get("type", "")
    return isinstance(value, kinds.get(kind, ())) and (kind == "boolean" or not isinstance(value, bool))


def test_the_schema_lies_where_the_page_says() -> None:
    assert Path("docs/reference/simulation.schema.json") == SCHEMA.relative_to(ROOT)
