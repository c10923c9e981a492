"""The Telemetry port over a real Prometheus."""

from __future__ import annotations

from trimtab.adapters.prometheus_client import PrometheusClient
from trimtab.adapters.telemetry import StoreTelemetry


class PrometheusTelemetry(StoreTelemetry):
    """One instance for reconciling, another for safety: their thread pools must not wait for each other."""

    def __init__(self, url: str, *, token_file: str | None = None, threads: int = 4) -> None:
        self._client = PrometheusClient(url, token_file=token_file, threads=threads)
        super().__init__(self._client)

    def close(self) -> None:
        """Release the threads."""
        self._client.close()


__all__ = ["PrometheusTelemetry"]
