"""The service burns half of its error budget by itself: every trial goes within a tick, and others begin by themselves.

The target's own pods answer with errors, the arms do not. In each namespace a trial is live then. The gate clears once
the window has stayed below 0.8 x its limit for 15 minutes, and nobody waits less than that here.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from benchmarks.operator.breach import FAILURES, LEAVING, LIMIT, NotForced, NotWithdrawn, gone_since, why
from benchmarks.operator.live import REPLICAS, Live, phase_of
from benchmarks.operator.replay import Points, each_series, increase, unix_seconds
from benchmarks.operator.shown import Say, Shown
from benchmarks.operator.witness import Witness
from controlplane import WaitTimeout, wait_for
from trimtab.domain.names import pod_pattern
from trimtab.slo.budget import BURNING, CLEAR_SECONDS

NAME = "burn"
BAD = 0.001  # 1 - objective
WHOLE, WINDOW, FRACTION = 6 * 3600.0, 120.0, 0.5  # seconds of the budget and of pauseOnBurn; what may go within that
ERROR_PERCENT = 50  # of the target's pods' answers: half of the budget is gone after half a minute
AFTER = 180.0  # seconds within which a trial measures again once it may
BUDGET = {
    "name": "availability",
    "sli": "errors",
    "objectivePercent": "99.9",
    "window": f"{WHOLE:.0f}s",
    "experimentSharePercent": "50",
    "startAbovePercent": "5",
    "pauseOnBurn": {"percent": f"{100 * FRACTION:g}", "window": f"{WINDOW:.0f}s"},
    "rollbackOnBurnRate": [],
}


@dataclass(frozen=True)
class Burn:
    """One service's; seconds, None with the reason when nothing was measured.

    Attributes:
        gone: from the scrape with which half of the budget is gone to no canary.
        resumed: from the end of the errors to the next trial that measures.
    """

    namespace: str
    gone: float | None = None
    resumed: float | None = None
    why: str = ""

    @property
    def kept(self) -> bool:
        """Whether it was paused in time, and not resumed too soon."""
        return self.gone is not None and self.gone <= LIMIT and not self.why

    @property
    def row(self) -> dict[str, Any]:
        """For JSON."""
        return {"goneSeconds": self.gone, "resumedSeconds": self.resumed, "limitSeconds": LIMIT, "why": self.why}


def run(lives: Sequence[Live], say: Say) -> Shown:
    """Burn all services' budgets at once."""
    with ThreadPoolExecutor(len(lives)) as threads:
        found = list(threads.map(lambda live: _attempt(live, say), lives))
    return shown(found)


def _attempt(live: Live, say: Say) -> Burn:
    try:
        return _burn(live, say)
    except FAILURES as error:
        say(live.report(NAME))
        return Burn(live.namespace, why=why(error))


def _burn(live: Live, say: Say) -> Burn:
    with Witness(live.stack.plane, live.namespace) as witness:
        trial = {"warmUp": "1s", "duration": "5m", "deadline": "10m"}
        safety, stopping = {"staleAfter": "10s"}, {"maxTrials": 5}
        live.create(NAME, trial=trial, safety=safety, stopping=stopping, errorBudgets=[BUDGET])
        live.wait_trial(NAME, frozenset({"Measuring"}))
        begun = time.time()
        fault = f"{NAME}-{live.namespace}"
        live.stack.playground.fault(
            name=fault, kind="Errors", errorPercent=ERROR_PERCENT, namespace=live.namespace, selector=_own(live)
        )
        try:
            first = live.wait_trial(NAME, LEAVING)
        except WaitTimeout as error:
            raise NotWithdrawn(str(error)) from error
        finally:
            live.stack.playground.clear(fault)
            mended = time.time()
        outcome = first["status"].get("outcome") or {}
        if (outcome.get("phase"), outcome.get("reason")) != ("Aborted", BURNING):
            raise NotForced(f"the trial ended as {outcome.get('phase')} for {outcome.get('reason')}")
        wait_for(lambda: not live.arms(), "every arm to be gone", seconds=60.0)
        gone = gone_since(witness.changes())
    known = _half_gone(live, begun, gone)
    if known is None:
        raise NotForced("Prometheus' data show no half of the budget burned")
    say(f"{live.namespace}: gone {gone - known:.2f} s after half of the budget was; it clears for {CLEAR_SECONDS:g} s")
    resumed = unix_seconds(_next(live, int(first["spec"]["index"]))["status"]["times"]["measuring"]) - mended
    why = f"resumed {resumed:.0f} s after the errors" if resumed < CLEAR_SECONDS else ""
    return Burn(live.namespace, round(gone - known, 2), round(resumed, 1), why)


def _own(live: Live) -> dict[str, str]:
    """Labels that the target's pods have and the arms, which are made from the same template, have not."""
    pods = live.client.list("v1", "Pod", live.namespace, labels="!trimtab.dev/arm,pod-template-hash")
    hashes = {pod["metadata"]["labels"]["pod-template-hash"] for pod in pods}
    if len(pods) != REPLICAS or len(hashes) != 1:
        raise NotForced(f"{len(pods)} pods of {len(hashes)} ReplicaSets in place of {REPLICAS} of one")
    return {"pod-template-hash": hashes.pop()}


def _next(live: Live, before: int) -> dict[str, Any]:
    """The next trial, once it measures; the Experiment must say meanwhile that it waits for the budget."""

    def condition() -> bool:
        conditions = (live.find(NAME).get("status") or {}).get("conditions") or ()
        return any(c["type"] == "BudgetAvailable" and c["reason"] == BURNING for c in conditions)

    def measuring() -> dict[str, Any] | None:
        newest = live.trials(NAME)[-1]
        return newest if int(newest["spec"]["index"]) > before and phase_of(newest) == "Measuring" else None

    wait_for(condition, "the Experiment to say that the budget burns", seconds=60.0)
    seconds = WINDOW + CLEAR_SECONDS + AFTER
    return wait_for(measuring, "a trial to begin by itself", seconds=seconds, interval=2.0)


def _half_gone(live: Live, begun: float, until: float) -> float | None:
    """The first scrape with which the window holds more than half of what the whole budget allows (unix seconds)."""
    prometheus = live.stack.prometheus
    pods = f'namespace="{live.namespace}",pod=~"{pod_pattern(("web",))}"'
    total = prometheus.value(f"sum(increase(http_requests_total{{{pods}}}[{WHOLE:.0f}s]))", begun)
    span = f"{2 * WINDOW:.0f}s"  # so that each window begins within it
    bad = each_series(prometheus, f'http_requests_total{{{pods},code=~"5.."}}', until, span)
    if total is None:
        raise NotForced("Prometheus never saw the service")
    return half_gone(bad, begun, FRACTION * BAD * total)


def half_gone(bad: Sequence[Points], begun: float, limit: float) -> float | None:
    """The first sample after `begun` with which the last WINDOW seconds hold more bad events than the limit."""
    scrapes = sorted({t for points in bad for t, _ in points if t > begun})
    return next((t for t in scrapes if sum(increase(p, (t - WINDOW, t)) for p in bad) > limit), None)


def shown(found: Sequence[Burn]) -> Shown:
    """What they came to."""
    kept = sum(b.kept for b in found)
    lines = [f"{kept} of {len(found)} kept: every canary gone within {LIMIT:g} s, the next trial by itself"]
    for each in found:
        if each.gone is None:
            lines.append(f"NOT FORCED, or not paused or resumed: {each.namespace}: {each.why}")
        else:
            words = f"gone after {each.gone:.2f} s, measuring again {each.resumed:.0f} s after the errors ended"
            lines.append(f"{'kept' if each.kept else 'LATE'}: {each.namespace}: {words} {each.why}".rstrip())
    every = bool(found) and kept == len(found)
    return Shown("half of the budget burned by the service itself", "\n".join(lines), every, _rows(found))


def _rows(found: Sequence[Burn]) -> dict[str, Any]:
    return {b.namespace: b.row for b in found}


__all__ = ["Burn", "run", "shown"]
