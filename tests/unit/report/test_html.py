"""The page: complete, self-contained, well-formed, and safe with whatever a manifest says."""

# ruff: noqa: ARG002 - the parser's own signatures

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from tests.unit.simulate.stories import result

from trimtab.report.charts import cost_chart, exposure_chart, sli_chart
from trimtab.report.html import page, set_page
from trimtab.report.svg import Scale
from trimtab.report.words import Files
from trimtab.simulate.results import Absent, Simulation
from trimtab.simulate.seeds import gathered

VOID = frozenset({"meta", "link", "br", "img", "input", "hr"})


class Balanced(HTMLParser):
    """Fails when a tag is closed that is not the last one opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)


def tags(text: str) -> list[str]:
    parser = Balanced()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    return parser.seen


def test_the_page_is_whole_and_needs_nothing() -> None:
    text = page(result(peers=("vpa", "hold")), Files())
    found = tags(text)
    assert found.count("svg") == 5
    assert found.count("table") == 2
    assert not {"script", "img", "link", "iframe"} & set(found)
    assert re.search(r"https?:|url\(|@import", text) is None


def test_it_shows_what_matters() -> None:
    text = page(result(), Files("e.yaml", "w.yaml"))
    for words in (
        "60 % cheaper with cpu=800m memory=768Mi", "trials truly unsafe", "optimum $0.532", "bound 5.00 %",
        "Infeasible AbortRule", "error budget availability", "no evidence that the service is safe",
        "trimtab simulate -f e.yaml --workload w.yaml --seeds 20",
    ):  # fmt: skip
        assert words in text, words


def test_the_same_result_gives_the_same_page() -> None:
    assert page(result(), Files()) == page(result(), Files())


def test_what_a_manifest_says_is_text_and_never_markup() -> None:
    one = result()
    evil = "<script>alert(1)</script>"
    inputs = one.inputs.model_copy(update={"experiment": f"shop/{evil}", "workload": f'"{evil}'})
    trial = one.trials[6].model_copy(update={"reason": evil, "message": f'"{evil}'})
    constraint = one.constraints[0].model_copy(update={"name": evil})
    changes = {"inputs": inputs, "trials": (*one.trials[:6], trial), "constraints": (constraint, one.constraints[1])}
    text = page(one.model_copy(update=changes), Files(evil, evil))
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    tags(text)


def emptied(one: Simulation) -> Simulation:
    none = Absent(absent="NoRecommendation", detail="waiting: nothing is ready")
    gone = {
        "recommendation": none, "best_cost": none, "saving_percent": none, "truly_feasible": none,
        "saving_of_optimum_percent": none, "optimum_cost": none, "optimum": (), "budgets": (), "trials": 0,
    }  # fmt: skip
    return one.model_copy(update={"trials": (), "summary": one.summary.model_copy(update=gone)})


def test_a_simulation_without_trials_has_a_page() -> None:
    text = page(emptied(result()), Files())
    tags(text)
    assert "and nothing is recommended" in text


def test_keeping_the_baseline_is_an_answer() -> None:
    one = result()
    assert not isinstance(one.summary.recommendation, Absent)
    kept = one.summary.recommendation.model_copy(update={"keep_baseline": True})
    summary = one.summary.model_copy(update={"recommendation": kept, "saving_percent": 0.0})
    assert "<h1>Keep the baseline</h1>" in page(one.model_copy(update={"summary": summary}), Files())


@pytest.mark.thorough
def test_the_page_of_several_seeds() -> None:
    text = set_page(gathered([result(1, peers=("hold",)), result(2, peers=("hold",))]))
    tags(text)
    assert text.count("<circle") == 2
    assert "2 of 2 runs found something cheaper" in text
    assert "Other rules on the same load" in text


def test_a_service_that_had_to_be_repaired() -> None:
    """Its baseline is no success, so the line begins with the first; what was better than today lies below the axis."""
    one = result()
    first = one.trials[0].model_copy(update={"phase": type(one.trials[0].phase)("Infeasible")})
    better = tuple(t.model_copy(update={"extra_bad_requests": -500.0}) for t in (first, *one.trials[1:]))
    summary = one.summary.model_copy(update={"extra_bad_requests": -500.0})
    repaired = one.model_copy(update={"trials": better, "summary": summary})
    whole, later = (re.search(r'steps incumbent" d="M([\d.]+)', cost_chart(x)) for x in (one, repaired))
    assert whole is not None
    assert later is not None
    assert float(later[1]) > float(whole[1])
    assert ">-400</text>" in exposure_chart(repaired)
    assert "were good that today&#39;s values would have failed" in page(repaired, Files())


def test_charts_mark_each_trial_once() -> None:
    one = result()
    assert cost_chart(one).count("<circle") == len(one.trials)
    assert exposure_chart(one).count('<rect class="bar') == len(one.trials)
    slow = sli_chart(one, one.constraints[0])
    assert slow.count("<polygon") == len(one.trials)
    assert slow.count('class="band') == 5
    assert (
        sli_chart(
            one.model_copy(update={"trials": ()}), one.constraints[0].model_copy(update={"max": Absent(absent="x")})
        )
        == ""
    )


@pytest.mark.parametrize(
    ("scale", "ticks"),
    [
        (Scale(0.0, 1.5, 100.0, 0.0), [0.0, 0.5, 1.0, 1.5]),
        (Scale(0.0, 8230.0, 100.0, 0.0), [0.0, 2000.0, 4000.0, 6000.0, 8000.0]),
        (Scale(0.008, 0.13, 100.0, 0.0, log=True), [0.01, 0.03, 0.1]),
        (Scale(1.0, 1000.0, 100.0, 0.0, log=True), [1.0, 10.0, 100.0, 1000.0]),
    ],
)
def test_ticks_are_round_and_within(scale: Scale, ticks: list[float]) -> None:
    assert scale.ticks() == pytest.approx(ticks)


def test_a_scale_keeps_marks_on_the_plane() -> None:
    scale = Scale(1.0, 100.0, 200.0, 0.0, log=True)
    assert [scale(v) for v in (0.01, 1.0, 10.0, 100.0, 1e9)] == pytest.approx([200.0, 200.0, 100.0, 0.0, 0.0])
