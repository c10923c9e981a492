"""Numbers as people read them."""

from __future__ import annotations

import pytest
from tests.unit.simulate.stories import result

from trimtab.report import words
from trimtab.report.facts import Tone, facts
from trimtab.report.words import Files
from trimtab.simulate.results import Absent

NONE = Absent(absent="NoData")


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (words.money(1.23456), "$1.235"),
        (words.percent(12.345), "12.3 %"),
        (words.percent(0.0123), "0.012 %"),
        (words.percent(0.0), "0.0 %"),
        (words.amount(0.0312, "ratio"), "3.12 %"),
        (words.amount(0.25, "s"), "250 ms"),
        (words.amount(512.0, "MiB"), "512 MiB"),
        (words.amount(3.0, "1"), "3"),
        (words.count(12345.6), "12,346"),
        (words.seconds(3.25), "3.2 s"),
        (words.seconds(3725.0), "1h2m5s"),
        (words.days(1.0), "1 day"),
        (words.days(0.5), "0.5 days"),
        (words.yes(True), "yes"),
        (words.yes(False), "NO"),
    ],
)
def test_numbers(shown: str, text: str) -> None:
    assert shown == text


def test_what_is_absent_is_a_dash() -> None:
    shown = {words.money(NONE), words.percent(NONE), words.amount(NONE, "s"), words.count(NONE), words.seconds(NONE)}
    assert shown == {"-"}
    assert words.yes(NONE) == "-"


def test_a_trial_says_what_it_truly_was() -> None:
    rows = result().trials
    assert [words.truth_of(t) for t in rows[5:8]] == ["safe", "UNSAFE", "safe"]
    unserved = rows[0].model_copy(update={"truly_unsafe": NONE, "gross": NONE})
    assert words.truth_of(unserved) == "not served"
    assert words.truth_of(rows[6].model_copy(update={"gross": True})) == "GROSS"
    near = rows[0].model_copy(update={"truly_unsafe_at_peak": True})
    assert words.truth_of(near) == "unsafe at peak"


def test_a_missing_measurement_says_why() -> None:
    one = result()
    errors = one.constraints[1]
    assert words.measured(one.trials[3], errors, "control") == "NoData"
    assert words.measured(one.trials[3].model_copy(update={"measured": ()}), errors) == "-"


def test_bounds_in_words() -> None:
    bound = result().constraints[0]
    assert words.limit(bound) == "slow <= 5.00 %"
    least = bound.model_copy(update={"max": NONE, "min": 0.01, "relative": True})
    assert words.limit(least) == "slow >= 1.00 % and slow close to the control's"


def test_commands_can_be_copied_as_they_are() -> None:
    commands = [command for command, _ in words.next_commands(result(), Files("my file.yaml", "w.yaml"))]
    assert "trimtab simulate -f 'my file.yaml' --workload w.yaml --seeds 20 --jobs 2" in commands
    assert any("--compare" in c for c in commands)
    again = [command for command, _ in words.next_commands(result(peers=("hold",)), Files())]
    assert not any("--compare" in c for c in again)


def test_facts_tell_good_from_bad() -> None:
    one = result()
    tones = {f.label: f.tone for f in facts(one)}
    assert tones["in the model without noise"] is Tone.GOOD
    assert tones["safety"] is Tone.WARN
    summary = one.summary.model_copy(update={"truly_feasible": False, "gross_trials": 1})
    tones = {f.label: f.tone for f in facts(one.model_copy(update={"summary": summary}))}
    assert tones["in the model without noise"] is Tone.BAD
    assert tones["safety"] is Tone.BAD


def test_facts_without_a_recommendation() -> None:
    one = result()
    none = Absent(absent="NoRecommendation", detail="stopped: 8 trials broke a bound")
    gone = {"recommendation": none, "best_cost": none, "saving_percent": none, "truly_feasible": none}
    found = {f.label: f for f in facts(one.model_copy(update={"summary": one.summary.model_copy(update=gone)}))}
    assert found["recommendation"].text == "none: stopped: 8 trials broke a bound"
    assert found["recommendation"].tone is Tone.WARN
    assert "saving" not in found
    assert found["$ per hour"].text == "$1.434 -> -"
