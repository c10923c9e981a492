"""The suite itself is tested: ten deliberate defects are caught, and without them the same faults break nothing."""

from __future__ import annotations

import pytest
from tests.simulation.mutations import MUTATIONS, Mutation

from trimtab.simulate.campaign import Result, play
from trimtab.simulate.faults.plan import plan_of

pytestmark = pytest.mark.thorough

SECONDS = 400.0


def played(mutation: Mutation) -> Result:
    plan = plan_of({"seed": 1, "scenario": {"trials": 3}, "faults": list(mutation.faults)}, mutation.name)
    return play(plan, horizon=SECONDS)


def test_there_are_ten() -> None:
    assert len({m.name for m in MUTATIONS}) == 10


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.name)
def test_a_deliberate_defect_is_caught(mutation: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    mutation.apply(monkeypatch)
    found = {breach.invariant for breach in played(mutation).breaches}
    assert found & mutation.noticed_by, f"noticed only by {found or 'nobody'}"


@pytest.mark.parametrize("mutation", [m for m in MUTATIONS if m.faults], ids=lambda m: m.name)
def test_the_faults_alone_break_nothing(mutation: Mutation) -> None:
    assert played(mutation).breaches == ()
