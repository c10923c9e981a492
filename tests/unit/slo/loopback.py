"""A small Prometheus on loopback for fast tests: the API's shapes around the simulator's evaluator of PromQL.

The same suite runs against the real one in `tests/cluster`.
"""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from trimtab.simulate.promql import Selector, instant, matrix
from trimtab.simulate.tracks import Track


@dataclass(frozen=True)
class Stored:
    """One series: name, labels, and (unix seconds, value) samples."""

    name: str
    labels: tuple[tuple[str, str], ...]
    points: tuple[tuple[float, float], ...]


@dataclass
class Behaviour:
    """What the server does with the next requests."""

    status: int = 200
    body: bytes | None = None  # instead of an answer
    warnings: tuple[str, ...] = ()
    partial: bool = False  # as VictoriaMetrics marks an answer
    headers: tuple[tuple[str, str], ...] = ()  # added to the answer
    admits: Callable[[Mapping[str, str]], bool] = lambda _: True  # by the request's headers; else 401
    hold: threading.Event | None = None  # answer only when this is set
    drip: threading.Event | None = None  # send the headers and one byte, the rest when this is set


@dataclass
class Loopback:
    """The server; `asked` are the forms of all queries so far with their path, `headers` their headers in lower case.
    With a context it speaks TLS."""

    series: tuple[Stored, ...] = ()
    behaviour: Behaviour = field(default_factory=Behaviour)
    asked: list[dict[str, str]] = field(default_factory=list)
    url: str = ""
    tls: ssl.SSLContext | None = None
    headers: list[dict[str, str]] = field(default_factory=list)

    def __enter__(self) -> Loopback:
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._server.tls = self.tls
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.url = f"http{'s' if self.tls is not None else ''}://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(self, *_: object) -> None:
        for waiting in (self.behaviour.hold, self.behaviour.drip):
            if waiting is not None:
                waiting.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, path: str, form: Mapping[str, str]) -> dict[str, Any]:
        source, query = StoredSource(self.series), form["query"]
        if path.endswith("query_range"):
            rows = _ranged(source, query, *(float(form[k]) for k in ("start", "end", "step")))
            return _data("matrix", [{"metric": dict(labels), "values": values} for labels, values in rows.items()])
        at = float(form["time"])
        samples = matrix(source, query, at)
        if samples is not None:
            return _data("matrix", [_row(labels, points) for labels, points in samples])
        found = instant(source, query, at)
        return _data("vector", [{"metric": dict(labels), "value": [at, repr(v)]} for labels, v in found])


class _Server(ThreadingHTTPServer):
    """A thread for each connection, over TLS with a context."""

    daemon_threads = True
    tls: ssl.SSLContext | None = None

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self.tls is None:
            super().finish_request(request, client_address)
            return
        with contextlib.suppress(OSError), self.tls.wrap_socket(request, server_side=True) as secured:
            super().finish_request(secured, client_address)


class StoredSource:
    """Prepared series as the simulator's evaluator reads them."""

    def __init__(self, series: Iterable[Stored]) -> None:
        self._tracks = [_track(each) for each in series]

    def matching(self, selector: Selector) -> Iterator[Track]:
        return (t for t in self._tracks if selector.matches(t.labels))


def _track(stored: Stored) -> Track:
    track = Track(tuple(sorted({"__name__": stored.name, **dict(stored.labels)}.items())), [], [])
    for time, value in stored.points:
        track.times.append(time)
        track.extend([value], [time])
    return track


def _ranged(
    source: StoredSource, query: str, start: float, end: float, step: float
) -> dict[tuple[tuple[str, str], ...], list[list[Any]]]:
    rows: dict[tuple[tuple[str, str], ...], list[list[Any]]] = {}
    for number in range(int((end - start) / step + 1e-6) + 1):
        at = start + number * step
        for labels, value in instant(source, query, at):
            rows.setdefault(labels, []).append([at, repr(value)])
    return rows


def _row(labels: tuple[tuple[str, str], ...], points: Sequence[tuple[float, float]]) -> dict[str, Any]:
    return {"metric": dict(labels), "values": [[t, repr(v)] for t, v in points]}


def _data(kind: str, result: list[Any]) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": kind, "result": result}}


def _handler(store: Loopback) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # else each body waits 40 ms for the headers to be acknowledged

        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            form = {k: v[0] for k, v in parse_qs(text, keep_blank_values=True).items()}
            path = urlsplit(self.path)
            seen = {"path": path.path, "address": path.query, "authorization": self.headers.get("Authorization", "")}
            headers = {k.lower(): v for k, v in self.headers.items()}
            store.asked.append({**form, **seen})
            store.headers.append(headers)
            behaviour = store.behaviour
            if not behaviour.admits(headers):
                behaviour = Behaviour(401, f"who is {headers.get('authorization', 'nobody')}?".encode())
            if behaviour.hold is not None:
                behaviour.hold.wait(30)
            body = behaviour.body
            if body is None:
                answer = store.answer(path.path, form)
                answer |= {"warnings": behaviour.warnings} if behaviour.warnings else {}
                body = json.dumps(answer | ({"isPartial": True} if behaviour.partial else {})).encode()
            try:
                self._send(behaviour, body)
            except OSError:
                self.close_connection = True  # the client gave up, as some tests want

        def _send(self, behaviour: Behaviour, body: bytes) -> None:
            self.send_response(behaviour.status)
            self.send_header("Content-Length", str(len(body)))
            for name, value in behaviour.headers:
                self.send_header(name, value)
            self.end_headers()
            if behaviour.drip is not None:
                self.wfile.write(body[:1])
                self.wfile.flush()
                behaviour.drip.wait(30)
                body = body[1:]
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    return Handler
