"""A threefold swing of the load, a release and flash crowds, played whole: the benchmark's runs, but fewer trials.

What is known from the night is no evidence for the day, nor what one version showed any for the next.
"""

from __future__ import annotations

import pytest
from benchmarks.simulation.swings import Row, broken, made, records, row

from trimtab.domain.trial import Purpose, TrialPhase
from trimtab.simulate.run import Ran, run


def played(name: str, seed: int, trials: int) -> tuple[Ran, Row]:
    ran = run(made(name, seed, trials))
    return ran, row(name, ran, 0.0)


@pytest.mark.thorough
def test_a_night_is_no_evidence_for_the_day() -> None:
    """It begins at night, and two thirds of an hour later the load is three times as high."""
    ran, found = played("swing", 0, 18)
    assert not broken(found), found
    assert found.unsafe == ()
    assert found.feasible is True
    peaks = [t.suggestion.usual_peak for t in records(ran) if t.suggestion.usual_peak is not None]
    assert min(peaks) > 1150  # of 1,200 by day, known before a trial had seen more than 400
    loads = [r.load_seen for r in ran.result.trials if isinstance(r.load_seen, float)]
    assert min(loads) < 400
    assert max(loads) > 900


@pytest.mark.thorough
def test_a_release_and_two_crowds_leave_nothing_unsafe_behind() -> None:
    ran, found = played("all", 1, 20)
    assert not broken(found), found
    assert {u.cause for u in found.unsafe} <= {"crowd"}
    assert len(found.unsafe) <= 2  # at most what was live when a crowd came: none starts in it
    assert found.own_version
    trials = records(ran)
    stale = next(n for n, t in enumerate(trials) if t.phase is TrialPhase.STALE)
    before, after = trials[stale].environment, trials[stale + 1].environment
    assert before.template_hash != after.template_hash
    assert [t.purpose for t in trials[stale + 1 : stale + 3]] == [Purpose.BASELINE] * 2
