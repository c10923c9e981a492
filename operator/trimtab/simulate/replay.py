"""A simulation in one file, so that it can be run again exactly: scenario, seeds and faults.

A simulation that broke a promise writes it; `trimtab simulate --replay FILE` needs nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from trimtab.domain.errors import InvalidSpec
from trimtab.simulate.faults.plan import FaultPlan, plan_of
from trimtab.simulate.scenario import Scenario, scenario

FORMAT: Final = "trimtab.dev/replay/v1"
NUMBERS: Final = ("seed", "loadSeed", "days", "start", "scrapeInterval", "pastDays")
FIELDS: Final = ("format", "experiment", "objects", "workload", *NUMBERS, "faults")


def to_replay(made: Scenario, plan: FaultPlan | None) -> str:
    """The file's text."""
    document = {
        "format": FORMAT,
        "experiment": made.experiment,
        "objects": list(made.objects),
        "workload": made.text,
        "seed": made.seed,
        "loadSeed": made.workload.seed,
        "days": made.days,
        "start": made.start,
        "scrapeInterval": made.scrape,
        "pastDays": made.past_days,
        "faults": {} if plan is None else plan.wire(),
    }
    return json.dumps(document, sort_keys=True, indent=1) + "\n"


def from_replay(document: Any, source: str) -> tuple[Scenario, FaultPlan | None]:
    """The scenario and the faults of a replay.

    Raises:
        InvalidSpec: it is none, or was written by another version.
        InvalidPlan: its faults cannot be read.
        WorkloadError: its workload cannot.
    """
    if not isinstance(document, Mapping) or document.get("format") != FORMAT:
        raise InvalidSpec(source, f"is no replay of the form {FORMAT}", "use a file that a simulation wrote")
    wrong = [field for field in FIELDS if field not in document]
    wrong += [f for f in NUMBERS if f not in wrong and not _is_number(document[f])]
    if wrong:
        raise InvalidSpec(source, f"{wrong[0]} is missing or no number", "use a file that a simulation wrote")
    made = scenario(
        document["experiment"], document["objects"], document["workload"], source=f"{source}: workload", seed=None,
        days=float(document["days"]), start=float(document["start"]), scrape=float(document["scrapeInterval"]),
    )  # fmt: skip
    workload = made.workload.model_copy(update={"seed": int(document["loadSeed"])})
    exact = replace(
        made,
        experiment=document["experiment"],
        workload=workload,
        seed=int(document["seed"]),
        past_days=float(document["pastDays"]),
    )
    faults = document["faults"]
    return exact, plan_of(faults, f"{source}: faults") if faults else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


__all__ = ["from_replay", "to_replay"]
