"""The true optimum of a drawn service: exact, by brute force, for any number of containers up to four.

The cost and what each bound adds up are separable by container, and only their sums meet: so of each container all
settings are computed, those that another one dominates are dropped (no dearer, and no worse in anything: the law of its
time, errors, kills; replacing it keeps every bound), and all combinations of what is left are compared, by one matrix
product of the laws of two halves. That is brute force over the whole grid, not a search, so d = 8 needs no certificate
but this argument; the tests compare it with plain enumeration.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.optimizer.box import index_of
from benchmarks.optimizer.contract import Axis
from benchmarks.optimizer.scenarios import Draw
from benchmarks.optimizer.services import CELLS, ERRORS, MAX_KILLS_PER_HOUR, SLOW, behave, settings, shifted

Floats = NDArray[np.float64]
ROWS = 256
_SLACK = 1e-12


@dataclass(frozen=True)
class Optimum:
    """The cheapest feasible point of the grid at the peak, after every change. None: nothing is feasible."""

    point: dict[str, float] | None
    cost: float


@dataclass(frozen=True)
class _Half:
    """Combinations of some containers' settings, cheapest first. `mass` (n, CELLS): law of the sum of their times on
    cells; `below` (n, CELLS): P(sum <= threshold - what as many other containers took), by the cell of that."""

    points: list[dict[str, float]]
    cost: Floats
    mass: Floats
    below: Floats
    served: Floats
    kills: Floats

    def keep(self, which: NDArray[np.int64]) -> _Half:
        arrays = (getattr(self, n)[which] for n in ("cost", "mass", "below", "served", "kills"))
        return _Half([self.points[i] for i in which], *arrays)


def values(axis: Axis) -> list[float]:
    """The grid of one parameter, ascending."""
    count = int((axis.high - axis.low) / axis.step + 1e-6) + 1
    return [round(axis.low + i * axis.step, 9) for i in range(count)]


def optimum(draw: Draw) -> Optimum:
    """By brute force over what is not dominated."""
    by_container = _settings(draw)
    if not all(by_container):
        return Optimum(None, float("nan"))
    if len(by_container) == 1:
        best = min(by_container[0], key=draw.cost.partial)
        return Optimum(best, draw.task.cost(best))
    halves = [_container(draw, i, points) for i, points in enumerate(by_container)]
    while len(halves) > 2:
        halves = [_both(a, b) for a, b in zip(halves[::2], halves[1::2], strict=True)]
    return _met(draw, *halves)


def optimum_cached(draw: Draw, folder: Path, version: str) -> Optimum:
    """The same, kept on disk by what was drawn."""
    path = folder / f"{hashlib.sha256(f'{version} {draw!r}'.encode()).hexdigest()[:24]}.json"
    if path.exists():
        return Optimum(**json.loads(path.read_text()))
    found = optimum(draw)
    folder.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(f".{draw.name}")
    half.write_text(json.dumps(asdict(found)))
    half.replace(path)
    return found


def _settings(draw: Draw) -> list[list[dict[str, float]]]:
    """By container, the settings that can be part of the optimum: feasible were the others perfect, and not dearer than
    a known feasible point leaves room for when the others are as cheap as they can be."""
    found = [_feasible_alone(draw, i) for i in range(len(draw.pod.containers))]
    least = [min(map(draw.cost.partial, each), default=np.inf) for each in found]
    most = _upper(draw)
    return [
        [x for x in each if draw.cost.partial(x) <= most - (sum(least) - low) + _SLACK]
        for each, low in zip(found, least, strict=True)
    ]


def _feasible_alone(draw: Draw, index: int) -> list[dict[str, float]]:
    """More of a resource never breaks a bound, so each value of CPU has a least memory, found by bisection."""
    cpu, memory = (next(values(a) for a in draw.task.axes if a.name == f"{n}{index}") for n in ("cpu", "memory"))
    found = []
    for cores in cpu:
        low, high = 0, len(memory)
        while low < high:
            middle = (low + high) // 2
            if _holds_alone(draw, index, cores, memory[middle]):
                high = middle
            else:
                low = middle + 1
        found += [{f"cpu{index}": cores, f"memory{index}": each} for each in memory[low:]]
    return found


def _holds_alone(draw: Draw, index: int, cores: float, memory: float) -> bool:
    seen = behave(draw.pod.containers[index], cores, memory, draw.peak, draw.after)
    limits = draw.pod.limits
    if seen.oom_per_s * 3600.0 > MAX_KILLS_PER_HOUR or seen.error_ratio > limits[ERRORS]:
        return False
    return seen.slow_fraction(draw.pod.threshold) <= limits[SLOW]


def _upper(draw: Draw) -> float:
    """Cost of a feasible grid point: the baseline, or the largest, shrunk axis by axis while it holds."""
    axes = {a.name: values(a) for a in draw.task.axes}
    at = dict(zip(axes, index_of(draw.task, draw.baseline), strict=True))
    if not _holds(draw, axes, at):
        at = {n: len(v) - 1 for n, v in axes.items()}
    if not _holds(draw, axes, at):
        return float("inf")
    moving = list(at)
    while moving:
        for name in tuple(moving):
            lower = {**at, name: at[name] - 1}
            cheaper = at[name] > 0 and draw.cost.of(name, axes[name][lower[name]]) < draw.cost.of(
                name, axes[name][at[name]]
            )
            if cheaper and _holds(draw, axes, lower):
                at = lower
            else:
                moving.remove(name)
    return draw.task.cost({n: axes[n][i] for n, i in at.items()})


def _holds(draw: Draw, axes: dict[str, list[float]], at: dict[str, int]) -> bool:
    point = {n: axes[n][i] for n, i in at.items()}
    return draw.pod.feasible(draw.pod.truth(point, draw.peak, draw.after))


def _container(draw: Draw, index: int, points: list[dict[str, float]]) -> _Half:
    parts = [draw.pod.part(index, *settings(x, index), draw.peak, draw.after) for x in points]
    half = _Half(
        points,
        np.array([draw.cost.partial(x) for x in points]),
        np.array([p.mass for p in parts]).reshape(-1, CELLS),
        np.array([p.below for p in parts]).reshape(-1, CELLS),
        np.array([p.served for p in parts]),
        np.array([p.kills_per_hour for p in parts]),
    )
    return _undominated(half)


def _undominated(half: _Half) -> _Half:
    """Without settings that another one replaces at no more cost."""
    order = np.argsort(half.cost, kind="stable")
    half = half.keep(order)
    law = np.concatenate([np.cumsum(half.mass, axis=1), half.below, half.served[:, None], -half.kills[:, None]], axis=1)
    kept: list[int] = []
    for i in range(len(order)):
        if not any(np.all(law[k] >= law[i] - _SLACK) for k in kept):
            kept.append(i)
    return half.keep(np.array(kept, dtype=np.int64))


def _both(one: _Half, other: _Half) -> _Half:
    """All combinations of two containers, as one half of four."""
    first, second = (a.ravel() for a in np.indices((len(one.cost), len(other.cost))))
    after = np.fft.rfft(shifted(other.below, 2), 2 * CELLS)
    late = np.fft.rfft(one.mass, 2 * CELLS).conj()[:, None, :] * after[None, :, :]
    spectrum = np.fft.rfft(one.mass, 2 * CELLS)[:, None, :] * np.fft.rfft(other.mass, 2 * CELLS)[None, :, :]
    mass = np.maximum(np.fft.irfft(spectrum, 2 * CELLS)[..., :CELLS].reshape(-1, CELLS), 0.0)
    cost = one.cost[first] + other.cost[second]
    half = _Half(
        [{**one.points[i], **other.points[j]} for i, j in zip(first, second, strict=True)],
        cost,
        mass,
        np.fft.irfft(late, 2 * CELLS)[..., :CELLS].reshape(-1, CELLS),
        one.served[first] * other.served[second],
        one.kills[first] + other.kills[second],
    )
    return half.keep(np.argsort(cost, kind="stable"))


def _met(draw: Draw, one: _Half, other: _Half) -> Optimum:
    """The cheapest combination of two halves that keeps every bound."""
    best, where = np.inf, None
    for begin in range(0, len(one.cost), ROWS):
        rows = slice(begin, begin + ROWS)
        if not len(other.cost) or one.cost[begin] + other.cost[0] >= best:
            break
        columns = int(np.searchsorted(other.cost, best - one.cost[begin]))
        slow = 1.0 - one.mass[rows] @ other.below[:columns].T
        served = np.multiply.outer(one.served[rows], other.served[:columns])
        kills = np.add.outer(one.kills[rows], other.kills[:columns])
        good = (slow <= draw.pod.limits[SLOW]) & (1.0 - served <= draw.pod.limits[ERRORS])
        cost = np.where(
            good & (kills <= MAX_KILLS_PER_HOUR), np.add.outer(one.cost[rows], other.cost[:columns]), np.inf
        )
        at = int(np.argmin(cost)) if cost.size else 0
        if cost.size and cost.flat[at] < best:
            best = float(cost.flat[at])
            i, j = divmod(at, cost.shape[1])
            where = {**one.points[begin + i], **other.points[j]}
    return Optimum(where, draw.task.cost(where)) if where is not None else Optimum(None, float("nan"))
