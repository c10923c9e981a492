"""A world is a function of its seed: two processes, whose hashes are salted differently, tell the same story."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).parents[2]
STORY = """
import hashlib, json
from tests.simulation.world import NAME, SOBOL, made, told

async def story():
    world = await made(seed=7, search=SOBOL, stopping={"maxTrials": 3})
    world.start()
    assert await world.until(world.ended(NAME), seconds=900)
    await world.close()
    changes = [(c.at, c.version, c.type, c.kind, c.object) for c in world.history.changes]
    return len(changes), hashlib.sha256(json.dumps(changes).encode()).hexdigest()

print(*told(story()))
"""


def test_two_processes_tell_the_same_story() -> None:
    told = []
    for salt in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": salt, "PYTHONPATH": f"{ROOT}/operator:{ROOT}/hack:{ROOT}"}
        done = subprocess.run(
            [sys.executable, "-c", STORY], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
        )
        told.append(done.stdout.split())
    assert told[0] == told[1]
    assert int(told[0][0]) > 100
