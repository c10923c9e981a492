"""The page's charts: cost over trials, an SLI predicted and measured, other rules side by side."""

from __future__ import annotations

import math

from trimtab.report import words
from trimtab.report.svg import BOTTOM, LEFT, RIGHT, TOP, WIDTH, Chart, Scale, positions
from trimtab.simulate.results import Absent, Bound, Peer, Sample, Simulation, SimulationSet, TrialResult

TONES = {"Succeeded": "good", "Infeasible": "bad"}
TRUTHS = {"safe": "good", "unsafe at peak": "warn", "UNSAFE": "bad", "GROSS": "bad", "not served": "mute"}
Z95 = 1.96


def tone(trial: TrialResult) -> str:
    """CSS class of a verdict."""
    return TONES.get(trial.phase.value, "warn")


def cost_chart(simulation: Simulation) -> str:
    """$ per hour of each trial's assignment, the cheapest that succeeded so far, baseline and true optimum."""
    s, trials = simulation.summary, simulation.trials
    costs = [0.0 if isinstance(t.cost_per_hour, Absent) else t.cost_per_hour for t in trials]
    height = 300.0
    top = max([s.baseline_cost, *costs]) * 1.08
    chart = Chart(height, Scale(0.0, top, height - BOTTOM, TOP), "Cost per hour of each trial")
    chart.axis(lambda v: f"${v:.2f}")
    chart.rule(s.baseline_cost, f"today {words.money(s.baseline_cost)}", "mute")
    if not isinstance(s.optimum_cost, Absent):
        chart.rule(s.optimum_cost, f"optimum {words.money(s.optimum_cost)}", "optimum")
    best, line = math.inf, []
    for x, trial, cost in zip(positions(len(trials)), trials, costs, strict=True):
        if trial.phase.value == "Succeeded" and cost:
            best = min(best, cost)
        if math.isfinite(best):  # a baseline that breaks a bound is no success
            line.append((x, best))
    if line:
        chart.steps(line, "incumbent")
    for x, trial, cost in zip(positions(len(trials)), trials, costs, strict=True):
        tip = f"trial {trial.index} ({trial.purpose}): {words.assignment(trial.assignment)}, {words.verdict(trial)}"
        chart.dot(x, cost, tone(trial), tip)
    _columns(chart, trials)
    return chart.svg()


def _columns(chart: Chart, trials: tuple[TrialResult, ...]) -> None:
    every = max(1, len(trials) // 24 + 1)
    for x, trial in zip(positions(len(trials)), trials, strict=True):
        if trial.index % every == 0:
            chart.text(x, chart.height - BOTTOM + 18, str(trial.index), "tick", "middle")
    chart.text((LEFT + WIDTH - RIGHT) / 2, chart.height - 4, "trial", "tick", "middle")


def sli_chart(simulation: Simulation, bound: Bound) -> str:
    """One bounded SLI: what the model expected at peak, what was measured, what is true at peak."""
    trials = simulation.trials
    values = [v for t in trials for v in _values(t, bound)]
    if not isinstance(bound.max, Absent):
        values.append(bound.max)
    known = [v for v in values if v > 0]
    if not known:
        return ""
    height = 320.0
    scale = Scale(min(known) / 1.35, max(known) * 1.35, height - BOTTOM, TOP, log=True)
    chart = Chart(height, scale, f"{bound.sli} of each trial against its bound")
    chart.axis(lambda v: words.amount(v, bound.unit))
    if not isinstance(bound.max, Absent):
        chart.rule(bound.max, f"bound {words.amount(bound.max, bound.unit)}", "bad")
    for x, trial in zip(positions(len(trials)), trials, strict=True):
        _column(chart, x, trial, bound)
    _columns(chart, trials)
    return chart.svg()


def _values(trial: TrialResult, bound: Bound) -> list[float]:
    found = [v for p in trial.predicted if p.constraint == bound.name for v in (p.low, p.high)]
    measured = words.reading(trial, bound.sli, "canary")
    if measured is not None and isinstance(measured.reading, Sample):
        found.append(measured.reading.value)
    found += [t.at_peak for t in trial.true_slis if t.sli == bound.sli and not isinstance(t.at_peak, Absent)]
    return found


def _column(chart: Chart, x: float, trial: TrialResult, bound: Bound) -> None:
    for p in trial.predicted:
        if p.constraint == bound.name:
            low, median, high = (words.amount(v, bound.unit) for v in (p.low, p.median, p.high))
            chart.band(x, p.low, p.high, "expected", f"expected at peak: {median} [{low}, {high}]")
    for true in trial.true_slis:
        if true.sli == bound.sli and not isinstance(true.at_peak, Absent):
            chart.diamond(x, true.at_peak, "truth", f"true at peak: {words.amount(true.at_peak, bound.unit)}")
    measured = words.reading(trial, bound.sli, "canary")
    if measured is None or not isinstance(measured.reading, Sample):
        return
    value, error = measured.reading.value, measured.reading.standard_error
    chart.whisker(x, max(value - Z95 * error, chart.y.low), value + Z95 * error, tone(trial))
    chart.dot(x, value, tone(trial), f"measured: {words.amount(value, bound.unit)} (trial {trial.index})", 4.5)


def exposure_chart(simulation: Simulation) -> str:
    """Bad requests of each trial's canary beyond those of today's values, coloured by what the trial truly was; below
    the line where there were fewer."""
    trials = simulation.trials
    extra = [t.extra_bad_requests for t in trials]
    height = 220.0
    most, least = max([*extra, 1.0]) * 1.1, min([*extra, 0.0]) * 1.1
    chart = Chart(height, Scale(least, most, height - BOTTOM, TOP), "Extra bad requests of each trial")
    chart.axis(lambda v: f"{v:,.0f}")
    wide = min(34.0, 0.7 * (WIDTH - LEFT - RIGHT) / max(len(trials), 1))
    for x, trial, bad in zip(positions(len(trials)), trials, extra, strict=True):
        top, bottom = sorted((chart.y(bad), chart.y(0.0)))
        kind = TRUTHS[words.truth_of(trial)]
        tip = f"trial {trial.index}: {bad:,.0f} in {words.seconds(trial.seconds_exposed)}, {words.truth_of(trial)}"
        chart.rect(x - wide / 2, top, wide, max(bottom - top, 1.0), f"bar {kind}", tip)
    _columns(chart, trials)
    return chart.svg()


def peers_chart(peers: tuple[Peer, ...], minutes: float) -> str:
    """Two bars per rule: what it costs on average, and the part of the time in which the SLO was broken."""
    row, first = 46.0, 24.0
    height = first + row * len(peers) + 6
    chart = Chart(height, Scale(0.0, 1.0, height, 0.0), "Cost and broken minutes of each rule")
    most = max(p.mean_cost_per_hour for p in peers) or 1.0
    half = (WIDTH - LEFT - 40.0) / 2
    right = LEFT + half + 40.0
    bar = half - 96.0
    chart.text(LEFT, 14, "$ per hour on average", "tick")
    chart.text(right, 14, "SLO-violation minutes", "tick")
    for index, peer in enumerate(peers):
        y = first + row * index + 8
        chart.text(LEFT - 8, y + 14, peer.name, "name", "end")
        _bar(chart, LEFT, y, bar * peer.mean_cost_per_hour / most, "cost", words.money(peer.mean_cost_per_hour))
        share = peer.violation_minutes / minutes if minutes else 0.0
        text = f"{peer.violation_minutes:,}" + (f" ({words.percent(100 * share, 0)})" if peer.violation_minutes else "")
        _bar(chart, right, y, bar * share, "bad" if peer.violation_minutes else "good", text)
    return chart.svg()


def seeds_chart(result: SimulationSet) -> str:
    """What each run's recommendation costs, against today's cost and the true optimum."""
    first = result.runs[0].summary
    costs = [(run, run.summary.best_cost) for run in result.runs]
    known = [cost for _, cost in costs if not isinstance(cost, Absent)]
    height = 240.0
    top = max([first.baseline_cost, *known]) * 1.08
    chart = Chart(height, Scale(0.0, top, height - BOTTOM, TOP), "Cost per hour of each run's recommendation")
    chart.axis(lambda v: f"${v:.2f}")
    chart.rule(first.baseline_cost, f"today {words.money(first.baseline_cost)}", "mute")
    if not isinstance(first.optimum_cost, Absent):
        chart.rule(first.optimum_cost, f"optimum {words.money(first.optimum_cost)}", "optimum")
    every = len(result.runs) // 24 + 1
    for index, (x, (run, cost)) in enumerate(zip(positions(len(costs)), costs, strict=True)):
        if not isinstance(cost, Absent):
            held = run.summary.truly_feasible is True
            what = "keeps every bound at peak" if held else "breaks a bound at peak"
            chart.dot(x, cost, "good" if held else "bad", f"seed {run.seed}: {words.money(cost)}, {what}")
        if index % every == 0:
            chart.text(x, height - BOTTOM + 18, str(run.seed), "tick", "middle")
    chart.text((LEFT + WIDTH - RIGHT) / 2, height - 4, "seed", "tick", "middle")
    return chart.svg()


def _bar(chart: Chart, x: float, y: float, length: float, kind: str, label: str) -> None:
    width = max(length, 2.0)
    chart.rect(x, y, width, 20.0, f"bar {kind}")
    chart.text(x + width + 8, y + 14, label, "value")
