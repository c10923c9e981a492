"""The table of promised figures: what is over or under its promise fails, and each seed of the demo has its lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from benchmarks.run import BENCHMARKS, Figure, demo, table

ROW: dict[str, Any] = {
    "seed": 1,
    "savingPercent": 60.0,
    "optimumSavingPercent": 64.0,
    "trials": 15,
    "suggestedByModel": 6,
    "searchTrials": 8,
    "sloHeld": True,
    "seconds": 242.0,
}


@pytest.mark.parametrize(
    ("figure", "verdict", "promise"),
    [
        (Figure("a", 1.0, "s"), "", ""),
        (Figure("a", 1.0, "s", limit=1.0), "ok", "1"),
        (Figure("a", 1.1, "s", limit=1.0), "OVER", "1"),
        (Figure("a", 90.0, "%", least=90.0), "ok", ">= 90"),
        (Figure("a", 89.9, "%", least=90.0), "UNDER", ">= 90"),
    ],
)
def test_a_figure_is_held_against_its_promise(figure: Figure, verdict: str, promise: str) -> None:
    assert (figure.verdict, figure.promise) == (verdict, promise)
    head, rule, row = table([figure]).splitlines()
    assert len(head) == len(rule) == len(row)
    assert head.count("|") == rule.count("|") == row.count("|") == 6


def test_the_check_is_timed_unless_others_are_asked_for() -> None:
    assert list(BENCHMARKS) == ["suggest", "memory", "controlplane", "latency", "demo", "check"]


def test_every_seed_that_was_run_has_its_lines(tmp_path: Path) -> None:
    for seed in (10, 2):
        (tmp_path / f"seed-{seed}.json").write_text(json.dumps(ROW | {"seed": seed}))
    (tmp_path / "summary.json").write_text(json.dumps(ROW))
    figures = demo(False, tmp_path)
    assert [f.name.partition(":")[0] for f in figures] == ["demo, seed 2"] * 6 + ["demo, seed 10"] * 6
    assert {f.verdict for f in figures} == {"ok"}
    assert figures[1].value == pytest.approx(93.75)
    assert figures[3].value == pytest.approx(75.0)


def test_nothing_was_run_nothing_is_claimed(tmp_path: Path) -> None:
    assert demo(False, tmp_path) == []
    assert len(table([]).splitlines()) == 2


def test_a_demo_without_a_recommendation_has_saved_nothing(tmp_path: Path) -> None:
    (tmp_path / "seed-1.json").write_text(json.dumps(ROW | {"savingPercent": None, "sloHeld": False}))
    verdicts = {f.name.partition(": ")[2]: f.verdict for f in demo(False, tmp_path)}
    assert verdicts["saving"] == verdicts["of what the optimum saves"] == verdicts["SLO held at both loads"] == "UNDER"
    assert verdicts["trials"] == "ok"
