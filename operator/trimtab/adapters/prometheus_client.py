"""Queries to a metrics store in a bounded thread pool: time-outs, typed failures, no partial answer taken for a whole.

`prometheus-api-client` is synchronous, drops the response's `warnings`, puts a POST's query into the address, rounds
the ends of a range to whole seconds and reads bodies of any size for any time. The session and the parameters given to
it here mend each of these. Whatever goes wrong is a `QueryFailed`: a malformed answer must not end the safety loop.
Redirects are not followed: they would carry credentials to an address that nobody allowed.
"""

from __future__ import annotations

import asyncio
import io
import json
import math
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, TypeVar

import requests
import urllib3
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from urllib3.util.retry import Retry

from trimtab.adapters.series_store import QueryFailed, QueryRefused, StoreSilent, StoreUnavailable
from trimtab.adapters.store_config import StoreConfig
from trimtab.adapters.store_credentials import Credentials, Tls
from trimtab.adapters.store_dialect import Params, dialect_of, incomplete
from trimtab.slo.series import Buckets, Series

T = TypeVar("T")
MAX_SERIES = 20_000
DENIED = frozenset({401, 403})
TOO_MANY_REQUESTS, SERVER_ERROR = 429, 500
REFUSED = (400, 422)
MAX_BYTES = 64 * 2**20
MAX_PENDING = 128
CHUNK = 2**16


class _Denied(QueryFailed):
    """401 or 403: with a secret that was replaced meanwhile the same query may be answered."""


class PrometheusClient:
    """One pool of threads, each with its own session. Close it when done.

    Args:
        store: its address (without `/api/v1`), kind, and the files of its credentials.
        threads: queries under way at once.
        pending: queries that may wait or be under way; more are refused, so that a stuck store cannot pile them up.
    """

    def __init__(self, store: StoreConfig, *, threads: int = 4, pending: int = MAX_PENDING) -> None:
        self._url = store.url.rstrip("/")
        self._credentials, self._dialect = Credentials(store), dialect_of(store)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="prometheus")
        self._local = threading.local()
        self._lock = threading.Lock()
        self._sessions: list[_Session] = []
        self._free = pending
        self._closed = False

    def close(self, *, wait: bool = False) -> None:
        """Give up queued queries; running ones end with their time-out, which `wait` blocks for."""
        self._closed = True
        self._pool.shutdown(wait=wait, cancel_futures=True)
        with self._lock:
            for session in self._sessions:
                session.close()

    async def matrix(self, expression: str, at: float, timeout: float) -> tuple[Series, ...]:
        """An instant query that yields a range vector (`metric[10s]`): raw samples.

        Raises:
            QueryFailed: no complete answer within `timeout` seconds.
        """
        return await self._instant(expression, at, timeout, _matrix)

    async def vector(self, expression: str, at: float, timeout: float) -> tuple[Series, ...]:
        """An instant query that yields an instant vector: one sample per series. A scalar is one series without labels.

        Raises:
            QueryFailed: no complete answer within `timeout` seconds.
        """
        return await self._instant(expression, at, timeout, _vector)

    async def range(self, expression: str, start: float, end: float, step: float, timeout: float) -> tuple[Series, ...]:
        """A range query, evaluated at start, start + step, ... up to end.

        Raises:
            QueryFailed: no complete answer within `timeout` seconds.
        """
        exact = {"start": f"{start:.3f}", "end": f"{end:.3f}"}  # the library would round both to whole seconds

        def ask(client: PrometheusConnect, bounds: Params, seconds: float) -> Any:
            begin, finish = (datetime.fromtimestamp(t, UTC) for t in (start, end))
            params = {**exact, **bounds}
            return client.custom_query_range(expression, begin, finish, f"{step:.3f}", params=params, timeout=seconds)

        return await self._run(ask, _numbers, timeout)

    async def _instant(
        self, expression: str, at: float, timeout: float, parse: Callable[[Any], tuple[Series, ...]]
    ) -> tuple[Series, ...]:
        def ask(client: PrometheusConnect, bounds: Params, seconds: float) -> Any:
            return client.custom_query(expression, params={"time": f"{at:.3f}", **bounds}, timeout=seconds)

        return await self._run(ask, parse, timeout)

    async def _run(
        self, ask: Callable[[PrometheusConnect, Params, float], Any], parse: Callable[[Any], T], timeout: float
    ) -> T:
        if self._closed:
            raise QueryFailed("the client is closed")
        if self._free <= 0:
            raise StoreUnavailable("too many queries are waiting for an answer already")
        deadline = time.monotonic() + timeout
        self._free -= 1
        work = asyncio.get_running_loop().run_in_executor(self._pool, self._work, ask, parse, deadline)
        work.add_done_callback(self._done)
        try:
            async with asyncio.timeout(timeout):
                return await work
        except (TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError):
            raise StoreSilent(f"no answer within {timeout:g} s") from None
        except requests.JSONDecodeError:
            raise QueryFailed("the answer is not JSON") from None
        except (OSError, urllib3.exceptions.HTTPError) as error:  # also what requests raises
            raise StoreUnavailable(f"not reachable: {type(error).__name__}") from None
        except PrometheusApiClientException as error:
            raise QueryFailed(_one_line(str(error))) from None
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise QueryFailed(f"malformed answer: {type(error).__name__}") from None

    def _done(self, work: asyncio.Future[Any]) -> None:
        self._free += 1
        if not work.cancelled():
            work.exception()  # seen: nobody waits any more when the time-out came first

    def _work(
        self, ask: Callable[[PrometheusConnect, Params, float], Any], parse: Callable[[Any], T], deadline: float
    ) -> T:
        """In a thread: ask, read and parse within what is left of the time."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise requests.Timeout
        # The server gives up with us, and reports with a warning when it had to leave series out.
        bounds = {"timeout": f"{math.ceil(1000 * left)}ms", "limit": str(MAX_SERIES), **self._dialect.added()}
        try:
            found = parse(ask(self._client(deadline), bounds, left))
        except _Denied:
            if not self._renewed():
                raise
            found = parse(ask(self._client(deadline), bounds, max(deadline - time.monotonic(), 0.001)))
        if isinstance(found, tuple) and len(found) > MAX_SERIES:
            raise QueryFailed(f"{len(found)} series are more than {MAX_SERIES}; narrow the query")
        return found

    def _client(self, deadline: float) -> PrometheusConnect:
        """This thread's client with the credentials of now; a new session where a file of TLS was replaced."""
        tls: Tls = self._credentials.tls()
        client: PrometheusConnect | None = getattr(self._local, "client", None)
        if client is None or self._local.tls != tls:
            session = _Session(tls, self._credentials.hide)
            with self._lock:
                if client is not None:
                    self._sessions.remove(client._session)
                    client._session.close()
                self._sessions.append(session)
            client = PrometheusConnect(self._url, session=session, retry=Retry(total=0), method="POST")
            self._local.client, self._local.tls = client, tls
        client.headers = self._credentials.headers() | dict(self._dialect.headers)
        client._session.deadline = deadline
        return client

    def _renewed(self) -> bool:
        """Read every secret again after a 401 or 403: does this thread's query now carry others?"""
        sent: dict[str, str] = self._local.client.headers
        fresh = self._credentials.headers(again=True) | dict(self._dialect.headers)
        return fresh != sent or self._credentials.tls() != self._local.tls


class _Session(requests.Session):
    """Sends a query in the body, and reads an answer within its deadline (monotonic seconds) and size."""

    def __init__(self, tls: Tls, hide: Callable[[str], str]) -> None:
        super().__init__()
        self.trust_env = False
        self.verify, self.cert = tls.verify, tls.cert
        self._hide = hide
        self.deadline = math.inf
        self.hooks["response"].append(self._receive)

    def request(self, method: Any, url: Any, **kwargs: Any) -> requests.Response:  # type: ignore[override]
        if method == "POST":
            kwargs["data"] = kwargs.pop("params", None)
        return super().request(method, url, **{**kwargs, "stream": True, "allow_redirects": False})

    def _receive(self, response: requests.Response, *_: Any, **__: Any) -> None:
        """Read the body; refuse what is an error or incomplete."""
        body = bytearray()
        while chunk := response.raw.read1(CHUNK, decode_content=True):
            body += chunk
            if len(body) > MAX_BYTES:
                response.close()
                raise QueryFailed(f"the answer is larger than {MAX_BYTES // 2**20} MiB; narrow the query")
            if time.monotonic() > self.deadline:
                response.close()
                raise requests.Timeout
        response.raw.release_conn()
        response.raw = io.BytesIO(body)
        if response.status_code != 200:
            raise self._refusal(response)
        if b'"warnings"' in body or b'"isPartial"' in body:
            answer = response.json()
            problem = incomplete(answer) if isinstance(answer, Mapping) else ""
            if problem:
                raise QueryFailed(_one_line(self._hide(problem)))

    def _refusal(self, response: requests.Response) -> QueryFailed:
        status = response.status_code
        words = _one_line(self._hide(f"HTTP {status}: {_words(response)}"))
        if status in DENIED:
            return _Denied(words)
        if 300 <= status < 400:
            return QueryFailed(
                f"HTTP {status}: the store sends elsewhere, which is not followed; configure that address"
            )
        if status in REFUSED:
            return QueryRefused(words)
        return StoreUnavailable(words) if status == TOO_MANY_REQUESTS or status >= SERVER_ERROR else QueryFailed(words)


def _words(response: requests.Response) -> str:
    """Prometheus' own words for an error, or the beginning of whatever was sent instead."""
    try:
        return str(json.loads(response.content)["error"])
    except (ValueError, LookupError, TypeError):
        return response.content[:200].decode(errors="replace")


def _matrix(rows: Any) -> tuple[Series, ...]:
    return tuple(_series(row, row["values"] if "histograms" not in row else ()) for row in _rows(rows))


def _numbers(rows: Any) -> tuple[Series, ...]:
    if any("histograms" in row for row in _rows(rows)):
        raise QueryFailed("it yields histograms, not numbers; wrap it in histogram_quantile or histogram_fraction")
    return _matrix(rows)


def _vector(rows: Any) -> tuple[Series, ...]:
    if len(rows) == 2 and not isinstance(rows[0], Mapping):
        return (Series((), (_point(rows),)),)
    return tuple(_series(row, [row["value"]] if "histogram" not in row else ()) for row in _rows(rows))


def _rows(rows: Any) -> list[Mapping[str, Any]]:
    if not isinstance(rows, list):
        raise TypeError
    return rows


def _series(row: Mapping[str, Any], values: Any) -> Series:
    labels = tuple(sorted((str(k), str(v)) for k, v in row["metric"].items()))
    native = row.get("histograms") or ([row["histogram"]] if "histogram" in row else ())
    return Series(labels, tuple(map(_point, values)), tuple(map(_buckets, native)))


def _buckets(pair: Any) -> tuple[float, Buckets]:
    """Each bucket comes with how its ends belong to it, which counts of times do not need."""
    time_, sample = pair
    parts = sorted((float(low), float(high), float(n)) for _, low, high, n in sample.get("buckets") or ())
    return float(time_), Buckets(float(sample["count"]), tuple(parts))


def _point(pair: Any) -> tuple[float, float]:
    time_, value = pair
    return float(time_), float(value)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]
