"""A client of an API server that is going away leaves nothing open."""

from __future__ import annotations

import gc
import select
import socket
import struct
import threading
import warnings
from typing import Any

import pytest
import trustme

from controlplane import ApiClient
from controlplane.client import Unreachable

SECONDS = 20.0
AT_ONCE = struct.pack("ii", 1, 0)  # of SO_LINGER: reset the connection


def test_a_connection_that_is_reset_before_its_handshake_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    connected = threading.Event()

    def serve() -> None:
        accepted, _ = listener.accept()
        connected.wait(SECONDS)
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        accepted.close()

    def connect(*given: Any, **options: Any) -> socket.socket:
        made = create(*given, **options)
        connected.set()
        reset = select.poll()
        reset.register(made, select.POLLHUP)
        assert reset.poll(1000 * SECONDS)
        return made

    create = socket.create_connection
    monkeypatch.setattr(socket, "create_connection", connect)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        client = ApiClient(f"https://127.0.0.1:{listener.getsockname()[1]}", trustme.CA().cert_pem.bytes())
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            with pytest.raises(Unreachable, match="reset"):
                client.request("GET", "/readyz")
            gc.collect()
        thread.join()
    assert [str(each.message) for each in told] == []
