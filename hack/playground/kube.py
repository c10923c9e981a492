"""A small asynchronous JSON client of the API server: kubeconfig, requests, watches.

Plain `aiohttp` and raw JSON: a few dozen pods change many times a second while the operator under test shares the
machine, so neither models nor clients with one object per field are affordable here.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml

Obj = dict[str, Any]
Key = tuple[str, str]
"""(namespace, name)"""

log = logging.getLogger("playground")

MERGE: Final = "application/merge-patch+json"
STRATEGIC: Final = "application/strategic-merge-patch+json"
_WATCH_SECONDS: Final = 120
_RETRY_SECONDS: Final = 0.5
_ABSENT_SECONDS: Final = 5.0
"""How soon a collection that is not served is asked for again."""
_BODY_OF_ERROR: Final = 500


class KubeError(Exception):
    """The API server refused a request; `code` is the HTTP status."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class KubeconfigError(ValueError):
    """A kubeconfig that cannot be used; says which field and what to do."""


@dataclass(frozen=True)
class Access:
    """Where the API server is and how to speak to it."""

    server: str
    tls: ssl.SSLContext | None
    token: Callable[[], str | None]


def load_access(path: Path) -> Access:
    """Access of the current context of a kubeconfig file (certificates, token or token file)."""
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        context = _named(config["contexts"], config["current-context"], "context")
        cluster = _named(config["clusters"], context["cluster"], "cluster")
        user = _named(config["users"], context["user"], "user")
    except OSError as error:
        raise KubeconfigError(f"{path}: cannot be read ({error.strerror}); give --kubeconfig") from None
    except (yaml.YAMLError, KeyError, TypeError, StopIteration) as error:
        raise KubeconfigError(f"{path}: is no kubeconfig with a current context ({error!r})") from None
    server = str(cluster["server"])
    return Access(server, _tls(path, cluster, user) if server.startswith("https") else None, _token(path, user))


def _named(items: list[Obj], name: str, field: str) -> Obj:
    return dict(next(item for item in items if item["name"] == name)[field])


def _token(path: Path, user: Mapping[str, Any]) -> Callable[[], str | None]:
    """A token file is read again each time: it may be replaced while we run."""
    if "tokenFile" in user:
        file = path.parent / str(user["tokenFile"])
        return lambda: file.read_text(encoding="utf-8").strip()
    token = user.get("token")
    return lambda: token


def _tls(path: Path, cluster: Mapping[str, Any], user: Mapping[str, Any]) -> ssl.SSLContext:
    if cluster.get("insecure-skip-tls-verify"):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    elif "certificate-authority-data" in cluster:
        context = ssl.create_default_context(
            cadata=base64.b64decode(cluster["certificate-authority-data"]).decode("ascii")
        )
    elif "certificate-authority" in cluster:
        context = ssl.create_default_context(cafile=str(path.parent / cluster["certificate-authority"]))
    else:
        context = ssl.create_default_context()
    if "client-certificate" in user and "client-key" in user:
        context.load_cert_chain(path.parent / user["client-certificate"], path.parent / user["client-key"])
    return context


class Kube:
    """Requests to the API server; use as an async context manager."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Kube:
        connector = aiohttp.TCPConnector(ssl=self._access.tls or True, limit=32)
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=15.0, sock_connect=5.0),
            headers={"Accept": "application/json", "User-Agent": "trimtab-playground"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def request(
        self, method: str, path: str, body: Obj | None = None, *, content: str = "application/json", **query: str
    ) -> Obj:
        """One request; the answer's JSON. Raises KubeError for an error status, OSError or TimeoutError without one."""
        data = None if body is None else json.dumps(body).encode()
        headers = self._headers() | ({"Content-Type": content} if data is not None else {})
        async with self._open().request(
            method, self._access.server + path, data=data, headers=headers, params=query
        ) as answer:
            if answer.status >= 400:
                raise KubeError(answer.status, (await answer.text())[:_BODY_OF_ERROR])
            result: Obj = await answer.json(content_type=None)
            return result

    async def watch(self, path: str, resource_version: str) -> AsyncIterator[Obj]:
        """Watch events from a resourceVersion on, until the server ends the stream."""
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5.0, sock_read=_WATCH_SECONDS + 15.0)
        async with self._open().get(
            self._access.server + path, params=query, headers=self._headers(), timeout=timeout, read_bufsize=2**20
        ) as answer:
            if answer.status >= 400:
                raise KubeError(answer.status, (await answer.text())[:_BODY_OF_ERROR])
            async for line in answer.content:
                yield json.loads(line)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("use Kube as an async context manager")
        return self._session

    def _headers(self) -> dict[str, str]:
        token = self._access.token()
        return {"Authorization": f"Bearer {token}"} if token else {}


class Cache:
    """A live copy of a collection, kept by list and watch.

    `changed` is called with (old, new) for every change; one of them is None for an addition or a removal. A collection
    that is `optional` may not be served at all, or only later: then it is empty.
    """

    def __init__(
        self,
        kube: Kube,
        path: str,
        changed: Callable[[Obj | None, Obj | None], None] | None = None,
        *,
        optional: bool = False,
    ) -> None:
        self._kube = kube
        self._path = path
        self._changed = changed
        self._optional = optional
        self.items: dict[Key, Obj] = {}
        self.synced = asyncio.Event()

    async def run(self) -> None:
        """List, then watch, for ever; after any failure list again."""
        while True:
            try:
                version = await self._list()
                await self._follow(version)
            except KubeError as error:
                if self._optional and error.code == 404:
                    self.synced.set()
                    await asyncio.sleep(_ABSENT_SECONDS)
                    continue
                log.warning("watch of %s: %s", self._path, error)
            except (aiohttp.ClientError, TimeoutError, OSError, json.JSONDecodeError) as error:
                log.info("watch of %s interrupted: %r", self._path, error)
            await asyncio.sleep(_RETRY_SECONDS)

    async def _list(self) -> str:
        answer = await self._kube.request("GET", self._path)
        fresh = {key_of(item): item for item in answer["items"]}
        for key in [key for key in self.items if key not in fresh]:
            self._set(key, None)
        for key, item in fresh.items():
            self._set(key, item)
        self.synced.set()
        return str(answer["metadata"]["resourceVersion"])

    async def _follow(self, version: str) -> None:
        async for event in self._kube.watch(self._path, version):
            kind, item = event["type"], event["object"]
            if kind == "ERROR":
                log.info("watch of %s ended: %s", self._path, item.get("message"))
                return
            if kind == "BOOKMARK":
                continue
            self._set(key_of(item), None if kind == "DELETED" else item)

    def _set(self, key: Key, new: Obj | None) -> None:
        old = self.items.get(key)
        if old is not None and new is not None and _version(old) == _version(new):
            return
        if old is None and new is None:
            return
        if new is None:
            self.items.pop(key, None)
        else:
            self.items[key] = new
        if self._changed is not None:
            self._changed(old, new)


def key_of(item: Obj) -> Key:
    """(namespace, name) of an object."""
    metadata = item["metadata"]
    return str(metadata.get("namespace", "")), str(metadata["name"])


def _version(item: Obj) -> tuple[Any, Any]:
    return item["metadata"].get("uid"), item["metadata"].get("resourceVersion")
