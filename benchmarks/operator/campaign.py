"""Many forced breaches, in several namespaces at once, and the table of them.

A breach that could not be forced is told and counts as nothing: neither kept nor late. Where a namespace cannot be
cleaned afterwards nothing more is forced in it. Prometheus is stopped for one trial after the other, nothing beside.
"""

from __future__ import annotations

import queue
import statistics
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from benchmarks.operator.breach import GROUND, KINDS, Breach, Kind, NotForced, NotWithdrawn, force
from benchmarks.operator.live import Live
from benchmarks.operator.shown import Say, Shown
from controlplane import ApiError

HEAD = (
    "| breach | kept | known to gone, s: median | max | decided after, s: median | max | API part, s: median | max "
    "| fault to gone, s: median | max |"
)


class Verdict(StrEnum):
    """What a breach came to."""

    KEPT = "kept"
    LATE = "LATE"
    NOT_FORCED = "NOT FORCED"


@dataclass(frozen=True)
class Job:
    """One breach to force, and the name of its Experiment."""

    kind: Kind
    name: str


@dataclass(frozen=True)
class Result:
    """What a job came to; `why` in words unless it was kept, and `breach` where it was measured."""

    job: Job
    verdict: Verdict
    why: str = ""
    breach: Breach | None = None

    def __str__(self) -> str:
        figures = "" if self.breach is None else f"{self.breach.seconds:.2f} s, API {self.breach.api_seconds:.2f} s"
        return ": ".join(x for x in (self.job.name, self.verdict.value, figures, self.why) if x)


def jobs(count: int, kinds: Sequence[Kind] = KINDS) -> list[Job]:
    """So many breaches, of each kind in turn."""
    return [Job(kinds[i % len(kinds)], f"{kinds[i % len(kinds)].name}-{i // len(kinds) + 1}") for i in range(count)]


def campaign(lives: Sequence[Live], wanted: Sequence[Job], say: Say) -> list[Result]:
    """Force them all, each namespace one after the other; in the order of `wanted`."""
    results = _spread(lives, [j for j in wanted if not j.kind.blinds], say)
    blind = [j for j in wanted if j.kind.blinds]
    results += _spread([x for x in lives if clean(x)][:1], blind, say)
    order = {job.name: number for number, job in enumerate(wanted)}
    return sorted(results, key=lambda r: order[r.job.name])


def _spread(lives: Sequence[Live], wanted: Iterable[Job], say: Say) -> list[Result]:
    left: queue.SimpleQueue[Job] = queue.SimpleQueue()
    for job in wanted:
        left.put(job)
    results: list[Result] = []
    with ThreadPoolExecutor(max(len(lives), 1)) as threads:
        for found in threads.map(lambda live: _line(live, left, say), lives):
            results += found
    while not left.empty():
        results.append(Result(left.get(), Verdict.NOT_FORCED, "no namespace is left in which it could be"))
    return results


def _line(live: Live, left: queue.SimpleQueue[Job], say: Say) -> list[Result]:
    """One breach after the other in a namespace, until there are none or it cannot be used any more."""
    results: list[Result] = []
    while True:
        try:
            job = left.get_nowait()
        except queue.Empty:
            return results
        result = attempt(live, job)
        say(str(result))
        if result.verdict is not Verdict.KEPT:
            say(live.report(job.name))
        results.append(result)
        try:
            live.remove(job.name)
            live.wait_nothing_left()
        except (AssertionError, ApiError) as error:
            say(f"{live.namespace} is given up: {error}")
            return results


def clean(live: Live) -> bool:
    """Whether nothing of an Experiment is in this namespace."""
    return not live.arms() and not live.held()


def attempt(live: Live, job: Job) -> Result:
    """Force one, whatever comes of it."""
    try:
        breach = force(live, job.kind, job.name)
    except NotWithdrawn as error:
        return Result(job, Verdict.LATE, str(error))
    except (NotForced, *GROUND) as error:
        return Result(job, Verdict.NOT_FORCED, str(error) or repr(error))
    return Result(job, Verdict.LATE if breach.late else Verdict.KEPT, breach.late, breach)


def shown(results: Sequence[Result]) -> Shown:
    """The table, what was late or not forced, and all figures."""
    names = list(dict.fromkeys(r.job.kind.name for r in results))
    rows = [_row(name, [r for r in results if r.job.kind.name == name]) for name in names]
    lines = [HEAD, "|---|" + "--:|" * 9, *rows, _row("all", results)]
    lines += [str(r) for r in results if r.verdict is not Verdict.KEPT]
    kept = bool(results) and all(r.verdict is Verdict.KEPT for r in results)
    return Shown("forced breaches", "\n".join(lines), kept, {r.job.name: _document(r) for r in results})


def _row(name: str, results: Sequence[Result]) -> str:
    breaches = [r.breach for r in results if r.breach is not None]
    kept = sum(r.verdict is Verdict.KEPT for r in results)
    of: tuple[Callable[[Breach], float], ...] = (
        lambda b: b.seconds,
        lambda b: b.decided - b.known,
        lambda b: b.api_seconds,
        lambda b: b.gone - b.broken,
    )
    cells = (cell for figure in of for cell in _spans([figure(b) for b in breaches]))
    return f"| {name} | {kept} of {len(results)} | {' | '.join(cells)} |"


def _spans(values: Sequence[float]) -> tuple[str, str]:
    """Median and greatest value, for people."""
    return (f"{statistics.median(values):.2f}", f"{max(values):.2f}") if values else ("-", "-")


def _document(result: Result) -> dict[str, Any]:
    figures = {} if result.breach is None else result.breach.row
    return {"kind": result.job.kind.name, "verdict": result.verdict.value, "why": result.why, **figures}


__all__ = ["Job", "Result", "Verdict", "attempt", "campaign", "jobs", "shown"]
