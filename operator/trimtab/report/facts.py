"""The result in a dozen lines: (label, words, tone), for terminals and the page alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from trimtab.report import words
from trimtab.simulate.results import Absent, Simulation, Summary

ENDS = ("succeeded", "infeasible", "inconclusive", "aborted", "stale", "infra_failed")

MOST_FAULTS = 8


class Tone(StrEnum):
    """Whether it is good news."""

    PLAIN = "plain"
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True)
class Fact:
    """One line."""

    label: str
    text: str
    tone: Tone = Tone.PLAIN


def facts(simulation: Simulation) -> tuple[Fact, ...]:
    """Everything of the summary, most important first."""
    s = simulation.summary
    return (*_answer(s), *_objectives(s), *_money(s), *_course(s), *_safety(s), *_faults(simulation))


def answer(s: Summary) -> str:
    """The recommendation in words."""
    if isinstance(s.recommendation, Absent):
        return f"none: {s.recommendation.detail or s.recommendation.absent}"
    if s.recommendation.keep_baseline:
        return "keep the baseline"
    verified = "verified" if s.recommendation.verified else "not verified"
    return f"{words.assignment(s.recommendation.assignment)} ({verified})"


def _answer(s: Summary) -> Iterator[Fact]:
    known = not isinstance(s.recommendation, Absent)
    yield Fact("recommendation", answer(s), Tone.PLAIN if known else Tone.WARN)
    if known:
        held = words.yes(s.truly_feasible, "keeps every bound at peak load", "BREAKS A BOUND AT PEAK LOAD")
        yield Fact("in the model without noise", held, Tone.GOOD if s.truly_feasible is True else Tone.BAD)


def _objectives(s: Summary) -> Iterator[Fact]:
    """Objectives other than the cost, without noise, and the front of two."""
    for found in s.objectives:
        best = "" if isinstance(found.optimum, Absent) else f"; at best {words.amount(found.optimum, found.unit)}"
        yield Fact(f"objective {found.name}", words.objective(found) + best)
    units = {found.name: found.unit for found in s.objectives}
    for point in () if isinstance(s.recommendation, Absent) else s.recommendation.front:
        amounts = (f"{v.name} {words.amount(v.expected, units[v.name])}" for v in point.objectives)
        broken = "" if point.truly_feasible else "; BREAKS A BOUND AT PEAK LOAD"
        text = f"{words.assignment(point.assignment)}: {', '.join(amounts)}{broken}"
        yield Fact("front", text, Tone.BAD if broken else Tone.PLAIN)


def _money(s: Summary) -> Iterator[Fact]:
    yield Fact("$ per hour", f"{words.money(s.baseline_cost)} -> {words.money(s.best_cost)}")
    if words.first_objective(s) is not None:
        return
    if not isinstance(s.saving_percent, Absent):
        share = s.saving_of_optimum_percent
        of = "" if isinstance(share, Absent) else f", {words.percent(share, 0)} of what the true optimum saves"
        if s.saving_percent < 0:  # the baseline breaks a bound, and was repaired
            yield Fact("costs more", words.percent(-s.saving_percent))
        else:
            yield Fact("saving", words.percent(s.saving_percent) + of)
    if isinstance(s.optimum_cost, Absent):
        yield Fact("true optimum", f"none: {s.optimum_cost.detail}", Tone.WARN)
    else:
        peak = f"at the peak of {s.peak_load:,.0f} requests/s{' a pod' if s.load_of == 'Pod' else ''}"
        yield Fact("true optimum", f"{words.money(s.optimum_cost)} with {words.assignment(s.optimum)}, {peak}")


def _course(s: Summary) -> Iterator[Fact]:
    after = f"{s.phase.value} after {words.seconds(s.virtual_seconds)}: {s.message}"
    if s.phase.terminal:
        yield Fact("ended", after)
    else:
        yield Fact("ended", f"not yet; {after}; give it more time with --days", Tone.WARN)
    counted = ", ".join(f"{getattr(s, end)} {end.replace('_', ' ')}" for end in ENDS if getattr(s, end))
    model = f"{s.suggested_by_model} of {s.search_trials} search trials by the model (*)"
    yield Fact("trials", f"{s.trials}: {counted or 'none'}; {model}")


def _safety(s: Summary) -> Iterator[Fact]:
    unsafe = f"{s.unsafe_trials} of {s.trials} trials truly unsafe, {s.gross_trials} gross"
    if s.unsafe_trials:
        unsafe += f"; exposed for {words.seconds(s.unsafe_seconds_exposed)}"
    tone = Tone.BAD if s.gross_trials else Tone.WARN if s.unsafe_trials else Tone.GOOD
    yield Fact("safety", unsafe, tone)
    slowest = s.rollback_seconds_max
    yield Fact(
        "canaries withdrawn",
        f"{s.rollbacks}" + ("" if isinstance(slowest, Absent) else f", the slowest in {words.seconds(slowest)}"),
    )
    extra = f"{words.count(abs(s.extra_bad_requests))} of {words.count(s.canary_requests)} requests"
    if s.canary_requests:
        extra += f" ({words.percent(100 * abs(s.extra_bad_requests) / s.canary_requests, 2)})"
    exposed = f"{words.seconds(s.seconds_exposed)} of canary traffic"
    better = s.extra_bad_requests < 0
    against = (
        "good that today's values would have failed" if better else "bad beyond what today's values would have done"
    )
    yield Fact("exposure", f"{exposed}; {extra} were {against}")
    for budget in s.budgets:
        spent = f"{words.percent(budget.spent_percent, 3)} spent of {words.percent(budget.cap_percent, 0)} allowed"
        left = f"the service has {words.percent(budget.remaining_percent)} left"
        over = budget.spent_percent > budget.cap_percent
        yield Fact(f"budget {budget.name}", f"{spent}; {left}", Tone.BAD if over else Tone.PLAIN)


def _faults(simulation: Simulation) -> Iterator[Fact]:
    """What struck, and what the operator kept nevertheless."""
    struck = [f"{fault.kind} ({fault.moment})" for fault in simulation.faults]
    if struck or simulation.faults_missed:
        more = f", and {len(struck) - MOST_FAULTS} more" if len(struck) > MOST_FAULTS else ""
        missed = f"; {simulation.faults_missed} never came" if simulation.faults_missed else ""
        yield Fact("faults", f"{', '.join(struck[:MOST_FAULTS]) or 'none struck'}{more}{missed}")
    promises = simulation.promises
    if promises.broken:
        first = promises.broken[0]
        yield Fact("promises", f"{len(promises.broken)} BROKEN; {first.promise}: {first.detail}", Tone.BAD)
    elif promises.checked:
        yield Fact("promises", f"{promises.checked} checked after every change, all kept", Tone.GOOD)


__all__ = ["Fact", "Tone", "answer", "facts"]
