"""Invariants of the ledger: Trials, what was spent, and what was learned from them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from trimtab.api.convert import trial_record
from trimtab.api.times import parse_time
from trimtab.domain.errors import CorruptLedger
from trimtab.domain.names import LABEL_ARM, LABEL_TRIAL
from trimtab.simulate.faults.kinds import FaultKind
from trimtab.simulate.history import Change
from trimtab.simulate.invariants.base import (
    TERMINAL,
    Invariant,
    Obj,
    deleting,
    held,
    labels_of,
    phase_of,
)
from trimtab.simulate.record import Strike

ACCOUNT = "trimtab-spending-"
SUM = "until-"  # the key of an entry that adds up Trials
ROUNDING = 1e-6
UNDONE = frozenset({"Aborted", "Stale"})
NO_SAMPLES = frozenset({FaultKind.SAMPLES_MISSING, FaultKind.SAMPLES_NAN})


class TerminalFinal(Invariant):
    """A terminal Trial never changes, except by a hand: from then on what the hand wrote is what nobody changes."""

    kinds = frozenset({"trials"})

    def begin(self) -> None:
        self._final: dict[str, Any] = {}

    def see(self, change: Change) -> None:
        """A Trial changed."""
        uid, status = change.object["metadata"]["uid"], change.object.get("status")
        by_hand = change.version in self.record.hands
        if uid in self._final and status != self._final[uid] and not by_hand:
            self.broken(change.at, f"Trial {change.name} was changed after its end")
        elif uid in self._final or phase_of(change.object) in TERMINAL:
            self._final[uid] = status


class MadeOnce(Invariant):
    """No Trial is made a second time, no index is used twice, and no arm is made again after it was withdrawn."""

    kinds = frozenset({"trials", "deployments"})

    def begin(self) -> None:
        self._trials: set[tuple[str, int]] = set()
        self._arms: dict[tuple[str, str], int] = {}

    def see(self, change: Change) -> None:
        """Something was made."""
        if change.type != "ADDED":
            return
        if change.kind == "trials":
            spec = change.object["spec"]
            key = (str(spec["experiment"]["uid"]), int(spec["index"]))
            if key in self._trials:
                self.broken(change.at, f"Trial {change.name} was made twice")
            self._trials.add(key)
        elif LABEL_ARM in labels_of(change.object) and not self.view.is_copy(change.object):
            self._arm(change)

    def _arm(self, change: Change) -> None:
        labels = labels_of(change.object)
        arm = (str(labels.get(LABEL_TRIAL)), str(labels[LABEL_ARM]))
        if arm in self._arms and not self.calm.disturbed(change.at):
            self.broken(change.at, f"arm {change.name} was made twice")
        self._arms[arm] = change.version


class HeldWhileLive(Invariant):
    """While a Trial is live its Experiment exists and carries the finalizer, and so does the Trial.

    Of a Trial that nobody can read, as somebody spoilt its status, that holds while it has an arm; it stays let go when
    a hand puts the status back.
    """

    kinds = frozenset({"trials", "experiments"})

    def begin(self) -> None:
        self._revived: set[str] = set()  # uids

    def see(self, change: Change) -> None:
        """A Trial or an Experiment changed."""
        if change.kind == "trials" and change.version in self.record.hands and not held(change.object):
            self._revived.add(change.object["metadata"]["uid"])
        for name, trial in self.view.all("trials").items():
            if phase_of(trial) in TERMINAL or self.calm.disturbed(change.at):
                continue
            owner = self.view.all("experiments").get(trial["spec"]["experiment"]["name"])
            if not held(trial) and self._was_let_go(trial):
                continue
            if owner is None or owner["metadata"]["uid"] != trial["spec"]["experiment"]["uid"]:
                self.broken(change.at, f"Trial {name} is live without its Experiment")
            elif not held(owner):
                self.broken(change.at, f"Trial {name} is live, its Experiment was let go")
            if phase_of(trial) != "Pending" and not held(trial):
                self.broken(change.at, f"Trial {name} is live without its finalizer")

    def _was_let_go(self, trial: Obj) -> bool:
        uid = trial["metadata"]["uid"]
        if any(labels_of(arm).get(LABEL_TRIAL) == uid and not deleting(arm) for arm in self.view.arms()):
            return False
        return uid in self._revived or unreadable(trial)


def unreadable(trial: Obj) -> bool:
    """Whether the operator cannot know what this Trial was at."""
    try:
        trial_record(trial, None)
    except CorruptLedger:
        return True
    return False


class UndoneBeforeRecorded(Invariant):
    """A withdrawal is recorded after it was done: what is recorded as undone exists no more."""

    kinds = frozenset({"trials"})

    def see(self, change: Change) -> None:
        """A Trial changed."""
        outcome = (change.object.get("status") or {}).get("outcome") or {}
        if change.type == "DELETED" or outcome.get("phase") not in UNDONE or self.calm.disturbed(change.at):
            return
        uid = change.object["metadata"]["uid"]
        for arm in self.view.arms():
            if labels_of(arm).get(LABEL_TRIAL) == uid and not deleting(arm):
                name = arm["metadata"]["name"]
                self.broken(change.at, f"Trial {change.name} is {outcome['phase']} on record, arm {name} exists")


class SpendingKept(Invariant):
    """What a canary spent of an error budget only grows, and is on the target's account before its Trial is over."""

    kinds = frozenset({"configmaps", "trials"})

    def begin(self) -> None:
        self._entries: dict[str, dict[str, Any]] = {}  # account -> Trial uid -> entry
        self._live: dict[str, dict[str, float]] = {}  # Trial uid -> SLI -> bad events
        self._over: set[str] = set()  # uids of Trials

    def see(self, change: Change) -> None:
        """An account or a Trial changed."""
        if change.kind == "trials":
            self._trial(change)
        elif change.name.startswith(ACCOUNT) and change.type != "DELETED":
            self._account(change)

    def _account(self, change: Change) -> None:
        old, new = self._entries.get(change.name, {}), json.loads(change.object["data"]["spending.json"])
        due = {uid: e for uid, e in old.items() if change.at - e["at"] < e["window"]}
        gone = {uid: e for uid, e in due.items() if uid not in new or uid.startswith(SUM)}
        sums = {uid: e for uid, e in new.items() if uid.startswith(SUM)}
        added_up = _bad(sums.values())
        less = any(bad > added_up.get(sli, 0.0) + ROUNDING for sli, bad in _bad(gone.values()).items())
        if less or (gone and not sums):
            self.broken(change.at, f"the account lost Trial {min(gone)} before its window ended")
        for uid in (old.keys() - gone.keys()) & new.keys():
            kept = new[uid]["spent"]
            if any(kept.get(sli, {}).get("bad", -1.0) < s["bad"] for sli, s in old[uid]["spent"].items()):
                self.broken(change.at, f"the account of Trial {uid} shrank")
        self._entries[change.name] = new

    def _trial(self, change: Change) -> None:
        if change.type == "DELETED":
            return
        uid, status = change.object["metadata"]["uid"], change.object.get("status") or {}
        spent = {s["sli"]: float(s["bad"]) for s in status.get("spent") or ()}
        for sli, bad in self._live.get(uid, {}).items():
            if spent.get(sli, -1.0) < bad:
                self.broken(change.at, f"what Trial {change.name} spent of {sli} shrank")
        self._live[uid] = spent
        target = change.object["spec"]["environment"]["targetUID"]
        if not spent or status.get("phase") not in TERMINAL or uid in self._over:
            return
        self._over.add(uid)  # later it may be part of a sum
        if not self._booked(f"{ACCOUNT}{target}", uid, spent):
            self.broken(change.at, f"Trial {change.name} is over, and what it spent is on no account")

    def _booked(self, account: str, uid: str, spent: Mapping[str, float]) -> bool:
        entry = self._entries.get(account, {}).get(uid)
        return entry is not None and all(
            entry["spent"].get(sli, {}).get("bad", -1.0) >= bad for sli, bad in spent.items()
        )


def _bad(entries: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Bad events by SLI."""
    found: dict[str, float] = {}
    for entry in entries:
        for sli, spent in entry["spent"].items():
            found[sli] = found.get(sli, 0.0) + spent["bad"]
    return found


class LearnedOnce(Invariant):
    """The optimizer learns from each Trial at most once, from terminal ones only, and from what its phase teaches."""

    kinds = frozenset({"trials"})

    def begin(self) -> None:
        self._phases: list[tuple[int, int, str]] = []  # version, index, phase

    def see(self, change: Change) -> None:
        """A Trial changed."""
        self._phases.append((change.version, int(change.object["spec"]["index"]), phase_of(change.object)))

    def end(self) -> None:
        """Look at everything that the optimizer was told."""
        for asked in self.record.asked:
            indices = [o.index for o in asked.study.outcomes]
            if len(indices) != len(set(indices)):
                self.broken(asked.at, f"the optimizer was told a Trial twice: {sorted(indices)}")
            known = {(index, phase) for version, index, phase in self._phases if version <= asked.version}
            for outcome in asked.study.outcomes:
                phases = {phase for index, phase in known if index == outcome.index}
                if not phases & TERMINAL:
                    self.broken(asked.at, f"the optimizer was told trial {outcome.index} before its end")
                elif outcome.learnable and not phases & {"Succeeded", "Infeasible"}:
                    self.broken(asked.at, f"trial {outcome.index} taught though it was {sorted(phases & TERMINAL)}")


class AbsenceIsNoSuccess(Invariant):
    """A Trial succeeds on samples only: missing data is never a pass, and no window without any sample gives one."""

    kinds = frozenset({"trials"})

    def begin(self) -> None:
        self._succeeded: set[str] = set()  # uids: what a hand makes of the record later is not the operator's

    def see(self, change: Change) -> None:
        """A Trial changed."""
        status: Obj = change.object.get("status") or {}
        if status.get("phase") != "Succeeded" or change.type == "DELETED" or change.version in self.record.hands:
            return
        uid = str(change.object["metadata"]["uid"])
        if uid in self._succeeded:
            return
        self._succeeded.add(uid)
        found = [m for m in status.get("measurements") or () if m["arm"] == "canary"]
        if not found or any("sample" not in m for m in found):
            self.broken(change.at, f"Trial {change.name} succeeded without samples of its canary")
        window = status.get("window") or {}
        if window and (strike := self._blank(parse_time(window["start"]), change.at)) is not None:
            self.broken(change.at, f"Trial {change.name} succeeded though {strike.kind} lasted for all of it")

    def _blank(self, since: float, until: float) -> Strike | None:
        """A fault that left the canary without samples from before the window until it was judged."""
        return next(
            (
                s
                for s in self.record.strikes
                if s.kind in NO_SAMPLES
                and s.fault.parameters.get("of") in ("canary", "arms", "all")
                and s.at <= since
                and (s.until is None or s.until >= until)
            ),
            None,
        )


LEDGER_INVARIANTS = (
    TerminalFinal, MadeOnce, HeldWhileLive, UndoneBeforeRecorded, SpendingKept, LearnedOnce, AbsenceIsNoSuccess,
)  # fmt: skip
