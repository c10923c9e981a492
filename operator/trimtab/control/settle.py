"""The last account of a canary: counted once more when its pods are gone, and what nobody saw counts as bad.

The safety loop counts while a trial lives; what came after its last look is known only now. A draining that waited for
telemetry without end would hold up a deletion, so what cannot be read soon is settled without it.
"""

from __future__ import annotations

from trimtab.control.actions import Decision
from trimtab.control.context import POLL, Context
from trimtab.control.snapshot import AskSpent, SpentReadings
from trimtab.domain.kube import ArmView, Target
from trimtab.domain.measurement import NoData, TelemetryError
from trimtab.domain.trial import Spent, Trial
from trimtab.slo.spending import closed, counted, expected_rate, pace

PATIENCE = 10.0  # seconds for which a draining trial waits for telemetry
GRACE, GRACE_SLACK = 30.0, 5.0  # a pod's time to end, where the target does not say; and what its end takes beside it


def still_ending(context: Context, trial: Trial, arms: tuple[ArmView, ...]) -> bool:
    """Pods that end serve the connections that they have. Wait for them as long as they may take."""
    target = context.seen.target
    grace = float(target.termination_grace_seconds) if isinstance(target, Target) else GRACE
    since = trial.times.draining if trial.times.draining is not None else context.now
    return any(a.pods for a in arms) and context.now < since + grace + GRACE_SLACK


def settle(context: Context, trial: Trial) -> tuple[Spent, ...] | Decision:
    """What the canary cost in the end, or what has to be asked or waited for first."""
    spec, ask = context.seen.experiment.spec, AskSpent(trial.name, context.now)
    if spec is None or not spec.budgets:
        return _settled(context, trial, SpentReadings(()))
    found = context.seen.spent(ask)
    if found is None:
        return context.ask(ask)
    since = trial.times.draining if trial.times.draining is not None else context.now
    broken = any(isinstance(reading, TelemetryError) for _, reading in found.readings)
    if broken and context.now < since + PATIENCE and not context.seen.experiment.deleting:
        return context.say(f"trial {trial.index}: counting what its canary spent").wait(POLL)
    return _settled(context, trial, found)


def _settled(context: Context, trial: Trial, last: SpentReadings) -> tuple[Spent, ...]:
    ready, spec = trial.times.warming_up, context.seen.experiment.spec
    expected = None
    if spec is not None:
        expected = expected_rate(spec, context.state.requests_per_second, trial.environment.target_replicas)
    stored, readings, at_most = {s.sli: s for s in trial.spent}, dict(last.readings), dict(last.at_most)
    found = []
    for sli in sorted({*stored, *readings}):
        old = stored.get(sli, Spent(sli, 0.0, 0.0, until=ready))
        since = old.until if ready is None else ready
        new = counted(old, readings.get(sli, NoData("not asked")), context.now)
        if new.until is not None or new.cost:
            found.append(closed(new, context.now, pace(new, since, None, expected), at_most.get(sli)))
    return tuple(found)


__all__ = ["settle", "still_ending"]
