"""The commands of the runbooks: somebody types them at night, so they are held to what kubectl and the API know."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit.monitoring.shell import RUNBOOKS, commands, kinds, operands
from typer.testing import CliRunner

from trimtab.api.reference import ANNOTATIONS
from trimtab.cli.app import app
from trimtab.domain import names

ROOT = Path(__file__).resolve().parents[3]
FILTERS = {"curl", "cut", "grep", "helm", "jq"}
VERBS = {
    "annotate", "auth", "create", "delete", "describe", "events", "exec", "get", "logs", "patch", "port-forward",
    "rollout", "scale", "wait",
}  # fmt: skip
RESOURCES = {
    "cronjob", "deployment", "deployments", "endpointslices", "events.events.k8s.io", "hpa",
    "httproute", "httproutes", "job", "jobs", "lease", "leases.coordination.k8s.io", "namespace", "pod", "pods",
    "replicasets", "services",
}  # fmt: skip
OURS = {f"{kind}.{names.GROUP}" for kind in ("experiments", "trials")}
CRDS = {
    f"{kind}.{names.GROUP}": yaml.safe_load((ROOT / "crds" / f"{kind}.{names.GROUP}.yaml").read_text())
    for kind in ("experiments", "trials")
}
LABELS = {value for name, value in vars(names).items() if name.startswith("LABEL_")}
KEYS = {*LABELS, *(value for name, value in vars(names).items() if name.startswith("ANNOTATION_"))}


KUBECTL = [(page, words[1:]) for page, words in commands() if words[0] == "kubectl"]


def named(pairs: list[tuple[str, list[str]]]) -> list[Any]:
    return [pytest.param(page, words, id=f"{page}-{i}") for i, (page, words) in enumerate(pairs)]


def test_there_are_commands() -> None:
    assert len(KUBECTL) > 60


@pytest.mark.parametrize(("page", "words"), named(list(commands())))
def test_a_command_is_one_that_is_installed_where_people_are(page: str, words: list[str]) -> None:
    assert words[0] in {"kubectl", "trimtab"} | FILTERS, page


@pytest.mark.parametrize(("page", "words"), named([each for each in commands() if each[1][0] == "trimtab"]))
def test_a_command_of_ours_has_these_options(page: str, words: list[str]) -> None:
    shown = CliRunner().invoke(app, [words[1], "--help"], env={"COLUMNS": "200"}, color=False)
    assert shown.exit_code == 0, page
    for option in (word.partition("=")[0] for word in words if word.startswith("--")):
        assert re.search(rf"{option}\b", shown.output), f"{page}: {words[1]} has no {option}"


@pytest.mark.parametrize(("page", "words"), named(KUBECTL))
class TestKubectl:
    def test_its_verb_and_resources_exist(self, page: str, words: list[str]) -> None:
        assert operands(words)[0] in VERBS, page
        if "--raw" not in words:
            assert set(kinds(words)) - RESOURCES - OURS - {"$object"} == set(), page

    def test_keys_of_ours_are_those_that_we_write(self, page: str, words: list[str]) -> None:
        said = {key for word in words for key in re.findall(rf"(?<![\w.]){names.GROUP}/[a-z-]+[a-z]", word)}
        assert said - KEYS - set(ANNOTATIONS) - {names.FINALIZER} == set(), page

    def test_what_it_shows_is_in_the_schema(self, page: str, words: list[str]) -> None:
        """A path that is not there shows nothing, which looks like an answer."""
        shown = [word.partition("=")[2] for word in words if word.startswith(("jsonpath=", "custom-columns="))]
        ours = set(kinds(words)) & OURS
        for kind in ours if len(ours) == 1 else ():
            for path in (path for text in shown for path in paths(text)):
                assert known(CRDS[kind], path), f"{page}: {kind} has no {path}"


def of_page(page: str) -> list[list[str]]:
    return [words for name, words in KUBECTL if name == page]


def deletes_arms(words: list[str]) -> bool:
    """By hand, and Deployments of arms among it."""
    return operands(words)[0] == "delete" and names.LABEL_ARM in words and "deployments" in kinds(words)


PAGES = [path.name for path in RUNBOOKS]
DELETING = [page for page in PAGES if any(map(deletes_arms, of_page(page)))]


@pytest.mark.parametrize("page", DELETING)
def test_before_arms_are_deleted_by_hand_it_asks_for_routes_that_lead_to_them(page: str) -> None:
    """A weight on a backend without endpoints is an outage, and without an operator nobody takes it back."""
    asking, deleting = (
        [at for at, words in enumerate(of_page(page)) if is_it(words)]
        for is_it in (lambda words: operands(words) == ["get", "httproutes"], deletes_arms)
    )
    assert asking
    assert asking[0] < deleting[0]
    assert "#a-route-that-was-not-freed)" in (ROOT / "runbooks" / page).read_text()


def test_arms_are_deleted_by_hand_somewhere() -> None:
    assert len(DELETING) > 5


@pytest.mark.parametrize("page", PAGES)
def test_what_is_put_back_is_put_back_in_one_route(page: str) -> None:
    """The record in another route is the only one of what a live trial has to put back there."""
    assert [words for words in of_page(page) if "annotate" in words and "httproutes" in words] == []


@pytest.mark.parametrize("page", PAGES)
def test_of_several_pods_it_asks_the_one_that_leads_or_all(page: str) -> None:
    """kubectl takes any pod of a Deployment, and a standby knows nothing."""
    text = (ROOT / "runbooks" / page).read_text()
    assert re.findall(r"(?:logs|port-forward) deployments?/", text) == []


def paths(text: str) -> Iterator[str]:
    """Absolute paths of a template: `.status.phase`; those within a range follow it."""
    for piece in re.findall(r"\{range (\.[\w.]+)|(?<![\w\]])(\.(?:spec|status)[\w.]*)", text):
        yield piece[0] or piece[1]


def known(definition: Mapping[str, Any], path: str) -> bool:
    node: Any = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for name in path.strip(".").split("."):
        node = node.get("properties", node.get("items", {}).get("properties", {})).get(name)
        if node is None:
            return False
    return True


def test_a_path_that_is_not_there_is_noticed() -> None:
    assert known(CRDS[f"trials.{names.GROUP}"], ".status.times.deploying")
    assert not known(CRDS[f"trials.{names.GROUP}"], ".status.cost")
    assert [*paths('{range .status.budgets[*]}{.name}{end}{.status.phase}: {"\\n"}')] == [
        ".status.budgets",
        ".status.phase",
    ]
