"""The live table, at the width of a small and of a large terminal."""

from __future__ import annotations

import io
import math
from typing import Any

import pytest
from rich.console import Console

from demo.latency import Latencies, expression
from demo.view import Board, least_left, render
from trimtab.domain.measurement import Arm

UID = "0f0e0d0c-0b0a-4908-8706-050403020100"
EXPERIMENT: dict[str, Any] = {
    "spec": {"parameters": [{"name": "cpu"}, {"name": "memory"}]},
    "status": {
        "phase": "Running",
        "message": "trial 11: slow 3.10 % against control 1.52 %, n=4,583",
        "budgets": [{"name": "a", "remaining": 0.91}, {"name": "b", "remaining": 0.894}, {"name": "c"}],
    },
}


def trial(index: int, phase: str, reason: str = "", purpose: str = "Search", **status: Any) -> dict[str, Any]:
    values = [{"name": "cpu", "value": "1600m"}, {"name": "memory", "value": "1728Mi"}]
    outcome = {"outcome": {"reason": reason}} if reason else {}
    return {
        "metadata": {"name": f"web-{index}", "namespace": "shop"},
        "spec": {
            "index": index,
            "purpose": purpose,
            "assignment": values,
            "cost": 1.1564,
            "suggestion": {"byModel": purpose == "Search"},
            "experiment": {"name": "web", "uid": UID},
        },
        "status": {"phase": phase, **outcome, **status},
    }


WINDOW = {"start": "2026-03-04T10:00:00.000Z", "end": "2026-03-04T10:00:06.500Z"}
TRIALS = [
    trial(10, "Succeeded", "Measured"),
    trial(11, "Infeasible", "AbortRule"),
    trial(9, "Inconclusive", "ShareNotAchieved", "Verification"),
    trial(12, "WarmingUp"),
]


def shown(width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    rows = Board().rows(EXPERIMENT, TRIALS, {"web-10": (0.0824, 0.074), "web-11": (0.4, 0.0741)})
    console.print(render(EXPERIMENT, rows, "the on-call pauses", 61.0, width))
    output = console.file
    assert isinstance(output, io.StringIO)
    return output.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 100, 120])
def test_a_row_has_everything_on_one_line(width: int) -> None:
    lines = shown(width)
    assert all(len(line) <= width for line in lines)
    (row,) = (line for line in lines if "AbortRule" in line)
    assert row.split() == [
        "11", "Search", "1600m", "1728Mi", "400", "/", "74", "Infeasible", "AbortRule", "1.156", "89.4%",
        *(["the", "model"] if width >= 100 else []),
    ]  # fmt: skip
    assert any("the on-call pauses" in line for line in lines)


def test_rows_are_in_the_order_of_their_trials() -> None:
    rows = Board().rows(EXPERIMENT, TRIALS, {})
    assert [r.index for r in rows] == [9, 10, 11, 12]
    assert [r.verdict for r in rows] == [
        "Inconclusive ShareNotAchieved", "Succeeded", "Infeasible AbortRule", "WarmingUp",
    ]  # fmt: skip


def test_the_budget_of_a_trial_is_what_was_left_at_its_end() -> None:
    board = Board()
    assert [r.budget for r in board.rows(EXPERIMENT, TRIALS, {})] == ["89.4%", "89.4%", "89.4%", ""]
    later = {**EXPERIMENT, "status": {"budgets": [{"name": "a", "remaining": 0.5}]}}
    done = [*TRIALS[:3], trial(12, "Succeeded")]
    assert [r.budget for r in board.rows(later, done, {})] == ["89.4%", "89.4%", "89.4%", "50.0%"]
    assert least_left({"status": {"budgets": [{"name": "a"}]}}) == ""


def test_p95_is_asked_of_both_arms_over_the_window_and_only_once_it_is_over() -> None:
    asked: list[str] = []

    def query(text: str) -> float:
        asked.append(text)
        return 0.08

    latencies = Latencies(query)
    live = trial(3, "Measuring", window=WINDOW)
    assert latencies.of([live, trial(4, "Aborted")]) == {}
    assert asked == []
    done = trial(3, "Succeeded", window=WINDOW)
    assert latencies.of([done]) == latencies.of([done]) == {"web-3": (0.08, 0.08)}
    assert len(asked) == 2
    assert "tt-0f0e0d0c-3-c-[a-z0-9]+-[a-z0-9]+" in asked[0]
    assert "[7s] @ 1772618406.500)" in asked[0]
    assert "tt-0f0e0d0c-3-b-" in asked[1]


def test_a_window_that_was_cut_short_ends_when_the_canary_went() -> None:
    cut = trial(3, "Infeasible", window=WINDOW, times={"draining": "2026-03-04T10:00:04.000Z"})
    assert "[4s] @ 1772618404.000)" in expression(cut, Arm.CANARY)


@pytest.mark.parametrize("answer", [None, math.nan])
def test_without_an_answer_there_is_no_number_and_it_is_asked_again(answer: float | None) -> None:
    answers = [answer, answer, 0.09, 0.08]
    latencies = Latencies(lambda _: answers.pop(0))
    done = trial(3, "Succeeded", window=WINDOW)
    assert latencies.of([done]) == {}
    assert latencies.of([done]) == {"web-3": (0.09, 0.08)}
