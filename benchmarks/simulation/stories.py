"""Short lives of an Experiment, which together hold everything that an operator does: each can be told with crashes.

A story is a world, what people and faults do in it as soon as something is true, and what must be true in the end,
whatever became of its operators.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import yaml

from benchmarks.operator.live import ARM, FINALIZER, LOAD, REPLICAS, TERMINAL, experiment, phase_of
from stack.paths import EXAMPLES
from trimtab.adapters.series_store import QueryFailed
from trimtab.api.times import format_time, parse_time
from trimtab.domain import kinds
from trimtab.domain.trial import ENDED_EARLY
from trimtab.simulate.alerting import EVALUATION_SECONDS
from trimtab.simulate.objects import SERVED
from trimtab.simulate.traffic import Scraping
from trimtab.simulate.world import Options, Setting, World
from trimtab.workload import WorkloadSpec, parse_workload
from trimtab.workload.faults import Fault, FaultKind

NAMESPACE, NAME, AGAIN, TARGET = "shop", "tune", "again", "web"
SECONDS = 1200.0  # a story that has not ended by then stands still
SCRAPE = 1.0
SEARCH = {"designer": "Sobol", "initialTrials": 2}

TEAM = "team"  # applies the route
ROUTE: dict[str, Any] = {
    "apiVersion": kinds.HTTP_ROUTES.api_version,
    "kind": kinds.HTTP_ROUTES.name,
    "metadata": {"name": "shop", "labels": {"team": "web"}},
    "spec": {
        "parentRefs": [{"name": "gateway"}],
        "rules": [{"name": "pages", "backendRefs": [{"name": TARGET, "port": 80}]}],
    },
}
BY_WEIGHTS: dict[str, Any] = {
    "search": SEARCH,
    "traffic": {
        "mode": "HTTPRoute",
        "httpRoute": {"name": "shop", "ruleName": "pages", "backendService": TARGET, "canaryPercent": "16"},
    },
}

BESIDE: dict[str, Any] = {
    "search": SEARCH,
    "trial": {"parallel": 3},
    "canary": {"maxSharePercent": "60"},
}
"""After two baselines, three trials at a time."""

AUTOSCALER: dict[str, Any] = {
    "apiVersion": kinds.HORIZONTAL_POD_AUTOSCALERS.api_version,
    "kind": kinds.HORIZONTAL_POD_AUTOSCALERS.name,
    "metadata": {"name": TARGET},
    "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": TARGET},
        "minReplicas": REPLICAS,
        "maxReplicas": 4 * REPLICAS,
        "metrics": [
            {
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 20}},
            }
        ],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0, "tolerance": "0.4"}},
    },
}
ALERT = "CheckoutDown"
UNSEEN = frozenset({"Blind", "StaleTelemetry", "ReadinessLost"})
AIM = {"name": "aim", "autoscaler": {"field": "CPUUtilization"}, "integer": {"min": 10, "max": 40, "step": 5}}

Step = tuple[Callable[[World], bool], Callable[[World], object]]
"""As soon as the first holds, the second is done, once; steps are taken in their order."""


@dataclass(frozen=True)
class Story:
    """One life. `steps` happen beside the operator; `ended` says when there is nothing left to wait for. `routed`: the
    service is behind a Gateway; `scaled`: it has an autoscaler, too; `undersized`: it breaks its bound."""

    name: str
    sections: Mapping[str, Any]
    steps: tuple[Step, ...] = ()
    ended: Callable[[World], bool] = lambda world: world.ended(NAME)()
    check: Callable[[World], None] = lambda world: None  # noqa: ARG005
    routed: bool = False
    scaled: bool = False
    undersized: bool = False


@lru_cache(maxsize=1)
def service() -> tuple[WorkloadSpec, tuple[dict[str, Any], ...]]:
    """The example's workload and manifests for four pods, calm at any time of day, so that every run is quick."""
    spec = yaml.safe_load((EXAMPLES / "web-service" / "workload.yaml").read_text())
    spec["load"], spec["noise"] = {"requestsPerSecond": LOAD}, {}
    manifests = tuple(yaml.safe_load_all((EXAMPLES / "web-service" / "deployment.yaml").read_text()))
    manifests[0]["spec"]["replicas"] = REPLICAS
    return parse_workload(yaml.safe_dump(spec)), manifests


async def begun(story: Story, seed: int = 1) -> World:
    """The story's world with its Experiment and its director, and no operator."""
    workload, manifests = service()
    served = SERVED | ({kinds.HTTP_ROUTES} if story.routed else set())
    options = Options(seed=seed, scraping=Scraping(interval=SCRAPE, past_days=2.0), served=served)
    if story.undersized:
        manifests = _undersized(manifests)
    world = await World.build(Setting(workload, manifests, NAMESPACE), options)
    if story.routed:
        world.admin.apply_server_side(ROUTE, NAMESPACE, TEAM)
    if story.scaled:
        world.admin.apply(AUTOSCALER, NAMESPACE)
    world.admin.apply(experiment(NAME, NAMESPACE, **story.sections), NAMESPACE)
    Director(world, story.steps)
    return world


def _undersized(manifests: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
    """With so little CPU that too many requests are slow."""
    deployment, *others = copy.deepcopy(manifests)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    container["resources"] = {side: {"cpu": "600m", "memory": "1Gi"} for side in ("requests", "limits")}
    return (deployment, *others)


class Director:
    """Takes the steps of a story, each as soon as it may, asked after every change."""

    def __init__(self, world: World, steps: tuple[Step, ...]) -> None:
        self._world, self._steps = world, list(steps)
        self._loop, self._planned = asyncio.get_running_loop(), False
        world.cluster.subscribe(lambda _: self._soon())
        self._soon()

    def _soon(self) -> None:
        if self._steps and not self._planned:
            self._planned = True
            self._loop.call_soon(self._take, context=self._world.looking)

    def _take(self) -> None:
        self._planned = False
        while self._steps and self._steps[0][0](self._world):
            self._world.found += 1
            self._world.context.run(self._steps.pop(0)[1], self._world)


# Conditions and deeds


def trial_is(index: int, *phases: str) -> Callable[[World], bool]:
    """The Trial of this index is in one of these phases."""
    return lambda w: any(t["spec"]["index"] == index and phase_of(t) in phases for t in w.trials(NAME))


def trial_ended(index: int) -> Callable[[World], bool]:
    """The Trial of this index has ended, however."""
    return trial_is(index, *TERMINAL)


def phase_is(phase: str) -> Callable[[World], bool]:
    """The Experiment is in this phase."""
    return lambda w: ((w.experiment(NAME) or {}).get("status") or {}).get("phase") == phase


def _paused_after(index: int) -> Callable[[World], bool]:
    """The Trial of this index has ended, and the Experiment stands still."""
    return lambda w: trial_ended(index)(w) and phase_is("Paused")(w)


def annotate(**annotations: str | None) -> Callable[[World], object]:
    """Write an annotation on the Experiment, None removes it."""
    return lambda w: w.admin.annotate(kinds.EXPERIMENTS, NAMESPACE, NAME, **annotations)


def errors_on_canaries(world: World) -> None:
    """Forty percent of what canaries answer is an error, from now on."""
    fault = Fault(name="errors", kind=FaultKind.ERRORS, selector={ARM: "canary"}, error_percent=40.0)
    world.traffic.faults.set(fault, world.clock.now())


def no_errors(world: World) -> None:
    """Canaries are well again."""
    world.traffic.faults.remove("errors")


def errors_everywhere(world: World) -> None:
    """So much of what the whole service answers is an error, from now on: its budget burns, no canary is to blame."""
    world.traffic.faults.set(Fault(name="errors", kind=FaultKind.ERRORS, error_percent=20.0), world.clock.now())


def starved_canaries(world: World) -> None:
    """Canaries' requests take six times the CPU, from now on."""
    fault = Fault(name="errors", kind=FaultKind.SLOW_CPU, selector={ARM: "canary"}, factor=6.0)
    world.traffic.faults.set(fault, world.clock.now())


def fire(world: World) -> None:
    """An alert fires that the Experiment names."""
    world.alerts.fire(ALERT, NAMESPACE)


def _evaluated_while_paused(world: World) -> bool:
    """The Experiment stands still, and the alert's rule was evaluated again: no alert is over before that."""
    since = max(firing.since for firing in world.alerts.firing)
    return _paused_after(0)(world) and world.clock.now() - since >= EVALUATION_SECONDS


def resolve(world: World) -> None:
    """It is over."""
    for firing in world.alerts.firing:
        world.alerts.resolve(firing)


def freeze(world: World) -> None:
    """Somebody declares a freeze of a minute, from now on."""
    now = float(int(world.clock.now()))
    times = {"start": format_time(now), "end": format_time(now + 60.0), "reason": "release 7"}
    world.admin.edit(kinds.EXPERIMENTS, NAMESPACE, NAME, lambda e: e["spec"]["schedule"].update(freezes=[times]))


def prometheus_down(world: World) -> None:
    """No query is answered."""

    async def refuse(_: str) -> None:
        raise QueryFailed("not reachable: ConnectionError")

    world.prometheus.before = refuse


def prometheus_up(world: World) -> None:
    """Queries are answered again."""
    world.prometheus.before = None


def delete_experiment(world: World) -> None:
    """kubectl delete experiment."""
    world.admin.delete(kinds.EXPERIMENTS, NAMESPACE, NAME)


def terminate(world: World) -> None:
    """SIGTERM to the operator that was started last, as a rollout of the operator does."""
    world.life.stop.set()


def edit_route(world: World) -> None:
    """A hand gives the rule a timeout."""

    def change(route: dict[str, Any]) -> None:
        route["spec"]["rules"][0]["timeouts"] = {"request": "10s"}

    world.admin.edit(kinds.HTTP_ROUTES, NAMESPACE, "shop", change)


def another_experiment(world: World) -> None:
    """A second Experiment on the same target."""
    sections: dict[str, Mapping[str, Any]] = {"search": SEARCH, "stopping": {"maxTrials": 1}}
    world.admin.apply(experiment(AGAIN, NAMESPACE, **sections), NAMESPACE)


# Checks


def nothing_left(world: World) -> None:
    """No arm, no finalizer, no lock is left, and the target is as it was."""
    for kind in (kinds.DEPLOYMENTS, kinds.REPLICA_SETS, kinds.PODS):
        left = [o["metadata"]["name"] for o in world.admin.list(kind, NAMESPACE) if ARM in o["metadata"]["labels"]]
        assert not left, f"left: {kind.name} {left}"
    for trial in world.trials(NAME):
        assert phase_of(trial) in TERMINAL, f"{trial['metadata']['name']} is {phase_of(trial)}"
        assert FINALIZER not in trial["metadata"].get("finalizers", ()), trial["metadata"]["name"]
    assert not _held(world), f"held: {_held(world)}"
    target = world.admin.find(kinds.DEPLOYMENTS, NAMESPACE, TARGET)
    assert target is not None
    assert target["metadata"]["generation"] == 1, "the target was changed"


def _route(world: World) -> Mapping[str, Any]:
    """Its one rule, once nothing of a trial is left in the route."""
    route = world.admin.find(kinds.HTTP_ROUTES, NAMESPACE, "shop")
    assert route is not None
    assert not route["metadata"].get("annotations"), route["metadata"]["annotations"]
    services = [s["metadata"]["name"] for s in world.admin.list(kinds.SERVICES, NAMESPACE)]
    assert services == [TARGET], services
    (rule,) = route["spec"]["rules"]
    assert [(b["name"], b["weight"]) for b in rule["backendRefs"]] == [(TARGET, 1)], rule
    found: Mapping[str, Any] = rule
    return found


def _route_as_it_was(world: World) -> None:
    """It completed, and whoever applies the route again has nothing to change and nobody to ask."""
    completed(world)
    assert "timeouts" not in _route(world)
    world.admin.apply_server_side(ROUTE, NAMESPACE, TEAM)


def _autoscaler_as_it_was(world: World) -> None:
    """It is the only one, and nobody else ever counted its pods."""
    _route_as_it_was(world)
    (scaler,) = world.admin.list(kinds.HORIZONTAL_POD_AUTOSCALERS, NAMESPACE)
    own = ("scaleTargetRef", "minReplicas", "maxReplicas", "metrics")
    assert {k: scaler["spec"][k] for k in own} == {k: AUTOSCALER["spec"][k] for k in own}
    seen = (c.object for c in world.history.changes if c.kind == kinds.HORIZONTAL_POD_AUTOSCALERS.plural)
    told = {c["reason"] for each in seen for c in (each.get("status") or {}).get("conditions") or ()}
    assert "AmbiguousSelector" not in told, told


def _edit_stays(world: World) -> None:
    """What a hand wrote meanwhile is still there, and the trial in which it did taught nothing."""
    completed(world)
    assert _route(world)["timeouts"] == {"request": "10s"}
    (trial,) = (t for t in world.trials(NAME) if t["spec"]["index"] == 0)
    assert phase_of(trial) != "Succeeded", trial["status"]["outcome"]


def completed(world: World) -> None:
    """The Experiment came to its end."""
    nothing_left(world)
    found = world.experiment(NAME)
    assert found is not None
    assert found["status"]["phase"] == "Completed", found["status"].get("message")


def recommended(world: World) -> None:
    """It completed with a recommendation that was verified and published."""
    completed(world)
    found = world.experiment(NAME) or {}
    assert found["status"]["recommendation"]["assignment"], found["status"]["recommendation"]
    names = [c["metadata"]["name"] for c in world.admin.list(kinds.CONFIG_MAPS, NAMESPACE)]
    assert f"{NAME}-recommendation" in names, names


def _no_bad_canary_passed(world: World) -> None:
    """The canary with errors never counted as a success."""
    completed(world)
    (bad,) = (t for t in world.trials(NAME) if t["spec"]["index"] == 2)
    assert phase_of(bad) != "Succeeded", bad["status"]["outcome"]


def _ended_early(world: World) -> None:
    """A new assignment that was clearly good was not measured for its whole time, unless a crash cost its evidence; the
    baseline was."""
    completed(world)
    for trial in world.trials(NAME):
        window, outcome = trial["status"]["window"], trial["status"]["outcome"]
        took = parse_time(window["end"]) - parse_time(window["start"])
        early = outcome["reason"] == ENDED_EARLY
        assert not early or trial["spec"]["purpose"] in ("Initial", "Search"), trial["spec"]
        assert 10.0 <= took < 20.0 if early else took >= 20.0, (took, outcome)


def _reason_is(index: int, *reasons: str) -> Callable[[World], None]:
    """It completed, and that Trial ended for one of these reasons, or as nobody could see it; a withdrawal in whose
    middle a crash came is found half done, and nobody knows any more why."""

    def check(world: World) -> None:
        completed(world)
        (trial,) = (t for t in world.trials(NAME) if t["spec"]["index"] == index)
        outcome = trial["status"]["outcome"]
        assert phase_of(trial) != "Succeeded", outcome
        assert outcome["reason"] in {*reasons, *UNSEEN, "ArmDeleted"}, outcome

    return check


def _asked_was_done(reason: str) -> Callable[[World], None]:
    """What a person asked for ended the live Trial, unless something else had ended it before."""

    def check(world: World) -> None:
        completed(world)
        (trial,) = (t for t in world.trials(NAME) if t["spec"]["index"] == 0)
        outcome = trial["status"]["outcome"]
        assert phase_of(trial) != "Succeeded", outcome
        assert outcome["reason"] in {reason, *UNSEEN}, outcome

    return check


def _gone(world: World) -> bool:
    """The Experiment, its arms and, by the garbage collector's hand at the latest, its lock."""
    arms = any(ARM in p["metadata"]["labels"] for p in _pods(world))
    return world.experiment(NAME) is None and not arms and not _held(world)


def _held(world: World) -> list[str]:
    """Names of the target locks that somebody holds."""
    locks = world.admin.list(kinds.LEASES, NAMESPACE)
    return [lock["metadata"]["name"] for lock in locks if lock["spec"].get("holderIdentity")]


def _pods(world: World) -> tuple[Mapping[str, Any], ...]:
    return world.admin.list(kinds.PODS, NAMESPACE)


MEASURING = ("Measuring",)
LONGER = {"duration": "40s", "deadline": "90s"}  # than a Lease: who follows a lost leader still finds it measuring
_SLOW_ALONE = [{"name": "slow", "sli": "slow", "max": "0.05"}]
_BUDGET = {
    "name": "availability", "sli": "errors", "objectivePercent": "99", "window": "1h", "experimentSharePercent": "50",
}  # fmt: skip
STORIES: tuple[Story, ...] = (
    Story("success", {"search": SEARCH, "stopping": {"maxTrials": 1}}, check=completed),
    Story(
        "recommendation",
        {
            "search": SEARCH,
            "stopping": {"maxTrials": 4},
            "verification": {"duration": "5s", "replicates": 1},
        },
        check=recommended,
    ),
    Story(
        "withdrawal",
        {"search": SEARCH, "stopping": {"maxTrials": 3}},
        (
            (trial_is(2, *MEASURING), errors_on_canaries),
            (trial_ended(2), no_errors),
        ),
        check=_no_bad_canary_passed,
    ),
    Story(
        "early",
        {
            "search": SEARCH,
            "stopping": {"maxTrials": 3},
            "trial": {"duration": "20s", "earlySuccess": True},
            "constraints": [{"name": "slow", "sli": "slow", "max": "0.3", "sequential": {"maxErrorRatio": "3"}}],
            "errorBudgets": [{"name": "availability", "sli": "errors", "objectivePercent": "99"}],
        },
        check=_ended_early,
    ),
    Story(
        "blindness",
        {"search": SEARCH, "stopping": {"maxTrials": 1}},
        (
            (trial_is(0, *MEASURING), prometheus_down),
            (trial_ended(0), prometheus_up),
        ),
        check=completed,
    ),
    Story(
        "pause",
        {"search": SEARCH, "stopping": {"maxTrials": 1}},
        (
            (trial_is(0, *MEASURING), annotate(trimtab_pause="lunch")),
            (_paused_after(0), annotate(trimtab_pause=None)),
            (trial_is(1, *MEASURING), annotate(trimtab_pause="lunch")),  # the same words: one Event with a count
            (_paused_after(1), annotate(trimtab_pause=None)),
        ),
        check=_asked_was_done("OnCallPause"),
    ),
    Story(
        "rollback",
        {"search": SEARCH, "stopping": {"maxTrials": 1}},
        (
            (trial_is(0, "WarmingUp", *MEASURING), annotate(trimtab_rollback="it hurts")),
            (_paused_after(0), annotate(trimtab_rollback=None)),
        ),
        check=_asked_was_done("OnCallRollback"),
    ),
    Story(
        "deletion",
        {"search": SEARCH, "stopping": {"maxTrials": 2}},
        ((trial_is(0, "Deploying", *MEASURING), delete_experiment),),
        ended=_gone,
        check=nothing_left,
    ),
    Story(
        "handover",
        {"search": SEARCH, "stopping": {"maxTrials": 1}},
        ((trial_is(0, *MEASURING), terminate),),
        check=completed,
    ),
    Story(
        "again",
        {"search": SEARCH, "stopping": {"maxTrials": 1}},
        ((lambda w: w.ended(NAME)(), another_experiment),),
        ended=lambda w: w.experiment(AGAIN) is not None and w.ended(AGAIN)(),
        check=completed,
    ),
    Story(
        "schedule",
        {
            "search": SEARCH,
            "stopping": {"maxTrials": 1},
            "trial": LONGER,
            "schedule": {"onClose": "Withdraw"},
        },
        ((trial_is(0, *MEASURING), freeze),),
        check=_reason_is(0, "Frozen"),
    ),
    Story(
        "alert",
        {
            "search": SEARCH,
            "stopping": {"maxTrials": 1},
            "trial": LONGER,
            "safety": {"pauseOnAlerts": [ALERT]},
        },
        ((trial_is(0, *MEASURING), fire), (_evaluated_while_paused, resolve)),
        check=_reason_is(0, "AlertFiring"),
    ),
    Story(
        "burn",
        {
            "search": SEARCH,
            "stopping": {"maxTrials": 1},
            "trial": LONGER,
            "constraints": _SLOW_ALONE,
            "errorBudgets": [{**_BUDGET, "rollbackOnBurnRate": [{"short": "10s", "long": "1m", "factor": "5"}]}],
        },
        ((trial_is(0, *MEASURING), errors_everywhere), (trial_ended(0), no_errors)),
        check=_reason_is(0, "BudgetBurning"),
    ),
    Story(
        "guard",
        {
            "search": SEARCH,
            "stopping": {"maxTrials": 1},
            "trial": {"duration": "60s", "deadline": "120s"},
            "constraints": _SLOW_ALONE,
            "errorBudgets": [],
        },
        ((trial_is(0, *MEASURING), starved_canaries), (trial_ended(0), no_errors)),
        check=_reason_is(0, "CpuThrottled"),
    ),
    Story(
        "screen",
        {"search": SEARCH, "stopping": {"maxTrials": 3}, "trial": {"duration": "12s", "fidelity": {"screen": "4s"}}},
        check=completed,
    ),
    Story(
        "repair",
        {"search": {"designer": "GaussianProcess", "initialTrials": 2, "infeasibleBaseline": "Repair"}}
        | {"stopping": {"maxTrials": 3}},
        check=nothing_left,
        undersized=True,
    ),
    Story("beside", {**BESIDE, "stopping": {"maxTrials": 5}}, check=completed),
    Story(
        "beside-rollback",
        {**BESIDE, "stopping": {"maxTrials": 4}},
        (
            (trial_is(3, "Deploying", "WarmingUp", *MEASURING), annotate(trimtab_rollback="it hurts")),
            (_paused_after(3), annotate(trimtab_rollback=None)),
        ),
        check=completed,
    ),
    Story("route", {**BY_WEIGHTS, "stopping": {"maxTrials": 1}}, check=_route_as_it_was, routed=True),
    Story(
        "route-withdrawal",
        {**BY_WEIGHTS, "stopping": {"maxTrials": 3}},
        (
            (trial_is(2, *MEASURING), errors_on_canaries),
            (trial_ended(2), no_errors),
        ),
        check=_route_as_it_was,
        routed=True,
    ),
    Story(
        "route-edited",
        {**BY_WEIGHTS, "stopping": {"maxTrials": 1}},
        ((trial_is(0, *MEASURING), edit_route),),
        check=_edit_stays,
        routed=True,
    ),
    Story(
        "scaled",
        {**BY_WEIGHTS, "parameters": [AIM], "stopping": {"maxTrials": 1}},
        check=_autoscaler_as_it_was,
        routed=True,
        scaled=True,
    ),
    Story(
        "scaled-withdrawal",
        {**BY_WEIGHTS, "parameters": [AIM], "stopping": {"maxTrials": 3}},
        ((trial_is(2, *MEASURING), errors_on_canaries), (trial_ended(2), no_errors)),
        check=_autoscaler_as_it_was,
        routed=True,
        scaled=True,
    ),
)

__all__ = ["NAME", "NAMESPACE", "SECONDS", "STORIES", "Director", "Story", "begun"]
