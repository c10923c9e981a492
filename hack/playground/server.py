"""HTTP on loopback: the metrics page for Prometheus, and control for demos and tests.

GET /metrics            the page that Prometheus scrapes
GET /state              pods, shares, truth and faults as JSON
GET /faults             faults in force
POST /faults            set one (JSON of `trimtab.workload.faults.Fault`)
DELETE /faults/<name>   end one
DELETE /faults          end all
GET /healthz            ok once nodes are registered and the watches have begun
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from pydantic import ValidationError

from trimtab.workload.faults import Fault, FaultKind

from .exposition import CONTENT_TYPE

if TYPE_CHECKING:
    from .program import Program

_HANG_SECONDS: Final = 60.0
"""Longer than any scrape timeout."""
_GARBAGE: Final = "<html><body>502 Bad Gateway</body></html>\n\x00{{{"


def application(program: Program) -> web.Application:
    """Routes over a running program."""
    handlers = _Handlers(program)
    app = web.Application()
    app.add_routes(
        [
            web.get("/metrics", handlers.metrics),
            web.get("/state", handlers.state),
            web.get("/faults", handlers.faults),
            web.post("/faults", handlers.set_fault),
            web.delete("/faults", handlers.clear_faults),
            web.delete("/faults/{name}", handlers.remove_fault),
            web.get("/healthz", handlers.healthz),
        ]
    )
    return app


class _Handlers:
    def __init__(self, program: Program) -> None:
        self._program = program

    async def metrics(self, _: web.Request) -> web.StreamResponse:
        now, board = self._program.now(), self._program.faults
        if board.global_acting(FaultKind.SCRAPE_HANG, now):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_HANG_SECONDS):
                    await self._program.faults.changed()
            return web.Response(text="", status=503)
        if board.global_acting(FaultKind.SCRAPE_GARBAGE, now):
            return web.Response(text=_GARBAGE, content_type="text/html")
        return web.Response(text=self._program.metrics_page(), headers={"Content-Type": CONTENT_TYPE})

    async def state(self, _: web.Request) -> web.Response:
        return web.json_response(self._program.state())

    async def faults(self, _: web.Request) -> web.Response:
        return web.json_response([_wire(fault) for fault in self._program.faults.all])

    async def set_fault(self, request: web.Request) -> web.Response:
        try:
            fault = Fault.model_validate_json(await request.text())
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = ".".join(str(part) for part in first["loc"])
            message = first["msg"].removeprefix("Value error, ")
            return web.json_response({"error": f"{field}: {message}" if field else message}, status=400)
        return web.json_response(_wire(self._program.faults.set(fault, self._program.now())), status=201)

    async def clear_faults(self, _: web.Request) -> web.Response:
        self._program.faults.clear()
        return web.Response(status=204)

    async def remove_fault(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if not self._program.faults.remove(name):
            return web.json_response({"error": f"no fault is named {name}"}, status=404)
        return web.Response(status=204)

    async def healthz(self, _: web.Request) -> web.Response:
        healthy = self._program.healthy
        return web.Response(text="ok\n" if healthy else "starting\n", status=200 if healthy else 503)


def _wire(fault: Fault) -> dict[str, Any]:
    return fault.model_dump(mode="json", by_alias=True, exclude_none=True)
