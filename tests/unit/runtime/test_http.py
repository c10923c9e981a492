"""The operator's HTTP server, over a real socket on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from trimtab.runtime.http import Check, HttpServer, age_check


class Bench:
    """A server whose ages can be set."""

    def __init__(self) -> None:
        self.safety_age = 1.0
        self.not_ready = "not the leader yet"
        self.server = HttpServer(
            "127.0.0.1",
            0,
            live=[age_check("safety", lambda: self.safety_age, lambda: 30.0)],
            ready=[Check("leader", lambda: self.not_ready), Check("other", lambda: "")],
            metrics=lambda: b"trimtab_leader 1.0\n",
        )

    async def get(self, path: str) -> tuple[int, str, str]:
        url = f"http://127.0.0.1:{self.server.port}{path}"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status, await answer.text(), answer.headers["Content-Type"]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    await made.server.start()
    yield made
    await made.server.close()


async def test_health_follows_the_heartbeat(bench: Bench) -> None:
    assert (await bench.get("/healthz"))[:2] == (200, "safety: ok\n")
    bench.safety_age = 30.04
    assert (await bench.get("/healthz"))[:2] == (503, "safety: silent for 30.0 s (limit 30.0 s)\n")
    bench.safety_age = 2.0
    assert (await bench.get("/healthz"))[0] == 200


async def test_readiness_is_another_question(bench: Bench) -> None:
    assert (await bench.get("/readyz"))[:2] == (503, "leader: not the leader yet\nother: ok\n")
    bench.not_ready = ""
    assert (await bench.get("/readyz"))[0] == 200


async def test_metrics_are_served_in_the_text_format(bench: Bench) -> None:
    status, text, kind = await bench.get("/metrics")
    assert (status, text) == (200, "trimtab_leader 1.0\n")
    assert kind == "text/plain; version=0.0.4; charset=utf-8"


async def test_nothing_else_is_served(bench: Bench) -> None:
    assert (await bench.get("/"))[0] == 404


async def test_an_address_in_use_is_an_error(bench: Bench) -> None:
    second = HttpServer("127.0.0.1", bench.server.port, live=[], ready=[], metrics=bytes)
    with pytest.raises(OSError, match="address already in use"):
        await second.start()
    await second.close()
