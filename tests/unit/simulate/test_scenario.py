"""From a user's files to a scenario, and what is said when they do not fit together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit.simulate.stories import WEB

from trimtab.domain.errors import InvalidSpec, NotYetSupported
from trimtab.simulate.scenario import START, Scenario, scenario
from trimtab.workload import WorkloadError

TEXT = (WEB / "workload.yaml").read_text()


def experiment() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((WEB / "experiment.yaml").read_text())
    return found


def made(document: dict[str, Any] | None = None, others: tuple[dict[str, Any], ...] = (), text: str = TEXT) -> Scenario:
    return scenario(experiment() if document is None else document, others, text, seed=None, days=7.0)


def changed(**target: object) -> str:
    document = yaml.safe_load(TEXT)
    document["target"] = {k: v for k, v in (document["target"] | target).items() if v is not None}
    return yaml.safe_dump(document)


def test_the_workload_alone_says_how_the_service_is_deployed() -> None:
    found = made()
    assert [o["kind"] for o in found.objects] == ["Deployment", "Service"]
    truth = found.truth
    assert (truth.target.replicas, truth.spec.space.describe(truth.baseline)) == (20, "cpu=2 memory=2Gi")
    assert found.peak_rps == pytest.approx(880.0)
    assert (found.seed, found.start, found.namespace) == (1, START, "default")


def test_a_given_deployment_counts() -> None:
    documents = tuple(yaml.safe_load_all((WEB / "deployment.yaml").read_text()))
    documents[0]["spec"]["replicas"] = 40
    found = made(others=documents, text=changed(replicas=None))
    assert len(found.objects) == 2
    assert found.truth.target.replicas == 40
    assert found.objects[0]["metadata"]["namespace"] == "default"


def test_the_built_deployment_has_a_label_that_no_service_selects_on() -> None:
    deployment, service = made().objects
    labels, selector = deployment["spec"]["selector"]["matchLabels"], service["spec"]["selector"]
    assert set(selector) < set(labels)
    assert deployment["spec"]["template"]["metadata"]["labels"] == labels


def test_a_seed_is_that_of_search_and_noise_and_changes_no_digest_of_the_workload() -> None:
    one, two = made(), made().with_seed(2)
    assert two.spec.search.seed == two.workload.seed == two.seed == 2
    assert one.inputs().workload_digest == two.inputs().workload_digest
    assert one.offered.at(START) != two.offered.at(START)


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"targetRef": {"name": "shop"}}, "spec.targetRef.name", "plays the Deployment web"),
        ({"parameters": []}, "spec.parameters", "needs at least 1 items"),
        ({"slis": None}, "spec.slis", ""),
    ],
)
def test_an_experiment_that_does_not_fit(change: dict[str, Any], field: str, words: str) -> None:
    document = experiment()
    document["spec"] |= change
    with pytest.raises(InvalidSpec, match=field.replace(".", r"\.")) as caught:
        made(document)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_query_that_the_workload_cannot_answer() -> None:
    document = experiment()
    document["spec"]["slis"][0]["latency"]["histogram"] = "grpc_seconds"
    with pytest.raises(InvalidSpec, match=r"spec\.slis\[slow\]: the workload web-service cannot answer it: .*offers"):
        made(document)


def test_a_baseline_outside_of_the_space() -> None:
    with pytest.raises(InvalidSpec, match=r"outside 250m to 2; set max to 3"):
        made(text=changed(requests={"cpu": "3", "memory": "2Gi"}, limits={"cpu": "3", "memory": "2Gi"}))


def test_no_deployment_anywhere() -> None:
    with pytest.raises(InvalidSpec, match=r"target\.replicas: is missing, .* no Deployment web; add"):
        made(text=changed(replicas=None))


def test_a_container_of_another_name() -> None:
    with pytest.raises(InvalidSpec, match=r"container.*web"):
        made(text=changed(container="api"))


def test_a_workload_with_a_mistake_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match=r"^w\.yaml: load\.requestsPerSecond: "):
        scenario(
            experiment(), (), TEXT.replace("requestsPerSecond: 16000", "requestsPerSecond: -1"),
            source="w.yaml", seed=None, days=1.0,
        )  # fmt: skip


def test_what_this_version_lacks_is_refused() -> None:
    document = experiment()
    document["spec"]["mode"] = "Promote"
    with pytest.raises(NotYetSupported, match=r"spec\.mode"):
        made(document)


def with_releases(*times: str) -> str:
    document = yaml.safe_load(TEXT)
    document["releases"] = [{"image": f"web:{n + 2}", "at": at, "cpuFactor": 1.5} for n, at in enumerate(times)]
    return yaml.safe_dump(document)


def test_each_release_has_a_truth_of_its_own() -> None:
    found = made(text=with_releases("2026-03-02T12:00:00Z", "2026-03-03T12:00:00Z"))
    noon = START + 3 * 3600.0
    first, second = (found.versions.at(t) for t in (noon - 1, noon))
    assert first is found.truth
    assert second.resources(second.baseline) == first.resources(first.baseline)
    assert second.run(second.baseline)[0].request.cpu == pytest.approx(1.5 * first.run(first.baseline)[0].request.cpu)
    slow = [truth.judge(truth.baseline, 880.0).value("slow") for truth in (first, second)]
    assert slow[0] < slow[1]  # type: ignore[operator]
    assert found.versions.at(noon + 86400).target.containers[0].image == "web:3"


def test_a_release_before_the_beginning_is_refused() -> None:
    with pytest.raises(InvalidSpec, match=r"releases\[0\]\.at: is before the simulation begins, 2026-03-02T09"):
        made(text=with_releases("2026-03-02T08:00:00Z"))
