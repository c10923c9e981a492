"""Playing methods on a service, and what is made of it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benchmarks.optimizer import measure, report
from benchmarks.optimizer.box import Notes, candidates, index_of, kept, logs, point_at, reach, size
from benchmarks.optimizer.contract import Axis, Entry, Limit, Point, Result, Task
from benchmarks.optimizer.methods import ENTRIES
from benchmarks.optimizer.methods.gp import FixedGP
from benchmarks.optimizer.methods.greedy import Greedy
from benchmarks.optimizer.methods.hold import Hold
from benchmarks.optimizer.methods.safeopt import SafeOpt
from benchmarks.optimizer.methods.trimtab import Trimtab
from benchmarks.optimizer.promises import promises
from benchmarks.optimizer.recommender import recommended
from benchmarks.optimizer.safety import Row, Run, Where, play
from benchmarks.optimizer.safety import measure as measured
from benchmarks.optimizer.scenarios import draw
from benchmarks.optimizer.services import SLOW

AXES = tuple(Axis(n, 1.0, 20.0, 1.0, log=True, safer=1, decrease=0.3, increase=0.5) for n in ("a", "b"))
TASK = Task(AXES, (Limit("slow", 1.0),), lambda x: 2 * x["a"] + x["b"], {"a": 20.0, "b": 20.0}, 40)


def result(value: float, error: float = 0.01) -> Result:
    return Result({"slow": (value, error)}, control={"slow": (0.2, 0.01)})


def test_the_box_is_that_of_the_step_limits() -> None:
    assert size(AXES[0]) == 20
    assert reach(AXES[0], 9) == (6, 14)  # 10: from 7 to 15
    assert reach(AXES[0], 0) == (0, 1)  # at least one step each way
    assert index_of(TASK, {"a": 3.0, "b": 20.0}) == (2, 19)
    assert point_at(TASK, (2, 19)) == {"a": 3.0, "b": 20.0}
    rows = candidates(TASK, [(19, 19)], 200, np.random.default_rng(1))
    assert rows.min() == 13  # 20 x 0.7 = 14
    assert rows.max() == 19


def test_a_bound_is_kept_when_the_interval_is_and_the_peak_is_allowed_for() -> None:
    assert logs(TASK, {"slow": (0.5, 0.05)}) == [(pytest.approx(math.log(0.5)), pytest.approx(0.1))]
    assert logs(TASK, {}, "OOMKilled") == [(pytest.approx(math.log(3)), 0.5)]
    assert kept(TASK, {"slow": (0.9, 0.05)}, None)  # -0.105 + 1.645 x 0.056 = -0.014
    assert not kept(TASK, {"slow": (0.9, 0.07)}, None)
    at_peak = replace(TASK, peak_load=2.0)
    assert kept(at_peak, {"slow": (0.13, 0.0)}, 1.0)  # one octave: 2 in the logarithm, a factor of 7.4
    assert not kept(at_peak, {"slow": (0.14, 0.0)}, 1.0)


def test_greedy_goes_down_one_parameter_at_a_time_and_back_when_a_bound_breaks() -> None:
    method = Greedy(TASK, 0)
    tried = []
    for _ in range(40):
        point = method.ask()
        if point is None:
            break
        tried.append(dict(point))
        method.tell(point, result(0.5 if point["a"] >= 13 and point["b"] >= 7 else 1.5))
    assert tried[0] == {"a": 20.0, "b": 20.0}
    assert tried[1] == {"a": 14.0, "b": 20.0}  # the one that saves most, by 30 %
    assert tried[2] == {"a": 14.0, "b": 14.0}
    good = [TASK.baseline]
    for point in tried[1:]:
        (last,) = good[-1:]
        assert last is not None
        assert sum(point[n] != last[n] for n in point) <= 1
        assert all(point[n] >= min(0.7 * last[n], last[n] - 1) - 1e-9 for n in point)
        if point["a"] >= 13 and point["b"] >= 7:
            good.append(point)
    assert good[-1] == {"a": 13.0, "b": 7.0}
    assert tried[-2:] == [{"a": 13.0, "b": 7.0}] * 2  # confirmed, then it stops
    assert method.ask() is None


def test_greedy_refuses_a_baseline_that_breaks_its_bound() -> None:
    method = Greedy(TASK, 0)
    point = method.ask()
    assert point is not None
    method.tell(point, result(1.2))
    assert method.ask() is None
    assert method.recommend() is None


def test_safeopt_stays_in_reach_of_what_was_verified() -> None:
    method, notes = SafeOpt(TASK, 1), Notes(TASK)
    for _ in range(12):
        point = method.ask()
        assert point is not None
        row = index_of(TASK, point)
        assert any(
            all(low <= i <= high for i, (low, high) in zip(row, map(reach, AXES, v), strict=True))
            for v in notes.verified
        )  # fmt: skip
        told = result(0.05 * 20 / point["a"] + 0.05 * 20 / point["b"])
        method.tell(point, told)
        notes.add(point, told)
    assert len(notes.verified) > 2


def test_the_fixed_gp_is_the_formula() -> None:
    """Two points: k = exp(-d^2 / 2), noise 0.1: by hand from the 2 x 2 inverse."""
    x = np.array([[0.0], [1.0]])
    gp = FixedGP(x, np.array([1.0, -1.0]), np.full(2, 0.1), 1.0, 1.0)
    k, at = math.exp(-0.5), math.exp(-0.125)
    mean, sd = gp.predict(np.array([[0.5]]))
    assert mean[0] == pytest.approx(0.0, abs=1e-9)
    assert sd[0] ** 2 == pytest.approx(1 - 2 * at**2 / (1.1 + k), rel=1e-6)
    shared = gp.covariance(np.array([[0.5]]), np.array([[0.5]]))
    assert shared[0] == pytest.approx(sd[0] ** 2, rel=1e-6)


def test_measurements_are_counts_around_the_truth() -> None:
    made = draw("low-traffic", 2, 1)
    truth = made.pod.truth(made.baseline, made.days.load, made.after)
    rng = np.random.default_rng(0)
    seen = [measured(made, truth, 20_000.0, 0.0, rng) for _ in range(400)]
    shares = np.array([s[SLOW][0] / s[SLOW][1] for s in seen])
    assert shares.mean() == pytest.approx(truth.slow, rel=0.05)
    own = made.noise.own**2 * truth.slow**2
    assert shares.var() == pytest.approx(made.noise.dispersion * truth.slow / 20_000 + own, rel=0.25)
    assert all(spread >= 1 for s in seen for _, _, spread in s.values())


def test_a_run_is_judged_by_the_truth(tmp_path: Path) -> None:
    made = draw("stationary", 2, 1)
    made = replace(made, task=replace(made.task, trials=4))
    tiny = {a.name: a.low for a in made.task.axes}

    class Reckless(Hold):
        def ask(self) -> Point | None:
            return tiny

        def recommend(self) -> Point | None:
            return tiny

    where = Where("stationary", 2, 1)
    cost = made.task.cost(made.baseline) / 1.5
    runs = [play(Entry(n, "equal", m), made, {made.after: cost}, where) for n, m in (("hold", Hold), ("r", Reckless))]
    calm, reckless = runs
    assert (measure.unsafe(calm), measure.gross(calm), calm.feasible, calm.kept) == (0, 0, True, True)
    assert calm.recommended == calm.baseline == pytest.approx(1.5)
    assert (measure.unsafe(reckless), measure.gross(reckless), reckless.feasible) == (4, 4, False)
    assert measure.severity(reckless) > math.log(2)
    assert measure.burned(reckless) > measure.burned(calm)
    again = play(Entry("hold", "equal", Hold), made, {made.after: cost}, where)
    assert [r.burned for r in again.rows] == [r.burned for r in calm.rows]
    text = report.tables(runs)
    assert "| hold | equal | 1 | 4 | 0.00 (0.00-0.00) |" in text
    assert "| r | equal | 1 | 4 | 4.00 (4.00-4.00) |" in text
    assert [row["method"] for row in report.as_json(runs)] == ["hold", "r"]
    (plot,) = report.plots(runs, tmp_path)
    assert plot.read_text().startswith("<svg xmlns")


def test_trimtab_says_what_it_expects_and_recommends_as_the_shared_recommender_does() -> None:
    made = draw("stationary", 2, 1)
    made = replace(made, task=replace(made.task, trials=6))
    told: list[tuple[Point, Result]] = []

    class Overheard(Trimtab):
        def tell(self, point: Point, result: Result) -> None:
            told.append((point, result))
            super().tell(point, result)

    entry = Entry("trimtab", "equal", Overheard)
    run = play(entry, made, {made.after: 1.0}, Where("stationary", 2, 0))
    assert [bool(row.truths) for row in run.rows] == [False, False, True, True, True, True]
    answer = recommended(made.task, told)
    assert made.task.cost(made.baseline if answer is None else answer) == pytest.approx(run.recommended)


def row(index: int, cost: float, *, feasible: bool = True, unsafe: bool = False, burned: float = 1.0) -> Row:
    return Row(index, cost, unsafe, False, unsafe, 0.5 if unsafe else -1.0, burned, feasible, 0.01, (1.0,), (3.0,))


def test_figures_of_a_run_by_hand() -> None:
    rows = (row(0, 1.4), row(1, 1.0, feasible=False, unsafe=True, burned=5.0), row(2, 1.04), row(3, 1.2))
    run = Run("m", "equal", "stationary", 2, 0, rows, 1.4, 1.04, False, True, False, 1.0)
    assert measure.unsafe(run) == 1
    assert measure.severity(run) == 0.5
    assert measure.trials_until_near(run) == 3
    assert [round(measure.regret(run, n), 9) for n in (1, 2, 3, 4)] == [0.4, 0.4, 0.04, 0.04]
    assert measure.regret_at_budget(run, 6.5) == pytest.approx(0.4)
    assert measure.regret_at_budget(run, 7.5) == pytest.approx(0.04)
    assert measure.coverage([run])[0.5] == (0.0, 4)
    assert measure.coverage([run])[0.90] == (1.0, 4)
    assert measure.coverage([run], of_truth=True)[0.99] == (0.0, 4)
    never = measure.median([1.0, math.inf, math.inf])
    assert (never.value, never.low, never.high) == (math.inf, 1.0, math.inf)
    sure = measure.mean([2.0, 2.0])
    assert (sure.value, sure.low, sure.high) == (2.0, 2.0, 2.0)


def test_promises_are_held_against_what_was_measured() -> None:
    def made(method: str, unsafe: int, cost: float) -> Run:
        rows = tuple(row(i, cost, unsafe=i < unsafe) for i in range(40))
        return Run(method, "equal", "stationary", 4, 0, rows, 1.4, cost, False, True, False, 1.0)

    runs = [made("trimtab", 1, 1.01), made("random", 20, 1.3), made("greedy", 3, 1.03), made("safeopt", 1, 1.0)]
    found = {p.name: (p.value, p.verdict) for p in promises(runs)}
    assert found["truly unsafe trials of 40, stationary"] == (1.0, "MISSED")
    assert found["unsafe trials / least of a method that is not safety-aware"] == (0.05, "kept")
    assert found["cost / optimum, stationary, median"] == (1.01, "kept")
    assert found["unsafe trials more than greedy"] == (-2.0, "kept")
    assert found["unsafe trials more than safeopt"] == (0.0, "MISSED")
    assert found["median cost / optimum more than safeopt"][1] == "MISSED"
    assert found["trials until within 5 %: random / trimtab"] == (math.inf, "kept")
    assert {p.verdict for p in promises([made("hold", 0, 1.4)])} == {"not shown"}


def test_names_are_unique_and_tracks_known() -> None:
    assert len({entry.name for entry in ENTRIES}) == len(ENTRIES)
    assert {entry.name for entry in ENTRIES if entry.safe} == {"trimtab", "hold", "greedy", "safeopt"}
