"""`trimtab simulate`: what people see, what pipelines read, and what has to be changed first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from benchmarks.operator.live import experiment
from click.testing import Result
from tests.unit.cli.written import line_with, write
from typer.testing import CliRunner

from trimtab.api.convert import parse_experiment
from trimtab.api.history import read_history
from trimtab.cli.app import app
from trimtab.simulate.results import Simulation, SimulationSet, from_json

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).resolve().parents[3]
WEB = ROOT / "examples" / "web-service"
SHORT = ("--scrape-interval", "1s", "--days", "0.2")


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small service with calm load, and an Experiment in windows of seconds, under short names."""
    monkeypatch.chdir(tmp_path)
    workload = yaml.safe_load((WEB / "workload.yaml").read_text())
    workload["target"]["replicas"] = 4
    workload["load"] = {"requestsPerSecond": 4000}
    write("w.yaml", workload)
    write("e.yaml", short())


def short(**sections: dict[str, Any]) -> dict[str, Any]:
    sobol = {"designer": "Sobol", "initialTrials": 2, "seed": 3}
    return experiment("web", "shop", **({"search": sobol, "stopping": {"maxTrials": 3}} | sections))


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["simulate", *map(str, arguments)])


@cache
def simulated(*arguments: str) -> str:
    """What is printed of the small service's Experiment; the same for every test."""
    result = run("-f", "e.yaml", "--workload", "w.yaml", *SHORT, *arguments)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return result.stdout


def refused(*arguments: str) -> str:
    """The one line that says what to change."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stderr


def refused_files() -> str:
    return refused("-f", "e.yaml", "--workload", "w.yaml", *SHORT)


def test_a_table_says_what_was_tried_what_came_of_it_and_what_to_type_next() -> None:
    text = simulated()
    assert "Baseline" in text
    assert "recommendation" in text
    assert "true optimum" in text
    assert "trimtab simulate -f e.yaml --workload w.yaml --days 0.2 --scrape-interval 1s --seeds 20 --jobs 2" in text
    assert "kubectl -n shop apply -f e.yaml" in text


@pytest.mark.thorough
def test_a_horizon_that_is_too_short_breaks_no_promise_and_says_what_to_give() -> None:
    result = run("-f", WEB / "experiment.yaml", "--workload", WEB / "workload.yaml", "--days", "0.01")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "not yet; Running after" in result.stdout
    assert "give it more time with --days" in " ".join(result.stdout.split())
    assert "checked after every change, all kept" in result.stdout


def test_json_is_a_result_and_nothing_else() -> None:
    found = from_json(simulated("-o", "json"))
    assert isinstance(found, Simulation)
    assert (found.inputs.experiment, found.inputs.seed, found.inputs.days) == ("shop/web", 3, 0.2)
    assert [t.index for t in found.trials] == list(range(len(found.trials)))
    assert found.summary.trials == len(found.trials) >= 3
    assert found.summary.phase == "Completed"
    assert all(t.seconds_exposed > 0 and isinstance(t.load_seen, float) for t in found.trials)


def test_html_is_one_page_without_anything_from_elsewhere() -> None:
    page = simulated("-o", "html")
    assert page.startswith("<!doctype html>")
    assert page.rstrip().endswith("</html>")
    for word in ("http://", "https://", "src=", "<script", "@import", "url("):
        assert word not in page, word


def test_the_same_seed_gives_the_same_bytes_in_another_process() -> None:
    """Of which hashes differ, so that no order of a set or a dict decides anything."""
    command = [sys.executable, "-m", "trimtab.cli.main", "simulate", "-f", "e.yaml", "--workload", "w.yaml"]
    path = os.pathsep.join(str(ROOT / part) for part in ("operator", "hack"))
    environment = os.environ | {"PYTHONPATH": path, "PYTHONHASHSEED": "4711"}
    done = subprocess.run([*command, *SHORT, "-o", "json"], env=environment, capture_output=True, check=True)
    assert done.stderr == b""
    assert done.stdout.decode() == simulated("-o", "json")


def test_another_seed_is_another_story() -> None:
    one, two = (json.loads(simulated("-o", "json", *more)) for more in ((), ("--seed", "4")))
    assert one["inputs"]["seed"] == 3
    assert one["trials"] != two["trials"]


def test_several_seeds_on_several_processes_are_those_of_one() -> None:
    found = from_json(simulated("-o", "json", "--seeds", "2", "--jobs", "2"))
    assert isinstance(found, SimulationSet)
    assert [r.seed for r in found.runs] == [3, 4]
    alone = [from_json(simulated("-o", "json", *more)) for more in ((), ("--seed", "4"))]
    assert [r.summary for r in found.runs] == [a.summary for a in alone if isinstance(a, Simulation)]


def test_seeds_of_one_process_are_shown_side_by_side() -> None:
    table = simulated("--seeds", "2")
    assert "holds every bound at peak" in table
    assert "median" in table


def test_other_rules_are_played_on_the_same_load() -> None:
    found = from_json(simulated("-o", "json", "--compare", "vpa, krr,random,hold"))
    assert isinstance(found, Simulation)
    assert [p.name for p in found.comparison] == ["trimtab", "vpa", "krr", "random", "hold"]
    assert "SLO-violation minutes" in simulated("--compare", "hold")


def test_the_history_is_a_config_map_that_is_no_evidence_of_safety() -> None:
    simulated("--export-history", "history.yaml")
    manifest = yaml.safe_load(Path("history.yaml").read_text())
    assert (manifest["kind"], manifest["metadata"]["name"]) == ("ConfigMap", "web-history")
    assert manifest["immutable"] is True
    history = read_history(manifest, parse_experiment(short()).space)
    assert (history.source, history.safety_evidence) == ("Simulation", False)
    assert len(history.trials) >= 3


def test_a_deployment_among_the_files_is_the_target() -> None:
    deployment = next(yaml.safe_load_all((WEB / "deployment.yaml").read_text()))
    deployment["spec"]["replicas"] = 6
    write("all.yaml", short(), deployment)
    result = run("-f", "all.yaml", "--workload", "w.yaml", *SHORT, "-o", "json")
    assert result.exit_code == 0, result.output
    found = from_json(result.stdout)
    assert isinstance(found, Simulation)
    assert found.summary.peak_load == pytest.approx(4000 / 6)


def test_variables_and_node_types_are_tuned_as_the_workload_reacts_to_them() -> None:
    folder = ROOT / "examples" / "node-type"
    manifest = yaml.safe_load((folder / "experiment.yaml").read_text())
    manifest["spec"] |= {
        "trial": {"warmUp": "5s", "duration": "30s"}, "stopping": {"maxTrials": 6}, "verification": {"replicates": 0}
    }  # fmt: skip
    write("n.yaml", manifest)
    files = ("-f", "n.yaml", "-f", folder / "deployment.yaml", "--workload", folder / "workload.yaml")
    result = run(*files, *SHORT, "-o", "json")
    assert result.exit_code == 0, result.output
    found = from_json(result.stdout)
    assert isinstance(found, Simulation)
    assert {v.value for t in found.trials for v in t.assignment if v.name == "node"} == {
        "m5.large", "c5.large", "t3.large"
    }  # fmt: skip
    assert {v.name: v.value for v in found.summary.optimum}["node"] == "c5.large"
    problem = refused(*files, "--compare", "vpa")
    assert "--compare: gc, node: the rules set container resources and nothing else" in problem


def test_what_preflight_refuses_is_a_result_and_a_failure() -> None:
    """What the operator itself finds out in the cluster is no error of the files: the result says it."""
    write("e.yaml", short(canary={"maxSharePercent": "5"}))
    result = run("-f", "e.yaml", "--workload", "w.yaml", *SHORT, "-o", "json")
    assert result.exit_code == 1
    found = from_json(result.stdout)
    assert isinstance(found, Simulation)
    assert (found.trials, found.summary.phase) == ((), "Preflight")
    assert "maxSharePercent" in found.summary.message
    assert found.summary.reason != "HorizonEnded"


def test_arguments_that_do_not_fit() -> None:
    assert "--file: is missing" in refused()
    assert "--workload: is missing" in refused("-f", "e.yaml")
    assert "'foo' is no rule; use some of" in refused("-f", "e.yaml", "--workload", "w.yaml", "--compare", "foo")
    assert "--start: 'noon'" in refused("-f", "e.yaml", "--workload", "w.yaml", "--start", "noon")
    assert "use 1s to 300s" in refused("-f", "e.yaml", "--workload", "w.yaml", "--scrape-interval", "1h")
    several = refused("-f", "e.yaml", "--workload", "w.yaml", "--seeds", "2", "--export-history", "h.yaml")
    assert "is of one simulation; leave out --seeds" in several


def test_files_that_cannot_be_read() -> None:
    assert "nope.yaml: No such file" in refused("-f", "nope.yaml", "--workload", "w.yaml")
    assert "nope.yaml: cannot be read" in refused("-f", "e.yaml", "--workload", "nope.yaml")


def test_files_without_or_with_too_many_experiments() -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}}
    write("none.yaml", service)
    assert "must hold one Experiment of trimtab.dev, found none" in refused("-f", "none.yaml", "--workload", "w.yaml")
    assert "found e.yaml:1, e.yaml:1" in refused("-f", "e.yaml", "-f", "e.yaml", "--workload", "w.yaml")
    write("nameless.yaml", short(), {"kind": "Service"})
    assert "nameless.yaml:" in refused("-f", "nameless.yaml", "--workload", "w.yaml")


def test_an_error_in_the_workload_is_one_line_with_field_and_remedy() -> None:
    workload = yaml.safe_load(Path("w.yaml").read_text())
    workload["request"]["cpu"] = 25
    write("w.yaml", workload)
    text = refused_files()
    assert text.startswith("trimtab: w.yaml: request.cpu: ")
    assert 'write for example "25ms"' in text


def test_an_error_in_the_experiment_is_one_line_with_place_field_and_remedy() -> None:
    broken = short()
    broken["spec"]["constraints"][0]["sli"] = "slwo"
    write("e.yaml", broken)
    text = refused_files()
    assert text.startswith(f"trimtab: e.yaml:{line_with('e.yaml', 'constraints:')}: spec.constraints")


def test_a_query_that_the_workload_cannot_answer_is_named_with_what_it_offers() -> None:
    broken = short()
    broken["spec"]["slis"][1] = {"name": "errors", "preset": {"source": "OpenTelemetry", "sli": "ErrorRatio"}}
    write("e.yaml", broken)
    text = refused_files()
    assert "spec.slis[errors]: the workload web-service cannot answer it" in text
    assert "it offers http_requests_total{code=200|500|503}" in text


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("sum(rate(http_requests_total{$selector}[5m])", "not PromQL: unclosed left parenthesis, at character 4"),
        ('sum(rate(http_requests_total{$selector,code=~"5("}[5m]))', "not PromQL: illegal regex"),
    ],
)
def test_what_is_no_promql_is_told_as_lint_tells_it(query: str, words: str) -> None:
    broken = short()
    broken["spec"]["slis"][0] = {"name": "slow", "value": {"query": query}}
    write("e.yaml", broken)
    text = refused_files()
    where = f"e.yaml:{line_with('e.yaml', 'query:')}"
    assert text.startswith(f"trimtab: {where}: spec.slis[slow].value.query: {words}")
    assert "try it in Prometheus" in text
    assert text.count("\n") <= 1


def test_a_misspelled_field_is_told_before_the_one_that_it_leaves_missing() -> None:
    broken = short()
    broken["spec"]["contraints"] = broken["spec"].pop("constraints")
    write("e.yaml", broken)
    assert "spec.contraints: unknown field; did you mean constraints? (and 1 more problem)" in refused_files()


def test_an_object_that_is_not_simulated() -> None:
    write("more.yaml", {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x"}})
    text = refused("-f", "e.yaml", "-f", "more.yaml", "--workload", "w.yaml")
    assert "kind: batch/v1 Job is not simulated; leave it out" in text


def test_a_service_that_does_not_become_ready() -> None:
    workload = yaml.safe_load(Path("w.yaml").read_text())
    workload["startup"]["base"] = "1h"
    write("w.yaml", workload)
    assert "Deployment web: " in refused_files()


def test_a_history_that_cannot_be_written() -> None:
    text = refused("-f", "e.yaml", "--workload", "w.yaml", *SHORT, "--export-history", "no/such/folder.yaml")
    assert "no/such/folder.yaml: its folder does not exist" in text
    Path("taken").mkdir()
    text = refused("-f", "e.yaml", "--workload", "w.yaml", *SHORT, "--export-history", "taken")
    assert "taken: cannot be written" in text
