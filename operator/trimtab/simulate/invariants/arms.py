"""Invariants of arms: what exists in the cluster of a trial, and what the operator may touch at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from trimtab.api.times import parse_time
from trimtab.domain.measurement import Arm
from trimtab.domain.names import ANNOTATION_DEADLINE, LABEL_ARM, LABEL_EXPERIMENT_UID, LABEL_TRIAL, arm_name
from trimtab.simulate.client import SEVERAL
from trimtab.simulate.faults.kinds import WRITTEN
from trimtab.simulate.history import Change, View
from trimtab.simulate.invariants.base import (
    TERMINAL,
    Invariant,
    Obj,
    annotations_of,
    deleting,
    held,
    labels_of,
    namespace_of,
    parallel_of,
    phase_of,
    trials_by_uid,
)
from trimtab.simulate.objects import FINISHED
from trimtab.simulate.record import Deed

STRAY_SECONDS = 60.0
TWO_CANARIES_SECONDS = 30.0
OVERDUE_SECONDS = 45.0
PODS_SECONDS = 60.0
FOREIGN_SECONDS = 30.0
AUTOSCALERS = "horizontalpodautoscalers"
ARM_PARTS = ("replicasets", "pods", "services", AUTOSCALERS)
AUTOSCALED = "as the autoscaler wants"
REVISION = "deployment.kubernetes.io/revision"
BY_OWN_CLOCK = 15.0  # a lease that a hand took away is the leader's for so long by its own clock


class NoStrayArm(Invariant):
    """No arm without a live Trial that was written ahead and has to undo it.

    After a crash or a hand in the operator's things a request that was under way may bring one; it is gone within
    STRAY_SECONDS.
    """

    kinds = frozenset({"deployments", "trials"})
    bound = STRAY_SECONDS

    def begin(self) -> None:
        self._known: set[str] = set()

    def see(self, change: Change) -> None:
        """After each change of an arm or a Trial."""
        trials, stray = trials_by_uid(self.view), {}
        for arm in self.view.arms():
            why = _why_stray(trials.get(labels_of(arm).get(LABEL_TRIAL, "")))
            if why:
                stray[arm["metadata"]["uid"]] = f"arm {arm['metadata']['name']} {why}"
        for uid, words in stray.items():
            if uid not in self._known and not self.calm.disturbed(change.at):
                self.broken(change.at, words)
        self._known = set(stray)
        self.waits.update(change.at, stray)


def _why_stray(trial: Obj | None) -> str:
    if trial is None:
        return "has no Trial"
    phase = phase_of(trial)
    if phase in TERMINAL or phase == "Pending":
        return f"exists while its Trial is {phase}"
    return "" if held(trial) else "has a Trial without the finalizer: nobody has to undo it"


class OneCanary(Invariant):
    """Never two canaries of one trial, nor of more trials than the Experiment allows at a time (`trial.parallel`, 1 by
    default), in Deployments and in pods.

    A request of a process that stood still may bring a second one; it is gone within TWO_CANARIES_SECONDS. So may
    controllers of the cluster that stood still: from what they knew, they replace the pods of an arm that has gone. A
    pod that has ended, as one that was evicted, is none: its ReplicaSet replaces it while it still stands in the list.
    A canary has as many pods as `canary.replicas` says, with an autoscaler of its own as many as that allows.
    """

    kinds = frozenset({"deployments", "pods", AUTOSCALERS, "experiments"})
    bound = TWO_CANARIES_SECONDS

    def begin(self) -> None:
        self._most: dict[str, int] = {}  # pods that a trial's own autoscaler allows, also when that has gone first
        self._parallel: dict[str, int] = {}  # trials at a time, by the Experiment's uid
        self._replicas: dict[str, int] = {}  # pods of a canary, by the same

    def see(self, change: Change) -> None:
        """After each change of an arm or a pod, or of what an Experiment allows."""
        labels = labels_of(change.object)
        if change.kind == "experiments":
            uid, canary = change.object["metadata"]["uid"], change.object["spec"].get("canary") or {}
            self._parallel[uid] = parallel_of(change.object)
            self._replicas[uid] = int(canary.get("replicas", 1))
            return
        if LABEL_ARM not in labels:
            return
        if change.kind == AUTOSCALERS:
            most = int(change.object["spec"]["maxReplicas"])
            self._most[labels[LABEL_TRIAL]] = max(most, self._most.get(labels[LABEL_TRIAL], 1))
            return
        twice: dict[str, str] = {}
        at_once: list[str] = []
        for kind, words in (("deployments", "canaries"), ("pods", "canary pods")):
            told = {f"{kind} {uid}": f"{words} {', '.join(names)}" for uid, names in self._too_many(kind)}
            twice.update(told)
            if kind == "deployments" or not self._brought_late(change.at):
                at_once += told.values()
        if at_once and not self.calm.disturbed(change.at):
            self.broken(change.at, "; ".join(at_once))
        self.waits.update(change.at, twice)

    def _too_many(self, kind: str) -> Iterator[tuple[str, list[str]]]:
        """(Experiment's uid, its canaries of this kind) where these are more than one trial may have."""
        found: dict[tuple[str, str], list[tuple[str, str]]] = {}
        for name, obj in self.view.all(kind).items():
            labels = labels_of(obj)
            if labels.get(LABEL_ARM) == Arm.CANARY and not deleting(obj) and phase_of(obj) not in FINISHED:
                trial, uid = str(labels.get(LABEL_TRIAL, "")), str(labels.get(LABEL_EXPERIMENT_UID, ""))
                found.setdefault((namespace_of(obj), uid), []).append((trial, name))
        for (_, uid), canaries in found.items():
            of_trial = Counter(trial for trial, _ in canaries)
            usual = self._replicas.get(uid, 1)
            most = {trial: self._most.get(trial, usual) if kind == "pods" else 1 for trial in of_trial}
            twice = any(count > most[trial] for trial, count in of_trial.items())
            if twice or len(of_trial) > self._parallel.get(uid, 1):
                yield uid, [name for _, name in canaries]

    def _brought_late(self, at: float) -> bool:
        return any(since <= at <= until + TWO_CANARIES_SECONDS for since, until in self.record.stood_still)


class NamesFollow(Invariant):
    """An arm's name follows from its Trial, so that a second create collides instead of making a second arm."""

    kinds = frozenset({"deployments"})

    def see(self, change: Change) -> None:
        """An arm is made."""
        labels = labels_of(change.object)
        trial = trials_by_uid(self.view).get(labels.get(LABEL_TRIAL, ""))
        if change.type != "ADDED" or LABEL_ARM not in labels or trial is None:
            return
        spec = trial["spec"]
        wanted = arm_name(spec["experiment"]["uid"], int(spec["index"]), Arm(labels[LABEL_ARM]))
        if change.name != wanted:
            self.broken(change.at, f"arm {change.name} should be named {wanted}")


class ForeignNoticed(Invariant):
    """What somebody else made under an arm's name is found out: the trial ends within FOREIGN_SECONDS."""

    kinds = frozenset({"deployments", "trials"})
    bound = FOREIGN_SECONDS

    def see(self, change: Change) -> None:
        """After each change of a Deployment or a Trial."""
        taken = {}
        deployments = self.view.all("deployments")
        for name, trial in self.view.all("trials").items():
            if phase_of(trial) != "Deploying":
                continue
            uid, index = trial["spec"]["experiment"]["uid"], int(trial["spec"]["index"])
            for arm in (Arm.CANARY, Arm.CONTROL):
                found = deployments.get(arm_name(uid, index, arm))
                if found is not None and LABEL_ARM not in labels_of(found):
                    taken[f"{name} {arm}"] = f"Trial {name} waits for an arm whose name is somebody else's"
        self.waits.update(change.at, taken)


class DeadlineKept(Invariant):
    """No arm lives past its deadline by more than OVERDUE_SECONDS once the API server can be reached."""

    kinds = frozenset({"deployments"})
    bound = OVERDUE_SECONDS

    def see(self, change: Change) -> None:
        """An arm begins or ends."""
        deadline = annotations_of(change.object).get(ANNOTATION_DEADLINE)
        if LABEL_ARM not in labels_of(change.object) or deadline is None or self.view.is_copy(change.object):
            return
        uid = change.object["metadata"]["uid"]
        if change.type == "DELETED":
            self.waits.close(uid, change.at)
        else:
            since = max(parse_time(deadline), change.at) if change.type == "ADDED" else parse_time(deadline)
            self.waits.open(uid, since, f"arm {change.name} lives past its deadline")


class NothingLeft(Invariant):
    """Everything that belongs to an arm goes with it: within PODS_SECONDS its deletion is asked for.

    A pod whose node is lost stays until the node is back; it serves nobody.
    """

    kinds = frozenset({"deployments", *ARM_PARTS})
    bound = PODS_SECONDS

    def see(self, change: Change) -> None:
        """After each change of an arm's parts."""
        if LABEL_ARM not in labels_of(change.object):
            return
        arms = set(map(_place, (*self.view.arms(), *self.view.copies())))
        left = {}
        for kind in ARM_PARTS:
            for name, obj in self.view.all(kind).items():
                if LABEL_ARM in labels_of(obj) and not deleting(obj) and _place(obj) not in arms:
                    left[f"{kind} {obj['metadata']['uid']}"] = f"{kind} {name} outlives its arm"
        self.waits.update(change.at, left)


def _place(obj: Obj) -> tuple[str, str, str]:
    labels = labels_of(obj)
    return namespace_of(obj), str(labels.get(LABEL_TRIAL)), str(labels.get(LABEL_ARM))


class TargetUntouched(Invariant):
    """The target's spec, labels and annotations are what people made them: the operator changes not a byte.

    An autoscaler changes replicas; what it decides on is `AutoscalerUntouched`'s.
    """

    kinds = frozenset({"deployments"})

    def begin(self) -> None:
        self._intents: dict[str, _Intent] = {}

    def see(self, change: Change) -> None:
        """A Deployment that is no arm changed."""
        if LABEL_ARM in labels_of(change.object):
            return
        uid, now = change.object["metadata"]["uid"], _intent(change.object, bool(self.view.all(AUTOSCALERS)))
        before = self._intents.get(uid, now)
        if AUTOSCALED in (now.replicas, before.replicas):
            before = replace(before, replicas=now.replicas)
        by_hand = change.version in self.record.hands
        if change.type == "DELETED":
            if not by_hand and not _terminating(self.view, change.object):
                self.broken(change.at, f"Deployment {change.name} was deleted by no person")
        elif now != before and not by_hand:
            self.broken(change.at, f"Deployment {change.name} was changed by no person")
        self._intents[uid] = now


@dataclass(frozen=True)
class _Intent:
    """What people want of a Deployment."""

    replicas: object
    spec: Obj
    labels: Obj
    annotations: Obj


def _intent(deployment: Obj, autoscaled: bool) -> _Intent:
    annotations = {k: v for k, v in annotations_of(deployment).items() if k != REVISION}
    spec = {k: v for k, v in (deployment.get("spec") or {}).items() if k != "replicas"}
    replicas = AUTOSCALED if autoscaled else (deployment.get("spec") or {}).get("replicas")
    return _Intent(replicas, spec, dict(labels_of(deployment)), annotations)


def _terminating(view: View, obj: Obj) -> bool:
    namespace = view.all("namespaces").get(obj["metadata"].get("namespace", ""))
    return namespace is None or deleting(namespace)


_MAY = {(SEVERAL.get(verb, verb), kind.plural) for verb, several in WRITTEN.items() for kind in several}
_ARM_KINDS = frozenset({"deployments", *ARM_PARTS})


class OnlyItsOwn(Invariant):
    """The operator writes nothing but its own objects, and routes: no target, and nobody else's autoscaler, Service or
    pod. What it may do to a route is other promises'."""

    def end(self) -> None:
        """Look at all deeds."""
        for deed in self.record.deeds:
            own = deed.name.startswith("tt-") if deed.kind in _ARM_KINDS else True
            if (deed.verb, deed.kind) not in _MAY or not own:
                self.broken(deed.at, str(deed))


class AutoscalerUntouched(Invariant):
    """An arm that an HPA or a PodDisruptionBudget of the target would count is never made."""

    kinds = frozenset({"deployments"})

    def see(self, change: Change) -> None:
        """An arm is made."""
        labels = labels_of(change.object)
        if change.type != "ADDED" or LABEL_ARM not in labels or self.view.is_copy(change.object):
            return
        if not self.view.all(AUTOSCALERS) and not self.view.all("poddisruptionbudgets"):
            return
        pods = change.object["spec"]["template"]["metadata"]["labels"]
        for name, other in self.view.all("deployments").items():
            wanted = other["spec"]["selector"].get("matchLabels") or {}
            if LABEL_ARM not in labels_of(other) and wanted and wanted.items() <= pods.items():
                self.broken(change.at, f"pods of arm {change.name} count as those of Deployment {name}")


class LeaderOnly(Invariant):
    """Only the holder of the lease starts something: a Trial or an arm."""

    kinds = frozenset({"leases"})

    def begin(self) -> None:
        self._holders: list[tuple[int, float, str, bool]] = []  # version, when, who, whether a hand did it

    def see(self, change: Change) -> None:
        """The operators' lease changed."""
        if change.name.startswith("trimtab-target-"):
            return
        holder = "" if change.type == "DELETED" else (change.object.get("spec") or {}).get("holderIdentity") or ""
        self._holders.append((change.version, change.at, holder, change.version in self.record.hands))

    def end(self) -> None:
        """Look at all deeds that start something."""
        for deed in self.record.deeds:
            if deed.verb == "create" and deed.kind in {"trials", "deployments"} and not self._led(deed):
                self.broken(deed.at, f"{deed} while another process leads")

    def _led(self, deed: Deed) -> bool:
        known = [each for each in self._holders if each[0] <= deed.version]
        if not known:
            return False
        if known[-1][2] == deed.process:
            return True
        moved = next((at for _, at, _, by_hand in reversed(known) if by_hand), None)
        return moved is not None and deed.at - moved <= BY_OWN_CLOCK


ARM_INVARIANTS = (
    NoStrayArm, OneCanary, NamesFollow, ForeignNoticed, DeadlineKept, NothingLeft, TargetUntouched, OnlyItsOwn,
    AutoscalerUntouched, LeaderOnly,
)  # fmt: skip
