"""Faults that a demo, a test or a simulation injects into pods chosen by their labels.

A fault is data: what, for whom, from when, for how long. What it does to a pod's behaviour is `Conditions` (slow
dependency, errors, memory); what it does to a pod's life or to its telemetry is left to whoever plays the pods.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from .model import Conditions
from .units import Bytes, Seconds


class FaultKind(StrEnum):
    """What goes wrong."""

    SLOW_DEPENDENCY = "SlowDependency"
    """Dependency time times `factor` plus `addend`."""
    SLOW_CPU = "SlowCPU"
    """CPU time times `factor`: a noisy neighbour, a slow node."""
    ERRORS = "Errors"
    """`errorPercent` of requests fail besides the base ratio."""
    MEMORY = "Memory"
    """`bytes` of live memory more: a leak, a large cache."""
    OOM = "OOM"
    """The container of each pod that is there when the fault begins is OOM killed, once."""
    CRASH_LOOP = "CrashLoop"
    """The container exits at once whenever it starts."""
    NOT_READY = "NotReady"
    """The readiness probe fails."""
    EVICT = "Evict"
    """Each pod that is there when the fault begins is evicted."""
    IMAGE_PULL = "ImagePull"
    """New containers cannot pull their image."""
    SCRAPE_MISSING = "ScrapeMissing"
    """The pods' metrics vanish from the scrape."""
    SCRAPE_HANG = "ScrapeHang"
    """The whole scrape endpoint never answers."""
    SCRAPE_GARBAGE = "ScrapeGarbage"
    """The whole scrape endpoint answers with something that is no metrics page."""


_FACTOR: Final = frozenset({FaultKind.SLOW_DEPENDENCY, FaultKind.SLOW_CPU})


class Fault(BaseModel):
    """One fault; times are seconds on the clock of whoever plays it."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
    kind: FaultKind
    selector: dict[str, str] = Field(default_factory=dict)
    """Labels that a pod must all have; empty means every pod."""
    namespace: str | None = None
    start: float | None = None
    """When it begins; None: at once."""
    duration: Seconds | None = None
    """None: until it is removed."""
    factor: Annotated[float, Field(gt=0, le=1000)] = 1.0
    addend: Seconds = 0.0
    error_percent: Annotated[float, Field(ge=0, le=100)] = 0.0
    bytes: Bytes = 0.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kind in _FACTOR and self.factor == 1.0 and self.addend == 0.0:
            raise ValueError(f"factor: {self.kind} needs a factor other than 1 or an addend")
        if self.kind is FaultKind.ERRORS and self.error_percent == 0.0:
            raise ValueError("errorPercent: Errors needs an errorPercent above 0")
        if self.kind is FaultKind.MEMORY and self.bytes == 0.0:
            raise ValueError('bytes: Memory needs a size such as "256Mi"')
        return self

    @property
    def edges(self) -> tuple[float, ...]:
        """When it begins and ends, where that is fixed."""
        if self.start is None:
            return ()
        return (self.start,) if self.duration is None else (self.start, self.start + self.duration)

    def active(self, t: float) -> bool:
        """Whether the fault acts at t."""
        start = self.start if self.start is not None else float("-inf")
        return t >= start and (self.duration is None or t < start + self.duration)

    def selects(self, labels: Mapping[str, str], namespace: str | None = None) -> bool:
        """Whether it concerns a pod with these labels."""
        if self.namespace is not None and namespace is not None and namespace != self.namespace:
            return False
        return all(labels.get(key) == value for key, value in self.selector.items())

    def starting_at(self, t: float) -> Fault:
        """The same fault with its beginning fixed, if it had none."""
        return self if self.start is not None else self.model_copy(update={"start": t})


def acting(
    faults: Iterable[Fault], kind: FaultKind, labels: Mapping[str, str], t: float, namespace: str | None = None
) -> bool:
    """Whether a fault of this kind acts on such a pod at t."""
    return any(f.kind is kind and f.active(t) and f.selects(labels, namespace) for f in faults)


def conditions_under(
    faults: Iterable[Fault], labels: Mapping[str, str], t: float, base: Conditions, namespace: str | None = None
) -> Conditions:
    """Conditions of a pod with these labels at t: every acting fault on top of `base`."""
    result = base
    for fault in faults:
        if not (fault.active(t) and fault.selects(labels, namespace)):
            continue
        if fault.kind is FaultKind.SLOW_DEPENDENCY:
            result = replace(
                result.times(dependency=fault.factor),
                dependency_addend_s=result.dependency_addend_s + fault.addend,
            )
        elif fault.kind is FaultKind.SLOW_CPU:
            result = result.times(cpu=fault.factor)
        elif fault.kind is FaultKind.ERRORS:
            ratio = 1.0 - (1.0 - result.error_ratio) * (1.0 - fault.error_percent / 100.0)
            result = replace(result, error_ratio=ratio)
        elif fault.kind is FaultKind.MEMORY:
            result = replace(result, memory_addend=result.memory_addend + fault.bytes)
    return result
