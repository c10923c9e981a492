"""The proxy itself: TLS on loopback, every request passed on as it came, unless the plan says otherwise.

It runs in a thread with an event loop of its own, so that a synchronous test can start it, ask it what it did, and
stop it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web

from faultproxy import answers
from faultproxy.asked import Asked, asked_of
from faultproxy.plan import Fault, Plan, WatchFault, WatchLife
from faultproxy.sockets import Sockets

START_SECONDS = STOP_SECONDS = 20.0
LONGEST_SILENCE = 30.0  # every client of ours gives up earlier
LONGEST_LINE = 2**22
MOST_BODY = 2**26
# Of one connection, not of the message. Without Accept-Encoding every answer comes as it is.
HOP = {"host", "connection", "keep-alive", "transfer-encoding", "content-length", "accept-encoding", "upgrade", "te"}


class FaultProxy:
    """Stands between its clients and one API server; use it as a context manager.

    Args:
        server: the API server's address.
        ca_pem: certificates to trust there.
        certificate: certificate and key to show to clients, valid for 127.0.0.1.
        plan: what goes wrong.

    Attributes:
        injected: how often which fault met which kind of request.
        passed: how many requests of each kind went well.
    """

    def __init__(self, server: str, ca_pem: bytes, certificate: tuple[Path, Path], plan: Plan) -> None:
        self._server, self._plan = server, plan
        self._upstream_tls = ssl.create_default_context(cadata=ca_pem.decode("ascii"))
        self._own_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._own_tls.load_cert_chain(*certificate)
        self.injected: Counter[tuple[str, str]] = Counter()
        self.passed: Counter[str] = Counter()
        self._port = 0
        self._ready, self._failure = threading.Event(), ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="faultproxy", daemon=True)

    @property
    def address(self) -> str:
        """What clients use instead of the API server's address."""
        return f"https://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(START_SECONDS) or self._failure:
            raise RuntimeError(f"the proxy did not start: {self._failure or 'no answer'}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is not None and self._stop is not None:
            with contextlib.suppress(RuntimeError):  # it has failed, and its loop is closed
                self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(STOP_SECONDS)
        if kind is None and (self._failure or self._thread.is_alive()):
            raise RuntimeError(f"the proxy did not end: {self._failure or 'its thread goes on'}")

    def by_fault(self) -> dict[str, int]:
        """How often each fault was injected."""
        found: Counter[str] = Counter()
        for (_, fault), count in self.injected.items():
            found[fault] += count
        return dict(sorted(found.items()))

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:  # told to whoever waits for the start, or the end
            self._failure = repr(error)
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        sockets = Sockets()
        connector = aiohttp.TCPConnector(ssl=self._upstream_tls, limit=0, socket_factory=sockets.connecting)
        async with aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5.0),
            read_bufsize=LONGEST_LINE,
            auto_decompress=False,
        ) as self._session:
            runner = await self._listen(sockets)
            self._port = int(runner.addresses[0][1])
            self._ready.set()
            await self._stop.wait()
            for site in runner.sites:
                await site.stop()
            sockets.cut()  # so that no handler goes on
            await runner.cleanup()
            await connector.close(abort_ssl=True)
            await sockets.gone()

    async def _listen(self, sockets: Sockets) -> web.AppRunner:
        app = web.Application(client_max_size=MOST_BODY)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        await web.SockSite(runner, sockets.listening(), ssl_context=self._own_tls).start()
        return runner

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        asked = asked_of(request.method, request.path, request.query)
        try:
            if asked.verb == "watch":
                return await self._watch(request, asked)
            return await self._request(request, asked)
        except (aiohttp.ClientError, OSError):  # the API server is away, or the client has gone
            return answers.broken(502)

    async def _request(self, request: web.Request, asked: Asked) -> web.StreamResponse:
        body = await request.read()
        fault = self._plan.request(asked)
        self._count(asked, fault)
        match fault:
            case Fault.CONFLICT:
                return answers.conflict(asked)
            case Fault.THROTTLED:
                return answers.throttled()
            case Fault.BROKEN:
                return answers.broken(self._plan.error_code())
            case Fault.CUT_BEFORE:
                return _cut(request)
        answer = await self._forwarded(request, body)
        if fault is Fault.CUT_AFTER:
            return _cut(request)
        if fault is Fault.SILENT_AFTER:
            await _until_gone(request)
        return answer

    async def _forwarded(self, request: web.Request, body: bytes) -> web.Response:
        async with self._session.request(
            request.method, self._server + request.raw_path, headers=_kept(request.headers), data=body or None
        ) as answer:
            return web.Response(status=answer.status, headers=_kept(answer.headers), body=await answer.read())

    async def _watch(self, request: web.Request, asked: Asked) -> web.StreamResponse:
        life = self._plan.watch(asked)
        self._count(asked, life.fault)
        if life.fault is WatchFault.REFUSED:
            return answers.broken(self._plan.error_code())
        async with self._session.get(self._server + request.raw_path, headers=_kept(request.headers)) as upstream:
            if upstream.status != 200:
                body = await upstream.read()
                return web.Response(status=upstream.status, headers=_kept(upstream.headers), body=body)
            stream = web.StreamResponse(headers=_kept(upstream.headers))
            await stream.prepare(request)
            await _stream(upstream.content, stream, life)
        if life.fault is WatchFault.GONE:
            await stream.write(answers.gone_event())
        return _cut(request, stream) if life.fault is WatchFault.CUT else stream

    def _count(self, asked: Asked, fault: Fault | WatchFault | None) -> None:
        if fault is None:
            self.passed[str(asked)] += 1
        else:
            self.injected[str(asked), fault.value] += 1


async def _stream(source: aiohttp.StreamReader, to: web.StreamResponse, life: WatchLife) -> None:
    """Pass events on until the watch has lived."""
    before = b""
    left = life.events
    try:
        async with asyncio.timeout(life.seconds):
            async for line in source:
                repeated = before + line if life.fault is WatchFault.REPEATED else b""
                await to.write(line + repeated)
                before, left = line, left - 1
                if not left:
                    return
    except TimeoutError:
        return


def _cut(request: web.Request, begun: web.StreamResponse | None = None) -> web.StreamResponse:
    """The connection ends without a word."""
    if request.transport is not None:
        request.transport.abort()
    return begun or web.Response()


async def _until_gone(request: web.Request) -> None:
    """Wait until the client has given up."""
    deadline = asyncio.get_running_loop().time() + LONGEST_SILENCE
    while request.transport is not None and not request.transport.is_closing():
        if asyncio.get_running_loop().time() > deadline:
            return
        await asyncio.sleep(0.05)


def _kept(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers.items() if name.lower() not in HOP]
