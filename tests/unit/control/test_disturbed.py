"""Trials side by side: what the ledger tells of company, when they disturb each other, and what follows from it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.control.builders import (
    BASELINE,
    CHEAPER,
    NOW,
    arm,
    both_arms,
    decided,
    ended,
    events,
    experiment,
    kinds,
    outcome,
    running,
    snapshot,
    spec,
    suggestion,
    target,
    trial,
)

from trimtab.control.actions import Decision
from trimtab.control.arms import cost_model
from trimtab.control.company import accompanied, alone, at_a_time
from trimtab.control.figures import figures
from trimtab.control.interference import controls_worse
from trimtab.control.replaying import replay
from trimtab.control.snapshot import AskMeasurements, TrialReadings
from trimtab.control.study import build_study
from trimtab.domain.kube import ArmView
from trimtab.domain.measurement import Arm, Measurement, Sample, Window
from trimtab.domain.spec import CanarySpec, SliKind, TrialTiming
from trimtab.domain.state import ConditionType, ExperimentState
from trimtab.domain.study import Proposal, Study
from trimtab.domain.trial import Load, PhaseTimes, Purpose, Suggestion, Trial, TrialPhase
from trimtab.optimize import sobol

P = TrialPhase
MINUTE = 60.0
SPEC = spec(trial=TrialTiming(10.0, 60.0, 600.0, parallel=3), canary=CanarySpec(1, 0.3))
START = NOW - 3600.0


def at(begin: float, index: int, bad: float = 50.0, load: float = 100.0, **changes: object) -> Trial:
    """A search trial whose arms served from this minute on for eleven, ten of them measured: so many of 5,000 requests
    of each arm were bad."""
    since = START + begin * MINUTE
    window = Window(since + MINUTE, since + 11 * MINUTE)
    times = PhaseTimes(since - 5, since - 4, since, window.start, window.end, window.end + 10)
    sample = Sample(bad / 5000.0, (bad**0.5) / 5000.0, 5000.0, bad)
    made = ended(
        P.SUCCEEDED,
        index,
        window=window,
        measurements=tuple(Measurement("errors", which, window, sample) for which in (Arm.CANARY, Arm.CONTROL)),
        load=tuple(Load(which, load) for which in (Arm.CANARY, Arm.CONTROL)),
    )
    return replace(made, times=times, **changes)  # type: ignore[arg-type]


def baseline(begin: float, index: int, bad: float = 50.0, load: float = 110.0) -> Trial:
    first = suggestion(assignment=BASELINE, purpose=Purpose.BASELINE)
    return at(begin, index, bad, load, suggestion=first)


class TestCompany:
    def test_one_after_the_other_each_was_alone(self) -> None:
        trials = tuple(at(12.0 * i, i) for i in range(3))
        assert [at_a_time(t, trials) for t in trials] == [1.0, 1.0, 1.0]
        assert all(alone(t, trials) for t in trials)

    def test_who_came_during_half_of_the_window_counts_for_half(self) -> None:
        trials = (at(0.0, 0), at(6.0, 1))
        assert at_a_time(trials[0], trials) == pytest.approx(1.5)
        assert at_a_time(trials[1], trials) == pytest.approx(1.4)
        assert all(accompanied(t, trials) for t in trials)

    def test_who_still_lives_counts_from_when_it_served(self) -> None:
        young = trial(P.MEASURING, 1, times=PhaseTimes(START, START, START + 6 * MINUTE, START + 7 * MINUTE))
        assert at_a_time(at(0.0, 0), (at(0.0, 0), young)) == pytest.approx(1.5)

    def test_what_was_never_measured_had_none(self) -> None:
        lost = ended(P.INFRA_FAILED, 0, window=None)
        assert at_a_time(lost, (lost, at(0.0, 1))) == 1.0
        assert not alone(lost, (lost,))

    def test_a_withdrawal_ends_its_window(self) -> None:
        whole = at(0.0, 0)
        left = replace(whole, times=replace(whole.times, draining=START + 3 * MINUTE))
        assert at_a_time(left, (left, at(4.0, 1))) == 1.0

    def test_the_peak_is_what_pods_get_without_any_of_the_arms(self) -> None:
        record = running().target
        assert record is not None

        def peak(*trials: Trial) -> float | None:
            return build_study(SPEC, target(), record, trials, START).peak_load

        assert peak(at(0.0, 0)) == pytest.approx(100.0 * 22 / 20)
        assert peak(at(0.0, 0), at(0.0, 1)) == pytest.approx(100.0 * 24 / 20)

    def test_efficiency_of_two_at_a_time(self) -> None:
        two = (at(0.0, 0), at(0.0, 1))
        cost = cost_model(SPEC, target())
        assert figures(SPEC, cost, BASELINE, None, two).parallel_efficiency == pytest.approx(2 / 3)
        assert figures(spec(), cost, BASELINE, None, two[:1]).parallel_efficiency == pytest.approx(1.0)


class TestControls:
    def test_as_they_were_alone_says_nothing(self) -> None:
        assert controls_worse(SPEC, (baseline(0, 0), baseline(12, 1), at(24, 2, 55), at(24, 3, 52))) == ""

    def test_much_worse_side_by_side_is_told_with_figures(self) -> None:
        words = controls_worse(SPEC, (baseline(0, 0), baseline(12, 1), at(24, 2, 150), at(25, 3, 160)))
        assert words.startswith("errors of the controls of 2 trials side by side is 3.1 times as bad as alone")

    def test_one_trial_is_no_evidence(self) -> None:
        assert controls_worse(SPEC, (baseline(0, 0), baseline(12, 1), at(24, 2, 300))) == ""

    def test_at_more_load_there_is_nothing_to_compare_with(self) -> None:
        more = (at(24, 2, 150, load=200.0), at(25, 3, 160, load=200.0))
        assert controls_worse(SPEC, (baseline(0, 0), baseline(12, 1), *more)) == ""

    def test_little_traffic_is_no_evidence(self) -> None:
        assert controls_worse(SPEC, (baseline(0, 0, 2), baseline(12, 1, 2), at(24, 2, 4), at(25, 3, 5))) == ""

    @pytest.mark.parametrize(("side_by_side", "found"), [(20.0, True), (80.0, False)])
    def test_of_a_least_bound_less_is_worse(self, side_by_side: float, found: bool) -> None:
        bound = replace(SPEC.constraints[0], maximum=None, minimum=0.001)
        least = replace(SPEC, constraints=(bound,), slis=(replace(SPEC.slis[0], kind=SliKind.VALUE),))
        words = controls_worse(
            least, (baseline(0, 0), baseline(12, 1), at(24, 2, side_by_side), at(25, 3, side_by_side))
        )
        assert bool(words) is found


def judged(bad: float, state: ExperimentState | None = None) -> Decision:
    """The end of the second of two windows side by side, after two baselines alone; its arms read so many bad."""
    window = Window(NOW - 700, NOW - 100)
    times = PhaseTimes(NOW - 800, NOW - 790, NOW - 760, window.start)
    made = suggestion(assignment=BASELINE.replace("cpu", CHEAPER.number("cpu")))
    last = trial(P.MEASURING, 3, window=window, times=times, suggestion=made)
    first = at(0.0, 2, 150)
    shift = replace(first, window=window, times=replace(times, draining=NOW - 90, finished=NOW - 80))
    read = at(0.0, 3, bad)
    ask = AskMeasurements(last.name, window, False)
    answers = {ask: TrialReadings(read.measurements, read.load)}
    trials = (baseline(0, 0), baseline(12, 1), shift, last)
    return decided(snapshot(experiment(state, spec=SPEC), trials, both_arms(last), answers))


class TestWhatFollows:
    def test_nothing_while_controls_are_as_they_were(self) -> None:
        assert outcome(judged(20.0)).phase is P.SUCCEEDED

    def test_trials_that_disturb_each_other_are_no_evidence_and_run_one_at_a_time(self) -> None:
        decision = judged(160.0)
        found = outcome(decision)
        assert (found.phase, found.reason) == (P.INCONCLUSIVE, "ControlsWorse")
        told = decision.state.condition(ConditionType.PARALLEL)
        assert told is not None
        assert (told.status, told.reason) == (False, "ControlsWorse")
        assert "times as bad" in told.message
        assert decision.state.spoilt_before == 4
        assert "ControlsWorse" in events(decision)

    def test_those_that_still_ran_then_are_none_either(self) -> None:
        state = running().with_condition(ConditionType.PARALLEL, False, "ControlsWorse", "so bad", NOW - 5, 1)
        found = outcome(judged(20.0, state))
        assert (found.phase, found.reason, found.message) == (P.INCONCLUSIVE, "ControlsWorse", "so bad")

    def test_what_had_company_before_teaches_nothing_any_more(self) -> None:
        record = running().target
        assert record is not None
        trials = (at(0.0, 0), at(12.0, 1), at(12.0, 2), at(24.0, 3))

        def teaches(before: int | None) -> list[bool]:
            study = build_study(SPEC, target(), record, trials, START, spoilt_before=before)
            return [o.learnable for o in study.outcomes]

        assert teaches(None) == [True] * 4
        assert teaches(4) == [True, False, False, True]
        assert teaches(2) == [True, False, True, True]


def on(view: ArmView, node: str) -> ArmView:
    return replace(view, pods=tuple(replace(p, node=node) for p in view.pods))


class TestOneNode:
    def deployed(self, *nodes: str) -> Decision:
        """The second of two trials is ready; the nodes of (canary, control) of the first, and of the second."""
        old = replace(trial(P.MEASURING, 0), window=Window(NOW - 20, NOW + 40))
        new = trial(P.DEPLOYING, 1, times=PhaseTimes(NOW - 5, NOW - 4))
        arms = (arm(old, Arm.CANARY), arm(old, Arm.CONTROL), arm(new, Arm.CANARY), arm(new, Arm.CONTROL))
        views = tuple(on(view, node) for view, node in zip(arms, nodes, strict=True))
        return decided(snapshot(experiment(spec=SPEC), (old, new), views))

    def test_canaries_that_share_one_do_not_measure_side_by_side(self) -> None:
        decision = self.deployed("a", "b", "a", "c")
        found = outcome(decision)
        assert (found.phase, found.reason) == (P.INFRA_FAILED, "NodeShared")
        assert "node a" in found.message
        assert decision.state.is_false(ConditionType.PARALLEL)
        assert decision.state.spoilt_before is None

    def test_apart_they_do(self) -> None:
        assert kinds(self.deployed("a", "b", "c", "b")) == ["WriteTrial"]


def test_a_parallel_history_replays() -> None:
    """What was pending when each was suggested is read from the ledger alone."""
    about = replace(SPEC, search=replace(SPEC.search, designer="Sobol"))
    record = running().target
    assert record is not None
    trials: list[Trial] = [baseline(0, 0, 2), baseline(12, 1, 2)]
    pending: list[Trial] = []
    for index in range(2, 8):  # two at a time, each begun while the one before measures
        seen = (*trials, *(replace(t, phase=P.MEASURING) for t in pending))
        answer = sobol.suggest(build_study(about, target(), record, seen, START)).answer
        assert isinstance(answer, Suggestion)
        made = replace(answer, beside=tuple(t.index for t in pending))
        pending.append(at(24.0 + 6.0 * index, index, 2, suggestion=made))
        if len(pending) == 2:
            trials.append(pending.pop(0))
    state = replace(running(), started=START)
    found = [*replay(about, state, target(), (*trials, *pending), sobol.suggest, _never)]
    assert [r.message for r in found[2:]] == ["identical"] * 6
    blind = tuple(replace(t, suggestion=replace(t.suggestion, beside=())) for t in (*trials, *pending))
    assert not all(r.identical for r in [*replay(about, state, target(), blind, sobol.suggest, sobol.suggest)][3:])


def _never(study: Study) -> Proposal:
    raise AssertionError(study)
