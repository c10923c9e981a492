"""No canary outlives its controller, on the real control plane: the chart's CronJob and hook, their accounts' tokens.

The CronJob and Job controllers are real; the test plays the kubelet of their pods, whose containers run as processes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmarks.operator.live import ARM, LEASE, Live, live_places, live_stack
from benchmarks.operator.witness import Witness
from tests.cluster import autoscaled

from controlplane import ControlPlane, wait_for
from stack.chart import CLUSTER_WIDE, NAMESPACED
from stack.jobs import JobPods, chart_of_jobs
from trimtab.simulate.history import serving, views
from trimtab.simulate.invariants import check_history

NAME = "orphan"
TRIAL = {"warmUp": "1s", "duration": "10m", "deadline": "45m"}
PROMISED = 180.0  # seconds, with reap alone, run once a minute


@pytest.fixture
def live(controlplane: ControlPlane, tmp_path: Path) -> Iterator[Live]:
    """An install in a namespace of its own."""
    with live_stack(controlplane, tmp_path, "reap") as found:
        yield found


@pytest.fixture
def routed(controlplane: ControlPlane, tmp_path: Path) -> Iterator[Live]:
    """An install whose target scales and gets its traffic by a route."""
    values = {"traffic": {"httpRoute": True}}
    with live_places(
        controlplane, tmp_path, "reap", 1, replicas=8, load=6400, values=values, metrics_api=True
    ) as places:
        yield places[0]


def chart(live: Live) -> list[dict[str, Any]]:
    """What the chart renders for this install, with pods that nobody but the test plays."""
    return chart_of_jobs(live.namespace, live.stack.prometheus.url)


def done(line: str) -> dict[str, Any]:
    """The last line of a run's log: what it came to."""
    found: dict[str, Any] = next(json.loads(x) for x in reversed(line.splitlines()) if '"reap.done"' in x)
    return found


def test_a_killed_operators_canary_is_gone_within_three_minutes(live: Live, tmp_path: Path) -> None:
    (job,) = (d for d in chart(live) if d["kind"] == "CronJob")
    operator = live.operator()
    pods = JobPods(live.stack.plane, live.namespace, tmp_path / "pods")
    with live.explained(NAME), Witness(live.stack.plane, live.namespace) as witness, pods:
        live.create(NAME, trial=TRIAL)
        trial = live.wait_trial(NAME, frozenset({"Measuring"}))
        arms = live.arms()
        before = [d["metadata"]["uid"] for d in live.client.list("apps/v1", "Deployment", live.namespace)]
        live.client.create({**job, "metadata": {**job["metadata"], "namespace": live.namespace}})

        # Beside a living operator it touches nothing. The worst moment to die is just after it saw a renewal.
        first = wait_for(lambda: next((r for r in pods.runs if r.ended), None), "a first run", seconds=120)
        died = time.time()
        operator.kill()
        assert (first.status, done(first.said)["kept"]) == (0, [f"{live.namespace}/{trial['metadata']['name']}"])
        assert live.arms() == arms
        assert [d["metadata"]["uid"] for d in live.client.list("apps/v1", "Deployment", live.namespace)] == before
        assert live.trials(NAME)[0]["status"]["phase"] == "Measuring"

        wait_for(lambda: not live.arms(), "reap to remove the canary", seconds=PROMISED + 30)
        changes = witness.changes()
        silent = next(c.at for c, world in views(changes) if c.at > died and not serving(world)) - died
        gone = time.time() - died
        assert first.ended is not None
        print(f"\na run beside the living operator took {first.ended - first.began:.1f} s")
        print(f"no ready canary endpoint {silent:.1f} s after the operator's death, nothing left after {gone:.1f} s")
        assert silent <= gone <= PROMISED
        assert silent >= 60.0, "not before it was sure that nobody leads"
        wait_for(lambda: len([r for r in pods.runs if r.ended]) > 1, "the run to end")
        assert [r.status for r in pods.runs if r.ended] == [0] * len([r for r in pods.runs if r.ended])

        # Whoever leads next records what happened, and goes on.
        live.operator()
        ended = live.wait_trial(NAME, frozenset({"Aborted"}))
        assert ended["status"]["outcome"]["reason"] == "ArmDeleted"
        live.remove(NAME)
        live.wait_nothing_left()
        check_history(witness.changes())
    live.kill_operators()


def test_a_route_is_its_owners_again_before_the_arms_go(routed: Live, tmp_path: Path) -> None:
    """By the rights of the CronJob's own account, in one run of it."""
    live = routed
    (cron,) = (d for d in chart(live) if d["kind"] == "CronJob")
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "reap", "namespace": live.namespace}}
    scaler = autoscaled.applied(live.client, live.namespace)
    before = autoscaled.owned(autoscaled.route(live.client, live.namespace))
    operator = live.operator()
    pods = JobPods(live.stack.plane, live.namespace, tmp_path / "pods")
    with live.explained(NAME), Witness(live.stack.plane, live.namespace) as witness, pods:
        live.create(NAME, trial=TRIAL, **autoscaled.sections())
        trial = live.wait_trial(NAME, frozenset({"Measuring"}))
        assert len(autoscaled.weights(live.client, live.namespace)) == 3
        operator.kill()
        live.client.create(job | {"spec": cron["spec"]["jobTemplate"]["spec"]})
        run = wait_for(lambda: next((r for r in pods.runs if r.ended), None), "the run to end", seconds=PROMISED)
        assert (run.status, done(run.said)["removed"]) == (0, [f"{live.namespace}/{trial['metadata']['name']}"]), (
            run.said
        )
        assert live.arms() == []
        changes = witness.changes()
        went = next(
            c.version for c in changes if c.type == "DELETED" and ARM in (c.object["metadata"].get("labels") or {})
        )
        routes = [c for c in changes if c.kind == "httproutes"]
        assert any(autoscaled.owned(c.object) != before for c in routes)
        assert autoscaled.owned([c for c in routes if c.version < went][-1].object) == before
        assert autoscaled.owned(routes[-1].object) == before
        autoscaled.as_before(live.client, live.namespace, scaler)
        live.operator()
        ended = live.wait_trial(NAME, frozenset({"Aborted"}))
        assert ended["status"]["outcome"]["reason"] == "ArmDeleted"
        live.remove(NAME)
        live.wait_nothing_left()
        check_history(witness.changes())
    live.kill_operators()


def test_the_hook_before_an_uninstall_undoes_and_lets_go(live: Live, tmp_path: Path) -> None:
    """The operator still runs then, in the middle of a trial."""
    hooks = [d for d in chart(live) if (d["metadata"].get("annotations") or {}).get("helm.sh/hook")]
    (job,) = (d for d in hooks if d["kind"] == "Job")
    operator = live.operator()
    target = live.target()
    pods = JobPods(live.stack.plane, live.namespace, tmp_path / "pods")
    with live.explained(NAME), Witness(live.stack.plane, live.namespace) as witness, pods:
        live.create(NAME, trial=TRIAL)
        live.wait_trial(NAME, frozenset({"Measuring"}))
        assert live.held()
        for document in hooks:
            if document["kind"] in NAMESPACED | set(CLUSTER_WIDE):
                live.client.create(document)
        begun = time.time()
        live.client.create(job)
        run = wait_for(lambda: next((r for r in pods.runs if r.ended), None), "the hook's pod to end", seconds=120)
        assert run.status == 0, run.said
        print(f"\neverything undone and let go {time.time() - begun:.1f} s after the hook began")
        assert live.arms() == live.held() == []
        operator.wait_dead(20.0)  # it lost the lead, and its Deployment would start it again: as a standby
        again = live.operator(ready=False)
        wait_for(lambda: again.get("/readyz"), "the operator to answer")
        assert not again.is_leading()
        holder = live.client.get(*LEASE, live.namespace)["spec"]["holderIdentity"]
        assert holder.startswith("uninstall_")
        assert live.target() == target
        # Nothing hangs now, whoever deletes it.
        live.remove(NAME)
        changes = witness.changes()
        led = [c for c, _ in views(changes) if c.kind == "deployments" and c.type == "ADDED" and c.at > begun]
        assert led == []
    live.kill_operators()
