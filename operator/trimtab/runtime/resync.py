"""What is watched, and the relist that checks the watch against what a list of every Experiment says.

A watch stream can die without an error. A list that shows a version which the watch still has not delivered a whole
period later proves it: then the watch is started anew, and the age behind liveness keeps growing until it misses
nothing. So an idle watch is not mistaken for a dead one, nor a dead one for an idle one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from trimtab.domain.errors import ApiError, Forbidden, NotFound
from trimtab.domain.kinds import DEPLOYMENTS, EXPERIMENTS, PODS, TRIALS
from trimtab.domain.kube import Manifest
from trimtab.domain.names import GROUP, LABEL_EXPERIMENT
from trimtab.ports import Clock, Cluster
from trimtab.runtime.workqueue import Key

WATCHED = (EXPERIMENTS, TRIALS, DEPLOYMENTS, PODS)  # of pods only those of arms
Feed = Callable[[Key], None]
_Wanted = tuple[object, object, tuple[tuple[str, str], ...]]
"""The generation of the spec, the time of the deletion, and our annotations."""


class WatchState:
    """What the watch and the lists have shown: its health, and which Experiments tune which Deployment."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.dead = asyncio.Event()  # set when the watch must be started anew
        self._fine_at = clock.monotonic()
        self._delivered: dict[str, str] = {}  # Experiment's uid -> version that the watch delivered last
        self._wanted: dict[str, _Wanted] = {}  # uid -> what people wanted of it in that version
        self._missed: dict[str, str] = {}  # uid -> version that the last list showed and the watch had not delivered
        self.unread: frozenset[str] = frozenset()  # namespaces that cannot be listed; kopf would end for one of them
        self._target_of: dict[Key, tuple[str, str]] = {}
        self._tuning: dict[tuple[str, str], tuple[Key, ...]] = {}

    def begin(self) -> None:
        """Watching starts now: a standby that waited for days has missed nothing."""
        self._fine_at = self._clock.monotonic()

    def anew(self) -> None:
        """The watch starts, maybe again: whatever its first list shows is news."""
        self.dead.clear()
        self._wanted.clear()

    def reaches(self, unread: Iterable[str]) -> None:
        """Which namespaces can not be read now: where that has changed, the watch is started anew, without them."""
        found = frozenset(unread)
        if found != self.unread:
            self.unread = found
            self.dead.set()

    def age(self) -> float:
        """Seconds since the watch was last known to miss nothing."""
        return self._clock.monotonic() - self._fine_at

    def tuning(self, namespace: str, deployment: str) -> tuple[Key, ...]:
        """The Experiments that have this Deployment as their target. Safe to call from another thread."""
        return self._tuning.get((namespace, deployment), ())

    def delivered(self, experiment: Manifest, deleted: bool) -> bool:
        """The watch delivered a version of an Experiment.

        Returns:
            Whether it is news. Where only the status changed it is our own doing: a pass that follows each write of a
            pass would never end.
        """
        metadata = experiment["metadata"]
        uid = metadata["uid"]
        self._missed.pop(uid, None)
        self._fine_at = self._clock.monotonic()
        if deleted:
            self._delivered.pop(uid, None)
            self._wanted.pop(uid, None)
            self._forget_target(key_of(metadata))
            return True
        self._delivered[uid] = metadata["resourceVersion"]
        self._note_target(experiment)
        before, self._wanted[uid] = self._wanted.get(uid), _wanted(metadata)
        return before != self._wanted[uid]

    def listed(self, experiments: Sequence[Manifest]) -> None:
        """Compare a complete list with what the watch delivered: what was missed for a whole period proves it dead."""
        versions = {each["metadata"]["uid"]: each["metadata"]["resourceVersion"] for each in experiments}
        if any(uid in versions for uid in self._missed):
            self.dead.set()
        self._missed = {uid: version for uid, version in versions.items() if self._delivered.get(uid) != version}
        self._delivered = {uid: version for uid, version in self._delivered.items() if uid in versions}
        self._wanted = {uid: wanted for uid, wanted in self._wanted.items() if uid in versions}
        if not self._missed:
            self._fine_at = self._clock.monotonic()
        present = {key_of(each["metadata"]) for each in experiments}
        for key in set(self._target_of) - present:
            self._forget_target(key)
        for each in experiments:
            self._note_target(each)

    def _note_target(self, experiment: Manifest) -> None:
        key = key_of(experiment["metadata"])
        reference = (experiment.get("spec") or {}).get("targetRef") or {}
        target = (key.namespace, str(reference.get("name", "")))
        if self._target_of.get(key) != target:
            self._forget_target(key)
            self._target_of[key] = target
            self._tuning[target] = (*self._tuning.get(target, ()), key)

    def _forget_target(self, key: Key) -> None:
        target = self._target_of.pop(key, None)
        if target is not None:
            left = tuple(each for each in self._tuning.get(target, ()) if each != key)
            self._tuning.pop(target, None) if not left else self._tuning.update({target: left})


class Resync:
    """Lists all Experiments at once and then each period, and feeds every key."""

    def __init__(
        self,
        cluster: Cluster,
        clock: Clock,
        state: WatchState,
        feed: Feed,
        *,
        namespaces: Iterable[str] = (),
        period: float = 60.0,
        on_listed: Callable[[Mapping[Key, str]], None] | None = None,
        on_error: Callable[[ApiError], None] | None = None,
    ) -> None:
        self._cluster, self._clock, self._state, self._feed = cluster, clock, state, feed
        self._namespaces: tuple[str | None, ...] = tuple(namespaces) or (None,)
        self._period = period
        self._on_listed, self._on_error = on_listed, on_error

    async def run(self) -> None:
        """Repeat until cancelled; a list that fails is tried again in the next period."""
        while True:
            try:
                await self.once()
            except ApiError as error:
                if self._on_error is not None:
                    self._on_error(error)
            await self._clock.sleep(self._period)

    async def once(self) -> None:
        """One list of everything. Each namespace is fed whatever becomes of the others; one that is gone, or in which
        this operator has no rights any more, is not waited for.

        Raises:
            ApiError: it could not be completed, so nothing was concluded from it.
        """
        lists = await asyncio.gather(*map(self._listed, self._namespaces), return_exceptions=True)
        found = [each for part in lists if not isinstance(part, BaseException | None) for each in part]
        for each in found:
            self._feed(key_of(each["metadata"]))
        for part in lists:
            if isinstance(part, BaseException):
                raise part
        self._state.reaches(str(where) for where, part in zip(self._namespaces, lists, strict=True) if part is None)
        self._state.listed(found)
        if self._on_listed is not None and None not in lists:
            self._on_listed({key_of(each["metadata"]): str(each["metadata"]["uid"]) for each in found})

    async def _listed(self, where: str | None) -> Sequence[Manifest] | None:
        """None: one of several namespaces may not be read, and who waits for it would know nothing of the others."""
        try:
            return await self._cluster.list(EXPERIMENTS, where)
        except (Forbidden, NotFound) as error:
            if where is None or len(self._namespaces) == 1:
                raise
            if self._on_error is not None:
                self._on_error(error)
            return None


def _wanted(metadata: Mapping[str, Any]) -> _Wanted:
    annotations = metadata.get("annotations") or {}
    ours = tuple(sorted((key, value) for key, value in annotations.items() if key.startswith(f"{GROUP}/")))
    return metadata.get("generation"), metadata.get("deletionTimestamp"), ours


def key_of(metadata: Mapping[str, Any]) -> Key:
    """The key of an Experiment."""
    return Key(str(metadata["namespace"]), str(metadata["name"]))


def keys_of(manifest: Mapping[str, Any], state: WatchState) -> Iterable[Key]:
    """The Experiments that this Trial, arm, arm's pod or target concerns."""
    metadata = manifest["metadata"]
    namespace = metadata["namespace"]
    for owner in metadata.get("ownerReferences") or ():
        if owner.get("kind") == EXPERIMENTS.name and owner.get("apiVersion") == EXPERIMENTS.api_version:
            return (Key(namespace, owner["name"]),)
    name = (metadata.get("labels") or {}).get(LABEL_EXPERIMENT)
    if name:
        return (Key(namespace, name),)
    return state.tuning(namespace, metadata["name"])


__all__ = ["WATCHED", "Feed", "Resync", "WatchState", "key_of", "keys_of"]
