"""The Cluster port over a real API server: plain JSON, one hard time-out per request, errors by what to do about them.

It uses kubernetes.aio's configuration and HTTP layer but none of its model classes, which cost tens of megabytes. The
reconciler and the safety loop each have an instance of their own, so that neither waits for the other's connections.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
from kubernetes.aio.client.rest import RESTClientObject

from trimtab.adapters.connection import Connection, ConnectionProblem
from trimtab.domain.errors import (
    AlreadyExists,
    ApiError,
    Conflict,
    Forbidden,
    NotFound,
    Rejected,
    Throttled,
    Unauthorized,
    Unavailable,
)
from trimtab.domain.kinds import Kind
from trimtab.domain.kube import Manifest

PAGE = 500
LIST_ATTEMPTS = 3
VERBS = {"GET": "get", "POST": "create", "PUT": "update", "DELETE": "delete"}

# How every authorizer's refusal is worded by the API server; any other 403 is quota, LimitRange or admission.
_NO_RIGHT = re.compile(r'User "[^"]*" cannot \w+ ')

OnRequest = Callable[[str, str], None]


class KubernetesCluster:
    """Implements `trimtab.ports.Cluster`.

    `timeout` bounds a whole request, body included. `on_request` is told the verb and the code of each request (`0`
    when there was no answer), for `trimtab_api_requests_total`.
    """

    def __init__(self, connection: Connection, *, timeout: float = 10.0, on_request: OnRequest | None = None) -> None:
        self._connection = connection
        self._timeout = timeout
        self._on_request = on_request
        self._rest: Any = None
        self._configuration: Any = None

    async def close(self) -> None:
        """Close the connections."""
        if self._rest is not None:
            await self._rest.close()
            self._rest = None

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Manifest:
        """Read one object."""
        return await self._request("GET", _path(kind, namespace, kind.named(name)))

    async def list(self, kind: Kind, namespace: str | None, *, labels: str = "") -> tuple[Manifest, ...]:
        """All objects that match, in pages; started again when the server forgot the first page's version."""
        for _ in range(LIST_ATTEMPTS - 1):
            try:
                return await self._list(kind, namespace, labels)
            except ApiError as error:
                if error.status != 410:
                    raise
        return await self._list(kind, namespace, labels)

    async def _list(self, kind: Kind, namespace: str | None, labels: str) -> tuple[Manifest, ...]:
        found: list[Manifest] = []
        query = {"limit": str(PAGE)} | ({"labelSelector": labels} if labels else {})
        token = ""
        while True:
            page = await self._request(
                "GET", _path(kind, namespace), query=query | ({"continue": token} if token else {}), verb="list"
            )
            head = {"apiVersion": kind.api_version, "kind": kind.name}
            found.extend(head | item for item in page.get("items") or ())
            token = (page.get("metadata") or {}).get("continue") or ""
            if not token:
                return tuple(found)

    async def create(self, kind: Kind, namespace: str | None, body: Manifest, *, dry_run: bool = False) -> Manifest:
        """POST one object."""
        query = {"dryRun": "All"} if dry_run else {}
        return await self._request("POST", _path(kind, namespace), body, query=query)

    async def create_subresource(
        self, kind: Kind, namespace: str, name: str, subresource: str, body: Manifest
    ) -> Manifest:
        """POST to a subresource, such as a pod's eviction."""
        return await self._request("POST", _path(kind, namespace, kind.named(name), subresource), body)

    async def replace(
        self, kind: Kind, namespace: str | None, name: str, body: Manifest, *, subresource: str = ""
    ) -> Manifest:
        """PUT one object or its subresource."""
        return await self._request("PUT", _path(kind, namespace, kind.named(name), subresource), body)

    async def delete(
        self, kind: Kind, namespace: str | None, name: str, *, uid: str | None = None, grace_seconds: int | None = None
    ) -> None:
        """DELETE one object; its dependents go in the background."""
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        await self._request("DELETE", _path(kind, namespace, kind.named(name)), options)

    async def version(self) -> str:
        """The server's version, e.g. `v1.36.3`."""
        return str((await self._request("GET", "/version")).get("gitVersion", ""))

    async def _request(
        self,
        method: str,
        path: str,
        body: Manifest | None = None,
        *,
        query: Mapping[str, str] | None = None,
        verb: str = "",
    ) -> dict[str, Any]:
        url = path + (f"?{urlencode(query)}" if query else "")
        sent = self._connection.authorization()
        status, headers, content = await self._exchange(method, url, body, verb or VERBS[method], sent)
        if status == 401 and await self._refreshed(sent):
            sent = self._connection.authorization()
            status, headers, content = await self._exchange(method, url, body, verb or VERBS[method], sent)
        answer = _parsed(content)
        if 200 <= status < 300 and answer is not None:
            return answer
        raise api_error(method, status, answer, content, headers)

    async def _exchange(
        self, method: str, url: str, body: Manifest | None, verb: str, authorization: str | None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """One request and its whole answer within the time-out."""
        headers = {"Accept": "application/json", "Content-Type": "application/json", "User-Agent": "trimtab"}
        if authorization is not None:
            headers["Authorization"] = authorization
        status = 0
        limit = aiohttp.ClientTimeout(total=self._timeout)
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._client().request(
                    method, self._connection.server + url, headers=headers, body=body, _request_timeout=limit
                )
                content = await answer.read()
            status = answer.status
            return status, answer.headers, content
        except TimeoutError:
            raise Unavailable(0, f"{method} {url}: no answer within {self._timeout:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unavailable(0, f"{method} {url}: {type(error).__name__}: {error}") from None
        finally:
            if self._on_request is not None:
                self._on_request(verb, str(status))

    def _client(self) -> Any:
        """The HTTP client, made inside the running loop, and again when the configuration was reloaded."""
        if self._rest is None:
            self._configuration = self._connection.configuration
            self._rest = RESTClientObject(self._configuration)
        return self._rest

    async def _refreshed(self, refused: str | None) -> bool:
        try:
            changed = await self._connection.refresh(refused)
        except ConnectionProblem:
            return False
        if self._connection.configuration is not self._configuration:
            await self.close()
        return changed


def api_error(
    method: str, status: int, answer: Mapping[str, Any] | None, content: bytes, headers: Mapping[str, str]
) -> ApiError:
    """The error for this answer, by what the caller must do about it."""
    details = answer if answer is not None and answer.get("kind") == "Status" else {}
    message = str(details.get("message") or content[:300].decode(errors="replace").strip() or f"status {status}")
    reason = details.get("reason", "")
    if status == 404:
        return NotFound(status, message)
    if status == 409:
        exists = method == "POST" and reason in ("AlreadyExists", "")
        return AlreadyExists(status, message) if exists else Conflict(status, message)
    if status == 401:
        return Unauthorized(status, f"the API server does not accept our credentials: {message}")
    if status == 403:
        return Rejected(status, message) if details and not _NO_RIGHT.search(message) else Forbidden(status, message)
    if status == 429:
        return Throttled(message, _retry_after(headers, details))
    if status in (400, 405, 406, 413, 415, 422):
        return Rejected(status, message)
    if status >= 500 or status < 400:  # a redirect, or a success that is not JSON: something in between answered
        return Unavailable(status, message)
    return ApiError(status, message)


def _retry_after(headers: Mapping[str, str], details: Mapping[str, Any]) -> float:
    stated = headers.get("Retry-After") or (details.get("details") or {}).get("retryAfterSeconds")
    try:
        return min(max(float(stated or 1.0), 0.1), 300.0)
    except (TypeError, ValueError):
        return 1.0


def _parsed(content: bytes) -> dict[str, Any] | None:
    try:
        answer = json.loads(content)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def _path(kind: Kind, namespace: str | None, name: str = "", subresource: str = "") -> str:
    base = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    scope = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
    parts = "".join(f"/{quote(part, safe='')}" for part in (kind.plural, name, subresource) if part)
    return base + scope + parts
