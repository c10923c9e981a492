"""From the moment when the data first satisfy a rule to no ready canary endpoint: one checkInterval and five seconds.

That moment is found after the fact, by replaying the rules over the same counters in Prometheus. The operator's windows
begin when its arms were ready; the replay lets them end at every scrape, allows nothing for errors that come in
clusters, and takes the earliest moment at which any rule holds: what is measured is never less than what it took.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from benchmarks.operator.live import CANARY, TERMINAL, Live, live_stack
from benchmarks.operator.witness import Witness

from controlplane import ControlPlane
from stack.paths import ROOT
from trimtab.domain.measurement import Sample
from trimtab.simulate.history import Change, serving, views
from trimtab.slo.aborting import BEYOND_DOUBT
from trimtab.slo.estimate import interval, ratio_sample
from trimtab.slo.sequential import ALPHA, EProcess, LimitProcess

CHECK_INTERVAL = 1.0
LIMIT = CHECK_INTERVAL + 5.0
WINDOW = 2.0  # the longer of checkInterval and two scrapes
BREACHES, OUT_OF, CONFIDENCE = 3, 4, 0.95
DATA_RULES = {"AbortRule", "WorseThanControl"}
BOUNDS = {"slow": 0.05, "errors": 0.001}
SLO_BAD = 0.001  # 1 - objective
BAD_AND_TOTAL = {
    "slow": ('http_request_duration_seconds_bucket{%s,le="0.1"}', 'http_request_duration_seconds_bucket{%s,le="+Inf"}'),
    "errors": ('http_requests_total{%s,code=~"5.."}', "http_requests_total{%s}"),
}


@dataclass(frozen=True)
class Case:
    """A fault of the canary alone, and what it must be withdrawn for."""

    name: str
    fault: dict[str, Any]
    reasons: frozenset[str]
    from_data: bool = True
    phase: str = "Infeasible"


CASES = (
    Case("slow-dependency", {"kind": "SlowDependency", "factor": 6.0}, frozenset({"AbortRule"})),
    Case("error-burst", {"kind": "Errors", "errorPercent": 5}, frozenset(DATA_RULES)),
    Case("oom", {"kind": "OOM"}, frozenset({"OOMKilled"}), from_data=False),
)
BLIND = Case("prometheus-stopped", {}, frozenset({"TelemetryBlind"}), from_data=False, phase="Inconclusive")
EVERY = (
    *CASES,
    Case("crash-loop", {"kind": "CrashLoop"}, frozenset({"CrashLoop", "ReadinessLost"}), from_data=False),
    BLIND,
)
ROUNDS = 6  # of the long form: thirty breaches
STALE_AFTER = 10.0
EARLIEST = CHECK_INTERVAL + 1.0  # seconds: an interval and a scrape


@dataclass
class Figures:
    """What was measured, for a person to read."""

    rows: dict[str, dict[str, Any]] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.rows, indent=2) + "\n")


@pytest.fixture(scope="module")
def live(controlplane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """One stack and one operator for all cases."""
    with live_stack(controlplane, tmp_path_factory.mktemp("latency"), "latency") as found:
        found.operator()
        yield found


@pytest.fixture(scope="module")
def figures() -> Iterator[Figures]:
    """Written once all cases were measured."""
    found = Figures()
    yield found
    found.write(ROOT / "build" / "safety-latency.json")


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_a_bad_canary_is_withdrawn_in_time(live: Live, figures: Figures, case: Case) -> None:
    _breach(live, figures, case, case.name)


@pytest.mark.long
@pytest.mark.parametrize("number", range(1, ROUNDS + 1))
@pytest.mark.parametrize("case", EVERY, ids=lambda c: c.name)
def test_thirty_forced_breaches(live: Live, figures: Figures, case: Case, number: int) -> None:
    _breach(live, figures, case, f"{case.name}-{number}")


def _breach(live: Live, figures: Figures, case: Case, name: str) -> None:
    """Begin a trial, break its canary, and measure until no ready endpoint of it is left."""
    with live.explained(name), Witness(live.stack.plane, live.namespace) as witness:
        safety = {"staleAfter": f"{STALE_AFTER:g}s"} if case is BLIND else {}
        live.create(name, trial={"warmUp": "1s", "duration": "40s", "deadline": "90s"}, safety=safety)
        live.wait_trial(name, frozenset({"Measuring"}))
        broken, first = _break(live, case)
        try:
            trial = live.wait_trial(name, frozenset({"Draining", *TERMINAL}))
        finally:
            _mend(live, case)
        live.wait_ended(name)
        live.wait_nothing_left()

        outcome = trial["status"]["outcome"]
        assert outcome["reason"] in case.reasons
        assert outcome["phase"] == case.phase
        assert trial["status"]["evidence"]
        changes = witness.changes()
        silent = _silent_since(changes)
        first = _first_satisfied(live, name, broken, silent) if case.from_data else first
        row = {
            "reason": outcome["reason"],
            "secondsFromData": round(silent - first, 2),
            "secondsFromFault": round(silent - broken, 2),
            "secondsFromFaultToRecord": round(_seconds(trial["status"]["times"]["draining"]) - broken, 2),
            "limitSeconds": LIMIT,
            "withdrawSeconds": trial["status"]["withdrawSeconds"],
        }
        figures.rows[name] = row
        print(f"\n{name}: {json.dumps(row)}")
        # What the operator saw last may be older than the last sample, by a look.
        assert (-EARLIEST if case is BLIND else 0) < silent - first <= LIMIT
        if case.from_data:
            assert _ready_until_withdrawn(changes), (
                "the canary lost readiness, which would have been a reason by itself"
            )
    live.remove(name)


def _break(live: Live, case: Case) -> tuple[float, float]:
    """When the canary breaks, and from when on that can be known where it is not read from data (unix seconds): what
    the API server says of a container when the fault begins, and that nothing is seen when the last sample is old."""
    broken = time.time()
    if case is not BLIND:
        live.stack.playground.fault(name=case.name, selector=CANARY, **case.fault)
        return broken, broken
    pods = f'http_requests_total{{namespace="{live.namespace}",pod=~"tt-[0-9a-f]+-[0-9]+-c-.*"}}'
    last = live.stack.prometheus.value(f"max(timestamp({pods}))")
    live.stack.prometheus.kill()
    assert last is not None
    return broken, last + STALE_AFTER


def _mend(live: Live, case: Case) -> None:
    if case is BLIND:
        live.stack.prometheus.restart()
    else:
        live.stack.playground.clear(case.name)


def _silent_since(changes: list[Change]) -> float:
    """When the last ready endpoint of a canary went away for good."""
    served, last = False, 0.0
    for change, world in views(changes):
        now = bool(serving(world))
        if served and not now:
            last = change.at
        served = now
    assert last, "no canary ever served"
    assert not served, "a canary serves still"
    return last


def _ready_until_withdrawn(changes: list[Change]) -> bool:
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


# The replay


Points = list[tuple[float, float]]


def _first_satisfied(live: Live, name: str, broken: float, silent: float) -> float:
    """The first scrape after the fault at which the abort rule or the sequential test holds."""
    begun = live.trials(name)[-1]["status"]["window"]["start"]
    uid = live.find(name)["metadata"]["uid"][:8]  # arms of the trial before are in Prometheus, too, and end
    data = {
        (sli, arm): tuple(_counter(live, query, f"tt-{uid}-[0-9]+-{arm}-.*", silent) for query in queries)
        for sli, queries in BAD_AND_TOTAL.items()
        for arm in ("c", "b")
    }
    scrapes = [t for t, _ in data["slow", "c"][1] if t > broken]
    for moment in scrapes:
        windows = _windows(_seconds(begun), moment)
        if any(_aborts(data[sli, "c"], bound, windows, sli) for sli, bound in BOUNDS.items()):
            return moment
        if _worse(data["errors", "c"], data["errors", "b"], windows):
            return moment
    raise AssertionError(f"no rule holds in Prometheus' data: {scrapes}")


def _seconds(text: Any) -> float:
    return datetime.fromisoformat(str(text).replace("Z", "+00:00")).timestamp()


def _windows(begun: float, moment: float) -> list[tuple[float, float]]:
    """Back to back, the last one ending at `moment`, oldest first."""
    count = math.floor((moment - begun) / WINDOW)
    return [(moment - (k + 1) * WINDOW, moment - k * WINDOW) for k in reversed(range(count))]


def _counter(live: Live, query: str, pattern: str, until: float) -> Points:
    """Raw samples of all series of an arm's pods, added up."""
    pods = f'namespace="{live.namespace}",pod=~"{pattern}"'
    total: dict[float, float] = {}
    for series in live.stack.prometheus.query(f"{query % pods}[90s]", until + 1.0):
        for at, value in series["values"]:
            total[float(at)] = total.get(float(at), 0.0) + float(value)
    return sorted(total.items())


def _increase(points: Points, window: tuple[float, float]) -> float:
    """Events in (start, end]: the counter at its end less the counter at its start, 0 before its first sample."""
    start, end = (next((v for t, v in reversed(points) if t <= edge), 0.0) for edge in window)
    return end - start


def _counts(arm: tuple[Points, ...], window: tuple[float, float], sli: str) -> tuple[float, float]:
    first, total = (_increase(points, window) for points in arm)
    return (total - first if sli == "slow" else first), total


def _aborts(arm: tuple[Points, ...], bound: float, windows: list[tuple[float, float]], sli: str) -> bool:
    counts = [_counts(arm, window, sli) for window in windows[-OUT_OF:]]
    samples = [ratio_sample([bad], [total]) for bad, total in counts]
    broken = sum(isinstance(s, Sample) and interval(s, CONFIDENCE)[0] > bound for s in samples)
    together = ratio_sample([sum(bad for bad, _ in counts)], [sum(total for _, total in counts)])
    return broken >= BREACHES and isinstance(together, Sample) and interval(together, BEYOND_DOUBT)[0] > bound


def _worse(canary: tuple[Points, ...], control: tuple[Points, ...], windows: list[tuple[float, float]]) -> bool:
    test, limit = EProcess(phi=1.0), LimitProcess(SLO_BAD, phi=1.0)
    for window in windows:
        bad, total = _counts(canary, window, "errors")
        test, limit = test.add(bad, total, *_counts(control, window, "errors")), limit.add(bad, total)
    return test.rejects(ALPHA) and limit.rejects(ALPHA)
