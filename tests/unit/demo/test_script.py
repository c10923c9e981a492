"""The demo's story: a pause and a slow dependency, each once, each when the cluster shows that its moment has come."""

from __future__ import annotations

from typing import Any, cast

from demo.script import FAULT, FAULT_AFTER, PAUSE, PAUSE_AFTER, Script


class Cluster:
    """Takes the annotations of the on-call."""

    def __init__(self) -> None:
        self.annotations: list[str | None] = []

    def patch(self, *arguments: Any) -> None:
        (body,) = (a for a in arguments if isinstance(a, dict))
        self.annotations.append(body["metadata"]["annotations"][PAUSE])


class Faults:
    """Takes faults."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def fault(self, **fault: Any) -> None:
        assert fault["selector"] == {"trimtab.dev/arm": "canary"}
        self.seen.append(f"set {fault['name']}")

    def clear(self, name: str) -> None:
        self.seen.append(f"clear {name}")


def trials(ended: int, live: str = "") -> list[dict[str, Any]]:
    """So many Trials that have ended, and perhaps one in a live phase."""
    phases = ["Succeeded"] * ended + ([live] if live else [])
    return [
        {"metadata": {"name": f"web-{i}"}, "spec": {"index": i}, "status": {"phase": phase}}
        for i, phase in enumerate(phases)
    ]


def started() -> tuple[Script, Cluster, Faults]:
    cluster, faults = Cluster(), Faults()
    return Script(cast(Any, cluster), cast(Any, faults)), cluster, faults


def phase(name: str) -> dict[str, Any]:
    return {"status": {"phase": name}}


def paused_and_resumed() -> tuple[Script, Cluster, Faults]:
    script, cluster, faults = started()
    script.direct(phase("Running"), trials(PAUSE_AFTER, "Measuring"))
    script.direct(phase("Paused"), trials(PAUSE_AFTER + 1))
    return script, cluster, faults


def test_nothing_happens_before_its_moment() -> None:
    script, cluster, faults = started()
    for ended in range(PAUSE_AFTER):
        script.direct(phase("Running"), trials(ended, "Measuring"))
    script.direct(phase("Running"), trials(PAUSE_AFTER))  # no trial is live
    script.direct(phase("Running"), trials(PAUSE_AFTER, "Deploying"))
    assert (cluster.annotations, faults.seen, script.note) == ([], [], "")


def test_the_on_call_pauses_a_live_trial_and_resumes_when_its_canary_is_gone() -> None:
    script, cluster, _ = started()
    script.direct(phase("Running"), trials(PAUSE_AFTER, "Measuring"))
    assert cluster.annotations == ["demo on-call: looking at a dashboard"]
    script.direct(phase("Paused"), trials(PAUSE_AFTER, "Draining"))
    assert script.pause_acknowledged is not None
    assert not script.resumed
    script.direct(phase("Paused"), trials(PAUSE_AFTER + 1))
    assert cluster.annotations[1:] == [None]
    assert "acknowledged after" in script.note
    script.direct(phase("Running"), trials(PAUSE_AFTER + 2, "Measuring"))
    assert len(cluster.annotations) == 2


def test_the_dependency_turns_slow_once_while_a_trial_measures() -> None:
    script, _, faults = paused_and_resumed()
    script.direct(phase("Running"), trials(FAULT_AFTER, "WarmingUp"))
    assert faults.seen == []
    script.direct(phase("Running"), trials(FAULT_AFTER, "Measuring"))
    script.direct(phase("Running"), trials(FAULT_AFTER, "Measuring"))
    assert faults.seen == [f"set {FAULT}"]
    assert script.fault_trial == f"web-{FAULT_AFTER}"
    script.direct(phase("Running"), trials(FAULT_AFTER, "Draining"))
    script.direct(phase("Running"), trials(FAULT_AFTER + 2, "Measuring"))
    assert faults.seen == [f"set {FAULT}", f"clear {FAULT}"]


def test_no_fault_before_the_pause_is_over() -> None:
    script, _, faults = started()
    script.direct(phase("Running"), trials(FAULT_AFTER, "Measuring"))
    script.direct(phase("Running"), trials(FAULT_AFTER, "Measuring"))
    assert faults.seen == []
