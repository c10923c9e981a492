"""Until when the safety loop's tests show each live trial to be good: told by the loop, asked by the reconciler.

It is a cache. After a restart the tests begin anew from the newest windows, so a trial ends later, never sooner.
"""

from __future__ import annotations


class ShownGood:
    """Unix seconds by trial uid."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def tell(self, trial_uid: str, until: float | None) -> None:
        """The end of the last window that was tested, None while the tests do not show it."""
        if until is None:
            self._until.pop(trial_uid, None)
        else:
            self._until[trial_uid] = until

    def until(self, trial_uid: str) -> float | None:
        """None while it is not shown."""
        return self._until.get(trial_uid)

    def keep_only(self, trial_uids: set[str]) -> None:
        """Forget trials that are gone."""
        self._until = {uid: at for uid, at in self._until.items() if uid in trial_uids}


__all__ = ["ShownGood"]
