"""A process that goes on twice hears how its double ended, also when it did not end well."""

from __future__ import annotations

import os
import signal

import pytest
from benchmarks.simulation import forks
from benchmarks.simulation.forks import Forks, Lost

from trimtab.simulate.clock import SimulatedClock
from trimtab.simulate.loop import run


def test_the_answer_of_another_process() -> None:
    assert Forks[int]().ask(lambda: os.getpid() * 0 + 7) == 7
    assert Forks[int]().ask(os.getpid) != os.getpid()


def test_a_fork_in_a_running_loop_goes_on_where_it_is() -> None:
    tree = Forks[list[float]]()

    async def branching() -> list[float]:
        clock, times = SimulatedClock(), list[float]()
        for _ in range(3):
            await clock.sleep(1.0)
            answer = tree.fork()
            if answer is None:
                await clock.sleep(0.25)  # its own clock
                tree.answer([clock.monotonic()])
            assert isinstance(answer, list)
            times += answer
        return [*times, clock.monotonic()]

    assert tree.ask(lambda: run(branching())) == pytest.approx([1.25, 2.25, 3.25, 3.0])


def test_a_process_that_fails(capfd: pytest.CaptureFixture[str]) -> None:
    assert Forks[float]().ask(lambda: 1 / 0) == Lost("ended with exit code 1")
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_a_process_that_is_killed() -> None:
    assert Forks[None]().ask(lambda: os.kill(os.getpid(), signal.SIGKILL)) == Lost("killed by SIGKILL")


def test_a_process_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "HUNG_SECONDS", 0.05)

    def hang() -> None:
        while True:
            pass

    assert Forks[None]().ask(hang) == Lost("hung: killed after 0.05 s of CPU")
