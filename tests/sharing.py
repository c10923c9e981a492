"""How `--dist loadscope` shares the tests among workers: what waits beside what computes, and the longest first.

The tests of `tests/cluster` mostly wait: for a trial's window, for a controller's next look. All others compute. So
every other worker begins with the first kind and the rest with the second, and whoever runs out of its own helps with
the other: the processors are never idle while a whole row of trials is waited for, nor do all planes start at once.
Those that compute are nice to the others, whose operators must renew leases and withdraw canaries in time.

A scope is a module, where a module's fixtures are shared (`tests/cluster`), else also a class.
"""

from __future__ import annotations

import os

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

WAITS = "tests/cluster/"
NICENESS = 5
COMPUTES = "computes"
# What takes longest by itself must not be what is left when everything else is done.
LONGEST = (
    "tests/cluster/test_crash_points.py",
    "tests/cluster/operator/test_install.py",
    "tests/cluster/operator/test_examples.py",
    "tests/cluster/operator/test_telemetry.py",
    "tests/cluster/operator/test_autoscaler.py",
    "tests/cluster/test_broken_ground.py",
    "tests/cluster/test_contract_autoscaler.py",
    "tests/cluster/operator/test_beside.py",
    "tests/cluster/operator/test_recommendation.py",
    "tests/simulation/test_faults.py",
    "tests/simulation/test_crash_points.py",
)


def waits(scope: str) -> bool:
    """Whether a scope's tests wait for the most part."""
    return scope.startswith(WAITS)


def begins_with_waiting(worker: str) -> bool:
    """Whether a worker (`gw0`, `gw1`, ...) takes scopes that wait first."""
    return int(worker.removeprefix("gw")) % 2 == 0


def tell(node: WorkerController) -> None:
    """Tell a worker, before it starts, whether it begins with what computes."""
    shared = node.config.getoption("dist") == "loadscope"
    node.workerinput[COMPUTES] = shared and not begins_with_waiting(node.gateway.id)


def be_nice(config: pytest.Config) -> None:
    """In a worker that begins with what computes: let the others go first."""
    if getattr(config, "workerinput", {}).get(COMPUTES):
        os.nice(NICENESS)


def rank(scope: str) -> int:
    """By which scopes are begun: those of LONGEST in their order, then the others."""
    module = scope.partition("::")[0]
    return LONGEST.index(module) if module in LONGEST else len(LONGEST)


class Sharing(LoadScopeScheduling):
    """loadscope, with two kinds of scopes."""

    def __init__(self, config: pytest.Config, log: Producer) -> None:
        config.option.loadscopereorder = False  # the number of its tests says nothing of how long a scope takes
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        scope = str(super()._split_scope(nodeid))
        return scope.partition("::")[0] if waits(scope) else scope

    def _assign_work_unit(self, node: WorkerController) -> None:
        """The first of its own kind, or else of the other."""
        own = begins_with_waiting(node.gateway.id)
        chosen = min(self.workqueue, key=lambda scope: (waits(scope) != own, rank(scope)))
        self.workqueue.move_to_end(chosen, last=False)
        super()._assign_work_unit(node)
