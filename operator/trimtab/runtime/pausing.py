"""What ends a live trial by its Experiment's own spec: alerts that it names, and its schedule."""

from __future__ import annotations

from dataclasses import dataclass

from trimtab.domain.measurement import NoData, Reading, TelemetryError, Window
from trimtab.domain.spec import ExperimentSpec
from trimtab.ports import ExperimentRecord, Telemetry
from trimtab.slo.alerts import Alarm, alarm
from trimtab.slo.budget import CLEAR_SECONDS
from trimtab.slo.safety import StopRequest

FIELD = "pauseOnAlerts"


@dataclass(frozen=True)
class AlertLook:
    """`readings` are to be taken into account with those of the SLIs: alerts that cannot be read make a canary blind.
    `answered` is False then, and `alarm` unknown."""

    readings: tuple[tuple[str, Reading], ...] = ()
    answered: bool = True
    alarm: Alarm | None = None


async def look_at_alerts(
    telemetry: Telemetry, namespace: str, spec: ExperimentSpec, now: float, *, timeout: float
) -> AlertLook:
    """What they say at this moment (unix seconds). No trial starts until they were silent for CLEAR_SECONDS, so what
    fired within them began after this one."""
    names = spec.safety.pause_on_alerts
    if not names:
        return AlertLook()
    window = Window(now - CLEAR_SECONDS, now)
    found = await telemetry.alerts(names, namespace, window, store=spec.store, timeout=timeout)
    if isinstance(found, TelemetryError):
        return AlertLook(((FIELD, found),), answered=False)
    return AlertLook(((FIELD, NoData("no alert fires", newest=now)),), True, alarm(found, now))


def outside_schedule(experiment: ExperimentRecord, now: float) -> StopRequest | None:
    """A window has closed or a freeze begun, and live trials are to be withdrawn then."""
    schedule = experiment.spec.schedule if experiment.spec is not None else None
    closure = schedule.closure(now) if schedule is not None and schedule.withdraw else None
    return None if closure is None else StopRequest(closure.reason, closure.words)


__all__ = ["AlertLook", "look_at_alerts", "outside_schedule"]
