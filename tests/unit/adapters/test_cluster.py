"""The real adapter's edges, which a healthy API server never shows: a scripted server on loopback answers instead."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from trimtab.adapters.cluster import KubernetesCluster, api_error
from trimtab.adapters.connection import ConnectionProblem, connect
from trimtab.domain import kinds
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

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def status(code: int, reason: str, message: str, **more: Any) -> web.Response:
    """A refusal in the API server's form."""
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message} | more
    return web.json_response(body | {"code": code}, status=code)


class Script:
    """A server that answers as the test says, a client of it, and what was asked."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.answers: list[Answer] = []
        self.requests: list[tuple[str, str, str, Any]] = []
        self.counted: list[tuple[str, str]] = []
        self.now = 0.0

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._handle)
        self.runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        (self.directory / "token").write_text("first\n")
        self.kubeconfig = write_kubeconfig(self.directory, f"http://127.0.0.1:{self.runner.addresses[0][1]}")
        self.connection = await connect(str(self.kubeconfig), lambda: self.now)
        self.cluster = self.client(30.0)  # a busy machine may take its time, unless that is what a test is about

    def client(self, timeout: float) -> KubernetesCluster:
        """One that waits so many seconds for an answer."""
        return KubernetesCluster(
            self.connection, timeout=timeout, on_request=lambda verb, code: self.counted.append((verb, code))
        )

    async def close(self) -> None:
        await self.cluster.close()
        await self.runner.cleanup()

    def answer(self, *answers: web.Response | Answer) -> None:
        for each in answers:
            self.answers.append(each if callable(each) else _always(each))

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        authorization = request.headers.get("Authorization", "")
        self.requests.append((request.method, request.path_qs, authorization, json.loads(text) if text else None))
        return await self.answers.pop(0)(request)


def _always(response: web.Response) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return response

    return answer


def write_kubeconfig(directory: Path, server: str, **user: Any) -> Path:
    """A kubeconfig with one context, whose token is in a file beside it."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": user or {"tokenFile": "token"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path = directory / "kubeconfig"
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
async def script(tmp_path: Path) -> AsyncIterator[Script]:
    made = Script(tmp_path)
    await made.start()
    yield made
    await made.close()


POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "resourceVersion": "7"}}
NO_RIGHT = 'pods is forbidden: User "system:serviceaccount:x:y" cannot list resource "pods" in API group ""'


class TestErrors:
    @pytest.mark.parametrize(
        ("method", "code", "reason", "message", "expected"),
        [
            ("GET", 400, "BadRequest", "no", Rejected),
            ("GET", 403, "Forbidden", NO_RIGHT, Forbidden),
            ("GET", 403, "Forbidden", 'forbidden: User "system:anonymous" cannot get path "/x"', Forbidden),
            ("POST", 403, "Forbidden", 'pods "a" is forbidden: exceeded quota: q, requested: pods=1', Rejected),
            ("POST", 403, "Forbidden", 'pods "a" is forbidden: [maximum cpu usage per Container is 1]', Rejected),
            ("POST", 403, "Forbidden", 'pods "a" is forbidden: violates PodSecurity "restricted:latest"', Rejected),
            ("POST", 403, "", 'admission webhook "w" denied the request: because', Rejected),
            ("POST", 403, "Forbidden", "unable to create new content in namespace x because it is being", Rejected),
            ("GET", 404, "NotFound", 'pods "a" not found', NotFound),
            ("GET", 405, "MethodNotAllowed", "no", Rejected),
            ("POST", 409, "AlreadyExists", 'pods "a" already exists', AlreadyExists),
            ("POST", 409, "Conflict", "Operation cannot be fulfilled on resourcequotas", Conflict),
            ("PUT", 409, "Conflict", "Operation cannot be fulfilled", Conflict),
            ("DELETE", 409, "Conflict", "Precondition failed: UID in precondition", Conflict),
            ("PUT", 413, "RequestEntityTooLarge", "no", Rejected),
            ("PUT", 422, "Invalid", "spec.x: Invalid value", Rejected),
            ("GET", 500, "InternalError", 'failed calling webhook "w"', Unavailable),
            ("GET", 503, "ServiceUnavailable", "no", Unavailable),
            ("GET", 504, "Timeout", "no", Unavailable),
            ("GET", 418, "", "short and stout", ApiError),
        ],
    )
    def test_each_status_says_what_to_do(
        self, method: str, code: int, reason: str, message: str, expected: type[ApiError]
    ) -> None:
        answer = {"kind": "Status", "reason": reason, "message": message}
        error = api_error(method, code, answer, b"", {})
        assert type(error) is expected
        assert (error.status, error.message) == (code, message)

    @pytest.mark.parametrize(
        ("header", "details", "after"),
        [
            ("7", {}, 7.0),
            ("", {"retryAfterSeconds": 3}, 3.0),
            ("", {}, 1.0),
            ("0", {}, 0.1),
            ("86400", {}, 300.0),
            ("Wed, 21 Oct 2026 07:28:00 GMT", {}, 1.0),
        ],
    )
    def test_a_throttled_request_says_when_to_ask_again(
        self, header: str, details: dict[str, Any], after: float
    ) -> None:
        answer = {"kind": "Status", "message": "slow down", "details": details}
        error = api_error("GET", 429, answer, b"", {"Retry-After": header} if header else {})
        assert isinstance(error, Throttled)
        assert error.after == after

    async def test_a_403_that_is_not_the_api_servers_is_a_missing_right(self, script: Script) -> None:
        script.answer(web.Response(status=403, text="<html>proxy says no</html>"))
        with pytest.raises(Forbidden, match="proxy says no"):
            await script.cluster.get(kinds.PODS, "x", "a")

    @pytest.mark.parametrize("text", ["", "<html>", "[1]", '{"items": '])
    async def test_a_success_that_is_no_object_is_no_success(self, script: Script, text: str) -> None:
        script.answer(web.Response(status=200, text=text))
        with pytest.raises(Unavailable):
            await script.cluster.get(kinds.PODS, "x", "a")


class TestRequests:
    async def test_paths_and_queries(self, script: Script) -> None:
        script.answer(*(web.json_response(POD) for _ in range(7)))
        cluster = script.cluster
        await cluster.get(kinds.PODS, "shop", "a/../b")
        await cluster.get(kinds.NAMESPACES, None, "shop")
        await cluster.list(kinds.TRIALS, "shop", labels="a in (b,c)")
        await cluster.create(kinds.PODS, "shop", POD, dry_run=True)
        await cluster.replace(kinds.TRIALS, "shop", "a", POD, subresource="status")
        await cluster.create_subresource(kinds.PODS, "shop", "a", "eviction", POD)
        await cluster.delete(kinds.PODS, "shop", "a", uid="u", grace_seconds=0)
        trials = "/apis/trimtab.dev/v1alpha1/namespaces/shop/trials"
        assert [(method, path) for method, path, _, _ in script.requests] == [
            ("GET", "/api/v1/namespaces/shop/pods/a%2F..%2Fb"),
            ("GET", "/api/v1/namespaces/shop"),
            ("GET", f"{trials}?limit=500&labelSelector=a+in+(b,c)"),
            ("POST", "/api/v1/namespaces/shop/pods?dryRun=All"),
            ("PUT", f"{trials}/a/status"),
            ("POST", "/api/v1/namespaces/shop/pods/a/eviction"),
            ("DELETE", "/api/v1/namespaces/shop/pods/a"),
        ]
        assert script.requests[-1][3] == {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": "u"},
            "gracePeriodSeconds": 0,
        }
        assert [verb for verb, _ in script.counted] == ["get", "get", "list", "create", "update", "create", "delete"]

    async def test_a_list_whose_start_was_forgotten_is_started_again(self, script: Script) -> None:
        def page(name: str, token: str = "") -> web.Response:
            return web.json_response({"metadata": {"continue": token}, "items": [{"metadata": {"name": name}}]})

        script.answer(page("a", "t1"), status(410, "Expired", "too old"), page("a", "t2"), page("b"))
        listed = await script.cluster.list(kinds.PODS, "shop")
        assert [each["metadata"]["name"] for each in listed] == ["a", "b"]
        assert listed[0]["kind"] == "Pod"
        assert "continue=t2" in script.requests[-1][1]

    async def test_it_gives_up_on_a_server_that_always_forgets(self, script: Script) -> None:
        script.answer(*(status(410, "Expired", "too old") for _ in range(3)))
        with pytest.raises(ApiError) as caught:
            await script.cluster.list(kinds.PODS, "shop")
        assert caught.value.status == 410

    async def test_a_body_that_never_ends_is_bounded_too(self, script: Script) -> None:
        async def drip(request: web.Request) -> web.StreamResponse:
            answer = web.StreamResponse()
            await answer.prepare(request)
            await answer.write(b'{"items": [')
            await asyncio.Event().wait()
            return answer

        script.answer(drip)
        hasty = script.client(0.2)
        with pytest.raises(Unavailable, match=r"no answer within 0\.2 s"):
            await hasty.get(kinds.PODS, "x", "a")
        await hasty.close()
        assert script.counted == [("get", "0")]

    async def test_a_connection_cut_in_the_answer_is_unavailable(self, script: Script) -> None:
        async def cut(request: web.Request) -> web.StreamResponse:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()

        script.answer(cut)
        with pytest.raises(Unavailable):
            await script.cluster.replace(kinds.PODS, "x", "a", POD)

    async def test_nothing_is_retried_behind_the_callers_back(self, script: Script) -> None:
        script.answer(status(503, "ServiceUnavailable", "no"))
        with pytest.raises(Unavailable):
            await script.cluster.replace(kinds.PODS, "x", "a", POD)
        assert len(script.requests) == 1


async def test_no_request_goes_out_without_a_name(script: Script) -> None:
    for request in (
        script.cluster.get(kinds.PODS, "x", ""),
        script.cluster.replace(kinds.PODS, "x", "", POD),
        script.cluster.delete(kinds.PODS, "x", ""),
        script.cluster.create_subresource(kinds.PODS, "x", "", "eviction", {}),
    ):
        with pytest.raises(Rejected, match="the name of a Pod may not be empty"):
            await request
    assert script.requests == []


class TestCredentials:
    async def test_the_token_file_is_read_again_each_minute(self, script: Script) -> None:
        script.answer(*(web.json_response(POD) for _ in range(3)))
        await script.cluster.get(kinds.PODS, "x", "a")
        (script.directory / "token").write_text("second")
        script.now = 59.0
        await script.cluster.get(kinds.PODS, "x", "a")
        script.now = 60.0
        await script.cluster.get(kinds.PODS, "x", "a")
        assert [sent for _, _, sent, _ in script.requests] == ["Bearer first", "Bearer first", "Bearer second"]

    async def test_a_401_reads_it_at_once_and_asks_once_more(self, script: Script) -> None:
        script.answer(status(401, "Unauthorized", "Unauthorized"), web.json_response(POD))
        (script.directory / "token").write_text("second")
        await script.cluster.get(kinds.PODS, "x", "a")
        assert [sent for _, _, sent, _ in script.requests] == ["Bearer first", "Bearer second"]

    async def test_a_401_with_the_same_token_is_final(self, script: Script) -> None:
        script.answer(status(401, "Unauthorized", "Unauthorized"))
        with pytest.raises(Unauthorized, match="does not accept our credentials"):
            await script.cluster.get(kinds.PODS, "x", "a")
        assert len(script.requests) == 1

    async def test_of_many_that_are_refused_at_once_each_asks_again(self, script: Script) -> None:
        """The token was replaced in the server while they were on their way."""
        count, together = 5, asyncio.Event()

        async def refuse(_: web.Request) -> web.StreamResponse:
            if len(script.requests) == count:
                together.set()
            await together.wait()
            return status(401, "Unauthorized", "Unauthorized")

        script.answer(*[refuse] * count, *(web.json_response(POD) for _ in range(count)))
        (script.directory / "token").write_text("second")
        found = await asyncio.gather(*(script.cluster.get(kinds.PODS, "x", "a") for _ in range(count)))
        assert found == [POD] * count
        assert [sent for _, _, sent, _ in script.requests] == ["Bearer first"] * count + ["Bearer second"] * count

    async def test_a_token_file_that_is_just_being_replaced_keeps_the_old_token(self, script: Script) -> None:
        script.answer(web.json_response(POD))
        (script.directory / "token").unlink()
        script.now = 120.0
        await script.cluster.get(kinds.PODS, "x", "a")
        assert script.requests[0][2] == "Bearer first"

    async def test_a_static_token_is_read_again_from_the_kubeconfig_after_a_401(self, script: Script) -> None:
        server = script.connection.server
        write_kubeconfig(script.directory, server, token="old")
        connection = await connect(str(script.kubeconfig), lambda: 0.0)
        cluster = KubernetesCluster(connection)
        write_kubeconfig(script.directory, server, token="new")
        script.answer(status(401, "Unauthorized", "Unauthorized"), web.json_response(POD))
        await cluster.get(kinds.PODS, "x", "a")
        assert [sent for _, _, sent, _ in script.requests] == ["Bearer old", "Bearer new"]
        await cluster.close()


class TestConnect:
    async def test_without_a_pod_a_path_must_be_given(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(tmp_path, "http://127.0.0.1:1", token="t")))
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        with pytest.raises(ConnectionProblem, match="set TRIMTAB_KUBECONFIG to the path of a kubeconfig"):
            await connect(None, lambda: 0.0)

    @pytest.mark.parametrize("content", ["", "[", "{}", "a: 1", '{"current-context": "x", "contexts": []}', "\x00"])
    async def test_an_unreadable_kubeconfig_is_one_line(self, tmp_path: Path, content: str) -> None:
        path = tmp_path / "kubeconfig"
        path.write_text(content)
        with pytest.raises(ConnectionProblem) as caught:
            await connect(str(path), lambda: 0.0)
        assert str(caught.value).startswith(f"kubeconfig {path} cannot be read (")
        assert "\n" not in str(caught.value)

    async def test_a_missing_kubeconfig_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ConnectionProblem, match="cannot be read"):
            await connect(str(tmp_path / "nothing"), lambda: 0.0)

    async def test_a_missing_token_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ConnectionProblem, match="token"):
            await connect(str(write_kubeconfig(tmp_path, "http://127.0.0.1:1")), lambda: 0.0)
