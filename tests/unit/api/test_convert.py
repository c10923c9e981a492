"""Manifest to domain: values, defaults that depend on other fields, refusals, and what a record says of bad input."""

from __future__ import annotations

import contextlib
import zoneinfo
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.api.samples import experiment, space

from trimtab.api.convert import (
    experiment_record,
    experiment_status,
    parse_experiment,
    trial_manifest,
    trial_record,
    trial_status,
)
from trimtab.api.lint import lint
from trimtab.api.times import parse_time
from trimtab.domain import names
from trimtab.domain.errors import CorruptLedger, InvalidSpec, NotYetSupported
from trimtab.domain.measurement import Arm, Measurement, NoData, Window
from trimtab.domain.schedule import Freeze
from trimtab.domain.space import Apply, ContainerResource, LimitsRule, Numeric, Order, Ratio, Resource, Scale, Sum
from trimtab.domain.spec import (
    BurnPair,
    CostLimit,
    ErrorBudget,
    ExperimentSpec,
    Mode,
    ObjectiveTerm,
    PauseOnBurn,
    QuantileQuery,
    RatioQuery,
    RelativeBound,
    Sli,
    SliKind,
    SlowRatioQuery,
    ValueQuery,
)
from trimtab.domain.state import ConditionType, ExperimentPhase, ExperimentState
from trimtab.domain.trial import Environment, Purpose, Suggestion, TrialPhase
from trimtab.ports import ExperimentRecord, NewTrial


def spec_with(**sections: Any) -> ExperimentSpec:
    manifest = experiment()
    manifest["spec"].update(sections)
    return parse_experiment(manifest)


def sli_of(**fields: Any) -> Sli:
    constraint = {"name": "latency", "sli": "it", "max": "0.05"}
    return spec_with(slis=[{"name": "it", **fields}], constraints=[constraint]).sli("it")


class TestStore:
    def test_unset_it_is_the_default_and_changes_no_digest(self) -> None:
        """Experiments of before this field keep theirs."""
        assert spec_with().store == "default"
        assert spec_with().digest == "cf58b39a8d4a8d2ee08c91c8e11ae08c417ea388a441d363e6db0a54aab91d45"

    def test_every_sli_is_read_from_the_one_that_is_named(self) -> None:
        found = spec_with(telemetry={"store": "long-term"})
        assert {s.store for s in found.slis} == {found.store} == {"long-term"}
        assert found.digest != spec_with().digest

    @pytest.mark.parametrize("store", ["http://prometheus:9090", "two words", "", "a" * 64, "../a"])
    def test_an_address_is_no_name(self, store: str) -> None:
        with pytest.raises(InvalidSpec, match=r"spec\.telemetry\.store"):
            spec_with(telemetry={"store": store})


def budget_of(**fields: Any) -> ErrorBudget:
    return spec_with(errorBudgets=[{"name": "slow", "sli": "slow", **fields}]).budgets[0]


class TestParameters:
    def test_cpu_defaults_to_requests_in_steps_of_50m_on_a_log_scale(self) -> None:
        cpu = spec_with().space["cpu"]
        assert cpu.locus == ContainerResource("api", Resource.CPU, Apply.REQUESTS, LimitsRule.RATIO)
        assert cpu.domain == Numeric(Decimal("0.25"), Decimal(2), Decimal("0.05"), Scale.LOG)
        assert (cpu.max_decrease, cpu.max_increase) == (None, None)

    def test_memory_defaults_to_requests_and_limits_in_steps_of_64mi(self) -> None:
        memory = spec_with().space["memory"]
        assert memory.locus == ContainerResource("api", Resource.MEMORY, Apply.BOTH, LimitsRule.RATIO)
        assert memory.domain == Numeric(Decimal(2**29), Decimal(2**31), Decimal(2**26), Scale.LOG)

    def test_percentages_become_fractions(self) -> None:
        given = experiment()
        given["spec"]["parameters"][0] |= {"maxDecreasePercent": "12.5", "maxIncreasePercent": "99.9"}
        cpu = parse_experiment(given).space["cpu"]
        assert (cpu.max_decrease, cpu.max_increase) == (0.125, 0.999)

    def test_relations(self) -> None:
        found = spec_with(
            parameterConstraints=[
                {"name": "order", "order": {"lower": "cpu", "upper": "memory"}},
                {"name": "ratio", "ratio": {"of": "memory", "to": "cpu", "max": "4e9".replace("4e9", "4000000000")}},
                {"name": "sum", "sum": {"max": "2.25", "terms": [{"parameter": "cpu"}, _quarter("memory")]}},
            ]
        ).space.constraints
        assert found == (
            Order("order", "cpu", "memory"),
            Ratio("ratio", "memory", "cpu", 4e9),
            Sum("sum", (("cpu", 1.0), ("memory", 0.25)), 2.25),
        )


def _quarter(name: str) -> dict[str, str]:
    return {"parameter": name, "weight": "0.25"}


class TestSlis:
    def test_plain_http_errors_are_probed_by_label_and_never_silently_zero(self) -> None:
        sli = sli_of(preset={"source": "PlainHTTP", "sli": "ErrorRatio"})
        assert sli.kind is SliKind.ERRORS
        assert isinstance(sli.query, RatioQuery)
        assert len(sli.query.bad) == len(sli.query.total) == 6
        assert sli.query.bad[1] == 'http_requests_total{$selector,status=~"5.."}'
        # the total asks for the label: without it there is no data instead of no errors
        assert sli.query.total[1] == 'http_requests_total{$selector,status!=""}'

    def test_opentelemetry(self) -> None:
        errors = sli_of(preset={"source": "OpenTelemetry", "sli": "ErrorRatio"}).query
        metric = "http_server_request_duration_seconds_count"
        assert isinstance(errors, RatioQuery)
        assert errors.bad == (f'{metric}{{$selector,http_response_status_code=~"5.."}}',)
        slow = sli_of(preset={"source": "OpenTelemetry", "sli": "SlowRatio", "threshold": "0.25"})
        assert slow.query == SlowRatioQuery(("http_server_request_duration_seconds",), 0.25)
        assert slow.kind is SliKind.ERRORS

    def test_quantile(self) -> None:
        sli = sli_of(preset={"source": "PlainHTTP", "sli": "LatencyQuantile", "quantile": "0.95"})
        assert sli.kind is SliKind.LATENCY
        assert sli.query == QuantileQuery(("http_request_duration_seconds",), 0.95)
        assert sli.min_samples == 100

    def test_own_histogram(self) -> None:
        sli = sli_of(latency={"histogram": "h_ms", "threshold": "300", "unit": "ms", "matchers": 'route="/pay"'})
        assert sli.query == SlowRatioQuery(("h_ms",), 300.0, "ms", 'route="/pay"')

    def test_value(self) -> None:
        sli = sli_of(value={"query": "avg(depth{$selector})"})
        assert sli.kind is SliKind.VALUE
        assert sli.query == ValueQuery("avg(depth{$selector})", "1", None)
        assert sli.min_samples == 8


class TestBudgets:
    def test_default_rules_at_three_nines(self) -> None:
        budget = budget_of(objectivePercent="99.9")
        assert budget.objective == 0.999
        assert budget.window == 720 * 3600
        assert (budget.experiment_share, budget.start_above) == (0.05, 0.4)
        assert budget.pause_on_burn == PauseOnBurn(0.5, 6 * 3600)
        assert [p.factor for p in budget.rollback_on_burn] == pytest.approx([14.4, 6.0])
        assert [(p.short, p.long) for p in budget.rollback_on_burn] == [(300, 3600), (1800, 21600)]

    def test_default_rules_that_could_never_fire_are_left_out(self) -> None:
        budget = budget_of(objectivePercent="90")
        assert budget.pause_on_burn is None
        assert [p.factor for p in budget.rollback_on_burn] == pytest.approx([6.0])

    def test_given_rules_are_kept_as_they_are(self) -> None:
        budget = budget_of(
            objectivePercent="99",
            window="1h",
            pauseOnBurn={"percent": "80", "window": "10m"},
            rollbackOnBurnRate=[{"short": "10s", "long": "1m", "factor": "20"}],
        )
        assert budget.pause_on_burn == PauseOnBurn(0.8, 600)
        assert budget.rollback_on_burn == (BurnPair(10, 60, 20),)


class TestRest:
    def test_everything_else_has_a_safe_default(self) -> None:
        spec = spec_with()
        assert spec.mode is Mode.RECOMMEND
        assert (spec.trial.warm_up, spec.trial.duration, spec.trial.deadline) == (120, 600, 2700)
        assert (spec.canary.replicas, spec.canary.max_share) == (1, 0.1)
        assert (spec.safety.probability, spec.safety.check_interval, spec.safety.stale_after) == (0.95, 10, 60)
        assert spec.search.initial_trials == 5
        assert (spec.stopping.max_trials, spec.stopping.max_duration, spec.stopping.min_improvement) == (
            40,
            168 * 3600,
            0.01,
        )
        assert (spec.prices.cpu_core_hour, spec.prices.memory_gib_hour) == (0.031611, 0.004237)
        assert spec.objectives[0].is_cost
        assert spec.constraints[0].abort is not None
        assert not spec.share_service_labels_ok

    def test_bound_relative_to_the_control(self) -> None:
        relative = {"relativeToControl": {"maxIncreasePercent": "5"}}
        constraint = spec_with(constraints=[{"name": "c", "sli": "slow", **relative}]).constraints[0]
        assert constraint.relative == RelativeBound(0.05, None)
        assert constraint.maximum is None

    def test_pausing_does_not_change_the_digest_and_everything_else_does(self) -> None:
        assert spec_with(paused=True).digest == spec_with().digest
        assert spec_with(trial={"duration": "10m"}).digest == spec_with().digest  # the default, written out
        assert spec_with(trial={"duration": "11m"}).digest != spec_with().digest


def test_what_a_search_may_cost_repair_and_screen() -> None:
    plain = spec_with()
    assert (plain.stopping.max_cost, plain.search.repair, plain.trial.screen) == (None, False, None)
    spec = spec_with(
        stopping={"maxCost": "2.5"},
        search={"infeasibleBaseline": "Repair"},
        trial={"fidelity": {"screen": "90s"}},
    )
    assert (spec.stopping.max_cost, spec.search.repair, spec.trial.screen) == (2.5, True, 90.0)


def test_a_bound_on_the_cost_is_no_bound_on_an_sli() -> None:
    bounds = [{"name": "a", "sli": "slow", "max": "1"}, {"name": "b", "builtin": "ResourceCost", "max": "9.5"}]
    parsed = spec_with(constraints=bounds)
    assert [c.name for c in parsed.constraints] == ["a"]
    assert parsed.cost_limits == (CostLimit("b", 9.5),)


def test_objectives_of_slis() -> None:
    terms = [{"sli": "slow", "weight": "-20"}, {"builtin": "ResourceCost", "weight": "2"}]
    parsed = spec_with(objectives=[{"name": "a", "terms": terms}, {"name": "b", "sli": "slow", "goal": "Maximize"}])
    one, two = parsed.objectives
    assert one.terms == (ObjectiveTerm(-20.0, "slow"), ObjectiveTerm(2.0))
    assert (two.maximize, two.terms) == (True, (ObjectiveTerm(1.0, "slow"),))
    assert not parsed.is_cost
    assert spec_with().is_cost


@pytest.mark.parametrize(
    ("acquisition", "objectives", "problem"),
    [
        ("HypervolumeEI", [{"name": "a", "sli": "slow"}], "HypervolumeEI needs two objectives"),
        ("NoisyEI", [{"name": "a", "builtin": "ResourceCost"}], "NoisyEI needs one objective that names an SLI"),
        ("UCB", [{"name": "a", "sli": "slow"}], "UCB, PI and Thompson need one objective without an SLI"),
        ("PI", [{"name": "a", "builtin": "ResourceCost"}, {"name": "b", "sli": "slow"}], "UCB, PI and Thompson"),
        ("NoisyEI", [{"name": "a", "sli": "slow"}], ""),
        ("HypervolumeEI", [{"name": "a", "builtin": "ResourceCost"}, {"name": "b", "sli": "slow"}], ""),
        ("ConstrainedEI", [{"name": "a", "sli": "slow"}], ""),
        ("Thompson", [{"name": "a", "builtin": "ResourceCost"}], ""),
    ],
)
def test_an_acquisition_must_fit_the_objectives(acquisition: str, objectives: list[Any], problem: str) -> None:
    given = {"search": {"acquisition": acquisition}, "objectives": objectives}
    if not problem:
        assert spec_with(**given).search.acquisition == acquisition
        return
    with pytest.raises(InvalidSpec, match=problem) as caught:
        spec_with(**given)
    assert caught.value.field == "spec.search.acquisition"


BY_ROUTE = {"mode": "HTTPRoute", "httpRoute": {"name": "shop", "ruleName": "pages", "backendService": "web"}}
UNSUPPORTED: dict[str, dict[str, Any]] = {
    "spec.mode": {"mode": "Promote"},
    "spec.promotion.strategy": {"promotion": {"strategy": "Apply"}},
    "spec.promotion.approval": {"promotion": {"approval": "Automatic"}},
    "spec.trial.parallel": {"trial": {"parallel": 2}, "traffic": BY_ROUTE},
    "spec.promotion.bake": {"promotion": {"bake": "2h"}},
}


def node(name: str = "node", *values: str) -> dict[str, Any]:
    return {"name": name, "nodeSelector": {"key": name}, "categorical": {"values": list(values or ("a", "b"))}}


def priced(*values: str) -> dict[str, Any]:
    return {"nodes": [{"value": v, "cpuCoreHour": "1", "memoryGiBHour": "2"} for v in values]}


@pytest.mark.parametrize(
    ("parameters", "values", "field", "words"),
    [
        ([node()], ("a",), "spec.prices.nodes", "has no price of b, a value of node"),
        ([node()], ("a", "b", "c"), "spec.prices.nodes", "prices c, which no nodeSelector parameter chooses"),
        ([], ("a",), "spec.prices.nodes", "prices a, which no nodeSelector parameter chooses"),
        ([node(), node("zone", "x", "y")], ("a", "b", "x", "y"), "spec.parameters", "node and zone both choose nodes"),
    ],
)
def test_each_node_type_has_one_price(parameters: list[Any], values: tuple[str, ...], field: str, words: str) -> None:
    usual = experiment()["spec"]["parameters"]
    with pytest.raises(InvalidSpec, match=words) as caught:
        spec_with(parameters=[*usual, *parameters], prices=priced(*values))
    assert caught.value.field == field


def test_prices_of_node_types() -> None:
    made = spec_with(parameters=[*experiment()["spec"]["parameters"], node()], prices=priced("a", "b"))
    assert [(n.value, n.cpu_core_hour, n.memory_gib_hour) for n in made.prices.nodes] == [
        ("a", 1.0, 2.0),
        ("b", 1.0, 2.0),
    ]


SEQUENTIAL = {"name": "slow", "sli": "slow", "max": "0.05", "sequential": {"maxErrorRatio": "1.5"}}


def test_a_sequential_test_names_its_tolerated_ratio() -> None:
    assert spec_with(constraints=[SEQUENTIAL]).constraints[0].max_error_ratio == 1.5
    assert spec_with(constraints=[{**SEQUENTIAL, "sequential": {}}]).constraints[0].max_error_ratio == 1.2
    assert not spec_with(constraints=[SEQUENTIAL]).trial.early_success
    assert spec_with(constraints=[SEQUENTIAL], trial={"earlySuccess": True}).trial.early_success


@pytest.mark.parametrize(
    ("given", "field", "problem"),
    [
        (
            {
                "slis": [{"name": "slow", "latency": {"histogram": "h", "quantile": "0.95"}}],
                "constraints": [SEQUENTIAL],
            },
            "spec.constraints",
            "sequential needs an SLI that counts events",
        ),
        (
            {"constraints": [SEQUENTIAL, {"name": "spend", "builtin": "ResourceCost", "max": "3", "sequential": {}}]},
            "spec.constraints",
            "sequential needs an SLI that counts events",
        ),
        (
            {"constraints": [{"name": "slow", "sli": "slow", "max": "0.05"}], "trial": {"earlySuccess": True}},
            "spec.trial.earlySuccess",
            "only a bound with max and sequential",
        ),
        (
            {"constraints": [{**SEQUENTIAL, "min": "0.01"}], "trial": {"earlySuccess": True}},
            "spec.trial.earlySuccess",
            "without min and relativeToControl",
        ),
        (
            {
                "constraints": [SEQUENTIAL],
                "trial": {"earlySuccess": True},
                "objectives": [{"name": "o", "sli": "slow"}],
            },
            "spec.trial.earlySuccess",
            "a measured objective needs the whole trial",
        ),
    ],
)
def test_what_a_sequential_test_cannot_do_is_refused(given: dict[str, Any], field: str, problem: str) -> None:
    with pytest.raises(InvalidSpec, match=problem) as caught:
        spec_with(**given)
    assert caught.value.field == field


@pytest.mark.parametrize("field", UNSUPPORTED)
def test_what_this_version_lacks_is_refused_by_name(field: str) -> None:
    with pytest.raises(NotYetSupported) as caught:
        spec_with(**UNSUPPORTED[field])
    assert caught.value.field == field
    assert caught.value.remedy


class TestSchedule:
    def test_it_becomes_moments_and_seconds(self) -> None:
        found = spec_with(
            schedule={
                "timeZone": "Europe/Berlin",
                "windows": [{"cron": "0 9 * * MON-FRI", "duration": "7h"}],
                "freezes": [{"start": "2026-12-24T00:00:00+01:00", "end": "2026-12-25T00:00:00Z", "reason": "eve"}],
                "onClose": "Withdraw",
            }
        ).schedule
        assert found is not None
        assert found.zone is ZoneInfo("Europe/Berlin")
        assert [(w.cron.weekdays, w.seconds) for w in found.windows] == [((1, 2, 3, 4, 5), 25200.0)]
        assert found.freezes == (Freeze(parse_time("2026-12-23T23:00:00Z"), parse_time("2026-12-25T00:00:00Z"), "eve"),)
        assert found.withdraw

    def test_the_rules_are_there_also_where_the_system_has_none(self) -> None:
        """Images without the tz database have the package's."""
        zoneinfo.reset_tzpath(to=())
        try:
            zone = ZoneInfo.no_cache("Europe/Berlin")
        finally:
            zoneinfo.reset_tzpath()
        assert datetime(2026, 7, 1, tzinfo=zone).utcoffset() == timedelta(hours=2)

    def test_none_is_any_time(self) -> None:
        assert spec_with().schedule is None
        empty = spec_with(schedule={}).schedule
        assert empty is not None
        assert empty.closure(0.0) is None

    @pytest.mark.parametrize(
        ("schedule", "words"),
        [
            (
                {"timeZone": "Europe/Berln"},
                "timeZone: 'Europe/Berln' is not in the tz database; did you mean Europe/Berlin?",
            ),
            ({"timeZone": "Europe"}, "timeZone: 'Europe' is not in the tz database"),
            ({"timeZone": "CET-1CEST"}, "timeZone: 'CET-1CEST' is not in the tz database"),
            ({"timeZone": "A/" * 31 + "a"}, "is not in the tz database"),
            (
                {"windows": [{"cron": "0 25 * * *", "duration": "1h"}]},
                "windows[0].cron: hour '25' is not within 0 to 23; write minute, hour",
            ),
            (
                {"windows": [{"cron": "0 0 31 2 *", "duration": "1h"}]},
                "windows[0].cron: '0 0 31 2 *' names no day that there is; correct day and month",
            ),
        ],
    )
    def test_what_cannot_be_kept_is_refused_by_name(self, schedule: dict[str, Any], words: str) -> None:
        with pytest.raises(InvalidSpec) as caught:
            spec_with(schedule=schedule)
        assert words in str(caught.value)
        assert caught.value.field.startswith("spec.schedule.")


@pytest.mark.parametrize(
    ("name", "accepted"),
    [
        ("CheckoutDown", True), ("High_Error-Rate", True), ("job:errors:burn", True), ("Disk is full", True),
        ("A", True),
        ("", False), (" a", False), ("a ", False), ('a"b', False), ("a|b", False), ("a.*", False), ("a" * 129, False),
    ],
)  # fmt: skip
def test_names_of_alerts(name: str, accepted: bool) -> None:
    given = {"safety": {"pauseOnAlerts": [name]}}
    if accepted:
        assert spec_with(**given).safety.pause_on_alerts == (name,)
        return
    with pytest.raises(InvalidSpec) as caught:
        spec_with(**given)
    assert caught.value.field == "spec.safety.pauseOnAlerts[0]"


def test_a_record_says_what_is_not_supported_and_counts_the_rest() -> None:
    manifest = experiment()
    manifest["spec"] |= {"mode": "Promote", "trial": {"parallel": 2}, "traffic": BY_ROUTE}
    record = experiment_record(manifest)
    assert record.spec is None
    assert record.problem_reason == "NotYetSupported"
    remedy = "set it to 1, as a route holds the weights of one trial, or use spec.traffic.mode: Service"
    assert record.problem == f"spec.trial.parallel: not supported by this version; {remedy} (also: spec.mode)"


def test_by_the_services_balancing_trials_may_run_side_by_side() -> None:
    assert spec_with(trial={"parallel": 3}).trial.parallel == 3


def test_a_record_says_what_is_invalid() -> None:
    manifest = experiment()
    manifest["spec"]["constraints"][0]["max"] = 0.05
    record = experiment_record(manifest)
    assert record.problem_reason == "InvalidSpec"
    assert record.problem == "spec.constraints[0].max: must be a string; write it in quotes"


@pytest.mark.parametrize(
    "spec",
    [None, [], "text", 7, {}, {"parameters": {}}, {"parameters": [[]]}, {"a": float("nan")}, {"x": {"y": [None] * 50}}],
)
def test_nonsense_is_invalid_and_never_an_accident(spec: Any) -> None:
    with pytest.raises(InvalidSpec):
        parse_experiment({"spec": spec})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=10), children, max_size=4),
    max_leaves=20,
)


@pytest.mark.thorough
@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(experiment()["spec"])), json_values)
def test_any_value_is_understood_or_refused(section: str, value: Any) -> None:
    manifest = experiment()
    manifest["spec"][section] = value
    with contextlib.suppress(InvalidSpec, NotYetSupported):
        parse_experiment(manifest)
    assert isinstance(lint(manifest), list)


@pytest.mark.thorough
@settings(max_examples=100, deadline=None)
@given(json_values)
def test_any_status_is_understood_or_named(value: Any) -> None:
    record = experiment_record({**experiment(), "status": value})
    assert (record.state is None) == bool(record.state_problem)


@pytest.mark.parametrize("section", ["schedule", "warmStart", "errorBudgets", "trial", "owner"])
def test_a_field_that_is_null_is_absent(section: str) -> None:
    assert spec_with(**{section: None}) == spec_with()


def test_a_deep_bomb_is_invalid() -> None:
    bomb: Any = []
    for _ in range(100_000):
        bomb = [bomb]
    with pytest.raises(InvalidSpec):
        parse_experiment({"spec": {"owner": bomb}})


class TestRecord:
    def test_metadata(self) -> None:
        manifest = experiment()
        manifest["metadata"] |= {
            "deletionTimestamp": "2026-01-31T13:00:00Z",
            "finalizers": ["other", names.FINALIZER],
            "annotations": {"trimtab.dev/pause": "me", "other/pause": "x"},
            "managedFields": [
                _manager("kubectl-annotate", "2026-01-31T12:30:00Z", "trimtab.dev/pause"),
                _manager("older", "2026-01-31T12:10:00Z", "trimtab.dev/pause"),
                _manager("kubectl-apply", "2026-01-31T12:40:00Z", "other/pause"),
            ],
        }
        record = experiment_record(manifest)
        assert (record.name, record.namespace, record.generation) == ("checkout", "shop", 3)
        assert record.created == 1769860800.0
        assert record.deleting
        assert record.finalized
        assert record.annotations == (("trimtab.dev/pause", "me"),)
        assert record.annotation_managers == (("trimtab.dev/pause", "kubectl-annotate"),)

    def test_without_managed_fields_the_manager_is_unknown(self) -> None:
        manifest = experiment()
        manifest["metadata"]["annotations"] = {"trimtab.dev/skip": "t"}
        assert experiment_record(manifest).annotation_managers == (("trimtab.dev/skip", "unknown"),)

    def test_no_status_is_the_initial_state(self) -> None:
        assert experiment_record(experiment()).state == ExperimentState()

    @pytest.mark.parametrize(
        ("status", "field"),
        [
            ({"phase": "Dreaming"}, "status.phase"),
            ({"trialsCreated": -1}, "status.trialsCreated"),
            ({"trialsCreated": "3"}, "status.trialsCreated"),
            ({"started": "yesterday"}, "status.started"),
            ({"conditions": [{"type": "Ready"}]}, "status.conditions[0].status"),
            ("text", "status"),
            ({"budgets": [{"name": "a"}]}, "status.budgets[0].spentBad"),
        ],
    )
    def test_an_unreadable_status_is_named_not_guessed(self, status: Any, field: str) -> None:
        record = experiment_record({**experiment(), "status": status})
        assert record.state is None
        assert field in record.state_problem

    def test_a_status_of_a_newer_operator_is_continued(self) -> None:
        status = {"phase": "Running", "trialsCreated": 3, "somethingNew": {"a": 1}, "display": {"mood": "good"}}
        record = experiment_record({**experiment(), "status": status})
        assert record.state is not None
        assert record.state.trials_created == 3

    def test_a_condition_of_someone_else_is_no_problem(self) -> None:
        theirs = {"type": "Approved", "status": "True", "reason": "X", "lastTransitionTime": "2026-01-31T12:00:00Z"}
        record = experiment_record({**experiment(), "status": {"conditions": [theirs]}})
        assert record.state == ExperimentState()


def _manager(name: str, time: str, annotation: str) -> dict[str, Any]:
    fields: dict[str, Any] = {"f:metadata": {"f:annotations": {f"f:{annotation}": {}}}}
    return {"manager": name, "time": time, "fieldsType": "FieldsV1", "fieldsV1": fields}


def a_record() -> ExperimentRecord:
    return experiment_record(experiment())


class TestStatus:
    def test_columns(self) -> None:
        record = a_record()
        state = ExperimentState(
            phase=ExperimentPhase.RUNNING,
            message="m" * 100,
            trials_created=9,
            trials_counted=7,
            saving=0.313,
            slo_held=True,
            active=("t",),
        )
        shown = experiment_status(record, state)["display"]
        assert shown == {
            "trials": "7/40",
            "saving": "31%",
            "slo": "Held",
            "budget": "",
            "message": "m" * 79 + "…",
            "active": "t",
        }

    def test_another_first_objective_is_shown_by_its_name(self) -> None:
        wanted = spec_with(objectives=[{"name": "late", "sli": "slow"}])
        record = replace(a_record(), spec=wanted)
        state = ExperimentState(saving=-0.1, improvement=0.146)
        assert experiment_status(record, state)["display"]["saving"] == "late -15%"
        assert experiment_status(record, replace(state, improvement=None))["display"]["saving"] == ""
        most = spec_with(objectives=[{"name": "late", "sli": "slow", "goal": "Maximize"}])
        assert experiment_status(replace(record, spec=most), state)["display"]["saving"] == "late +15%"

    def test_conditions_follow_metav1(self) -> None:
        state = ExperimentState().with_condition(ConditionType.STALLED, None, "", "why", 1769860800.9, 3)
        assert experiment_status(a_record(), state)["conditions"] == [
            {
                "type": "Stalled",
                "status": "Unknown",
                "reason": "Stalled",
                "message": "why",
                "lastTransitionTime": "2026-01-31T12:00:00Z",
                "observedGeneration": 3,
            }
        ]

    def test_what_is_too_long_for_the_server_is_cut_not_refused(self) -> None:
        status = experiment_status(a_record(), ExperimentState(message="x" * 5000 + "\ud800"))
        assert len(status["message"]) == 1024
        assert status["message"].endswith("…")


class TestTrial:
    def body(self) -> dict[str, Any]:
        values = space().parse({"cpu": "500m", "memory": "768Mi"})
        suggestion = Suggestion(values, Purpose.SEARCH, 7, True, 0.97, None, (), "digest", 0.1, 0.2)
        return trial_manifest(a_record(), NewTrial(3, suggestion, Environment("h", "u", "image", 4), "spec", 0.5))

    def stored(self) -> dict[str, Any]:
        body = self.body()
        body["metadata"] |= {"uid": "t1", "resourceVersion": "9", "creationTimestamp": "2026-01-31T12:00:00Z"}
        return body

    def test_post(self) -> None:
        metadata = self.body()["metadata"]
        assert metadata["name"] == "checkout-0f8fad-0003"
        assert metadata["namespace"] == "shop"
        assert metadata["finalizers"] == [names.FINALIZER]
        assert metadata["labels"][names.LABEL_EXPERIMENT] == "checkout"
        assert metadata["labels"][names.LABEL_EXPERIMENT_UID] == "0f8fad5b-d9cb-469f-a165-70867728950e"
        (owner,) = metadata["ownerReferences"]
        assert owner["controller"] is True
        assert owner["blockOwnerDeletion"] is True
        assert self.body()["spec"]["summary"] == "cpu=500m memory=768Mi"
        assert self.body()["spec"]["assignment"] == [
            {"name": "cpu", "value": "500m"},
            {"name": "memory", "value": "768Mi"},
        ]

    def test_a_new_trial_is_pending(self) -> None:
        trial = trial_record(self.stored())
        assert trial.phase is TrialPhase.PENDING
        assert trial.times.created == 1769860800.0
        assert trial.finalized
        assert not trial.deleting

    @pytest.mark.parametrize(
        ("part", "value", "field"),
        [
            ("spec", None, "spec"),
            ("spec", {}, "spec.experiment"),
            ("status", {"phase": "Dreaming"}, "status.phase"),
            ("status", {"deadline": "soon"}, "status.deadline"),
            ("status", {"measurements": [{"sli": "a", "arm": "canary", "window": {}}]}, "window"),
        ],
    )
    def test_an_unreadable_row_is_corrupt_and_named(self, part: str, value: Any, field: str) -> None:
        with pytest.raises(CorruptLedger, match=r"Trial shop/checkout-0f8fad-0003 cannot be read") as caught:
            trial_record({**self.stored(), part: value})
        assert field in str(caught.value)

    def test_a_row_without_identity_is_corrupt(self) -> None:
        stored = self.stored()
        del stored["metadata"]["uid"]
        with pytest.raises(CorruptLedger):
            trial_record(stored)

    def test_evidence_is_bounded(self) -> None:
        from dataclasses import replace

        measured = Measurement("slow", Arm.CANARY, Window(1.0, 2.0), NoData("x" * 9999))
        trial = replace(
            trial_record(self.stored()), evidence=tuple(str(n) for n in range(99)), measurements=(measured,) * 99
        )
        status = trial_status(trial)
        assert status["evidence"] == [str(n) for n in range(67, 99)]
        assert len(status["measurements"]) == 64
        assert len(status["measurements"][0]["noData"]["detail"]) == 1024


GIVEN = {"values": [{"name": "cpu", "value": "500m"}, {"name": "memory", "value": "1Gi"}]}


def test_a_warm_start_is_read() -> None:
    warm = {
        "experimentRef": {"name": "old"},
        "historyRef": {"name": "web-history"},
        "maxAge": "48h",
        "assignments": [GIVEN],
    }
    found = spec_with(warmStart=warm).warm_start
    assert found is not None
    assert (found.experiment, found.history, found.max_age) == ("old", "web-history", 48 * 3600.0)
    assert [dict(a) for a in found.assignments] == [{"cpu": Decimal("0.5"), "memory": Decimal(2**30)}]
    assert spec_with().warm_start is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([{"name": "cpu", "value": "510m"}, {"name": "memory", "value": "1Gi"}], "510m is not on the grid of cpu"),
        ([{"name": "disk", "value": "1"}], "names no parameter; use one of cpu, memory"),
    ],
)
def test_an_assignment_that_cannot_be_tried_is_refused_by_name(values: list[dict[str, str]], message: str) -> None:
    with pytest.raises(InvalidSpec, match=r"spec\.warmStart\.assignments") as refused:
        spec_with(warmStart={"assignments": [GIVEN, {"values": values}]})
    assert "assignments[1].values[" in refused.value.field
    assert message in str(refused.value)
