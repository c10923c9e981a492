"""Waiting for a condition: in a thread, and in an event loop."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from controlplane import WaitTimeout, eventually, wait_for
from controlplane.waiting import PATIENCE


@pytest.fixture(autouse=True)
def usual_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PATIENCE, raising=False)


def test_what_was_waited_for_is_the_answer() -> None:
    looks = iter([None, 0, (), "there"])
    assert wait_for(lambda: next(looks), "it", interval=0.0) == "there"


def test_errors_may_mean_not_yet_and_the_last_one_is_told() -> None:
    def missing() -> str:
        raise LookupError("no such thing")

    with pytest.raises(WaitTimeout, match=r"^timed out after 0 s waiting for it \(last error: LookupError: no such"):
        wait_for(missing, "it", seconds=0.0, ignore=(LookupError,))
    with pytest.raises(LookupError):
        wait_for(missing, "it")


def test_of_many_looks_the_last_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    now, answers = [0.0], iter([0, ValueError("odd"), []])
    clock = SimpleNamespace(monotonic=lambda: now[0], sleep=lambda seconds: now.append(now.pop() + seconds))
    monkeypatch.setattr("controlplane.waiting.time", clock)
    monkeypatch.setenv(PATIENCE, "2.5")

    def probe() -> object:
        answer: object = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.raises(WaitTimeout, match=r"^timed out after 0\.5 s waiting for a miracle \(last answer: \[\]\)$"):
        wait_for(probe, "a miracle", seconds=0.2, interval=0.25, ignore=(ValueError,))


def test_one_last_look_is_taken_when_the_deadline_has_passed() -> None:
    assert wait_for(lambda: True, "it", seconds=-1.0)


@pytest.mark.parametrize("awaitable", [True, False])
async def test_in_an_event_loop_conditions_may_be_awaitable(awaitable: bool) -> None:
    answers = iter([False, False, True])

    async def later() -> bool:
        return next(answers)

    await eventually(later if awaitable else lambda: next(answers), "it holds", interval=0.0)
    assert next(answers, None) is None


async def test_a_condition_that_never_holds_is_told() -> None:
    with pytest.raises(WaitTimeout, match=r"^timed out after 0 s waiting until it holds"):
        await eventually(lambda: False, "it holds", seconds=0.0)
