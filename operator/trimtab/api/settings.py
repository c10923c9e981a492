"""Wire models of how trials run: timing, canary, traffic, safety, search, stopping, schedule, prices."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trimtab.api.base import DEFAULT_KEY, Keyed, Rule, Unique, WireModel, section
from trimtab.api.scalars import (
    DECIMAL_PATTERN,
    DURATION_PATTERN,
    AlertName,
    ContainerName,
    Cron,
    DnsName,
    MoneyCap,
    Name,
    Price,
    Text,
    TimeZone,
    lasting,
    percentage,
    unless_malformed,
)
from trimtab.api.times import Time, parse_time
from trimtab.domain.quantity import parse_duration


class TargetRef(WireModel):
    """The workload under tuning, in the Experiment's namespace."""

    api_version: Literal["apps/v1"] = Field("apps/v1", description="API version of the target.")
    kind: Literal["Deployment"] = Field("Deployment", description="Kind of the target.")
    name: DnsName = Field(description="Name of the target.")

    RULES = (Rule("self == oldSelf", "targetRef is immutable; create a new Experiment for another target"),)


class Replicates(WireModel):
    """How often an assignment may be measured."""

    min: int = Field(1, ge=1, le=10, description="Least number of trials of an assignment before it is judged.")
    max: int = Field(3, ge=1, le=20, description="Greatest number of trials of an assignment.")

    RULES = (
        Rule(
            "self.min <= self.max", "min may not exceed max; lower min or raise max", lambda m: m.min <= m.max,
            field=".min",
        ),
    )  # fmt: skip


class Fidelity(WireModel):
    """Short trials that screen before a full one."""

    screen: Annotated[str, lasting("1s", "24h")] = Field(
        description="Time for which a search trial measures before it is decided whether it goes on for `duration`: it "
        "does when the interval of a modelled bound straddles the bound, when its assignment may become the incumbent, "
        "or when too little could be read; else it ends there."
    )


class TrialTiming(WireModel):
    """The course of one trial."""

    warm_up: Annotated[str, lasting("1s", "24h")] = Field(
        "2m", description="Time after the arms are ready that is not measured."
    )
    duration: Annotated[str, lasting("1s", "24h")] = Field(
        "10m", description="Length of the measurement window; extended once to twice this for want of samples."
    )
    deadline: Annotated[str, lasting("2s", "72h")] = Field(
        "45m", description="Time from a trial's creation after which its arms are deleted, whatever happened."
    )
    replicates: Replicates = section(Replicates, "How often an assignment may be measured.")
    parallel: int = Field(
        1,
        ge=1,
        le=4,
        description="Trials at a time, with traffic.mode Service. A further one starts once all live ones measure; "
        "baseline and verification run alone. All arms together keep canary.maxSharePercent, so more may have to be "
        "allowed there.",
    )
    fidelity: Fidelity | None = Field(None, description="Short trials that screen before a full one.")
    early_success: bool | None = Field(  # absent while nobody asks for it: digests of older specs stay
        None,
        description="Ends a new assignment's trial after half of `duration` or more as soon as sequential tests show "
        "every bound kept and no SLI worse than its tolerated ratio. Baseline, replicates and verification are always "
        "measured in full. Default: false.",
        json_schema_extra={DEFAULT_KEY: "false"},
    )

    RULES = (
        Rule(
            f"{unless_malformed(DURATION_PATTERN, 'self.warmUp', 'self.duration', 'self.deadline')}"
            "duration(self.warmUp) + duration(self.duration) < duration(self.deadline)",
            "deadline must be longer than warmUp + duration; raise deadline",
            lambda m: parse_duration(m.warm_up) + parse_duration(m.duration) < parse_duration(m.deadline),
            field=".deadline",
        ),
        Rule(
            f"{unless_malformed(DURATION_PATTERN, 'self.duration')}!has(self.fidelity) || "
            f"{unless_malformed(DURATION_PATTERN, 'self.fidelity.screen')}"
            "duration(self.fidelity.screen) < duration(self.duration)",
            "fidelity.screen must be shorter than duration, as it decides whether that is measured; shorten "
            "fidelity.screen or raise duration",
            lambda m: m.fidelity is None or parse_duration(m.fidelity.screen) < parse_duration(m.duration),
            field=".fidelity.screen",
        ),
    )


class Canary(WireModel):
    """The arms of a trial and the load they may take."""

    replicas: int = Field(1, ge=1, le=100, description="Pods of each arm.")
    control: Literal["Clone"] = Field(
        "Clone", description="Clone: a second arm with the target's present settings, as young as the canary."
    )
    max_share_percent: Annotated[str, percentage(most="90", above=True)] = Field(
        "10",
        description="Greatest share of the load that the arms of all live trials together may take; preflight refuses "
        "when the replicas of one trial's arms and of the target exceed it.",
    )
    otel_resource_attributes: bool = Field(
        False,
        description="Adds the experiment's and the trial's id to OTEL_RESOURCE_ATTRIBUTES of both arms, so that they "
        "appear in the service's traces.",
    )


class HttpRoute(WireModel):
    """The HTTPRoute whose weights send traffic to the canary."""

    name: DnsName = Field(description="Name of the HTTPRoute in the same namespace.")
    rule_name: ContainerName = Field(description="Name of the rule in the HTTPRoute.")
    backend_service: ContainerName = Field(description="Service of the target in that rule.")
    canary_percent: Annotated[str, percentage(most="50", above=True)] = Field(
        "5", description="Percent of the rule's traffic that goes to the canary; the control gets as much."
    )


class Traffic(WireModel):
    """How the arms get their share of production traffic."""

    mode: Literal["Service", "HTTPRoute"] = Field(
        "Service",
        description="Service: the arms' pods carry the labels that the target's Services select on. HTTPRoute: weights "
        "of a Gateway API route.",
    )
    http_route: HttpRoute | None = Field(None, alias="httpRoute", description="For mode HTTPRoute.")
    share_service_labels: bool = Field(
        False,
        description="Mode Service: allows arms to carry all labels of the target's own selector, where its Services "
        "select on all of them. Preflight still refuses it when an autoscaler or a PodDisruptionBudget selects them.",
    )

    RULES = (
        Rule(
            "(self.mode == 'HTTPRoute') == has(self.httpRoute)",
            "httpRoute belongs to mode HTTPRoute, which needs it; set both or neither",
            lambda m: (m.mode == "HTTPRoute") == (m.http_route is not None),
        ),
    )


class Safety(WireModel):
    """The safety monitor."""

    probability_percent: Annotated[str, percentage("50", "99.9")] = Field(
        "95", description="Least probability that a suggested assignment keeps all constraints."
    )
    check_interval: Annotated[str, lasting("1s", "5m")] = Field("10s", description="Time between two safety checks.")
    stale_after: Annotated[str, lasting("1s", "2m")] = Field(
        "60s", description="Age of the newest data after which a live canary counts as blind and is withdrawn."
    )
    resource_guards: Literal["Enforce", "Off"] | None = Field(  # absent while nobody asks: digests of older specs stay
        None,
        description="Withdraws a canary whose containers are throttled in half of their CPU periods, wait for a CPU "
        "80 % of the time, fill 98 % of their memory limit, or stand still for memory 10 % of the time, in two of "
        "three windows while the control is well. By cAdvisor's series; containers without them are not guarded, and "
        "preflight says so (NotGuarded).",
        json_schema_extra={DEFAULT_KEY: "Enforce"},
    )
    pause_on_alerts: Annotated[tuple[AlertName, ...], Unique()] = Field(
        (),
        max_length=16,
        description="Prometheus alerts that pause the Experiment while they fire, and for 15 minutes more; a live "
        "trial is withdrawn. One whose label namespace names another namespace does not count.",
    )


class Search(WireModel):
    """The optimizer."""

    designer: Literal["GaussianProcess", "Sobol"] = Field(
        "GaussianProcess",
        description="GaussianProcess: constrained Bayesian optimization. Sobol: space-filling inside the step limits.",
    )
    acquisition: Literal["ConstrainedEI", "UCB", "PI", "Thompson", "NoisyEI", "HypervolumeEI"] = Field(
        "ConstrainedEI",
        description="What the model tries among the points that are safe. ConstrainedEI: log expected improvement + "
        "log feasibility; it means NoisyEI where an objective names an SLI, and HypervolumeEI where there are two. Of "
        "a single objective without an SLI also: UCB: the greatest improvement that may be feasible. PI: the likeliest "
        "improvement. Thompson: the best of one draw of the model. NoisyEI: the improvement of one measured objective, "
        "over joint draws. HypervolumeEI: the growth of the front of two objectives.",
    )
    seed: int = Field(1, ge=0, le=2**31 - 1, description="Seed of everything random; the same data and seed give the "
                      "same suggestions.")  # fmt: skip
    initial_trials: int | None = Field(
        None,
        ge=2,
        le=100,
        description="Trials before the model suggests: baseline first, then space-filling inside the step limits. "
        "Default: the greater of 5 and two more than there are parameters.",
        json_schema_extra={DEFAULT_KEY: "max(5, parameters + 2)"},
    )
    infeasible_baseline: Literal["Refuse", "Repair"] = Field(
        "Refuse",
        description="What to do when the present settings break a constraint already. Refuse: stop and say so. "
        "Repair: try increases only, until one holds every constraint; then look for something cheaper from there. A "
        "canary is then withdrawn by its abort rule only if it is worse than its control, too.",
    )

    RULES = (
        Rule(
            "self.infeasibleBaseline != 'Repair' || self.designer == 'GaussianProcess'",
            "infeasibleBaseline: Repair needs the model; set designer: GaussianProcess",
            lambda m: m.infeasible_baseline != "Repair" or m.designer == "GaussianProcess",
            field=".infeasibleBaseline",
        ),
    )


class Stopping(WireModel):
    """When the Experiment ends."""

    max_trials: int = Field(
        40, ge=1, le=1000, description="Trials that reached a verdict; verification is not counted."
    )
    max_cost: MoneyCap | None = Field(
        None,
        description="Greatest cost of all arms together, in $, as a decimal string: their requests at `prices`, while "
        "they exist. A trial starts only while it, up to its deadline, and a verification fit into what is left.",
    )
    max_duration: Annotated[str, lasting("1m", "2160h")] = Field(
        "168h",
        description="Time from the passed preflight. Then the search ends and what it found is verified; what still "
        "waits after the time that takes is stopped. mode: Observe goes on.",
    )
    max_infeasible: int = Field(8, ge=1, le=1000, description="Infeasible trials after which the Experiment stops.")
    max_inconclusive: int = Field(
        8,
        ge=1,
        le=1000,
        description="Trials that were inconclusive, failed to deploy, or had to be aborted without anybody asking "
        "for it, after which it stops.",
    )
    patience: int = Field(10, ge=1, le=1000, description="Trials in a row without improvement after which it stops.")
    min_improvement_percent: Annotated[str, percentage()] = Field(
        "1", description="Stops when the most that can still be saved is below this percentage of the present cost."
    )


class Verification(WireModel):
    """Fresh trials of the recommendation, judged alone."""

    duration: Annotated[str, lasting("1s", "24h")] = Field("30m", description="Length of a measurement window.")
    replicates: int = Field(2, ge=0, le=10, description="Number of trials; 0 recommends without verification.")
    at_peak: bool = Field(
        True,
        description="The last one waits for the usual peak of the load, where that is known: a day at most, and not if "
        "an earlier one saw it.",
    )


class Promotion(WireModel):
    """What happens with a verified recommendation."""

    strategy: Literal["Export", "Apply"] = Field(
        "Export", description="Export: a ConfigMap with patches for your pipeline. Apply: Trimtab changes the target."
    )
    approval: Literal["Required", "Automatic"] = Field(
        "Required", description="Whether Apply waits for the annotation trimtab.dev/approve."
    )
    bake: Annotated[str, lasting("1m", "168h")] = Field(
        "1h", description="Time after Apply during which a breach restores the original."
    )


class NameRef(WireModel):
    """An object in the same namespace."""

    name: DnsName = Field(description="Name of the object.")


class AssignedValue(WireModel):
    """The value of one parameter."""

    name: Name = Field(description="Name of the parameter.")
    value: str = Field(min_length=1, max_length=253, description="Its value, as a manifest writes it: 250m, 512Mi, 70.")


class GivenAssignment(WireModel):
    """One assignment to try early."""

    values: Annotated[tuple[AssignedValue, ...], Keyed("name")] = Field(
        description="Values of parameters; those that are left out stay as they are today.",
        min_length=1,
        max_length=12,
    )


class WarmStart(WireModel):
    """Where earlier knowledge comes from; it never counts as evidence of safety."""

    experiment_ref: NameRef | None = Field(None, description="An earlier Experiment in the same namespace.")
    history_ref: NameRef | None = Field(None, description="A ConfigMap with an exported history.")
    max_age: Annotated[str, lasting("1h", "8760h")] = Field("720h", description="Older trials are ignored.")
    assignments: tuple[GivenAssignment, ...] = Field((), max_length=16, description="Assignments to try early.")

    RULES = (
        Rule(
            "has(self.experimentRef) || has(self.historyRef) || has(self.assignments) && self.assignments.size() > 0",
            "is empty; set experimentRef, historyRef or assignments, or leave out warmStart",
            lambda m: m.experiment_ref is not None or m.history_ref is not None or len(m.assignments) > 0,
        ),
    )


class ScheduleWindow(WireModel):
    """A recurring time in which trials may start."""

    cron: Cron = Field(description="Start, as five cron fields: minute, hour, day of month, month, day of week.")
    duration: Annotated[str, lasting("1m", "168h")] = Field(
        description="Length, in elapsed time. Windows that touch or overlap are one."
    )


class Freeze(WireModel):
    """A time in which nothing runs."""

    start: Time = Field(description="Start, RFC 3339.")
    end: Time = Field(description="End, RFC 3339.")
    reason: Text = Field("", description="Why, shown in the Paused condition.")

    RULES = (
        Rule(
            "timestamp(self.start) < timestamp(self.end)",
            "end must be later than start; move one of them",
            lambda m: parse_time(m.start) < parse_time(m.end),
            field=".end",
        ),
    )


class Schedule(WireModel):
    """When trials may run."""

    time_zone: TimeZone = Field("UTC", description="Time zone of the cron fields, from the tz database.")
    windows: tuple[ScheduleWindow, ...] = Field(
        (), max_length=16, description="Trials start only inside one of these; empty: at any time."
    )
    freezes: tuple[Freeze, ...] = Field(
        (),
        max_length=64,
        description="Times in which nothing runs: no trial starts that could last into one, by its deadline with "
        "onClose: FinishTrial, by its usual length with Withdraw.",
    )
    on_close: Literal["FinishTrial", "Withdraw"] = Field(
        "FinishTrial",
        description="What happens to a live trial when a window closes or a freeze begins. FinishTrial: it goes on to "
        "its end, its deadline at the latest. Withdraw: it is withdrawn; none starts that would usually not end in "
        "time.",
    )


class NodePrice(WireModel):
    """Price of one node type."""

    value: str = Field(min_length=1, max_length=253, description="Value of the nodeSelector parameter.")
    cpu_core_hour: Price = Field(description="$ per core-hour, as a decimal string.")
    memory_gib_hour: Price = Field(alias="memoryGiBHour", description="$ per GiB-hour, as a decimal string.")


class Prices(WireModel):
    """What resources cost."""

    cpu_core_hour: Price = Field("0.031611", description="$ per core-hour, as a decimal string.")
    memory_gib_hour: Price = Field(
        "0.004237", alias="memoryGiBHour", description="$ per GiB-hour, as a decimal string."
    )
    nodes: Annotated[tuple[NodePrice, ...], Keyed("value")] = Field(
        (), max_length=16, description="Prices of node types that a nodeSelector parameter chooses between."
    )

    RULES = (
        Rule(
            f"{unless_malformed(DECIMAL_PATTERN, 'self.cpuCoreHour', 'self.memoryGiBHour')}"
            "double(self.cpuCoreHour) + double(self.memoryGiBHour) > 0.0",
            "cpuCoreHour and memoryGiBHour are both 0, so there is nothing to minimize; raise one of them",
            lambda m: float(m.cpu_core_hour) + float(m.memory_gib_hour) > 0,
        ),
    )
