"""Measurements, and the ways in which one can be absent.

Absence is a type: never zero, never NaN, never success.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Arm(StrEnum):
    CANARY = "canary"
    CONTROL = "control"
    TARGET = "target"


@dataclass(frozen=True)
class Window:
    """An absolute interval (start, end] in unix seconds, left-open as in Prometheus 3; kept in the Trial so that the
    same window can be asked again after a restart."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        return self.end - self.start


@dataclass(frozen=True)
class Sample:
    """A value with its standard error, in the SLI's unit (ratios: fraction bad in [0, 1]).

    `bad` and `total` are event counts where the SLI is a ratio; `total` alone is the number of requests behind a
    quantile or of samples behind a value. `overdispersion` is variance / binomial variance from sub-windows, >= 1.
    `standard_error`, and with it `overdispersion`, is widened so that a normal interval at 95 % is Student's with
    `degrees` of freedom: None where it needed no widening, 0 where overdispersion was assumed and not told.
    `below` is there where the value is but a lower limit, a quantile beyond the last bucket's bound: the standard error
    of that limit, while `standard_error` is as large as the value. No model knows these two, so they are not in its
    digest (`repr`).
    `newest` is when the pods were last seen by the store (unix seconds): the oldest of the live pods' newest samples;
    None where that is unknown. It says how fresh the reading was, not what was measured, so it is not compared.
    """

    value: float
    standard_error: float
    total: float
    bad: float | None = None
    overdispersion: float = 1.0
    degrees: int | None = field(default=None, repr=False)
    below: float | None = field(default=None, repr=False)
    newest: float | None = field(default=None, compare=False)


@dataclass(frozen=True)
class NoData:
    """Nothing was measured: no series, NaN, or no traffic.

    `newest` as in `Sample`: with it the pods were scraped and merely had nothing to count; None when nothing was seen.
    """

    detail: str
    newest: float | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Ambiguous:
    """More than one series where exactly one was asked for."""

    detail: str


@dataclass(frozen=True)
class Stale:
    """The newest sample of `pod` (or of the series) is older than three scrapes."""

    detail: str
    age: float


@dataclass(frozen=True)
class TelemetryError:
    """Prometheus did not answer, or answered with an error or a warning."""

    detail: str


@dataclass(frozen=True)
class NotAsked(TelemetryError):
    """The operator did not ask: the queries that one Experiment may ask in a minute are used up."""


Absence = NoData | Ambiguous | Stale | TelemetryError
Reading = Sample | Absence


@dataclass(frozen=True)
class ContainerUse:
    """What the node counted of one container of a pod within one window; None where there is no such series.

    `throttled` is the share of CPU periods in which its quota was used up, `working_set` its highest in bytes,
    `memory_stalled` the share of time in which all of its tasks waited for memory, `cpu_waiting` that in which at least
    one waited for a CPU.
    """

    pod: str
    container: str
    throttled: float | None = None
    working_set: float | None = None
    memory_stalled: float | None = None
    cpu_waiting: float | None = None


@dataclass(frozen=True)
class AlertSeen:
    """An alert that fired lately: when the store last saw it do so (unix seconds), and whether it still does."""

    name: str
    last: float
    firing: bool


@dataclass(frozen=True)
class Measurement:
    """One SLI, one arm, one window."""

    sli: str
    arm: Arm
    window: Window
    reading: Reading
