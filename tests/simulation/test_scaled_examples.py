"""The examples of autoscaled services on a played cluster: a few trials of each, at their own length."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from stack.paths import EXAMPLES
from trimtab.domain.trial import TrialPhase
from trimtab.simulate.results import Absent
from trimtab.simulate.run import run
from trimtab.simulate.scenario import Scenario, scenario

FEW = {"stopping": {"maxTrials": 3}, "search": {"seed": 1}}


def documents(name: str, file: str) -> list[dict[str, Any]]:
    return [d for d in yaml.safe_load_all((EXAMPLES / name / file).read_text()) if d]


def few_trials(name: str) -> Scenario:
    """The example as it is, but for the number of its trials and without verification."""
    (experiment,) = documents(name, "experiment.yaml")
    spec: dict[str, Any] = {**experiment["spec"], **FEW}
    spec["verification"] = {**spec.get("verification", {}), "replicates": 0}
    text = (EXAMPLES / name / "workload.yaml").read_text()
    return scenario({**experiment, "spec": spec}, documents(name, "deployment.yaml"), text, seed=1, days=0.5)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "name",
    [
        "function",
        *(
            pytest.param(name, marks=pytest.mark.long)
            for name in ("scaled-web-service", "autoscaler-after-incident", "inference")
        ),
    ],
)
def test_its_first_trials_are_measured_and_leave_nothing_behind(name: str) -> None:
    made = few_trials(name)
    ran = run(made)
    result = ran.result
    assert result.promises.broken == ()
    assert [t.phase for t in result.trials][:2] == [TrialPhase.SUCCEEDED] * 2  # today's settings keep every bound
    assert all(not isinstance(t.load_seen, Absent) for t in result.trials)
    for stored in ran.trials:
        pods = [load["pods"] for load in stored["status"]["load"] if load["arm"] != "target"]
        assert len(pods) == 2
        assert min(pods) >= 2
