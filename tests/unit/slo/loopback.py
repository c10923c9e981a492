"""A small Prometheus on loopback for fast tests: the API's shapes, and just as much PromQL as the adapter sends.

What it evaluates it does as Prometheus 3: ranges are left-open, an instant value is at most five minutes old, and
`increase` is extrapolated (here simply to the range). The same suite runs against the real one in `tests/cluster`.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs, urlsplit

import promql_parser as promql

LOOKBACK = 300.0


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
    hold: threading.Event | None = None  # answer only when this is set
    drip: threading.Event | None = None  # send the headers and one byte, the rest when this is set


@dataclass
class Loopback:
    """The server; `asked` are the forms of all queries so far, with their path and headers."""

    series: tuple[Stored, ...] = ()
    behaviour: Behaviour = field(default_factory=Behaviour)
    asked: list[dict[str, str]] = field(default_factory=list)
    url: str = ""

    def __enter__(self) -> Loopback:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(self, *_: object) -> None:
        for waiting in (self.behaviour.hold, self.behaviour.drip):
            if waiting is not None:
                waiting.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, path: str, form: Mapping[str, str]) -> dict[str, Any]:
        tree = promql.parse(form["query"])
        if path.endswith("query_range"):
            rows = self._ranged(tree, *(float(form[k]) for k in ("start", "end", "step")))
            return _data("matrix", [{"metric": dict(labels), "values": values} for labels, values in rows.items()])
        at = float(form["time"])
        if isinstance(tree, promql.MatrixSelector):
            return _data("matrix", [_row(s, points) for s, points in self._range(tree, at)])
        rows_now = [{"metric": dict(labels), "value": [at, repr(v)]} for labels, v in self._instant(tree, at)]
        return _data("vector", rows_now)

    def _ranged(self, tree: Any, start: float, end: float, step: float) -> dict[tuple[Any, ...], list[list[Any]]]:
        rows: dict[tuple[Any, ...], list[list[Any]]] = {}
        for number in range(int((end - start) / step + 1e-6) + 1):
            at = start + number * step
            for labels, value in self._instant(tree, at):
                rows.setdefault(labels, []).append([at, repr(value)])
        return rows

    def _range(self, tree: Any, at: float) -> Iterator[tuple[Stored, list[tuple[float, float]]]]:
        seconds = tree.range.total_seconds()
        for each in self._matching(tree.vector_selector):
            points = [p for p in each.points if at - seconds < p[0] <= at]
            if points:
                yield each, points

    def _instant(self, node: Any, at: float) -> list[tuple[tuple[tuple[str, str], ...], float]]:
        match node:
            case promql.VectorSelector():
                found = ((s, [p for p in s.points if at - LOOKBACK < p[0] <= at]) for s in self._matching(node))
                return [((("__name__", s.name), *s.labels), points[-1][1]) for s, points in found if points]
            case promql.Call() if node.func.name == "timestamp":
                found = ((s, [p for p in s.points if at - LOOKBACK < p[0] <= at]) for s in self._matching(node.args[0]))
                return [(s.labels, points[-1][0]) for s, points in found if points]
            case promql.Call() if node.func.name in {"rate", "increase"}:
                return self._increase(node.args[0], at, node.func.name == "rate")
            case promql.AggregateExpr():
                return _aggregated(str(node.op), node.modifier, self._instant(node.expr, at))
            case promql.ParenExpr():
                return self._instant(node.expr, at)
        raise NotImplementedByTheLoopback(str(node))

    def _increase(self, tree: Any, at: float, rate: bool) -> list[tuple[tuple[tuple[str, str], ...], float]]:
        seconds, rows = tree.range.total_seconds(), []
        for each, points in self._range(tree, at):
            if len(points) < 2:
                continue
            grown = sum(b[1] - a[1] if b[1] >= a[1] else b[1] for a, b in pairwise(points))
            scrape = (points[-1][0] - points[0][0]) / (len(points) - 1)
            grown *= min((points[-1][0] - points[0][0] + scrape), seconds) / (points[-1][0] - points[0][0])
            rows.append((each.labels, grown / seconds if rate else grown))
        return rows

    def _matching(self, selector: Any) -> Iterator[Stored]:
        for each in self.series:
            labels = {"__name__": each.name, **dict(each.labels)}
            if selector.name in (None, each.name) and all(
                _matches(m, labels.get(m.name, "")) for m in selector.matchers.matchers
            ):
                yield each


class NotImplementedByTheLoopback(Exception):
    """The adapter sends a form of query that this server does not know yet."""


def _matches(matcher: Any, value: str) -> bool:
    match matcher.op:
        case promql.MatchOp.Equal:
            return bool(value == matcher.value)
        case promql.MatchOp.NotEqual:
            return bool(value != matcher.value)
        case promql.MatchOp.Re:
            return re.fullmatch(matcher.value, value) is not None
        case _:
            return re.fullmatch(matcher.value, value) is None


def _aggregated(
    operation: str, modifier: Any, rows: Sequence[tuple[tuple[tuple[str, str], ...], float]]
) -> list[tuple[tuple[tuple[str, str], ...], float]]:
    by = list(modifier.labels) if modifier is not None else []
    groups: dict[tuple[tuple[str, str], ...], list[float]] = {}
    for labels, value in rows:
        groups.setdefault(tuple((k, v) for k, v in labels if k in by), []).append(value)
    functions = {"sum": sum, "count": len, "max": max, "min": min, "avg": lambda v: sum(v) / len(v)}
    return [(labels, float(functions[operation](values))) for labels, values in groups.items()]  # type: ignore[operator]


def _row(each: Stored, points: Sequence[tuple[float, float]]) -> dict[str, Any]:
    return {"metric": {"__name__": each.name, **dict(each.labels)}, "values": [[t, repr(v)] for t, v in points]}


def _data(kind: str, result: list[Any]) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": kind, "result": result}}


def _handler(store: Loopback) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            form = {k: v[0] for k, v in parse_qs(text, keep_blank_values=True).items()}
            path = urlsplit(self.path)
            seen = {"path": path.path, "address": path.query, "authorization": self.headers.get("Authorization", "")}
            store.asked.append({**form, **seen})
            behaviour = store.behaviour
            if behaviour.hold is not None:
                behaviour.hold.wait(30)
            body = behaviour.body
            if body is None:
                answer = store.answer(path.path, form)
                body = json.dumps(answer | ({"warnings": behaviour.warnings} if behaviour.warnings else {})).encode()
            try:
                self._send(behaviour, body)
            except OSError:
                self.close_connection = True  # the client gave up, as some tests want

        def _send(self, behaviour: Behaviour, body: bytes) -> None:
            self.send_response(behaviour.status)
            self.send_header("Content-Length", str(len(body)))
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
