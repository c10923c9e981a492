"""What must hold after every single change of a cluster, real or simulated, whatever failed in between."""

from __future__ import annotations

from collections.abc import Iterable

from trimtab.simulate.history import Change, View
from trimtab.simulate.invariants.arms import ARM_INVARIANTS
from trimtab.simulate.invariants.base import Breach, Calm, Invariant
from trimtab.simulate.invariants.ledger import LEDGER_INVARIANTS
from trimtab.simulate.invariants.limits import LIMIT_INVARIANTS
from trimtab.simulate.invariants.pauses import PAUSE_INVARIANTS
from trimtab.simulate.invariants.people import PEOPLE_INVARIANTS
from trimtab.simulate.invariants.reaping import REAP_INVARIANTS
from trimtab.simulate.invariants.routes import ROUTE_INVARIANTS
from trimtab.simulate.invariants.several import SEVERAL_INVARIANTS
from trimtab.simulate.record import Record

INVARIANTS: tuple[type[Invariant], ...] = (
    *ARM_INVARIANTS,
    *LEDGER_INVARIANTS,
    *LIMIT_INVARIANTS,
    *PEOPLE_INVARIANTS,
    *PAUSE_INVARIANTS,
    *ROUTE_INVARIANTS,
    *SEVERAL_INVARIANTS,
)


def check(record: Record) -> tuple[Breach, ...]:
    """Every breach of every invariant, in the order of time."""
    calm, view = Calm(record.strikes, record.end), View()
    promised = (*INVARIANTS, *(REAP_INVARIANTS if record.reaping else ()))
    checks = [invariant(record, calm, view) for invariant in promised]
    by_kind: dict[str, list[Invariant]] = {}
    for each in checks:
        for kind in each.kinds:
            by_kind.setdefault(kind, []).append(each)
    for change in record.changes:
        view.apply(change)
        for each in by_kind.get(change.kind, ()):
            each.see(change)
    for each in checks:
        each.end()
    return tuple(sorted((b for each in checks for b in each.breaches), key=lambda b: b.at))


def check_history(changes: Iterable[Change], stood_still: Iterable[tuple[float, float]] = ()) -> None:
    """All invariants over the changes of a cluster alone, where nothing else is known.

    Args:
        changes: in the API server's order.
        stood_still: when the cluster's own controllers did nothing (from and until, in unix seconds).

    Raises:
        AssertionError: with every breach.
    """
    breaches = check(Record(changes=list(changes), stood_still=list(stood_still)))
    assert not breaches, "\n".join(map(str, breaches))


__all__ = ["INVARIANTS", "Breach", "check", "check_history"]
