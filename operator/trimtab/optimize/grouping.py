"""Above 8 parameters the search moves groups of them by a common factor first. Plain Python without numpy.

Trials needed grow with the dimension, budgets do not. Parameters of one resource mostly err in one direction (people
give every container twice what it needs), so one factor of the baseline finds most of what there is to save in few
trials; what a single parameter adds comes after that, or earlier, when no factor is worth a trial (ADR 11). A group is
all CPU, or all memory, of all containers; plain values of the library, of which nothing else is known, go together when
the same direction is safer. What is a category, conditional, of unknown direction or around zero stands alone.
"""

from __future__ import annotations

from functools import lru_cache

from trimtab.domain.space import MOST_PARAMETERS, ContainerResource, Numeric, Parameter, PlainValue, SearchSpace
from trimtab.domain.study import Study

MOST = MOST_PARAMETERS
GROUPED_SHARE = 0.5  # of all trials


def groups(space: SearchSpace) -> tuple[int, ...]:
    """The group of each parameter, numbered from 0 in their order; each by itself up to 8 parameters. Shape: (d,)."""
    return _groups(space.parameters)


def grouped(study: Study) -> bool:
    """Whether the next trial still moves whole groups."""
    return len(study.space.parameters) > MOST and study.index < GROUPED_SHARE * study.max_trials


@lru_cache(maxsize=64)
def _groups(parameters: tuple[Parameter, ...]) -> tuple[int, ...]:
    keys: list[object] = [None if len(parameters) <= MOST else _kind(p) for p in parameters]
    keys = [i if key is None else key for i, key in enumerate(keys)]
    numbers = {key: n for n, key in enumerate(dict.fromkeys(keys))}
    return tuple(numbers[key] for key in keys)


def _kind(parameter: Parameter) -> str | None:
    """What moves together with it; None: nothing."""
    domain, locus = parameter.domain, parameter.locus
    if not isinstance(domain, Numeric) or domain.minimum <= 0 or parameter.when is not None:
        return None
    if isinstance(locus, ContainerResource):
        return locus.resource.value
    return f"{locus.direction:+d}" if isinstance(locus, PlainValue) and locus.direction else None


__all__ = ["MOST", "grouped", "groups"]
