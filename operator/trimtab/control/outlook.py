"""What a recommendation promises of each SLI: what the model expects at peak, and what fresh trials measured. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator

from trimtab.control.measured import limits, pool
from trimtab.domain.measurement import Arm
from trimtab.domain.spec import ExperimentSpec, RatioQuery, SlowRatioQuery
from trimtab.domain.state import Interval, SliOutlook
from trimtab.domain.study import ConstraintTarget
from trimtab.domain.trial import Prediction, Trial

TWO_SIDED_95 = 1.959963984540054


def outlook(
    spec: ExperimentSpec,
    targets: tuple[ConstraintTarget, ...],
    predictions: tuple[Prediction, ...],
    fresh: tuple[Trial, ...],
) -> tuple[SliOutlook, ...]:
    """Every SLI of which something is known. `fresh` are the trials that verified the values."""
    expected = dict(_expected(spec, targets, predictions))
    found = (
        SliOutlook(
            sli.name,
            expected.get(sli.name),
            _measured(spec, fresh, sli.name, Arm.CANARY),
            _measured(spec, fresh, sli.name, Arm.CONTROL),
        )
        for sli in spec.slis
    )
    return tuple(o for o in found if o.predicted is not None or o.verified is not None)


def _expected(
    spec: ExperimentSpec, targets: tuple[ConstraintTarget, ...], predictions: tuple[Prediction, ...]
) -> Iterator[tuple[str, Interval]]:
    """g = ln(SLI / bound), or ln(bound / SLI) for a minimum, turned back into the SLI's unit.

    A bound relative to the control says nothing of the SLI's own value. Of two absolute bounds the first counts: they
    come last here, as a dictionary keeps the last.
    """
    by_name, sli_of = {t.name: t for t in targets}, {c.name: c.sli for c in spec.constraints}
    for prediction in reversed(predictions):
        target = by_name.get(prediction.constraint)
        if target is None or target.relative:
            continue
        sign = 1.0 if target.upper else -1.0
        ends = sorted(
            target.bound * math.exp(sign * (prediction.mean + z * prediction.sd)) for z in (-TWO_SIDED_95, TWO_SIDED_95)
        )
        sli = sli_of[target.name.partition("/")[0]]
        yield sli, _within(spec, sli, target.bound * math.exp(sign * prediction.mean), ends[0], ends[1])


def _measured(spec: ExperimentSpec, trials: tuple[Trial, ...], sli: str, arm: Arm) -> Interval | None:
    found = pool(trials, sli, arm)
    return None if found is None else _within(spec, sli, found.value, *limits(found, TWO_SIDED_95))


def _within(spec: ExperimentSpec, sli: str, value: float, low: float, high: float) -> Interval:
    """Fractions stay between 0 and 1."""
    if isinstance(spec.sli(sli).query, RatioQuery | SlowRatioQuery):
        return Interval(min(value, 1.0), max(low, 0.0), min(high, 1.0))
    return Interval(value, low, high)
