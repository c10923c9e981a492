"""The faults that one operator process meets: on its way to the API server, and where it stands still.

Reads are consistent, as the operator's are: a late answer was read when the request arrived, so it may be old.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from trimtab.domain.errors import ApiError, Conflict, Forbidden, Throttled, Unavailable
from trimtab.domain.kinds import HORIZONTAL_POD_AUTOSCALERS, HTTP_ROUTES, SERVICES
from trimtab.simulate.client import SEVERAL, Request
from trimtab.simulate.faults.acting import ActingFaults
from trimtab.simulate.faults.kinds import BESIDE, FaultKind
from trimtab.simulate.faults.plan import Fault

K = FaultKind
REQUEST_SECONDS = 10.0  # after which the real client gives up
WRITES = frozenset({"create", "replace", "delete"})
_ROUTED = frozenset({SERVICES, HORIZONTAL_POD_AUTOSCALERS})  # what arms behind a route have beside their Deployments


class Standstill:
    """A process that can be made to stand still: it does so wherever it next asks."""

    def __init__(self) -> None:
        self._running = asyncio.Event()
        self._running.set()

    def freeze(self) -> None:
        """It stands still from now on."""
        self._running.clear()

    def thaw(self) -> None:
        """It goes on."""
        self._running.set()

    @property
    def still(self) -> bool:
        """Does the process stand still?"""
        return not self._running.is_set()

    async def passed(self) -> None:
        """Return when the process runs."""
        while not self._running.is_set():
            await self._running.wait()


class Requests:
    """Hooks for the clients of one operator process.

    Args:
        sent: told each write that reaches the server, before it takes effect.
        answered: asked after each write that took effect; it may strike faults, and end the process.
        seed: draws which requests a fault meets.
    """

    def __init__(
        self,
        process: str,
        acting: ActingFaults,
        *,
        sent: Callable[[Request], None],
        answered: Callable[[], None],
        ended: Callable[[], bool],
        seed: str = "",
    ) -> None:
        self.standstill = Standstill()
        self._process, self._acting = process, acting
        self._sent, self._answered, self._ended = sent, answered, ended
        self._rng = random.Random(f"requests of {seed}")

    async def before(self, request: Request) -> None:
        """On its way to the server.

        Raises:
            ApiError: it does not come through, or is refused.
        """
        if self.standstill.still:
            await self.standstill.passed()
        if not self._acting.none:
            await self._meet(request)
        if request.verb in WRITES:
            self._sent(request)

    async def _meet(self, request: Request) -> None:
        await self._reach()
        error = self._refused(request)
        if error is not None:
            raise error
        slow = self._first(K.API_SLOW)
        if slow is not None and request.verb in WRITES:
            await asyncio.sleep(slow.number("latency"))

    async def after(self, request: Request) -> None:
        """The answer's way back.

        Raises:
            Unavailable: it is lost; what was asked for took effect.
        """
        if request.verb in WRITES:
            self._answered()
            if self._ended():
                await asyncio.get_running_loop().create_future()  # killed here: it never returns
        if self._acting.none and not self.standstill.still:
            return
        slow = self._first(K.API_SLOW)
        if slow is not None and request.verb not in WRITES:
            await asyncio.sleep(slow.number("latency"))
        await self.standstill.passed()
        if request.verb in WRITES and self._meets(K.API_ANSWER_LOST):
            await _give_up()
        await self._reach()

    async def _reach(self) -> None:
        """Nothing comes through while the server cannot be reached."""
        cut = self._first(K.API_UNREACHABLE)
        if cut is None:
            return
        if cut.text("how") == "refused":
            raise Unavailable(0, "connection refused")
        await _give_up()

    def _refused(self, request: Request) -> ApiError | None:
        """The answer of a server that does not do it."""
        what, verb = request.kind.plural, SEVERAL.get(request.verb, request.verb)
        if self._denied(request, verb):
            return Forbidden(403, f'{what} "{request.name}" is forbidden: User cannot {verb} resource "{what}"')
        throttled = self._first(K.API_THROTTLED)
        if throttled is not None and self._meets(K.API_THROTTLED):
            return Throttled("too many requests, please try again later", throttled.number("retryAfter"))
        failing = self._first(K.API_ERROR)
        if failing is not None and self._meets(K.API_ERROR):
            return Unavailable(int(failing.text("status")), "the server is currently unable to handle the request")
        if verb in ("update", "delete") and self._meets(K.API_CONFLICT):
            return Conflict(409, f"Operation cannot be fulfilled on {what}: the object has been modified")
        return None

    def _denied(self, request: Request, verb: str) -> bool:
        """A right to it is missing: of all kinds, of those that a route needs, or of all in one namespace."""
        denied = self._first(K.API_FORBIDDEN)
        if denied is not None and denied.text("verb") in ("all", verb):
            return True
        withdrawn, writes = self._first(K.ROUTE_RIGHTS_LOST), request.verb in WRITES
        if withdrawn is not None:
            what = withdrawn.text("what")
            if request.kind == HTTP_ROUTES and (writes or what != "writes"):
                return True
            if request.kind in _ROUTED and writes and what == "all":
                return True
        return request.namespace == BESIDE and self._first(K.NAMESPACE_LOST) is not None

    def _meets(self, kind: FaultKind) -> bool:
        """Does this request meet such a fault? Nothing is drawn while there is none."""
        fault = self._first(kind)
        return fault is not None and self._rng.random() < fault.number("chance")

    def _first(self, kind: FaultKind) -> Fault | None:
        return self._acting.first(kind, process=self._process)


async def _give_up() -> None:
    await asyncio.sleep(REQUEST_SECONDS)
    raise Unavailable(0, f"no answer within {REQUEST_SECONDS:g} s")


__all__ = ["REQUEST_SECONDS", "Requests", "Standstill"]
