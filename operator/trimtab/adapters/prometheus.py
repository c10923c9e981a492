"""The Telemetry port over a real metrics store that speaks the HTTP API of Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from trimtab.adapters.prometheus_client import PrometheusClient
from trimtab.adapters.series_store import SeriesStore
from trimtab.adapters.store_config import StoreConfig
from trimtab.adapters.telemetry import StoreTelemetry
from trimtab.domain.spec import DEFAULT_STORE


class PrometheusTelemetry(StoreTelemetry):
    """One instance for reconciling, another for safety: their thread pools must not wait for each other.

    Args:
        store: a store of the operator's list, or the address of a plain Prometheus.
        token_file: with an address, the file of a bearer token.
        meter: what is put around the client, to count and to limit its queries.
    """

    def __init__(
        self,
        store: StoreConfig | str,
        *,
        token_file: str | None = None,
        threads: int = 4,
        meter: Callable[[SeriesStore], SeriesStore] = lambda store: store,
    ) -> None:
        config = StoreConfig(DEFAULT_STORE, store, token_file=token_file) if isinstance(store, str) else store
        self._client = PrometheusClient(config, threads=threads)
        super().__init__(meter(self._client))

    def close(self, *, wait: bool = False) -> None:
        """Release the threads; with `wait`, not before their queries have ended."""
        self._client.close(wait=wait)


__all__ = ["PrometheusTelemetry"]
