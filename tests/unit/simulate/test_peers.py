"""Other rightsizers' rules: what they recommend on a load that is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.unit.simulate.stories import START, story, web_truth

from trimtab.domain.state import ExperimentState
from trimtab.simulate.collect import Finished
from trimtab.simulate.horizon import Horizon
from trimtab.simulate.peers import DEFAULT_HPA, RULES, _Decaying, compare, hold, krr, random_search, trimtab, vpa
from trimtab.workload import UNLIMITED, OfferedLoad, evaluate
from trimtab.workload.units import MIB

NOTHING = Finished(ExperimentState(), (), (), 880.0, START)


def horizon(days: float = 2.0) -> Horizon:
    """The example with a steady load: nothing to average, so that rules can be worked out by hand."""
    truth = web_truth()
    load = truth.workload.load.model_copy(
        update={"noise_percent": 0.0, "daily_swing_percent": 0.0, "weekend_percent": 100.0}
    )
    steady = replace(truth, workload=truth.workload.model_copy(update={"load": load}))
    return Horizon(steady, OfferedLoad.of(steady.workload), START, days)


def test_hold_changes_nothing() -> None:
    (segment,) = hold(horizon(), NOTHING).segments
    assert segment.target == horizon().baseline


def test_krr_is_the_usage_plus_fifteen_percent_of_memory_and_no_cpu_limit() -> None:
    calm = horizon()
    pod = evaluate(calm.truth.workload, calm.baseline, 800.0)
    (segment,) = krr(calm, NOTHING).segments
    assert segment.target.cpu_request == pytest.approx(pod.cpu_usage_cores, rel=0.01)
    assert segment.target.cpu_limit == UNLIMITED
    assert segment.target.memory_request == segment.target.memory_limit
    assert segment.target.memory_request == pytest.approx(1.15 * pod.working_set_bytes, rel=0.01)
    assert segment.target.memory_request % MIB == 0


def test_vpa_is_the_bucket_above_the_usage_plus_fifteen_percent() -> None:
    calm = horizon()
    first, second, *_ = vpa(calm, NOTHING).segments
    pod = evaluate(calm.truth.workload, calm.baseline, 800.0)
    assert first.target == calm.baseline
    assert second.start == START
    assert 1.15 <= second.target.cpu_request / pod.cpu_usage_cores <= 1.15 * 1.06
    assert 1.15 <= second.target.memory_request / pod.working_set_bytes <= 1.15 * 1.06
    assert second.target.cpu_limit == second.target.cpu_request


def test_old_samples_weigh_half_after_a_day() -> None:
    histogram = _Decaying(0.01)
    histogram.add(np.full(10, 1.0), np.full(10, 86400.0))
    histogram.add(np.full(4, 2.0), np.full(4, 2 * 86400.0))
    assert histogram.percentile(5 / 9 - 0.01) == pytest.approx(1.0, rel=0.06)
    assert histogram.percentile(5 / 9 + 0.01) == pytest.approx(2.0, rel=0.06)


def test_a_percentile_is_never_below_the_samples() -> None:
    histogram = _Decaying(0.01)
    for value in (0.003, 0.2, 1.7):
        histogram.add(np.array([value]), np.array([0.0]))
        assert value < histogram.percentile(1.0) < 1.06 * value + 0.011


def test_random_search_tries_as_often_as_trimtab_and_applies_what_held() -> None:
    _, finished = story()
    played = random_search(horizon(), finished)
    canaries = [s.canary for s in played.segments if s.canary]
    assert len(canaries) == 7
    assert len(set(canaries)) > 1
    final = played.segments[-1].target
    truth = horizon().truth
    assert truth.judge_run((truth.workload, final), 800.0).feasible
    assert horizon().cost(final) < horizon().cost(horizon().baseline)


def test_trimtab_is_scored_with_its_arms_and_from_its_end_on_with_its_recommendation() -> None:
    truth, finished = story()
    played = trimtab(Horizon(truth, OfferedLoad.of(truth.workload), START, 1.0), finished)
    assert played.segments[-1].target == truth.resources(finished.trials[-1].assignment)
    assert played.segments[-1].start == finished.state.finished
    assert sum(bool(s.canary) for s in played.segments) == len(finished.trials)


def test_an_experiment_without_an_answer_changes_nothing() -> None:
    truth, finished = story()
    empty = replace(finished, state=replace(finished.state, recommendation=None))
    played = trimtab(Horizon(truth, OfferedLoad.of(truth.workload), START, 1.0), empty)
    assert played.segments[-1].target == truth.resources(truth.baseline)
    assert played.restarts == 0


@pytest.mark.thorough
def test_all_rules_side_by_side() -> None:
    truth, finished = story()
    names = tuple(name for name in RULES if name != DEFAULT_HPA)
    found = compare(Horizon(truth, OfferedLoad.of(truth.workload), START, 1.0), finished, names)
    by_name = {peer.name: peer for peer in found}
    assert list(by_name) == ["trimtab", "hold", "vpa", "krr", "random"]
    assert by_name["trimtab"].violation_minutes == by_name["hold"].violation_minutes == 0
    assert by_name["trimtab"].mean_cost_per_hour < by_name["hold"].mean_cost_per_hour
    assert by_name["vpa"].violation_minutes == 1440
    assert 50 < by_name["krr"].violation_minutes < 300
    assert by_name["krr"].setting.startswith("cpu 4")
    assert "/none memory" in by_name["krr"].setting
