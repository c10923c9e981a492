"""Wire model of the Experiment's status."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat

from trimtab.api.assignment import WireAssignment
from trimtab.api.base import Clipped, Keyed, StatusModel
from trimtab.api.times import Time
from trimtab.domain.space import Resource
from trimtab.domain.state import ExperimentPhase

Message = Annotated[str, Clipped(1024)]
Short = Annotated[str, Clipped(80)]
Id = Annotated[str, Field(max_length=253)]
CONDITION_TYPE = r"^[A-Za-z][A-Za-z0-9]{0,62}$"
REASON = r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"


class Condition(StatusModel):
    """A `metav1.Condition`."""

    type: str = Field(min_length=1, max_length=63, pattern=CONDITION_TYPE, description="Type of the condition.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: str = Field(min_length=1, max_length=128, pattern=REASON, description="Why, in one CamelCase word.")
    message: Annotated[str, Clipped(4096)] = Field("", description="Why, for people, with the remedy.")
    last_transition_time: Time = Field(description="When status changed last.")
    observed_generation: int = Field(0, ge=0, description="metadata.generation of the spec it is about.")


class Display(StatusModel):
    """Strings of the printer columns."""

    trials: Short = Field(
        "", description="Trials that count towards maxTrials (see trialsCounted), and maxTrials: 7/40."
    )
    saving: Short = Field(
        "",
        description="What the incumbent, in the end the recommendation, saves, in percent; with its name, the change "
        "of a first objective that is not the cost.",
    )
    slo: Short = Field("", description="Held or Broken, as sloHeld says; empty while it is not known.")
    budget: Short = Field("", description="Least remaining error budget of the service, in percent.")
    message: Short = Field("", description="The first 80 characters of message.")
    active: Short = Field("", description="Live trials.")


class AutoscalerStatus(StatusModel):
    """The autoscaler of the target, of which arms have clones."""

    name: Id = Field(description="Name of the HorizontalPodAutoscaler.")
    replicas: int = Field(ge=0, description="Pods of the target when it was looked at.")
    resource: Resource | None = Field(None, description="The resource whose utilization it goes by.")
    container: Id = Field("", description="The container whose utilization it goes by; empty for the whole pod.")
    utilization: FiniteFloat = Field(1.0, description="The fraction of the request that it aims at.")
    tolerance: FiniteFloat = Field(0.1, description="How far above that it stands still, as a fraction.")
    minimum: int | None = Field(None, ge=0, description="Its minReplicas.")
    maximum: int | None = Field(None, ge=0, description="Its maxReplicas.")


class TargetStatus(StatusModel):
    """What the target was before the first trial."""

    uid: Id = Field(description="uid of the target.")
    template_hash: Id = Field(description="Hash of its pod template.")
    baseline: WireAssignment = Field(description="Its values of the tuned parameters.")
    autoscaler: AutoscalerStatus | None = Field(None, description="What scales it and its arms.")


class Counts(StatusModel):
    """Trials per terminal phase."""

    succeeded: int | None = Field(None, ge=0, description="Trials that were measured and judged.")
    infeasible: int | None = Field(None, ge=0, description="Trials that broke a bound.")
    inconclusive: int | None = Field(None, ge=0, description="Trials that could not be judged.")
    aborted: int | None = Field(None, ge=0, description="Trials ended by people, budgets or the environment.")
    stale: int | None = Field(None, ge=0, description="Trials whose target changed meanwhile.")
    infra_failed: int | None = Field(None, ge=0, description="Trials that the cluster could not run.")


class Incumbent(StatusModel):
    """The best feasible assignment so far."""

    trial: Id | None = Field(None, description="Name of the Trial that measured it.")
    assignment: WireAssignment | None = Field(None, description="Its values.")


class Interval(StatusModel):
    """A value with its 95 percent interval."""

    value: FiniteFloat = Field(description="The value.")
    low: FiniteFloat = Field(description="Lower end of its 95 percent interval.")
    high: FiniteFloat = Field(description="Upper end of its 95 percent interval.")


class SliOutlook(StatusModel):
    """One SLI at the recommended values."""

    sli: Id = Field(description="Name of the SLI.")
    predicted: Interval | None = Field(None, description="What the model expects at peak load, in the SLI's unit.")
    verified: Interval | None = Field(None, description="What canaries of fresh trials measured, pooled.")
    control: Interval | None = Field(None, description="What the controls beside them measured, pooled.")


class ObjectiveOutlook(StatusModel):
    """One objective at the recommended values, in its own unit."""

    name: Id = Field(description="Name of the objective.")
    baseline: FiniteFloat = Field(description="What the model expects at the baseline, at the load of a usual trial.")
    predicted: Interval = Field(description="What the model expects at the recommended values, at the same load.")
    change: FiniteFloat = Field(description="Their difference as a fraction of the baseline's; below 0 is less.")
    verified: Interval | None = Field(None, description="What canaries of fresh trials measured, pooled.")
    control: Interval | None = Field(None, description="What the controls beside them measured, pooled.")


class FrontValue(StatusModel):
    """One objective at a point of the front."""

    name: Id = Field(description="Name of the objective.")
    value: FiniteFloat = Field(description="What the model expects, in the objective's unit.")
    sd: FiniteFloat = Field(description="Its standard deviation; 0 where the objective is known.")


class FrontPoint(StatusModel):
    """An assignment that could be recommended and that none other beats in both objectives."""

    assignment: WireAssignment = Field(description="Its values.")
    objectives: Annotated[tuple[FrontValue, ...], Keyed("name")] = Field(
        (), max_length=8, description="Both objectives there."
    )


class Recommendation(StatusModel):
    """The answer of the Experiment."""

    digest: Id = Field(description="Names exactly this recommendation; the value that trimtab.dev/approve takes.")
    assignment: WireAssignment = Field(description="The recommended values.")
    keep_baseline: bool = Field(description="The present settings are the recommendation.")
    saving: FiniteFloat = Field(description="Fraction of the baseline's cost that is saved.")
    saving_low: FiniteFloat | None = Field(None, description="The saving again: while replicas are fixed it is exact.")
    saving_high: FiniteFloat | None = Field(None, description="The saving again: while replicas are fixed it is exact.")
    cost_before: FiniteFloat = Field(description="$ per hour at the baseline.")
    cost_after: FiniteFloat = Field(description="$ per hour at the recommendation.")
    verified: bool = Field(description="Fresh trials confirmed it.")
    config_map: Id = Field(description="ConfigMap with the patch.")
    template_hash: Id = Field(description="Pod template that the evidence is about.")
    message: Message = Field(description="One line with numbers.")
    approved: bool = Field(False, description="The on-call approved exactly this digest.")
    slis: Annotated[tuple[SliOutlook, ...], Keyed("sli")] = Field(
        (), max_length=16, description="SLIs at these values: predicted and verified."
    )
    objectives: Annotated[tuple[ObjectiveOutlook, ...], Keyed("name")] = Field(
        (), max_length=8, description="The objectives at these values; empty where the cost alone is the objective."
    )
    front: tuple[FrontPoint, ...] = Field(
        (),
        max_length=16,
        description="Of two objectives: the evaluated assignments that could be recommended and are not beaten in "
        "both, the best of the first objective first.",
    )
    seen_of_peak: FiniteFloat | None = Field(
        None,
        description="The highest load under which it was verified, as a fraction of the peak of the days before. "
        "Absent where that peak is not known.",
    )


class BudgetStatus(StatusModel):
    """One error budget."""

    name: Id = Field(description="Name of the budget.")
    remaining: FiniteFloat | None = Field(None, description="Fraction of the service's budget that is left.")
    burn_rate: FiniteFloat | None = Field(None, description="Burn rate over the last hour; 1 is exactly sustainable.")
    exhaustion_seconds: FiniteFloat | None = Field(
        None,
        description="Until nothing is left at this burn rate; absent where some always is at this rate, and while "
        "remaining or burnRate is not known.",
    )
    observed: Time | None = Field(None, description="When it was judged, to half a minute.")
    allowed_bad: FiniteFloat | None = Field(None, description="Bad events that the whole budget allows, as last known.")
    spent_bad: FiniteFloat = Field(
        description="Bad events that canaries on this target caused; requests that nobody saw count as bad."
    )
    spent_share: FiniteFloat = Field(description="The same as a fraction of the whole budget.")
    history_short: bool = Field(False, description="The metrics reach less far back than the window.")
    firing: Message = Field("", description="The rule that holds the gate closed, empty when none does.")
    clear_since: Time | None = Field(None, description="Since when that rule's short window stayed low.")
    metrics_since: Time | None = Field(None, description="Oldest sample of the metrics that preflight found.")


class FloorStatus(StatusModel):
    """The least value of a parameter that is tried."""

    parameter: Id = Field(description="Name of the parameter.")
    value: FiniteFloat = Field(description="In base units: bytes.")
    message: Message = Field(description="Why, in one line.")


class Handled(StatusModel):
    """An on-call annotation that was acknowledged."""

    annotation: Id = Field(description="Key of the annotation.")
    value: Annotated[str, Clipped(1024)] = Field(description="Its value.")
    manager: Id = Field(description="Field manager that set it.")
    at: Time = Field(description="When it was acknowledged.")
    answer: Message = Field(description="What was done.")


class Lengthscale(StatusModel):
    """A lengthscale of one constraint's model."""

    constraint: Id = Field(description="Name of the constraint.")
    parameter: Id = Field(description="Name of the parameter.")
    value: FiniteFloat = Field(description="Lengthscale in the unit cube; large means little effect.")


class SymptomStatus(StatusModel):
    """Something is wrong with the model of one constraint, or of all."""

    kind: Id = Field(description="Miscalibrated, ScaleAtBound, Outlier, Noisy, Drift or Dimensionality.")
    constraint: Id = Field(description="Name of the constraint; empty where it is about all.")
    message: Message = Field(description="What was seen, with numbers, and what is done about it.")


class DiagnosticsStatus(StatusModel):
    """Health of the model at the last suggestion."""

    outcomes: int = Field(ge=0, description="Trials that the model has learned from.")
    verified_points: int = Field(ge=0, description="Assignments that measurements show safe.")
    safe_points: int = Field(ge=0, description="Assignments that the model holds safe.")
    kappa: FiniteFloat = Field(description="Caution factor on the model's uncertainty.")
    coverage: FiniteFloat | None = Field(None, description="Leave-one-out coverage of 95 percent intervals.")
    lengthscales: Annotated[tuple[Lengthscale, ...], Clipped(256)] = Field((), description="Fitted lengthscales.")
    fallback: Message = Field("", description="Why a fallback was used, empty when it was not.")
    diversity: FiniteFloat | None = Field(
        None, description="Mean distance between the assignments searched, over the unit cube's diagonal, 0 to 1."
    )
    effective_dimension: FiniteFloat | None = Field(
        None, description="How many parameters the bounds depend on, 1 to the number of parameters."
    )
    fallbacks: int = Field(0, ge=0, description="Search trials that the model did not propose.")
    symptoms: Annotated[tuple[SymptomStatus, ...], Clipped(64)] = Field(
        (), description="What is wrong with the model; empty when nothing is."
    )


class FiguresStatus(StatusModel):
    """How well the search works, from its finished trials. What was found is the incumbent, in the end the
    recommendation."""

    experiment_cost: FiniteFloat = Field(
        description="$ that the arms of all ended trials cost, by their requests; stopping.maxCost caps it."
    )
    best_objective: FiniteFloat | None = Field(
        None,
        description="First objective of what was found, as canaries measured it; $ per hour of the target where it is "
        "the cost.",
    )
    improvement_per_trial: FiniteFloat | None = Field(
        None, description="Fraction by which the first objective improved, per finished trial."
    )
    cost_per_improvement: FiniteFloat | None = Field(None, description="$ of trials per percent of improvement.")
    monthly_saving: FiniteFloat | None = Field(None, description="$ that what was found saves in 730 hours.")
    return_ratio: FiniteFloat | None = Field(None, description="A month's saving over what the trials cost.")
    parallel_efficiency: FiniteFloat | None = Field(
        None, description="The trials' time over the elapsed time and parallelism, 0 to 1."
    )
    traffic_share: FiniteFloat | None = Field(
        None, description="Fraction of the requests that the last measured canary got."
    )
    baseline_cost: FiniteFloat | None = Field(None, description="$ per hour of the target with today's settings.")
    found_cost: FiniteFloat | None = Field(None, description="$ per hour of the target with what was found.")
    convergence_seconds: FiniteFloat | None = Field(
        None, description="From the passed preflight to the end of the trial that first measured what is recommended."
    )


class ExperimentStatus(StatusModel):
    """What the operator knows and did."""

    observed_generation: int = Field(0, ge=0, description="metadata.generation that was acted upon.")
    phase: ExperimentPhase = Field(ExperimentPhase.PENDING, description="Where the Experiment stands.")
    message: Message = Field("", description="One line with numbers.")
    conditions: Annotated[tuple[Condition, ...], Keyed("type")] = Field(
        (), max_length=24, description="Conditions; Ready, Reconciling and Stalled follow kstatus."
    )
    display: Display | None = Field(None, description="Strings of the printer columns.")
    spec_digest: Id | None = Field(None, description="Digest of the effective spec.")
    started: Time | None = Field(
        None, description="When preflight passed first; stopping.maxDuration counts from here."
    )
    finished: Time | None = Field(None, description="When the Experiment ended.")
    trials_created: int = Field(0, ge=0, description="Trials up to this index must exist; never shrinks.")
    trials_counted: int = Field(
        0,
        ge=0,
        description="Trials that count towards maxTrials: Succeeded, Infeasible or Inconclusive, not for verification.",
    )
    target: TargetStatus | None = Field(None, description="What the target was before the first trial.")
    active_trials: Annotated[tuple[Id, ...], Field(max_length=16)] = Field((), description="Names of live Trials.")
    counts: Counts | None = Field(None, description="Trials per terminal phase.")
    incumbent: Incumbent | None = Field(None, description="The best feasible assignment so far.")
    saving: FiniteFloat | None = Field(
        None, description="Fraction of the baseline's cost that the incumbent, in the end the recommendation, saves."
    )
    improvement: FiniteFloat | None = Field(
        None,
        description="Fraction by which the incumbent, in the end the recommendation, improves the first objective; "
        "absent where that is the cost alone.",
    )
    slo_held: bool | None = Field(
        None, description="No error budget of the service was used up since the first trial; absent without budgets."
    )
    candidate: WireAssignment | None = Field(None, description="The assignment under verification.")
    recommendation: Recommendation | None = Field(None, description="The answer of the Experiment.")
    budgets: Annotated[tuple[BudgetStatus, ...], Keyed("name")] = Field((), max_length=16, description="Error budgets.")
    floors: Annotated[tuple[FloorStatus, ...], Keyed("parameter")] = Field(
        (), max_length=12, description="What the service has needed lately; nothing under it is tried."
    )
    handled_requests: Annotated[tuple[Handled, ...], Clipped(32)] = Field(
        (), description="On-call annotations that were acknowledged, newest last."
    )
    diagnostics: DiagnosticsStatus | None = Field(None, description="Health of the model at the last suggestion.")
    figures: FiguresStatus | None = Field(None, description="How well the search works, from its finished trials.")
    retry_at: Time | None = Field(None, description="Nothing is tried before this time.")
    designer_failures: int = Field(0, ge=0, description="Questions in a row that the optimizer could not answer.")
    spoilt_before: int | None = Field(
        None,
        ge=0,
        description="Trials of a lower index that others ran beside are no evidence, as these disturbed each other "
        "(condition Parallel); absent while nothing of that kind was found.",
    )
    scrape_interval_seconds: FiniteFloat | None = Field(None, description="Scrape interval that preflight found.")
    requests_per_second: FiniteFloat | None = Field(
        None, description="Requests per second of the whole target that preflight found."
    )
    rollbacks: int = Field(0, ge=0, description="Live trials that were withdrawn, whatever the reason.")
