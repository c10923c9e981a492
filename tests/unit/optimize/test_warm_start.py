"""What an earlier Experiment taught says what to try first, and counts for nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from tests.unit.optimize.test_acquisition import chosen, history, moment
from tests.unit.optimize.toy import Service, play, search, web, web_study

from trimtab.domain.study import Study
from trimtab.domain.trial import Purpose, Suggestion
from trimtab.optimize.designer import recommend, suggest
from trimtab.optimize.readings import gather
from trimtab.optimize.safe import believe, verified
from trimtab.optimize.scores import expecting


def warm(study: Study, seed: int = 9) -> Study:
    return replace(study, hints=history(12, seed).outcomes)


def test_hints_make_nothing_safe_verified_or_recommended() -> None:
    study = history(3)
    cold, told = (believe(s, gather(s)) for s in (study, warm(study)))
    assert verified(cold) == verified(told)
    u = cold.encoder.encode([web("0.6", 1024), web("1", 1024)])
    assert np.array_equal(cold.predict(u)[0], told.predict(u)[0])
    assert recommend(study) == recommend(warm(study))


def test_they_are_heard_where_a_point_is_chosen() -> None:
    study = history(3)
    belief = believe(warm(study), gather(study))
    expected = expecting(belief)
    u = belief.encoder.encode([web("0.6", 1024)])
    assert np.all(expected.predict(u)[1] < belief.predict(u)[1])
    assert len(expected.models[0].rows) > len(belief.models[0].rows) + 20
    members = verified(belief)
    assert chosen(belief, members).safe_points == chosen(believe(study, gather(study)), members).safe_points


def test_a_search_that_begins_warm_stays_as_safe_and_gets_there() -> None:
    cold = play(web_study(search=search(seed=2)), Service(), suggest, recommend, 9)
    told = play(warm(web_study(search=search(seed=2))), Service(), suggest, recommend, 9)
    assert told.gross == cold.gross == 0
    assert told.unsafe <= 1
    assert told.recommended is not None
    assert not told.recommended.keep_baseline
    assert Service().worst(told.recommended.assignment, 33.0) <= 0


def test_what_is_given_is_tried_as_soon_as_it_is_safe_and_within_reach() -> None:
    near, far, off = web("1.2", 1280), web("0.7", 1024), web("1.21", 1280)
    study = web_study(search=search(seed=3), wanted=(far, off, near))
    run = play(study, Service(), suggest, recommend, 12)
    tried = [s.assignment for s in run.suggestions]
    first = run.suggestions[2]
    assert (first.assignment, first.purpose, first.by_model) == (near, Purpose.INITIAL, False)
    assert first.reason == "given by warmStart.assignments"
    assert far in tried
    assert off not in tried  # the grid has no such point
    assert tried.count(far) <= 4
    assert run.gross == 0


def test_without_hints_nothing_is_expected() -> None:
    belief = moment("Improve")[0]
    assert expecting(belief) is belief
    assert isinstance(suggest(belief.study).answer, Suggestion)
