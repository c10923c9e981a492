"""Error budgets: what is left, how fast it burns, and which rule closes the gate. Pure.

budget(window) = (1 - objective) x total events; spent = bad events; burn rate over w = bad(w) / total(w) / (1 -
objective). Pairs of windows and their factors are those of the SRE Workbook, chapter 5 (Alerting on SLOs): both the
short and the long window must exceed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from trimtab.domain.measurement import NoData, Reading, Sample, TelemetryError
from trimtab.domain.quantity import format_duration
from trimtab.domain.spec import ErrorBudget
from trimtab.domain.state import BudgetState

CLEAR_SECONDS = 900.0
CLEAR_FRACTION = 0.8
HISTORY_ENOUGH = 0.9
BURNING = "BudgetBurning"
SURGE = 4.0  # times the usual load, that no burn is faster than
OBSERVED_SECONDS = 30.0  # a status that changes with each look at it would be looked at for ever


@dataclass(frozen=True)
class Burn:
    """A burn of this budget that withdrew a trial: which one, and when (unix seconds)."""

    trial: int
    at: float

    @property
    def label(self) -> str:
        return f"the burn that withdrew trial {self.trial}"


@dataclass(frozen=True)
class GateVerdict:
    """One budget's answer: `closed` names the rule and the numbers, "" when trials may run."""

    state: BudgetState
    reason: str
    closed: str


def needed_windows(budget: ErrorBudget) -> tuple[float, ...]:
    """All windows (seconds) whose event sums the rules need, ascending."""
    return tuple(sorted({budget.window, *burn_windows(budget)}))


def burn_windows(budget: ErrorBudget) -> tuple[float, ...]:
    """The windows (seconds) without which nobody would notice that the budget burns, ascending."""
    windows = {seconds for pair in budget.rollback_on_burn for seconds in (pair.short, pair.long)}
    if budget.pause_on_burn is not None:
        windows.add(budget.pause_on_burn.window)
    return tuple(sorted(windows))


def burn_rate(budget: ErrorBudget, reading: Reading | None) -> float | None:
    """How many times faster than sustainable; 0 without traffic, None when it was not measured."""
    if isinstance(reading, NoData):
        return 0.0
    if not isinstance(reading, Sample) or reading.bad is None or reading.total <= 0:
        return None
    return reading.bad / reading.total / (1 - budget.objective)


@dataclass(frozen=True)
class _Alarm:
    """One rule that closes the gate. `label` names it in the stored state; the levels are burn rates, or for
    pauseOnBurn fractions of the budget, None where they could not be read."""

    label: str
    limit: float
    short: float | None
    long: float | None
    words: str

    @property
    def fires(self) -> bool:
        return all(level is not None and level > self.limit for level in (self.short, self.long))

    @property
    def low(self) -> bool:
        """Clearly below: the short window is known to be under 0.8 x the limit."""
        return self.short is not None and self.short < CLEAR_FRACTION * self.limit


def _alarms(budget: ErrorBudget, readings: Mapping[float, Reading], allowed: float) -> Iterator[_Alarm]:
    for pair in budget.rollback_on_burn:
        short, long = (burn_rate(budget, readings.get(w)) for w in (pair.short, pair.long))
        names = f"{format_duration(pair.short)} and {format_duration(pair.long)}"
        words = f"burn rate {_shown(short)} over {format_duration(pair.short)} and {_shown(long)} over "
        words += f"{format_duration(pair.long)} > {pair.factor:g}"
        yield _Alarm(f"burn rate over {names}", pair.factor, short, long, words)
    rule = budget.pause_on_burn
    if rule is not None:
        recent = readings.get(rule.window)
        known = isinstance(recent, Sample | NoData) and allowed > 0
        bad = recent.bad or 0.0 if isinstance(recent, Sample) else 0.0
        gone = bad / allowed if known else None
        name = f"{format_duration(rule.window)}"
        words = f"{_shown(None if gone is None else 100 * gone)} % of the budget went within {name}, the limit is "
        words += f"{100 * rule.fraction:g} %"
        yield _Alarm(f"budget burned within {name}", rule.fraction, gone, gone, words)


def burn_words(budget: ErrorBudget, readings: Mapping[float, Reading]) -> tuple[str, ...]:
    """What the budget's rules read, a line for each window, the shortest first."""
    return tuple(
        f"{budget.name} over {format_duration(seconds)}: {_counted(budget, readings.get(seconds))}"
        for seconds in needed_windows(budget)
    )


def _counted(budget: ErrorBudget, reading: Reading | None) -> str:
    if not isinstance(reading, Sample):
        return "not read" if reading is None else reading.detail
    bad = "unknown" if reading.bad is None else f"{reading.bad:,.0f}"
    return f"{bad} of {reading.total:,.0f} events bad, burn rate {_shown(burn_rate(budget, reading))}"


def soonest_pause(budget: ErrorBudget, seconds: float, recent: Reading, whole: Reading | None) -> float | None:
    """In how many seconds `pauseOnBurn` may fire at the earliest, if every request of `SURGE` times the usual load
    failed. None where `seconds` is not its window, it fires already, or there is nothing to reckon from.

    Args:
        recent: event sums of this window, `whole` those of the budget's.
    """
    rule = budget.pause_on_burn
    if rule is None or rule.window != seconds or not isinstance(recent, Sample) or not isinstance(whole, Sample):
        return None
    left = rule.fraction * (1 - budget.objective) * whole.total - (recent.bad or 0.0)
    return left * seconds / (SURGE * recent.total) if left > 0 and recent.total > 0 else None


def _shown(level: float | None) -> str:
    return "unknown" if level is None else f"{level:.1f}"


def total_events(budget: ErrorBudget, readings: Mapping[float, Reading], history: float | None = None) -> float:
    """Events of the whole window, 0 when it was not measured. With a `history` (seconds) shorter than the window they
    are the observed rate times the window."""
    whole = readings.get(budget.window)
    if not isinstance(whole, Sample):
        return 0.0
    return whole.total * budget.window / history if history_short(budget, history) and history else whole.total


def allowed_bad(budget: ErrorBudget, readings: Mapping[float, Reading], history: float | None = None) -> float | None:
    """Bad events that the whole budget allows, (1 - objective) x events of the window; None when that was not
    measured."""
    total = total_events(budget, readings, history)
    return (1 - budget.objective) * total if total > 0 else None


def history_of(state: BudgetState | None, now: float) -> float | None:
    """How far back the store answers by now (seconds), None when that is not known."""
    return None if state is None or state.metrics_since is None else now - state.metrics_since


def history_short(budget: ErrorBudget, history: float | None) -> bool:
    """The store reaches back less than nine tenths of the window."""
    return history is not None and history < HISTORY_ENOUGH * budget.window


def evaluate(
    budget: ErrorBudget,
    readings: Mapping[float, Reading],
    spent_bad: float,
    old: BudgetState | None,
    now: float,
    burn: Burn | None = None,
) -> GateVerdict:
    """Judge one budget, with hysteresis: a rule that fired clears only after its short window stayed below 0.8 x its
    limit for 15 minutes. What cannot be read neither fires a rule nor clears it, and lets no trial start.

    A burn that the safety loop saw holds the gate like one that is seen here, however short it was.

    Args:
        readings: window (seconds) to event sums of the target.
        spent_bad: bad events that experiments on this target caused within the window; the arms are not the target's
            pods, so they come on top.
        old: the last stored state; it knows how far back the store answers.
        now: unix seconds.
        burn: the last one that withdrew a trial.
    """
    history = history_of(old, now)
    whole = readings.get(budget.window)
    allowed = allowed_bad(budget, readings, history)
    remaining = None
    if isinstance(whole, Sample) and whole.bad is not None and allowed is not None:
        remaining = 1 - (whole.bad + spent_bad) / allowed
    known = allowed if allowed is not None or old is None else old.allowed_bad
    share = spent_bad / known if known is not None else 0.0
    hour = next((readings[w] for w in sorted(readings) if w >= 3600 and w < budget.window), whole)
    burning = burn_rate(budget, hour)
    firing, words, since = _hysteresis(tuple(_alarms(budget, readings, allowed or 0.0)), old, now, burn)
    state = BudgetState(
        budget.name,
        remaining,
        burning,
        spent_bad,
        share,
        observed=observed_at(old, now),
        allowed_bad=known,
        history_short=history_short(budget, history),
        firing=firing,
        clear_since=since,
        metrics_since=old.metrics_since if old is not None else None,
        exhaustion_seconds=time_to_exhaustion(budget, remaining, burning),
    )
    if firing:
        return GateVerdict(state, BURNING, f"{budget.name}: {words}")
    unread = next((r for r in readings.values() if isinstance(r, TelemetryError)), None)
    if unread is None and (isinstance(whole, NoData) or (isinstance(whole, Sample) and whole.total <= 0)):
        words = f"{budget.name}: no request was counted within {format_duration(budget.window)}, so there is no budget"
        return GateVerdict(state, "NoTraffic", f"{words}; send traffic to the target, Trimtab never makes any")
    if remaining is None or unread is not None:
        why = f": {unread.detail}" if unread is not None else ""
        return GateVerdict(state, "BudgetUnknown", f"{budget.name}: the budget could not be read from telemetry{why}")
    if remaining < budget.start_above:
        words = f"{budget.name}: {100 * remaining:.0f} % left, trials start above {100 * budget.start_above:.0f} %"
        return GateVerdict(state, "BudgetLow", words)
    return GateVerdict(state, "", "")


def time_to_exhaustion(budget: ErrorBudget, remaining: float | None, burn: float | None) -> float | None:
    """Seconds until nothing is left at this burn rate, remaining x window / burn; 0 when nothing is left.

    None where that is not known, and where it would take a window or longer: by then all that was spent before has left
    the window, so that at this rate some is always left.
    """
    if remaining is None or remaining <= 0:
        return None if remaining is None else 0.0
    seconds = remaining * budget.window / burn if burn else None
    return seconds if seconds is not None and seconds < budget.window else None


def observed_at(old: BudgetState | None, now: float) -> float:
    """When the budget was judged (unix seconds), to half a minute."""
    before = old.observed if old is not None else None
    return before if before is not None and 0 <= now - before < OBSERVED_SECONDS else now


def _hysteresis(
    alarms: tuple[_Alarm, ...], old: BudgetState | None, now: float, burn: Burn | None
) -> tuple[str, str, float | None]:
    """(label of the rule that holds the gate, in words, since when it has been clearing)."""
    fired = next((a for a in alarms if a.fires), None)
    if fired is not None:
        return fired.label, fired.words, None
    before = old.firing if old is not None else ""
    held = next((a for a in alarms if a.label == before), None)
    if held is None and burn is not None and (before == burn.label or now - burn.at < CLEAR_SECONDS):
        held = _burned(burn, alarms)
    if held is None:
        return "", "", None
    if not held.low:
        return held.label, f"{held.label} is not clearly below its limit yet ({held.words})", None
    since = old.clear_since if old is not None and old.clear_since is not None and held.label == before else now
    since = min(since, now)  # it may lie ahead of a clock that was set back
    if now - since >= CLEAR_SECONDS:
        return "", "", None
    wait = format_duration(CLEAR_SECONDS)
    return held.label, f"{held.label} is over; trials may start once it has stayed so for {wait}", since


def _burned(burn: Burn, alarms: tuple[_Alarm, ...]) -> _Alarm:
    """All alarms as one, each level as a fraction of its limit: any of them may have withdrawn the trial."""
    levels = [a.short / a.limit if a.short is not None else None for a in alarms]
    known = [level for level in levels if level is not None]
    highest = max(known, default=0.0) if len(known) == len(levels) else None
    return _Alarm(burn.label, 1.0, highest, None, f"{_shown(highest)} of the limit")


@dataclass(frozen=True)
class Cap:
    """What experiments may spend of one budget, in bad events.

    `limit` = experiment share x (1 - objective) x events of the window; `spent` what is on record without the live
    trial; `rate` requests per second of the canary; `blind` seconds for which requests may go unseen, of which the last
    `reaction` pass between the decision to withdraw and the last request; `requests` what the canary will get in a
    whole trial.
    """

    limit: float
    spent: float
    rate: float
    blind: float
    replicas: int
    objective: float
    requests: float = 0.0
    reaction: float = 0.0

    @property
    def left(self) -> float:
        return self.limit - self.spent

    @property
    def reserve(self) -> float:
        """R = r L + max(10 (1 - o) n, 10): the canary's requests while blind, all bad, and ten times what its n
        requests may cost at the objective."""
        return self.rate * self.blind + max(10 * (1 - self.objective) * self.requests, 10.0)

    def start_refused(self, live: Iterable[float] = ()) -> str:
        """Why a trial may not start, "" when its reserve fits beside what each live trial may still cost.

        Args:
            live: bad events that each live trial has cost so far; they are part of `spent`.
        """
        others = sum(max(self.reserve - cost, 0.0) for cost in live)
        if self.reserve + others <= self.left:
            return ""
        left = f"{max(self.left, 0):,.0f} of the experiments' share are left"
        beside = f", those that are live up to {others:,.0f} more" if others else ""
        return f"a trial may cost up to {self.reserve:,.0f} bad events{beside}, {left}"

    def unseen(self, unseen_for: float = 0.0) -> float:
        """Bad events that may be unseen, `unseen_for` seconds after the newest sample."""
        return self.rate * max(self.blind, unseen_for + self.reaction)

    def exceeded(self, visible: float, unseen_for: float = 0.0, beside: float = 0.0) -> str:
        """Why a live trial must be withdrawn, "" while its visible spend and what may be unseen fit.

        Args:
            visible: bad events that were counted.
            unseen_for: seconds since the newest sample.
            beside: bad events of other live trials, seen and unseen.
        """
        unseen = self.unseen(unseen_for)
        if visible + unseen + beside < self.left:
            return ""
        more = f", up to {beside:,.0f} of trials beside it" if beside else ""
        return f"{visible:,.0f} bad events seen and up to {unseen:,.0f} unseen{more}, {max(self.left, 0):,.0f} left"
