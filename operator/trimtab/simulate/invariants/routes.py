"""Invariants of traffic by weights: a route leads nowhere that nobody answers, and is given back as it was."""

from __future__ import annotations

from abc import ABC, abstractmethod

from trimtab.api.routes import route_view
from trimtab.domain.names import ANNOTATION_ROUTE
from trimtab.domain.route import ARM_BACKEND, RouteView
from trimtab.simulate.controllers.services import SERVICE_NAME
from trimtab.simulate.history import Change
from trimtab.simulate.invariants.base import (
    TERMINAL,
    Invariant,
    Obj,
    annotations_of,
    labels_of,
    phase_of,
    trials_by_uid,
)

DEAF_SECONDS = 15.0
NOBODY_SECONDS = 10.0  # the arms of a route that cannot be written are deleted after five seconds
LEFT_SECONDS = 60.0
ROUTES = "httproutes"


class _Led(Invariant, ABC):
    """No route leads to an arm that is not among `_served` for longer than its bound; `_lack` says what that means."""

    _lack = ""

    def see(self, change: Change) -> None:
        """A route changed, or who is behind it."""
        served = self._served()
        lost = {
            f"{view.name} {backend}": f"HTTPRoute {view.name} leads to {backend}, {self._lack}"
            for view in map(route_view, self.view.all(ROUTES).values())
            for backend in _arms(view) - served
        }
        self.waits.update(change.at, lost)

    @abstractmethod
    def _served(self) -> set[str]:
        """Names of the arms to which a route may lead."""


class NoWeightOnNobody(_Led):
    """No route sends requests to an arm whose Deployment is gone, for longer than NOBODY_SECONDS."""

    kinds = frozenset({ROUTES, "deployments"})
    bound = NOBODY_SECONDS
    _lack = "of which there is nothing"

    def _served(self) -> set[str]:
        return set(self.view.all("deployments"))


class NoWeightOnTheDeaf(_Led):
    """No route sends requests to an arm without ready endpoints for longer than DEAF_SECONDS: they would fail."""

    kinds = frozenset({ROUTES, "endpointslices"})
    bound = DEAF_SECONDS
    _lack = "which has no ready endpoint"

    def _served(self) -> set[str]:
        slices = self.view.all("endpointslices").values()
        return {labels_of(s).get(SERVICE_NAME, "") for s in slices if any(map(_ready, s.get("endpoints") or ()))}


class NoWeightsLeft(Invariant):
    """No route carries the weights of a trial that is over, for longer than LEFT_SECONDS."""

    kinds = frozenset({ROUTES, "trials"})
    bound = LEFT_SECONDS

    def see(self, change: Change) -> None:
        """A route or a Trial changed."""
        live = {uid for uid, trial in trials_by_uid(self.view).items() if phase_of(trial) not in TERMINAL}
        views = map(route_view, self.view.all(ROUTES).values())
        claims = [(v.name, v.claim) for v in views if v.claim is not None and v.claim.trial_uid not in live]
        words = {f"{name} {c.trial_uid}": f"HTTPRoute {name} carries weights of {c.trial_name}" for name, c in claims}
        self.waits.update(change.at, words)


class RouteAsBefore(Invariant):
    """Once its weights are gone, a route is equal in spec, labels, annotations and owners to what it was before them,
    unless somebody else wrote it meanwhile."""

    kinds = frozenset({ROUTES})

    def begin(self) -> None:
        self._before: dict[str, Obj] = {}
        self._last: dict[str, Obj] = {}
        self._edited: set[str] = set()

    def see(self, change: Change) -> None:
        """A route changed."""
        name, now, last = change.name, change.object, self._last.get(change.name)
        if change.type == "DELETED":
            self._last.pop(name, None)
            self._before.pop(name, None)
            return
        self._last[name] = now
        claimed = ANNOTATION_ROUTE in annotations_of(now)
        if last is None or (not claimed and name not in self._before):
            return
        if name not in self._before:
            self._before[name] = last
        elif claimed and (change.version in self.record.hands or self._foreign(last, now)):
            self._edited.add(name)
        elif not claimed:
            before, edited = self._before.pop(name), name in self._edited
            self._edited.discard(name)
            if not edited and change.version not in self.record.hands and _lasting(before) != _lasting(now):
                self.broken(change.at, f"HTTPRoute {name} is not as it was before its weights")

    def _foreign(self, last: Obj, now: Obj) -> bool:
        """Operators write a record with each change, but for the one that puts all back."""
        before = self._before[now["metadata"]["name"]]
        return _same_claim(last, now) and now["spec"] not in (last["spec"], before["spec"])


def _ready(endpoint: Obj) -> bool:
    return (endpoint.get("conditions") or {}).get("ready") is not False


def _arms(view: RouteView) -> set[str]:
    return {b.name for rule in view.rules for b in rule.backends if b.weight and ARM_BACKEND.fullmatch(b.name)}


def _same_claim(one: Obj, other: Obj) -> bool:
    return bool(annotations_of(one).get(ANNOTATION_ROUTE) == annotations_of(other).get(ANNOTATION_ROUTE))


def _lasting(route: Obj) -> tuple[object, ...]:
    entries = route["metadata"].get("managedFields") or ()
    owners = sorted((str(e.get("manager")), str(e.get("operation")), str(e.get("fieldsV1"))) for e in entries)
    return route["spec"], labels_of(route), annotations_of(route), [o for o in owners if "f:spec" in o[2]]


ROUTE_INVARIANTS = (NoWeightOnNobody, NoWeightOnTheDeaf, NoWeightsLeft, RouteAsBefore)

__all__ = ["ROUTE_INVARIANTS", "NoWeightOnNobody", "NoWeightOnTheDeaf", "NoWeightsLeft", "RouteAsBefore"]
