"""The operator's own metrics, in a registry of their own: no module state, and no series outlives its Experiment.

Labels are namespace and experiment, never a trial's id: a year of trials must not grow Prometheus. Process-wide series
(`trimtab_leader`, ages, queue depth, API requests) are read when they are scraped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from trimtab.domain.state import ExperimentPhase, ExperimentState
from trimtab.domain.study import SymptomKind
from trimtab.domain.trial import PhaseTimes, Trial, TrialPhase
from trimtab.ports import ExperimentRecord

Owned = TypeVar("Owned", Gauge, Counter, Histogram)
OWNER = ("namespace", "experiment")
ASKED = ("store", "loop")
PHASE_BUCKETS = (1, 5, 15, 30, 60, 120, 300, 600, 1200, 2700, 5400)
FAST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
ROLLBACK_BUCKETS = (0.5, 1, 2, 5, 10, 15, 20, 30, 60, 120)


@dataclass(frozen=True)
class Described:
    """One metric for the reference: its name as it is exported."""

    name: str
    kind: str
    labels: tuple[str, ...]
    text: str


class Metrics:
    """All series. Counters and gauges of an Experiment take its namespace and name first."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self._to: dict[str, Any] = {"registry": self.registry}
        self.described: list[Described] = []
        self._owned: list[Any] = []
        self._phases: dict[str, TrialPhase] = {}
        self._experiments()
        self._safety()
        self._optimizer()
        self._process()

    def render(self) -> bytes:
        """The exposition text."""
        return generate_latest(self.registry)

    def forget(self, namespace: str, experiment: str) -> None:
        """Remove every series of an Experiment that is gone."""
        for metric in self._owned:
            for labels in [labels for labels in list(metric._metrics) if labels[:2] == (namespace, experiment)]:
                metric.remove(*labels)

    def keep_only(self, experiments: Sequence[tuple[str, str]]) -> None:
        """Remove the series of all Experiments but these, after a list of all of them: also those whose deletion
        nobody saw."""
        wanted = set(experiments)
        seen = {labels[:2] for metric in self._owned for labels in list(metric._metrics)}
        for namespace, experiment in seen - wanted:
            self.forget(namespace, experiment)

    def set_phase(self, namespace: str, experiment: str, phase: ExperimentPhase) -> None:
        """1 for the phase that the Experiment is in, 0 for the others, so that a change is seen."""
        for each in ExperimentPhase:
            self.experiment_info.labels(namespace, experiment, each.value).set(1.0 if each is phase else 0.0)

    def observe_state(self, experiment: ExperimentRecord, state: ExperimentState) -> None:
        """Take over what an Experiment's status says."""
        owner = (experiment.namespace, experiment.name)
        self.set_phase(*owner, state.phase)
        for budget in state.budgets:
            _show(self.budget_remaining_ratio, (*owner, budget.name), budget.remaining)
            _show(self.budget_spent_ratio, (*owner, budget.name), budget.spent_share)
        ended = state.started is not None and state.finished is not None
        took = (state.finished or 0.0) - (state.started or 0.0) if ended else None
        _show(self.improvement_ratio, owner, state.saving if state.improvement is None else state.improvement)
        _show(self.time_to_convergence_seconds, owner, took)
        for source, gauges in ((state.figures, self._figures), (state.diagnostics, self._diagnostics)):
            for field, gauge in gauges.items():
                _show(gauge, owner, getattr(source, field) if source is not None else None)
        symptoms = [s.kind for s in state.diagnostics.symptoms] if state.diagnostics is not None else []
        for kind in SymptomKind:
            _show(self.model_symptoms, (*owner, kind.value), float(symptoms.count(kind)))

    def observe_trial(self, trial: Trial) -> None:
        """Count a Trial's move to another phase, when its status was written."""
        before = self._phases.get(trial.uid, TrialPhase.PENDING)
        if trial.phase is before:
            return
        owner = (trial.namespace, trial.experiment_name)
        self._phases[trial.uid] = trial.phase
        if before is TrialPhase.PENDING:
            self._suggested(owner, trial)
        spent = _seconds_in(before, trial.times)
        if spent is not None:
            self.trial_phase_seconds.labels(*owner, before.value).observe(spent)
        if trial.phase.terminal:
            self._ended(owner, trial)
            del self._phases[trial.uid]

    def _suggested(self, owner: tuple[str, str], trial: Trial) -> None:
        self.fit_seconds.labels(*owner).observe(trial.suggestion.fit_seconds)
        self.acquisition_seconds.labels(*owner).observe(trial.suggestion.search_seconds)
        if trial.suggestion.acquisition is not None:
            self.acquisition_value.labels(*owner).set(trial.suggestion.acquisition)

    def _ended(self, owner: tuple[str, str], trial: Trial) -> None:
        reason = trial.outcome.reason if trial.outcome is not None else ""
        self.trials.labels(*owner, trial.phase.value, reason).inc()
        if trial.phase is TrialPhase.INFEASIBLE:
            self.safety_violations.labels(*owner, reason).inc()
        if trial.withdraw_seconds is not None:
            self.rollbacks.labels(*owner, reason).inc()
            self.rollback_seconds.labels(*owner).observe(trial.withdraw_seconds)
        for spent in trial.spent:
            self.canary_requests.labels(*owner, spent.sli).inc(max(0.0, spent.total))

    def api_request(self, verb: str, code: str) -> None:
        """Count one request to the API server."""
        self.api_requests.labels(verb, code).inc()

    def telemetry_query(self, store: str, loop: str, outcome: str, seconds: float) -> None:
        """Count one query to a metrics store; what was not sent took no time."""
        self.telemetry_queries.labels(store, loop, outcome).inc()
        if outcome in ("answered", "failed"):
            self.telemetry_query_seconds.labels(store, loop).observe(seconds)

    def watch_process(
        self,
        *,
        leading: Callable[[], bool],
        queue_depth: Callable[[], int],
        safety_tick_age: Callable[[], float],
        watch_age: Callable[[], float],
    ) -> None:
        """Where the process-wide gauges are read from when they are scraped."""
        self.leader.set_function(lambda: 1.0 if leading() else 0.0)
        self.workqueue_depth.set_function(lambda: float(queue_depth()))
        self.safety_tick_age.set_function(safety_tick_age)
        self.watch_age.set_function(watch_age)

    def watch_tasks(self, tasks: Callable[[], int]) -> None:
        """Where the number of tasks is read from when it is scraped."""
        self.tasks.set_function(lambda: float(tasks()))

    def _experiments(self) -> None:
        self.experiment_info = self._gauge("experiment_info", "1 for the Experiment's current phase", "phase")
        self.trials = self._counter("trials", "Trials that ended, by terminal phase and reason", "verdict", "reason")
        self.trial_phase_seconds = self._histogram("trial_phase_seconds", "Time in a phase", PHASE_BUCKETS, "phase")
        self.improvement_ratio = self._gauge(
            "improvement_ratio",
            "Share of the cost that what was found saves, or by which it improves another first objective",
        )
        self.time_to_convergence_seconds = self._gauge(
            "time_to_convergence_seconds", "From the passed preflight to the end of the Experiment"
        )
        self._figures = {
            "best_objective": self._gauge("best_objective", "$ per hour of the target with what was found"),
            "improvement_per_trial": self._gauge("improvement_per_trial", "Improvement ratio per finished Trial"),
            "cost_per_improvement": self._gauge("cost_per_improvement", "$ spent on Trials per percent of improvement"),
            "experiment_cost": self._gauge("experiment_cost_dollars", "$ that the arms of all finished Trials cost"),
            "monthly_saving": self._gauge("monthly_saving_dollars", "$ that what was found saves in 730 hours"),
            "return_ratio": self._gauge("return_ratio", "A month's saving over what the Trials cost"),
            "parallel_efficiency": self._gauge(
                "parallel_efficiency", "The Trials' time over the elapsed time and parallelism"
            ),
            "traffic_share": self._gauge("traffic_share_ratio", "Share of all requests that the last canary got"),
        }

    def _safety(self) -> None:
        self.safety_violations = self._counter("safety_violations", "Trials whose canary broke a bound", "reason")
        self.budget_remaining_ratio = self._gauge("budget_remaining_ratio", "Service's error budget left", "budget")
        self.budget_spent_ratio = self._gauge(
            "budget_spent_ratio", "Share of the error budget that the Experiment's arms spent", "budget"
        )
        self.slo_evalue = self._gauge("slo_evalue", "E-value of the running sequential test", "sli")
        self.canary_requests = self._counter("canary_requests", "Requests that canaries served", "sli")
        self.rollbacks = self._counter("rollbacks", "Canaries withdrawn", "reason")
        self.rollback_seconds = self._histogram(
            "rollback_seconds", "From the decision to no ready canary endpoint", ROLLBACK_BUCKETS
        )
        self.rollbacks_stuck = self._gauge("rollbacks_stuck", "Rollbacks that are not over after 30 s; page on it")
        self.telemetry_errors = self._counter("telemetry_errors", "Readings that are no sample", "reason")
        self.telemetry_queries = self._process_counter(
            "telemetry_queries",
            "Queries to metrics stores; not sent were those refused (over the limit) and skipped (it hangs)",
            *ASKED,
            "outcome",
        )
        self.telemetry_query_seconds = self._process_histogram(
            "telemetry_query_seconds", "Answer of one query", FAST_BUCKETS, *ASKED
        )
        self.safety_tick_lateness = self._process_histogram(
            "safety_tick_lateness_seconds", "How much later than planned a safety tick began", FAST_BUCKETS
        )
        self.safety_tick_age = self._process_gauge("safety_tick_age_seconds", "Since the last complete safety tick")

    def _optimizer(self) -> None:
        self._diagnostics = {
            "coverage": self._gauge("calibration_coverage", "Leave-one-out coverage of the model's 95 % intervals"),
            "diversity": self._gauge(
                "proposal_diversity", "Mean distance between the assignments searched, over the unit cube's diagonal"
            ),
            "effective_dimension": self._gauge("effective_dimension", "How many parameters the bounds depend on"),
            "fallbacks": self._gauge("designer_fallbacks", "Search Trials that the model did not propose"),
        }
        self.model_symptoms = self._gauge("model_symptoms", "What is wrong with the models, by kind of symptom", "kind")
        self.acquisition_value = self._gauge("acquisition_value", "Acquisition value of the last suggestion")
        self.acquisition_seconds = self._histogram("acquisition_seconds", "Search of one suggestion", FAST_BUCKETS)
        self.fit_seconds = self._histogram("fit_seconds", "Fit of the model for one suggestion", FAST_BUCKETS)

    def _process(self) -> None:
        self.leader = self._process_gauge("leader", "1 while this process leads")
        self.watch_age = self._process_gauge("watch_age_seconds", "Since the watch was last known to miss nothing")
        self.workqueue_depth = self._process_gauge("workqueue_depth", "Experiments that wait for a worker")
        self.tasks = self._process_gauge("tasks", "Tasks of the event loops; grows only while Experiments do")
        self.reconcile_seconds = self._process_histogram("reconcile_seconds", "One pass", FAST_BUCKETS)
        self.reconcile_errors = self._process_counter("reconcile_errors", "Passes that raised, by error", "error")
        self.api_requests = self._process_counter(
            "api_requests", "Requests to the API server; code 0: no answer", "verb", "code"
        )

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return self._own(Gauge(self._named(name, "gauge", text, *OWNER, *labels), text, (*OWNER, *labels), **self._to))

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        named = self._named(name, "counter", text, *OWNER, *labels)
        return self._own(Counter(named, text, (*OWNER, *labels), **self._to))

    def _histogram(self, name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
        named = self._named(name, "histogram", text, *OWNER, *labels)
        return self._own(Histogram(named, text, (*OWNER, *labels), buckets=buckets, **self._to))

    def _process_gauge(self, name: str, text: str) -> Gauge:
        return Gauge(self._named(name, "gauge", text), text, **self._to)

    def _process_counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(self._named(name, "counter", text, *labels), text, labels, **self._to)

    def _process_histogram(self, name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(self._named(name, "histogram", text, *labels), text, labels, buckets=buckets, **self._to)

    def _named(self, name: str, kind: str, text: str, *labels: str) -> str:
        """The full name, noted for the reference; counters are exported with `_total`."""
        full = f"trimtab_{name}"
        self.described.append(Described(full + ("_total" if kind == "counter" else ""), kind, labels, text))
        return full

    def _own(self, metric: Owned) -> Owned:
        """Remember a metric whose series go with their Experiment."""
        self._owned.append(metric)
        return metric


def _show(gauge: Gauge, labels: tuple[str, ...], value: float | None) -> None:
    """Set a gauge, or take its series away: what is not known has no value."""
    if value is not None:
        gauge.labels(*labels).set(value)
    elif labels in gauge._metrics:
        gauge.remove(*labels)


def _seconds_in(phase: TrialPhase, times: PhaseTimes) -> float | None:
    """How long the trial was in this phase: until the next moment that is known."""
    moments = {
        TrialPhase.PENDING: times.created,
        TrialPhase.DEPLOYING: times.deploying,
        TrialPhase.WARMING_UP: times.warming_up,
        TrialPhase.MEASURING: times.measuring,
        TrialPhase.DRAINING: times.draining,
    }
    start = moments.get(phase)
    later = [t for t in (*moments.values(), times.finished) if t is not None and start is not None and t > start]
    return None if start is None or not later else min(later) - start


__all__ = ["Metrics"]
