"""Invariants of what an Experiment asks for: what its trials may cost and take, and that a repair only adds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trimtab.domain.measurement import Sample
from trimtab.domain.names import LABEL_ARM, LABEL_EXPERIMENT_UID
from trimtab.domain.quantity import parse_quantity
from trimtab.domain.study import ArmOutcome, ConstraintTarget, Study
from trimtab.simulate.faults.kinds import FaultKind
from trimtab.simulate.history import Change
from trimtab.simulate.invariants.base import Invariant, Obj, deleting, labels_of

HOUR, GIB = 3600.0, float(2**30)
TAKEN_SECONDS = 60.0
DEFAULT_SHARE = "10"  # percent
ROUNDING = 1e-9
DEFAULT_PRICES = {"cpuCoreHour": "0.031611", "memoryGiBHour": "0.004237"}


class CostCapped(Invariant):
    """While nothing hinders the operator, the pods of an Experiment's arms cost at most its `stopping.maxCost`.

    A fault that keeps arms beyond their deadline may exceed it; what a hand changes of the cap is not followed.
    """

    kinds = frozenset({"pods", "experiments"})

    def begin(self) -> None:
        self._caps: dict[str, tuple[float, Obj]] = {}  # Experiment uid -> cap, prices
        self._since: dict[str, float] = {}  # pod uid -> when it was made
        self._spent: dict[str, float] = {}  # Experiment uid -> $
        strikes = self.record.strikes
        self._free = any(s.hinders or s.kind is FaultKind.CLOCK_JUMPED for s in strikes) or self.record.stood_still

    def see(self, change: Change) -> None:
        """A pod came or went, or an Experiment says what it may cost."""
        metadata = change.object["metadata"]
        if change.kind == "experiments":
            limit = (change.object["spec"].get("stopping") or {}).get("maxCost")
            if limit is not None:
                self._caps[metadata["uid"]] = float(limit), change.object["spec"].get("prices") or {}
        elif LABEL_ARM in labels_of(change.object) and change.type != "DELETED":
            self._since.setdefault(metadata["uid"], change.at)
        elif metadata["uid"] in self._since:
            self._over(change, change.at - self._since.pop(metadata["uid"]))

    def _over(self, change: Change, seconds: float) -> None:
        uid = str(labels_of(change.object).get(LABEL_EXPERIMENT_UID, ""))
        if uid not in self._caps or self._free:
            return
        cap, prices = self._caps[uid]
        self._spent[uid] = self._spent.get(uid, 0.0) + seconds / HOUR * _hourly(change.object, prices)
        if self._spent[uid] > cap:
            self.broken(change.at, f"arms cost more than ${cap:g}, as maxCost allows")


def _hourly(pod: Obj, prices: Mapping[str, Any]) -> float:
    """$ per hour of a pod's requests."""
    priced = {**DEFAULT_PRICES, **prices}
    total = 0.0
    for container in (pod.get("spec") or {}).get("containers") or ():
        requests = (container.get("resources") or {}).get("requests") or {}
        total += float(parse_quantity(str(requests.get("cpu", "0")))) * float(priced["cpuCoreHour"])
        total += float(parse_quantity(str(requests.get("memory", "0")))) / GIB * float(priced["memoryGiBHour"])
    return total


class ShareCapped(Invariant):
    """No arm is made by which the arms of an Experiment, all trials together, would be a larger part of the pods behind
    the Service than its `canary.maxSharePercent`.

    By a route's weights it is not the pods that count. Of what a hand makes of the target's replicas, the most of the
    last TAKEN_SECONDS counts: a trial that was decided on by then gets its arms.
    """

    kinds = frozenset({"deployments", "experiments"})

    def begin(self) -> None:
        self._allowed: dict[str, tuple[float, str]] = {}  # Experiment's uid -> share, name of its target
        self._replicas: dict[str, list[tuple[float, int]]] = {}  # Deployment -> (since when, how many), in order

    def see(self, change: Change) -> None:
        """An Experiment says what it allows, a target was scaled, or an arm was made."""
        spec, metadata = change.object.get("spec") or {}, change.object["metadata"]
        if change.kind == "experiments":
            share = (spec.get("canary") or {}).get("maxSharePercent", DEFAULT_SHARE)
            by_pods = (spec.get("traffic") or {}).get("mode", "Service") == "Service"
            self._allowed[metadata["uid"]] = (
                float(share) / 100.0 if by_pods else 1.0,
                (spec.get("targetRef") or {}).get("name", ""),
            )
        elif self.view.is_copy(change.object):
            return
        elif LABEL_ARM not in labels_of(change.object):
            known = self._replicas.setdefault(change.name, [])
            if not known or known[-1][1] != int(spec.get("replicas", 1)):
                known.append((change.at, int(spec.get("replicas", 1))))
        elif change.type == "ADDED" and not self.calm.disturbed(change.at):
            self._made(change, str(labels_of(change.object).get(LABEL_EXPERIMENT_UID, "")))

    def _made(self, change: Change, uid: str) -> None:
        allowed, target = self._allowed.get(uid, (1.0, ""))
        mine = [a for a in self.view.arms() if labels_of(a).get(LABEL_EXPERIMENT_UID) == uid and not deleting(a)]
        arms = sum(int(a["spec"].get("replicas", 1)) for a in mine)
        beside = self._lately(target, change.at)
        if beside is None:
            return  # a history that shows arms alone
        if arms > allowed * (arms + beside) + ROUNDING:
            self.broken(change.at, f"{arms} arm pods beside {beside} of the target, {allowed:.0%} are allowed")

    def _lately(self, target: str, at: float) -> int | None:
        """The most replicas of the target within the last TAKEN_SECONDS; None for one that was never seen."""
        known = self._replicas.get(target, [])
        ends = [*(since for since, _ in known[1:]), at]
        lately = (n for (_, n), end in zip(known, ends, strict=False) if end >= at - TAKEN_SECONDS)
        return max(lately, default=None)


class RepairOnlyAdds(Invariant):
    """Until some other assignment kept every bound, an Experiment that repairs its baseline tries nothing with less of
    anything than that."""

    kinds = frozenset({"trials"})

    def begin(self) -> None:
        self._made: dict[tuple[int, int], Change] = {}  # (version, index)

    def see(self, change: Change) -> None:
        """A Trial was made."""
        if change.type == "ADDED":
            self._made[change.version, int(change.object["spec"]["index"])] = change

    def end(self) -> None:
        """Look at what followed each question to the optimizer."""
        for asked in self.record.asked:
            study = asked.study
            if not study.search.repair or not _broken(study) or any(_holds(study, o.canary) for o in study.outcomes):
                continue
            later = [v for v, index in self._made if index == study.index and v > asked.version]
            if later and (less := _less(self._made[min(later), study.index].object, study)):
                change = self._made[min(later), study.index]
                self.broken(change.at, f"Trial {change.name} has less {less} than the baseline, which breaks a bound")


def _less(trial: Obj, study: Study) -> str:
    """A parameter of which the Trial has less than the baseline, "" when there is none."""
    for given in trial["spec"]["assignment"]:
        name = str(given["name"])
        value, baseline = study.space[name].parse(str(given["value"])), study.baseline[name]
        if not isinstance(value, str) and not isinstance(baseline, str) and value < baseline:
            return name
    return ""


def _broken(study: Study) -> bool:
    """Every control that was read broke a bound; at least two were."""
    read = [o.control for o in study.outcomes if o.learnable and o.control is not None and o.control.readings]
    return len(read) > 1 and not any(_kept(study, control) for control in read)


def _holds(study: Study, canary: ArmOutcome) -> bool:
    return canary.assignment != study.baseline and bool(canary.readings) and _kept(study, canary)


def _kept(study: Study, arm: ArmOutcome) -> bool:
    values = {r.constraint: r.sample for r in arm.readings}
    absolute = [t for t in study.constraints if not t.relative and not t.guard_only]
    return all(t.name in values and _within(t, values[t.name]) for t in absolute)


def _within(target: ConstraintTarget, sample: Sample) -> bool:
    return sample.value <= target.bound if target.upper else sample.value >= target.bound


LIMIT_INVARIANTS = (CostCapped, ShareCapped, RepairOnlyAdds)
