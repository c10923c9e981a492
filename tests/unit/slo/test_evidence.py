"""Which sequential tests run, at which level, and what they say: for and against the canary."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from tests.unit.control.builders import spec

from trimtab.domain.measurement import Sample
from trimtab.domain.spec import ExperimentSpec, Objective, ObjectiveTerm, RelativeBound
from trimtab.slo.estimate import ratio_sample
from trimtab.slo.evidence import Asked, SliTest, asked_of, clearly_good, early_kept, level, tempered, worse_words
from trimtab.slo.sequential import INVERSES, EProcess, LimitProcess

BOUND = spec().constraints[0]
NAMED = replace(BOUND, max_error_ratio=2.0)
EARLY = spec(constraints=(NAMED,), trial=replace(spec().trial, early_success=True))


def counts(bad: float, total: float = 1000.0) -> Sample:
    found = ratio_sample([bad], [total])
    assert isinstance(found, Sample)
    return found


def fed(asked: Asked, canary: float, control: float, windows: int, early: bool = False, phi: float = 1.0) -> SliTest:
    test = SliTest.of(asked, early).tempered(phi)
    for _ in range(windows):
        test = test.add(counts(canary), counts(control))
    return test


def test_what_is_tested() -> None:
    assert asked_of(spec(budgets=())) == ()
    (budget,) = asked_of(spec())
    assert budget == Asked("errors", 1.2, named=False, limit=pytest.approx(0.01))
    (named,) = asked_of(spec(constraints=(replace(NAMED, maximum=0.005),)))
    assert named == Asked("errors", 2.0, named=True, limit=0.005)  # the stricter of SLO and bound
    (relative,) = asked_of(spec(budgets=(), constraints=(replace(NAMED, maximum=None),)))
    assert relative == Asked("errors", 2.0, named=True, limit=None)
    (both,) = asked_of(spec(constraints=(NAMED, replace(NAMED, name="again", max_error_ratio=1.5))))
    assert both.delta == 1.5


def test_the_level_is_split_over_findings_and_never_over_looks() -> None:
    assert level(spec(budgets=())) == 0.01
    assert level(spec()) == 0.01
    assert level(spec(constraints=(NAMED,))) == 0.005
    assert level(spec(constraints=(NAMED, replace(NAMED, name="slow", sli="slow")))) == 0.0025


def test_a_named_ratio_withdraws_whatever_the_limit() -> None:
    asked = Asked("errors", 1.2, named=True, limit=0.5)
    assert fed(asked, 30, 5, 12).harmful(0.01)
    assert not fed(replace(asked, named=False), 30, 5, 12).harmful(0.01)


def test_without_a_name_the_limit_must_be_broken_and_the_control_must_be_better() -> None:
    asked = Asked("errors", 1.2, named=False, limit=0.01)
    assert fed(asked, 30, 5, 12).harmful(0.01)
    assert not fed(asked, 8, 1, 60).harmful(0.01)  # eight times the control, within the limit
    assert not fed(asked, 30, 30, 60).harmful(0.01)  # far over the limit, as the control is
    assert fed(replace(asked, delta=3.0, named=True), 22, 10, 60).harmful(0.01)  # within 3 times, but over the limit


def test_a_moment_over_the_limit_is_no_evidence() -> None:
    """A running ratio that is above the limit now and then, as that of every canary near its SLO is."""
    asked = Asked("errors", 1.2, named=False, limit=0.01)
    assert not fed(asked, 10.5, 3, 30).harmful(0.01)


def test_one_limit_against_the_formula_and_a_null_that_does_not_gain() -> None:
    process = LimitProcess(0.01, phi=1.0).add(7, 300)
    components = []
    for ratio in (1.25, 1.5, 2.0, 3.0, 5.0, 10.0):
        p = ratio * 0.01 / (0.99 + ratio * 0.01)
        components.append((p / 0.01) ** 7 * ((1 - p) / 0.99) ** 293)
    assert process.value == pytest.approx(np.mean(components))
    assert LimitProcess(0.01).add(0, 0) == LimitProcess(0.01)
    one = [LimitProcess(0.3, phi=1.0).add(k, 1).value for k in (0, 1)]
    assert 0.7 * one[0] + 0.3 * one[1] == pytest.approx(1.0)  # a martingale at the limit
    assert 0.9 * one[0] + 0.1 * one[1] < 1.0  # and less below it


def test_both_directions_are_martingales_at_the_tolerance() -> None:
    for ratios in (EProcess().ratios, INVERSES):
        start = EProcess(delta=2.0, phi=1.0, ratios=ratios)
        canary = 2 * 100 / (2 * 100 + 50)  # where an error falls at the tolerance: 100 and 50 requests
        expected = canary * start.add(1, 100, 0, 50).value + (1 - canary) * start.add(0, 100, 1, 50).value
        assert expected == pytest.approx(1.0)


def test_a_clearly_good_canary() -> None:
    assert clearly_good(EARLY, (("errors", fed(asked_of(EARLY)[0], 2, 2, 60, early=True)),))
    for canary, control in ((9, 9), (2, 0.5)):  # near the bound; better than the bound, worse than the control
        assert not clearly_good(EARLY, (("errors", fed(asked_of(EARLY)[0], canary, control, 60, early=True)),))
    clustered = fed(asked_of(EARLY)[0], 2, 2, 60, early=True, phi=5.0)
    assert not clearly_good(EARLY, (("errors", clustered),))


@pytest.mark.parametrize(
    "changes",
    [
        {"trial": spec().trial},
        {"constraints": (BOUND,)},
        {"constraints": (replace(NAMED, maximum=None, relative=RelativeBound(max_increase=0.01)),)},
        {"constraints": (replace(NAMED, relative=RelativeBound(max_increase=0.01)),)},
        {"constraints": (replace(NAMED, minimum=0.0001),)},
        {"constraints": (replace(NAMED, guard_only=True),)},
        {"objectives": (Objective("slow", False, (ObjectiveTerm(1.0, "errors"),)),)},
        {"slis": (replace(spec().slis[0], min_samples=10**6),)},
    ],
)
def test_what_a_longer_window_could_tell_is_waited_for(changes: dict[str, object]) -> None:
    about: ExperimentSpec = replace(EARLY, **changes)  # type: ignore[arg-type]
    tests = tuple((t.sli, fed(t, 1, 1, 60, early=True)) for t in asked_of(about))
    assert not clearly_good(about, tests)


def test_the_sli_of_a_budget_alone_need_not_be_compared() -> None:
    """Too few errors to compare say enough of an SLO that is far away."""
    asked = Asked("errors", 1.2, named=False, limit=0.01)
    assert fed(asked, 0.1, 0.1, 60, early=True).good(0.05)
    assert not fed(replace(asked, named=True), 0.1, 0.1, 60, early=True).good(0.05)
    assert not fed(asked, 9.5, 9.5, 60, early=True).good(0.05)


def test_every_sli_under_test_must_be_shown() -> None:
    assert not clearly_good(EARLY, ())
    assert early_kept(EARLY, NAMED)
    assert not early_kept(EARLY, BOUND)


def test_without_early_success_nothing_speaks_for_the_canary() -> None:
    test = fed(asked_of(EARLY)[0], 1, 1, 60, early=False)
    assert test.no_worse is None
    assert not test.good(0.05)


def test_tempering_reaches_every_process_and_only_weakens() -> None:
    test = fed(asked_of(EARLY)[0], 30, 5, 12, early=True)
    values = [dict(tempered((("errors", test),), {"errors": phi}))["errors"].value for phi in (1.0, 2.0, 4.0)]
    assert all(a > b for a, b in pairwise(values))
    assert tempered((("errors", test),), {"slow": 9.0}) == (("errors", test),)


def test_the_words_tell_the_limit_when_it_decided() -> None:
    sli = spec().slis[0]
    over = fed(Asked("errors", 3.0, named=True, limit=0.01), 22, 10, 60)
    assert "limit 1 %, e-value" in worse_words(sli, over, 0.01)
    assert "limit" not in worse_words(sli, fed(Asked("errors", 1.2, named=True, limit=0.01), 30, 5, 12), 0.01)
