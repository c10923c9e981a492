"""Memory of one pod: garbage collection against the limit, and the hazard of being OOM killed.

A tracing collector trades memory for CPU: the less room is left between the live set and the limit, the more often
it must run. Far below, short spikes of memory cross the limit itself.

Sources:
- Collector cost: A. W. Appel, "Garbage collection can be faster than stack allocation" (1987); R. Jones, A. Hosking,
  E. Moss, The Garbage Collection Handbook (2012), section 10: cycles per second = allocation rate / headroom, cost
  of a cycle proportional to the live set. Heap limits: M. Kirisame et al., "Optimal heap limits for reducing
  browser memory use", OOPSLA 2022.
- OOM hazard: S. O. Rice, "Mathematical analysis of random noise" (1944): a stationary Gaussian process crosses a
  level u upwards nu0 * exp(-u^2 / (2 sigma^2)) times per second.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .spec import MemorySpec
from .units import GIB


@dataclass(frozen=True, slots=True)
class MemoryState:
    """What a memory limit does to a pod at a given load."""

    gc_cores: float
    """CPU used by the collector, in cores."""
    gc_cycles_per_s: float
    pause_s: float
    """Stop-the-world pause of one cycle."""
    working_set_bytes: float
    oom_per_s: float
    """Hazard of an OOM kill, events per second."""


def oom_hazard(limit_bytes: float, need_bytes: float, spread: float, rate_per_s: float) -> float:
    """Expected OOM kills per second: Rice's crossing rate of need * (1 + spread * Gaussian) over the limit."""
    if limit_bytes <= need_bytes:
        return rate_per_s
    z = (limit_bytes - need_bytes) / max(spread * need_bytes, 1.0)
    return rate_per_s * math.exp(-0.5 * z * z)


def memory_state(spec: MemorySpec, limit_bytes: float, load_rps: float, in_flight: float) -> MemoryState:
    """State at `load_rps` requests per second and `in_flight` requests in the pod on average."""
    live = spec.live_set + spec.per_request * in_flight
    need = spec.runtime + live
    natural = live * spec.gc_percent / 100.0
    room = max(limit_bytes * spec.usable_percent / 100.0 - need, 0.02 * live)
    headroom = 1.0 / (1.0 / natural + 1.0 / room)
    cycles = load_rps * spec.allocated_per_request / headroom
    return MemoryState(
        gc_cores=cycles * spec.trace_per_gib * live / GIB,
        gc_cycles_per_s=cycles,
        pause_s=spec.pause_per_gib * live / GIB,
        working_set_bytes=min(need + 0.75 * headroom, limit_bytes),
        oom_per_s=oom_hazard(limit_bytes, need, spec.spike_percent / 100.0, 1.0 / spec.spike_interval),
    )
