"""The whole document: one simulated Experiment, or the same under several seeds."""

from __future__ import annotations

import json
from typing import Any, Final, Literal

from pydantic import TypeAdapter

from trimtab.simulate.results.base import Number, Part, Real
from trimtab.simulate.results.summary import Summary
from trimtab.simulate.results.trial import TrialResult

SCHEMA_VERSION: Final = "1.2"


class Bound(Part):
    """One constraint of the Experiment."""

    name: str
    """Name of the constraint."""
    sli: str
    """The SLI that it bounds."""
    unit: str
    """Unit of the SLI: ratio, s, ms or the unit of a value."""
    max: Number
    """Upper bound; absent when there is none."""
    min: Number
    """Lower bound; absent when there is none."""
    relative: bool
    """It is bounded relative to the control, too."""


class Peer(Part):
    """One rule on the same load, over the whole horizon (see `simulate --compare`)."""

    name: str
    """trimtab, hold, vpa, krr or random."""
    final_cost_per_hour: Real
    """$ per hour at the end of the horizon."""
    mean_cost_per_hour: Real
    """$ per hour on average, trial pods included."""
    violation_minutes: int
    """Minutes in which the service as a whole broke a bound."""
    unsafe_canary_minutes: Real
    """Minutes in which a trial's canary broke one."""
    oom_kills: Real
    """Expected OOM kills, over all pods."""
    restarts: int
    """Times that the target's pods were replaced to change their resources."""
    setting: str
    """The resources of one pod at the end."""


class Inputs(Part):
    """What the result depends on, and nothing else does."""

    experiment: str
    """namespace/name."""
    spec_digest: str
    """Digest of the effective spec."""
    workload: str
    """Name of the workload."""
    workload_digest: str
    """Digest of the workload."""
    seed: int
    """Seed of noise and search."""
    days: Real
    """The horizon."""
    start: str
    """Virtual time at which it begins."""
    scrape_interval: Real
    """Seconds between scrapes of a pod."""
    faults: str
    """Digest of the fault plan; empty without one."""


class Struck(Part):
    """A fault that struck."""

    kind: str
    """As in the plan."""
    moment: str
    """Where the Experiment stood."""
    at: str
    """Virtual time."""
    until: str
    """When it was healed; empty while it lasts."""


class Breach(Part):
    """A promise that the operator broke."""

    promise: str
    """Its name."""
    at: str
    """Virtual time."""
    detail: str
    """What was seen."""


class Promises(Part):
    """What must hold after every change of the cluster, whatever fails."""

    checked: int
    """How many promises were checked on the whole history."""
    broken: tuple[Breach, ...]
    """Every breach, in the order of time; empty when all was kept."""


class Simulation(Part):
    """One simulated Experiment."""

    schema_version: Literal["1.2"] = SCHEMA_VERSION
    """Version of this form."""
    kind: Literal["Simulation"] = "Simulation"
    """Tells it from a SimulationSet."""
    trimtab_version: str
    """The version that ran."""
    inputs: Inputs
    """What was simulated."""
    constraints: tuple[Bound, ...]
    """The bounds."""
    summary: Summary
    """The result in numbers."""
    trials: tuple[TrialResult, ...]
    """Every Trial, by index."""
    comparison: tuple[Peer, ...] = ()
    """Other rules on the same load; empty unless asked for."""
    faults: tuple[Struck, ...] = ()
    """Every fault that struck, in the order of time."""
    faults_missed: int = 0
    """Faults of the plan whose moment or effect never came."""
    promises: Promises = Promises(checked=0, broken=())
    """What the operator kept."""


class Spread(Part):
    """A number over seeds; runs in which it is absent are left out and counted."""

    median: Number
    """Absent when no run has it."""
    min: Number
    """The least."""
    max: Number
    """The most."""
    absent: int
    """Runs without it."""


class Run(Part):
    """One seed of a set."""

    seed: int
    """`trimtab simulate --seed` with it gives the trials, too."""
    summary: Summary
    """As in a Simulation."""
    promises: Promises = Promises(checked=0, broken=())
    """As in a Simulation."""
    comparison: tuple[Peer, ...] = ()
    """As in a Simulation."""


class PeerSpread(Part):
    """One rule over seeds."""

    name: str
    """The rule."""
    final_cost_per_hour: Spread
    """As in a Simulation, over seeds."""
    mean_cost_per_hour: Spread
    """As in a Simulation, over seeds."""
    violation_minutes: Spread
    """As in a Simulation, over seeds."""
    unsafe_canary_minutes: Spread
    """As in a Simulation, over seeds."""


class SimulationSet(Part):
    """The same Experiment under several seeds (`--seeds`)."""

    schema_version: Literal["1.2"] = SCHEMA_VERSION
    """Version of this form."""
    kind: Literal["SimulationSet"] = "SimulationSet"
    """Tells it from a Simulation."""
    trimtab_version: str
    """The version that ran."""
    inputs: Inputs
    """Of the first seed."""
    seeds: int
    """How many."""
    recommended: int
    """Runs that ended with a recommendation other than to keep the baseline."""
    truly_feasible: int
    """Runs whose recommendation is truly feasible at peak load; keeping the baseline counts if it is."""
    without_unsafe_trials: int
    """Runs in which no trial was truly unsafe."""
    saving_percent: Spread
    """As in Summary, over seeds."""
    saving_of_optimum_percent: Spread
    """As in Summary, over seeds."""
    trials: Spread
    """As in Summary, over seeds."""
    unsafe_trials: Spread
    """As in Summary, over seeds."""
    gross_trials: Spread
    """As in Summary, over seeds."""
    budget_spent_percent: Spread
    """As in Summary, over seeds."""
    rollbacks: Spread
    """As in Summary, over seeds."""
    promises_broken: int
    """Breaches of all runs."""
    comparison: tuple[PeerSpread, ...] = ()
    """Other rules, over seeds."""
    runs: tuple[Run, ...]
    """Every seed, in order."""


Result = Simulation | SimulationSet


def to_json(result: Result) -> str:
    """The result's bytes: sorted keys, two spaces, a newline at the end."""
    document = result.model_dump(mode="json", by_alias=True)
    return json.dumps(document, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def from_json(text: str) -> Result:
    """Read back what `to_json` wrote.

    Raises:
        ValueError: not a result of this version.
    """
    return TypeAdapter[Result](Result).validate_json(text)


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a result."""
    schema = TypeAdapter[Result](Result).json_schema(by_alias=True, mode="serialization")
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Result of trimtab simulate"}
    return head | schema
