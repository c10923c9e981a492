"""What a server, or what stands before it, answers when it does not do what was asked."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from faultproxy.asked import Asked

RETRY_AFTER = 1
REASONS = {500: "InternalError", 503: "ServiceUnavailable", 504: "Timeout"}
MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def conflict(asked: Asked) -> web.Response:
    """409: another writer was faster."""
    what = f'{asked.resource.partition("/")[0]} "{asked.name}"' if asked.name else 'resourcequotas "team"'
    return _answer(409, status(409, "Conflict", f"Operation cannot be fulfilled on {what}: {MODIFIED}"))


def throttled() -> web.Response:
    """429 with a Retry-After header, as priority and fairness answers."""
    body = status(
        429, "TooManyRequests", "the server has received too many requests and has asked us to try again later"
    )
    return _answer(429, body | {"details": {"retryAfterSeconds": RETRY_AFTER}}, {"Retry-After": str(RETRY_AFTER)})


def broken(code: int) -> web.Response:
    """An error of the server itself, or with 502 a page of something before it."""
    if code == 502:
        page = "<html><body><h1>502 Bad Gateway</h1></body></html>\n"
        return web.Response(status=502, text=page, content_type="text/html")
    return _answer(code, status(code, REASONS[code], "etcdserver: request timed out"))


def gone_event() -> bytes:
    """The event that ends a watch whose version is too old."""
    event = {"type": "ERROR", "object": status(410, "Expired", "too old resource version")}
    return json.dumps(event).encode() + b"\n"


def status(code: int, reason: str, message: str) -> dict[str, Any]:
    """A Status object."""
    head = {"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure"}
    return head | {"code": code, "reason": reason, "message": message}


def _answer(code: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response(body, status=code, headers=headers)
