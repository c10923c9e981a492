"""Variables and node types change the workload of a pod, and only as its file says."""

from __future__ import annotations

import pytest
import yaml

from stack.paths import EXAMPLES
from trimtab.workload import Resources, WorkloadError, WorkloadSpec, evaluate, load_workload, parse_workload
from trimtab.workload.effects import adapted
from trimtab.workload.podspec import workload_of
from trimtab.workload.units import GIB

KEY = "node.kubernetes.io/instance-type"
CATALOG = load_workload(EXAMPLES / "node-type" / "workload.yaml")


def with_effects(**effects: object) -> WorkloadSpec:
    document = yaml.safe_load((EXAMPLES / "node-type" / "workload.yaml").read_text())
    return parse_workload(yaml.safe_dump({**document, "effects": effects}))


def test_without_effects_nothing_changes() -> None:
    web = load_workload(EXAMPLES / "web-service" / "workload.yaml")
    assert adapted(web, {"GOGC": "25"}, {KEY: "t3.large"}) is web


def test_what_the_file_does_not_name_has_no_effect() -> None:
    assert adapted(CATALOG, {"OTHER": "1"}, {"zone": "a"}) is CATALOG
    assert adapted(CATALOG, {}, {KEY: "unheard.of"}) is CATALOG
    assert adapted(CATALOG, {}, {KEY: "m5.large"}) is CATALOG


@pytest.mark.parametrize(
    ("field", "text", "read"),
    [("gcPercent", "250", ("memory", "gc_percent")), ("concurrency", "32", ("request", "concurrency")),
     ("queue", "8", ("request", "queue"))],
)  # fmt: skip
def test_a_variable_sets_a_number_of_the_model(field: str, text: str, read: tuple[str, str]) -> None:
    made = with_effects(env=[{"name": "X", "field": field, "format": "-n={}"}])
    found = adapted(made, {"X": f"-n={text}"}, {})
    assert getattr(getattr(found, read[0]), read[1]) == float(text)
    assert found.digest != made.digest
    assert adapted(made, {"X": f"-n={text}"}, {}) is found


@pytest.mark.parametrize("text", ["", "many", "0", "-3", "nan", "1e9"])
def test_a_variable_without_a_usable_number(text: str) -> None:
    with pytest.raises(WorkloadError, match=r"effects\.env: GOGC holds"):
        adapted(CATALOG, {"GOGC": text}, {})


def test_a_slower_node_is_slower() -> None:
    slow, usual, fast = (
        evaluate(adapted(CATALOG, {}, {KEY: node}), Resources.equal(0.7, GIB), 880.0)
        for node in ("t3.large", "m5.large", "c5.large")
    )
    assert slow.cpu_usage_cores > usual.cpu_usage_cores > fast.cpu_usage_cores
    assert slow.slow_fraction(0.1) > usual.slow_fraction(0.1) > fast.slow_fraction(0.1)


def test_a_pod_tells_it_by_its_manifest() -> None:
    container = {"name": "catalog", "env": [{"name": "GOGC", "value": "50"}, {"name": "NODE", "valueFrom": {}}]}
    pod = {
        "metadata": {"labels": {"app.kubernetes.io/name": "catalog"}},
        "spec": {"containers": [container], "nodeSelector": {KEY: "c5.large"}},
    }
    found = workload_of(pod, (CATALOG,))
    assert found is adapted(CATALOG, {"GOGC": "50"}, {KEY: "c5.large"})
    assert found is not CATALOG


RELEASES = [
    {"image": "web:2", "at": "2026-03-03T10:00:00Z", "cpuFactor": 1.5, "memoryFactor": 2},
    {"image": "web:3", "at": "2026-03-04T10:00:00Z", "dependencyFactor": 0.5},
]


def released(*releases: object) -> WorkloadSpec:
    document = yaml.safe_load((EXAMPLES / "web-service" / "workload.yaml").read_text())
    return parse_workload(yaml.safe_dump({**document, "releases": list(releases)}))


def test_an_image_is_a_version_of_the_service() -> None:
    web = released(*RELEASES)
    assert adapted(web, {}, {}, "web:1") is web
    second, third = (adapted(web, {}, {}, image) for image in ("web:2", "web:3"))
    assert (second.request.cpu, second.memory.live_set) == pytest.approx(
        (1.5 * web.request.cpu, 2 * web.memory.live_set)
    )
    assert third.request.cpu == web.request.cpu  # of the file, not of the release before
    assert third.request.dependency.mean == pytest.approx(0.5 * web.request.dependency.mean)
    container = {"name": "web", "image": "web:2"}
    pod = {"metadata": {"labels": dict(web.target.selector)}, "spec": {"containers": [container]}}
    assert workload_of(pod, (web,)) is second


def test_without_releases_a_workload_is_what_it_was() -> None:
    web = load_workload(EXAMPLES / "web-service" / "workload.yaml")
    assert released().digest == web.digest
    assert released(*RELEASES).digest != web.digest


@pytest.mark.parametrize(
    ("releases", "said"),
    [(RELEASES[::-1], "sort them by at"), ([RELEASES[0], {**RELEASES[1], "image": "web:2"}], "two have the same image"),
     ([{"image": "web:2", "at": "2026-03-03T10:00:00"}], r"releases\.0\.at")],
)  # fmt: skip
def test_releases_that_cannot_be_played(releases: list[object], said: str) -> None:
    with pytest.raises(WorkloadError, match=said):
        released(*releases)
