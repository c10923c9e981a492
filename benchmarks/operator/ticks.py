"""How late the safety loop's ticks begin while four fits run, by the operator's own histogram.

The operator is `benchmarks.operator.fitting`. A trial lives in each namespace with a checkInterval of a second, so that
each tick reads arms, Trials and Experiments from the API server and begins looks at Prometheus.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.operator.breach import CHECK_INTERVAL
from benchmarks.operator.fitting import DONE, FITS
from benchmarks.operator.live import Live, leading, phase_of
from benchmarks.operator.shown import Say, Shown
from controlplane import wait_for
from stack import OperatorProcess, Stack
from stack.paths import PYTHONPATH, ROOT

LATENESS = "trimtab_safety_tick_lateness_seconds"
LIMIT, SHARE = 1.0, 0.99
ENOUGH = 300  # ticks
PATIENCE = 3.0  # times as long as the ticks should take
TRIAL = {"warmUp": "1s", "duration": "1h", "deadline": "2h"}  # as long as this lasts
BUSY = 0.9  # of the fits that should run at once; the rest goes by between two of them
NAME = "ticks"


@dataclass(frozen=True)
class Histogram:
    """Counts by upper bound (seconds), each with all that are below."""

    counts: Mapping[float, float]

    @property
    def total(self) -> float:
        """How many were observed."""
        return self.counts.get(float("inf"), 0.0)

    def since(self, before: Histogram) -> Histogram:
        """What was observed after another reading."""
        return Histogram({le: count - before.counts.get(le, 0.0) for le, count in self.counts.items()})

    def bound(self, share: float) -> float:
        """The least bound (seconds) that at least this share of them kept; infinite when that is no bucket's."""
        return min((le for le, count in self.counts.items() if count >= share * self.total), default=float("inf"))


def histogram(page: str, name: str) -> Histogram:
    """A histogram without labels of its own on a metrics page, without any count when it is not there."""
    samples = (s for f in text_string_to_metric_families(page) if f.name == name for s in f.samples)
    return Histogram({float(s.labels["le"]): s.value for s in samples if s.name == f"{name}_bucket"})


def at_once(lines: Iterable[Mapping[str, Any]], begun: float, ended: float) -> tuple[float, int]:
    """How many fits ran at once between two moments, on average, and how many ended, those that were lost left out."""
    if ended <= begun:  # one of them ended nothing meanwhile
        return 0.0, 0
    done = [x for x in lines if x.get("event") == DONE and not x["lost"]]
    busy = sum(max(0.0, min(x["ended"], ended) - max(x["begun"], begun)) for x in done)
    return busy / (ended - begun), sum(begun < x["ended"] <= ended for x in done)


def measure(stack: Stack, lives: Sequence[Live], ticks: int, say: Say) -> Shown:
    """A trial in each namespace, and so many ticks of the operator with four fits."""
    environment = {"PYTHONPATH": f"{PYTHONPATH}:{ROOT}"}
    with leading(stack, "fitting", environment, module="benchmarks.operator.fitting") as operator:
        for live in lives:
            live.create(NAME, trial=TRIAL)
        for live in lives:
            with live.explained(NAME):
                live.wait_trial(NAME, frozenset({"Measuring"}))
        wait_for(lambda: _fits_begun(operator) == FITS, f"{FITS} fits to have ended once", seconds=180.0)
        say(f"{len(lives)} trials are measured and {FITS} fits run: {ticks} ticks to come")
        found = _watched(operator, ticks)
        ended = [f"{live.namespace} {p}" for live in lives if (p := phase_of(live.trials(NAME)[-1])) != "Measuring"]
        for live in lives:
            live.remove(NAME)
            live.wait_nothing_left()
    return shown(*found, len(lives), ticks, ended)


def _fits_begun(operator: OperatorProcess) -> int:
    return len({line["fit"] for line in operator.log_lines() if line.get("event") == DONE})


def _watched(operator: OperatorProcess, ticks: int) -> tuple[Histogram, float, int]:
    """The lateness of so many ticks or more, how many fits ran at once meanwhile, and how many ended."""
    page = wait_for(lambda: operator.get("/metrics"), "the operator's metrics")
    before, begun = histogram(page, LATENESS), _last_fit(operator)
    seen: list[Histogram] = []

    def enough() -> bool:
        page = operator.get("/metrics")  # "" while it does not answer
        if page:
            seen[:] = [histogram(page, LATENESS).since(before)]
        return bool(seen) and seen[0].total >= ticks

    seconds = ticks * CHECK_INTERVAL
    wait_for(enough, f"{ticks} ticks", seconds=PATIENCE * seconds + 30.0, interval=1.0)
    return seen[0], *at_once(operator.log_lines(), begun, _last_fit(operator))


def _last_fit(operator: OperatorProcess) -> float:
    """When the last fit that is on record began: later ones may not be yet."""
    lines = (x for x in operator.log_lines() if x.get("event") == DONE)
    last: dict[int, float] = {}
    for line in lines:
        last[_fit(line)] = max(float(line["begun"]), last.get(_fit(line), 0.0))
    return min(last.values())


def _fit(line: Mapping[str, Any]) -> int:
    return int(line["fit"])


def shown(lateness: Histogram, fits: float, ended: int, trials: int, ticks: int, over: Sequence[str]) -> Shown:
    """What it came to: kept when there were enough ticks, with the fits and the trials all the while."""
    p50, p99, most = (lateness.bound(share) for share in (0.5, SHARE, 1.0))
    lines = [
        f"{lateness.total:.0f} ticks over {trials} live trials, {fits:.1f} fits at once ({ended} ended): "
        f"late by at most {p50:g} s (p50), {p99:g} s (p99), {most:g} s (max); bounds of the histogram's buckets",
    ]
    lines += [f"NOT FORCED: only {fits:.1f} of {FITS} fits ran at once"] if fits < BUSY * FITS else []
    lines += [f"NOT FORCED: a trial was over before the ticks were: {', '.join(over)}"] if over else []
    late = lateness.counts.get(LIMIT, 0.0) < SHARE * lateness.total
    lines += [f"LATE: p99 is {p99:g} s, the limit is {LIMIT:g} s"] if late else []
    document = {
        "ticks": lateness.total, "trials": trials, "fitsAtOnce": round(fits, 2), "fits": ended,
        "p50": p50, "p99": p99, "max": most, "limitSeconds": LIMIT,
    }  # fmt: skip
    kept = len(lines) == 1 and lateness.total >= ticks
    return Shown("lateness of safety ticks while four fits run", "\n".join(lines), kept, document)


__all__ = ["ENOUGH", "Histogram", "at_once", "histogram", "measure", "shown"]
