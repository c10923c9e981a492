"""Error budgets: what is left, how fast it burns, and which rule closes the gate. Pure.

budget(window) = (1 - objective) x total events; spent = bad events; burn rate over w = bad(w) / total(w) / (1 -
objective). Pairs of windows and their factors are those of the SRE Workbook, chapter 5 (Alerting on SLOs): both the
short and the long window must exceed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trimtab.domain.measurement import Reading, Sample
from trimtab.domain.spec import ErrorBudget
from trimtab.domain.state import BudgetState

CLEAR_SECONDS = 900.0
CLEAR_FRACTION = 0.8


@dataclass(frozen=True)
class GateVerdict:
    """One budget's answer: `closed` names the rule and the numbers, "" when trials may run."""

    state: BudgetState
    reason: str
    closed: str


def needed_windows(budget: ErrorBudget) -> tuple[float, ...]:
    """All windows (seconds) whose event sums the rules need, ascending."""
    windows = {budget.window}
    for pair in budget.rollback_on_burn:
        windows |= {pair.short, pair.long}
    if budget.pause_on_burn is not None:
        windows.add(budget.pause_on_burn.window)
    return tuple(sorted(windows))


def burn_rate(budget: ErrorBudget, reading: Reading | None) -> float | None:
    """How many times faster than sustainable; None when it was not measured."""
    if not isinstance(reading, Sample) or reading.bad is None or reading.total <= 0:
        return None
    return reading.bad / reading.total / (1 - budget.objective)


def firing_pair(budget: ErrorBudget, readings: Mapping[float, Reading], scale: float = 1.0) -> str:
    """The first burn-rate pair of which both windows exceed `scale` x factor, in words with numbers, "" when none."""
    for pair in budget.rollback_on_burn:
        short, long = (burn_rate(budget, readings.get(w)) for w in (pair.short, pair.long))
        limit = scale * pair.factor
        if short is not None and long is not None and short > limit and long > limit:
            return f"burn rate {short:.1f} over {pair.short:.0f} s and {long:.1f} over {pair.long:.0f} s > {limit:.1f}"
    return ""


def burned_within(budget: ErrorBudget, readings: Mapping[float, Reading], scale: float = 1.0) -> str:
    """pauseOnBurn: in words when at least `scale` x fraction of the whole budget went within its window."""
    rule = budget.pause_on_burn
    if rule is None:
        return ""
    recent = readings.get(rule.window)
    if not isinstance(recent, Sample) or recent.bad is None:
        return ""
    total = total_events(budget, readings)
    if total <= 0:
        return ""
    fraction = recent.bad / ((1 - budget.objective) * total)
    if fraction < scale * rule.fraction:
        return ""
    gone, limit = 100 * fraction, 100 * rule.fraction
    return f"{gone:.0f} % of the budget went within {rule.window:.0f} s, the limit is {limit:.0f} %"


def total_events(budget: ErrorBudget, readings: Mapping[float, Reading]) -> float:
    """Events of the whole window, 0 when it was not measured. With a short history Prometheus' increase is the
    observed events, which makes the budget smaller, never larger."""
    whole = readings.get(budget.window)
    return whole.total if isinstance(whole, Sample) else 0.0


def evaluate(
    budget: ErrorBudget, readings: Mapping[float, Reading], spent_bad: float, old: BudgetState | None, now: float
) -> GateVerdict:
    """Judge one budget before a trial starts, with hysteresis: a rule that fired clears only after its windows stayed
    below 0.8 x its limit for 15 minutes.

    Args:
        readings: window (seconds) to event sums of the target.
        spent_bad: bad events that experiments on this target caused within the window.
        old: the last stored state.
        now: unix seconds.
    """
    whole = readings.get(budget.window)
    total = total_events(budget, readings)
    allowed = (1 - budget.objective) * total
    remaining = 1 - whole.bad / allowed if isinstance(whole, Sample) and whole.bad is not None and allowed > 0 else None
    share = spent_bad / allowed if allowed > 0 else 0.0
    hour = next((readings[w] for w in sorted(readings) if w >= 3600 and w < budget.window), whole)
    firing, clear_since = _hysteresis(budget, readings, old, now)
    state = BudgetState(budget.name, remaining, burn_rate(budget, hour), spent_bad, share, False, firing, clear_since)
    if firing:
        return GateVerdict(state, "BudgetBurning", f"{budget.name}: {firing}")
    if remaining is None:
        return GateVerdict(state, "BudgetUnknown", f"{budget.name}: the budget could not be read from telemetry")
    if remaining < budget.start_above:
        words = f"{budget.name}: {100 * remaining:.0f} % left, trials start above {100 * budget.start_above:.0f} %"
        return GateVerdict(state, "BudgetLow", words)
    return GateVerdict(state, "", "")


def _hysteresis(
    budget: ErrorBudget, readings: Mapping[float, Reading], old: BudgetState | None, now: float
) -> tuple[str, float | None]:
    fires = firing_pair(budget, readings) or burned_within(budget, readings)
    if fires:
        return fires, None
    if old is None or not old.firing:
        return "", None
    if firing_pair(budget, readings, CLEAR_FRACTION) or burned_within(budget, readings, CLEAR_FRACTION):
        return old.firing, None
    since = old.clear_since if old.clear_since is not None else now
    return ("", None) if now - since >= CLEAR_SECONDS else (old.firing, since)


@dataclass(frozen=True)
class Cap:
    """What experiments may spend of one budget, in bad events.

    `limit` = experiment share x (1 - objective) x events of the window; `spent` what is on record without the live
    trial; `rate` requests per second of the canary; `blind` seconds for which requests may go unseen.
    """

    limit: float
    spent: float
    rate: float
    blind: float
    replicas: int
    objective: float

    @property
    def left(self) -> float:
        return self.limit - self.spent

    @property
    def reserve(self) -> float:
        """R = r L + max(10 (1 - o) n, 10): the canary's requests while blind, all bad, and a little to learn from."""
        return self.rate * self.blind + max(10 * (1 - self.objective) * self.replicas, 10.0)

    def start_refused(self) -> str:
        """Why a trial may not start, "" when its reserve fits."""
        if self.reserve <= self.left:
            return ""
        left = f"{max(self.left, 0):,.0f} of the experiments' share are left"
        return f"a trial may cost up to {self.reserve:,.0f} bad events, {left}"

    def exceeded(self, visible: float) -> str:
        """Why a live trial must be withdrawn, "" while its visible spend and what may be unseen fit."""
        at_risk = visible + self.rate * self.blind
        if at_risk < self.left:
            return ""
        unseen = self.rate * self.blind
        return f"{visible:,.0f} bad events seen and up to {unseen:,.0f} unseen, {max(self.left, 0):,.0f} left"
