"""Who of pytest's workers gets which tests: those that wait beside those that compute, the longest first."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from tests.sharing import LONGEST, Sharing
from xdist.remote import Producer

from stack.paths import ROOT

TESTS = [
    "tests/cluster/test_a.py::TestOne::test_it",
    "tests/cluster/test_a.py::TestTwo::test_it",
    "tests/cluster/test_b.py::test_it",
    f"{LONGEST[0]}::test_it",
    "tests/unit/test_c.py::TestOne::test_it",
    "tests/unit/test_c.py::TestTwo::test_it",
    "tests/unit/test_d.py::test_it",
]


class Worker:
    """Takes down what it is sent."""

    def __init__(self, name: str) -> None:
        self.gateway, self.shutting_down = SimpleNamespace(id=name), False
        self.sent: list[str] = []

    def send_runtest_some(self, indices: list[int]) -> None:
        self.sent += [TESTS[index] for index in indices]

    def shutdown(self) -> None:
        self.shutting_down = True


def shared(config: pytest.Config, workers: list[Any]) -> Sharing:
    options = SimpleNamespace(tx=["popen"] * len(workers), loadscopereorder=True)
    fake: Any = SimpleNamespace(option=options, getvalue=lambda name: getattr(options, name), rootpath=ROOT)
    made = Sharing(fake, Producer("test", enabled=False))
    for worker in workers:
        made.add_node(worker)
        made.add_node_collection(worker, TESTS)
    made.schedule()
    return made


def test_each_begins_with_its_kind_and_helps_with_the_other(pytestconfig: pytest.Config) -> None:
    waiting, computing = Worker("gw0"), Worker("gw1")
    made = shared(pytestconfig, [waiting, computing])
    assert waiting.sent[:3] == [TESTS[3], *TESTS[:2]]
    assert computing.sent == TESTS[4:6]
    for nodeid in TESTS[4:6]:
        made.mark_test_complete(computing, TESTS.index(nodeid))
    assert sorted(waiting.sent + computing.sent) == sorted(TESTS)
    assert computing.sent[2:] == [TESTS[6], TESTS[2]]


def test_a_module_on_the_control_plane_is_not_divided(pytestconfig: pytest.Config) -> None:
    workers = [Worker("gw0"), Worker("gw1"), Worker("gw2")]
    shared(pytestconfig, workers)
    assert sum(TESTS[0] in worker.sent for worker in workers) == 1
    assert [TESTS[1] in worker.sent for worker in workers] == [TESTS[0] in worker.sent for worker in workers]


@pytest.mark.parametrize("path", LONGEST)
def test_what_is_said_to_take_long_is_there(path: str) -> None:
    assert (ROOT / path).is_file()
