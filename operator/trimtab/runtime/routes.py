"""Weights in HTTPRoutes: given step by step, and taken back by whoever withdraws a trial.

Every write is checked against the version that was read, so two operators cannot write over each other, nor over a
person; what is left to do is always read from the route itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog

from trimtab.api.routes import observed, route_view, toward_release, with_weights
from trimtab.domain.errors import ApiError, Conflict, Forbidden, InvalidSpec, NotFound, RetryLater
from trimtab.domain.kinds import HTTP_ROUTES
from trimtab.domain.kube import Manifest
from trimtab.domain.route import Claim, RoutePlan
from trimtab.ports import Clock, Cluster

log = structlog.get_logger(__name__)

ATTEMPTS = 5  # at a route that somebody else writes all the time
GATEWAY_SECONDS = 2.0  # for which a Gateway may take to say that it has seen a route that was freed
LAG_SECONDS = 0.5  # until its proxies do as it says
POLL_SECONDS = 0.1
AGAIN_SECONDS = 1.0
Fence = Callable[[], Awaitable[bool]]
"""Asked just before each write that gives weights; False when nothing may be started for this trial any more."""


class RouteKeeper:
    """Gives the arms of trials their weights, and frees routes of them."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster, self._clock = cluster, clock

    async def give(self, plan: RoutePlan, fence: Fence) -> None:
        """Write the plan's weights, unless the route has them or the fence forbids it.

        Raises:
            RetryLater: the route is not as it has to be for that; whoever looks again sees why.
            ApiError: it could not be read or written.
        """
        for _ in range(ATTEMPTS):
            try:
                found = await self._cluster.get(HTTP_ROUTES, plan.namespace, plan.route)
                body = with_weights(found, plan, self._clock.now())
            except (InvalidSpec, NotFound) as error:
                raise RetryLater(AGAIN_SECONDS, str(error)) from error
            if body is None or not await fence():
                return
            try:
                await self._cluster.replace(HTTP_ROUTES, plan.namespace, plan.route, body)
            except Conflict:
                continue
            log.info("route.weights", route=plan.route, trial=plan.trial_name, shares=plan.shares)
            return
        raise RetryLater(
            AGAIN_SECONDS, f"HTTPRoute {plan.route} was changed by somebody else {ATTEMPTS} times in a row"
        )

    async def free(self, namespace: str, experiment_uid: str, trial_uid: str, *, led_to: bool = False) -> int:
        """Take this trial's weights out of whatever route has them, and give its Gateway the time to follow: until it
        does, requests go where they went, and what they meet there is to be no worse. Returns how many writes it took.

        Args:
            namespace: the trial's.
            experiment_uid: its Experiment's.
            trial_uid: whose weights they are.
            led_to: a route may lead to its arms, as they have Services: then not to be allowed to look is an error.

        Raises:
            ApiError: a route could not be read or written.
        """
        routes = await self._listed(namespace, needed=led_to)
        return sum([await self._freed(route, experiment_uid, trial_uid) for route in routes])

    async def claims(self, scope: str | None) -> tuple[tuple[str, Claim], ...]:
        """Whose weights routes carry, each with its namespace; `scope` None for all of them."""
        views = [route_view(manifest) for manifest in await self._listed(scope)]
        return tuple((view.namespace, view.claim) for view in views if view.claim is not None)

    async def _listed(self, scope: str | None, *, needed: bool = False) -> tuple[Manifest, ...]:
        """None where routes are not served, or not for this account; it may have been allowed to write them before."""
        try:
            return await self._cluster.list(HTTP_ROUTES, scope)
        except NotFound:
            return ()
        except Forbidden:
            if needed:
                raise
            return ()

    async def _freed(self, manifest: Manifest, experiment_uid: str, trial_uid: str) -> int:
        namespace, name = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
        writes = conflicts = 0
        while (body := toward_release(manifest, trial_uid, experiment_uid)) is not None:
            try:
                manifest = await self._cluster.replace(HTTP_ROUTES, namespace, name, body)
                writes += 1
            except NotFound:
                break
            except Conflict:
                conflicts += 1
                if conflicts >= ATTEMPTS:
                    raise
                try:
                    manifest = await self._cluster.get(HTTP_ROUTES, namespace, name)
                except NotFound:
                    break
        if writes:
            log.warning("route.freed", route=name, trial_uid=trial_uid)
            await self._followed(namespace, name)
        return writes

    async def _followed(self, namespace: str, name: str) -> None:
        """Wait until the Gateways have seen the route as it is, for a little while at most."""
        begun = self._clock.monotonic()
        while self._clock.monotonic() - begun < GATEWAY_SECONDS:
            try:
                if observed(await self._cluster.get(HTTP_ROUTES, namespace, name)):
                    await self._clock.sleep(LAG_SECONDS)
                    return
            except ApiError:
                return
            await self._clock.sleep(POLL_SECONDS)


__all__ = ["Fence", "RouteKeeper"]
