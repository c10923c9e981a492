"""Every line of the log about a trial carries the ids of its Experiment and of itself, also when something is stuck."""

from __future__ import annotations

from typing import Any

import structlog
from benchmarks.operator.live import phase_of
from structlog.testing import LogCapture
from tests.simulation.world import NAME, NAMESPACE, SOBOL, made

from trimtab.domain import kinds
from trimtab.domain.errors import Unavailable
from trimtab.simulate.client import Request
from trimtab.simulate.loop import run

LONG = {"warmUp": "1s", "duration": "10m", "deadline": "45m"}
ABOUT_NOBODY = {"safety.api_error", "safety.not_leading"}
ABOUT_TRIALS = ("arm.", "reconcile.", "safety.", "trial.", "withdraw.")


def test_lines_about_a_trial_carry_its_ids() -> None:
    capture = LogCapture()
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, capture])
    try:
        trial = run(_trouble())
    finally:
        structlog.reset_defaults()
    lines = [e for e in capture.entries if e["event"].startswith(ABOUT_TRIALS) and e["event"] not in ABOUT_NOBODY]
    told = {e["event"] for e in lines}
    assert {"trial.phase", "withdraw.stuck", "reconcile.failed"} <= told, told
    before = next(n for n, line in enumerate(lines) if line["event"] == "trial.created")
    for line in lines[before:]:
        assert line.get("experiment") == NAME, line
        assert line.get("trial") == trial, line


async def _trouble() -> str:
    """The API server takes no deletions for a minute, while a trial is to be withdrawn."""
    world = await made(search=SOBOL, trial=LONG, stopping={"maxTrials": 1})
    life = world.start()
    assert await world.until(lambda: [phase_of(t) for t in world.trials(NAME)] == ["Measuring"], seconds=120)
    trial = str(world.trials(NAME)[0]["metadata"]["name"])

    async def refuse(request: Request) -> None:
        if request.verb == "delete":
            raise Unavailable(503, "etcd is away")

    _set(life.clients, refuse)
    world.admin.annotate(kinds.EXPERIMENTS, NAMESPACE, NAME, trimtab_pause="anna: a drill")
    await world.run(60)
    _set(life.clients, None)
    assert await world.until(lambda: [phase_of(t) for t in world.trials(NAME)] == ["Aborted"], seconds=120)
    await world.close()
    return trial


def _set(clients: Any, before: Any) -> None:
    for client in clients:
        client.before = before
