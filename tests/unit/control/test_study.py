"""The ledger turned into the Designer's question."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.control.builders import (
    NOW,
    measured,
    running,
    spec,
    target,
    trial,
)

from trimtab.control.study import build_study
from trimtab.domain.measurement import Arm
from trimtab.domain.trial import Load, TrialPhase


def test_safety_is_asked_for_the_load_that_pods_get_once_the_arms_are_gone() -> None:
    done = trial(TrialPhase.SUCCEEDED, finalized=False, load=(Load(Arm.CANARY, 100.0), Load(Arm.CONTROL, 110.0)))
    done = replace(done, measurements=measured(done, 5))
    state = running()
    assert state.target is not None
    study = build_study(spec(), target(), state.target, (done,), NOW)
    assert study.peak_load == pytest.approx(110.0 * 22 / 20)
