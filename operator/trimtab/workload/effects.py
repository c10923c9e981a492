"""What is no resource, but changes how a service behaves: variables of its container, the type of its node, its image.

A pod with such settings runs another workload: the same service with another pool of workers, another headroom of its
collector, faster cores, another version of its code. So everything that plays or judges a pod asks `adapted` once and
knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from .spec import EnvEffect, ReleaseSpec, WorkloadError, WorkloadSpec

FIELDS = {"concurrency": "request", "queue": "request", "gcPercent": "memory", "batch": "batch"}
_NAMES = {"gcPercent": "gc_percent", "batch": "size"}
Pairs = tuple[tuple[str, str], ...]


def adapted(workload: WorkloadSpec, env: Mapping[str, str], nodes: Mapping[str, str], image: str = "") -> WorkloadSpec:
    """The workload of a pod with these variables, node selectors and image; the same object where they change nothing.

    Raises:
        WorkloadError: a variable that sets a number does not hold one within the model's bounds.
    """
    release = next((r for r in workload.releases if r.image == image), None)
    if release is not None:
        workload = _released(workload, release)
    effects = workload.effects
    if effects is None:
        return workload
    mine = tuple((e.name, env[e.name]) for e in effects.env if e.name in env)
    chosen = nodes.get(effects.nodes.key, "") if effects.nodes is not None else ""
    return _adapted(workload, mine, chosen)


@lru_cache(maxsize=64)
def _released(workload: WorkloadSpec, release: ReleaseSpec) -> WorkloadSpec:
    request, memory = workload.request, workload.memory
    waited = request.dependency.mean * release.dependency_factor
    changes = {
        "cpu": request.cpu * release.cpu_factor,
        "dependency": request.dependency.model_copy(update={"mean": waited}),
    }
    held = {name: getattr(memory, name) * release.memory_factor for name in ("live_set", "per_request")}
    parts = {"request": request.model_copy(update=changes), "memory": memory.model_copy(update=held)}
    return workload.model_copy(update=parts)


@lru_cache(maxsize=256)
def _adapted(workload: WorkloadSpec, env: Pairs, node: str) -> WorkloadSpec:
    effects = workload.effects
    assert effects is not None
    changes: dict[str, dict[str, Any]] = {}
    for effect in effects.env:
        text = dict(env).get(effect.name)
        if text is not None:
            changes.setdefault(FIELDS[effect.field], {})[_NAMES.get(effect.field, effect.field)] = _number(effect, text)
    types = effects.nodes.types if effects.nodes is not None else ()
    factor = next((t.cpu_factor for t in types if t.value == node), 1.0)
    if factor != 1.0:
        changes.setdefault("request", {})["cpu"] = workload.request.cpu * factor
        changes["cpu"] = {"background": workload.cpu.background * factor}
        changes.setdefault("memory", {})["trace_per_gib"] = workload.memory.trace_per_gib * factor
    parts = {name: getattr(workload, name).model_copy(update=values) for name, values in changes.items()}
    return workload.model_copy(update=parts) if parts else workload


def _number(effect: EnvEffect, text: str) -> float | int:
    before, _, after = effect.format.partition("{}")
    inner = text.removeprefix(before).removesuffix(after)
    try:
        value = float(inner)
    except ValueError:
        value = 0.0
    if not 1 <= value <= 4096:
        raise WorkloadError(f"effects.env: {effect.name} holds {text!r}; write {effect.format} with 1 to 4096")
    return value if effect.field == "gcPercent" else int(value)


__all__ = ["adapted"]
