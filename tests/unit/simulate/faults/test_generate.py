"""Drawn plans: the same for the same seed, readable, and over all cells."""

from __future__ import annotations

from collections import Counter

from trimtab.simulate.faults.catalogue import CELLS
from trimtab.simulate.faults.generate import Story, draw_plan
from trimtab.simulate.faults.plan import plan_of

STORY = Story(trials=4, seconds=200.0, trial_seconds=40.0, effects=("create:Trial", "replace:Trial/status"))


def test_a_seed_gives_the_same_plan() -> None:
    assert draw_plan(5, STORY) == draw_plan(5, STORY)
    assert draw_plan(5, STORY) != draw_plan(5 + len(CELLS), STORY)


def test_every_drawn_plan_can_be_printed_and_read() -> None:
    for seed in range(300):
        plan = draw_plan(seed, STORY)
        assert plan_of(plan.wire(), str(seed)) == plan


def test_as_many_seeds_as_cells_aim_at_each_of_them() -> None:
    begin = 1000
    first = [draw_plan(seed, STORY).faults[0] for seed in range(begin, begin + len(CELLS))]
    aimed = {(fault.kind, fault.when.moment) for fault in first if fault.when is not None}
    assert aimed == set(CELLS)


def test_plans_hold_one_to_five_faults_at_moments_times_and_effects() -> None:
    plans = [draw_plan(seed, STORY) for seed in range(400)]
    counts = Counter(len(plan.faults) for plan in plans)
    assert set(counts) == {1, 2, 3, 4, 5}
    assert counts[1] > counts[5]
    others = [fault for plan in plans for fault in plan.faults[1:]]
    assert any(f.at is not None for f in others)
    assert any(f.when is not None and f.when.effect is not None for f in others)
    assert all(f.duration is None or f.row.lasts for f in others)


def test_what_ends_an_experiment_comes_late() -> None:
    ending = [f for seed in range(len(CELLS)) for f in draw_plan(seed, STORY).faults[:1] if f.row.ends]
    assert ending
    assert all(f.when is not None and (f.when.trial >= STORY.trials - 2 or f.when.trial == 0) for f in ending)
    assert all(f.when is not None and f.when.after == 0.0 for f in ending)
