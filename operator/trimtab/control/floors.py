"""White-box floors: memory that the service has needed lately is never taken away, whatever the model believes. Pure.

A floor removes points before the model sees them. It says that less would be dangerous, never that more is safe.
"""

from __future__ import annotations

from trimtab.control.preflight_findings import Problem, note
from trimtab.control.snapshot import Usage
from trimtab.domain.measurement import Sample
from trimtab.domain.space import Assignment, ContainerResource, Parameter, Resource
from trimtab.domain.spec import ExperimentSpec
from trimtab.domain.state import Floor

HEADROOM = 1.15  # of the highest working set
DAYS = 7
MIB = 2**20


def watched_containers(spec: ExperimentSpec) -> tuple[str, ...]:
    """Containers whose memory is tuned."""
    return tuple(dict.fromkeys(container for _, container in _memory(spec)))


def memory_floors(
    spec: ExperimentSpec, baseline: Assignment, usage: tuple[Usage, ...]
) -> tuple[tuple[Floor, ...], tuple[Problem, ...]]:
    """(floors, notes for people). Where the store has no working set there is no floor, and the note says so.

    Today's value is never refused: a service that runs with less than the headroom keeps what it has.
    """
    readings = {u.container: u.reading for u in usage}
    floors: list[Floor] = []
    notes: list[Problem] = []
    for parameter, container in _memory(spec):
        field = f"spec.parameters[{parameter.name}]"
        reading = readings.get(container)
        if not isinstance(reading, Sample):
            why = reading.detail if reading is not None else "it was not asked for"
            notes.append(note("MemoryFloorUnknown", field, f"nothing is known of {container}'s working set: {why}"))
            continue
        today = float(baseline.number(parameter.name))
        least = min(HEADROOM * reading.value, today)
        what = f"the highest working set of {DAYS} days was {_mebibytes(reading.value)}"
        floors.append(Floor(parameter.name, least, f"{what}, so nothing under {_mebibytes(least)} is tried"))
        notes.append(note("MemoryFloor", field, floors[-1].message))
    return tuple(floors), tuple(notes)


def _memory(spec: ExperimentSpec) -> list[tuple[Parameter, str]]:
    return [
        (p, p.locus.container)
        for p in spec.space.parameters
        if isinstance(p.locus, ContainerResource) and p.locus.resource is Resource.MEMORY
    ]


def _mebibytes(size: float) -> str:
    return f"{size / MIB:,.0f}Mi"


__all__ = ["memory_floors", "watched_containers"]
