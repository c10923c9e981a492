"""What preflight reports: problems, each one line that names the field or object, the numbers and the remedy."""

from __future__ import annotations

from dataclasses import dataclass

# These pass by themselves, so nobody has to act: the Experiment waits instead of stalling.
WAITING_REASONS = frozenset(
    {"AutoscalerInactive", "RolloutIncomplete", "RouteInUse", "TargetNotReady", "TelemetryUnavailable"}
)


@dataclass(frozen=True)
class Problem:
    """`reason` is a CamelCase condition reason; `message` is the whole line, field and remedy included."""

    reason: str
    field: str
    message: str
    remedy: str = ""
    blocking: bool = True

    @property
    def waits(self) -> bool:
        """It passes by itself."""
        return self.reason in WAITING_REASONS


@dataclass(frozen=True)
class Findings:
    """Problems in the order in which a person would fix them."""

    problems: tuple[Problem, ...]

    @property
    def blocking(self) -> tuple[Problem, ...]:
        return tuple(p for p in self.problems if p.blocking)

    @property
    def decisive(self) -> Problem | None:
        """The first that somebody has to mend; where there is none, the first that passes by itself."""
        return next((p for p in self.blocking if not p.waits), next(iter(self.blocking), None))

    @property
    def notes(self) -> tuple[Problem, ...]:
        return tuple(p for p in self.problems if not p.blocking)


def problem(reason: str, field: str, what: str, remedy: str) -> Problem:
    """Something that must be fixed before a trial may start."""
    return Problem(reason, field, f"{field}: {what}; {remedy}", remedy)


def note(reason: str, field: str, what: str, remedy: str = "") -> Problem:
    """Something to know; trials run all the same."""
    return Problem(reason, field, f"{field}: {what}" + (f"; {remedy}" if remedy else ""), remedy, blocking=False)
