"""The operator's own small HTTP server: /healthz, /readyz and /metrics.

It answers from memory alone, so a slow API server or Prometheus cannot make the kubelet kill a leader.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from aiohttp import web

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class Check:
    """One thing that must be well: `problem` is "" while it is."""

    name: str
    problem: Callable[[], str]


def age_check(name: str, age: Callable[[], float], limit: Callable[[], float]) -> Check:
    """Well while the age (seconds) stays within the limit."""

    def problem() -> str:
        now, most = age(), limit()
        return "" if now <= most else f"silent for {now:.1f} s (limit {most:.1f} s)"

    return Check(name, problem)


class HttpServer:
    """Serves until closed; `port` is the real one after `start` when 0 was asked for."""

    def __init__(
        self, host: str, port: int, *, live: Sequence[Check], ready: Sequence[Check], metrics: Callable[[], bytes]
    ) -> None:
        self._host, self.port = host, port
        self._metrics = metrics
        app = web.Application()
        app.router.add_get("/healthz", _probe(live))
        app.router.add_get("/readyz", _probe(ready))
        app.router.add_get("/metrics", self._serve_metrics)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the address is in use or not ours.
        """
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self.port)
        await site.start()
        self.port = int(self._runner.addresses[0][1])

    async def close(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def _serve_metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics(), headers={"Content-Type": CONTENT_TYPE})


def _probe(checks: Sequence[Check]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(_: web.Request) -> web.Response:
        problems = [(check.name, check.problem()) for check in checks]
        text = "".join(f"{name}: {problem or 'ok'}\n" for name, problem in problems) or "ok\n"
        return web.Response(text=text, status=503 if any(problem for _, problem in problems) else 200)

    return answer


__all__ = ["Check", "HttpServer", "age_check"]
