"""Every socket of the proxy, so that none is left when its event loop ends.

A TLS transport says goodbye before it closes, and the clients' and servers' ends do so on their own time. Nobody waits
for all of them: those of connections that were given up are on no list of aiohttp's. So the sockets are kept here,
from where they are made.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

import aiohttp

LOOPBACK = "127.0.0.1"
GONE_SECONDS = 10.0


class Sockets:
    """What was accepted and what was connected."""

    def __init__(self) -> None:
        self._open: list[socket.socket] = []

    def listening(self) -> socket.socket:
        """One that listens on a free port of the loopback interface, and whose connections are kept here."""
        listening = _Listening(self)
        listening.bind((LOOPBACK, 0))
        return listening

    def connecting(self, address: aiohttp.AddrInfoType) -> socket.socket:
        """One to connect to that address: a connector's socket_factory."""
        family, kind, protocol, *_ = address
        return self.kept(socket.socket(family, kind, protocol))

    def kept(self, made: socket.socket) -> socket.socket:
        """Remember it until it is closed; returns it."""
        self._open = [*self._still_open(), made]
        return made

    def cut(self) -> None:
        """End all connections at once: whoever reads or writes learns of it, and closes its end."""
        for each in self._still_open():
            with contextlib.suppress(OSError):  # not connected yet, or no longer
                each.shutdown(socket.SHUT_RDWR)

    async def gone(self) -> None:
        """Let the event loop turn until all are closed.

        Raises:
            RuntimeError: some are still open after GONE_SECONDS.
        """
        deadline = asyncio.get_running_loop().time() + GONE_SECONDS
        while left := self._still_open():
            if asyncio.get_running_loop().time() > deadline:
                raise RuntimeError(f"{len(left)} sockets are open {GONE_SECONDS:g} s after they were cut: {left[0]}")
            self.cut()
            await asyncio.sleep(0.005)
        await asyncio.sleep(0)  # a TLS transport learns in the next turn that its socket was closed

    def _still_open(self) -> list[socket.socket]:
        return [each for each in self._open if each.fileno() >= 0]


class _Listening(socket.socket):
    """Keeps what it accepts."""

    def __init__(self, kept: Sockets) -> None:
        super().__init__(socket.AF_INET, socket.SOCK_STREAM)
        self._kept = kept

    def accept(self) -> tuple[socket.socket, object]:
        made, address = super().accept()
        return self._kept.kept(made), address
