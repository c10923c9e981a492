"""Takes away canaries whose controller is gone: what `trimtab reap` does, as a process beside every operator.

What goes, and why, is `slo/reap.py`; how it goes is `runtime/withdraw.py`, as for an operator: first the weights of a
route, then Deployments, ReplicaSets and pods, each with a uid precondition, until nothing is left. So it may run beside
a living operator and beside itself. Weights whose arms are gone already are found in the routes themselves.
It writes no Trial: the next operator finds the arms missing and records that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import structlog

from trimtab.api.kube_reap import lease_seen, leaving, left_arms, left_weights, trial_standing
from trimtab.domain import kinds
from trimtab.domain.errors import ApiError, NotFound, RetryLater, Throttled, TrimtabError
from trimtab.domain.kube import ArmView
from trimtab.domain.reaping import LeaseSeen, LeftArms, Standing
from trimtab.ports import Clock, Cluster
from trimtab.runtime.arms import ArmReader
from trimtab.runtime.routes import RouteKeeper
from trimtab.runtime.withdraw import Withdrawer, by_hand
from trimtab.slo.reap import Keep, Remove, Unsure, Watched, judge, saw_arms, saw_lease

log = structlog.get_logger(__name__)

LOOK_SECONDS = 2.0  # between two looks of a run that has something to decide
WATCH_SECONDS = 10.0  # between two looks of one that goes on for ever
LIMIT_SECONDS = 150.0  # of one run: 60 s to see that nobody leads, and time for stubborn arms
AT_ONCE = 8  # withdrawals


@dataclass(frozen=True)
class Where:
    """Whose arms: the Lease of the operators that made them, and the namespaces that they work in, () for all."""

    lease_namespace: str
    lease_name: str
    namespaces: tuple[str, ...] = ()

    @property
    def scopes(self) -> tuple[str | None, ...]:
        """What to list, one after the other."""
        return self.namespaces or (None,)


@dataclass(frozen=True)
class Reaped:
    """What one look, or a whole run, came to: trials whose arms were removed, those whose arms were left to a living
    operator, what is not known yet, and what went wrong, a line each."""

    removed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    unsure: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    after: float = 0.0  # seconds for which the API server asked not to be asked

    @property
    def settled(self) -> bool:
        """Nothing is left to decide or to do."""
        return not (self.removed or self.unsure or self.problems)


@dataclass(frozen=True)
class _Doomed:
    """Arms whose removal was decided."""

    arms: LeftArms
    why: str


_Key = tuple[str, str]  # namespace and uid of a Trial


def _key(arms: LeftArms) -> _Key:
    return arms.namespace, arms.trial_uid


class Undoer:
    """Removes the arms of trials; what it could not do it says, and the rest is done all the same."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._withdrawer = Withdrawer(cluster, clock)
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def remove(self, arms: LeftArms, why: str) -> str:
        """Take them away; "" when they are gone, else what keeps them, in one line."""
        async with self._slots:
            log.warning("reap.remove", arms=str(arms), why=why)
            try:
                await self._withdrawer.verified(arms.namespace, arms.experiment_uid, arms.trial_uid)
            except RetryLater as error:
                return f"arms of {arms}: {error}"
            except TrimtabError as error:
                return f"arms of {arms} cannot be deleted ({why}): {error}"
            return ""


class LeftReader:
    """Finds what there is of trials: their arms, and the routes that carry their weights."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._arms, self._routes = ArmReader(cluster), RouteKeeper(cluster, clock)

    async def read(self, scope: str | None) -> list[LeftArms]:
        """By trial; how its Trial stands was not asked.

        Raises:
            ApiError: something could not be listed.
        """
        found = by_trial(await self._arms.read(scope))
        known = {_key(arms) for arms in found}
        claimed = (left_weights(namespace, claim) for namespace, claim in await self._routes.claims(scope))
        return [*found, *(weights for weights in claimed if _key(weights) not in known)]


class Reaper:
    """One process: it remembers what it saw of the Lease and of strays."""

    def __init__(self, cluster: Cluster, clock: Clock, where: Where) -> None:
        self._cluster, self._clock, self._where = cluster, clock, where
        self._left, self._undoer = LeftReader(cluster, clock), Undoer(cluster, clock)
        self._watched = Watched()
        self._doomed: dict[_Key, _Doomed] = {}  # what was decided is not decided again

    async def once(self, limit: float = LIMIT_SECONDS) -> Reaped:
        """Look until all is decided and done, for at most `limit` seconds. Who finds no arm, or a leader that renews,
        is ready within seconds; else it takes a minute to know."""
        removed: list[str] = []
        looked = Reaped(problems=(f"nothing was seen within {limit:.0f} s",))
        try:
            async with asyncio.timeout(limit):
                while True:
                    looked = await self.look()
                    removed += looked.removed
                    if looked.settled:
                        break
                    await self._clock.sleep(max(LOOK_SECONDS, looked.after))
        except TimeoutError:
            looked = Reaped(kept=looked.kept, problems=self._unfinished(looked, limit))
        return Reaped(tuple(dict.fromkeys(removed)), looked.kept, (), looked.problems)

    def _unfinished(self, looked: Reaped, limit: float) -> tuple[str, ...]:
        """What a run that has no more time leaves behind, a line each."""
        stuck = tuple(
            f"arms of {d.arms} are still there after {limit:.0f} s; {by_hand(d.arms.namespace, d.arms.trial_uid)}"
            for d in self._doomed.values()
        )
        return stuck + looked.problems + tuple(f"not known within {limit:.0f} s: {words}" for words in looked.unsure)

    async def forever(self, stop: asyncio.Event) -> None:
        """Look again and again until `stop`; what goes wrong is logged and tried again."""
        while not stop.is_set():
            looked = await self.look()
            for problem in looked.problems:
                log.error("reap.problem", problem=problem)
            stopping = asyncio.ensure_future(stop.wait())
            sleeping = asyncio.ensure_future(self._clock.sleep(max(WATCH_SECONDS, looked.after)))
            await asyncio.wait({stopping, sleeping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            sleeping.cancel()

    async def look(self) -> Reaped:
        """See what there is, decide, and remove what has to go."""
        problems: list[str] = []
        after = 0.0
        try:
            await self._read_lease()
        except ApiError as error:
            after = _after(error)
            name = f"{self._where.lease_namespace}/{self._where.lease_name}"
            problems.append(f"Lease {name} cannot be read, so nobody knows who leads: {error}")
        found: list[LeftArms] = []
        for scope in self._where.scopes:
            try:
                found += await self._found(scope)
            except ApiError as error:  # of one namespace; the others are looked at all the same
                after = max(after, _after(error))
                problems.append(f"arms {'' if scope is None else f'in {scope} '}cannot be listed: {error}")
        done = await self._decide(found)
        return Reaped(done.removed, done.kept, done.unsure, (*problems, *done.problems), after)

    async def _read_lease(self) -> None:
        try:
            manifest = await self._cluster.get(kinds.LEASES, self._where.lease_namespace, self._where.lease_name)
        except NotFound:
            seen = LeaseSeen()
        else:
            seen = lease_seen(manifest)
        self._watched = saw_lease(self._watched, seen, self._clock.monotonic())

    async def _found(self, scope: str | None) -> list[LeftArms]:
        """All that is left, by trial, each with how its Trial stands: read after the arms were seen."""
        groups = await self._left.read(scope)
        return await asyncio.gather(*(self._with_standing(each) for each in groups))

    async def _with_standing(self, arms: LeftArms) -> LeftArms:
        if not arms.trial_name:
            return replace(arms, standing=Standing.GONE)
        try:
            found = await self._cluster.get(kinds.TRIALS, arms.namespace, arms.trial_name)
        except NotFound:
            return replace(arms, standing=Standing.GONE)
        except ApiError as error:
            return replace(arms, standing=Standing.UNREAD, unread=str(error))
        return replace(arms, standing=trial_standing(found, arms.trial_uid))

    async def _decide(self, found: Sequence[LeftArms]) -> Reaped:
        now, wall = self._clock.monotonic(), self._clock.now()
        self._watched = saw_arms(self._watched, found, now)
        kept, unsure, due = [], [], []
        for arms in found:
            verdict = judge(arms, self._watched, now, wall)
            if isinstance(verdict, Remove):
                self._doomed[_key(arms)] = _Doomed(arms, verdict.words)
            if _key(arms) in self._doomed:
                due.append(arms)
            elif isinstance(verdict, Keep):
                kept.append(str(arms))
            elif isinstance(verdict, Unsure):
                unsure.append(f"{arms}: {verdict.words}")
        self._doomed = {_key(arms): self._doomed[_key(arms)] for arms in due}
        said = await asyncio.gather(*(self._undoer.remove(arms, self._doomed[_key(arms)].why) for arms in due))
        gone = tuple(str(arms) for arms, problem in zip(due, said, strict=True) if not problem)
        return Reaped(gone, tuple(kept), tuple(unsure), tuple(problem for problem in said if problem))


def by_trial(views: Iterable[ArmView]) -> list[LeftArms]:
    """What there is of each trial; how its Trial stands was not asked.

    Pods alone that are on their way out are nothing: a long grace period is no failure.
    """
    found: dict[tuple[str, str], list[ArmView]] = {}
    for view in (v for v in views if not leaving(v)):
        found.setdefault((view.namespace, view.trial_uid), []).append(view)
    return [left_arms(mine, Standing.UNREAD) for _, mine in sorted(found.items())]


def _after(error: ApiError) -> float:
    return error.after if isinstance(error, Throttled) else 0.0


__all__ = ["LIMIT_SECONDS", "LeftReader", "Reaped", "Reaper", "Undoer", "Where", "by_trial"]
