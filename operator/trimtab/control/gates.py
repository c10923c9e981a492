"""Gates before a trial: error budgets with hysteresis, and the experiments' own cap. Pure."""

from __future__ import annotations

from dataclasses import replace

from trimtab.control.actions import Decision
from trimtab.control.context import DEFAULT_SCRAPE, Context
from trimtab.control.snapshot import AskBudgets, BudgetReadings
from trimtab.domain.measurement import Absence, Reading, TelemetryError
from trimtab.domain.quantity import format_moment
from trimtab.domain.spec import ErrorBudget, ExperimentSpec
from trimtab.domain.state import BudgetState, ConditionType
from trimtab.domain.trial import Trial
from trimtab.slo.budget import BURNING, Burn, Cap, GateVerdict, allowed_bad, evaluate, history_of, observed_at
from trimtab.slo.spending import expected_rate
from trimtab.slo.verdict import absence_reason

MARGIN = 5.0


def windows_of(readings: BudgetReadings, budget: str) -> dict[float, Reading]:
    """The event sums of one budget by window."""
    return {w.seconds: w.reading for w in readings.windows if w.budget == budget}


def evaluate_all(
    spec: ExperimentSpec,
    readings: BudgetReadings,
    old: tuple[BudgetState, ...],
    now: float,
    trials: tuple[Trial, ...] = (),
) -> tuple[GateVerdict, ...]:
    """Every budget's verdict. `trials` tell which burns withdrew one."""
    stored, spent = {b.name: b for b in old}, dict(readings.spent)
    return tuple(
        evaluate(
            b,
            windows_of(readings, b.name),
            spent.get(b.sli, 0.0),
            stored.get(b.name),
            now,
            _last_burn(trials, b.name),
        )
        for b in spec.budgets
    )


def _last_burn(trials: tuple[Trial, ...], budget: str) -> Burn | None:
    for trial in reversed(trials):
        outcome, at = trial.outcome, trial.times.draining
        if outcome is not None and at is not None and (outcome.reason, outcome.subject) == (BURNING, budget):
            return Burn(trial.index, at)
    return None


def keep_current(context: Context) -> Context | Decision:
    """While a trial lives, its budgets are judged twice a minute: people see what it costs, and a burn that begins and
    ends meanwhile is not missed. What follows from it for the live trial is the safety loop's business."""
    if not context.seen.live or not context.spec.budgets:
        return context
    known = {b.name: b for b in context.state.budgets}
    if all(observed_at(known.get(b.name), context.now) < context.now for b in context.spec.budgets):
        return context
    readings = context.seen.budgets()
    if readings is None:
        return context.ask(AskBudgets())
    return evaluate_gate(context, _with_live(context, readings))[0]


def one_more(context: Context, readings: BudgetReadings) -> str:
    """Why no trial may start beside those that are live, "" when one may: the worst that each of them may still cost is
    kept for it."""
    return evaluate_gate(context, _with_live(context, readings), context.seen.live)[1]


def _with_live(context: Context, readings: BudgetReadings) -> BudgetReadings:
    """What experiments spent, live trials included; the account holds only those that have ended."""
    spending = [s for t in context.seen.live for s in t.spent]
    return replace(
        readings,
        spent=tuple((sli, bad + sum(s.cost for s in spending if s.sli == sli)) for sli, bad in readings.spent),
    )


def evaluate_gate(context: Context, readings: BudgetReadings, beside: tuple[Trial, ...] = ()) -> tuple[Context, str]:
    """The context with budgets and conditions brought up to date, and why no trial may start ("" when one may) `beside`
    these live ones, whose spending is among the readings."""
    spec, now = context.spec, context.now
    verdicts = evaluate_all(spec, readings, context.state.budgets, now, context.seen.trials)
    context = context.update(budgets=tuple(v.state for v in verdicts))
    context, blind = _telemetry(context, readings)
    closed = next((v for v in verdicts if v.closed), None)
    reason, words = (closed.reason, closed.closed) if closed is not None else _cap(context, readings, beside)
    if words:
        return context.set(ConditionType.BUDGET_AVAILABLE, False, reason, words), words
    short = next((_short(b) for b in context.state.budgets if b.history_short), "")
    if short:
        return context.set(ConditionType.BUDGET_AVAILABLE, True, "HistoryShort", short), blind
    return context.set(ConditionType.BUDGET_AVAILABLE, True, "Available", "every error budget allows a trial"), blind


def _short(state: BudgetState) -> str:
    """The same words for as long as it lasts: a status that changes with each pass would cause the next one."""
    since = f"at {format_moment(state.metrics_since)}" if state.metrics_since is not None else "not long ago"
    return (
        f"{state.name}: the metrics begin {since}; until they reach back over the whole window, the budget is the "
        "observed rate times the window"
    )


def _telemetry(context: Context, readings: BudgetReadings) -> tuple[Context, str]:
    """Is there telemetry? And why no trial may start where no budget closes the gate by itself, "" when one may."""
    broken: Absence | None = next((w.reading for w in readings.windows if isinstance(w.reading, TelemetryError)), None)
    blind = ""
    if isinstance(readings.probe, Absence):
        broken, blind = readings.probe, f"no telemetry of the target: {readings.probe.detail}"
    if broken is not None:
        words = f"{broken.detail}; no trial starts until it answers: repair Prometheus, or what it scrapes"
        return context.set(ConditionType.TELEMETRY_HEALTHY, False, absence_reason(broken), words), blind
    return context.set(ConditionType.TELEMETRY_HEALTHY, True, "Answering", "Prometheus answers"), blind


def _cap(context: Context, readings: BudgetReadings, beside: tuple[Trial, ...]) -> tuple[str, str]:
    rate, scrape = _canary_rate(context), context.state.scrape_interval
    known = {b.name: b for b in context.state.budgets}
    for budget in context.spec.budgets:
        history = history_of(known.get(budget.name), context.now)
        allowed = allowed_bad(budget, windows_of(readings, budget.name), history)
        spent = dict(readings.spent).get(budget.sli, 0.0)
        # A budget that was not read closes the gate by itself.
        cap = cap_of(context.spec, budget, allowed or 0.0, spent, scrape, rate)
        refused = cap.start_refused(sum(s.cost for s in t.spent if s.sli == budget.sli) for t in beside)
        if refused:
            return "ExperimentShareSpent", f"{budget.name}: {refused}"
    return "", ""


def _canary_rate(context: Context) -> float:
    """Requests per second that the canary will get."""
    ready = getattr(context.seen.target, "ready_replicas", 0)
    return expected_rate(context.spec, context.state.requests_per_second, ready) or 0.0


def cap_of(
    spec: ExperimentSpec, budget: ErrorBudget, allowed: float, spent: float, scrape: float | None, rate: float
) -> Cap:
    """The experiments' share of one budget. L = max(2 scrapes, staleAfter) + one tick + 5 s may go unseen.

    Args:
        allowed: bad events that the whole budget allows.
        spent: bad events of finished trials on this target within the window.
        scrape: seconds between scrapes, None when that is not known.
        rate: requests per second of the canary.
    """
    reaction = spec.safety.check_interval + MARGIN
    return Cap(
        limit=budget.experiment_share * allowed,
        spent=spent,
        rate=rate,
        blind=max(2 * (scrape or DEFAULT_SCRAPE), spec.safety.stale_after) + reaction,
        replicas=spec.canary.replicas,
        objective=budget.objective,
        requests=rate * longest_trial(spec),
        reaction=reaction,
    )


def longest_trial(spec: ExperimentSpec) -> float:
    """Seconds for which a canary is meant to serve, be it in the search or in verification."""
    verification = spec.verification.duration if spec.verification.replicates else 0.0
    return spec.trial.warm_up + max(spec.trial.duration, verification)


def describe(context: Context) -> str:
    """The budgets in one line."""
    parts = [
        f"{b.name} {100 * b.remaining:.1f} % left" if b.remaining is not None else f"{b.name} unknown"
        for b in context.state.budgets
    ]
    return ", ".join(parts) or "no error budget is configured"


__all__ = [
    "cap_of",
    "describe",
    "evaluate_all",
    "evaluate_gate",
    "keep_current",
    "longest_trial",
    "one_more",
    "windows_of",
]
