"""Reading a Lease and a Trial that may be from another version, or from a hand."""

from __future__ import annotations

from typing import Any

import pytest

from trimtab.api.kube_reap import lease_seen, trial_standing
from trimtab.domain.reaping import LeaseSeen, Standing
from trimtab.domain.trial import TrialPhase


@pytest.mark.parametrize(
    ("spec", "seen"),
    [
        (None, LeaseSeen()),
        ({"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": "t"}, LeaseSeen("", "t", 1.0)),
        ({"holderIdentity": "one", "leaseDurationSeconds": 15, "renewTime": "t"}, LeaseSeen("one", "t", 15.0)),
        ({"holderIdentity": None, "renewTime": None, "leaseDurationSeconds": None}, LeaseSeen()),
        ({"holderIdentity": "one", "leaseDurationSeconds": -3}, LeaseSeen("one", "", 0.0)),
    ],
)
def test_a_lease(spec: dict[str, Any] | None, seen: LeaseSeen) -> None:
    assert lease_seen({"metadata": {}} | ({} if spec is None else {"spec": spec})) == seen


@pytest.mark.parametrize("phase", [*TrialPhase, None, "Dancing"])
def test_a_trial_that_has_not_ended_for_sure_is_live(phase: str | None) -> None:
    status = {} if phase is None else {"status": {"phase": phase}}
    ended = phase in set(TrialPhase) and TrialPhase(phase).terminal
    assert trial_standing({"metadata": {"uid": "u"}, **status}, "u") is (Standing.ENDED if ended else Standing.LIVE)


def test_another_trial_of_its_name_is_none() -> None:
    assert trial_standing({"metadata": {"uid": "other"}, "status": {"phase": "Measuring"}}, "u") is Standing.GONE
