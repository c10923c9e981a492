"""The benchmark of known functions with the methods that need no other package: Trimtab and random."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from benchmarks.optimizer import known, venv
from benchmarks.optimizer.contract import Axis, Limit, Point, Result, Task
from benchmarks.optimizer.functions import functions
from benchmarks.optimizer.known_report import checkpoints, median_interval, regrets, verdicts
from benchmarks.optimizer.methods.trimtab import UNSAFE
from benchmarks.optimizer.peer import RANDOM, Box, Equal, History, Random, Space, keyed, step_box
from benchmarks.optimizer.runs import Run, Tried, Work, play

AXES = (Axis("cpu", 0.25, 4.0, 0.25, log=True, safer=1, decrease=0.3, increase=0.5), Axis("n", 1.0, 10.0, 1.0))
TASK = Task(AXES, (Limit("p95", 0.2, "Latency"),), lambda p: p["cpu"] * p["n"], {"cpu": 2.0, "n": 4.0}, 10)


def test_units_and_grid_points_are_inverse() -> None:
    space = Space(AXES)
    assert space.unit({"cpu": 1.0, "n": 5.5}) == pytest.approx([0.5, 0.5])
    assert space.point([0.5, 0.0]) == {"cpu": 1.0, "n": 1.0}
    assert space.point([-1.0, 7.0]) == {"cpu": 0.25, "n": 10.0}


def test_steps_are_limited_by_fractions_of_the_start_and_never_less_than_one_step() -> None:
    space = Space(AXES)
    box = step_box(space, {"cpu": 2.0, "n": 4.0})
    assert box.low == pytest.approx([1.4, 1.0])
    assert box.high == pytest.approx([3.0, 10.0])
    assert box.clip(space, {"cpu": 0.25, "n": 12.0}) == {"cpu": 1.5, "n": 10.0}
    small = step_box(space, {"cpu": 0.5, "n": 4.0})
    assert (small.low[0], small.high[0]) == (0.25, 0.75)


def test_history_has_logs_of_ratios_and_knows_the_cheapest_within() -> None:
    history = History(Space(AXES), TASK.limits, TASK.cost)
    assert history.best() is None
    assert history.add({"cpu": 1.0, "n": 1.0}, Result({"p95": (0.4, 0.04)}))
    assert history.add({"cpu": 2.0, "n": 2.0}, Result({"p95": (0.1, 0.01)}))
    assert history.add({"cpu": 2.0, "n": 1.0}, Result({}, failed="OOMKilled"))
    assert not history.add({"cpu": 2.0, "n": 3.0}, Result({}))
    assert history.c[:, 0] == pytest.approx([math.log(2), -math.log(2), math.log(3)])
    assert history.se[0, 0] == pytest.approx(0.1)
    assert history.best() == 1


def test_the_equal_track_starts_at_the_baseline_and_steps_from_what_was_measured_within() -> None:
    method = Equal(Random, TASK, 0)
    first = method.ask()
    assert first == TASK.baseline
    method.tell(first, Result({"p95": (0.1, 0.001)}))
    for _ in range(20):
        point: Point | None = method.ask()
        assert point is not None
        assert 1.4 <= point["cpu"] <= 3.0
    assert method.recommend() is None


def test_random_stays_in_a_box() -> None:
    peer = Random(TASK, 1)
    box = Box(np.asarray([1.0, 2.0]), np.asarray([2.0, 3.0]))
    for _ in range(20):
        point = box.clip(peer.history.space, peer.ask(box))
        assert 1.0 <= point["cpu"] <= 2.0
        assert 2.0 <= point["n"] <= 3.0


@pytest.mark.thorough
def test_trimtab_without_its_safe_set_beats_random_on_a_small_function() -> None:
    function = next(f for f in functions() if f.name == "gramacy")
    ours, theirs = (play(Work("gramacy", m, 0, 18)) for m in (UNSAFE.name, "random/native"))
    assert len(theirs.tried) == 18
    assert regrets(ours, function, 18)[-1] < 0.02 < regrets(theirs, function, 18)[-1]
    assert ours.recommended is not None
    assert ours.recommended[1]


def test_regret_counts_only_what_is_truly_feasible() -> None:
    function = next(f for f in functions() if f.name == "gramacy")
    tried = (Tried(0.5, False, 0.0), Tried(0.8, True, 0.0), Tried(0.7, True, 0.0))
    found = regrets(Run("gramacy", "m", 0, tried, None), function, 4)
    assert math.isinf(found[0])
    assert found[1:] == pytest.approx([0.8 - 0.599788, 0.7 - 0.599788, 0.7 - 0.599788])


def test_intervals_of_medians_and_checkpoints() -> None:
    assert median_interval(np.asarray([1.0, 1.0, 1.0])) == (1.0, 1.0, 1.0)
    middle, low, high = median_interval(np.asarray([1.0, 2.0, math.inf]))
    assert (middle, low) == (2.0, 1.0)
    assert math.isinf(high)
    assert checkpoints(50) == (20, 40, 50)
    assert checkpoints(60) == (20, 40, 60)


def test_verdicts_name_the_functions_that_are_lost() -> None:
    def one(value: float) -> dict[str, object]:
        return {"regret": {"10": (value, value, value)}}

    told = verdicts({"f": {"trimtab": one(2.0), "p": one(1.0)}, "g": {"trimtab": one(1.0), "p": one(1.02)}}, 10)
    assert "| p | 0 | 1 | 1 | f |" in told


def test_a_run_that_was_kept_is_not_made_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--seeds", "0-1", "--trials", "5", "--functions", "gramacy", "--methods", "random", "--out", str(tmp_path)]
    known.main(given)
    first = capsys.readouterr()
    assert "random/native" in first.out
    assert first.err.count("gramacy random") == 4
    known.main(given)
    again = capsys.readouterr()
    assert again.err == ""
    assert again.out == first.out
    known.main([*given[:1], "0-5", *given[2:], "--report"])
    assert capsys.readouterr().out == first.out
    assert (tmp_path / "known" / "gramacy.svg").read_text().startswith("<svg")
    with pytest.raises(SystemExit, match="--methods: 'nothing' is none of trimtab"):
        known.main(["--methods", "nothing"])


def test_another_environment_for_other_requirements(tmp_path: Path) -> None:
    one, other = venv.home("a>=1", tmp_path), venv.home("a>=2", tmp_path)
    assert one != other
    assert venv.find("a>=1", tmp_path) is None
    one.mkdir(parents=True)
    (one / venv.STAMP).touch()
    assert venv.find("a>=1", tmp_path) == one / "bin" / "python"


def test_without_the_peers_packages_importing_them_fails_cleanly() -> None:
    with pytest.raises(ImportError):
        __import__("benchmarks.optimizer.peers")
    assert RANDOM[0].name == "random"


def test_a_library_is_one_method_in_each_track() -> None:
    found = keyed(RANDOM)
    assert {name: entry.track for name, entry in found.items()} == {"random/native": "native", "random/equal": "equal"}
    assert [entry.name for entry in found.values()] == [*found]
