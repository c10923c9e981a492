"""The only operator is killed in a breach: how long until the chart's CronJob, by itself, has taken the canary away.

The worst moment to die is just after a run saw the operator's renewal: so that is when it dies.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from pathlib import Path

from benchmarks.operator.breach import FAILURES, SLOW, NotForced, NotWithdrawn, breaking, gone_since, why
from benchmarks.operator.live import Live, leading
from benchmarks.operator.shown import Say, Shown
from benchmarks.operator.witness import Witness
from controlplane import ApiError, WaitTimeout, wait_for
from stack import Stack
from stack.jobs import JobPods, chart_of_jobs

LIMIT = 180.0
TRIAL = {"warmUp": "1s", "duration": "10m", "deadline": "45m"}
NAME = "orphan"


def run(stack: Stack, live: Live, say: Say) -> Shown:
    """One death, and a successor that ends what is left."""
    found: float | None = None
    words = ""
    try:
        found = _orphaned(stack, live)
    except FAILURES as error:
        words = why(error)
        say(live.report(NAME))
    with leading(stack, "successor"):
        live.remove(NAME)
        live.wait_nothing_left()
    return shown(found, words)


def _orphaned(stack: Stack, live: Live) -> float:
    """Seconds from the operator's death to no canary."""
    installed = stack.options.namespace
    documents = chart_of_jobs(installed, stack.prometheus.url, cluster=True)
    (job,) = (d for d in documents if d["kind"] == "CronJob")
    operator = stack.new_operator("orphaning")
    operator.start()
    with (
        tempfile.TemporaryDirectory(prefix="trimtab-reap-") as folder,
        Witness(stack.plane, live.namespace) as witness,
        JobPods(stack.plane, installed, Path(folder)) as pods,
    ):
        try:
            live.create(NAME, trial=TRIAL)
            live.wait_trial(NAME, frozenset({"Measuring"}))
            stack.plane.client.create({**job, "metadata": {**job["metadata"], "namespace": installed}})
            first = wait_for(lambda: next((r for r in pods.runs if r.ended), None), "a first run", seconds=120.0)
            if first.status or f"{live.namespace}/" not in first.said or not live.arms():
                raise NotForced(f"reap beside a living operator: exit status {first.status}: {first.said[-300:]}")
            with breaking(live, SLOW, NAME):
                operator.kill()
                died = time.time()
                _wait_removed(live, pods)
        finally:
            operator.kill()
            with contextlib.suppress(ApiError):  # where it was not created
                stack.plane.client.delete("batch/v1", "CronJob", job["metadata"]["name"], installed)
        gone = gone_since(witness.changes())
    if gone <= died:
        raise NotForced("the operator had withdrawn the canary before it died")
    return round(gone - died, 1)


def _wait_removed(live: Live, pods: JobPods) -> None:
    try:
        wait_for(lambda: not live.arms(), "reap to remove the canary", seconds=2 * LIMIT)
    except WaitTimeout as error:
        said = "\n".join(f"{run.pod}, exit status {run.status}: {run.said[-600:]}" for run in pods.runs)
        raise NotWithdrawn(f"{error}; its runs:\n{said}") from error


def shown(seconds: float | None, failed: str) -> Shown:
    """What it came to."""
    kept = seconds is not None and seconds <= LIMIT
    words = f"NOT FORCED, or not removed: {failed}" if seconds is None else f"the canary gone after {seconds:.1f} s"
    late = "" if kept or seconds is None else "LATE: "
    text = f"{late}{words}; the limit is {LIMIT:g} s"
    return Shown("the only operator killed in a breach, reap alone", text, kept, {
        "goneSeconds": seconds, "limitSeconds": LIMIT, "why": failed,
    })  # fmt: skip


__all__ = ["run", "shown"]
