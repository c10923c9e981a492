"""Draws fault plans: the same seed and story give the same plan.

Seeds are laid over the table of faults and moments, so that any run of as many seeds as it has cells aims at each of
them once; what else a plan holds is chance: more faults, at moments, at times, and at effects.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Any

from trimtab.simulate.faults.catalogue import CATALOGUE, CELLS, Row
from trimtab.simulate.faults.kinds import LIVE_MOMENTS, FaultKind, Moment, write_seconds
from trimtab.simulate.faults.plan import Fault, FaultPlan, Scenario

COUNTS = ((1, 40), (2, 25), (3, 15), (4, 12), (5, 8))
"""How many faults a plan has, in percent of the plans."""
AT_MOMENT, AT_EFFECT = 0.55, 0.75  # up to the first by moment, up to the second by effect, else by time
LATER = 0.4  # share of the faults that wait for a while after their moment began
ENDING_SHARE = 0.03
NTH = 8


@dataclass(frozen=True)
class Story:
    """What a plan must fit: how many Trials there will be, how long it all takes without faults (seconds), how long
    one Trial takes, and the effects that it has."""

    trials: int
    seconds: float
    trial_seconds: float
    effects: tuple[str, ...]


def draw_plan(seed: int, story: Story, scenario: Scenario = Scenario()) -> FaultPlan:  # noqa: B008 - it is frozen
    """The plan of a seed, for a scenario whose undisturbed story this is."""
    rng = random.Random(f"plan {seed}")
    kind, moment = CELLS[seed % len(CELLS)]
    faults = [_at_moment(rng, CATALOGUE[kind], moment, story, later=0.0)]
    (count,) = rng.choices([n for n, _ in COUNTS], [w for _, w in COUNTS])
    faults += [_anything(rng, story, scenario) for _ in range(count - 1)]
    return FaultPlan(seed=seed, scenario=scenario, faults=tuple(faults))


def _anything(rng: random.Random, story: Story, scenario: Scenario) -> Fault:
    possible = [row for row in map(CATALOGUE.__getitem__, FaultKind) if not row.needs or scenario.asks in row.needs]
    row = rng.choice(possible)
    while row.ends and rng.random() > ENDING_SHARE:
        row = rng.choice(possible)
    draw = rng.random()
    if draw < AT_MOMENT:
        return _at_moment(rng, row, rng.choice(row.moments), story)
    if draw < AT_EFFECT and story.effects:
        point = f"{rng.choice(('before', 'after'))}:{rng.choice(story.effects)}"
        return _fault(rng, row, when={"effect": point, "nth": rng.randint(1, NTH)})
    return _fault(rng, row, at=write_seconds(round(rng.uniform(0.0, story.seconds), 1)))


def _at_moment(rng: random.Random, row: Row, moment: Moment, story: Story, later: float = LATER) -> Fault:
    """At that moment of some Trial; one that ends the Experiment, at the last, so that something comes before."""
    trial = story.trials - 1 if row.ends else rng.randrange(story.trials)
    when: dict[str, Any] = {"moment": moment.value}
    if moment in LIVE_MOMENTS:
        when["trial"] = trial
    elif moment is Moment.BETWEEN:
        when["trial"] = max(trial - 1, 0)
    if rng.random() < later:
        when["after"] = write_seconds(round(rng.uniform(0.0, story.trial_seconds / 2), 1))
    return _fault(rng, row, when=when)


def _fault(rng: random.Random, row: Row, **place: Any) -> Fault:
    wire: dict[str, Any] = {"kind": row.kind.value, **place}
    if row.usual is not None:
        low, high = row.usual
        wire["duration"] = write_seconds(round(math.exp(rng.uniform(math.log(low), math.log(high))), 1))
    wire["parameters"] = {p.name: p.write(p.draw(rng)) for p in row.parameters}
    return Fault.model_validate(wire)


__all__ = ["Story", "draw_plan"]
