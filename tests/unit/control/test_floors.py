"""Memory that the service has needed lately is never taken away."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.control.builders import BASELINE, NOW, decided, experiment, running, snapshot, spec

from trimtab.control.actions import EmitEvent
from trimtab.control.floors import memory_floors, watched_containers
from trimtab.control.snapshot import AskProbes, AskProposal, AskUsage, Inquiry, Usage
from trimtab.domain.measurement import NoData, Reading, Sample, TelemetryError
from trimtab.domain.space import SearchSpace
from trimtab.domain.state import ConditionType, ExperimentState, Floor
from trimtab.ports import SliProbe

MIB = 2**20
ASK = AskUsage(("web",))
PROBE = SliProbe("errors", scrape_interval=1.0, requests_per_second=4000.0, bad_ratio=0.001, history=720 * 3600.0)
CPU_ONLY = replace(spec(), space=SearchSpace(spec().space.parameters[:1]))


def used(mebibytes: float) -> Reading:
    return Sample(mebibytes * MIB, 0.0, 20.0)


def fresh() -> ExperimentState:
    return ExperimentState().with_condition(ConditionType.TARGET_LOCKED, True, "Acquired", "", NOW, 1)


def test_a_headroom_above_the_highest_working_set() -> None:
    floors, notes = memory_floors(spec(), BASELINE, (Usage("web", used(550)),))
    assert [(f.parameter, f.value) for f in floors] == [("memory", pytest.approx(1.15 * 550 * MIB))]
    assert "the highest working set of 7 days was 550Mi, so nothing under 632Mi is tried" in floors[0].message
    assert [(n.reason, n.field, n.blocking) for n in notes] == [("MemoryFloor", "spec.parameters[memory]", False)]


def test_todays_value_is_never_refused() -> None:
    floors, _ = memory_floors(spec(), BASELINE, (Usage("web", used(2000)),))
    assert floors[0].value == float(BASELINE.number("memory"))


@pytest.mark.parametrize("absent", [NoData("no container_memory_working_set_bytes of it"), TelemetryError("503")])
def test_what_is_not_known_is_no_floor_and_is_said(absent: NoData | TelemetryError) -> None:
    floors, notes = memory_floors(spec(), BASELINE, (Usage("web", absent),))
    assert floors == ()
    assert [n.reason for n in notes] == ["MemoryFloorUnknown"]
    assert absent.detail in notes[0].message


def test_only_tuned_memory_is_asked_for() -> None:
    assert watched_containers(spec()) == ("web",)
    assert watched_containers(CPU_ONLY) == ()
    assert memory_floors(CPU_ONLY, BASELINE, ()) == ((), ())


class TestPreflight:
    def answered(self, answers: dict[Inquiry, object], state: ExperimentState | None = None):  # type: ignore[no-untyped-def]
        return decided(snapshot(experiment(state or fresh()), answers=answers))

    def test_usage_is_asked_for_beside_the_probes_and_once(self) -> None:
        assert self.answered({}).inquiries == (AskProbes(), ASK)
        assert decided(snapshot(experiment(fresh(), spec=CPU_ONLY))).inquiries == (AskProbes(),)
        later = decided(snapshot())
        assert not any(isinstance(i, AskUsage) for i in later.inquiries)

    def test_the_floor_is_in_the_status_and_in_the_words(self) -> None:
        decision = self.answered({AskProbes(): (PROBE,), ASK: (Usage("web", used(550)),)})
        assert [f.parameter for f in decision.state.floors] == ["memory"]
        found = decision.state.condition(ConditionType.PREFLIGHT)
        assert found is not None
        assert found.status is True
        assert "nothing under 632Mi is tried" in found.message
        assert any(isinstance(a, EmitEvent) and "632Mi" in a.message for a in decision.actions)

    def test_an_older_floor_is_forgotten_when_it_cannot_be_read_again(self) -> None:
        old = replace(fresh(), floors=(Floor("memory", 1e9, "old"),))
        decision = self.answered({AskProbes(): (PROBE,), ASK: (Usage("web", NoData("none")),)}, old)
        assert decision.state.is_true(ConditionType.PREFLIGHT)
        assert decision.state.floors == ()

    def test_the_designer_is_told(self) -> None:
        state = running(floors=(Floor("memory", 632.5 * MIB, "why"),))
        (ask,) = decided(snapshot(experiment(state))).inquiries
        assert isinstance(ask, AskProposal)
        assert ask.study.floors == (("memory", 632.5 * MIB),)
