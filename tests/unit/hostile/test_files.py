"""Hostile files: YAML oddities, workloads and fault plans; refused in one line that names the file, or read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.hostile.examples import (
    ROOT,
    anything,
    bounded,
    example,
    hostile,
    mutated,
    of_budget,
    one_line,
    one_of,
    texts,
)

from trimtab.cli.files import UnreadableFile, read_documents
from trimtab.simulate.faults.plan import InvalidPlan, plan_of
from trimtab.workload import WorkloadError, parse_workload

pytestmark = pytest.mark.thorough

WORKLOAD = (ROOT / "examples" / "web-service" / "workload.yaml").read_text(encoding="utf-8")
PLAN = {
    "seed": 7,
    "faults": [
        {"kind": "APIUnreachable", "at": "2m", "duration": "30s"},
        {
            "kind": "OOMKilled",
            "when": {"moment": "Measuring", "trial": 1, "after": "5s"},
            "parameters": {"of": "canary"},
        },
        {"kind": "OperatorKilled", "when": {"effect": "after:create:Deployment", "nth": 2}},
    ],
}
LAUGHS = "a: &a [x]\n" + "".join(f"b{i}: &b{i} [*{'a' if i == 0 else f'b{i - 1}'}, *a]\n" for i in range(40))
BOMBS = (
    LAUGHS, LAUGHS.replace(", *a]", ", *b0, *b0]").replace("[*a, *b0, *b0]", "[*a]"), "&a [*a]", "a: &a {b: *a}",
    "[" * 20_000, "{" * 20_000, "a: " * 3_000, "- " * 5_000 + "x", "? " * 3_000, "a: 1\na: 2\n",
    "<<: {a: 1}\n<<: [1]", "!!python/object:os.system {}", "!!set {a, b}", "!!binary x", "%YAML 9.9\n---\na",
    "a: 2026-99-99", "a: 9" + "9" * 5000, "a: 0o8", "a: 1:99:99", "a: !!int x", "a: !!float x", "a: !!timestamp x",
    "\ufeffa: 1", "a: \x00", "a: \x85", "a: '\\ud800'", 'a: "\\ud800"', 'a: "\\U0011ffff"', "\t- a", "a:\n\t- b",
    "---\n" * 500, "*x", "&x", "!", "|", ">", "'", '"', "[a", "{a", "a: b: c", "@", "`",
)  # fmt: skip
in_the_middle = st.tuples(st.integers(0, len(WORKLOAD)), one_of(BOMBS)).map(
    lambda cut: WORKLOAD[: cut[0]] + cut[1] + WORKLOAD[cut[0] :]
)
documents = st.one_of(
    one_of(BOMBS), st.text(max_size=200), texts, hostile.map(lambda value: _dumped(value)), in_the_middle
)


def _dumped(value: Any) -> str:
    try:
        return str(yaml.safe_dump(value, allow_unicode=True))
    except (yaml.YAMLError, ValueError):
        return repr(value)


@of_budget(0.05)
@given(data=documents)
def test_a_file_is_read_or_refused(data: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "hostile.yaml"
    _written(path, data.encode("utf-8", "surrogatepass"))
    try:
        with bounded():
            read_documents(path)
    except UnreadableFile as error:
        one_line(str(error), str(path))


@of_budget(0.01)
@given(data=st.binary(max_size=300))
def test_bytes_are_read_or_refused(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "hostile.bin"
    _written(path, data)
    try:
        with bounded():
            read_documents(path)
    except UnreadableFile as error:
        one_line(str(error))


def _written(path: Path, data: bytes) -> None:
    path.write_bytes(data)


@of_budget(0.05)
@given(st.one_of(documents, mutated(example("web-service/workload.yaml")).map(_dumped)))
def test_a_workload_is_read_or_refused(text: str) -> None:
    try:
        with bounded():
            parse_workload(text, "workload.yaml")
    except WorkloadError as error:
        one_line(str(error), "workload.yaml: ")


@of_budget(0.1)
@given(st.one_of(mutated(PLAN), anything))
def test_a_fault_plan_is_read_or_refused(document: Any) -> None:
    try:
        with bounded():
            plan = plan_of(document, "faults.yaml")
    except InvalidPlan as error:
        one_line(str(error), "faults.yaml: ")
        return
    assert plan_of(plan.wire(), "again") == plan
