"""What somebody who removes left arms sees: the operators' Lease, and what there is of each trial."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True)
class LeaseSeen:
    """The operators' Lease as it was read. `holder` is "" when nobody leads: it was released, or there is none.

    `renewed` is the text that its holder changes at each renewal, only ever compared with itself. `duration` in
    seconds; 0 where the Lease says none.
    """

    holder: str = ""
    renewed: str = ""
    duration: float = 0.0


class Standing(StrEnum):
    """Has anybody still to undo these arms?"""

    LIVE = "live"
    """Their Trial has not ended, or it says something that this version does not know."""
    ENDED = "ended"
    GONE = "gone"
    """There is no Trial of this uid."""
    UNREAD = "unread"
    """It could not be asked for now."""


@dataclass(frozen=True)
class LeftArms:
    """Everything of one trial that is in the cluster. `deadline` (unix seconds) is the earliest that an arm carries,
    None where no arm carries a readable one. `unread` is why its Trial could not be read, "" when it could."""

    namespace: str
    experiment_uid: str
    experiment_name: str
    trial_uid: str
    trial_name: str
    deadline: float | None
    standing: Standing
    unread: str = ""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.trial_name or self.trial_uid or 'unnamed trial'}"


__all__ = ["LeaseSeen", "LeftArms", "Standing"]
