"""Statuses have the fields that controllers and the operator read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.unit.playground.conftest import MakePod

from playground.kube import Obj
from trimtab.workload.lifecycle import Acting, ContainerLife, advance, born, evicted, killed
from trimtab.workload.podstatus import pod_ip, status_patch


def ready_life() -> ContainerLife:
    life = advance(born(100.0, "10.244.1.2", 0.0), Acting(), 0.0, 101.0)
    return advance(life, Acting(), 0.0, 102.0)


def conditions(status: Obj) -> dict[str, Any]:
    return {c["type"]: c["status"] for c in status["conditions"]}


def test_a_pod_being_created_has_no_address(make_pod: MakePod) -> None:
    status = status_patch(make_pod(), born(100.0, "10.244.1.2", 1.0), "web")["status"]
    assert status["phase"] == "Pending"
    assert status["containerStatuses"][0]["state"] == {"waiting": {"reason": "ContainerCreating"}}
    assert "podIP" not in status
    assert conditions(status)["Ready"] == "False"
    assert conditions(status)["PodScheduled"] == "True"


def test_a_ready_pod(make_pod: MakePod) -> None:
    status = status_patch(make_pod(), ready_life(), "web")["status"]
    (container,) = status["containerStatuses"]
    assert (status["phase"], status["podIP"], status["startTime"]) == ("Running", "10.244.1.2", "1970-01-01T00:01:40Z")
    assert container["state"] == {"running": {"startedAt": "1970-01-01T00:01:41Z"}}
    assert (container["ready"], container["started"], container["restartCount"]) == (True, True, 0)
    assert container["resources"]["limits"]["cpu"] == "1"
    assert conditions(status)["Ready"] == conditions(status)["ContainersReady"] == "True"


def test_an_oom_kill_is_seen_before_and_after_the_restart(make_pod: MakePod) -> None:
    dead = killed(ready_life(), "OOMKilled", 137, 110.0)
    status = status_patch(make_pod(), dead, "web")["status"]
    (container,) = status["containerStatuses"]
    assert container["state"]["terminated"]["reason"] == "OOMKilled"
    assert container["state"]["terminated"]["exitCode"] == 137
    assert (status["phase"], conditions(status)["Ready"]) == ("Running", "False")
    again = status_patch(make_pod(), advance(dead, Acting(), 0.0, 111.5), "web")["status"]["containerStatuses"][0]
    assert again["lastState"]["terminated"]["reason"] == "OOMKilled"
    assert again["restartCount"] == 1


def test_back_off_is_waiting_with_the_reason_that_people_look_for(make_pod: MakePod) -> None:
    life = killed(replace(ready_life(), crashes=2), "Error", 1, 110.0)
    (container,) = status_patch(make_pod(), life, "web")["status"]["containerStatuses"]
    assert container["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert container["lastState"]["terminated"]["exitCode"] == 1


def test_an_eviction_fails_the_pod(make_pod: MakePod) -> None:
    status = status_patch(make_pod(), evicted(ready_life(), 120.0), "web")["status"]
    assert (status["phase"], status["reason"]) == ("Failed", "Evicted")
    assert conditions(status)["DisruptionTarget"] == "True"


def test_a_sidecar_runs_on_while_the_main_container_fails(make_pod: MakePod) -> None:
    pod = make_pod()
    pod["spec"]["containers"].append({"name": "sidecar", "image": "s:1"})
    life = killed(replace(ready_life(), crashes=2), "Error", 1, 110.0)
    main, sidecar = status_patch(pod, life, "web")["status"]["containerStatuses"]
    assert "waiting" in main["state"]
    assert "running" in sidecar["state"]
    assert (sidecar["restartCount"], sidecar["lastState"]) == (0, {})


def test_addresses_are_unique_and_belong_to_the_pod_network() -> None:
    taken: set[str] = set()
    for number in range(300):
        taken.add(pod_ip(f"uid-{number}", taken))
    assert len(taken) == 300
    assert all(ip.startswith("10.244.") and not ip.endswith((".0", ".255")) for ip in taken)
    assert pod_ip("uid-1", set()) == pod_ip("uid-1", set())
    assert pod_ip("uid-1", {pod_ip("uid-1", set())}) != pod_ip("uid-1", set())
