"""The proxy leaves nothing behind: neither sockets nor transports, whatever was under way when it was left."""

from __future__ import annotations

import gc
import http.client
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from faultproxy import Asked, Fault, FaultProxy, Plan, WatchFault
from faultproxy.plan import WatchLife

SECONDS = 20.0
THINGS = "/api/v1/namespaces/shop/things"
WATCH = f"{THINGS}?watch=1"
EVENT = b'{"type":"ADDED"}\n'
UNDISTURBED = WatchLife(None, 100, SECONDS)
Start = Callable[[Plan], FaultProxy]


class Server(ThreadingHTTPServer):
    """Answers each request, and sends one event to each watch: then it neither writes nor reads there."""

    def __init__(self, certificate: tuple[Path, Path]) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.over, self.posted = threading.Event(), threading.Semaphore(0)


class Answering(BaseHTTPRequestHandler):
    """What the server does."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        if "watch=1" not in self.path:
            self._answer()
            return
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(f"{len(EVENT):x}\r\n".encode() + EVENT + b"\r\n")
        self.server.over.wait(SECONDS)
        self.close_connection = True

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer()
        self.server.posted.release()

    def _answer(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Always(Plan):
    """One fault for every write, one life for every watch."""

    def __init__(self, fault: Fault | None = None, life: WatchLife = UNDISTURBED) -> None:
        super().__init__(1)
        self.fault, self.life = fault, life

    def request(self, asked: Asked) -> Fault | None:
        return self.fault if asked.writes else None

    def watch(self, asked: Asked) -> WatchLife:
        assert asked.verb == "watch"
        return self.life


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Of the server, and of the proxy; the first file has their authority's, too."""
    folder = tmp_path_factory.mktemp("certificate")
    chain, key = folder / "tls.crt", folder / "tls.key"
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    for pem in (*issued.cert_chain_pems, authority.cert_pem):
        pem.write_to_path(chain, append=True)
    issued.private_key_pem.write_to_path(key)
    return chain, key


@pytest.fixture
def server(certificate: tuple[Path, Path]) -> Iterator[Server]:
    """It runs, in threads of its own."""
    with Server(certificate) as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        found.over.set()
        found.shutdown()
        thread.join()


@pytest.fixture
def start(server: Server, certificate: tuple[Path, Path]) -> Start:
    """Makes a proxy before the server."""
    address = f"https://127.0.0.1:{server.server_port}"
    return lambda plan: FaultProxy(address, certificate[0].read_bytes(), certificate, plan)


@pytest.fixture(autouse=True)
def told() -> Iterator[list[warnings.WarningMessage]]:
    """Nothing is left to the garbage collector that should have been closed."""
    gc.freeze()  # what others left is not looked at: neither told here, nor a tenth of a second each time
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        yield found
        gc.collect()
    gc.unfreeze()
    assert [str(each.message) for each in found] == []


def connected(proxy: FaultProxy, certificate: tuple[Path, Path]) -> http.client.HTTPSConnection:
    """A client's connection."""
    context = ssl.create_default_context(cafile=str(certificate[0]))
    return http.client.HTTPSConnection(proxy.address.removeprefix("https://"), context=context, timeout=SECONDS)


def watching(connection: http.client.HTTPSConnection) -> http.client.HTTPResponse:
    """Its first event has come."""
    connection.request("GET", WATCH)
    answer = connection.getresponse()
    assert answer.readline() == EVENT
    return answer


def test_open_watches_end_with_the_proxy(start: Start, certificate: tuple[Path, Path]) -> None:
    with ExitStack() as clients:
        with start(Always()) as proxy:
            for _ in range(5):
                clients.enter_context(closing(watching(clients.enter_context(closing(connected(proxy, certificate))))))
            idle = clients.enter_context(closing(connected(proxy, certificate)))
            idle.request("GET", THINGS)
            assert idle.getresponse().read() == b"{}"
        assert proxy.passed == {"watch things": 5, "list things": 1}


@pytest.mark.parametrize("fault", [WatchFault.CUT, WatchFault.CLOSED])
def test_a_watch_that_was_ended_has_no_connection_left(
    start: Start, certificate: tuple[Path, Path], fault: WatchFault
) -> None:
    with start(Always(life=WatchLife(fault, 1, SECONDS))) as proxy:
        for _ in range(3):
            with closing(connected(proxy, certificate)) as connection, closing(watching(connection)) as answer:
                if fault is WatchFault.CUT:
                    with pytest.raises((http.client.HTTPException, OSError)):
                        answer.read()
                else:
                    assert answer.read() == b""
    assert proxy.injected == {("watch things", fault.value): 3}


@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.CUT_AFTER])
def test_a_cut_request_has_no_connection_left(start: Start, certificate: tuple[Path, Path], fault: Fault) -> None:
    with start(Always(fault)) as proxy:
        for _ in range(3):
            with closing(connected(proxy, certificate)) as connection:
                connection.request("POST", THINGS, body=b"{}")
                with pytest.raises((http.client.HTTPException, OSError)):
                    connection.getresponse()
    assert proxy.injected == {("create things", fault.value): 3}


def test_a_request_without_an_answer_ends_with_the_proxy(
    start: Start, server: Server, certificate: tuple[Path, Path]
) -> None:
    with ThreadPoolExecutor(1) as pool, ExitStack() as client:
        with start(Always(Fault.SILENT_AFTER)) as proxy:
            connection = client.enter_context(closing(connected(proxy, certificate)))
            connection.request("POST", THINGS, body=b"{}")
            waiting = pool.submit(connection.getresponse)
            assert server.posted.acquire(timeout=SECONDS)
        with pytest.raises((http.client.HTTPException, OSError)):
            waiting.result(SECONDS)
