"""What happens to the Experiment while the demo runs: a slow dependency for canaries, and an on-call who pauses.

Each step waits for a condition in the cluster, never for a moment in time, so that slow machines see the same story.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from controlplane import ApiClient
from demo.settings import EXPERIMENT, NAMESPACE
from stack import Playground

FAULT = "slow-dependency"
PAUSE = "trimtab.dev/pause"
TERMINAL = {"Succeeded", "Infeasible", "Inconclusive", "Aborted", "Stale", "InfraFailed"}
PAUSE_AFTER = 5  # terminal trials
FAULT_AFTER = 10


@dataclass
class Script:
    """The demo's director: called with each view of the world, acts when the moment has come."""

    client: ApiClient
    playground: Playground
    note: str = ""
    fault_trial: str | None = None
    fault_set: float | None = None
    fault_seen: float | None = None
    paused_at: float | None = None
    pause_acknowledged: float | None = None
    resumed: bool = False
    _done: set[str] = field(default_factory=set)

    def direct(self, experiment: dict[str, Any], trials: list[dict[str, Any]]) -> None:
        """Look at the world, and act."""
        ended = sum(1 for t in trials if _phase(t) in TERMINAL)
        live = next((t for t in trials if _phase(t) not in TERMINAL), None)
        self._pause(ended, live, experiment)
        self._slow_dependency(ended, live, trials)

    def _slow_dependency(self, ended: int, live: dict[str, Any] | None, trials: list[dict[str, Any]]) -> None:
        if self.fault_trial is None:
            if self.resumed and ended >= FAULT_AFTER and live is not None and _phase(live) == "Measuring":
                self.fault_trial = live["metadata"]["name"]
                self.fault_set = time.time()
                self.playground.fault(
                    name=FAULT, kind="SlowDependency", selector={"trimtab.dev/arm": "canary"}, factor=6.0
                )
                self.note = f"a dependency is slow for the canary of trial {live['spec']['index']}"
            return
        mine = next((t for t in trials if t["metadata"]["name"] == self.fault_trial), None)
        if "fault-cleared" not in self._done and (mine is None or _phase(mine) in {"Draining", *TERMINAL}):
            self.fault_seen = time.time()
            self.playground.clear(FAULT)
            self._done.add("fault-cleared")
            self.note = "the safety monitor withdrew the canary; the dependency is fast again"

    def _pause(self, ended: int, live: dict[str, Any] | None, experiment: dict[str, Any]) -> None:
        if self.resumed:
            return
        if self.paused_at is None:
            if ended >= PAUSE_AFTER and live is not None and _phase(live) in {"WarmingUp", "Measuring"}:
                self._annotate("demo on-call: looking at a dashboard")
                self.paused_at = time.time()
                self.note = f"the on-call pauses: kubectl annotate experiments.trimtab.dev/{EXPERIMENT} {PAUSE}=..."
            return
        paused = (experiment.get("status") or {}).get("phase") == "Paused"
        if paused and self.pause_acknowledged is None:
            self.pause_acknowledged = time.time()
        if paused and live is None:
            self._annotate(None)
            self.resumed = True
            waited = (self.pause_acknowledged or time.time()) - self.paused_at
            self.note = f"acknowledged after {waited:.1f} s and the canary is gone; the on-call resumes"

    def _annotate(self, value: str | None) -> None:
        patch = {"metadata": {"annotations": {PAUSE: value}}}
        self.client.patch("trimtab.dev/v1alpha1", "Experiment", EXPERIMENT, patch, NAMESPACE)


def _phase(trial: dict[str, Any]) -> str:
    return str((trial.get("status") or {}).get("phase", "Pending"))
