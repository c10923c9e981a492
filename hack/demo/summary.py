"""The demo's result against the noise-free model: what was saved, what could have been, whether the SLO holds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from controlplane import ApiClient
from demo.script import Script
from stack.paths import EXAMPLES
from trimtab.api.convert import experiment_record, parse_experiment, trial_record
from trimtab.api.kube import target_from
from trimtab.simulate import results as simulated
from trimtab.simulate.collect import Finished
from trimtab.simulate.collect import summarize as numbers
from trimtab.simulate.exposure import NOT_EXPOSED
from trimtab.simulate.results import Absent
from trimtab.simulate.truth import Truth
from trimtab.workload import OfferedLoad, load_workload

WORKLOAD = EXAMPLES / "web-service" / "workload.yaml"
MIN_TRIALS = 12
BREAKS = "the recommendation breaks the SLO in the noise-free model,"
MONITOR_REASONS = {"AbortRule", "WorseThanControl"}  # decided from Prometheus data while the canary was live


@dataclass(frozen=True)
class Summary:
    """What `summary.json` holds; percentages of the cost of requests."""

    trials: int
    suggestedByModel: int
    searchTrials: int
    replicates: int
    optimumSavingPercent: float
    succeeded: int
    infeasible: int
    inconclusive: int
    aborted: int
    rollbacks: int
    rollbackSecondsMax: float | None
    withdrawnFor: str
    savingPercent: float | None
    costPerHourBefore: float | None
    costPerHourAfter: float | None
    sloHeld: bool  # at both loads below
    sloHeldAtEnd: bool  # at the load of the demo's last moment
    sloHeldAtPeak: bool  # at the day's peak
    targetUnchanged: bool
    armsLeft: int
    recommendation: dict[str, str] | None
    verified: bool
    pauseAcknowledgedSeconds: float | None
    seconds: float
    seed: int

    def failures(self) -> list[str]:
        """Why the demo did not show what it promises, in words; empty when it did."""
        none = self.recommendation is None
        checks = (
            (self.trials >= MIN_TRIALS, f"{self.trials} trials ended, {MIN_TRIALS} or more are promised"),
            (self.targetUnchanged, "the target Deployment changed"),
            (self.armsLeft == 0, f"{self.armsLeft} arm objects are left"),
            (self.withdrawnFor in MONITOR_REASONS, "the safety monitor did not withdraw the slow canary"),
            (self.recommendation is not None, "no recommendation came"),
            (none or self.sloHeldAtEnd, f"{BREAKS} at the load of the end"),
            (none or self.sloHeldAtPeak, f"{BREAKS} at the day's peak"),
        )
        return [words for ok, words in checks if not ok]

    def document(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Seen:
    """What was in the cluster when the demo had ended; `before` and `after` are the target Deployment."""

    experiment: dict[str, Any]
    trials: list[dict[str, Any]]
    before: dict[str, Any]
    after: dict[str, Any]
    arms_left: int


def summarize(seen: Seen, script: Script, time_of_load: float, seconds: float, seed: int) -> Summary:
    """What was seen beside the noise-free model; `time_of_load` in unix seconds of the service's own day. Pure."""
    truth = Truth(parse_experiment(seen.experiment), target_from(seen.before), load_workload(WORKLOAD))
    found = _in_numbers(truth, seen, time_of_load)
    status = seen.experiment.get("status") or {}
    recommendation = status.get("recommendation")
    at_end = found.truly_feasible is True
    at_peak = _holds_at_peak(truth, recommendation)
    slow = next((t for t in seen.trials if t["metadata"]["name"] == script.fault_trial), None)
    acknowledged = (
        script.pause_acknowledged - script.paused_at if script.pause_acknowledged and script.paused_at else None
    )
    return Summary(
        trials=found.trials,
        suggestedByModel=found.suggested_by_model,
        searchTrials=found.search_trials,
        replicates=found.replicates,
        optimumSavingPercent=round(_known(found.optimum_saving_percent), 2),
        succeeded=found.succeeded,
        infeasible=found.infeasible,
        inconclusive=found.inconclusive,
        aborted=found.aborted,
        rollbacks=found.rollbacks,
        rollbackSecondsMax=None if isinstance(slowest := found.rollback_seconds_max, Absent) else round(slowest, 3),
        withdrawnFor=str(((slow or {}).get("status") or {}).get("outcome", {}).get("reason", "")),
        savingPercent=round(_known(found.saving_percent), 2) if recommendation else None,
        costPerHourBefore=recommendation["costBefore"] if recommendation else None,
        costPerHourAfter=recommendation["costAfter"] if recommendation else None,
        sloHeld=at_end and at_peak,
        sloHeldAtEnd=at_end,
        sloHeldAtPeak=at_peak,
        targetUnchanged=_shape(seen.before) == _shape(seen.after),
        armsLeft=seen.arms_left,
        recommendation={a["name"]: str(a["value"]) for a in recommendation["assignment"]} if recommendation else None,
        verified=bool(recommendation and recommendation["verified"]),
        pauseAcknowledgedSeconds=round(acknowledged, 2) if acknowledged is not None else None,
        seconds=round(seconds, 1),
        seed=seed,
    )


def _holds_at_peak(truth: Truth, recommendation: dict[str, Any] | None) -> bool:
    """Does the recommendation keep every bound at the day's peak, when the target's own pods carry all of it?"""
    if recommendation is None:
        return False
    values = {a["name"]: str(a["value"]) for a in recommendation["assignment"]}
    peak = OfferedLoad.of(truth.workload).peak_rps / truth.target.replicas
    return truth.judge(truth.spec.space.parse(values), peak).feasible


def _in_numbers(truth: Truth, seen: Seen, time_of_load: float) -> simulated.Summary:
    """The same numbers as a simulation's, at the load that each pod of the target has once the arms are gone."""
    state = experiment_record(seen.experiment).state
    assert state is not None, "the operator wrote a status that cannot be read"
    rows = tuple(trial_record(t, truth.spec.space) for t in seen.trials)
    load = OfferedLoad.of(truth.workload).expected(time_of_load) / truth.target.replicas
    return numbers(truth, Finished(state, rows, (NOT_EXPOSED,) * len(rows), load, time_of_load), ())


def _known(number: simulated.Number) -> float:
    """An optimum there must be: the example is a problem with an answer."""
    if isinstance(number, Absent):
        raise ValueError(
            f"the example has no feasible assignment: its workload and its Experiment do not fit ({number})"
        )
    return number


def _shape(deployment: dict[str, Any]) -> tuple[Any, ...]:
    """What must not change: spec, labels, annotations (but the revision that the controller keeps)."""
    metadata = deployment["metadata"]
    return deployment["spec"], metadata.get("labels"), metadata.get("annotations")


def arms_left(client: ApiClient, namespace: str) -> int:
    """Deployments, ReplicaSets and pods that carry an arm's label."""
    kinds = (("apps/v1", "Deployment"), ("apps/v1", "ReplicaSet"), ("v1", "Pod"))
    return sum(len(client.list(version, kind, namespace, labels="trimtab.dev/arm")) for version, kind in kinds)
