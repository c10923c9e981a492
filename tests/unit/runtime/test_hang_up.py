"""What a watch leaves behind when it ends while the API server hangs."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from trimtab.runtime.handlers import hang_up


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """A TLS server that shakes hands and then says nothing more, not even goodbye; its port and its authority."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            accepted, _ = listener.accept()
            with context.wrap_socket(accepted, server_side=True):
                over.wait(30.0)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], tmp_path / "ca.pem"
        over.set()
        thread.join()


def test_no_connection_outlives_the_loop(hanging: tuple[int, Path]) -> None:
    port, authority = hanging
    sockets: list[socket.socket] = []

    async def watch() -> None:
        context = ssl.create_default_context(cafile=authority)
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        sockets.append(writer.get_extra_info("socket"))
        writer.close()
        assert sockets[0].fileno() > 0, "it waits for the server's goodbye"
        await hang_up(asyncio.get_running_loop())

    asyncio.run(watch())
    assert sockets[0].fileno() == -1
