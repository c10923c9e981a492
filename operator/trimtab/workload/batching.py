"""Requests that a pod takes in batches: what a batch costs, and how long a request waits for it.

Notation: B requests a batch at most, W the longest wait of an incomplete one, lambda arrivals per second (Poisson), c
the CPU time of a request alone, s the part of it that a batch spends once, however large.
- A batch begins with its first request and ends after W, or with its B-th: m = 1 + E[min(N, B - 1)] requests on
  average, N ~ Poisson(lambda W)
- CPU: a batch of n takes c (s + (1 - s) n), so a request of many takes c (s / m + 1 - s): the ratio of two means
- Wait: let k = B - 1, N_t those that have come after time t, and G_j the integral of P(N_t <= j) over t from 0 to W,
  W P(N <= j) + (j + 1) / lambda P(N >= j + 2). It is gathered for F = G_(k-1) on average. Its requests wait for
  k G_(k-1) - sum of G_j over j <= k - 2 in all, the integral of those that are there: the first F, the others evenly
  up to twice their mean
- Run: one thread runs it, and all of its requests are answered at its end, after c (s + (1 - s) m)
- Its requests come to the CPU together, which adds m - 1 to the variance / mean of their number
Larger batches take less CPU and more time; fewer requests wait longer until one is full, unlike everything else here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import pdtr, pdtrc

from .spec import WorkloadSpec

FloatArray = NDArray[np.float64]
_NODES: Final = 6


@dataclass(frozen=True)
class Batches:
    """What batches make of the requests of a pod at a load."""

    size: float
    """Requests in one, on average."""
    work: float
    """CPU time of a request, as a part of that of a request alone."""
    run: float
    """Time that a batch runs, in the same unit."""
    delays: tuple[tuple[FloatArray, FloatArray], ...]
    """Until it begins: (seconds, probabilities), shape (k,) each; empty where nobody waits."""

    @property
    def wait_s(self) -> float:
        """How long that is on average."""
        return sum(float(values @ weights) for values, weights in self.delays)


SINGLE: Final = Batches(1.0, 1.0, 1.0, ())


def batches(workload: WorkloadSpec, load_rps: float) -> Batches:
    """Batches of a pod that is offered so many requests per second; `SINGLE` where the workload has none."""
    spec = workload.batch
    if spec is None or spec.size == 1 or load_rps <= 0.0:
        return SINGLE
    others, shared = spec.size - 1, spec.shared_percent / 100.0
    expected = load_rps * spec.wait
    at_most = pdtr(np.arange(others), expected)  # P(N <= j), j = 0..k-1
    size = 1.0 + others - float(at_most.sum())  # E[min(N, k)] is the sum of P(N > j)
    until = spec.wait * at_most + np.arange(1, others + 1) / load_rps * pdtrc(np.arange(1, others + 1), expected)
    first = float(until[-1])
    rest = max(others * first - float(until[:-1].sum()) - first, 0.0) / max(size - 1.0, 1e-9)
    levels, each = (np.arange(_NODES) + 0.5) / _NODES, (1.0 - 1.0 / size) / _NODES
    return Batches(
        size=size,
        work=shared / size + 1.0 - shared,
        run=shared + (1.0 - shared) * size,
        delays=((np.append(first, 2.0 * rest * levels), np.append(1.0 / size, np.full(_NODES, each))),),
    )


def least_cpu(workload: WorkloadSpec) -> float:
    """CPU time of a request in the largest batches, in seconds: no load needs less."""
    spec = workload.batch
    if spec is None:
        return workload.request.cpu
    shared = spec.shared_percent / 100.0
    return workload.request.cpu * (shared / spec.size + 1.0 - shared)


__all__ = ["SINGLE", "Batches", "batches", "least_cpu"]
