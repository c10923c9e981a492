"""Invariants of an install of several namespaces."""

from __future__ import annotations

from trimtab.simulate.faults.kinds import FaultKind
from trimtab.simulate.history import Change
from trimtab.simulate.invariants.base import Calm, Invariant, deleting

COPY_SECONDS = 60.0


class CopyGone(Invariant):
    """What looks like an arm of another namespace goes within COPY_SECONDS: no Trial holds it there, nobody judges it.

    While the operator has no rights in its namespace it stays.
    """

    kinds = frozenset({"deployments"})
    bound = COPY_SECONDS

    def begin(self) -> None:
        self.calm = Calm(self.record.strikes, self.record.end, frozenset({FaultKind.NAMESPACE_LOST}))

    def see(self, change: Change) -> None:
        """After each change of a Deployment."""
        copies = (c["metadata"] for c in self.view.copies() if not deleting(c))
        self.waits.update(change.at, {m["uid"]: f"a copy of arm {m['name']} in {m['namespace']} stays" for m in copies})


SEVERAL_INVARIANTS = (CopyGone,)

__all__ = ["SEVERAL_INVARIANTS", "CopyGone"]
