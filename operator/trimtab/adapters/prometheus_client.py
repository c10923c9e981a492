"""Queries to Prometheus in a bounded thread pool: time-outs, typed failures, and warnings that are not overlooked.

`prometheus-api-client` is synchronous and drops the response's `warnings`; a partial answer is an error for safety, so
a hook on the session looks for them.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import requests
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from urllib3.util.retry import Retry

from trimtab.slo.series import Series

T = TypeVar("T")
MAX_SERIES = 20_000


class QueryFailed(Exception):
    """Prometheus did not answer, or not completely; the message is one line."""


class _Warned(Exception):
    """The answer carries warnings."""


class PrometheusClient:
    """One pool of threads, each with its own session. Close it when done."""

    def __init__(self, url: str, *, token_file: str | None = None, threads: int = 4) -> None:
        self._url, self._token_file = url.rstrip("/"), token_file
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="prometheus")
        self._local = threading.local()

    def close(self) -> None:
        """Give up queued queries; running ones end with their time-out."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def matrix(self, expression: str, at: float, timeout: float) -> tuple[Series, ...]:
        """An instant query that yields a range vector (`metric[10s]`): raw samples.

        Raises:
            QueryFailed: no complete answer within `timeout` seconds.
        """
        rows = await self._query(expression, at, timeout)
        return tuple(_series(row, row.get("values") or ()) for row in rows)

    async def vector(self, expression: str, at: float, timeout: float) -> tuple[Series, ...]:
        """An instant query that yields an instant vector: one sample per series."""
        rows = await self._query(expression, at, timeout)
        return tuple(_series(row, [row["value"]]) for row in rows if "value" in row)

    async def range(self, expression: str, start: float, end: float, step: float, timeout: float) -> tuple[Series, ...]:
        """A range query."""

        def ask(client: PrometheusConnect) -> Any:
            begin, finish = (datetime.fromtimestamp(t, UTC) for t in (start, end))
            return client.custom_query_range(expression, begin, finish, f"{step:.3f}", timeout=timeout)

        return tuple(_series(row, row.get("values") or ()) for row in await self._run(ask, timeout))

    async def _query(self, expression: str, at: float, timeout: float) -> Any:
        def ask(client: PrometheusConnect) -> Any:
            return client.custom_query(expression, params={"time": f"{at:.3f}"}, timeout=timeout)

        return await self._run(ask, timeout)

    async def _run(self, ask: Callable[[PrometheusConnect], T], timeout: float) -> T:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                found = await loop.run_in_executor(self._pool, lambda: ask(self._client()))
        except TimeoutError:
            raise QueryFailed(f"no answer within {timeout:g} s") from None
        except _Warned as error:
            raise QueryFailed(f"a partial answer, with the warning: {error}") from None
        except requests.Timeout:
            raise QueryFailed(f"no answer within {timeout:g} s") from None
        except requests.JSONDecodeError:
            raise QueryFailed("the answer is not JSON") from None
        except requests.RequestException as error:
            raise QueryFailed(f"not reachable: {type(error).__name__}") from None
        except PrometheusApiClientException as error:
            raise QueryFailed(_one_line(str(error))) from None
        except (KeyError, TypeError, ValueError) as error:
            raise QueryFailed(f"malformed answer: {type(error).__name__}") from None
        if isinstance(found, list) and len(found) > MAX_SERIES:
            raise QueryFailed(f"{len(found)} series are more than {MAX_SERIES}; narrow the query")
        return found

    def _client(self) -> PrometheusConnect:
        client: PrometheusConnect | None = getattr(self._local, "client", None)
        if client is None:
            session = requests.Session()
            session.trust_env = False
            session.hooks["response"].append(_refuse_warnings)
            client = PrometheusConnect(self._url, session=session, retry=Retry(total=0), method="POST")
            self._local.client = client
        client.headers = self._headers()
        return client

    def _headers(self) -> dict[str, str]:
        if self._token_file is None:
            return {}
        return {"Authorization": f"Bearer {Path(self._token_file).read_text().strip()}"}


def _refuse_warnings(response: requests.Response, *_: Any, **__: Any) -> None:
    if b'"warnings"' in response.content:
        warnings = response.json().get("warnings") or ()
        if warnings:
            raise _Warned(_one_line("; ".join(map(str, warnings))))


def _series(row: Mapping[str, Any], values: Any) -> Series:
    labels = tuple(sorted((str(k), str(v)) for k, v in row["metric"].items()))
    return Series(labels, tuple((float(t), float(v)) for t, v in values))


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]
