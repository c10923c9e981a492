"""A small synchronous JSON client of the API server, for the harness and its tests.

Standard library only: `http.client` and not `urllib.request`, which cannot send a header twice and would use the
proxy of the environment for loopback. It is not the operator's client: it opens a connection per request and knows no
watches.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Obj = dict[str, Any]
Objs = list[Obj]

PAUSE = 0.2  # seconds between two attempts of a patient read
PATCH_TYPES = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
    "apply": "application/apply-patch+yaml",
}


class ApiError(Exception):
    """The API server refused a request.

    Attributes:
        code: HTTP status, 0 when there was no answer.
        reason: the machine-readable reason of the Status object, for example AlreadyExists.
        message: the text a user would see.
    """

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(f"{code} {reason}: {message}")
        self.code = code
        self.reason = reason
        self.message = message


class Unavailable(ApiError):
    """The server cannot answer now, and may later: 429 or 5xx."""


class Unreachable(Unavailable):
    """No answer: connection refused, reset or timed out."""


class Unauthorized(ApiError):
    """401: the token is not valid (any more)."""


class Forbidden(ApiError):
    """403: RBAC or an admission policy refuses."""


class NotFound(ApiError):
    """404."""


class Conflict(ApiError):
    """409: the object exists already, or the resourceVersion is old."""


class Invalid(ApiError):
    """422: the object does not pass validation."""


_BY_CODE: dict[int, type[ApiError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    422: Invalid,
    **dict.fromkeys((429, 500, 502, 503, 504), Unavailable),
}


class _Socket(ssl.SSLSocket):
    """Closed at once when a server that is going away resets it before the handshake: `ssl` would leave it to the
    garbage collector, whose warning would be blamed on whatever runs then."""

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        try:
            return super().recv(buflen, flags)
        except OSError:
            self.close()
            raise


class ApiClient:
    """Requests to one API server as one user.

    Args:
        server: address, for example https://127.0.0.1:20123.
        ca_pem: certificates to trust.
        token: bearer token, or None for an anonymous client.
        headers: sent with every request.
        timeout: seconds per request.
        patience: seconds for which a read is repeated while the server cannot answer.

    Attributes:
        warnings: the Warning headers of the last answer.
    """

    def __init__(
        self,
        server: str,
        ca_pem: bytes,
        token: str | None = None,
        *,
        headers: Sequence[tuple[str, str]] = (),
        timeout: float = 15.0,
        patience: float = 0.0,
    ) -> None:
        self.server = server
        self.timeout = timeout
        self._patience = patience
        self.warnings: list[str] = []
        self._ca_pem = ca_pem
        self._token = token
        self._headers = tuple(headers)
        self._resources: dict[str, dict[str, tuple[str, bool]]] = {}
        self._address = urllib.parse.urlsplit(server).netloc
        self._tls = ssl.create_default_context(cadata=ca_pem.decode("ascii"))
        self._tls.sslsocket_class = _Socket

    @classmethod
    def from_kubeconfig(cls, path: Path) -> ApiClient:
        """A client from a kubeconfig written by this package (JSON, one context)."""
        config = json.loads(path.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        token = user["token"] if "token" in user else Path(user["tokenFile"]).read_text().strip()
        return cls(cluster["server"], base64.b64decode(cluster["certificate-authority-data"]), token)

    def with_token(self, token: str | None) -> ApiClient:
        """The same server as another user."""
        return ApiClient(self.server, self._ca_pem, token, timeout=self.timeout)

    def through(self, server: str, timeout: float = 15.0) -> ApiClient:
        """The same user at another address of the same server, e.g. a proxy's."""
        return ApiClient(server, self._ca_pem, self._token, headers=self._headers, timeout=timeout)

    def patient(self, seconds: float) -> ApiClient:
        """The same user, whose reads wait for a server that is away."""
        return ApiClient(
            self.server, self._ca_pem, self._token, headers=self._headers, timeout=self.timeout, patience=seconds
        )

    def impersonate(self, user: str, groups: Sequence[str] = ("system:authenticated",)) -> ApiClient:
        """Act as this user; the client's own user must be allowed to impersonate."""
        headers = [("Impersonate-User", user), *(("Impersonate-Group", group) for group in groups)]
        return ApiClient(self.server, self._ca_pem, self._token, headers=headers, timeout=self.timeout)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Any:
        """One request; the answer is parsed JSON.

        Raises:
            ApiError: or one of its subclasses, by status code.
        """
        return json.loads(self.raw(method, path, body, query=query, content_type=content_type))

    def raw(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> str:
        """One request; the answer is text, for /readyz, /metrics and pod logs."""
        target = path + (f"?{urllib.parse.urlencode(query)}" if query else "")
        deadline = time.monotonic() + (self._patience if method == "GET" else 0.0)
        while True:
            try:
                return self._once(method, target, body, content_type)
            except Unavailable:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(PAUSE)

    def _once(self, method: str, target: str, body: Any, content_type: str) -> str:
        connection = http.client.HTTPSConnection(self._address, timeout=self.timeout, context=self._tls)
        try:
            code, text = self._exchange(connection, method, target, body, content_type)
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(0, "Unreachable", f"{method} {self.server}{target}: {error!r}") from None
        finally:
            connection.close()
        if code >= 400:
            raise _api_error(code, text)
        return text

    def _exchange(
        self, connection: http.client.HTTPSConnection, method: str, target: str, body: Any, content_type: str
    ) -> tuple[int, str]:
        data = b"" if body is None else json.dumps(body).encode()
        connection.putrequest(method, target)
        for name, value in self._headers:  # one by one, because Impersonate-Group may be repeated
            connection.putheader(name, value)
        if self._token is not None:
            connection.putheader("Authorization", f"Bearer {self._token}")
        connection.putheader("Content-Type", content_type)
        connection.putheader("Content-Length", str(len(data)))
        connection.endheaders(data)
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
        self.warnings = answer.headers.get_all("Warning", [])
        return answer.status, text

    def path(
        self,
        api_version: str,
        kind: str,
        name: str | None = None,
        namespace: str | None = None,
        subresource: str | None = None,
    ) -> str:
        """The path of a resource, by discovery."""
        base = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        if kind not in self._resources.get(base, {}):
            found = self.request("GET", base)["resources"]
            self._resources[base] = {
                item["kind"]: (item["name"], item["namespaced"]) for item in found if "/" not in item["name"]
            }
        if kind not in self._resources[base]:
            raise NotFound(404, "NotFound", f"the server serves no kind {kind} in {api_version}")
        plural, namespaced = self._resources[base][kind]
        parts = [base, *(["namespaces", namespace] if namespaced and namespace else []), plural, name, subresource]
        return "/".join(part for part in parts if part)

    def get(
        self, api_version: str, kind: str, name: str, namespace: str | None = None, *, subresource: str | None = None
    ) -> Obj:
        """Read one object."""
        return self._object("GET", self.path(api_version, kind, name, namespace, subresource))

    def find(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> Obj | None:
        """Read one object, or None when it does not exist."""
        try:
            return self.get(api_version, kind, name, namespace)
        except NotFound:
            return None

    def list(
        self, api_version: str, kind: str, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> Objs:
        """The items of a list; all namespaces without a namespace."""
        query = {key: value for key, value in (("labelSelector", labels), ("fieldSelector", fields)) if value}
        answer = self.request("GET", self.path(api_version, kind, namespace=namespace), query=query)
        items: Objs = answer["items"]
        return [{"apiVersion": api_version, "kind": kind} | item for item in items]

    def create(self, obj: Obj, *, subresource: str | None = None, dry_run: bool = False) -> Obj:
        """Create an object (or POST to a subresource of the object with this name)."""
        path = self._path_of(obj, subresource=subresource, with_name=subresource is not None)
        return self._object("POST", path, obj, query=_dry_run(dry_run))

    def replace(self, obj: Obj, *, subresource: str | None = None, dry_run: bool = False) -> Obj:
        """Replace an object; with a resourceVersion in it, only that version."""
        return self._object("PUT", self._path_of(obj, subresource=subresource), obj, query=_dry_run(dry_run))

    def apply(self, obj: Obj, *, dry_run: bool = False) -> Obj:
        """Create the object, or replace the one of this name whatever its version."""
        metadata = obj["metadata"]
        current = self.find(obj["apiVersion"], obj["kind"], metadata["name"], metadata.get("namespace"))
        if current is None:
            return self.create(obj, dry_run=dry_run)
        version = current["metadata"]["resourceVersion"]
        return self.replace(obj | {"metadata": metadata | {"resourceVersion": version}}, dry_run=dry_run)

    def server_side_apply(self, obj: Obj, manager: str, *, force: bool = False, dry_run: bool = False) -> Obj:
        """Server-side apply under this field manager."""
        query = {"fieldManager": manager, "force": str(force).lower()} | (_dry_run(dry_run) or {})
        return self._object("PATCH", self._path_of(obj), obj, query=query, content_type=PATCH_TYPES["apply"])

    def patch(
        self,
        api_version: str,
        kind: str,
        name: str,
        body: Any,
        namespace: str | None = None,
        *,
        strategy: str = "merge",
        subresource: str | None = None,
    ) -> Obj:
        """Patch an object; the strategy is merge, strategic or json."""
        path = self.path(api_version, kind, name, namespace, subresource)
        return self._object("PATCH", path, body, content_type=PATCH_TYPES[strategy])

    def delete(
        self,
        api_version: str,
        kind: str,
        name: str,
        namespace: str | None = None,
        *,
        grace: int | None = None,
        propagation: str = "Background",
    ) -> Obj:
        """Delete one object; it may stay for a while, until its finalizers are done."""
        return self._object("DELETE", self.path(api_version, kind, name, namespace), _options(grace, propagation))

    def delete_all(
        self,
        api_version: str,
        kind: str,
        namespace: str | None = None,
        *,
        labels: str = "",
        grace: int | None = None,
        propagation: str = "Background",
    ) -> None:
        """Delete the objects of a list."""
        query = {"labelSelector": labels} if labels else None
        path = self.path(api_version, kind, namespace=namespace)
        self.request("DELETE", path, _options(grace, propagation), query=query)

    def _path_of(self, obj: Obj, *, subresource: str | None = None, with_name: bool | None = None) -> str:
        metadata = obj["metadata"]
        name = metadata["name"] if with_name is None or with_name else None
        return self.path(obj["apiVersion"], obj["kind"], name, metadata.get("namespace"), subresource)

    def _object(self, method: str, path: str, body: Any = None, **options: Any) -> Obj:
        answer: Obj = self.request(method, path, body, **options)
        return answer


def _options(grace: int | None, propagation: str) -> Obj:
    options: Obj = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
    return options if grace is None else options | {"gracePeriodSeconds": grace}


def _dry_run(wanted: bool) -> dict[str, str] | None:
    return {"dryRun": "All"} if wanted else None


def _api_error(code: int, body: str) -> ApiError:
    try:
        status = json.loads(body)
        reason, message = status.get("reason", ""), status.get("message", body)
    except (ValueError, AttributeError):
        reason, message = "", body
    return _BY_CODE.get(code, ApiError)(code, reason, message)
