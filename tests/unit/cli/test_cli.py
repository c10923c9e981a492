"""The command line: what people see, and the exit status that a pipeline sees."""

from __future__ import annotations

import builtins
import io
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from click.testing import Result
from rich.console import Console
from tests.unit.api.samples import ONE_BOUND
from tests.unit.cli.written import line_with, write
from typer.testing import CliRunner

from trimtab import __version__
from trimtab.api.lint import lint
from trimtab.cli import main as entry
from trimtab.cli.app import app, show
from trimtab.cli.files import MAX_BYTES, UnreadableFile, read_documents

ROOT = Path(__file__).resolve().parents[3]
MINIMAL = ROOT / "examples" / "minimal" / "experiment.yaml"
WEB = ROOT / "examples" / "web-service" / "experiment.yaml"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are named by short relative paths, as people do."""
    monkeypatch.chdir(tmp_path)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def manifest() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(ONE_BOUND.read_text())
    return found


def test_version() -> None:
    result = run("version")
    assert (result.exit_code, result.stdout) == (0, f"trimtab {__version__}\n")


def test_python_m_is_the_same_command() -> None:
    asked = (sys.executable, "-m", "trimtab", "version")
    assert subprocess.run(asked, capture_output=True, text=True, check=True).stdout == f"trimtab {__version__}\n"


def test_lint_has_nothing_to_say_about_the_web_service() -> None:
    result = run("lint", "--strict", WEB)
    assert (result.exit_code, result.stdout) == (0, "1 Experiment in 1 file: 0 errors, 0 warnings\n")


def test_lint_warns_and_fails_only_when_strict() -> None:
    lenient, strict = run("lint", ONE_BOUND, WEB), run("lint", "--strict", ONE_BOUND, WEB)
    assert (lenient.exit_code, strict.exit_code) == (0, 1)
    assert lenient.stdout == strict.stdout
    assert lenient.stdout.endswith("2 Experiments in 2 files: 0 errors, 2 warnings\n")
    assert "spec.errorBudgets" in lenient.stdout
    assert "counts failures" in lenient.stdout


def test_lint_shows_field_problem_and_remedy() -> None:
    bad = manifest()
    bad["spec"]["constraints"][0]["maxx"] = bad["spec"]["constraints"][0].pop("max")
    result = run("lint", write("bad.yaml", bad))
    assert result.exit_code == 1
    line = line_with("bad.yaml", "maxx:")
    assert f"bad.yaml:{line}: error: spec.constraints[0].maxx: unknown field; did you mean max?\n" in result.stdout


@pytest.mark.parametrize(
    ("sli", "words"),
    [
        (
            {"ratio": {"bad": "rate(a{$selector}[1m])", "total": "b{$selector}"}},
            "spec.slis[slow].ratio.bad: only a vector selector is allowed here, at character 1; remove functions; ",
        ),
        (
            {"preset": {"source": "Istio", "sli": "ErrorRatio"}, "segment": 'tenant="gold",pod="x"'},
            "spec.slis[slow].segment: pod is used to pick the pods or the buckets already, at character 15; match on "
            "another label",
        ),
        (
            {"ratio": {"bad": "a{$selector}", "total": "b{$selector}"}, "segment": "gold"},
            "spec.slis[slow].segment: ",
        ),
    ],
)
def test_lint_reads_the_queries(sli: dict[str, Any], words: str) -> None:
    bad = manifest()
    bad["spec"]["slis"] = [{"name": "slow", **sli}]
    result = run("lint", write("bad.yaml", bad))
    assert result.exit_code == 1
    written = line_with("bad.yaml", f"{words.partition(':')[0].rpartition('.')[2]}:")
    assert f"bad.yaml:{written}: error: {words}" in result.stdout
    assert "1 error" in result.stdout


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_shows_whole_fields_and_whole_words(width: int) -> None:
    shown = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None, highlight=False)
    bad = manifest()
    bad["spec"]["slis"][0]["value"] = {"query": "up"}
    bad["spec"]["parameters"][0]["container"]["resource"] = "gpu"
    (document,) = read_documents(write("checkout.yaml", bad))
    show([(document, finding) for finding in lint(bad)], shown)
    output = shown.file
    assert isinstance(output, io.StringIO)
    lines = output.getvalue().splitlines()
    assert all(len(line.rstrip()) <= width for line in lines)
    assert [line.strip() for line in lines if "parameters[0]" in line] == [
        f"checkout.yaml:{line_with('checkout.yaml', 'resource: gpu')}: error: spec.parameters[0].container.resource"
    ]
    words = " ".join(line.strip() for line in lines)
    assert "query must hold $selector inside the braces, where the pods of an arm are put; write it like" in words


def test_lint_looks_at_every_document_and_says_where_each_finding_is() -> None:
    bad = manifest()
    del bad["spec"]["targetRef"]
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "checkout"}}
    path = Path("all.yaml")
    path.write_text("---\n".join(yaml.safe_dump(d, sort_keys=False) for d in (service, manifest(), bad)))
    result = run("lint", path)
    assert result.exit_code == 1
    specs = [number for number, line in enumerate(path.read_text().splitlines(), 1) if line == "spec:"]
    errors = [line for line in result.stdout.splitlines() if ": error: " in line]
    assert errors == [f"all.yaml:{specs[-1]}: error: spec.targetRef: is required; add it"]
    assert result.stdout.endswith("2 Experiments in 1 file: 1 error, 2 warnings\n")


def test_lint_names_what_this_version_lacks() -> None:
    bad = manifest()
    bad["spec"]["mode"] = "Promote"
    result = run("lint", write("bad.yaml", bad))
    assert result.exit_code == 1
    assert "spec.mode" in result.stdout


def test_a_misspelt_kind_is_a_finding_and_not_overlooked() -> None:
    result = run("lint", write("bad.yaml", {**manifest(), "kind": "Experimnet"}))
    assert result.exit_code == 1
    assert "kind" in result.stdout


def test_a_forgotten_api_version_is_a_finding_and_not_overlooked() -> None:
    bad = manifest()
    del bad["apiVersion"]
    result = run("lint", write("bad.yaml", bad))
    assert result.exit_code == 1
    assert "apiVersion" in result.stdout


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("spec: [1, 2\n", "is no YAML: line 2"),
        ("a: 1\nb: 2\na: 3\n", "line 3: the key 'a' is repeated"),
        ("a: &a [*a]\n", "line 1: an alias refers to itself"),
        ("", "no Experiment of trimtab.dev in it"),
        ("apiVersion: v1\nkind: Service\n", "no Experiment of trimtab.dev in it"),
        ("--- !!python/object:os.system\n", "is no YAML"),
        ("a: 2026-02-31\n", "holds a value that is none"),
        ("[" * 1000, "is nested too deeply"),
        ("a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
            f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdef", "bcdefg", strict=True)
        ), "writes out to more than"),
    ],
)  # fmt: skip
@pytest.mark.thorough
def test_what_cannot_be_looked_at_is_one_clear_line(text: str, words: str) -> None:
    path = Path("odd.yaml")
    path.write_text(text)
    for command in ("lint", "defaults"):
        result = run(command, path)
        assert result.exit_code == 2
        assert result.stdout == ""
        assert result.stderr.startswith(f"trimtab: {path}: ")
        assert words in result.stderr
        assert result.stderr.count("\n") == 1


def test_a_missing_file_is_one_clear_line() -> None:
    result = run("lint", MINIMAL, "nowhere.yaml")
    assert (result.exit_code, result.stderr) == (
        2,
        "trimtab: nowhere.yaml: No such file or directory\n",
    )


def test_a_file_that_is_no_text_or_far_too_large_is_refused() -> None:
    binary, huge = Path("binary"), Path("huge")
    binary.write_bytes(b"\xff\xfe\x00\x01")
    huge.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(UnreadableFile, match="is not UTF-8 text"):
        read_documents(binary)
    with pytest.raises(UnreadableFile, match="is larger than"):
        read_documents(huge)


def test_defaults_writes_out_what_the_operator_acts_upon() -> None:
    result = run("defaults", MINIMAL)
    assert result.exit_code == 0
    spec = yaml.safe_load(result.stdout)["spec"]
    cpu, memory = spec["parameters"]
    assert cpu["container"] == {"name": "api", "resource": "cpu", "apply": "Requests", "limits": "Ratio"}
    assert cpu["quantity"]["step"] == "50m"
    assert (cpu["maxDecreasePercent"], cpu["maxIncreasePercent"]) == ("30", "50")
    assert memory["container"]["apply"] == "Both"
    assert (memory["quantity"]["step"], memory["maxDecreasePercent"]) == ("64Mi", "20")
    assert spec["slis"][0]["minSamples"] == 100
    assert spec["search"]["initialTrials"] == 5
    assert spec["safety"]["checkInterval"] == "10s"
    assert spec["canary"]["maxSharePercent"] == "10"


def test_defaults_writes_out_the_rules_of_a_budget() -> None:
    given = manifest()
    given["spec"]["errorBudgets"] = [{"name": "month", "sli": "slow", "objectivePercent": "95"}]
    result = run("defaults", write("budget.yaml", given))
    assert result.exit_code == 0
    budget = yaml.safe_load(result.stdout)["spec"]["errorBudgets"][0]
    assert budget["rollbackOnBurnRate"][0] == {"short": "5m", "long": "1h", "factor": "14.4"}
    assert "pauseOnBurn" not in budget  # at 95 % not even an outage could trigger the usual one


@pytest.mark.parametrize("path", [MINIMAL, WEB])
def test_what_defaults_prints_means_the_same(path: Path) -> None:
    first = run("defaults", path)
    written = Path("effective.yaml")
    written.write_text(first.stdout)
    assert run("lint", written).exit_code == 0
    assert yaml.safe_load(run("defaults", written).stdout) == yaml.safe_load(first.stdout)


def test_defaults_of_a_bad_manifest_names_the_field() -> None:
    bad = manifest()
    bad["spec"]["trial"] = {"deadline": "5m"}
    path = write("bad.yaml", manifest(), bad)
    result = run("defaults", path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "spec.trial.deadline: deadline must be longer than warmUp + duration; raise deadline" in result.stderr


def test_without_the_extra_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any, **named: Any) -> ModuleType:
        if name.partition(".")[0] == "typer":
            raise ModuleNotFoundError("No module named 'typer'", name="typer")
        return real(name, *rest, **named)

    monkeypatch.delitem(sys.modules, "trimtab.cli.app", raising=False)
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(SystemExit) as stopped:
        entry.main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "trimtab: typer is not installed; run pip install 'trimtab[cli]'\n"


def test_the_entry_point_runs_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["trimtab", "version"])
    with pytest.raises(SystemExit) as stopped:
        entry.main()
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"trimtab {__version__}\n"


class TestRules:
    def test_prints_a_rule_file_of_each_experiment(self) -> None:
        result = run("rules", "-f", WEB, "--namespace", "shop")
        assert result.exit_code == 0, result.output
        (group,) = yaml.safe_load(result.stdout)["groups"]
        assert group["name"] == "trimtab-shop-web"
        assert {r["labels"]["sli"] for r in group["rules"]} == {"errors"}

    def test_or_the_object_of_the_prometheus_operator(self) -> None:
        result = run("rules", "-f", WEB, "--namespace", "shop", "--output", "PrometheusRule")
        found = yaml.safe_load(result.stdout)
        assert (found["apiVersion"], found["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
        assert found["metadata"] == {"name": "trimtab-web", "namespace": "shop"}
        assert yaml.safe_load(run("rules", "-f", WEB, "-n", "shop").stdout)["groups"] == found["spec"]["groups"]

    def test_the_namespace_of_the_manifest_wins(self) -> None:
        named = yaml.safe_load(WEB.read_text())
        named["metadata"]["namespace"] = "web"
        result = run("rules", "-f", write("named.yaml", named), "--namespace", "shop")
        (group,) = yaml.safe_load(result.stdout)["groups"]
        assert {r["labels"]["namespace"] for r in group["rules"]} == {"web"}
        assert "shop" not in result.stdout

    @pytest.mark.parametrize(
        ("change", "status", "words"),
        [
            (lambda _: None, 1, "metadata.namespace: is not set; write it, or give --namespace"),
            (lambda m: m["metadata"].pop("name"), 1, "metadata.name: is not set; write it"),
            (lambda m: m["spec"].pop("errorBudgets"), 1, "spec.errorBudgets: there is none"),
            (lambda m: m["spec"].update(mode="Guess"), 1, "spec.mode"),
            (lambda m: m["spec"].update(mode="Promote"), 1, "spec.mode"),
            (lambda m: m.update(kind="Trial"), 2, "no Experiment of trimtab.dev in it"),
        ],
    )
    def test_says_what_it_lacks(self, change: Any, status: int, words: str) -> None:
        lacking = yaml.safe_load(WEB.read_text())
        change(lacking)
        namespace = () if "namespace" in words else ("-n", "shop")
        result = run("rules", "-f", write("lacking.yaml", lacking), *namespace)
        assert result.exit_code == status
        assert words in result.output
        assert result.output.count("\n") == 1

    def test_no_file_no_rules(self) -> None:
        result = run("rules", "-f", "nowhere.yaml")
        assert (result.exit_code, result.output) == (2, "trimtab: nowhere.yaml: No such file or directory\n")

    def test_promql_that_is_refused_is_not_installed(self) -> None:
        bad = yaml.safe_load(WEB.read_text())
        query = {"bad": "a{$selector} offset 5m", "total": "a{$selector}"}
        bad["spec"]["slis"][1] = {"name": "errors", "ratio": query}
        result = run("rules", "-f", write("bad.yaml", bad), "-n", "shop")
        assert result.exit_code == 1
        assert "spec.slis[errors].ratio.bad: " in result.output
        assert "offset is not allowed" in result.output
