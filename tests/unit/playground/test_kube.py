"""Kubeconfigs, and the cache's life with a server that ends watches and forgets versions."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web as http
from aiohttp.test_utils import TestServer

from playground.kube import Access, Cache, Kube, KubeconfigError, KubeError, Obj, load_access
from playground.nodes import Nodes


def kubeconfig(path: Path, user: dict[str, Any]) -> Path:
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": user}],
    }
    path.write_text(json.dumps(config))
    return path


def test_a_token_file_is_read_each_time(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("one\n")
    access = load_access(kubeconfig(tmp_path / "config", {"tokenFile": "token"}))
    assert access.token() == "one"
    (tmp_path / "token").write_text("two\n")
    assert access.token() == "two"


def test_a_token_may_be_inline_or_missing(tmp_path: Path) -> None:
    assert load_access(kubeconfig(tmp_path / "config", {"token": "abc"})).token() == "abc"
    assert load_access(kubeconfig(tmp_path / "config", {})).token() is None


@pytest.mark.parametrize("text", ["", "a: [", "current-context: c", "current-context: c\ncontexts: []"])
def test_what_is_no_kubeconfig_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").write_text(text)
    with pytest.raises(KubeconfigError, match="is no kubeconfig"):
        load_access(tmp_path / "config")


def test_a_missing_kubeconfig_is_named(tmp_path: Path) -> None:
    with pytest.raises(KubeconfigError, match="none: cannot be read"):
        load_access(tmp_path / "none")


class Server:
    """An API server with one collection; each list is followed by one scripted watch."""

    def __init__(self, lists: list[list[Obj]], watches: list[list[Obj]]) -> None:
        self.lists, self.watches = lists, watches
        self.asked: list[str] = []
        self.exhausted = asyncio.Event()

    async def handle(self, request: http.Request) -> http.StreamResponse:
        self.asked.append(str(request.rel_url))
        if "watch" not in request.query:
            if not self.lists:
                self.exhausted.set()
                return http.json_response({"message": "gone"}, status=500)
            return http.json_response({"metadata": {"resourceVersion": "5"}, "items": self.lists.pop(0)})
        response = http.StreamResponse()
        await response.prepare(request)
        for event in self.watches.pop(0):
            await response.write(json.dumps(event).encode() + b"\n")
        return response


@contextlib.asynccontextmanager
async def serving(server: Server) -> AsyncIterator[Kube]:
    app = http.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    async with TestServer(app) as running, Kube(Access(str(running.make_url("")), None, lambda: "t")) as kube:
        yield kube


def item(name: str, version: str, uid: str = "u") -> Obj:
    return {"metadata": {"name": name, "namespace": "shop", "resourceVersion": version, "uid": uid}}


async def test_a_cache_follows_and_lists_again_when_a_watch_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("playground.kube._RETRY_SECONDS", 0.0)
    server = Server(
        lists=[[item("a", "1"), item("b", "1")], [item("c", "9")]],
        watches=[
            [
                {"type": "MODIFIED", "object": item("a", "2")},
                {"type": "BOOKMARK", "object": item("", "3")},
                {"type": "DELETED", "object": item("b", "3")},
                {"type": "ADDED", "object": item("c", "4")},
                {"type": "ERROR", "object": {"message": "too old"}},
            ],
            [],
        ],
    )
    seen: list[tuple[str | None, str | None]] = []

    def changed(old: Obj | None, new: Obj | None) -> None:
        def told(obj: Obj | None) -> str | None:
            return None if obj is None else obj["metadata"]["name"] + obj["metadata"]["resourceVersion"]

        seen.append((told(old), told(new)))

    async with serving(server) as kube:
        cache = Cache(kube, "/things", changed)
        task = asyncio.create_task(cache.run())
        await asyncio.wait_for(server.exhausted.wait(), 10)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert seen == [
        (None, "a1"), (None, "b1"), ("a1", "a2"), ("b1", None), (None, "c4"),
        ("a2", None), ("c4", "c9"),
    ]  # fmt: skip
    assert list(cache.items) == [("shop", "c")]
    assert cache.synced.is_set()
    assert "resourceVersion=5" in server.asked[1]


async def test_a_collection_that_is_not_served_is_empty_until_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("playground.kube._ABSENT_SECONDS", 0.0)
    monkeypatch.setattr("playground.kube._RETRY_SECONDS", 0.0)
    served = Server(lists=[[item("a", "1")]], watches=[[]])
    synced: list[bool] = []

    class Late(Server):
        async def handle(self, request: http.Request) -> http.StreamResponse:
            self.asked.append(str(request.rel_url))
            if len(self.asked) < 3:
                return http.json_response({"message": "not served"}, status=404)
            synced.append(cache.synced.is_set())
            return await served.handle(request)

    async with serving(Late([], [])) as kube:
        cache = Cache(kube, "/things", optional=True)
        task = asyncio.create_task(cache.run())
        await asyncio.wait_for(served.exhausted.wait(), 10)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert synced[0]
    assert list(cache.items) == [("shop", "a")]


async def test_an_error_status_raises_with_its_text() -> None:
    async with serving(Server([], [])) as kube:
        with pytest.raises(KubeError, match=r"500: .*gone") as caught:
            await kube.request("GET", "/things")
    assert caught.value.code == 500


async def test_nodes_that_exist_are_renewed_not_created_twice() -> None:
    class Existing:
        def __init__(self) -> None:
            self.requests: list[tuple[str, str]] = []

        async def request(self, method: str, path: str, *_: Any, **__: Any) -> Obj:
            self.requests.append((method, path))
            if method == "POST":
                raise KubeError(409, "exists")
            return {}

    kube = Existing()
    await Nodes(kube, 2, 32, 128).register(1_760_000_000.0)  # type: ignore[arg-type]
    assert [path for method, path in kube.requests if method == "PATCH"].count("/api/v1/nodes/playground-1/status") == 1
    leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
    assert ("PATCH", f"{leases}/playground-0") in kube.requests
