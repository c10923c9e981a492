"""The workload file: what a service is, with explicit units.

One file describes one service: the load it is offered, what a request costs, how memory behaves, and the SLO by which
the noise-free truth is judged. It is read by the workload program that plays its pods, by simulations and by
benchmarks, so all of them speak of the same service.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import yaml
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from trimtab.domain.texts import CONTRADICTIONS, nearest, printable

from .units import Bytes, Cores, Seconds

date_of_day = date  # a field of that name hides the type
Percent = Annotated[float, Field(ge=0, le=100)]
Label = Annotated[str, Field(min_length=1, max_length=253)]


class WorkloadError(ValueError):
    """A workload file that cannot be used; the message is one line with the file, the field and the remedy."""


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True)


class Amounts(_Spec):
    """CPU and memory of a container; what is left out is not set."""

    cpu: Cores | None = None
    memory: Bytes | None = None


class TargetSpec(_Spec):
    """Which pods play this workload: those that the Service selects."""

    deployment: Label
    """Name of the production Deployment (used to name the pods of the backfilled past)."""
    service: Label
    """Name of the Service whose ready endpoints share the load."""
    container: Label
    selector: dict[str, str] = Field(min_length=1)
    """Labels that the Service selects on; arms carry them too."""
    replicas: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Pods of the Deployment as it is today. With `requests` and `limits` it stands for the Deployment's manifest where
    none is at hand."""
    requests: Amounts = Amounts()
    limits: Amounts = Amounts()


class FlashCrowd(_Spec):
    """A sudden rise of load at a fixed time of each day, or of one day; UTC."""

    date: date_of_day | None = None
    """The only day of it: then it comes as a surprise, and is part of no forecast and no peak."""
    at_hour: Annotated[float, Field(ge=0, lt=24)]
    factor: Annotated[float, Field(gt=0, le=100)]
    ramp: Seconds
    duration: Seconds


class RandomCrowds(_Spec):
    """Flash crowds at random times: on average `per_day`, each up to `factor` times the load."""

    per_day: Annotated[float, Field(ge=0, le=24)]
    factor: Annotated[float, Field(ge=1, le=100)]
    ramp: Seconds
    duration: Seconds


class LoadSpec(_Spec):
    """Requests per second offered to the whole service."""

    requests_per_second: Annotated[float, Field(gt=0, le=1e7)]
    """Mean over a day."""
    peak_hour: Annotated[float, Field(ge=0, lt=24)] = 14.0
    daily_swing_percent: Annotated[float, Field(ge=0, le=95)] = 0.0
    """The load swings by this much above and below its mean over a day."""
    weekend_percent: Annotated[float, Field(gt=0, le=200)] = 100.0
    """Load on Saturday and Sunday as a percentage of a weekday's."""
    noise_percent: Annotated[float, Field(ge=0, le=50)] = 0.0
    """Standard deviation of the slow random variation."""
    noise_interval: Seconds = 60.0
    """Time after which the variation has mostly been forgotten."""
    flash_crowds: tuple[FlashCrowd, ...] = ()
    random_crowds: RandomCrowds | None = None


class DependencySpec(_Spec):
    """Time of a request spent waiting for others (databases, other services), using no CPU."""

    mean: Seconds
    cv: Annotated[float, Field(gt=0, le=5)] = 0.6
    distribution: Literal["Lognormal", "Exponential"] = "Lognormal"


class RequestSpec(_Spec):
    """What one request costs and how the pod takes it in."""

    cpu: Seconds
    """Mean CPU time."""
    cpu_cv: Annotated[float, Field(gt=0, le=5)] = 0.8
    burstiness: Annotated[float, Field(ge=1, le=100)] = 1.0
    """Variance / mean of arrivals per 100 ms: 1 is Poisson, more means that requests come in batches."""
    dependency: DependencySpec
    concurrency: Annotated[int, Field(ge=1, le=4096)]
    """Requests a pod works on at once (worker threads)."""
    queue: Annotated[int, Field(ge=1, le=4096)]
    """Requests that may wait in the pod; more are not answered."""
    timeout: Seconds
    error_percent: Percent = 0.0
    """Base ratio of failed requests, whatever the resources."""
    error_dispersion: Annotated[float, Field(ge=1, le=50)] = 1.0
    """Variance / mean of error counts: above 1 errors come in clusters."""


class BatchSpec(_Spec):
    """Requests that are worked on together."""

    size: Annotated[int, Field(ge=1, le=256)] = 1
    """Requests of a batch at most; 1 is none."""
    wait: Seconds
    """How long an incomplete batch waits for more."""
    shared_percent: Percent
    """Part of a lone request's CPU time that a batch spends once, however large it is."""


class CpuSpec(_Spec):
    """CPU use that does not depend on requests, and the node's part in it."""

    background: Cores = 0.0
    contended_percent: Percent = 0.0
    """Part of the time when the node is full and a pod gets no more than its CPU request."""
    node_cores: Cores = 64.0


class MemorySpec(_Spec):
    """Memory of a pod with a tracing garbage collector."""

    runtime: Bytes
    """Code, stacks and buffers: not on the collected heap."""
    live_set: Bytes
    per_request: Bytes = 0.0
    """Live memory of one request in flight."""
    allocated_per_request: Bytes = 0.0
    gc_percent: Annotated[float, Field(gt=0, le=1000)] = 100.0
    """Headroom over the live set that the collector takes when there is no limit (GOGC)."""
    usable_percent: Annotated[float, Field(gt=0, le=100)] = 90.0
    """Part of the limit that the runtime plans to use (GOMEMLIMIT, MaxRAMPercentage)."""
    trace_per_gib: Seconds = 0.0
    """CPU time to trace 1 GiB of live set."""
    pause_per_gib: Seconds = 0.0
    """Stop-the-world pause per 1 GiB of live set."""
    spike_percent: Annotated[float, Field(gt=0, le=50)] = 5.0
    """Standard deviation of the memory need."""
    spike_interval: Seconds = 60.0
    """Mean time between spikes of memory."""


class StartupSpec(_Spec):
    """Cold start of a pod."""

    base: Seconds = 1.0
    """Time that no CPU makes shorter (image, mounts, connections)."""
    cpu: Seconds = 0.0
    """CPU work before the pod is ready, done under its CPU limit."""
    cold_percent: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """How much more CPU the first requests take (empty caches, code not yet compiled)."""
    cold_for: Seconds = 30.0
    """Time constant with which that fades."""
    shutdown: Seconds = 0.5


class NoiseSpec(_Spec):
    """Differences between nodes and pods that no setting explains."""

    node_percent: Annotated[float, Field(ge=0, le=30)] = 0.0
    """Standard deviation of a node's speed."""
    pod_percent: Annotated[float, Field(ge=0, le=30)] = 0.0
    drift_percent: Annotated[float, Field(ge=0, le=30)] = 0.0
    """Standard deviation of the slow drift of the dependencies' time, common to all pods."""
    drift_interval: Seconds = 600.0


class EnvEffect(_Spec):
    """An environment variable of the container that sets a number of the model."""

    name: Label
    field: Literal["concurrency", "queue", "gcPercent", "batch"]
    """Of `request` or `memory`, or the size of a batch."""
    format: Annotated[str, Field(max_length=1024)] = "{}"
    """How the number stands in the variable."""


class NodeEffect(_Spec):
    """A type of node: the value of a node label."""

    value: Label
    cpu_factor: Annotated[float, Field(gt=0, le=100)]
    """Factor on CPU time of requests, background and garbage collection: below 1 is a faster node."""


class NodesEffect(_Spec):
    """What the type of node does."""

    key: Label
    types: tuple[NodeEffect, ...] = Field(min_length=1, max_length=16)


class EffectsSpec(_Spec):
    """How the service reacts to what is no resource; what is not named here has no effect."""

    env: tuple[EnvEffect, ...] = Field((), max_length=12)
    nodes: NodesEffect | None = None


class ReleaseSpec(_Spec):
    """Another version of the service: what pods run whose container has this image. Factors are of what the file says
    otherwise, not of the release before."""

    image: Label
    at: AwareDatetime
    """When a simulation rolls the target out to it; elsewhere somebody sets the image."""
    cpu_factor: Annotated[float, Field(gt=0, le=100)] = 1.0
    """On the CPU time of a request."""
    dependency_factor: Annotated[float, Field(gt=0, le=100)] = 1.0
    """On the time that a request waits for others."""
    memory_factor: Annotated[float, Field(gt=0, le=100)] = 1.0
    """On the live set, and on the live memory of a request in flight."""

    @property
    def time(self) -> float:
        """Of its beginning, in unix seconds."""
        return self.at.timestamp()


class SloSpec(_Spec):
    """What the service promises; the noise-free truth is judged by it."""

    latency_threshold: Seconds
    max_slow_percent: Percent
    max_error_percent: Percent


class WorkloadSpec(_Spec):
    """One service."""

    name: Label
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    target: TargetSpec
    load: LoadSpec
    request: RequestSpec
    batch: BatchSpec | None = None
    cpu: CpuSpec = CpuSpec()
    memory: MemorySpec
    startup: StartupSpec = StartupSpec()
    noise: NoiseSpec = NoiseSpec()
    effects: EffectsSpec | None = None
    releases: tuple[ReleaseSpec, ...] = Field((), max_length=16)
    slo: SloSpec
    buckets: tuple[Seconds, ...] = Field(min_length=2, max_length=40)
    """Upper bounds of the latency histogram, without +Inf."""

    @cached_property
    def digest(self) -> str:
        """Digest of the whole workload: names a version of it in results, and makes it a cheap cache key."""
        # What is not set is left out: it is what it was before these fields.
        unset: dict[str, Any] = {name: True for name in ("batch", "effects", "releases") if not getattr(self, name)}
        daily = {n: {"date"} for n, crowd in enumerate(self.load.flash_crowds) if crowd.date is None}
        unset |= {"load": {"flash_crowds": daily}} if daily else {}
        return hashlib.sha256(self.model_dump_json(exclude=unset or None).encode()).hexdigest()[:16]

    def __hash__(self) -> int:
        return hash(self.digest)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A changed copy; its digest is its own."""
        copy = super().model_copy(update=update, deep=deep)
        copy.__dict__.pop("digest", None)
        return copy

    @model_validator(mode="after")
    def _check(self) -> Self:
        if any(b <= a for a, b in zip(self.buckets, self.buckets[1:], strict=False)):
            raise ValueError("buckets: bounds must increase; sort them and remove duplicates")
        if self.slo.latency_threshold not in self.buckets:
            near = sorted(self.buckets, key=lambda b: abs(b - self.slo.latency_threshold))[:2]
            bounds = " or ".join(f"{b:g}s" for b in sorted(near))
            raise ValueError(f"slo.latencyThreshold: is no bucket bound, so it cannot be counted; use {bounds}")
        if self.request.timeout <= self.buckets[-1]:
            raise ValueError(f"request.timeout: must be longer than the last bucket, {self.buckets[-1]:g}s")
        if self.batch is None and any(e.field == "batch" for e in (self.effects.env if self.effects else ())):
            raise ValueError("effects.env: field batch, but there are no batches; add batch: {wait, sharedPercent}")
        if any(b.at <= a.at for a, b in zip(self.releases, self.releases[1:], strict=False)):
            raise ValueError("releases: each must come after the one before; sort them by at")
        if len({r.image for r in self.releases}) < len(self.releases):
            raise ValueError("releases: two have the same image; give each its own")
        return self


_WHOLE, _NUMBER = "must be a whole number; write for example 20", "must be a number; write for example 2.5"
_WORDS: Final = {
    "missing": "is missing; add it",
    "int_parsing": _WHOLE,
    "int_type": _WHOLE,
    "int_from_float": _WHOLE,
    "float_parsing": _NUMBER,
    "float_type": _NUMBER,
    "greater_than": "must be above {gt:g}; raise it",
    "greater_than_equal": "must be at least {ge:g}; raise it",
    "less_than": "must be below {lt:g}; lower it",
    "less_than_equal": "must be at most {le:g}; lower it",
    "model_type": "must be a mapping; write its fields below it, indented",
}
"""Of pydantic's problems, by type."""


def parse_workload(text: str, source: str = "workload") -> WorkloadSpec:
    """A workload from YAML text; WorkloadError names `source`, the field and the remedy."""
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, *CONTRADICTIONS) as error:
        words = "it is nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())
        raise WorkloadError(f"{source}: is not YAML: {printable(words)}") from None
    if not isinstance(document, dict):
        raise WorkloadError(f"{source}: must be a mapping with the fields name, target, load, request, memory, slo")
    try:
        return WorkloadSpec.model_validate(document)
    except ValidationError as error:
        raise WorkloadError(f"{source}: {printable(_one_line(error))}") from None


def load_workload(path: str | Path) -> WorkloadSpec:
    """Read a workload file."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not UTF-8 text"
        raise WorkloadError(f"{path}: cannot be read ({reason}); give the path of a workload file") from None
    return parse_workload(text, str(path))


def _one_line(error: ValidationError) -> str:
    """The first problem of a ValidationError as `field: what is wrong; remedy`. Unknown fields come first: one that is
    misspelled is missing, too."""
    found = sorted(error.errors(include_url=False), key=lambda e: e["type"] != "extra_forbidden")
    first = found[0]
    field, message = ".".join(str(part) for part in first["loc"]), first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        *above, name = first["loc"]
        missing = [str(e["loc"][-1]) for e in found if e["type"] == "missing" and [*e["loc"][:-1]] == above]
        meant = nearest(str(name), missing)
        message = "is not a field of a workload; " + (
            f"did you mean {meant}?" if meant else "remove it or correct its spelling"
        )
    elif first["type"] in _WORDS:
        message = _WORDS[first["type"]].format(**first.get("ctx", {}))
    more = len(found) - 1
    rest = f" (and {more} more)" if more else ""
    return f"{field}: {message}{rest}" if field else f"{message}{rest}"
