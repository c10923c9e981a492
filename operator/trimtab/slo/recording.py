"""Recording rules that keep the long windows of error budgets cheap, and how their sums are asked for. Pure.

A window of 30 days over the raw counters of every pod reads each of their samples. A rule that counts the events of
each five minutes leaves one sample for them, whatever the number of pods; their sum over a window is the same number,
up to what `increase` guesses at the edges of its ranges and up to five minutes at the window's ends.

The series of one pair of selectors is known by their digest, so that neither two Experiments, nor the SLI before and
after an edit, nor another spelling of a preset can be taken for each other. What nobody records costs one small
question now and then.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from trimtab.domain.spec import ExperimentSpec
from trimtab.ports import PodSet
from trimtab.slo.counters import Counters, counters_of
from trimtab.slo.promql import quoted
from trimtab.slo.series import Series

INTERVAL = 300  # seconds that one recorded sample counts
METRIC = "trimtab:sli_events:increase5m"
QUERY, PART, BAD, TOTAL = "query", "part", "bad", "total"
RECORDED_LEAST = 86400.0  # seconds; in a shorter window five minutes at its ends would be seen
# Samples that a window may lack: what happened meanwhile is in the raw counters alone, so it must not be much.
MISSING, MISSING_MOST = 0.005, 6
RECENT = 3 * INTERVAL
RECENT_SAMPLES = 2
TOLERANCE = 0.01
"""By how much a recorded sum may differ from that of the raw counters, of its value; what happened in the five minutes
at either end of the window comes on top."""


def digest(counters: Counters) -> str:
    """Identifies what is counted: the selectors with namespace and pods in them, and how."""
    text = json.dumps([counters.part, counters.total, counters.good, INTERVAL])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def rule_group(namespace: str, experiment: str, spec: ExperimentSpec) -> dict[str, Any]:
    """The rule group of one Experiment, as below `groups:` in a rule file; without rules when no budget needs any."""
    names = dict.fromkeys(b.sli for b in spec.budgets)
    pods = PodSet(namespace, (spec.target.name,))
    rules = [
        rule
        for name in names
        for counters in counters_of(spec.sli(name).query, pods)
        if not counters.native  # its one series is as cheap as what a rule would leave of it
        for rule in _rules(counters, {"namespace": namespace, "experiment": experiment, "sli": name})
    ]
    return {"name": f"trimtab-{namespace}-{experiment}", "interval": f"{INTERVAL}s", "rules": rules}


def _rules(counters: Counters, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    whole, part = (f"sum(increase({c}[{INTERVAL}s]))" for c in (counters.total, counters.part))
    # Without a single error there is no series of errors, which is none and not unknown; a bucket that is not there is.
    bad = f"clamp_min({whole} - {part}, 0)" if counters.good else f"{part} or 0 * {whole}"
    known = {**labels, QUERY: digest(counters)}
    return [
        {"record": METRIC, "expr": expression, "labels": {**known, PART: name}}
        for name, expression in ((BAD, bad), (TOTAL, whole))
    ]


# Reading


def recent_query(counters: Counters) -> str:
    """How many samples of late: tells at little cost whether anybody records these counters."""
    return f"count_over_time({_series(counters)}[{RECENT}s])"


def count_query(counters: Counters, seconds: float) -> str:
    """How many samples in a window."""
    return f"count_over_time({_series(counters)}[{math.ceil(seconds)}s])"


def sum_query(counters: Counters, seconds: float) -> str:
    """How many events in a window."""
    return f"sum_over_time({_series(counters)}[{math.ceil(seconds)}s])"


def _series(counters: Counters) -> str:
    return f"{METRIC}{{{QUERY}={quoted(digest(counters))}}}"


@dataclass(frozen=True)
class Sums:
    """Events of a window."""

    bad: float
    total: float


Identity = tuple[tuple[str, str], ...]


def recorders(recent: Iterable[Series]) -> frozenset[Identity]:
    """Who records both parts now: a rule file of one Experiment, or the same one on each server of a pair."""
    counts = _by_identity(recent)
    return frozenset(
        identity
        for identity, parts in counts.items()
        if all(RECENT_SAMPLES <= parts.get(p, 0.0) <= RECENT / INTERVAL + 1 for p in (BAD, TOTAL))
    )


def recorded_sums(
    counted: Iterable[Series], summed: Iterable[Series], seconds: float, known: frozenset[Identity]
) -> Sums | None:
    """The sums of one recorder whose samples cover the window; None when none does.

    More samples than the window has intervals are as wrong as too few: then two rules write one series.
    """
    expected, counts, sums = seconds / INTERVAL, _by_identity(counted), _by_identity(summed)
    least = math.floor(expected) - min(MISSING * expected, MISSING_MOST)
    for identity in sorted(known & counts.keys() & sums.keys()):
        whole = all(least <= counts[identity].get(p, 0.0) <= math.ceil(expected) + 1 for p in (BAD, TOTAL))
        found = [sums[identity].get(p, math.nan) for p in (BAD, TOTAL)]
        if whole and all(math.isfinite(v) and v >= 0 for v in found):
            return Sums(min(found[0], found[1]), found[1])
    return None


def _by_identity(rows: Iterable[Series]) -> dict[Identity, dict[str, float]]:
    """Last value by part, for each set of the other labels."""
    found: dict[Identity, dict[str, float]] = {}
    for row in rows:
        if row.points:
            identity = tuple((k, v) for k, v in row.labels if k not in (PART, "__name__"))
            found.setdefault(identity, {})[row.label(PART)] = row.points[-1][1]
    return found


__all__ = [
    "BAD",
    "INTERVAL",
    "METRIC",
    "PART",
    "QUERY",
    "RECORDED_LEAST",
    "TOLERANCE",
    "TOTAL",
    "Sums",
    "count_query",
    "digest",
    "recent_query",
    "recorded_sums",
    "recorders",
    "rule_group",
    "sum_query",
]
