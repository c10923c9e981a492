"""What `trimtab reap` promises while it runs each minute; checked on records of worlds in which it does."""

from __future__ import annotations

from trimtab.api.times import parse_time
from trimtab.domain.names import ANNOTATION_DEADLINE as DEADLINE
from trimtab.simulate.faults.catalogue import API, CUT_OFF
from trimtab.simulate.history import Change
from trimtab.simulate.invariants.base import Calm, Invariant, annotations_of

OUTLIVED_SECONDS = 180.0
TARGET_LOCKS = "trimtab-target-"


class NoneOutlivesItsController(Invariant):
    """While reap runs and the API answers, no arm is left OUTLIVED_SECONDS after its deadline or the last renewal.

    Whatever became of the operators: that they are hindered is no excuse, that the API server is, is one.
    """

    kinds = frozenset({"deployments", "leases"})
    bound = OUTLIVED_SECONDS

    def begin(self) -> None:
        api = (s for s in self.record.strikes if s.row.survives in (API, CUT_OFF))
        self.calm = Calm(api, self.record.end)

    def see(self, change: Change) -> None:
        """An arm or the operators' Lease changed."""
        renewed = change.kind == "leases"
        if renewed and change.name.startswith(TARGET_LOCKS):
            return
        present: dict[str, str] = {}
        for arm in self.view.arms():
            uid, name, deadline = arm["metadata"]["uid"], arm["metadata"]["name"], annotations_of(arm).get(DEADLINE)
            if renewed:
                self.waits.close(f"{uid} led", change.at)
            present[f"{uid} led"] = f"arm {name} outlives its controller"
            if deadline is not None:
                present[f"{uid} deadline"] = f"arm {name} outlives its deadline"
                since = max(parse_time(deadline), change.at)  # of an arm that is seen for the first time
                self.waits.open(f"{uid} deadline", since, present[f"{uid} deadline"])
        self.waits.update(change.at, present)


REAP_INVARIANTS = (NoneOutlivesItsController,)
