"""What a simulation found, as frozen types: the documented, stable JSON of `trimtab simulate -o json`.

The same input and seed give the same bytes in any process: keys are sorted, floats carry nine significant digits, and
nothing in it depends on a wall clock. What is not known is an object that says why, never null and never zero.

`SCHEMA_VERSION` is major.minor: a new field raises the minor number; one that is renamed, removed or means something
else raises the major one.
"""

from trimtab.simulate.results.base import Absent, Flag, Number, Part, Real, stable
from trimtab.simulate.results.document import (
    SCHEMA_VERSION,
    Bound,
    Breach,
    Inputs,
    Peer,
    PeerSpread,
    Promises,
    Result,
    Run,
    Simulation,
    SimulationSet,
    Spread,
    Struck,
    from_json,
    json_schema,
    to_json,
)
from trimtab.simulate.results.summary import Budget, FrontPoint, FrontValue, ObjectiveResult, Recommendation, Summary
from trimtab.simulate.results.trial import BadCount, Measured, Predicted, Sample, TrialResult, TrueSli, Value

__all__ = [
    "SCHEMA_VERSION",
    "Absent",
    "BadCount",
    "Bound",
    "Breach",
    "Budget",
    "Flag",
    "FrontPoint",
    "FrontValue",
    "Inputs",
    "Measured",
    "Number",
    "ObjectiveResult",
    "Part",
    "Peer",
    "PeerSpread",
    "Predicted",
    "Promises",
    "Real",
    "Recommendation",
    "Result",
    "Run",
    "Sample",
    "Simulation",
    "SimulationSet",
    "Spread",
    "Struck",
    "Summary",
    "TrialResult",
    "TrueSli",
    "Value",
    "from_json",
    "json_schema",
    "stable",
    "to_json",
]
