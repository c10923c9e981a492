"""What a service's pods do with their resources: the ground truth of simulations, benchmarks and the local demo.

A pure model: no clocks, no clients, randomness only from seeds. Nothing that decides may import it.
"""

from . import noise
from .faults import Fault, FaultKind, conditions_under
from .load import OfferedLoad
from .model import (
    ORDINARY,
    UNLIMITED,
    Conditions,
    PodBehaviour,
    Resources,
    asked_cores,
    cold_slowdown,
    effective_cores,
    evaluate,
    rounded,
    startup_seconds,
)
from .sampling import TickCounts, sample_tick
from .spec import WorkloadError, WorkloadSpec, load_workload, parse_workload
from .truth import Optimum, Prices, TruthConstraints, cheapest_feasible, resource_grid, steps

__all__ = [
    "ORDINARY",
    "UNLIMITED",
    "Conditions",
    "Fault",
    "FaultKind",
    "OfferedLoad",
    "Optimum",
    "PodBehaviour",
    "Prices",
    "Resources",
    "TickCounts",
    "TruthConstraints",
    "WorkloadError",
    "WorkloadSpec",
    "asked_cores",
    "cheapest_feasible",
    "cold_slowdown",
    "conditions_under",
    "effective_cores",
    "evaluate",
    "load_workload",
    "noise",
    "parse_workload",
    "resource_grid",
    "rounded",
    "sample_tick",
    "startup_seconds",
    "steps",
]
