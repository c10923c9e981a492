"""The operator's own metrics, in a registry of their own: no module state, and no series outlives its Experiment.

Labels are namespace and experiment, never a trial's id: a year of trials must not grow Prometheus. Process-wide series
(`trimtab_leader`, ages, queue depth, API requests) are read when they are scraped. Series of what is in the traffic now
are replaced by each safety tick, and nobody else touches them: a page must not end because a list came in between.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from trimtab.domain.spec import ExperimentSpec
from trimtab.domain.state import ExperimentPhase, ExperimentState
from trimtab.domain.study import SymptomKind
from trimtab.domain.trial import TERMINAL_PHASES, PhaseTimes, Trial, TrialPhase
from trimtab.ports import ExperimentRecord
from trimtab.runtime.series import Asked, Exactly, Labels, of, show, show_of
from trimtab.runtime.sight import Live

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
        self._whole = Exactly()
        self._told: dict[Labels, tuple[ExperimentSpec | None, ExperimentState]] = {}
        self._experiments()
        self._ledger()
        self._safety()
        self._traffic()
        self._optimizer()
        self._process()

    def render(self) -> bytes:
        """The exposition text."""
        return generate_latest(self.registry)

    def forget(self, namespace: str, experiment: str) -> None:
        """Remove every series of an Experiment that is gone."""
        self._told.pop((namespace, experiment), None)
        self._whole.forget()
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

    def set_owner(self, namespace: str, experiment: str, team: str) -> None:
        """One series for each Experiment, also where it names nobody: a join with it loses no alert."""
        labels = (namespace, experiment, team)
        for old in [k for k in list(self.experiment_owner._metrics) if k[:2] == labels[:2] and k != labels]:
            self.experiment_owner.remove(*old)
        self.experiment_owner.labels(*labels).set(1.0)

    def observe_state(self, experiment: ExperimentRecord, state: ExperimentState) -> None:
        """Take over what an Experiment's status says; nothing is done while it says the same."""
        owner = (experiment.namespace, experiment.name)
        told = self._told.get(owner)
        if told is not None and told[0] is experiment.spec and told[1] == state:
            return
        self._told[owner] = (experiment.spec, state)
        self.set_phase(*owner, state.phase)
        if experiment.spec is not None:
            self.set_owner(*owner, experiment.spec.owner)
        show_of(self.budget_remaining_ratio, owner, {b.name: b.remaining for b in state.budgets})
        show_of(self.budget_exhaustion_seconds, owner, {b.name: b.exhaustion_seconds for b in state.budgets})
        show_of(self.budget_spent_ratio, owner, {b.name: b.spent_share for b in state.budgets})
        by_cost = experiment.spec is None or experiment.spec.objectives[0].is_cost
        show(
            self.improvement_ratio, owner, state.saving if by_cost and state.improvement is None else state.improvement
        )
        self._observe_ledger(owner, experiment.spec, state)
        for source, gauges in ((state.figures, self._figures), (state.diagnostics, self._diagnostics)):
            for field, gauge in gauges.items():
                show(gauge, owner, getattr(source, field) if source is not None else None)
        symptoms = [s.kind for s in state.diagnostics.symptoms] if state.diagnostics is not None else []
        for kind in SymptomKind:
            show(self.model_symptoms, (*owner, kind.value), float(symptoms.count(kind)))

    def _observe_ledger(self, owner: Labels, spec: ExperimentSpec | None, state: ExperimentState) -> None:
        """What the ledger adds up to: the same after a restart, unlike a counter."""
        counts = dict(state.counts)
        for phase in TERMINAL_PHASES:
            self.experiment_trials.labels(*owner, phase.value).set(float(counts.get(phase.value, 0)))
        bad, good = (counts.get(p.value, 0) for p in (TrialPhase.INFEASIBLE, TrialPhase.SUCCEEDED))
        show(self.safety_violation_ratio, owner, bad / (bad + good) if bad + good else None)
        conditions = {c.type.value: None if c.status is None else float(c.status) for c in state.conditions}
        show_of(self.experiment_condition, owner, conditions)
        began, ended = state.started, state.finished
        show(self.started, owner, began)
        show(self.experiment_seconds, owner, ended - began if began is not None and ended is not None else None)
        self.trials_counted.labels(*owner).set(float(state.trials_counted))
        show(self.trials_limit, owner, float(spec.stopping.max_trials) if spec is not None else None)
        show(self.cost_limit, owner, spec.stopping.max_cost if spec is not None else None)
        show(self.repairs, owner, float(spec.search.repair) if spec is not None else None)
        budgets = spec.budgets if spec is not None else ()
        show_of(self.budget_share_limit, owner, {b.name: b.experiment_share for b in budgets})

    def observe_live(self, live: Live) -> None:
        """Replace what is told of the traffic. An Experiment that is known and has no live trial has 0 of them."""
        known: dict[Labels, float] = {tuple(labels[:2]): 0.0 for labels in list(self.experiment_info._metrics)}
        self._whole.show(self.live_trials, {**known, **live.trials})
        self._whole.show(self.arms_without_trial, live.strays)
        self._whole.show(self.blind_seconds, live.blind)
        self._whole.show(self.stale_after, live.stale_after)
        self._whole.show(self.slo_evalue, live.evalues)
        self._whole.show(self.slo_evalue_limit, live.limits)
        self._whole.show(self.sli_value, live.values)

    def observe_rollbacks(self, lasting: Mapping[Labels, float], stuck: Mapping[Labels, float]) -> None:
        """Replace what is told of rollbacks under way: seconds since the oldest began, and how many are stuck."""
        self._whole.show(self.rollback_open_seconds, lasting)
        self._whole.show(self.rollbacks_stuck, stuck)

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
        of(self.telemetry_queries, (store, loop, outcome)).inc()
        if outcome in ("answered", "failed"):
            of(self.telemetry_query_seconds, (store, loop)).observe(seconds)

    def watch_process(
        self,
        *,
        leading: Callable[[], bool],
        queue_depth: Callable[[], int],
        safety_tick_age: Callable[[], float],
        watch_age: Callable[[], float],
    ) -> None:
        """Where the process-wide gauges are read from when they are scraped. A standby has neither a safety loop nor a
        watch, so it tells no age of them."""
        self.leader.set_function(lambda: 1.0 if leading() else 0.0)
        self.workqueue_depth.set_function(lambda: float(queue_depth()))
        self.safety_tick_age.source = lambda: safety_tick_age() if leading() else None
        self.watch_age.source = lambda: watch_age() if leading() else None

    def watch_tasks(self, tasks: Callable[[], int]) -> None:
        """Where the number of tasks is read from when it is scraped."""
        self.tasks.set_function(lambda: float(tasks()))

    def _experiments(self) -> None:
        self.experiment_info = self._gauge("experiment_info", "1 for the Experiment's current phase", "phase")
        self.experiment_owner = self._gauge(
            "experiment_owner", "1 with the Experiment's spec.owner, for joins on namespace and experiment", "owner"
        )
        self.trials = self._counter("trials", "Trials that ended, by terminal phase and reason", "verdict", "reason")
        self.trial_phase_seconds = self._histogram("trial_phase_seconds", "Time in a phase", PHASE_BUCKETS, "phase")
        self.improvement_ratio = self._gauge(
            "improvement_ratio",
            "Share of the cost that what was found saves, or by which it improves another first objective",
        )
        self._figures = {
            "best_objective": self._gauge(
                "best_objective",
                "First objective of what was found, in its own unit: $ per hour of the target where it is the cost",
            ),
            "baseline_cost": self._gauge("baseline_cost_dollars", "$ per hour of the target with today's settings"),
            "found_cost": self._gauge("found_cost_dollars", "$ per hour of the target with what was found"),
            "convergence_seconds": self._gauge(
                "time_to_convergence_seconds",
                "From the passed preflight to the end of the Trial that first measured what is recommended",
            ),
            "improvement_per_trial": self._gauge("improvement_per_trial", "Improvement ratio per finished Trial"),
            "cost_per_improvement": self._gauge("cost_per_improvement", "$ spent on Trials per percent of improvement"),
            "experiment_cost": self._gauge("experiment_cost_dollars", "$ that the arms of all finished Trials cost"),
            "monthly_saving": self._gauge("monthly_saving_dollars", "$ that what was found saves in 730 hours"),
            "return_ratio": self._gauge("return_ratio", "A month's saving over what the Trials cost"),
            "parallel_efficiency": self._gauge(
                "parallel_efficiency",
                "The Trials' time over the elapsed time and parallelism: with one at a time, the share of the time in "
                "which one was under way",
            ),
            "traffic_share": self._gauge("traffic_share_ratio", "Share of all requests that the last canary got"),
        }

    def _ledger(self) -> None:
        self.experiment_trials = self._gauge(
            "experiment_trials", "Ended Trials in the ledger, by terminal phase; a restart does not reset it", "verdict"
        )
        self.safety_violation_ratio = self._gauge(
            "safety_violation_ratio", "Share of the Trials with a verdict whose canary broke a bound"
        )
        self.experiment_condition = self._gauge(
            "experiment_condition", "1 while a condition of the status is True, 0 while it is False", "type"
        )
        self.started = self._gauge("experiment_started_timestamp_seconds", "When preflight passed, in unix seconds")
        self.experiment_seconds = self._gauge(
            "experiment_seconds", "From the passed preflight to the end of the Experiment, pauses included"
        )
        self.trials_counted = self._gauge("trials_counted", "Trials that count towards stopping.maxTrials")
        self.trials_limit = self._gauge("trials_limit", "stopping.maxTrials")
        self.cost_limit = self._gauge("experiment_cost_limit_dollars", "stopping.maxCost, where there is one")
        self.repairs = self._gauge(
            "experiment_repairs", "1 with search.infeasibleBaseline: Repair, whose canaries may begin beyond a bound"
        )
        self.budget_share_limit = self._gauge(
            "budget_share_limit_ratio", "experimentSharePercent of the error budget, as a ratio", "budget"
        )

    def _traffic(self) -> None:
        """True of this moment; each safety tick replaces them as a whole."""
        self.live_trials = self._now("live_trials", "Trials with a ready endpoint in the traffic now")
        self.arms_without_trial = self._now(
            "arms_without_trial", "Trials that are over or gone while arms of them are still there"
        )
        self.blind_seconds = self._now("blind_seconds", "Since a canary in the traffic was last seen by every SLI")
        self.stale_after = self._now("stale_after_seconds", "How long a canary may be out of sight: safety.staleAfter")
        self.slo_evalue = self._now("slo_evalue", "E-value of the running sequential test", "sli")
        self.slo_evalue_limit = self._now(
            "slo_evalue_limit", "E-value from which on a canary is withdrawn that fails its objective", "sli"
        )
        self.sli_value = self._now(
            "sli_value", "An SLI over the newest complete safety window, in its own unit", "sli", "arm"
        )
        self.rollback_open_seconds = self._now(
            "rollback_open_seconds", "Since the oldest rollback that is under way began; 30 s are the limit"
        )
        self.rollbacks_stuck = self._now("rollbacks_stuck", "Rollbacks that are not over after 30 s; page on it")

    def _safety(self) -> None:
        self.safety_violations = self._counter("safety_violations", "Trials whose canary broke a bound", "reason")
        self.budget_remaining_ratio = self._gauge("budget_remaining_ratio", "Service's error budget left", "budget")
        self.budget_exhaustion_seconds = self._gauge(
            "budget_exhaustion_seconds",
            "Until none of the service's error budget is left at its burn rate; no series where some always is",
            "budget",
        )
        self.budget_spent_ratio = self._gauge(
            "budget_spent_ratio", "Share of the error budget that the Experiment's arms spent", "budget"
        )
        self.canary_requests = self._counter("canary_requests", "Requests that canaries served", "sli")
        self.rollbacks = self._counter("rollbacks", "Canaries withdrawn", "reason")
        self.rollback_seconds = self._histogram(
            "rollback_seconds", "From the decision to no ready canary endpoint", ROLLBACK_BUCKETS
        )
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
        self.unread_namespaces = self._process_gauge(
            "unread_namespaces", "Namespaces of this install in which arms could not be listed at the last safety tick"
        )
        self.safety_tick_age = self._asked(
            "safety_tick_age_seconds", "Since the last complete safety tick; told by the leader alone"
        )

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
        self.watch_age = self._asked(
            "watch_age_seconds", "Since the watch was last known to miss nothing; told by the leader alone"
        )
        self.workqueue_depth = self._process_gauge("workqueue_depth", "Experiments that wait for a worker")
        self.tasks = self._process_gauge("tasks", "Tasks of the event loops; grows only while Experiments do")
        self.reconcile_seconds = self._process_histogram("reconcile_seconds", "One pass", FAST_BUCKETS)
        self.reconcile_errors = self._process_counter("reconcile_errors", "Passes that raised, by error", "error")
        self.events_dropped = self._process_counter(
            "events_dropped",
            "Events that were lost: TooMany of one object, QueueFull, or the API server's error; the log has them",
            "reason",
        )
        self.api_requests = self._process_counter(
            "api_requests", "Requests to the API server; code 0: no answer", "verb", "code"
        )

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return self._own(Gauge(self._named(name, "gauge", text, *OWNER, *labels), text, (*OWNER, *labels), **self._to))

    def _now(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(self._named(name, "gauge", text, *OWNER, *labels), text, (*OWNER, *labels), **self._to)

    def _asked(self, name: str, text: str) -> Asked:
        return Asked(self._named(name, "gauge", text), text, self.registry)

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
