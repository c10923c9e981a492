"""Several seeds: medians of what is known, and how many runs lack it."""

from __future__ import annotations

from tests.unit.simulate.stories import result

from trimtab.simulate.results import Absent, Spread
from trimtab.simulate.seeds import gathered, spread

NONE = Absent(absent="NoRecommendation")


def test_a_spread_is_over_what_is_known() -> None:
    assert spread([3.0, NONE, 1.0, 2.0]) == Spread(median=2.0, min=1.0, max=3.0, absent=1)
    assert spread([NONE, NONE]) == Spread(median=NONE, min=NONE, max=NONE, absent=2)


def test_a_set_counts_and_keeps_the_order_of_seeds() -> None:
    runs = [result(seed, peers=("hold",)) for seed in (3, 1, 2)]
    failed = runs[1].model_copy(
        update={
            "summary": runs[1].summary.model_copy(
                update={"recommendation": NONE, "saving_percent": NONE, "truly_feasible": NONE}
            )
        }
    )
    found = gathered([runs[0], failed, runs[2]])
    assert [run.seed for run in found.runs] == [3, 1, 2]
    assert (found.seeds, found.recommended, found.truly_feasible, found.without_unsafe_trials) == (3, 2, 2, 0)
    assert found.saving_percent.absent == 1
    assert [p.name for p in found.comparison] == ["trimtab", "hold"]
    assert found.comparison[1].violation_minutes.median == 0
