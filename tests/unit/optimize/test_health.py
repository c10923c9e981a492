"""Symptoms of a model that should not be trusted, and what is done about each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.unit.optimize.test_acquisition import history
from tests.unit.optimize.test_readings import arm, outcome
from tests.unit.optimize.test_surrogate import GROUPS, prior, rows
from tests.unit.optimize.toy import Service, play, search, web_study

from trimtab.domain.study import Study, SymptomKind
from trimtab.domain.trial import Purpose, Suggestion
from trimtab.optimize import health
from trimtab.optimize.designer import recommend, suggest
from trimtab.optimize.health import WIDER, checked, fitter
from trimtab.optimize.readings import gather
from trimtab.optimize.safe import KAPPA_DISTRUSTED, Belief, believe, boxes, verified
from trimtab.optimize.surrogate import Rows

FITTED = fitter(GROUPS, prior(), 200)


def many(n: int = 40) -> Rows:
    data = rows(n)
    return replace(data, v=np.full(n, 0.05**2))  # what they were drawn with


def kinds(belief: Belief) -> list[SymptomKind]:
    return [s.kind for s in belief.symptoms]


def test_a_healthy_model_has_none() -> None:
    found = checked("slow", many(), FITTED)
    assert (found.symptoms, found.doubtful) == ((), None)
    assert found.model.fallback == ""


def test_an_outlier_is_measured_once_more_and_then_counts_less() -> None:
    data = many()
    row = 10
    y = data.y.copy()
    y[row] += 3.0
    first = checked("slow", replace(data, y=y), FITTED)
    assert first.doubtful == row
    assert [s.kind for s in first.symptoms] == [SymptomKind.OUTLIER]
    assert "is measured once more" in first.symptoms[0].message
    u = data.at.u.copy()
    u[30] = u[row]  # a later trial of the same assignment; its own value is what the place says
    y[30] = data.y[row]
    second = checked("slow", replace(data, y=y, at=replace(data.at, u=u)), FITTED)
    assert second.doubtful is None
    assert "counts with four times its standard error" in second.symptoms[0].message
    assert second.model.rows.v[row] == pytest.approx(data.v[row] * WIDER**2)
    assert len(second.model.rows) == len(data)  # never deleted


def test_a_miscalibrated_model_is_replaced_by_its_prior_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "FAR", 1e9)
    data = many()
    y = data.y + 0.8 * np.where(np.arange(len(data)) % 7 == 0, 1.0, 0.0) * np.where(np.arange(len(data)) % 2, -1, 1)
    found = checked("slow", replace(data, y=y, v=np.full(len(data), 1e-6)), fitter(GROUPS, prior(), 0))
    wrong = [s for s in found.symptoms if s.kind is SymptomKind.MISCALIBRATED]
    assert len(wrong) == 1
    assert "variance of z" in wrong[0].message
    assert found.model.fallback == "prior mode: Miscalibrated"
    assert np.all(found.model.theta == 0)


def test_few_rows_show_nothing() -> None:
    data = rows(6)
    y = data.y.copy()
    y[4] += 3.0
    few = checked("slow", replace(data, y=y), FITTED)
    assert few.doubtful is None
    assert few.symptoms == ()


def test_noise_that_hides_everything_is_told() -> None:
    data = many()
    wild = replace(data, y=np.repeat(np.random.default_rng(0).normal(size=len(data) // 2), 2) * 0.8)
    found = checked("slow", wild, FITTED)
    noisy = [s for s in found.symptoms if s.kind is SymptomKind.NOISY]
    ratio = found.model.scales.tau / np.ptp(found.model.y[found.model.rows.canary])
    assert bool(noisy) == (ratio > 0.5)
    monkey = replace(found.model, scales=replace(found.model.scales, tau=10.0))
    (told,) = [s for s in checked("slow", wild, lambda *_: monkey).symptoms if s.kind is SymptomKind.NOISY]
    assert "trials differ by 10.00 by themselves" in told.message


def distrusted(belief: Belief) -> Belief:
    from trimtab.domain.study import Symptom

    return replace(belief, symptoms=(Symptom(SymptomKind.MISCALIBRATED, "slow", "as a test"),))


def test_a_distrusted_model_takes_half_steps() -> None:
    study = history(7)
    belief = believe(study, gather(study))
    members = verified(belief)
    whole, half = boxes(study, members), boxes(study, members, half=True)
    assert belief.trusted
    assert not distrusted(belief).trusted
    assert np.all(half[..., 0] >= whole[..., 0])
    assert np.all(half[..., 1] <= whole[..., 1])
    width = whole[..., 1] - whole[..., 0]
    assert np.all(2 * (half[..., 1] - half[..., 0]) <= width + 2)
    assert np.all(half[..., 1] > half[..., 0])


def test_a_distrusted_model_is_cautious(monkeypatch: pytest.MonkeyPatch) -> None:
    study = history(12)
    calm = believe(study, gather(study))
    assert calm.kappa < KAPPA_DISTRUSTED
    monkeypatch.setattr(health, "LEAST_ROWS", 3)
    monkeypatch.setattr(health, "MOST_VARIANCE", 0.0)
    wary = believe(study, gather(study))
    assert set(kinds(wary)) == {SymptomKind.MISCALIBRATED}
    assert wary.kappa == KAPPA_DISTRUSTED
    assert [m.fallback for m in wary.models] == ["prior mode: Miscalibrated"] * 2
    proposal = suggest(study)
    assert {s.kind for s in proposal.diagnostics.symptoms} == {SymptomKind.MISCALIBRATED}


def outlying(study: Study) -> Study:
    """With a trial of a tried assignment that came out six times as slow as before."""
    last = study.outcomes[-1]
    slow = outcome(len(study.outcomes), replace(arm("1", 140), load=28.0))
    assignment = next(t.canary.assignment for t in study.outcomes[2:] if t.canary.assignment.number("cpu") > 1)
    slow = replace(slow, canary=replace(slow.canary, assignment=assignment), finished=last.finished + 60)
    return replace(study, outcomes=(*study.outcomes, slow), index=len(study.outcomes) + 1)


def test_the_search_measures_an_outlier_once_more_where_that_is_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    study = outlying(history(10))
    belief = believe(study, gather(study))
    assert SymptomKind.OUTLIER in kinds(belief)
    assert belief.doubtful == (study.outcomes[-1].canary.assignment,)
    answer = suggest(study).answer
    assert isinstance(answer, Suggestion)
    assert (answer.purpose, answer.assignment) == (Purpose.REPLICATE, belief.doubtful[0])
    assert "once more" in answer.reason


def test_an_ordinary_search_sees_none() -> None:
    run = play(web_study(search=search(seed=5)), Service(), suggest, recommend, 20)
    told = [s for p in run.proposals for s in p.diagnostics.symptoms]
    assert told == []
