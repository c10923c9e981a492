"""The operator's metrics: names, labels, and that no series outlives its Experiment."""

from __future__ import annotations

import dataclasses

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.unit.control.builders import spec

from trimtab.domain.kube import ArmView
from trimtab.domain.measurement import Arm, Measurement, Sample, Stale, Window
from trimtab.domain.space import Assignment
from trimtab.domain.spec import SafetySpec
from trimtab.domain.state import (
    BudgetState,
    Condition,
    ConditionType,
    ExperimentPhase,
    ExperimentState,
    Figures,
)
from trimtab.domain.study import Diagnostics, Symptom, SymptomKind
from trimtab.domain.trial import Environment, Outcome, PhaseTimes, Purpose, Spent, Suggestion, Trial, TrialPhase
from trimtab.ports import ExperimentRecord
from trimtab.runtime.metrics import Metrics
from trimtab.runtime.sight import InTraffic, Sight, live, sight_of, stays
from trimtab.slo.sequential import EProcess
from trimtab.slo.watching import SafetyWindow, WatchState

RECORD = ExperimentRecord(
    name="web",
    namespace="shop",
    uid="u",
    resource_version="1",
    generation=1,
    created=0.0,
    deleting=False,
    finalized=False,
    annotations=(),
    annotation_managers=(),
    spec=None,
)
TRIAL = Trial(
    name="web-1",
    namespace="shop",
    uid="t1",
    resource_version="1",
    experiment_uid="u",
    experiment_name="web",
    index=1,
    suggestion=Suggestion(Assignment(()), Purpose.SEARCH, 1, True, 0.97, 0.4, (), "digest", 0.08, 0.02),
    spec_digest="d",
    environment=Environment("h", "tu", "image", 4),
    phase=TrialPhase.PENDING,
    times=PhaseTimes(created=100.0),
)


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Everything exported: (name, labels) -> value."""
    families = text_string_to_metric_families(metrics.render().decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def of(metrics: Metrics, name: str, **labels: str) -> float | None:
    """One sample of Experiment shop/web."""
    wanted = tuple(sorted({"namespace": "shop", "experiment": "web", **labels}.items()))
    return samples(metrics).get((f"trimtab_{name}", wanted))


def test_the_status_becomes_gauges() -> None:
    metrics = Metrics()
    told = ((ConditionType.STALLED, True), (ConditionType.PAUSED, False), (ConditionType.READY, None))
    conditions = tuple(Condition(kind, status, "Reason", "words", 0.0, 1) for kind, status in told)
    state = ExperimentState(
        phase=ExperimentPhase.RUNNING,
        started=10.0,
        saving=0.3,
        trials_counted=6,
        conditions=conditions,
        counts=(("Succeeded", 5), ("Infeasible", 1)),
        budgets=(
            BudgetState("availability", 0.8, 1.1, 3.0, 0.01, exhaustion_seconds=900.0),
            BudgetState("other", None, None, 0.0, 0.0),
        ),
        diagnostics=Diagnostics(6, 5, 100, 1.2, 0.94),
        figures=Figures(0.25, 1.1, improvement_per_trial=0.05),
    )
    metrics.observe_state(RECORD, state)
    assert of(metrics, "experiment_info", phase="Running") == 1.0
    assert of(metrics, "experiment_info", phase="Paused") == 0.0
    assert of(metrics, "improvement_ratio") == 0.3
    assert of(metrics, "improvement_per_trial") == 0.05
    assert of(metrics, "experiment_cost_dollars") == 0.25
    assert of(metrics, "best_objective") == 1.1
    assert of(metrics, "return_ratio") is None
    assert of(metrics, "budget_remaining_ratio", budget="availability") == 0.8
    assert of(metrics, "budget_remaining_ratio", budget="other") is None
    assert of(metrics, "budget_spent_ratio", budget="availability") == 0.01
    assert of(metrics, "budget_exhaustion_seconds", budget="availability") == 900.0
    assert of(metrics, "budget_exhaustion_seconds", budget="other") is None
    assert of(metrics, "calibration_coverage") == 0.94
    assert of(metrics, "experiment_seconds") is None
    assert of(metrics, "experiment_started_timestamp_seconds") == 10.0
    assert of(metrics, "experiment_trials", verdict="Infeasible") == 1.0
    assert of(metrics, "experiment_trials", verdict="InfraFailed") == 0.0
    assert of(metrics, "safety_violation_ratio") == pytest.approx(1 / 6)
    assert (of(metrics, "trials_counted"), of(metrics, "trials_limit")) == (6.0, None)  # the spec cannot be read
    assert of(metrics, "experiment_condition", type="Stalled") == 1.0
    assert of(metrics, "experiment_condition", type="Paused") == 0.0
    assert of(metrics, "experiment_condition", type="Ready") is None  # unknown is neither
    done = dataclasses.replace(state, phase=ExperimentPhase.COMPLETED, finished=110.0)
    metrics.observe_state(RECORD, done)
    assert of(metrics, "experiment_info", phase="Running") == 0.0
    assert of(metrics, "experiment_info", phase="Completed") == 1.0
    assert of(metrics, "experiment_seconds") == 100.0


def test_every_figure_and_every_number_of_the_models_health_is_exported() -> None:
    """Distinct values, so that none can be taken for another."""
    metrics = Metrics()
    figures = Figures(*(1000.0 + n for n in range(len(dataclasses.fields(Figures)))))
    health = Diagnostics(0, 0, 0, 0.0, 0.5, (), "", 0.25, 3.5, 7)
    metrics.observe_state(RECORD, ExperimentState(figures=figures, diagnostics=health))
    values = set(samples(metrics).values())
    assert set(dataclasses.astuple(figures)) <= values
    assert {0.5, 0.25, 3.5, 7.0} <= values


def test_what_is_not_known_any_more_has_no_sample() -> None:
    metrics = Metrics()
    metrics.observe_state(RECORD, ExperimentState(saving=0.3, figures=Figures(1.0, best_objective=2.0)))
    metrics.observe_state(RECORD, ExperimentState(figures=Figures(1.0)))
    assert of(metrics, "improvement_ratio") is None
    assert of(metrics, "best_objective") is None
    assert of(metrics, "experiment_cost_dollars") == 1.0


def test_what_is_described_is_what_is_exported() -> None:
    metrics = Metrics()
    families = {f.name: (f.type, f.documentation) for f in metrics.registry.collect()}
    described = {m.name.removesuffix("_total"): (m.kind, m.text) for m in metrics.described}
    assert described == families


def test_a_trial_is_counted_once_however_often_it_is_written() -> None:
    metrics = Metrics()
    deploying = dataclasses.replace(TRIAL, phase=TrialPhase.DEPLOYING, times=PhaseTimes(100.0, 102.0))
    measuring = dataclasses.replace(TRIAL, phase=TrialPhase.MEASURING, times=PhaseTimes(100.0, 102.0, 110.0, 230.0))
    ended = dataclasses.replace(
        TRIAL,
        phase=TrialPhase.INFEASIBLE,
        times=PhaseTimes(100.0, 102.0, 110.0, 230.0, 300.0, 303.0),
        outcome=Outcome(TrialPhase.INFEASIBLE, "AbortRule", "p95 612 ms"),
        spent=(Spent("errors", 3.0, 900.0),),
        withdraw_seconds=2.5,
    )
    for trial in (TRIAL, deploying, deploying, measuring, measuring, ended):
        metrics.observe_trial(trial)
    assert of(metrics, "trials_total", verdict="Infeasible", reason="AbortRule") == 1.0
    assert of(metrics, "safety_violations_total", reason="AbortRule") == 1.0
    assert of(metrics, "rollbacks_total", reason="AbortRule") == 1.0
    assert of(metrics, "rollback_seconds_sum") == 2.5
    assert of(metrics, "canary_requests_total", sli="errors") == 900.0
    assert of(metrics, "fit_seconds_count") == 1.0
    assert of(metrics, "acquisition_value") == 0.4
    assert of(metrics, "trial_phase_seconds_sum", phase="Pending") == 2.0
    assert of(metrics, "trial_phase_seconds_sum", phase="Deploying") == 8.0
    assert of(metrics, "trial_phase_seconds_sum", phase="Measuring") == 70.0


def test_series_disappear_with_their_experiment() -> None:
    metrics = Metrics()
    other = dataclasses.replace(RECORD, name="other")
    for record in (RECORD, other):
        metrics.observe_state(record, ExperimentState(saving=0.1, counts=(("Succeeded", 1),)))
    metrics.observe_trial(dataclasses.replace(TRIAL, phase=TrialPhase.DEPLOYING, times=PhaseTimes(100.0, 102.0)))
    metrics.forget("shop", "web")
    text = metrics.render().decode()
    assert 'experiment="web"' not in text
    assert 'experiment="other"' in text
    metrics.forget("shop", "never seen")
    metrics.keep_only([])
    assert 'experiment="' not in metrics.render().decode()


def test_the_process_is_read_when_it_is_scraped() -> None:
    metrics = Metrics()
    leading, depth = True, 3
    metrics.watch_process(
        leading=lambda: leading,
        queue_depth=lambda: depth,
        safety_tick_age=lambda: 1.5,
        watch_age=lambda: 60.0,
    )
    metrics.watch_tasks(lambda: 12)
    metrics.api_request("get", "200")
    metrics.api_request("get", "200")
    metrics.api_request("list", "0")
    found = samples(metrics)
    assert found["trimtab_leader", ()] == 1.0
    assert found["trimtab_workqueue_depth", ()] == 3.0
    assert found["trimtab_safety_tick_age_seconds", ()] == 1.5
    assert found["trimtab_watch_age_seconds", ()] == 60.0
    assert found["trimtab_tasks", ()] == 12.0
    assert found["trimtab_api_requests_total", (("code", "200"), ("verb", "get"))] == 2.0
    assert found["trimtab_api_requests_total", (("code", "0"), ("verb", "list"))] == 1.0
    leading, depth = False, 0
    assert samples(metrics)["trimtab_leader", ()] == 0.0


def test_two_instances_share_nothing() -> None:
    first, second = Metrics(), Metrics()
    first.api_request("get", "200")
    assert "trimtab_api_requests_total{" not in second.render().decode()


def test_no_metric_carries_a_trial() -> None:
    metrics = Metrics()
    metrics.observe_trial(dataclasses.replace(TRIAL, phase=TrialPhase.DEPLOYING))
    names = {name for _, labels in samples(metrics) for name, _ in labels}
    assert names <= {"namespace", "experiment", "phase", "le"}


def test_symptoms_of_the_model_are_counted_by_kind_and_go_again() -> None:
    metrics = Metrics()
    found = tuple(Symptom(SymptomKind.OUTLIER, name, "trial 3 lies +4.0 sd off") for name in ("slow", "errors"))
    health = Diagnostics(6, 5, 100, 1.2, 0.94, symptoms=found)
    metrics.observe_state(RECORD, ExperimentState(diagnostics=health))
    assert (of(metrics, "model_symptoms", kind="Outlier"), of(metrics, "model_symptoms", kind="Noisy")) == (2.0, 0.0)
    metrics.observe_state(RECORD, ExperimentState(diagnostics=dataclasses.replace(health, symptoms=())))
    assert of(metrics, "model_symptoms", kind="Outlier") == 0.0


def test_what_an_objective_other_than_the_cost_improves_is_never_told_in_dollars() -> None:
    """Cheaper, and nothing known of the objective: no improvement is told."""
    metrics, about = Metrics(), spec()
    slower = dataclasses.replace(
        about.objectives[0], terms=(dataclasses.replace(about.objectives[0].terms[0], sli="p"),)
    )
    record = dataclasses.replace(RECORD, spec=dataclasses.replace(about, objectives=(slower,)))
    metrics.observe_state(record, ExperimentState(saving=0.3))
    assert of(metrics, "improvement_ratio") is None
    metrics.observe_state(record, ExperimentState(saving=0.3, improvement=0.1))
    assert of(metrics, "improvement_ratio") == 0.1


def test_limits_come_from_the_spec_and_go_with_it() -> None:
    metrics, about = Metrics(), spec()
    stopping = dataclasses.replace(about.stopping, max_trials=40, max_cost=2.5)
    record = dataclasses.replace(RECORD, spec=dataclasses.replace(about, stopping=stopping))
    metrics.observe_state(record, ExperimentState())
    assert of(metrics, "trials_limit") == 40.0
    assert of(metrics, "experiment_repairs") == 0.0
    assert of(metrics, "experiment_cost_limit_dollars") == 2.5
    share = of(metrics, "budget_share_limit_ratio", budget=about.budgets[0].name)
    assert share == about.budgets[0].experiment_share
    bare = dataclasses.replace(about, budgets=(), stopping=dataclasses.replace(stopping, max_cost=None))
    metrics.observe_state(dataclasses.replace(record, spec=bare), ExperimentState())
    assert of(metrics, "experiment_cost_limit_dollars") is None
    assert of(metrics, "budget_share_limit_ratio", budget=about.budgets[0].name) is None


def test_a_budget_that_was_taken_out_of_the_spec_has_no_series() -> None:
    metrics = Metrics()
    metrics.observe_state(RECORD, ExperimentState(budgets=(BudgetState("old", 0.8, 1.1, 3.0, 0.01),)))
    metrics.observe_state(RECORD, ExperimentState(budgets=(BudgetState("new", 0.5, 1.1, 3.0, 0.02),)))
    assert of(metrics, "budget_remaining_ratio", budget="old") is None
    assert of(metrics, "budget_spent_ratio", budget="old") is None
    assert of(metrics, "budget_remaining_ratio", budget="new") == 0.5


def test_a_standby_tells_no_age_of_what_it_does_not_do() -> None:
    metrics = Metrics()
    leading = False
    metrics.watch_process(
        leading=lambda: leading, queue_depth=lambda: 0, safety_tick_age=lambda: 9e5, watch_age=lambda: 9e5
    )
    assert ("trimtab_safety_tick_age_seconds", ()) not in samples(metrics)
    assert ("trimtab_watch_age_seconds", ()) not in samples(metrics)
    leading = True
    assert samples(metrics)["trimtab_safety_tick_age_seconds", ()] == 9e5


class TestTraffic:
    """What is true only while arms are in the cluster."""

    WEB = InTraffic("shop", "web", serving=True, sight=Sight(970.0, 60.0, (("errors", 4.0),), 100.0))

    def test_the_last_tick_decides(self) -> None:
        metrics = Metrics()
        metrics.set_phase("shop", "web", ExperimentPhase.RUNNING)
        metrics.observe_live(live([self.WEB], 1000.0))
        assert (of(metrics, "live_trials"), of(metrics, "blind_seconds")) == (1.0, 30.0)
        assert (of(metrics, "slo_evalue", sli="errors"), of(metrics, "slo_evalue_limit", sli="errors")) == (4.0, 100.0)
        assert of(metrics, "stale_after_seconds") == 60.0
        assert of(metrics, "arms_without_trial") is None
        metrics.observe_live(live([], 1002.0))
        assert of(metrics, "live_trials") == 0.0  # it is known, and has none
        assert of(metrics, "blind_seconds") is None
        assert of(metrics, "slo_evalue", sli="errors") is None

    def test_what_somebody_removed_is_told_again(self) -> None:
        metrics = Metrics()
        metrics.observe_state(RECORD, ExperimentState())
        metrics.observe_live(live([self.WEB], 1000.0))
        told = metrics.render()
        metrics.forget("shop", "web")
        assert metrics.render() != told
        metrics.observe_state(RECORD, ExperimentState())
        metrics.observe_live(live([self.WEB], 1000.0))
        assert metrics.render() == told

    def test_an_experiment_that_is_gone_has_no_zero(self) -> None:
        metrics = Metrics()
        metrics.set_phase("shop", "web", ExperimentPhase.RUNNING)
        metrics.observe_live(live([], 1.0))
        metrics.forget("shop", "web")
        metrics.observe_live(live([], 3.0))
        assert 'experiment="web"' not in metrics.render().decode()

    def test_a_list_of_all_experiments_ends_no_page(self) -> None:
        """Arms may outlive their Experiment: what is told of them is the safety loop's alone."""
        metrics = Metrics()
        metrics.observe_live(live([InTraffic("shop", "web", serving=True, stray=True)], 1.0))
        metrics.observe_rollbacks({("shop", "web"): 42.0}, {("shop", "web"): 1.0})
        metrics.keep_only([])
        assert (of(metrics, "arms_without_trial"), of(metrics, "rollback_open_seconds")) == (1.0, 42.0)
        metrics.observe_live(live([], 3.0))
        metrics.observe_rollbacks({}, {})
        assert 'experiment="web"' not in metrics.render().decode()

    def test_of_two_live_trials_the_worse_is_told(self) -> None:
        other = dataclasses.replace(self.WEB, sight=Sight(990.0, 60.0, (("errors", 7.0),), 100.0))
        told = live([self.WEB, other], 1000.0)
        assert told.trials == {("shop", "web"): 2.0}
        assert told.blind == {("shop", "web"): 30.0}
        assert told.evalues == {("shop", "web", "errors"): 7.0}

    def test_what_is_being_taken_away_is_no_blind_trial(self) -> None:
        """Nobody looks at it any more, which is a rollback's page when it lasts."""
        told = live([dataclasses.replace(self.WEB, leaving=True)], 1000.0)
        assert (told.trials, told.blind) == ({("shop", "web"): 1.0}, {})
        assert told.evalues == {("shop", "web", "errors"): 4.0}

    def test_what_does_not_serve_is_not_blind(self) -> None:
        told = live([dataclasses.replace(self.WEB, serving=False)], 1000.0)
        assert told == live([], 1000.0)

    def test_the_newest_window_is_told_and_what_was_not_read_is_not(self) -> None:
        window = Window(0.0, 10.0)
        read = (
            Measurement("errors", Arm.CANARY, window, Sample(0.02, 0.001, 1000.0, 20.0)),
            Measurement("errors", Arm.CONTROL, window, Stale("no scrape", 30.0)),
        )
        tests = (("errors", EProcess()), ("slow", EProcess()))
        watch = WatchState(windows=(SafetyWindow(window, ()), SafetyWindow(window, read)), tests=tests)
        about = spec(safety=SafetySpec(0.95, 10.0, 45.0))
        found = sight_of(about, watch, 8.0)
        assert found == Sight(8.0, 45.0, (("errors", 1.0), ("slow", 1.0)), 200.0, (("errors", Arm.CANARY, 0.02),))
        assert sight_of(about, WatchState(), None) == Sight(None, 45.0)

    @pytest.mark.parametrize(
        ("changed", "left"),
        [({"uid": "d"}, True), ({"uid": "d", "deleting": True}, False), ({}, False), ({"ready_endpoints": 1}, True)],
    )
    def test_pods_that_are_ending_are_no_arm(self, changed: dict[str, object], left: bool) -> None:
        gone = ArmView(Arm.CANARY, "tt", "shop", "u", "web", "t", "t", None, "", "", None, False, 1, "", (), 0)
        assert stays([dataclasses.replace(gone, **changed)]) is left  # type: ignore[arg-type]


def test_an_experiment_has_one_owner_and_takes_it_along() -> None:
    """However often it changes hands; one without an owner has the series too, so that a join loses no alert."""
    metrics = Metrics()
    for owner in ("team-a", 'team "b"\n', ""):
        metrics.observe_state(dataclasses.replace(RECORD, spec=spec(owner=owner)), ExperimentState())
        owners = [dict(labels) for name, labels in samples(metrics) if name == "trimtab_experiment_owner"]
        assert owners == [{"namespace": "shop", "experiment": "web", "owner": owner}]
    metrics.observe_state(RECORD, ExperimentState())  # its spec cannot be read: it is still hers
    assert of(metrics, "experiment_owner", owner="") == 1.0
    metrics.forget("shop", "web")
    assert "experiment_owner{" not in metrics.render().decode()
