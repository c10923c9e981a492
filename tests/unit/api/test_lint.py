"""Lint: what is wrong or doubtful about a manifest, without a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from tests.unit.api.samples import ROOT, SHORTEST

from trimtab.api.base import RULES_KEY
from trimtab.api.experiment import Experiment
from trimtab.api.lint import Finding, Level, defaults_in_effect, lint, unknown_annotations
from trimtab.api.problems import split
from trimtab.api.schema import inlined
from trimtab.api.times import parse_time


@pytest.fixture
def manifest() -> dict[str, Any]:
    """The shortest Experiment, of which nothing is doubtful."""
    found: dict[str, Any] = yaml.safe_load(SHORTEST.read_text())
    return found


def test_nothing_to_say(manifest: dict[str, Any]) -> None:
    assert lint(manifest) == []


@pytest.mark.parametrize(
    ("path", "key", "field", "remedy"),
    [
        (("spec",), "targetref", "spec.targetref", "did you mean targetRef?"),
        (("spec", "parameters", 0, "quantity"), "maximum", "spec.parameters[0].quantity.maximum", "did you mean max?"),
        (("spec", "errorBudgets", 0), "objective", "spec.errorBudgets[0].objective", "did you mean objectivePercent?"),
        (("spec", "slis", 0, "preset"), "treshold", "spec.slis[0].preset.treshold", "did you mean threshold?"),
        (("spec",), "xyz", "spec.xyz", "remove it"),
        ((), "Spec", "Spec", "did you mean spec?"),
    ],
)
def test_unknown_fields_with_the_nearest_spelling(
    manifest: dict[str, Any], path: tuple[Any, ...], key: str, field: str, remedy: str
) -> None:
    place: Any = manifest
    for step in path:
        place = place[step]
    place[key] = "x"
    assert lint(manifest) == [Finding(field, "unknown field", remedy)]


def test_every_problem_at_once(manifest: dict[str, Any]) -> None:
    manifest["spec"]["constraints"][0]["max"] = 0.05
    manifest["spec"]["trial"] = {"duration": "1d", "parallel": 9}
    del manifest["spec"]["targetRef"]
    assert {finding.field for finding in lint(manifest)} == {
        "spec.constraints[0].max",
        "spec.trial.duration",
        "spec.trial.parallel",
        "spec.targetRef",
    }


def rules(schema: Any) -> Iterator[str]:
    """Every message that a rule of the API may give."""
    if isinstance(schema, dict):
        yield from (rule["message"] for rule in schema.get(RULES_KEY, ()))
        for child in schema.values():
            yield from rules(child)
    elif isinstance(schema, list):
        for child in schema:
            yield from rules(child)


def test_every_rule_has_a_problem_and_a_remedy() -> None:
    messages = sorted(set(rules(inlined(Experiment))))
    assert len(messages) > 50
    for message in messages:
        problem, remedy = split(message)
        assert problem, message
        assert remedy, message
    assert split('must be a percentage; write it in quotes, like "5"') == (
        "must be a percentage",
        'write it in quotes, like "5"',
    )
    assert split("a; b must differ; rename one") == ("a; b must differ", "rename one")
    assert split("nothing to divide") == ("nothing to divide", "")


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("stopping", {"maxTrials": 0}, "must be at least 1; raise it"),
        ("stopping", {"maxTrials": 10**9}, "must be at most 1000; lower it"),
        ("slis", [], "needs at least 1 items; add one"),
        ("owner", "x" * 5000, "characters long; shorten it"),
        ("mode", "Guess", "unsupported value"),
        ("paused", "yes", "must be true or false; write it without quotes"),
    ],
)
def test_every_problem_of_a_value_has_a_remedy(manifest: dict[str, Any], field: str, value: Any, words: str) -> None:
    manifest["spec"][field] = value
    found = [f for f in lint(manifest) if f.field.startswith(f"spec.{field}")]
    assert found
    assert all(f.remedy for f in found)
    assert any(words in str(f) for f in found), [str(f) for f in found]


def test_an_empty_query_is_told_with_what_to_do(manifest: dict[str, Any]) -> None:
    manifest["spec"]["slis"][0] = {"name": "slow", "value": {"query": ""}}
    (finding,) = lint(manifest)
    assert str(finding) == (
        "error: spec.slis[0].value.query: must be at least 1 characters long; write it, or remove the field"
    )


@pytest.mark.parametrize("nonsense", [None, [], "text", 3, {}, {"spec": []}, {"metadata": [], "spec": {}}])
def test_nonsense_is_told_not_raised(nonsense: Any) -> None:
    found = lint(nonsense)
    assert found
    assert all(finding.level is Level.ERROR for finding in found)


@pytest.mark.parametrize(
    ("name", "problem"),
    [("Checkout", "'Checkout' is no name"), ("a" * 64, "metadata.name may have at most 63 characters")],
)
def test_names(manifest: dict[str, Any], name: str, problem: str) -> None:
    manifest["metadata"]["name"] = name
    (finding,) = lint(manifest)
    assert finding.field == "metadata.name"
    assert finding.problem.startswith(problem)


def test_another_kind(manifest: dict[str, Any]) -> None:
    manifest["kind"] = "experiment"
    assert [str(finding) for finding in lint(manifest)] == ["error: kind: is 'experiment'; write kind: Experiment"]


def test_gaps_are_errors(manifest: dict[str, Any]) -> None:
    manifest["spec"]["mode"] = "Promote"
    (finding,) = lint(manifest)
    assert (finding.field, finding.level) == ("spec.mode", Level.ERROR)
    assert finding.problem == "not supported by this version"


def test_every_gap_is_in_the_readme(manifest: dict[str, Any]) -> None:
    """A field that this version refuses, with what to use instead."""
    manifest["spec"] |= {
        "mode": "Promote",
        "promotion": {"strategy": "Apply", "approval": "Automatic", "bake": "2h"},
        "trial": {"parallel": 2, "replicates": {"min": 2, "max": 3}},
        "traffic": {"mode": "HTTPRoute", "httpRoute": {"name": "r", "ruleName": "r", "backendService": "s"}},
    }
    fields = {f.field.removeprefix("spec.") for f in lint(manifest) if f.level is Level.ERROR}
    assert len(fields) == 6
    table = (ROOT / "README.md").read_text().partition("## Not yet supported")[2].partition("\n## ")[0]
    assert {field for field in fields if f"| `{field}" not in table and f", `{field}" not in table} == set()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"errorBudgets": []}, "spec.errorBudgets"),
        ({"verification": {"replicates": 0}}, "spec.verification.replicates"),
        ({"search": {"initialTrials": 50}}, "spec.search.initialTrials"),
    ],
)
def test_doubts_are_warnings(manifest: dict[str, Any], change: dict[str, Any], field: str) -> None:
    manifest["spec"] |= change
    (finding,) = lint(manifest)
    assert (finding.field, finding.level) == (field, Level.WARNING)


SLOW = {"name": "errors", "preset": {"source": "PlainHTTP", "sli": "SlowRatio", "threshold": "1"}}
LATE = {"name": "errors", "latency": {"histogram": "h", "threshold": "1", "matchers": 'code=~"5.."'}}
RATIO = {"name": "errors", "ratio": {"bad": 'r{$selector,ok="no"}', "total": "r{$selector}"}}
VALUE = {"name": "errors", "value": {"query": "sum(failed{$selector})"}}


@pytest.mark.parametrize(("sli", "doubtful"), [(SLOW, True), (LATE, True), (RATIO, False), (VALUE, False)])
def test_bounds_that_see_no_failure_are_doubtful(manifest: dict[str, Any], sli: dict[str, Any], doubtful: bool) -> None:
    manifest["spec"]["slis"][1] = sli
    manifest["spec"]["errorBudgets"] = [{"name": "slow", "sli": "slow", "objectivePercent": "99"}]
    assert [str(f) for f in lint(manifest)] == doubtful * [
        "warning: spec.slis: no constraint or error budget counts failures: a request that fails fast counts as fast; "
        "add an SLI of errors, such as preset {sli: ErrorRatio}, and a constraint or an error budget of it"
    ]


@pytest.mark.parametrize(("part", "left"), [("errorBudgets", 0), ("constraints", 1)])
def test_one_bound_or_one_budget_of_failures_is_enough(manifest: dict[str, Any], part: str, left: int) -> None:
    """An SLI that nothing names guards nothing."""
    spec = manifest["spec"]
    spec[part] = spec[part][:left]
    assert "spec.slis" not in {f.field for f in lint(manifest)}
    spec["constraints"], spec["errorBudgets"] = spec["constraints"][:1], []
    assert "spec.slis" in {f.field for f in lint(manifest)}


def test_a_fraction_that_is_bounded_by_more_than_all_of_it_is_refused(manifest: dict[str, Any]) -> None:
    """5 was meant as percent; as a fraction it has no standard error, as 5 x (1 - 5) has no root."""
    manifest["spec"]["constraints"][0]["max"] = "5"
    (finding,) = lint(manifest)
    assert (finding.field, finding.level) == ("spec.constraints[0].max", Level.ERROR)
    assert finding.remedy == 'write 5 % as "0.05"'


@pytest.mark.parametrize("matcher", ['code=~".*"', "code =~ '.+'"])
def test_bad_events_that_are_all_events_are_doubtful(manifest: dict[str, Any], matcher: str) -> None:
    ratio = {"bad": f"h{{$selector,{matcher}}}", "total": "h{$selector}"}
    manifest["spec"]["slis"].append({"name": "all", "ratio": ratio})
    (finding,) = lint(manifest)
    assert (finding.field, finding.level) == ("spec.slis[2].ratio.bad", Level.WARNING)
    manifest["spec"]["slis"][-1]["ratio"]["bad"] = 'h{$selector,code=~"5.*"}'
    assert lint(manifest) == []


def test_an_objective_of_a_quantile_is_doubtful(manifest: dict[str, Any]) -> None:
    manifest["spec"]["slis"].append({"name": "p95", "latency": {"histogram": "h", "quantile": "0.95"}})
    manifest["spec"]["objectives"] = [{"name": "cost", "builtin": "ResourceCost"}, {"name": "late", "sli": "p95"}]
    (found,) = lint(manifest)
    assert (found.level, found.field) == (Level.WARNING, "spec.objectives[1]")


def test_a_bounded_quantile_is_doubtful(manifest: dict[str, Any]) -> None:
    latency = {"histogram": "h", "quantile": "0.95"}
    manifest["spec"]["slis"].append({"name": "p95", "latency": latency})
    manifest["spec"]["constraints"].append({"name": "p95", "sli": "p95", "max": "0.3"})
    (finding,) = lint(manifest)
    assert (finding.field, finding.level) == ("spec.constraints[2]", Level.WARNING)


def test_bounds_that_the_model_would_not_know_are_refused(manifest: dict[str, Any]) -> None:
    manifest["spec"]["constraints"][0]["errors"] = "GuardOnly"
    (finding,) = lint(manifest)
    assert (finding.field, finding.level) == ("spec.constraints", Level.ERROR)
    assert "every bound is GuardOnly" in finding.problem
    assert "let one be Modelled" in str(finding)
    manifest["spec"]["constraints"].append({"name": "bound", "sli": manifest["spec"]["slis"][0]["name"], "max": "0.1"})
    assert lint(manifest) == []


def test_annotations(manifest: dict[str, Any]) -> None:
    manifest["metadata"]["annotations"] = {"trimtab.dev/paused": "me", "trimtab.dev/skip": "t", "other/x": "y"}
    (finding,) = lint(manifest)
    assert finding.remedy == "did you mean trimtab.dev/pause?"
    assert finding.level is Level.WARNING
    assert unknown_annotations({"trimtab.dev/zzzzzzzzzzzzzzz": ""}) == [("trimtab.dev/zzzzzzzzzzzzzzz", None)]


def test_defaults_in_effect(manifest: dict[str, Any]) -> None:
    shown = {default.field: default.value for default in defaults_in_effect(manifest)}
    assert shown["spec.parameters[0].quantity.step"] == "50m"
    assert shown["spec.parameters[1].container.apply"] == "Both"
    assert shown["spec.slis[0].minSamples"] == 100
    assert shown["spec.search.initialTrials"] == 5
    assert shown["spec.errorBudgets[0].pauseOnBurn.window"] == "6h"
    assert shown["spec.errorBudgets[0].rollbackOnBurnRate[0].factor"] == "14.4"
    assert shown["spec.safety.staleAfter"] == "60s"
    assert "spec.targetRef.name" not in shown


def test_a_default_written_out_is_no_longer_in_effect(manifest: dict[str, Any]) -> None:
    manifest["spec"]["trial"] = {"duration": "10m"}
    assert "spec.trial.duration" not in {default.field for default in defaults_in_effect(manifest)}


def test_no_defaults_for_what_cannot_be_read(manifest: dict[str, Any]) -> None:
    manifest["spec"]["targetRef"] = {}
    assert defaults_in_effect(manifest) == []


def test_dates_of_yaml_are_read_as_kubectl_reads_them(manifest: dict[str, Any]) -> None:
    text = "start: 2026-12-24T00:00:00Z\nend: 2026-12-27T00:00:00Z\n"
    manifest["spec"]["schedule"] = {"freezes": [yaml.safe_load(text)]}
    assert lint(manifest) == []


def windows(cron: str, duration: str, **rest: Any) -> dict[str, Any]:
    return {"windows": [{"cron": cron, "duration": duration}], **rest}


NOW = parse_time("2026-03-02T09:00:00Z")  # a Monday


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (windows("0 9 * * *", "10m", onClose="Withdraw"), "no window is open for 13m32s, which a trial takes"),
        (windows("0 9 * * *", "14m", onClose="Withdraw"), "33m32s, which a verification trial takes"),
        (
            windows("0 9 1 2 *", "7h"),
            "no time for a trial within stopping.maxDuration (168h): the next one is Mon 2027-02-01",
        ),
        (
            {"freezes": [{"start": "2026-03-01T00:00:00Z", "end": "2026-03-10T00:00:00Z"}]},
            "the next one is Tue 2026-03-10",
        ),
    ],
)
def test_a_schedule_without_time_for_a_trial_is_doubtful(
    manifest: dict[str, Any], schedule: dict[str, Any], words: str
) -> None:
    manifest["spec"]["schedule"] = schedule
    (found,) = lint(manifest, NOW)
    assert found.level is Level.WARNING
    assert words in found.problem
    assert found.remedy
    assert lint(manifest) == []


@pytest.mark.parametrize(
    "schedule",
    [
        windows("0 9 * * *", "10m"),
        windows("0 9 * * 1-5", "7h", onClose="Withdraw"),
        windows("*/10 9-11 * * *", "10m", onClose="Withdraw"),  # they touch: three hours
        {},
    ],
)
def test_one_with_time_is_not(manifest: dict[str, Any], schedule: dict[str, Any]) -> None:
    manifest["spec"]["schedule"] = schedule
    assert lint(manifest, NOW) == []


def test_what_is_seen_only_once_everything_is_read_is_told_too(manifest: dict[str, Any]) -> None:
    manifest["spec"]["schedule"] = {"timeZone": "Mars/Olympus"}
    assert [str(f) for f in lint(manifest)] == [
        "error: spec.schedule.timeZone: 'Mars/Olympus' is not in the tz database; write it like UTC or Europe/Berlin"
    ]
    assert defaults_in_effect(manifest) == []


def test_too_many_parameters_for_the_trials_are_doubtful(manifest: dict[str, Any]) -> None:
    first = manifest["spec"]["parameters"][0]
    manifest["spec"]["parameters"] = [
        {**first, "name": f"cpu{i}", "container": {**first["container"], "name": f"c{i}"}} for i in range(4)
    ]
    manifest["spec"]["stopping"] = {"maxTrials": 39}
    assert [str(f) for f in lint(manifest) if f.field == "spec.parameters"] == [
        "warning: spec.parameters: 4 for 39 trials, 10 each are advised; "
        "tune fewer at a time, or set stopping.maxTrials to 40"
    ]
    manifest["spec"]["stopping"] = {"maxTrials": 40}
    assert [f for f in lint(manifest) if f.field == "spec.parameters"] == []


SCALING = {"name": "churn", "scaling": {"measure": "ScaleEventsPerHour"}}
IN_BREACH = {"name": "breach", "scaling": {"measure": "BreachSecondsPerHour", "sli": "slow", "above": "0.05"}}


@pytest.mark.parametrize(
    ("slis", "constraint", "field", "words"),
    [
        ([SCALING, IN_BREACH], {}, "", ""),
        (
            [SCALING],
            {"name": "calm", "sli": "churn", "max": "5"},
            "spec.constraints",
            "cannot withdraw a canary in time",
        ),
        (
            [IN_BREACH | {"scaling": {"measure": "BreachSecondsPerHour", "above": "0.05"}}],
            {},
            ".scaling.sli",
            "needs sli",
        ),
        (
            [SCALING | {"scaling": {"measure": "MeanReplicas", "above": "0.05"}}],
            {},
            ".scaling.above",
            "belongs to measure",
        ),
        ([SCALING | {"scaling": {"measure": "MeanReplicas", "sli": "churn"}}], {}, "spec.slis", "none of that name"),
        ([SCALING | {"segment": 'tenant="gold"'}], {}, ".segment", "belongs to preset"),
    ],
)
def test_scaling_is_counted_by_another_sli_and_bounded_by_none(
    manifest: dict[str, Any], slis: list[dict[str, Any]], constraint: dict[str, Any], field: str, words: str
) -> None:
    manifest["spec"]["slis"] += slis
    manifest["spec"]["constraints"] += [constraint] if constraint else []
    found = [f for f in lint(manifest) if f.level is Level.ERROR]
    assert [f.field for f in found if not f.field.endswith(field)] == []
    assert (words in found[0].problem + found[0].remedy) if words else not found
