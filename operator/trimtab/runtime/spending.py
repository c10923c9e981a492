"""What a canary costs, read from telemetry; and what experiments have spent of a target's error budgets.

The account is one ConfigMap per target, without an owner.

It outlives Experiments, so that the cap holds across re-creation. Entries are keyed by Trial (writing one twice is
writing it once), dated, and pruned after the budget's window. Where they would fill the ConfigMap, which would refuse
the next trial's and keep it draining for ever, old ones are added up: by hour, then by day. A sum has the date of its
newest trial, so nothing is forgotten early; a Trial that is written again when it is part of a sum counts twice, which
errs on the safe side.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass

from trimtab.domain import kinds
from trimtab.domain.errors import AlreadyExists, CorruptLedger, NotFound
from trimtab.domain.kube import Manifest
from trimtab.domain.measurement import Reading, Window
from trimtab.domain.names import LABEL_MANAGED_BY, MANAGED_BY
from trimtab.domain.remembered import Remembered, version_of
from trimtab.domain.spec import ExperimentSpec
from trimtab.domain.trial import Spent, Trial
from trimtab.ports import Cluster, PodSet, Telemetry
from trimtab.slo.spending import merged

MOST_BYTES = 256 * 1024  # a ConfigMap holds 1 MiB
HOUR, DAY = 3600.0, 86_400.0
COARSER = ((DAY, HOUR), (DAY, DAY), (HOUR, DAY))  # what is older than the first (seconds) is one entry for each second


@dataclass(frozen=True)
class _Entry:
    at: float
    window: float
    spent: tuple[Spent, ...]


class SpendingAccount:
    """Reads and adds to the account of a target."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._parsed: Remembered[dict[str, _Entry]] = Remembered()

    async def total(self, namespace: str, target_uid: str, sli: str, now: float, window: float) -> float:
        """Bad events that canaries on this target caused within the window; what nobody saw is bad.

        Raises:
            CorruptLedger: the account cannot be read; it is never taken for empty.
        """
        entries = self._entries(await self._get(namespace, target_uid))
        return sum(s.cost for e in entries.values() if e.at > now - window for s in e.spent if s.sli == sli)

    async def record(
        self, namespace: str, target_uid: str, trial_uid: str, at: float, spent: tuple[Spent, ...], window: float
    ) -> None:
        """Add one trial; a second time changes nothing but may only raise what is there."""
        found = await self._get(namespace, target_uid)
        entries = dict(self._entries(found))
        old = entries.get(trial_uid)
        entries[trial_uid] = _Entry(old.at if old else at, window, merged(old.spent if old else (), spent))
        kept = {uid: e for uid, e in entries.items() if e.at > at - e.window}
        body = _manifest(namespace, target_uid, _fitting(kept, at))
        if found is None:
            try:
                await self._cluster.create(kinds.CONFIG_MAPS, namespace, body)
            except AlreadyExists:
                await self.record(namespace, target_uid, trial_uid, at, spent, window)
            return
        body["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]  # type: ignore[index]
        await self._cluster.replace(kinds.CONFIG_MAPS, namespace, account_name(target_uid), body)

    def _entries(self, found: Manifest | None) -> Mapping[str, _Entry]:
        """By uid of the trial."""
        if found is None:
            return {}
        uid, version = version_of(found)
        return self._parsed.known((uid,), version, lambda _: _parse(found))

    async def _get(self, namespace: str, target_uid: str) -> Manifest | None:
        try:
            return await self._cluster.get(kinds.CONFIG_MAPS, namespace, account_name(target_uid))
        except NotFound:
            return None


async def read_events(
    telemetry: Telemetry, spec: ExperimentSpec, trial: Trial, canary: PodSet, until: float, *, timeout: float
) -> tuple[tuple[str, Reading], ...]:
    """What the canary was asked and failed since its first request, for each SLI of an error budget."""
    since = trial.times.deploying
    if since is None or until <= since:
        return ()
    names = sorted({b.sli for b in spec.budgets})
    window = Window(since, until)
    readings = await asyncio.gather(
        *(telemetry.totals(spec.sli(name), canary, window, timeout=timeout) for name in names)
    )
    return tuple(zip(names, readings, strict=True))


def account_name(target_uid: str) -> str:
    """`trimtab-spending-<uid>`."""
    return f"trimtab-spending-{target_uid}"


def _parse(manifest: Manifest) -> dict[str, _Entry]:
    try:
        raw = json.loads(manifest["data"]["spending.json"])
        return {
            uid: _Entry(e["at"], e["window"], tuple(_spent(sli, s) for sli, s in e["spent"].items()))
            for uid, e in raw.items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        name = manifest["metadata"]["name"]
        raise CorruptLedger(
            f"ConfigMap {name}: spending.json cannot be read ({error}); restore or delete it"
        ) from error


def _spent(sli: str, stored: dict[str, float]) -> Spent:
    return Spent(sli, stored["bad"], stored["total"], stored.get("unseen", 0.0))


def _fitting(entries: Mapping[str, _Entry], now: float) -> str:
    """The account as text, the older entries added up where it would be too long."""
    text = _text(entries)
    for age, span in COARSER:
        if len(text) <= MOST_BYTES:
            break
        entries = _added_up(entries, now - age, span)
        text = _text(entries)
    return text


def _added_up(entries: Mapping[str, _Entry], before: float, span: float) -> dict[str, _Entry]:
    """One entry for all of the same `span` (seconds) that are dated before that moment; the others as they are."""
    found: dict[str, _Entry] = {}
    for uid, entry in entries.items():
        if entry.at >= before:
            found[uid] = entry
            continue
        key = f"until-{int((entry.at // span + 1) * span)}"
        sum_ = found.get(key)
        found[key] = entry if sum_ is None else _sum(sum_, entry)
    return found


def _sum(one: _Entry, other: _Entry) -> _Entry:
    spent = {s.sli: s for s in one.spent}
    for s in other.spent:
        old = spent.get(s.sli, Spent(s.sli, 0.0, 0.0))
        spent[s.sli] = Spent(s.sli, old.bad + s.bad, old.total + s.total, old.unseen + s.unseen)
    return _Entry(max(one.at, other.at), max(one.window, other.window), tuple(spent.values()))


def _text(entries: Mapping[str, _Entry]) -> str:
    data = {
        uid: {
            "at": e.at,
            "window": e.window,
            "spent": {s.sli: {"bad": s.bad, "total": s.total, "unseen": s.unseen} for s in e.spent},
        }
        for uid, e in sorted(entries.items())
    }
    return json.dumps(data, indent=1)


def _manifest(namespace: str, target_uid: str, account: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": account_name(target_uid),
            "namespace": namespace,
            "labels": {LABEL_MANAGED_BY: MANAGED_BY},
        },
        "data": {"spending.json": account},
    }
