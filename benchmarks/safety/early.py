"""How often a trial is shown to be good for nothing, and how much time it saves where it is good.

The tests alone, through the operator's own `SliTest` and `clearly_good`, at every tick from half of the trial on: that
the measurement must say the same, as it must in the operator, is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.safety.cells import ERRORS_MAX, manifest
from benchmarks.safety.measure import Median, Rate
from benchmarks.safety.play import histories, phi_of
from benchmarks.safety.rivals import NEVER, Errors
from benchmarks.safety.series import NOISES, TICK_S, TICKS, Level, Noise, draw
from trimtab.api.convert_spec import parse_spec
from trimtab.domain.measurement import Sample
from trimtab.domain.spec import ExperimentSpec
from trimtab.slo.estimate import ratio_sample
from trimtab.slo.evidence import SliTest, asked_of, clearly_good

ALPHA = 0.05
DELTA = 2.0
KNOWN = ("independent", "clustered: every tick", "clustered: rare nines", "clustered: over 30 s")


@dataclass(frozen=True)
class Shown:
    """One position: trials that were shown to be good, and the median second at which they were."""

    position: str
    noise: str
    most: float | None
    shown: Rate
    median: Median

    @property
    def verdict(self) -> str:
        if self.most is None:
            return ""
        return "kept" if self.shown.value <= self.most else "MISSED"


def spec() -> ExperimentSpec:
    """One bound on errors of 2.2 %, twice the control's tolerated."""
    found = manifest(DELTA, "97.8")
    found["constraints"] = found["constraints"][:1]
    found["trial"] = {"earlySuccess": True}
    return parse_spec(found)


def positions() -> tuple[tuple[str, float, float, float | None], ...]:
    """(words, ratio of the canary, of the control, promised limit of those that are shown to be good)."""
    return (
        ("a third of the bound, equal arms", ERRORS_MAX / 3, ERRORS_MAX / 3, None),
        ("half of the bound, equal arms", ERRORS_MAX / 2, ERRORS_MAX / 2, None),
        ("half of the bound and of the control", ERRORS_MAX / 2, ERRORS_MAX, None),
        ("at the bound, equal arms", ERRORS_MAX, ERRORS_MAX, ALPHA),
        ("at the tolerated ratio, half of the bound", ERRORS_MAX / 2, ERRORS_MAX / 2 / DELTA, ALPHA),
    )


def measure(trials: int, seed: int, names: Sequence[str] = KNOWN) -> list[Shown]:
    """Every position under every noise of these names."""
    noises = [noise for noise in NOISES if noise.name in names]
    return [
        _measured(words, noise, Level(canary, 0.01, 1.0), Level(control, 0.01, 1.0), most, trials, (seed, i, j))
        for i, (words, canary, control, most) in enumerate(positions())
        for j, noise in enumerate(noises)
    ]


def _measured(
    words: str, noise: Noise, canary: Level, control: Level, most: float | None, trials: int, seed: tuple[int, ...]
) -> Shown:
    rng, about = np.random.default_rng(seed), spec()
    errors = Errors.of(draw(rng, noise, canary, control, trials))
    phis = [phi_of(rng, noise, control) for _ in range(histories(trials))]
    seconds = [_shown_at(about, errors, row, phis[row % len(phis)]) for row in range(trials)]
    return Shown(words, noise.name, most, Rate(sum(s < NEVER for s in seconds), trials), Median.of(seconds))


def _shown_at(about: ExperimentSpec, errors: Errors, row: int, phi: float) -> float:
    test = SliTest.of(asked_of(about)[0], early=True).tempered(phi)
    series = [a[row].tolist() for a in (errors.bad, errors.total, errors.control_bad, errors.control_total)]
    for tick, (bad, total, control_bad, control_total) in enumerate(zip(*series, strict=True), start=1):
        canary, control = ratio_sample([bad], [total]), ratio_sample([control_bad], [control_total])
        assert isinstance(canary, Sample)
        assert isinstance(control, Sample)
        test = test.add(canary, control)
        if TICKS // 2 <= tick < TICKS and clearly_good(about, (("errors", test),)):
            return tick * TICK_S
    return NEVER
