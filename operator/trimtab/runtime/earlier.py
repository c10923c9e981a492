"""What an earlier Experiment, or an exported history, taught: for a warm start. Read anew for each suggestion."""

from __future__ import annotations

from trimtab.api.history import read_history, require_parameters
from trimtab.control.snapshot import EarlierTrials
from trimtab.domain import kinds
from trimtab.domain.errors import InvalidSpec, NotFound
from trimtab.domain.spec import ExperimentSpec
from trimtab.domain.trial import Trial
from trimtab.ports import Cluster, Ledger


class Earlier:
    """Reads what `spec.warmStart` names."""

    def __init__(self, cluster: Cluster, ledger: Ledger) -> None:
        self._cluster, self._ledger = cluster, ledger

    async def trials(self, namespace: str, spec: ExperimentSpec) -> EarlierTrials:
        """The Trials of both sources, or in words what a person has to put right.

        Raises:
            ApiError: neither can be told; try again.
        """
        warm = spec.warm_start
        found: list[Trial] = []
        if warm is None:
            return EarlierTrials()
        try:
            if warm.experiment:
                found += await self._of_experiment(namespace, warm.experiment, spec)
            if warm.history:
                manifest = await self._cluster.get(kinds.CONFIG_MAPS, namespace, warm.history)
                found += read_history(manifest, spec.space).trials
        except InvalidSpec as error:
            return EarlierTrials(problem=str(error))
        except NotFound as error:
            return EarlierTrials(problem=f"{error}; create it, or remove spec.warmStart")
        return EarlierTrials(tuple(found))

    async def _of_experiment(self, namespace: str, name: str, spec: ExperimentSpec) -> tuple[Trial, ...]:
        record = await self._ledger.experiment(namespace, name)
        trials = (await self._ledger.trials(record)).readable
        require_parameters(f"Experiment {name}", trials, spec.space, "name an Experiment with")
        return trials


__all__ = ["Earlier"]
