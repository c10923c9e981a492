"""Invariants of what makes an Experiment wait by its own spec: alerts that it names, and its schedule."""

from __future__ import annotations

from typing import ClassVar

from trimtab.api.problems import Unreadable, read
from trimtab.api.settings import Schedule as WireSchedule
from trimtab.api.timetable import schedule_of
from trimtab.domain.errors import InvalidSpec
from trimtab.domain.names import LABEL_EXPERIMENT_UID
from trimtab.domain.schedule import Schedule
from trimtab.simulate.alerting import EVALUATION_SECONDS
from trimtab.simulate.faults.catalogue import ABSENCE, LEADERS, PROMETHEUS
from trimtab.simulate.faults.kinds import FaultKind
from trimtab.simulate.history import Change, serving
from trimtab.simulate.invariants.base import Invariant, Obj, labels_of
from trimtab.simulate.record import Strike
from trimtab.slo.budget import CLEAR_SECONDS

REACTION_SECONDS = 5.0
WITHDRAW_SECONDS = 30.0
CLOSE_SECONDS = 45.0
LATE_SECONDS = 60.0  # for which an answer that was late may still be under way
_UNSURE = frozenset({PROMETHEUS, ABSENCE, LEADERS})


class AlertsObeyed(Invariant):
    """While an alert fires that an Experiment names, and for a quarter of an hour after it was last seen to, no trial
    starts; a canary serves for WITHDRAW_SECONDS of it at most.

    Where nobody could know it, as the metrics store failed or a clock was wrong meanwhile, nothing is promised here:
    then no trial starts, and a canary is blind.
    """

    kinds = frozenset({"trials", "experiments", "endpointslices"})

    def begin(self) -> None:
        self._named_since: float | None = None
        self._serves_since: float | None = None

    def see(self, change: Change) -> None:
        """An Experiment said what it names, a trial started, or endpoints changed."""
        if change.kind == "experiments":
            named = any(
                (e["spec"].get("safety") or {}).get("pauseOnAlerts") for e in self.view.all("experiments").values()
            )
            self._named_since = (change.at if self._named_since is None else self._named_since) if named else None
        elif change.kind == "trials" and change.type == "ADDED":
            self._started(change)
        elif change.kind == "endpointslices":
            self._served(change.at, bool(serving(self.view)))

    def end(self) -> None:
        """A canary that still serves."""
        self._served(self.record.end, False)

    def _started(self, change: Change) -> None:
        for strike in self._alerts(change.at):
            over = strike.until if strike.until is not None else change.at
            if strike.at + REACTION_SECONDS < change.at < over - EVALUATION_SECONDS + CLEAR_SECONDS:
                self.broken(
                    change.at, f"Trial {change.name} started {change.at - strike.at:.1f} s after an alert fired"
                )

    def _served(self, at: float, now: bool) -> None:
        if now and self._serves_since is None:
            self._serves_since = at
        elif not now and self._serves_since is not None:
            for strike in self._alerts(at):
                begin, end = (
                    max(self._serves_since, strike.at),
                    min(at, strike.until if strike.until is not None else at),
                )
                lasted = self.calm.longest(begin, end) if end > begin else 0.0
                if lasted > WITHDRAW_SECONDS:
                    self.broken(end, f"a canary served for {lasted:.0f} s while an alert fired")
            self._serves_since = None

    def _alerts(self, until: float) -> list[Strike]:
        """Alerts that fired before this moment, were named all the time, and could be known of."""
        named = self._named_since
        if named is None:
            return []
        strikes = self.record.strikes
        unsure = [s for s in strikes if s.hinders or s.row.survives in _UNSURE]
        fired = (s for s in strikes if s.kind is FaultKind.ALERT_FIRES and named <= s.at < until)
        return [s for s in fired if not any(_within(u, s.at, until) for u in unsure)]


def _within(strike: Strike, begin: float, end: float) -> bool:
    return strike.at <= end and (strike.until is None or strike.until + LATE_SECONDS >= begin)


class ScheduleKept(Invariant):
    """No trial starts outside its Experiment's schedule, and where onClose says Withdraw no arm is left CLOSE_SECONDS
    after a window has closed. While clocks are wrong nothing is promised."""

    kinds = frozenset({"trials", "experiments", "deployments"})
    bound: ClassVar[float] = CLOSE_SECONDS

    def begin(self) -> None:
        self._known: dict[str, tuple[float, Schedule]] = {}  # Experiment's uid -> since when, what it says
        self._wrong = any(s.kind is FaultKind.CLOCK_JUMPED for s in self.record.strikes)

    def see(self, change: Change) -> None:
        """An Experiment said when its trials may run, one started, or an arm came or went."""
        if self._wrong:
            return
        if change.kind == "experiments":
            self._note(change)
        elif change.kind == "trials" and change.type == "ADDED":
            self._started(change, str(change.object["spec"]["experiment"]["uid"]))
        self.waits.update(change.at, self._outside(change.at))

    def _note(self, change: Change) -> None:
        uid, made = str(change.object["metadata"]["uid"]), _schedule(change.object)
        before = self._known.get(uid)
        if made is None or change.type == "DELETED":
            self._known.pop(uid, None)
        elif before is None or before[1] != made:
            self._known[uid] = (change.at, made)

    def _started(self, change: Change, uid: str) -> None:
        since, made = self._known.get(uid, (change.at, None))
        if made is None or change.at - since <= REACTION_SECONDS or self.calm.disturbed(change.at):
            return
        if made.closure(change.at) is not None and made.closure(change.at - REACTION_SECONDS) is not None:
            self.broken(change.at, f"Trial {change.name} started outside its schedule")

    def _outside(self, at: float) -> dict[str, str]:
        found = {}
        for arm in self.view.arms():
            uid = str(labels_of(arm).get(LABEL_EXPERIMENT_UID, ""))
            _, made = self._known.get(uid, (at, None))
            if made is not None and made.withdraw and made.closure(at) is not None:
                found[uid] = "arms exist outside the schedule"
        return found


def _schedule(experiment: Obj) -> Schedule | None:
    """What it says; None where it says nothing, or what nobody can read."""
    given = experiment["spec"].get("schedule")
    if not given:
        return None
    try:
        return schedule_of(read(WireSchedule, given, "spec.schedule"), "spec.schedule")
    except (Unreadable, InvalidSpec):
        return None


PAUSE_INVARIANTS = (AlertsObeyed, ScheduleKept)
