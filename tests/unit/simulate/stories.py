"""A short Experiment on the example web service: Trials as a ledger would hold them, measured with noise."""

from __future__ import annotations

import math
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from trimtab.api.convert import experiment_record, parse_experiment, trial_manifest, trial_status
from trimtab.api.kube import target_from
from trimtab.api.times import format_time
from trimtab.domain.measurement import Arm, Measurement, NoData, Reading, Sample, Window
from trimtab.domain.space import Assignment
from trimtab.domain.state import (
    BudgetState,
    ConditionType,
    ExperimentPhase,
    ExperimentState,
    RecommendationState,
    TargetRecord,
)
from trimtab.domain.trial import (
    Environment,
    Load,
    Outcome,
    PhaseTimes,
    Prediction,
    Purpose,
    Suggestion,
    Trial,
    TrialPhase,
)
from trimtab.ports import NewTrial
from trimtab.simulate.collect import Finished, simulation
from trimtab.simulate.exposure import exposure_of
from trimtab.simulate.horizon import Horizon
from trimtab.simulate.peers import compare
from trimtab.simulate.results import Inputs, Simulation
from trimtab.simulate.truth import Truth
from trimtab.workload import OfferedLoad, load_workload
from trimtab.workload.units import MIB

ROOT = Path(__file__).resolve().parents[3]
WEB = ROOT / "examples" / "web-service"
START = 1_772_442_000.0  # Monday 2026-03-02T09:00:00Z
STEPS = (  # purpose, cpu, memory in MiB, by the model
    (Purpose.BASELINE, "2", 2048, False),
    (Purpose.BASELINE, "2", 2048, False),
    (Purpose.INITIAL, "1.6", 1600, False),
    (Purpose.INITIAL, "1.4", 1472, False),
    (Purpose.SEARCH, "1.15", 1152, True),
    (Purpose.SEARCH, "0.9", 896, True),
    (Purpose.SEARCH, "0.7", 576, True),
    (Purpose.SEARCH, "0.8", 768, True),
    (Purpose.REPLICATE, "0.8", 768, True),
    (Purpose.VERIFICATION, "0.8", 768, False),
)


@cache
def web_truth() -> Truth:
    """The example: Experiment, Deployment and workload."""
    spec = parse_experiment(yaml.safe_load((WEB / "experiment.yaml").read_text()))
    deployment = next(yaml.safe_load_all((WEB / "deployment.yaml").read_text()))
    deployment["metadata"] |= {"namespace": "default", "uid": "target-uid"}
    return Truth(spec, target_from(deployment), load_workload(WEB / "workload.yaml"))


def place(cpu: str, mib: int) -> Assignment:
    return Assignment((("cpu", Decimal(cpu)), ("memory", Decimal(mib * int(MIB)))))


def story(seed: int = 1) -> tuple[Truth, Finished]:
    """Everything that a world would hand over."""
    truth, rng = web_truth(), np.random.default_rng(seed)
    offered = OfferedLoad.of(truth.workload, seed)
    trials = tuple(_trial(truth, offered, rng, index) for index in range(len(STEPS)))
    chosen = trials[-1].assignment
    before, after = truth.cost.hourly(truth.baseline), truth.cost.hourly(chosen)
    recommendation = RecommendationState(
        "d1gest",
        chosen,
        False,
        1 - after / before,
        None,
        None,
        before,
        after,
        True,
        "web-recommendation",
        "hash",
        "saves",
    )
    ended = trials[-1].times.finished
    state = ExperimentState(
        phase=ExperimentPhase.COMPLETED,
        message="verified by 1 fresh trial",
        started=START,
        finished=ended,
        target=TargetRecord("target-uid", "hash", truth.baseline),
        recommendation=recommendation,
        budgets=(BudgetState("availability", 0.93, 0.1, 812.0, 0.0003),),
        rollbacks=1,
    ).with_condition(ConditionType.RECOMMENDATION_READY, True, "Verified", "", START, 1)
    exposures = tuple(exposure_of(truth, offered, t) for t in trials)
    assert ended is not None
    return truth, Finished(state, trials, exposures, offered.peak_rps / truth.target.replicas, ended)


@cache
def result(seed: int = 1, peers: tuple[str, ...] = (), days: float = 1.0) -> Simulation:
    truth, finished = story(seed)
    inputs = Inputs(
        experiment="default/web",
        spec_digest=truth.spec.digest,
        workload=truth.workload.name,
        workload_digest=truth.workload.digest,
        seed=seed,
        days=days,
        start="2026-03-02T09:00:00.000Z",
        scrape_interval=15.0,
        faults="",
    )
    horizon = Horizon(truth, OfferedLoad.of(truth.workload, seed), START, days)
    return simulation(truth, inputs, finished, compare(horizon, finished, peers) if peers else ())


def _trial(truth: Truth, offered: OfferedLoad, rng: np.random.Generator, index: int) -> Trial:
    purpose, cpu, mib, by_model = STEPS[index]
    assignment = place(cpu, mib)
    begun = START + index * 900.0
    seconds = 45.0 if mib == 576 else 600.0
    window = Window(begun + 150.0, begun + 150.0 + seconds)
    load = offered.at(window.start) / 22
    withdrawn = mib == 576
    outcome = Outcome(TrialPhase.INFEASIBLE, "AbortRule", "p95-under-100ms: 7.9 % > 5 % in 3 of 4 windows")
    if not withdrawn:
        outcome = Outcome(TrialPhase.SUCCEEDED, "Measured", "slow within its bound (kept)")
    readings = [
        Measurement(sli.name, arm, window, _reading(truth, rng, sli.name, each, load, seconds))
        for sli in truth.spec.slis
        for arm, each in ((Arm.CANARY, assignment), (Arm.CONTROL, truth.baseline))
    ]
    if index == 3:
        readings[-1] = Measurement("errors", Arm.CONTROL, window, NoData("no series"))
    return Trial(
        name=f"web-000000-{index:04d}",
        namespace="default",
        uid=f"trial-{index}",
        resource_version="1",
        experiment_uid="uid",
        experiment_name="web",
        index=index,
        suggestion=Suggestion(
            assignment, purpose, index, by_model, 0.97, 0.1, _expected(truth, assignment, by_model), "m", 0.1, 0.1
        ),
        spec_digest=truth.spec.digest,
        environment=Environment("hash", "target-uid", "web:1.4.2", 20),
        phase=outcome.phase,
        times=PhaseTimes(begun, begun, begun + 30.0, window.start, window.end, window.end + 12.0),
        window=window,
        outcome=outcome,
        measurements=tuple(readings),
        load=(Load(Arm.CANARY, load), Load(Arm.CONTROL, load)),
        cost=truth.cost.hourly(assignment),
        withdraw_seconds=3.25 if withdrawn else None,
    )


def _reading(
    truth: Truth, rng: np.random.Generator, sli: str, assignment: Assignment, load: float, seconds: float
) -> Reading:
    true = truth.judge(assignment, load).value(sli)
    assert not isinstance(true, NoData)
    total = float(round(load * seconds))
    bad = float(rng.binomial(int(total), min(true, 1.0)))
    return Sample(bad / total, math.sqrt(max(bad, 1.0)) / total, total, bad)


def _expected(truth: Truth, assignment: Assignment, by_model: bool) -> tuple[Prediction, ...]:
    if not by_model:
        return ()
    true = truth.judge(assignment, 880.0).value("slow")
    assert not isinstance(true, NoData)
    return (Prediction("p95-under-100ms", math.log(true / 0.05) - 0.05, 0.12),)


def stored(trial: Trial) -> dict[str, Any]:
    """A Trial as the API server holds it."""
    truth = web_truth()
    manifest = {"metadata": {"name": "web", "namespace": "default", "uid": "uid", "resourceVersion": "1"}}
    manifest["metadata"]["creationTimestamp"] = "2026-03-02T09:00:00Z"
    record = experiment_record({**manifest, "spec": yaml.safe_load((WEB / "experiment.yaml").read_text())["spec"]})
    assert trial.cost is not None
    new = NewTrial(trial.index, trial.suggestion, trial.environment, truth.spec.digest, trial.cost)
    body = trial_manifest(record, new)
    added = {"uid": trial.uid, "resourceVersion": "1", "creationTimestamp": format_time(trial.times.created)}
    return {**body, "metadata": body["metadata"] | added, "status": trial_status(trial)}
