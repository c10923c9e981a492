"""One row of the result: a Trial, measured and true."""

from __future__ import annotations

from trimtab.domain.measurement import Arm
from trimtab.domain.trial import Purpose, TrialPhase
from trimtab.simulate.results.base import Absent, Flag, Number, Part, Real


class Value(Part):
    """The value of one parameter."""

    name: str
    """Name of the parameter."""
    value: str
    """As a manifest writes it: 250m, 512Mi."""


class Sample(Part):
    """What telemetry told about one SLI of one arm."""

    value: Real
    """In the SLI's unit; ratios are bad / total."""
    standard_error: Real
    """Standard error of the value."""
    total: Real
    """Requests (samples, for a value) behind it."""
    bad: Number
    """Bad events; absent for an SLI that counts none."""
    overdispersion: Real
    """Variance / binomial variance, at least 1."""


class Measured(Part):
    """One SLI of one arm over the trial's window, as the operator measured it."""

    sli: str
    """Name of the SLI."""
    arm: Arm
    """canary: with the trial's assignment. control: with today's values."""
    reading: Sample | Absent
    """The sample, or in which way it is absent."""


class Predicted(Part):
    """What the model expected before the trial, at peak load: SLI = bound x exp(g), g normal."""

    constraint: str
    """Name of the constraint."""
    median: Real
    """In the SLI's unit."""
    low: Real
    """Lower end of the 95 % interval."""
    high: Real
    """Upper end of the 95 % interval."""


class TrueSli(Part):
    """One SLI in the workload model without noise."""

    sli: str
    """Name of the SLI."""
    at_load_seen: Number
    """At the load that the trial's pods had; absent for a trial that served nothing."""
    at_peak: Number
    """At the peak load of the horizon."""


class BadCount(Part):
    """Bad events of one SLI."""

    sli: str
    """Name of the SLI."""
    bad: Real
    """Requests of the canary that were bad by this SLI."""
    at_baseline: Real
    """How many of the same requests today's values would have served badly."""


class TrialResult(Part):
    """One Trial: what was tried, what was measured, and the truth about it."""

    index: int
    """0 is the first."""
    purpose: Purpose
    """Why it was made."""
    by_model: bool
    """The Gaussian process chose the assignment (else it is the baseline or space-filling)."""
    phase: TrialPhase
    """How it ended."""
    reason: str
    """CamelCase reason of the outcome; empty while there is none."""
    message: str
    """The outcome in one line with numbers."""
    assignment: tuple[Value, ...]
    """The values under trial, in the order of the Experiment."""
    cost_per_hour: Number
    """$ per hour of the whole target under this assignment."""
    started: str
    """Virtual time of its creation."""
    finished: str
    """Virtual time of its end; empty while it is live."""
    load_seen: Number
    """Requests per second that each of its pods was offered, or the whole service (`summary.loadOf`)."""
    measured: tuple[Measured, ...]
    """What the operator measured."""
    predicted: tuple[Predicted, ...]
    """What the model expected; empty for trials that it did not choose."""
    true_slis: tuple[TrueSli, ...]
    """The same SLIs without noise."""
    truly_unsafe: Flag
    """The model breaks a constraint (or is OOM killed more than once in 1,000 hours) at the load seen."""
    truly_unsafe_at_peak: bool
    """The same at the peak load of the horizon."""
    gross: Flag
    """At the load seen: latency over 1.5 x its bound, errors over 2 x theirs, or an OOM kill an hour."""
    seconds_exposed: Real
    """How long the canary served requests."""
    canary_requests: Real
    """Requests that the canary served."""
    bad_requests: Real
    """The sum of `badRequestsBySli`: a request that was bad in two ways counts twice."""
    extra_bad_requests: Real
    """The same less what today's values would have done to these requests."""
    bad_requests_by_sli: tuple[BadCount, ...]
    """Per SLI that counts events and is bounded by a constraint or budget."""
    withdraw_seconds: Number
    """How long a withdrawal took; absent when nothing was withdrawn."""
