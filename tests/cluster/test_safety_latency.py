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


CASES = (
    Case("slow-dependency", {"kind": "SlowDependency", "factor": 6.0}, frozenset({"AbortRule"})),
    Case("error-burst", {"kind": "Errors", "errorPercent": 5}, frozenset(DATA_RULES)),
    Case("oom", {"kind": "OOM"}, frozenset({"OOMKilled"}), from_data=False),
)


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
    with live.explained(case.name), Witness(live.stack.plane, live.namespace) as witness:
        live.create(case.name, trial={"warmUp": "1s", "duration": "40s", "deadline": "90s"})
        live.wait_trial(case.name, frozenset({"Measuring"}))
        broken = time.time()
        live.stack.playground.fault(name=case.name, selector=CANARY, **case.fault)
        trial = live.wait_trial(case.name, frozenset({"Draining", *TERMINAL}))
        live.stack.playground.clear(case.name)
        live.wait_ended(case.name)
        live.wait_nothing_left()

        outcome = trial["status"]["outcome"]
        assert outcome["reason"] in case.reasons
        assert outcome["phase"] == "Infeasible"
        assert trial["status"]["evidence"]
        changes = witness.changes()
        silent = _silent_since(changes)
        # What the API server says of a container is known at the earliest when the fault begins.
        first = _first_satisfied(live, case.name, broken, silent) if case.from_data else broken
        row = {
            "reason": outcome["reason"],
            "secondsFromData": round(silent - first, 2),
            "secondsFromFault": round(silent - broken, 2),
            "secondsFromFaultToRecord": round(_seconds(trial["status"]["times"]["draining"]) - broken, 2),
            "limitSeconds": LIMIT,
            "withdrawSeconds": trial["status"]["withdrawSeconds"],
        }
        figures.rows[case.name] = row
        print(f"\n{case.name}: {json.dumps(row)}")
        assert 0 < silent - first <= LIMIT
        if case.from_data:
            assert _ready_until_withdrawn(changes), (
                "the canary lost readiness, which would have been a reason by itself"
            )
    live.remove(case.name)


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
    data = {
        (sli, arm): tuple(_counter(live, query, arm, silent) for query in queries)
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


def _counter(live: Live, query: str, arm: str, until: float) -> Points:
    """Raw samples of all series of an arm, added up."""
    pods = f'namespace="{live.namespace}",pod=~"tt-[0-9a-f]+-[0-9]+-{arm}-.*"'
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
