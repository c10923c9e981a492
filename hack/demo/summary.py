"""The demo's result against the noise-free model: what was saved, what could have been, whether the SLO holds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from controlplane import ApiClient
from demo.script import TERMINAL, Script
from demo.settings import NAMESPACE
from stack.paths import EXAMPLES
from trimtab.domain.quantity import parse_quantity
from trimtab.workload import load_workload
from trimtab.workload.load import OfferedLoad
from trimtab.workload.model import Resources, evaluate
from trimtab.workload.truth import Optimum, Prices, TruthConstraints, cheapest_feasible, resource_grid, steps

SEARCH = {"Search", "Replicate"}
MONITOR_REASONS = {"AbortRule", "WorseThanControl"}  # decided from Prometheus data while the canary was live


@dataclass(frozen=True)
class Summary:
    """What `summary.json` holds; percentages of the cost of requests."""

    trials: int
    suggestedByModel: int
    searchTrials: int
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
    sloHeld: bool
    targetUnchanged: bool
    armsLeft: int
    recommendation: dict[str, str] | None
    verified: bool
    pauseAcknowledgedSeconds: float | None
    seconds: float
    seed: int

    def failures(self) -> list[str]:
        """Why the demo did not show what it promises, in words; empty when it did."""
        checks = (
            (self.targetUnchanged, "the target Deployment changed"),
            (self.armsLeft == 0, f"{self.armsLeft} arm objects are left"),
            (self.withdrawnFor in MONITOR_REASONS, "the safety monitor did not withdraw the slow canary"),
            (self.recommendation is not None, "no recommendation came"),
            (self.recommendation is None or self.sloHeld, "the recommendation breaks the SLO in the noise-free model"),
        )
        return [words for ok, words in checks if not ok]

    def document(self) -> dict[str, Any]:
        return asdict(self)


def summarize(
    client: ApiClient,
    experiment: dict[str, Any],
    trials: list[dict[str, Any]],
    script: Script,
    before: dict[str, Any],
    after: dict[str, Any],
    time_of_load: float,
    seconds: float,
    seed: int,
) -> Summary:
    """Everything from the cluster and the noise-free model."""
    phases = [str((t.get("status") or {}).get("phase", "Pending")) for t in trials]
    status = experiment.get("status") or {}
    recommendation = status.get("recommendation")
    chosen = {a["name"]: str(a["value"]) for a in recommendation["assignment"]} if recommendation else None
    optimum, baseline_cost, held = _truth(experiment, before, chosen, time_of_load)
    search = [t for t in trials if t["spec"]["purpose"] in SEARCH]
    withdrawn = [(t.get("status") or {}).get("withdrawSeconds") for t in trials]
    times = [float(w) for w in withdrawn if w is not None]
    slow = next((t for t in trials if t["metadata"]["name"] == script.fault_trial), None)
    acknowledged = (
        script.pause_acknowledged - script.paused_at if script.pause_acknowledged and script.paused_at else None
    )
    return Summary(
        trials=sum(p in TERMINAL for p in phases),
        suggestedByModel=sum(bool(t["spec"]["suggestion"]["byModel"]) for t in search),
        searchTrials=len(search),
        optimumSavingPercent=round(100 * (1 - optimum.cost_per_hour / baseline_cost), 2),
        succeeded=phases.count("Succeeded"),
        infeasible=phases.count("Infeasible"),
        inconclusive=phases.count("Inconclusive"),
        aborted=phases.count("Aborted"),
        rollbacks=len(times),
        rollbackSecondsMax=round(max(times), 3) if times else None,
        withdrawnFor=str(((slow or {}).get("status") or {}).get("outcome", {}).get("reason", "")),
        savingPercent=round(100 * float(recommendation["saving"]), 2) if recommendation else None,
        costPerHourBefore=recommendation["costBefore"] if recommendation else None,
        costPerHourAfter=recommendation["costAfter"] if recommendation else None,
        sloHeld=held,
        targetUnchanged=_shape(before) == _shape(after),
        armsLeft=arms_left(client, NAMESPACE),
        recommendation=chosen,
        verified=bool(recommendation and recommendation["verified"]),
        pauseAcknowledgedSeconds=round(acknowledged, 2) if acknowledged is not None else None,
        seconds=round(seconds, 1),
        seed=seed,
    )


def _shape(deployment: dict[str, Any]) -> tuple[Any, ...]:
    """What must not change: spec, labels, annotations (but the revision that the controller keeps)."""
    metadata = deployment["metadata"]
    return deployment["spec"], metadata.get("labels"), metadata.get("annotations")


def arms_left(client: ApiClient, namespace: str) -> int:
    """Deployments, ReplicaSets and pods that carry an arm's label."""
    kinds = (("apps/v1", "Deployment"), ("apps/v1", "ReplicaSet"), ("v1", "Pod"))
    return sum(len(client.list(version, kind, namespace, labels="trimtab.dev/arm")) for version, kind in kinds)


def _truth(
    experiment: dict[str, Any], target: dict[str, Any], chosen: dict[str, str] | None, time_of_load: float
) -> tuple[Optimum, float, bool]:
    """(the true optimum per pod, the baseline's cost per pod, does the recommendation keep every bound?), at the load
    that each pod of the target has once the arms are gone."""
    workload = load_workload(EXAMPLES / "web-service" / "workload.yaml")
    load = OfferedLoad.of(workload).expected(time_of_load) / target["spec"]["replicas"]
    axes = [_axis(p) for p in experiment["spec"]["parameters"]]
    prices, bounds = Prices(), TruthConstraints.of(workload)
    optimum = cheapest_feasible(workload, resource_grid(*axes), load, bounds, prices)
    if optimum is None:
        raise ValueError("the example has no feasible assignment: its workload file and its Experiment do not fit")
    requests = target["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]
    baseline = prices.per_hour(_resources(requests["cpu"], requests["memory"]))
    if chosen is None:
        return optimum, baseline, False
    behaviour = evaluate(workload, _resources(chosen["cpu"], chosen["memory"]), load)
    return optimum, baseline, bounds.margin(behaviour) <= 1.0


def _resources(cpu: str, memory: str) -> Resources:
    return Resources.equal(float(parse_quantity(cpu)), float(parse_quantity(memory)))


def _axis(parameter: dict[str, Any]) -> tuple[float, ...]:
    quantity = parameter["quantity"]
    return steps(*(float(parse_quantity(str(quantity[name]))) for name in ("min", "max", "step")))
