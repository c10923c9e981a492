"""The credentials of one metrics store, read from files that rotate; they never reach a log, an error or a status.

A mounted Secret changes in place. So each query looks at the files' times and sizes, everything is read again each
minute, and once more when the store answers 401 or 403.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trimtab.adapters.series_store import QueryFailed
from trimtab.adapters.store_config import TENANT_HEADER, StoreConfig

REREAD_SECONDS = 60.0
HIDDEN = "(hidden)"
LEAST_HIDDEN = 4  # characters; shorter ones are no secret, and would blacken half a message

Stamp = tuple[int, int, int]
"""Time of change (ns), size and inode of a file."""


@dataclass(frozen=True)
class _Read:
    stamp: Stamp
    at: float
    text: str


class SecretFile:
    """One secret in a file. The last one that could be read stands while the file cannot: a projected volume is between
    two versions for a moment.

    Args:
        what: names it in messages, which never hold its path: a status can be read by more people than a mount.
    """

    def __init__(self, path: str, what: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._path, self._what, self._monotonic = Path(path), what, monotonic
        self._last: _Read | None = None

    def text(self, *, again: bool = False) -> str:
        """Its content without white space around it; `again` reads it whatever its time says.

        Raises:
            QueryFailed: it was never readable, or holds what no header can carry.
        """
        last, now = self._last, self._monotonic()
        try:
            stamp = stamp_of(self._path)
            if again or last is None or last.stamp != stamp or now - last.at >= REREAD_SECONDS:
                last = self._last = _Read(stamp, now, self._path.read_text().strip())
        except (OSError, UnicodeDecodeError) as error:
            if last is None:
                raise QueryFailed(f"the {self._what} file cannot be read: {type(error).__name__}") from None
        if not last.text or not last.text.isprintable():
            problem = "holds a line break or a control character" if last.text else "is empty"
            raise QueryFailed(f"the {self._what} file {problem}")
        return last.text

    @property
    def known(self) -> str:
        """What was read last, "" when nothing was."""
        return self._last.text if self._last is not None else ""


@dataclass(frozen=True)
class Tls:
    """How to reach a store by TLS: a CA file (True: the public CAs) and a certificate with its key, and what tells that
    one of these files was replaced."""

    verify: str | bool = True
    cert: tuple[str, str] | None = None
    stamps: tuple[Stamp, ...] = ()


class Credentials:
    """What a query to this store carries. Safe to use from several threads."""

    def __init__(self, store: StoreConfig, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._store = store

        def secret(path: str | None, what: str) -> SecretFile | None:
            return SecretFile(path, what, monotonic) if path is not None else None

        self._token = secret(store.token_file, "token")
        self._password = secret(store.password_file, "password")
        self._headers = tuple((n, SecretFile(f, f"{n} header", monotonic)) for n, f in store.headers)

    def headers(self, *, again: bool = False) -> dict[str, str]:
        """The headers of now.

        Raises:
            QueryFailed: a secret's file cannot be used.
        """
        found = {TENANT_HEADER: self._store.tenant} if self._store.tenant else {}
        found |= {name: secret.text(again=again) for name, secret in self._headers}
        if self._token is not None:
            found["Authorization"] = f"Bearer {self._token.text(again=again)}"
        elif self._password is not None:
            found["Authorization"] = f"Basic {_pair(self._store.username, self._password.text(again=again))}"
        return found

    def tls(self) -> Tls:
        """The files of now.

        Raises:
            QueryFailed: one of them is not there.
        """
        store = self._store
        listed = {"CA": store.ca_file, "client certificate": store.cert_file, "client key": store.key_file}
        stamps = []
        for what, path in listed.items():
            if path is None:
                continue
            try:
                stamps.append(stamp_of(Path(path)))
            except OSError as error:
                raise QueryFailed(f"the {what} file cannot be read: {type(error).__name__}") from None
        cert = (store.cert_file, store.key_file) if store.cert_file and store.key_file else None
        return Tls(store.ca_file if store.ca_file is not None else True, cert, tuple(stamps))

    def hide(self, text: str) -> str:
        """The text without any secret: a proxy's error page may repeat what it was sent."""
        secrets = [s.known for _, s in self._headers]
        if self._token is not None:
            secrets.append(self._token.known)
        if self._password is not None:
            secrets += [self._password.known, _pair(self._store.username, self._password.known)]
        for secret in sorted(secrets, key=len, reverse=True):
            if len(secret) >= LEAST_HIDDEN:
                text = text.replace(secret, HIDDEN)
        return text


def stamp_of(path: Path) -> Stamp:
    """What changes when a file is replaced.

    Raises:
        OSError: it is not there.
    """
    found = path.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino


def _pair(username: str, password: str) -> str:
    return base64.b64encode(f"{username}:{password}".encode()).decode()


__all__ = ["Credentials", "SecretFile", "Tls", "stamp_of"]
