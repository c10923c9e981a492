"""Carries a fault plan out on a world: each fault strikes at its time, moment or effect, and is healed later."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable

from trimtab.domain.errors import ApiError
from trimtab.domain.study import Study
from trimtab.simulate.client import Request
from trimtab.simulate.faults.acting import ActingFaults
from trimtab.simulate.faults.designer import FaultyDesigner
from trimtab.simulate.faults.fleet import Fleet
from trimtab.simulate.faults.kinds import LIVE_MOMENTS, Moment
from trimtab.simulate.faults.plan import Fault, FaultPlan, Trigger
from trimtab.simulate.faults.requests import Requests
from trimtab.simulate.faults.stage import Heal, Stage
from trimtab.simulate.faults.store import FaultyStore
from trimtab.simulate.faults.strikes import ACTIONS
from trimtab.simulate.history import Change
from trimtab.simulate.reaping import MinutelyReap
from trimtab.simulate.record import Asked, Deed, Record, Strike
from trimtab.simulate.world import World

ABSENCES = ("restartAfter", "operatorAbsent")
"""Parameters for how long no operator runs."""
_MOVES = frozenset({"experiments", "trials"})


class Injector:
    """Make it in a world that has settled, before its Experiment is applied; then `begin`. `reap`: `trimtab reap` runs
    beside the operators, once a minute.

    `effects` counts what the operator did, by `create:Trial` and the like.
    """

    def __init__(self, world: World, plan: FaultPlan, experiment: str, *, reap: bool = False) -> None:
        self.world, self.plan = world, plan
        self.record = Record(reaping=reap)
        self.effects: Counter[str] = Counter()
        self._loop = asyncio.get_running_loop()
        acting = ActingFaults()
        self.fleet = Fleet(world, acting, self._on_effect, self._sent, self._flush, seed=plan.seed)
        self.reap = self._reaping(acting) if reap else None
        rng = random.Random(f"strikes of {plan.seed}")
        self.stage = Stage(world, self.record, acting, self.fleet, experiment, rng)
        world.store = FaultyStore(world.prometheus, world.clock, acting, self.fleet.standing)
        world.designer = FaultyDesigner(world.designer, acting, self._asked, self.fleet.standing)
        world.history.listeners.append(self._changed)
        self._waiting = [f for f in plan.faults if f.when is not None and f.when.moment is not None]
        self._at_effect = [f for f in plan.faults if f.when is not None and f.when.effect is not None]
        self._points: Counter[str] = Counter()
        self._due: list[Fault] = []
        self._planned = False
        self._pending = 0  # strikes and healings that are still to come, as far as that is known
        self._closed = False
        self.seconds = 0.0  # that the story took, noted by whoever told it

    def begin(self) -> None:
        """The plan's time begins now, and so does the operator."""
        for fault in self.plan.faults:
            if fault.at is not None:
                self._later(fault.at, lambda fault=fault: self.strike(fault))  # type: ignore[misc]
        self.fleet.begin()
        if self.reap is not None:
            self.reap.start(self.world.context)

    def _reaping(self, acting: ActingFaults) -> MinutelyReap:
        """`trimtab reap` beside the operators, which meets the faults of the API server as they do."""
        requests = Requests(
            "reap",
            acting,
            sent=lambda request: self._sent("reap", request),
            answered=lambda: None,
            ended=lambda: False,
            seed=f"{self.plan.seed} reap",
        )
        return MinutelyReap(self.world.cluster, self.world.clock, before=requests.before, after=requests.after)

    def close(self) -> None:
        """Nothing strikes any more, and nobody starts an operator again."""
        self._closed = True
        self.fleet.close()
        if self.reap is not None:
            self.reap.stop()
        self.record.changes = self.world.history.changes
        self.record.ended = self.world.clock.now()

    @property
    def quiet(self) -> bool:
        """Nothing that has begun is still to be healed, and nothing is about to strike."""
        return not self._due and not self._pending

    @property
    def missed(self) -> tuple[Fault, ...]:
        """Faults whose moment or effect never came."""
        return (*self._waiting, *self._at_effect)

    # When

    def _changed(self, change: Change) -> None:
        if change.kind not in _MOVES or self._closed or not self._waiting:
            return
        moment, index = self.stage.where()
        for fault in tuple(self._waiting):
            assert fault.when is not None
            if _comes(fault.when, moment, index):
                self._waiting.remove(fault)
                self._soon(fault, fault.when.after)

    async def _on_effect(self, point: str) -> None:
        when, _, effect = point.partition(":")
        if when == "after":
            self.effects[effect] += 1
        self._points[point] += 1
        for fault in tuple(self._at_effect):
            assert fault.when is not None
            if fault.when.effect == point and fault.when.nth == self._points[point]:
                self._at_effect.remove(fault)
                self._due.append(fault)
        self._flush()

    def _soon(self, fault: Fault, after: float) -> None:
        """Strike when the writer has its answer, not in the middle of the change that brought the moment about."""
        if after > 0:
            self._later(after, lambda: self.strike(fault))
            return
        self._due.append(fault)
        if not self._planned:
            self._planned = True
            self._loop.call_soon(self._planned_flush)

    def _planned_flush(self) -> None:
        self._planned = False
        self._flush()

    def _flush(self) -> None:
        while self._due and not self._closed:
            self.strike(self._due.pop(0))

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        self._pending += 1

        def then() -> None:
            self._pending -= 1
            if not self._closed:
                act()
                self.world.poke()

        self._loop.call_later(seconds, then)

    # What

    def strike(self, fault: Fault) -> None:
        """Let this happen now, whatever the plan says."""
        moment, _ = self.stage.where()
        leader = self.fleet.leader
        process = leader.options.identity if leader is not None and fault.row.hinders else ""
        strike = Strike(fault, self.stage.now(), moment, process=process)
        self.record.strikes.append(strike)
        heal = self._act(fault)
        lasts = _seconds(fault)
        if lasts <= 0:
            strike.until = strike.at
            return
        self._later(lasts, lambda: self._heal(strike, heal))

    def _act(self, fault: Fault) -> Heal | None:
        with contextlib.suppress(ApiError):  # what people do may be refused
            return ACTIONS[fault.kind](self.stage, fault)
        return None

    def _heal(self, strike: Strike, heal: Heal | None) -> None:
        strike.until = self.stage.now()
        if heal is not None:
            with contextlib.suppress(ApiError):
                heal()

    # What the operator did

    def _sent(self, process: str, request: Request) -> None:
        deed = Deed(
            self.stage.now(),
            self.world.cluster.objects.version,
            process,
            {"replace": "update"}.get(request.verb, request.verb),
            request.kind.plural,
            request.namespace or "",
            request.name,
            request.subresource,
        )
        self.record.deeds.append(deed)

    def _asked(self, study: Study) -> None:
        self.record.asked.append(Asked(self.stage.now(), self.world.cluster.objects.version, study))


def _seconds(fault: Fault) -> float:
    """How long its cause lasts."""
    if fault.duration is not None:
        return fault.duration
    return max((fault.number(name) for name in ABSENCES if name in fault.parameters), default=0.0)


def _comes(when: Trigger, moment: Moment, index: int) -> bool:
    if when.moment is not moment:
        return False
    return index == when.trial if moment in LIVE_MOMENTS else moment is not Moment.BETWEEN or index >= when.trial


__all__ = ["Injector"]
