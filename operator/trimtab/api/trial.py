"""Wire model of the Trial: the ledger's rows. The spec never changes; a terminal status never changes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, FiniteFloat

from trimtab.api.assignment import WireAssignment
from trimtab.api.base import Clipped, Keyed, Rule, StatusModel, WireModel, exactly_one
from trimtab.api.experiment_status import REASON, Id, Message
from trimtab.api.times import Time
from trimtab.domain.measurement import Arm
from trimtab.domain.trial import Purpose, TrialPhase

TERMINAL = ("Succeeded", "Infeasible", "Inconclusive", "Aborted", "Stale", "InfraFailed")


Index = Annotated[int, Field(ge=0, le=100_000)]


class ExperimentId(StatusModel):
    """The Experiment that the Trial belongs to."""

    name: Id = Field(description="Name of the Experiment.")
    uid: Id = Field(description="uid of the Experiment; a re-created one of the same name is another.")


class PredictionWire(StatusModel):
    """What the model expected of one constraint."""

    constraint: Id = Field(description="Name of the constraint.")
    mean: FiniteFloat = Field(description="Mean of g = ln(SLI / bound); at most 0 is safe.")
    sd: FiniteFloat = Field(description="Standard deviation of g.")


class SuggestionWire(StatusModel):
    """Why this assignment."""

    by_model: bool = Field(description="The model proposed it; false: a space-filling fallback.")
    safety_probability: FiniteFloat | None = Field(
        None, description="Probability that all constraints hold while the trial runs."
    )
    expected_load: FiniteFloat | None = Field(
        None,
        description="Highest load expected while the trial runs, in requests per second and pod, from the same hours "
        "of the days before; absent where too little is known of them, so that the peak had to be expected.",
    )
    usual_peak: FiniteFloat | None = Field(
        None,
        description="Highest load of the days before, in requests per second and pod, at which a recommendation must "
        "hold, whether a trial sees it or not; absent where nothing is known of them.",
    )
    acquisition: FiniteFloat | None = Field(None, description="Value of the acquisition function.")
    predictions: tuple[PredictionWire, ...] = Field((), max_length=64, description="Expected outcome per constraint.")
    model_digest: Id = Field(description="Identifies data, hyperparameters and code of the model.")
    fit_seconds: FiniteFloat = Field(description="Time to fit the model, in seconds.")
    search_seconds: FiniteFloat = Field(description="Time to find the suggestion, in seconds.")
    reason: Message = Field("", description="Why, in one line.")
    explores: bool | None = Field(
        None, description="Of a Screen: it is measured for what it tells of cheaper ones, not to be recommended itself."
    )
    beside: Annotated[tuple[Index, ...], Field(max_length=16)] | None = Field(
        None, description="Indices of the trials that were live when it was proposed; absent when none was."
    )


class EnvironmentWire(StatusModel):
    """What the trial runs on."""

    template_hash: Id = Field(description="Hash of the target's pod template.")
    target_uid: Id = Field(alias="targetUID", description="uid of the target.")
    image: Annotated[str, Clipped(1024)] = Field(description="Image of the tuned container.")
    target_replicas: int = Field(ge=0, description="Replicas of the target.")
    kubernetes_version: Id = Field("", description="Version of the API server.")


class TrialSpec(StatusModel):
    """What is tried, and why; immutable."""

    experiment: ExperimentId = Field(description="The Experiment that the Trial belongs to.")
    index: Index = Field(description="Number of the Trial within the Experiment.")
    purpose: Purpose = Field(description="Why this trial runs.")
    assignment: WireAssignment = Field(description="The values under trial.")
    summary: Message = Field("", description="The assignment in one line.")
    seed: int = Field(ge=0, description="Seed of the suggestion.")
    suggestion: SuggestionWire = Field(description="Why this assignment.")
    environment: EnvironmentWire = Field(description="What the trial runs on.")
    spec_digest: Id = Field(description="Digest of the Experiment's effective spec.")
    cost: FiniteFloat = Field(description="$ per hour of the target under this assignment.")


class WindowWire(StatusModel):
    """An absolute interval, open at its start."""

    start: Time = Field(description="Start.")
    end: Time = Field(description="End.")


class SampleWire(StatusModel):
    """A measured value."""

    value: FiniteFloat = Field(description="The value, in the SLI's unit.")
    standard_error: FiniteFloat = Field(description="Its standard error, in the SLI's unit.")
    total: FiniteFloat = Field(description="Events or samples behind it.")
    bad: FiniteFloat | None = Field(None, description="Bad events, for ratios.")
    overdispersion: FiniteFloat = Field(1.0, description="Variance relative to the binomial one.")
    degrees: int | None = Field(
        None,
        ge=0,
        le=2**31,
        description="Degrees of freedom of the standard error, where it was widened for them; 0: it was assumed.",
    )
    below: FiniteFloat | None = Field(
        None,
        description="Standard error downwards, where the value is but a lower limit (a quantile beyond all buckets).",
    )


class AbsentWire(StatusModel):
    """Why there is no value."""

    detail: Message = Field(description="Why, in one line.")


class StaleWire(AbsentWire):
    """The newest sample is too old."""

    age: FiniteFloat = Field(description="Its age in seconds.")


class MeasurementWire(StatusModel):
    """One SLI, one arm, one window: a sample, or the way in which it is absent."""

    sli: Id = Field(description="Name of the SLI.")
    arm: Arm = Field(description="Which arm.")
    window: WindowWire = Field(description="Over which window.")
    sample: SampleWire | None = Field(None, description="The measured value.")
    no_data: AbsentWire | None = Field(None, description="No series, NaN, or no traffic.")
    ambiguous: AbsentWire | None = Field(None, description="More than one series.")
    stale: StaleWire | None = Field(None, description="The newest sample is too old.")
    telemetry_error: AbsentWire | None = Field(None, description="The metrics store did not answer properly.")

    RULES = (exactly_one("sample", "no_data", "ambiguous", "stale", "telemetry_error"),)


class LoadWire(StatusModel):
    """Load of one arm."""

    arm: Arm = Field(description="Which arm.")
    rps_per_pod: FiniteFloat = Field(description="Requests per second per pod.")
    pods: FiniteFloat | None = Field(None, description="Pods on average, where an autoscaler decides how many.")
    pods_error: FiniteFloat | None = Field(None, description="Standard error of pods.")
    use: FiniteFloat | None = Field(
        None, description="What one of them used on average of what the autoscaler goes by, in cores or bytes."
    )
    use_error: FiniteFloat | None = Field(None, description="Standard error of use.")


class SpentWire(StatusModel):
    """Events that the canary saw, for error budgets."""

    sli: Id = Field(description="Name of the SLI.")
    bad: FiniteFloat = Field(description="Bad events.")
    total: FiniteFloat = Field(description="All events.")
    unseen: FiniteFloat = Field(0.0, description="Requests that were served and never counted; they count as bad.")
    rate: FiniteFloat | None = Field(None, description="Requests per second, as last seen.")
    until: Time | None = Field(None, description="Until when events were counted.")


class TimesWire(StatusModel):
    """When each phase was entered."""

    deploying: Time | None = Field(None, description="Arms were asked for.")
    warming_up: Time | None = Field(None, description="Arms were ready.")
    measuring: Time | None = Field(None, description="The measurement window began.")
    draining: Time | None = Field(None, description="The outcome was decided.")
    finished: Time | None = Field(None, description="The arms were gone.")


class OutcomeWire(StatusModel):
    """The trial's end; decided while Draining, final when the phase is terminal."""

    phase: TrialPhase = Field(description="The terminal phase.")
    reason: str = Field(min_length=1, max_length=128, pattern=REASON, description="Why, in one CamelCase word.")
    message: Message = Field(description="Why, in one line with numbers.")
    subject: Id = Field("", description="Name of the constraint or the error budget that decided, if one did.")


class NodeTypesWire(StatusModel):
    """Where an arm ran."""

    arm: Arm = Field(description="Which arm.")
    types: Annotated[tuple[Id, ...], Clipped(16)] = Field((), description="Instance types of its nodes.")


class EventDigestWire(StatusModel):
    """Warnings that the cluster reported about the arms for one reason."""

    reason: Id = Field(description="Reason of the Events.")
    count: int = Field(ge=1, description="How often it was reported.")
    note: Annotated[str, Clipped(256)] = Field("", description="The words of the newest one.")


class TrialStatus(StatusModel):
    """What happened."""

    phase: TrialPhase = Field(TrialPhase.PENDING, description="Where the trial stands.")
    times: TimesWire | None = Field(None, description="When each phase was entered.")
    deadline: Time | None = Field(None, description="When the arms are deleted, whatever happened.")
    window: WindowWire | None = Field(None, description="The measurement window.")
    outcome: OutcomeWire | None = Field(None, description="The trial's end.")
    measurements: Annotated[tuple[MeasurementWire, ...], Clipped(64)] = Field((), description="What was measured.")
    load: Annotated[tuple[LoadWire, ...], Keyed("arm")] = Field((), max_length=3, description="Load of the arms.")
    spent: Annotated[tuple[SpentWire, ...], Keyed("sli")] = Field(
        (), max_length=16, description="What the canary cost the error budgets; only grows."
    )
    extended: bool = Field(False, description="The window was extended for want of samples.")
    evidence: Annotated[tuple[Message, ...], Clipped(32)] = Field(
        (),
        description="What led the safety loop to withdraw: what its rule read, e-values, pods, windows of the bounds.",
    )
    withdraw_seconds: FiniteFloat | None = Field(None, description="Time from the decision to the last endpoint.")
    node_types: Annotated[tuple[NodeTypesWire, ...], Keyed("arm")] = Field(
        (), max_length=3, description="Instance types of the arms' nodes; empty where the operator may not read nodes."
    )
    events: Annotated[tuple[EventDigestWire, ...], Clipped(8)] = Field(
        (), description="What the cluster reported about the arms as Warning Events, by reason, most frequent last."
    )
    leader: Id | None = Field(None, description="Operator that began the effect, and its lease's transitions.")


_TERMINAL_LIST = ", ".join(f"'{phase}'" for phase in TERMINAL)


class TrialManifest(WireModel):
    """One trial: a row of the Experiment's ledger."""

    spec: TrialSpec = Field(description="What is tried, and why; immutable.")
    status: TrialStatus | None = Field(None, description="Written by the operator.")

    RULES = (
        Rule("self.spec == oldSelf.spec", "spec of a Trial is immutable; it is a row of a ledger", field=".spec"),
        Rule(
            f"!has(oldSelf.status) || !(oldSelf.status.?phase.orValue('') in [{_TERMINAL_LIST}]) || "
            "(has(self.status) && self.status == oldSelf.status)",
            "status of a finished Trial never changes; it is a row of a ledger",
            field=".status",
        ),
    )
