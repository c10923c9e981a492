"""What is played: where the canary truly stands, under which spec, and what is promised there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.safety.series import NOISES, Level, Noise
from trimtab.api.convert_spec import parse_spec
from trimtab.domain.spec import ExperimentSpec

BASE = Level(errors=0.01, slow=0.0275, gauge=0.2)
ERRORS_MAX, SLOW_MAX, GAUGE_MAX = 0.022, 0.055, 0.3
NEAR = 0.95  # of a bound
TOLERATED = 1.2
SLO_PERCENT, SLO_BAD = "98.5", 0.015


@dataclass(frozen=True)
class Position:
    """Where the canary stands beside its control, and the spec that judges it.

    `most` is the promised limit of trials that are withdrawn, `median_s` that of the median time until they are: for
    independent and for clustered errors.
    """

    name: str
    canary: Level
    control: Level
    spec: ExperimentSpec
    most: float | None = None
    median_s: tuple[float, float] | None = None


@dataclass(frozen=True)
class Cell:
    """One position under one kind of noise."""

    position: Position
    noise: Noise

    @property
    def name(self) -> str:
        return f"{self.position.name} | {self.noise.name}"

    @property
    def median_s(self) -> float | None:
        limits = self.position.median_s
        return None if limits is None else limits[self.noise.clustered]


def manifest(delta: float | None, objective: str, gauge: bool = False) -> dict[str, Any]:
    """A spec with a bound on errors and one on slow requests, each with its abort rule, and an error budget; with a
    tolerated ratio of errors where one is given, and with a bound on a gauge where it is asked for."""
    errors: dict[str, Any] = {"name": "errors", "sli": "errors", "max": str(ERRORS_MAX)}
    if delta is not None:
        errors["sequential"] = {"maxErrorRatio": str(delta)}
    slow = {"histogram": "http_request_duration_seconds", "threshold": "0.3"}
    return {
        "targetRef": {"name": "web"},
        "parameters": [
            {"name": "cpu", "container": {"name": "web", "resource": "cpu"}, "quantity": {"min": "250m", "max": "2"}}
        ],
        "slis": [
            {"name": "errors", "preset": {"source": "PlainHTTP", "sli": "ErrorRatio"}},
            {"name": "slow", "latency": slow},
            *([{"name": "gauge", "value": {"query": "avg(queue_seconds{$selector})", "unit": "s"}}] if gauge else []),
        ],
        "objectives": [{"name": "cost", "builtin": "ResourceCost"}],
        "constraints": [
            errors,
            {"name": "slow", "sli": "slow", "max": str(SLOW_MAX)},
            *([{"name": "gauge", "sli": "gauge", "max": str(GAUGE_MAX)}] if gauge else []),
        ],
        "errorBudgets": [{"name": "availability", "sli": "errors", "objectivePercent": objective}],
        "safety": {"checkInterval": "10s"},
    }


EVERYWHERE = ("independent", "clustered: every tick", "clustered: rare nines", "clustered: over 30 s", "moving split")
CLUSTERS = EVERYWHERE[:4]


def positions() -> tuple[tuple[Position, tuple[str, ...]], ...]:
    """With the noises that matter there: equal arms, 95 % of each bound, the tolerated ratio; then canaries that are
    three and five times as bad."""
    named, wide = parse_spec(manifest(TOLERATED, SLO_PERCENT)), parse_spec(manifest(2.5, "95"))
    budget, every = parse_spec(manifest(None, SLO_PERCENT)), parse_spec(manifest(TOLERATED, SLO_PERCENT, gauge=True))
    base, slow, gauge = BASE.errors, BASE.slow, BASE.gauge
    near, within = Level(NEAR * ERRORS_MAX, slow, gauge), Level(NEAR * SLO_BAD, slow, gauge)
    tolerated = Level(TOLERATED * base, slow, gauge)
    doubling = (*EVERYWHERE, "both double")
    alike = "latency alike for 60 s"
    found = [
        (Position("equal arms", BASE, BASE, every, 0.01), (*doubling, alike)),
        (Position("errors at 95 % of the bound", near, BASE, wide, 0.02), doubling),
        (Position("errors at 95 % of the SLO, no ratio named", within, BASE, budget, 0.02), doubling),
        (Position("errors at the tolerated ratio", tolerated, BASE, named, 0.02), doubling),
        (Position("slow at 95 % of the bound", Level(base, NEAR * SLOW_MAX, gauge), BASE, named, 0.02),
         (*CLUSTERS, alike)),
        (Position("gauge at 95 % of the bound", Level(base, slow, NEAR * GAUGE_MAX), BASE, every, 0.02),
         ("independent", alike)),
    ]  # fmt: skip
    for ratio, limits in ((3, (200.0, 400.0)), (5, (60.0, 120.0))):
        bad = Level(ratio * base, slow, gauge)
        found.append(
            (Position(f"{ratio} times the errors, ratio named", bad, BASE, named, median_s=limits), EVERYWHERE)
        )
        found.append(
            (Position(f"{ratio} times the errors, budget alone", bad, BASE, budget, median_s=limits), CLUSTERS)
        )
    moved = Position("equal arms, both worse", BASE, BASE, every, 0.01)
    return (*found, (moved, ("base doubles", "base doubles, in threes")), *_beyond(every))


def _beyond(spec: ExperimentSpec) -> tuple[tuple[Position, tuple[str, ...]], ...]:
    """What the abort rule alone can find; nothing is promised."""
    alike = ("independent", "latency alike for 60 s")
    errors, slow, gauge = BASE.errors, BASE.slow, BASE.gauge
    return (
        *((Position(f"slow at {x:g} times the bound", Level(errors, x * SLOW_MAX, gauge), BASE, spec), alike)
          for x in (1.5, 2.0, 3.0)),
        *((Position(f"gauge at {x:g} times the bound", Level(errors, slow, x * GAUGE_MAX), BASE, spec), alike)
          for x in (1.25, 1.5, 2.0)),
    )  # fmt: skip


def cells() -> tuple[Cell, ...]:
    """Every position under its noises."""
    known = {noise.name: noise for noise in NOISES}
    return tuple(Cell(position, known[name]) for position, names in positions() for name in names)
