"""An eyewitness of a namespace: every change of what Trimtab touches, and of the target, in the API server's order.

Looking now and then would miss a second canary that lived for a moment. A watch misses nothing, and resource versions
order the changes of all kinds. A watch that ends, because the API server did, goes on after the version it had seen; a
new API server may know nothing so old, then it goes on from a list. That must show the objects that were seen; of one
that changed meanwhile it has the latest state.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.operator.live import API, ARM
from controlplane import ApiError, ControlPlane, WaitTimeout, wait_for
from trimtab.domain.names import LABEL_MANAGED_BY, MANAGED_BY
from trimtab.simulate.history import Change, View

WATCHED = (
    ("/apis/apps/v1", "deployments", ""),  # the target, too: the arms' share is one of its pods
    ("/apis/apps/v1", "replicasets", ARM),
    ("/api/v1", "pods", ARM),
    ("/api/v1", "services", ""),
    ("/apis/discovery.k8s.io/v1", "endpointslices", ""),
    ("/apis/autoscaling/v2", "horizontalpodautoscalers", ""),
    ("/apis/gateway.networking.k8s.io/v1", "httproutes", ""),
    ("/apis/coordination.k8s.io/v1", "leases", ""),
    ("/api/v1", "configmaps", f"{LABEL_MANAGED_BY}={MANAGED_BY}"),
    (f"/apis/{API}", "experiments", ""),
    (f"/apis/{API}", "trials", ""),
)


AWAY_SECONDS = 60.0  # for which an API server may be away


class _TooOld(Exception):
    """The API server knows of no changes since this version."""


class _Missed(Exception):
    """Nobody can say what happened."""


class Witness:
    """Watches a namespace from `start` to `stop`; use it as a context manager."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        config = json.loads(Path(plane.kubeconfig()).read_text())
        cluster = config["clusters"][0]["cluster"]
        ca = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._client = plane.client.patient(AWAY_SECONDS)
        self._server, self._tls = cluster["server"], ssl.create_default_context(cadata=ca)
        self._token, self._namespace = config["users"][0]["user"]["token"], namespace
        self._changes: list[Change] = []
        self._connections: list[http.client.HTTPSConnection] = []
        self._threads: list[threading.Thread] = []
        self._lost: list[str] = []
        self._stopping = False

    def __enter__(self) -> Self:
        for plural, path, selection in self._watched():
            query = {"watch": "1", "allowWatchBookmarks": "true", **selection}
            arguments = (plural, path, query, self._open(path, query))
            thread = threading.Thread(target=self._follow, args=arguments, daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        for connection in self._connections:
            with contextlib.suppress(OSError, AttributeError):  # one that has ended has no socket
                connection.sock.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads from it
        for thread in self._threads:
            thread.join(5.0)
        for connection in self._connections:
            connection.close()

    def changes(self) -> list[Change]:
        """All changes up to now, in the API server's order.

        Each kind is watched on its own, so a change of one may come here before an earlier one of another: this waits
        until every watch has shown what exists now.

        Raises:
            AssertionError: a watch ended early, so that something may have been missed.
            WaitTimeout: a watch stays behind.
        """
        for plural, path, selection in self._watched():
            wait_for(partial(self._has_shown, plural, path, selection), f"the watch of {plural} to catch up")
        return self._in_order()

    def _watched(self) -> Iterator[tuple[str, str, dict[str, str]]]:
        """Of each kind: its plural, its path in the namespace, and what selects its objects."""
        for group, plural, labels in WATCHED:
            yield plural, f"{group}/namespaces/{self._namespace}/{plural}", {"labelSelector": labels} if labels else {}

    def _has_shown(self, plural: str, path: str, query: Mapping[str, str]) -> bool:
        assert not self._lost, self._lost
        return _versions(self._seen(plural)) == _versions(self._client.request("GET", path, query=query)["items"])

    def _seen(self, plural: str) -> Iterable[Mapping[str, Any]]:
        view = View()
        for change in self._sorted():
            view.apply(change)
        return view.all(plural).values()

    def _listed(self, plural: str, path: str, query: Mapping[str, str]) -> str:
        """Go on from a list; returns its version.

        Raises:
            _Missed: something came or went unseen.
        """
        selection = {key: query[key] for key in ("labelSelector",) if key in query}
        listed, known = self._client.request("GET", path, query=selection), _versions(self._seen(plural))
        if known.keys() != _versions(listed["items"]).keys():
            raise _Missed("objects came or went while the API server was away")
        for found in listed["items"]:
            version = found["metadata"]["resourceVersion"]
            if version != known[found["metadata"]["name"]]:
                self._changes.append(Change(time.time(), int(version), "MODIFIED", plural, found))
        return str(listed["metadata"]["resourceVersion"])

    def _in_order(self) -> list[Change]:
        assert not self._lost, self._lost
        return self._sorted()

    def _sorted(self) -> list[Change]:
        return sorted(self._changes, key=lambda c: c.version)

    def _open(self, path: str, query: Mapping[str, str]) -> http.client.HTTPResponse:
        address = urllib.parse.urlsplit(self._server).netloc
        connection = http.client.HTTPSConnection(address, context=self._tls, timeout=3600)
        target = f"{path}?{urllib.parse.urlencode(query)}"
        connection.request("GET", target, headers={"Authorization": f"Bearer {self._token}"})
        self._connections.append(connection)
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        return answer

    def _follow(self, plural: str, path: str, query: dict[str, str], answer: http.client.HTTPResponse) -> None:
        why = ""
        while not why:
            try:
                for line in answer:
                    query["resourceVersion"] = self._note(plural, json.loads(line))
            except _TooOld:
                try:
                    listed = partial(self._listed, plural, path, query)
                    query["resourceVersion"] = wait_for(
                        listed, f"a list of {plural}", seconds=AWAY_SECONDS, ignore=(ApiError,)
                    )
                except (_Missed, WaitTimeout) as missed:
                    why = str(missed)
            except (OSError, ValueError, http.client.HTTPException):  # half a line is what a dying server leaves
                pass
            finally:
                answer.close()
            again = None if why else self._again(path, query)
            if again is None:
                why = why or f"no watch for {AWAY_SECONDS:g} s"
            else:
                answer = again
        if not self._stopping:
            self._lost.append(f"{plural}: {why}")

    def _note(self, plural: str, event: dict[str, Any]) -> str:
        """Keep a change; returns its version."""
        if event["type"] == "ERROR":
            raise _TooOld(str(event["object"].get("message")))
        version = str(event["object"]["metadata"]["resourceVersion"])
        if event["type"] != "BOOKMARK":
            self._changes.append(Change(time.time(), int(version), event["type"], plural, event["object"]))
        return version

    def _again(self, path: str, query: Mapping[str, str]) -> http.client.HTTPResponse | None:
        """The watch from where it ended, None when that is impossible or nobody wants it."""
        deadline = time.monotonic() + AWAY_SECONDS
        while not self._stopping and time.monotonic() < deadline:
            try:
                return self._open(path, query)
            except (OSError, http.client.HTTPException, AssertionError):
                time.sleep(0.2)
        return None


def _versions(objects: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    return {each["metadata"]["name"]: each["metadata"]["resourceVersion"] for each in objects}
