"""The five ports: everything that touches the world is behind one of them.

`Cluster` (Kubernetes objects), `Telemetry` (SLIs), `Clock`, `Ledger` (Experiment status and Trials), `Designer` (the
optimizer). Adapters implement them over a real API server and a real Prometheus, `trimtab.simulate` over a workload
model in virtual time; one contract suite runs against both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from trimtab.domain.kinds import Kind
from trimtab.domain.kube import Manifest
from trimtab.domain.measurement import Absence, AlertSeen, ContainerUse, NoData, Reading, TelemetryError, Window
from trimtab.domain.space import Resource
from trimtab.domain.spec import ExperimentSpec, Sli
from trimtab.domain.state import ExperimentState
from trimtab.domain.study import NoAnswer, Proposal, Recommended, Study
from trimtab.domain.trial import BrokenTrial, Environment, StrayTrial, Suggestion, Trial, TrialRows


class Cluster(Protocol):
    """A small object store with the API server's semantics.

    Every method raises a subclass of `trimtab.domain.errors.ApiError`: NotFound, AlreadyExists, Conflict, Unauthorized,
    Forbidden, Rejected, Throttled or Unavailable. `namespace` is None for cluster-scoped kinds, or to list in all.
    A request about one object needs its name: an empty one is Rejected.
    """

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Manifest: ...

    async def list(self, kind: Kind, namespace: str | None, *, labels: str = "") -> tuple[Manifest, ...]:
        """All objects whose labels match the selector text, e.g. `trimtab.dev/arm` or `a=b,c in (d)`."""
        ...

    async def create(self, kind: Kind, namespace: str | None, body: Manifest, *, dry_run: bool = False) -> Manifest: ...

    async def create_subresource(
        self, kind: Kind, namespace: str, name: str, subresource: str, body: Manifest
    ) -> Manifest: ...

    async def replace(
        self, kind: Kind, namespace: str | None, name: str, body: Manifest, *, subresource: str = ""
    ) -> Manifest:
        """PUT; the body carries metadata.resourceVersion, and a stale one raises Conflict."""
        ...

    async def delete(
        self, kind: Kind, namespace: str | None, name: str, *, uid: str | None = None, grace_seconds: int | None = None
    ) -> None:
        """DELETE with Background propagation and, when `uid` is given, a uid precondition (mismatch: Conflict)."""
        ...

    async def version(self) -> str:
        """The server's version, e.g. `v1.36.3`."""
        ...


@dataclass(frozen=True)
class Account:
    """Whose queries are counted together, by uid: an Experiment's, and of its trials the one that they are about, ""
    where they are about its target."""

    experiment: str
    trial: str = ""


@dataclass(frozen=True)
class PodSet:
    """Pods told apart by name: those of the Deployments `workloads` (whose pods are named
    `<workload>-<hash>-<5 characters>`), or exactly `replica_sets`' pods. `live` are the names of the pods that the API
    server shows Ready now: each of them must be scraped, or a reading is Stale. `account` says whose queries these are,
    None when nobody's."""

    namespace: str
    workloads: tuple[str, ...]
    live: tuple[str, ...] = ()
    account: Account | None = field(default=None, compare=False)


@dataclass(frozen=True)
class SliRequest:
    """Read one SLI of one set of pods over one absolute window. `fresh` asks for Stale when live pods are not being
    scraped at the window's end."""

    sli: Sli
    pods: PodSet
    window: Window
    fresh: bool = True


NOT_ASKED = NoData("it was not asked for")


@dataclass(frozen=True)
class SliProbe:
    """What preflight learns of an SLI: problem is "" when it can be measured.

    `reason` is a CamelCase condition reason (TelemetryUnavailable, which passes by itself, UnknownStore, QueryFailed,
    NoData, Ambiguous, NoBucketBound, SegmentMissing, NoTraffic), `remedy` what to do. `scrape_interval` and
    `requests_per_second` (of the whole target, now) are None where unknown. Of what there is of the last hours:
    `usual_per_second`, `bad_ratio` of an SLI that counts bad events, `level` of a quantile or value, in the SLI's unit.
    `history` is the age in seconds of the oldest sample found within the asked window. `coarse`: a quantile that is
    known to its bucket only. `unseen`: the metrics of `slo.guards` of which the store has no series of these pods, None
    where unknown.
    """

    sli: str
    reason: str = ""
    problem: str = ""
    remedy: str = ""
    scrape_interval: float | None = None
    requests_per_second: float | None = None
    usual_per_second: float | None = None
    bad_ratio: float | None = None
    level: Reading = NOT_ASKED
    history: float | None = None
    coarse: bool = False
    unseen: tuple[str, ...] | None = None

    @property
    def expected_per_second(self) -> float | None:
        """What trials will see: as in the last hours, as now where these are unknown."""
        return self.requests_per_second if self.usual_per_second is None else self.usual_per_second


@dataclass(frozen=True)
class UseOf:
    """Of what a pod's use is read, in which store: a resource in one container, or with "" in all of them."""

    resource: Resource
    container: str
    store: str


Steps = tuple[tuple[tuple[float, float], ...], ...]
"""Per step of a window the (bad, total) events of each pod that was there."""


class Telemetry(Protocol):
    """SLIs, each from the metrics store that it names. Never raises for missing data or a failing store: absence is a
    `Reading`."""

    async def read(self, requests: Sequence[SliRequest], *, timeout: float) -> tuple[Reading, ...]:
        """One reading per request, in order; a time-out is a TelemetryError."""
        ...

    async def totals(self, sli: Sli, pods: PodSet, window: Window, *, timeout: float) -> Reading:
        """Event sums (bad, total) of a ratio SLI over a long window, over all pods that ever were, for budgets."""
        ...

    async def history(self, sli: Sli, pods: PodSet, window: Window, step: float, *, timeout: float) -> Steps | Absence:
        """What each pod was asked and failed in each step (seconds) of a long window, for a ratio SLI."""
        ...

    async def load(self, sli: Sli, pods: PodSet, window: Window, *, timeout: float) -> Reading:
        """Requests per second of all pods of the set together, from the SLI's total (value) over the window."""
        ...

    async def working_set(self, pods: PodSet, container: str, window: Window, *, store: str, timeout: float) -> Reading:
        """The highest working set (bytes) of one container within the window, over all pods that ever were; `total`
        counts these pods. NoData where the store of this name has none of it."""
        ...

    async def usage(
        self, pods: PodSet, window: Window, *, store: str, timeout: float
    ) -> tuple[ContainerUse, ...] | Absence:
        """What cAdvisor has of each container of the pods, in order of pod and container; NoData where the store has
        nothing of it."""
        ...

    async def use(self, pods: Sequence[PodSet], of: UseOf, window: Window, *, timeout: float) -> tuple[Reading, ...]:
        """What one pod of each set (all of one namespace) used, on average over pods and time, in cores or bytes;
        `total` counts pods. By cAdvisor; NoData where the store has it of fewer than half of a set's live pods."""
        ...

    async def alerts(
        self, names: Sequence[str], namespace: str, window: Window, *, store: str, timeout: float
    ) -> tuple[AlertSeen, ...] | TelemetryError:
        """The alerts of these names that fired within the window, by name: those about the namespace, or about none."""
        ...

    async def probe(self, sli: Sli, pods: PodSet, now: float, history: float, *, timeout: float) -> SliProbe:
        """Preflight of one SLI on the target's pods: does it answer, with one series, with traffic?"""
        ...


class Clock(Protocol):
    def now(self) -> float:
        """Wall time in unix seconds."""
        ...

    def monotonic(self) -> float:
        """Elapsed seconds, never going back."""
        ...

    async def sleep(self, seconds: float) -> None: ...


@dataclass(frozen=True)
class ExperimentRecord:
    """An Experiment as read: identity, the parsed spec (or why it could not be parsed), requests and status."""

    name: str
    namespace: str
    uid: str
    resource_version: str
    generation: int
    created: float
    deleting: bool
    finalized: bool  # our finalizer is present
    annotations: tuple[tuple[str, str], ...]  # trimtab.dev/* only
    annotation_managers: tuple[tuple[str, str], ...]  # annotation -> field manager that set it
    spec: ExperimentSpec | None
    problem_reason: str = ""  # InvalidSpec | NotYetSupported when spec is None
    problem: str = ""
    state: ExperimentState | None = None  # None: status unreadable (corrupted or from the future)
    state_problem: str = ""


@dataclass(frozen=True)
class NewTrial:
    """What the write-ahead POST of a Trial carries; its name is derived from experiment, uid and index."""

    index: int
    suggestion: Suggestion
    environment: Environment
    spec_digest: str
    cost: float


class Ledger(Protocol):
    """Experiments' status and Trials, written with resourceVersion. Raises ApiError subclasses."""

    async def experiment(self, namespace: str, name: str) -> ExperimentRecord: ...

    async def trials(self, experiment: ExperimentRecord) -> TrialRows:
        """All Trials of this Experiment (by uid): by index, and those whose content cannot be read; apart from them
        what our finalizer holds of an earlier Experiment of its name."""
        ...

    async def strays(self, namespace: str, name: str) -> tuple[StrayTrial, ...]:
        """What our finalizer holds for an Experiment of this name, of which there is none any more."""
        ...

    async def trial(self, namespace: str, name: str) -> Trial: ...

    async def create_trial(self, experiment: ExperimentRecord, new: NewTrial) -> Trial:
        """Write-ahead; AlreadyExists is success only when the stored Trial has the same uid and content digest."""
        ...

    async def write_trial(self, trial: Trial) -> Trial:
        """PUT the status with the resourceVersion that was read; returns the stored row."""
        ...

    async def finalize_trial(self, trial: Trial, present: bool) -> Trial:
        """Add or remove our finalizer, with resourceVersion."""
        ...

    async def let_go(self, trial: BrokenTrial | StrayTrial) -> None:
        """Remove our finalizer from a Trial that cannot be read, or whose Experiment is gone."""
        ...

    async def write_state(self, experiment: ExperimentRecord, state: ExperimentState) -> ExperimentRecord: ...

    async def finalize_experiment(self, experiment: ExperimentRecord, present: bool) -> ExperimentRecord: ...


class Designer(Protocol):
    """The optimizer: answers within a deadline, never raises out of the port. What it cannot tell now, because its
    worker was lost or a computation failed, is `NoAnswer`: the caller asks again and concludes nothing."""

    async def suggest(self, study: Study) -> Proposal: ...

    async def recommend(self, study: Study) -> Recommended | NoAnswer: ...


__all__ = [
    "NOT_ASKED",
    "Clock",
    "Cluster",
    "Designer",
    "ExperimentRecord",
    "Ledger",
    "NewTrial",
    "PodSet",
    "SliProbe",
    "SliRequest",
    "Steps",
    "Telemetry",
    "UseOf",
]
