"""What each kind of fault does to a world when it strikes, and how it is healed."""

from __future__ import annotations

from collections.abc import Callable

from trimtab.simulate.faults.kinds import FaultKind
from trimtab.simulate.faults.plan import Fault
from trimtab.simulate.faults.stage import Heal, Stage
from trimtab.simulate.faults.strikes.operator import OPERATOR
from trimtab.simulate.faults.strikes.people import PEOPLE
from trimtab.simulate.faults.strikes.pods import PODS
from trimtab.simulate.faults.strikes.ports import PORTS
from trimtab.simulate.faults.strikes.routes import ROUTES
from trimtab.simulate.faults.strikes.several import SEVERAL
from trimtab.simulate.faults.strikes.surroundings import SURROUNDINGS

Action = Callable[[Stage, Fault], Heal | None]
"""Carries out a fault; returns how it is healed, None when there is nothing to heal."""

ACTIONS: dict[FaultKind, Action] = {**OPERATOR, **PORTS, **PODS, **SURROUNDINGS, **ROUTES, **SEVERAL, **PEOPLE}

__all__ = ["ACTIONS", "Action"]
