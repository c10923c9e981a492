"""Invariants of what people are promised: requests, gates, deletions, recommendations, and that it goes on."""

from __future__ import annotations

from typing import Any

from trimtab.api.convert import parse_experiment
from trimtab.domain.errors import InvalidSpec
from trimtab.domain.names import ANNOTATION_PAUSE, ANNOTATION_ROLLBACK, LABEL_ARM, LABEL_EXPERIMENT_UID
from trimtab.domain.quantity import parse_duration
from trimtab.runtime.budgets import REREAD_FRACTION, REREAD_MOST
from trimtab.simulate.faults.kinds import LONG_SECONDS, FaultKind
from trimtab.simulate.history import Change, View, serving
from trimtab.simulate.invariants.base import (
    ENDED_PHASES,
    TERMINAL,
    Invariant,
    Obj,
    annotations_of,
    deleting,
    labels_of,
    phase_of,
)
from trimtab.slo.budget import burn_windows

REQUEST_SECONDS = 45.0
DELETE_SECONDS = 180.0
REACTION_SECONDS = 5.0
BLIND_SLACK = 30.0
_BLINDING = frozenset({
    FaultKind.PROMETHEUS_DOWN, FaultKind.PROMETHEUS_ERROR, FaultKind.PROMETHEUS_MALFORMED, FaultKind.PROMETHEUS_WARNS,
})  # fmt: skip
_SLOW = frozenset({FaultKind.PROMETHEUS_SLOW, FaultKind.FIT_TOO_LONG})


class RequestsHonoured(Invariant):
    """A rollback or a pause that was asked for happens: within REQUEST_SECONDS no arm is left."""

    kinds = frozenset({"experiments", "deployments", "namespaces"})
    bound = REQUEST_SECONDS

    def see(self, change: Change) -> None:
        """After each change of an Experiment or an arm."""
        ignored = {}
        for name, experiment in self.view.all("experiments").items():
            words = _stop_asked(experiment, self.view)
            uid = experiment["metadata"]["uid"]
            if words and any(labels_of(a).get(LABEL_EXPERIMENT_UID) == uid for a in self.view.arms()):
                ignored[uid] = f"{words} was asked of {name}, and arms exist"
        self.waits.update(change.at, ignored)


def _stop_asked(experiment: Obj, view: View) -> str:
    annotations = annotations_of(experiment)
    for key, words in ((ANNOTATION_ROLLBACK, "rollback"), (ANNOTATION_PAUSE, "pause")):
        if key in annotations:
            return words
    namespace = view.all("namespaces").get(experiment["metadata"].get("namespace", ""))
    return "a namespace's pause" if namespace is not None and ANNOTATION_PAUSE in annotations_of(namespace) else ""


class GatesHold(Invariant):
    """Nothing starts while a gate is closed: a request to stop, an error budget, a deletion.

    A pass that had begun before may still finish: within REACTION_SECONDS, longer while answers are late.
    """

    kinds = frozenset({"trials", "deployments", "experiments", "namespaces"})

    def begin(self) -> None:
        self._closed: dict[str, tuple[float, str]] = {}  # Experiment's uid -> since when, why

    def see(self, change: Change) -> None:
        """After each change."""
        if change.kind in {"experiments", "namespaces"}:
            self._note(change)
        elif change.type == "ADDED":
            self._start(change)

    def _note(self, change: Change) -> None:
        for experiment in self.view.all("experiments").values():
            uid = experiment["metadata"]["uid"]
            why = "its deletion was asked for" if deleting(experiment) else _stop_asked(experiment, self.view)
            if not why:
                self._closed.pop(uid, None)
            elif uid not in self._closed:
                self._closed[uid] = (change.at, why)

    def _start(self, change: Change) -> None:
        if change.kind == "trials":
            uid = change.object["spec"]["experiment"]["uid"]
            self._budget(change)
        elif LABEL_ARM in labels_of(change.object) and not self.view.is_copy(change.object):
            uid = labels_of(change.object).get(LABEL_EXPERIMENT_UID, "")
        else:
            return
        since, why = self._closed.get(uid, (change.at, ""))
        if why and change.at - since > REACTION_SECONDS and not self._late(since, change.at):
            self.broken(change.at, f"{change.name} was started {change.at - since:.1f} s after {why}")

    def _budget(self, change: Change) -> None:
        experiment = self.view.all("experiments").get(change.object["spec"]["experiment"]["name"])
        if experiment is None or not experiment["spec"].get("errorBudgets"):
            return
        available = _condition(experiment, "BudgetAvailable")
        if available.get("status") != "True" and not self.calm.disturbed(change.at):
            self.broken(change.at, f"Trial {change.name} was started with BudgetAvailable {available.get('status')}")

    def _late(self, since: float, at: float) -> bool:
        """Answers were late between then and now, so that a pass could take long."""
        slow = (s for s in self.record.strikes if s.hinders or s.kind in _SLOW | _BLINDING)
        return any(s.at <= at and (s.until is None or s.until + 60.0 >= since) for s in slow)


def _condition(experiment: Obj, kind: str) -> Obj:
    conditions: list[dict[str, Any]] = (experiment.get("status") or {}).get("conditions") or []
    return next((c for c in conditions if c["type"] == kind), {})


class DeletesEnd(Invariant):
    """A deletion never hangs: what was asked to go is gone within DELETE_SECONDS."""

    kinds = frozenset({"experiments", "trials"})
    bound = DELETE_SECONDS

    def see(self, change: Change) -> None:
        """After each change of an Experiment or a Trial."""
        going = {}
        for kind in ("experiments", "trials"):
            for name, obj in self.view.all(kind).items():
                if deleting(obj):
                    going[obj["metadata"]["uid"]] = f"{kind} {name} is being deleted"
        self.waits.update(change.at, going)


class BlindWithdrawn(Invariant):
    """A canary that cannot be watched is withdrawn: `safety.staleAfter` and BLIND_SLACK after the metrics store failed
    no canary serves. Where sums over hours alone fail, that is so once one is due by which a burn would be noticed."""

    kinds = frozenset({"endpointslices", "experiments"})

    def begin(self) -> None:
        self._stale_after = 0.0
        self._due: float | None = None  # seconds until such a sum is asked for again at the latest, None without any
        self._since: float | None = None
        self._long = any(s.kind is FaultKind.LONG_WINDOWS_FAIL for s in self.record.strikes)

    def see(self, change: Change) -> None:
        """Endpoints changed."""
        if change.kind == "experiments":
            self._stale_after = max(self._stale_after, _stale_after(change.object))
            self._due = _due(change.object) if self._long and self._due is None else self._due
            return
        now = bool(serving(self.view))
        if now and self._since is None:
            self._since = change.at
        elif not now and self._since is not None:
            self._judge(self._since, change.at)
            self._since = None

    def end(self) -> None:
        """A canary that still serves."""
        if self._since is not None:
            self._judge(self._since, self.record.end)

    def _judge(self, since: float, until: float) -> None:
        for strike in self.record.strikes:
            later = self._due if strike.kind is FaultKind.LONG_WINDOWS_FAIL else 0.0
            if later is None or (strike.kind not in _BLINDING and not later):
                continue
            begin, end = max(since, strike.at + later), min(until, strike.until if strike.until is not None else until)
            blind = self.calm.longest(begin, end) if end > begin else 0.0
            if blind > self._stale_after + BLIND_SLACK:
                self.broken(end, f"a canary served for {blind:.0f} s while {strike.kind}")


def _stale_after(experiment: Obj) -> float:
    return parse_duration(str(experiment["spec"].get("safety", {}).get("staleAfter", "60s")))


def _due(experiment: Obj) -> float | None:
    try:
        budgets = parse_experiment(experiment).budgets
    except InvalidSpec:
        return None
    windows = [seconds for budget in budgets for seconds in burn_windows(budget) if seconds > LONG_SECONDS]
    return min(min(windows) / REREAD_FRACTION, REREAD_MOST) if windows else None


class RecommendedVerified(Invariant):
    """Nothing is recommended that fresh trials did not verify, unless verification is switched off.

    A verification stays one when a hand spoils the status of its Trial later.
    """

    kinds = frozenset({"experiments", "trials"})

    def begin(self) -> None:
        self._verified: dict[str, Obj] = {}  # uid: as its operator left it

    def see(self, change: Change) -> None:
        """An Experiment or a Trial changed."""
        if change.kind == "trials":
            if _verification(change.object) and change.version not in self.record.hands:
                self._verified[change.object["metadata"]["uid"]] = change.object
            return
        if change.type == "DELETED" or change.version in self.record.hands:
            return
        found = (change.object.get("status") or {}).get("recommendation")
        replicates = int(change.object["spec"].get("verification", {}).get("replicates", 2))
        if not found or found["keepBaseline"] or replicates == 0:
            return
        if not found["verified"]:
            self.broken(change.at, f"{change.name} recommends {found['assignment']} unverified")
            return
        wanted = {a["name"]: a["value"] for a in found["assignment"]}
        fresh = [t for t in self._verified.values() if _verifies(t, change.object, wanted)]
        if len(fresh) < replicates and not self.calm.disturbed(change.at):
            self.broken(change.at, f"{change.name} says verified with {len(fresh)} of {replicates} fresh trials")


def _verification(trial: Obj) -> bool:
    return trial["spec"]["purpose"] == "Verification" and phase_of(trial) == "Succeeded"


def _verifies(trial: Obj, experiment: Obj, wanted: dict[str, str]) -> bool:
    spec = trial["spec"]
    return (
        spec["experiment"]["uid"] == experiment["metadata"]["uid"]
        and {a["name"]: a["value"] for a in spec["assignment"]} == wanted
    )


class GoesOn(Invariant):
    """The operator makes progress again once the faults are gone: at the end of the record, where that leaves it the
    time, each Experiment has ended or is gone, and nothing of it is held or left."""

    def end(self) -> None:
        """Look at what is left."""
        if self.record.ended is None or self.record.cut_short:
            return
        for name, experiment in self.view.all("experiments").items():
            phase = phase_of(experiment)
            if phase not in ENDED_PHASES:
                message = (experiment.get("status") or {}).get("message", "")
                self.broken(self.record.end, f"Experiment {name} stands still in {phase}: {message}")
        for name, trial in self.view.all("trials").items():
            if phase_of(trial) not in TERMINAL:
                self.broken(self.record.end, f"Trial {name} stands still in {phase_of(trial)}")
        for arm in (*self.view.arms(), *self.view.copies()):
            self.broken(self.record.end, f"arm {arm['metadata']['name']} is left")


PEOPLE_INVARIANTS = (
    RequestsHonoured, GatesHold, DeletesEnd, BlindWithdrawn, RecommendedVerified, GoesOn,
)  # fmt: skip
