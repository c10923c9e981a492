"""The workload file: what it says, and what it answers to mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tests.unit.workload.conftest import BARE, EXAMPLE

from trimtab.workload import WorkloadError, WorkloadSpec, load_workload, parse_workload


def test_the_example_is_read_in_base_units(web: WorkloadSpec) -> None:
    assert web.request.cpu == pytest.approx(0.000375)
    assert web.memory.live_set == 224 * 2**20
    assert web.cpu.background == pytest.approx(0.02)
    assert web.load.noise_interval == 60.0


def test_a_digest_names_the_content(web: WorkloadSpec) -> None:
    assert web.digest == load_workload(EXAMPLE).digest
    assert web.digest != web.model_copy(update={"seed": web.seed + 1}).digest
    assert hash(web) == hash(load_workload(EXAMPLE))


def broken(path: str, value: object) -> str:
    """The bare workload with one field changed (or removed, with None)."""
    document = yaml.safe_load(BARE)
    *parents, last = path.split(".")
    at = document
    for name in parents:
        at = at.setdefault(name, {})
    if value is None:
        del at[last]
    else:
        at[last] = value
    return yaml.safe_dump(document)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "request.cpu",
            5,
            'f.yaml: request.cpu: 5 is not a duration with a unit; write for example "25ms", "1.5s" or "2m"',
        ),
        (
            "request.cpu",
            "5",
            'f.yaml: request.cpu: \'5\' is not a duration with a unit; write for example "25ms", "1.5s" or "2m"',
        ),
        (
            "memory.liveSet",
            "10MB",
            'f.yaml: memory.liveSet: \'10MB\' is not a size with a unit; write for example "512Mi" or "2Gi"',
        ),
        (
            "cpu.background",
            0.5,
            'f.yaml: cpu.background: 0.5 is not a number of CPU cores as a string; write for example "250m" or "2"',
        ),
        ("memory", None, "f.yaml: memory: is missing; add it"),
        (
            "request.speed",
            "5ms",
            "f.yaml: request.speed: is not a field of a workload; remove it or correct its spelling",
        ),
        ("request.concurrency", 0, "f.yaml: request.concurrency: must be at least 1; raise it"),
        ("request.concurrency", "many", "f.yaml: request.concurrency: must be a whole number; write for example 20"),
        ("request.errorPercent", "few", "f.yaml: request.errorPercent: must be a number; write for example 2.5"),
        ("request.errorPercent", 101, "f.yaml: request.errorPercent: must be at most 100; lower it"),
        ("request", 5, "f.yaml: request: must be a mapping; write its fields below it, indented"),
        (
            "slo.latencyThreshold",
            "90ms",
            "f.yaml: slo.latencyThreshold: is no bucket bound, so it cannot be counted; use 0.05s or 0.1s",
        ),
        ("buckets", ["1s", "100ms"], "f.yaml: buckets: bounds must increase; sort them and remove duplicates"),
        ("request.timeout", "1s", "f.yaml: request.timeout: must be longer than the last bucket, 1s"),
    ],
)
def test_mistakes_name_the_field_and_the_remedy(path: str, value: object, message: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        parse_workload(broken(path, value), "f.yaml")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "f.yaml: must be a mapping with the fields name, target, load, request, memory, slo"),
        ("", "f.yaml: must be a mapping with the fields name, target, load, request, memory, slo"),
    ],
)
def test_what_is_no_mapping_is_refused(text: str, message: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        parse_workload(text, "f.yaml")
    assert str(caught.value) == message


def test_what_is_no_yaml_is_refused_in_one_line() -> None:
    with pytest.raises(WorkloadError, match=r"^f\.yaml: is not YAML: .+") as caught:
        parse_workload("a: [1", "f.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("field", "meant"), [("laod", "load"), ("request.timeuot", "request.timeout")])
def test_a_misspelled_field_is_told_before_the_one_that_it_leaves_missing(field: str, meant: str) -> None:
    document = yaml.safe_load(BARE)
    above = document if "." not in field else document[field.split(".")[0]]
    above[field.split(".")[-1]] = above.pop(meant.split(".")[-1])
    with pytest.raises(WorkloadError) as caught:
        parse_workload(yaml.safe_dump(document), "f.yaml")
    remedy = f"did you mean {meant.split('.')[-1]}?"
    assert str(caught.value) == f"f.yaml: {field}: is not a field of a workload; {remedy} (and 1 more)"


def test_several_mistakes_are_counted() -> None:
    with pytest.raises(WorkloadError, match=r"and \d+ more"):
        parse_workload("name: x", "f.yaml")


def test_a_missing_or_binary_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match=r"none\.yaml: cannot be read \(No such file or directory\)"):
        load_workload(tmp_path / "none.yaml")
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(WorkloadError, match="cannot be read"):
        load_workload(binary)
