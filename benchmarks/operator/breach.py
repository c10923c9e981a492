"""One forced breach of a live trial: from the moment when it can be known to no canary in the traffic.

What can be read from data is known from the first scrape at which a rule holds, see `replay`. What the API server says
of a container is known when the fault begins, which is before any scrape can show it. That nothing is seen is known
once the last sample is older than staleAfter.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.operator.live import CANARY, TERMINAL, Live
from benchmarks.operator.replay import first_satisfied, first_sign, unix_seconds
from benchmarks.operator.witness import Witness
from controlplane import ApiError, ControlPlaneError, WaitTimeout
from trimtab.simulate.history import Change, serving, views

CHECK_INTERVAL = 1.0
LIMIT = CHECK_INTERVAL + 5.0
API_LIMIT = 1.0  # of that, from the decision to no ready endpoint
STALE_AFTER = 10.0
EARLIEST = CHECK_INTERVAL + 1.0  # seconds: an interval and a scrape
TRIAL = {"warmUp": "1s", "duration": "40s", "deadline": "90s"}
LEAVING = frozenset({"Draining", *TERMINAL})


class NotForced(Exception):
    """The breach did not come about, or something else ended the trial: nothing was measured."""


class NotWithdrawn(Exception):
    """The breach was there, and the canary was not taken away for it."""


GROUND = (AssertionError, ApiError, ControlPlaneError, OSError)
"""What a failing test bench raises: a wait that timed out, a server or a process that is not there."""
FAILURES = (NotForced, NotWithdrawn, *GROUND)
"""What an attempt at a promise may end with, other than a measurement."""


def why(error: Exception) -> str:
    """For the table."""
    return f"{type(error).__name__}: {error}"


@dataclass(frozen=True)
class Kind:
    """A breach of the canary alone, and what it must be withdrawn for; without a `fault` Prometheus is stopped."""

    name: str
    fault: Mapping[str, Any]
    reasons: frozenset[str]
    from_data: bool = False
    phase: str = "Infeasible"

    @property
    def blinds(self) -> bool:
        """Whether it concerns every trial that this Prometheus serves."""
        return not self.fault


SLOW = Kind("slow-dependency", {"kind": "SlowDependency", "factor": 6.0}, frozenset({"AbortRule"}), from_data=True)
ERRORS = Kind(
    "error-burst", {"kind": "Errors", "errorPercent": 5}, frozenset({"AbortRule", "WorseThanControl"}), from_data=True
)
OOM = Kind("oom", {"kind": "OOM"}, frozenset({"OOMKilled"}))
CRASH_LOOP = Kind("crash-loop", {"kind": "CrashLoop"}, frozenset({"CrashLoop", "ReadinessLost"}))
BLIND = Kind("prometheus-stopped", {}, frozenset({"TelemetryBlind"}), phase="Inconclusive")
KINDS = (OOM, ERRORS, SLOW, CRASH_LOOP, BLIND)


@dataclass(frozen=True)
class Breach:
    """What was seen of one; times in unix seconds.

    Attributes:
        kind: its name.
        reason: for which the operator withdrew the canary.
        broken: when the fault began.
        known: from when on it can be known.
        scraped: the first scrape that shows it, None when the canary was gone before, or nothing was scraped.
        decided: when the operator decided, by the Trial's status.
        gone: when no endpoint of the canary was ready any more and its Deployment, which would make another, deleted.
        api_seconds: the Trial's `withdrawSeconds`, from the decision to no ready endpoint.
        evidence: what the Trial keeps of it.
    """

    kind: str
    reason: str
    broken: float
    known: float
    scraped: float | None
    decided: float
    gone: float
    api_seconds: float
    evidence: tuple[str, ...] = field(default=(), repr=False)

    @property
    def seconds(self) -> float:
        """What is promised to be at most LIMIT."""
        return self.gone - self.known

    @property
    def late(self) -> str:
        """Which promise was not kept, "" when all were."""
        if self.seconds > LIMIT:
            return f"gone {self.seconds:.2f} s after it could be known, the limit is {LIMIT:g} s"
        if self.api_seconds >= API_LIMIT:
            return f"no ready endpoint {self.api_seconds:.2f} s after the decision, the limit is {API_LIMIT:g} s"
        return ""

    @property
    def row(self) -> dict[str, Any]:
        """For JSON; seconds."""
        return {
            "reason": self.reason,
            "secondsFromData": round(self.seconds, 2),
            "secondsFromFault": round(self.gone - self.broken, 2),
            "secondsFromFaultToRecord": round(self.decided - self.broken, 2),
            "secondsFromFaultToScrape": None if self.scraped is None else round(self.scraped - self.broken, 2),
            "limitSeconds": LIMIT,
            "withdrawSeconds": self.api_seconds,
        }


def force(live: Live, kind: Kind, name: str) -> Breach:
    """Begin a trial of an Experiment of this name, break its canary, and watch until nothing of it is left.

    Raises:
        NotForced: with the reason in words.
        NotWithdrawn: likewise.
    """
    with Witness(live.stack.plane, live.namespace) as witness:
        measure(live, kind, name)
        with breaking(live, kind, name) as (broken, known):
            trial = withdrawn(live, kind, name)
        try:
            live.wait_ended(name)
            live.wait_nothing_left()
        except WaitTimeout as error:
            raise NotWithdrawn(str(error)) from error
        changes = witness.changes()
    gone, scraped = gone_since(changes), None
    if kind.from_data:
        scraped = first_satisfied(live, name, broken, gone)
        if scraped is None:
            raise NotForced("no rule holds in Prometheus' data")
        if not ready_until_withdrawn(changes):
            raise NotForced("the canary lost readiness, which is a reason by itself")
        known = scraped
    elif not kind.blinds:
        scraped = first_sign(live, name, broken, gone)
    found = _seen(kind, trial, broken, known, scraped, gone)
    # What the operator saw last may be older than the last sample, by a look.
    if found.seconds <= (-EARLIEST if kind.blinds else 0.0):
        raise NotForced(f"gone {-found.seconds:.2f} s before it could be known")
    return found


def _seen(
    kind: Kind, trial: Mapping[str, Any], broken: float, known: float, scraped: float | None, gone: float
) -> Breach:
    status = trial["status"]
    seconds = status.get("withdrawSeconds")
    if seconds is None:
        raise NotForced("the Trial does not say how long its withdrawal took")
    decided, reason = unix_seconds(status["times"]["draining"]), status["outcome"]["reason"]
    evidence = tuple(status.get("evidence") or ())
    return Breach(kind.name, reason, broken, known, scraped, decided, gone, seconds, evidence)


def measure(live: Live, kind: Kind, name: str) -> None:
    """Create an Experiment, and wait until its trial measures."""
    safety = {"staleAfter": f"{STALE_AFTER:g}s"} if kind.blinds else {}
    live.create(name, trial=TRIAL, safety=safety)
    try:
        live.wait_trial(name, frozenset({"Measuring"}))
    except WaitTimeout as error:
        raise NotForced(str(error)) from error


@contextlib.contextmanager
def breaking(live: Live, kind: Kind, name: str) -> Iterator[tuple[float, float]]:
    """The canaries of this namespace break, until the block ends. Yields when they broke, and from when on that can be
    known where it is not read from data (unix seconds)."""
    broken = time.time()
    if kind.blinds:
        pods = f'http_requests_total{{namespace="{live.namespace}",pod=~"tt-[0-9a-f]+-[0-9]+-c-.*"}}'
        last = live.stack.prometheus.value(f"max(timestamp({pods}))")
        if last is None:
            raise NotForced("Prometheus never saw the canary")
        live.stack.prometheus.kill()
        try:
            yield broken, last + STALE_AFTER
        finally:
            live.stack.prometheus.restart()
    else:
        live.stack.playground.fault(name=name, selector=CANARY, namespace=live.namespace, **kind.fault)
        try:
            yield broken, broken
        finally:
            live.stack.playground.clear(name)


def withdrawn(live: Live, kind: Kind, name: str) -> dict[str, Any]:
    """Wait until the trial is on its way out, for a reason of this kind; returns it."""
    try:
        trial = live.wait_trial(name, LEAVING)
    except WaitTimeout as error:
        raise NotWithdrawn(str(error)) from error
    outcome = trial["status"].get("outcome") or {}
    phase, reason = outcome.get("phase"), outcome.get("reason")
    if phase == "Succeeded" or not outcome:
        raise NotWithdrawn("its trial was measured to the end")
    if phase != kind.phase or reason not in kind.reasons:
        raise NotForced(f"the trial ended as {phase} for {reason}: {outcome.get('message')}")
    return trial


def gone_since(changes: Sequence[Change]) -> float:
    """When the last ready endpoint of a canary had gone for good, and the last of their Deployments been deleted."""
    served, last = False, 0.0
    for change, world in views(changes):
        now = bool(serving(world))
        if served and not now:
            last = change.at
        served = now
        if change.kind == "deployments" and change.type == "DELETED" and change.name.endswith("-c"):
            last = max(last, change.at)
    if not last:
        raise NotForced("no canary ever served")
    if served:
        raise NotWithdrawn("a canary serves still")
    return last


def ready_until_withdrawn(changes: Sequence[Change]) -> bool:
    """Whether no pod of a canary, once ready, was seen unready before its deletion."""
    ready: set[str] = set()
    for change in changes:
        pod = change.object
        if change.kind != "pods" or change.type == "DELETED" or "deletionTimestamp" in pod["metadata"]:
            continue
        if "-c-" not in change.name:
            continue
        conditions = {c["type"]: c["status"] for c in pod.get("status", {}).get("conditions", ())}
        if conditions.get("Ready") == "True":
            ready.add(change.name)
        elif change.name in ready:
            return False
    return True


__all__ = [
    "API_LIMIT", "BLIND", "CHECK_INTERVAL", "CRASH_LOOP", "ERRORS", "FAILURES", "GROUND", "KINDS", "LIMIT", "OOM",
    "SLOW", "TRIAL", "Breach", "Kind", "NotForced", "NotWithdrawn", "breaking", "force", "gone_since", "measure", "why",
    "withdrawn",
]  # fmt: skip
