"""How the kinds of metrics stores differ in what they must be asked for a complete and fresh answer. Pure.

All of them speak the HTTP API of Prometheus. What follows is from their public documentation:

- Thanos answers with what the reachable stores have, unless `partial_response=false`. Left alone it may choose
  downsampled blocks; counts need raw samples, so `max_source_resolution=0s`. `dedup=true` merges an HA pair, by the
  querier's replica labels or by `replicaLabels[]`. Its query frontend caches, unless `Cache-Control: no-store`.
- Mimir tells tenants apart by X-Scope-OrgID (see `store_credentials`). Its frontend caches range queries in the same
  way.
- VictoriaMetrics marks partial answers with `isPartial`, or refuses them with `deny_partial_response=1`. It shifts an
  instant query to 30 s ago, aligns a range query to its step and caches it, unless `nocache=1`; it replaces the last
  30 s of a range query by older points unless `latency_offset` is small; `max_lookback` is how old a value may be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trimtab.adapters.store_config import StoreConfig, StoreKind

Params = dict[str, str | list[str]]


@dataclass(frozen=True)
class Dialect:
    """What is added to each query, and to its headers."""

    params: tuple[tuple[str, str | tuple[str, ...]], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()

    def added(self) -> Params:
        """The parameters as a form takes them."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in self.params}


_THANOS = (("dedup", "true"), ("partial_response", "false"), ("max_source_resolution", "0s"))
_VICTORIA = (
    ("nocache", "1"),
    ("latency_offset", "1ms"),
    ("deny_partial_response", "1"),
    ("max_lookback", "5m"),
)
_UNCACHED = (("Cache-Control", "no-store"),)
_INFO = "PromQL info:"  # begins remarks that Prometheus lists apart from warnings, and Thanos does not


def dialect_of(store: StoreConfig) -> Dialect:
    """The dialect of a store's kind."""
    match store.kind:
        case StoreKind.PROMETHEUS:
            return Dialect()
        case StoreKind.THANOS:
            labels = (("replicaLabels[]", store.replica_labels),) if store.replica_labels else ()
            return Dialect((*_THANOS, *labels), _UNCACHED)
        case StoreKind.MIMIR:
            return Dialect(headers=_UNCACHED)
        case StoreKind.VICTORIA_METRICS:
            return Dialect(_VICTORIA)


def incomplete(answer: Mapping[str, Any]) -> str:
    """Why an answer must not be relied on, "" when it is whole: warnings, or marked as partial."""
    found = answer.get("warnings") or ()
    warnings = [str(w) for w in (found if isinstance(found, list | tuple) else [found]) if not str(w).startswith(_INFO)]
    if warnings:
        return f"a partial answer, with the warning: {'; '.join(warnings)}"
    return "a partial answer: a part of the store did not answer" if answer.get("isPartial") else ""


__all__ = ["Dialect", "Params", "dialect_of", "incomplete"]
