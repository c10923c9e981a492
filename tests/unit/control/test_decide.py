"""`decide` as a whole: pure, and its rules in one order. What each rule does stands in the tests of its module."""

from __future__ import annotations

from tests.unit.control.builders import decided, snapshot, trial

from trimtab.domain.trial import TrialPhase


def test_decide_is_pure() -> None:
    seen = snapshot(None, (trial(TrialPhase.PENDING),))
    assert decided(seen) == decided(seen)
