"""The alerts that an Experiment names, as a look at a live trial takes them: they fire, or they cannot be read."""

from __future__ import annotations

from dataclasses import dataclass

from trimtab.domain.measurement import NoData, Reading, TelemetryError, Window
from trimtab.domain.spec import ExperimentSpec
from trimtab.ports import Telemetry
from trimtab.slo.alerts import Alarm, alarm
from trimtab.slo.budget import CLEAR_SECONDS

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
    found = await telemetry.alerts(names, namespace, Window(now - CLEAR_SECONDS, now), timeout=timeout)
    if isinstance(found, TelemetryError):
        return AlertLook(((FIELD, found),), answered=False)
    return AlertLook(((FIELD, NoData("no alert fires", newest=now)),), True, alarm(found, now))


__all__ = ["AlertLook", "look_at_alerts"]
