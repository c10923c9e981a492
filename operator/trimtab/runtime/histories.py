"""How errors cluster on the pods of a target: read once per trial, from the six hours before it.

The window is absolute, so a restarted operator reads the same. A trial does not wait for it, and nothing else does: its
test begins with the cautious default.
"""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from trimtab.domain.measurement import Absence, TelemetryError, Window
from trimtab.domain.trial import Trial
from trimtab.ports import Account, ExperimentRecord, PodSet, Telemetry
from trimtab.slo.estimate import overdispersion_between
from trimtab.slo.evidence import tested_slis
from trimtab.slo.sequential import HISTORY_SECONDS, HISTORY_STEP, overdispersion_bound

log = structlog.get_logger(__name__)

TIMEOUT = 10.0
ATTEMPTS = 3


class Histories:
    """phi by trial and SLI."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._phis: dict[str, dict[str, float]] = {}
        self._attempts: dict[str, int] = {}

    def keep_only(self, trial_uids: set[str]) -> None:
        """Forget trials that are gone."""
        self._phis = {uid: found for uid, found in self._phis.items() if uid in trial_uids}
        self._attempts = {uid: n for uid, n in self._attempts.items() if uid in trial_uids}

    def of(self, trial_uid: str) -> Mapping[str, float]:
        """What is known so far."""
        return self._phis.get(trial_uid, {})

    def settled(self, trial_uid: str) -> bool:
        """Whether there is nothing more to be learned."""
        return self._attempts.get(trial_uid, 0) >= ATTEMPTS

    async def read(self, experiment: ExperimentRecord, trial: Trial) -> None:
        """Ask for every SLI that is tested and not known yet."""
        spec = experiment.spec
        if spec is None:
            return
        missing = False
        window = Window(trial.times.created - HISTORY_SECONDS, trial.times.created)
        pods = PodSet(experiment.namespace, (spec.target.name,), account=Account(experiment.uid))
        for name in tested_slis(spec):
            if name in self.of(trial.uid):
                continue
            steps = await self._telemetry.history(spec.sli(name), pods, window, HISTORY_STEP, timeout=TIMEOUT)
            if isinstance(steps, Absence):
                log.info("safety.no_history", sli=name, why=steps.detail)
                missing = missing or isinstance(steps, TelemetryError)
                continue
            estimate, intervals = overdispersion_between(steps)
            phi = overdispersion_bound(estimate, intervals)
            self._phis[trial.uid] = {**self.of(trial.uid), name: phi}  # a new one: who holds the old keeps that
            log.info("safety.overdispersion", sli=name, phi=round(phi, 2), intervals=intervals)
        self._attempts[trial.uid] = self._attempts.get(trial.uid, 0) + 1 if missing else ATTEMPTS


__all__ = ["Histories"]
