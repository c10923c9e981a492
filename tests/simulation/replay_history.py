"""Writes the history that `tests/unit/cli/test_replay.py` replays: two simulated Experiments on the example's service,
the second with a warm start.

After a change of `MODEL_VERSION`: `PYTHONPATH=operator:hack:. .venv/bin/python -m tests.simulation.replay_history`
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import yaml
from tests.simulation.world import NAME, NAMESPACE, TARGET, told

from stack.paths import EXAMPLES
from trimtab.domain import kinds
from trimtab.simulate.traffic import Scraping
from trimtab.simulate.world import Options, Setting, World
from trimtab.workload import parse_workload

FILE = Path(__file__).parents[1] / "unit" / "cli" / "history.json"
SERVICE = EXAMPLES / "web-service"
AGAIN = "again"
DAY = 86400.0


def _experiment(name: str, trials: int, **sections: Any) -> dict[str, Any]:
    manifest: dict[str, Any] = copy.deepcopy(yaml.safe_load((SERVICE / "experiment.yaml").read_text()))
    manifest["metadata"] |= {"name": name, "namespace": NAMESPACE}
    manifest["spec"] |= {"verification": {"duration": "10m", "replicates": 1}, **sections}
    manifest["spec"]["stopping"]["maxTrials"] = trials
    return manifest


async def _story() -> list[dict[str, Any]]:
    deployment = tuple(yaml.safe_load_all((SERVICE / "deployment.yaml").read_text()))
    workload = parse_workload((SERVICE / "workload.yaml").read_text())
    options = Options(seed=1, scraping=Scraping(interval=15.0))
    world = await World.build(Setting(workload, deployment, NAMESPACE), options)
    world.start()
    warm = {"experimentRef": {"name": NAME}, "maxAge": "24h"}
    for name, made in ((NAME, _experiment(NAME, 10)), (AGAIN, _experiment(AGAIN, 4, warmStart=warm))):
        world.admin.apply(made, NAMESPACE)
        assert await world.until(world.ended(name), seconds=3 * DAY)
    objects = [world.experiment(NAME), world.experiment(AGAIN), *world.trials(NAME), *world.trials(AGAIN)]
    objects += [d for d in world.admin.list(kinds.DEPLOYMENTS, NAMESPACE) if d["metadata"]["name"] == TARGET]
    found = [json.loads(json.dumps(o)) for o in objects if o is not None]
    await world.close()
    for each in found:
        each["metadata"].pop("managedFields", None)
    return found


def main() -> None:
    """Write the file."""
    items = told(_story())
    FILE.write_text("[\n" + ",\n".join(json.dumps(i, sort_keys=True) for i in items) + "\n]\n")
    print(f"{len(items)} objects, {FILE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
