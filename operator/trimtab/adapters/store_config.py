"""The operator's list of metrics stores: a YAML file that names each store, its address, and the files of its secrets.

An Experiment picks a store by name and never by address: whoever may write an Experiment must not be able to make the
operator send its credentials, or any request, to a place of their choice. Secrets are files, so that they can rotate.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import yaml
from pydantic import Field

from trimtab.api.base import Keyed, Rule, Unique, WireModel
from trimtab.api.problems import Unreadable, read
from trimtab.api.scalars import Name
from trimtab.domain.spec import DEFAULT_STORE
from trimtab.domain.texts import CONTRADICTIONS, printable

MAX_STORES = 16
MAX_FILE = 256 * 1024  # bytes
TENANT_HEADER = "X-Scope-OrgID"
_OURS = frozenset({"authorization", "content-length", "content-type", "cookie", "host", "transfer-encoding"})
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")


class BadStores(Exception):
    """The list cannot be used: one line that names the field, what is wrong, and the remedy."""


class StoreKind(StrEnum):
    """What answers at the address; it decides how a partial answer shows itself, and which caches are passed by."""

    PROMETHEUS = "Prometheus"
    THANOS = "Thanos"
    MIMIR = "Mimir"
    VICTORIA_METRICS = "VictoriaMetrics"


@dataclass(frozen=True)
class StoreConfig:
    """One store: where it is, and in which files its secrets are. Holds no secret itself, so it may be printed."""

    name: str
    url: str
    kind: StoreKind = StoreKind.PROMETHEUS
    token_file: str | None = None
    username: str = ""
    password_file: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    headers: tuple[tuple[str, str], ...] = ()  # name, file of the value
    tenant: str = ""
    replica_labels: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that holds a part of the credentials."""
        fixed = (self.token_file, self.password_file, self.ca_file, self.cert_file, self.key_file)
        return (*(f for f in fixed if f is not None), *(f for _, f in self.headers))


def _usable(url: str) -> str:
    """What is wrong with an address, "" when nothing is."""
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits:
        return "is not an http or https address"
    if parts.username is not None or parts.password is not None:
        return "holds credentials"
    return "holds a query or a fragment" if parts.query or parts.fragment else ""


class _Basic(WireModel):
    username: str = Field(min_length=1, max_length=253)
    password_file: str = Field(min_length=1)

    RULES = (
        Rule(
            "",
            "a user name cannot hold a colon or a line break; correct it",
            lambda m: m.username.isprintable() and ":" not in m.username,
            field=".username",
        ),
    )


class _Auth(WireModel):
    bearer_token_file: str | None = Field(None, min_length=1)
    basic: _Basic | None = None

    RULES = (
        Rule(
            "",
            "needs exactly one of bearerTokenFile, basic; set one and leave out the other",
            lambda m: (m.bearer_token_file is None) != (m.basic is None),
        ),
    )


class _Tls(WireModel):
    ca_file: str | None = Field(None, min_length=1)
    cert_file: str | None = Field(None, min_length=1)
    key_file: str | None = Field(None, min_length=1)

    RULES = (
        Rule(
            "",
            "certFile and keyFile belong together; set both or none",
            lambda m: (m.cert_file is None) == (m.key_file is None),
        ),
    )


class _Header(WireModel):
    name: str = Field(max_length=128)
    value_file: str = Field(min_length=1)

    RULES = (
        Rule(
            "",
            "is no name of a header that may be added; use auth for Authorization",
            lambda m: _TOKEN.fullmatch(m.name) is not None and m.name.lower() not in _OURS,
            field=".name",
        ),
    )


class _Store(WireModel):
    name: Name
    kind: StoreKind = StoreKind.PROMETHEUS
    url: str
    auth: _Auth | None = None
    tls: _Tls | None = None
    headers: Annotated[tuple[_Header, ...], Keyed("name")] = Field((), max_length=16)
    tenant: str | None = Field(None, pattern=r"^[a-zA-Z0-9!\-_.*'()|]{1,150}$")
    replica_labels: Annotated[tuple[str, ...], Unique()] = Field((), max_length=8)

    RULES = (
        Rule(
            "",
            "is not usable",
            lambda m: not _usable(m.url),
            field=".url",
            explain=lambda m: f"{_usable(m.url)}; write it like http://prometheus.monitoring:9090, without credentials",
        ),
        Rule(
            "",
            "tls needs an https address; correct url or remove tls",
            lambda m: m.tls is None or m.url.startswith("https:"),
            field=".tls",
        ),
        Rule(
            "",
            "only a Mimir has tenants; set kind to Mimir or remove tenant",
            lambda m: m.tenant is None or m.kind is StoreKind.MIMIR,
            field=".tenant",
        ),
        Rule(
            "",
            f"{TENANT_HEADER} is given twice; remove it here or remove tenant",
            lambda m: m.tenant is None or all(h.name.lower() != TENANT_HEADER.lower() for h in m.headers),
            field=".headers",
        ),
        Rule(
            "",
            "only Thanos takes replicaLabels; set kind to Thanos or remove them",
            lambda m: not m.replica_labels or m.kind is StoreKind.THANOS,
            field=".replicaLabels",
        ),
    )

    def config(self) -> StoreConfig:
        auth, tls = self.auth or _NO_AUTH, self.tls or _Tls()
        return StoreConfig(
            name=self.name,
            url=self.url.rstrip("/"),
            kind=self.kind,
            token_file=auth.bearer_token_file,
            username=auth.basic.username if auth.basic is not None else "",
            password_file=auth.basic.password_file if auth.basic is not None else None,
            ca_file=tls.ca_file,
            cert_file=tls.cert_file,
            key_file=tls.key_file,
            headers=tuple((h.name, h.value_file) for h in self.headers),
            tenant=self.tenant or "",
            replica_labels=self.replica_labels,
        )


_NO_AUTH = _Auth.model_construct(bearer_token_file=None, basic=None)


class _Stores(WireModel):
    stores: Annotated[tuple[_Store, ...], Keyed("name")] = Field(min_length=1, max_length=MAX_STORES)


def configured_stores(url: str, token_file: str | None, path: str | None) -> tuple[StoreConfig, ...]:
    """Every store that this operator may ask, the one at `url` under the name `default`.

    Args:
        url: address of a Prometheus, "" when only the file names stores.
        path: the YAML file, None when there is none.

    Raises:
        BadStores: the file cannot be used, or it names `default` a second time.
    """
    found = [StoreConfig(DEFAULT_STORE, url, token_file=token_file)] if url else []
    listed = read_stores(path) if path is not None else ()
    if url and any(s.name == DEFAULT_STORE for s in listed):
        raise BadStores(
            f"stores: {DEFAULT_STORE!r} is also what TRIMTAB_PROMETHEUS_URL names; unset it or choose another name"
        )
    return (*found, *listed)


def read_stores(path: str) -> tuple[StoreConfig, ...]:
    """The stores of a file, in its order.

    Raises:
        BadStores: names the field, the problem and the remedy.
    """
    try:
        with Path(path).open("rb") as file:
            text = file.read(MAX_FILE + 1)
    except OSError as error:
        raise BadStores(f"cannot be read ({error.strerror}); mount the file or correct the path") from None
    if len(text) > MAX_FILE:
        raise BadStores(f"is larger than {MAX_FILE:,} bytes; name at most {MAX_STORES} stores")
    try:
        content = yaml.load(text, _Strict)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, *CONTRADICTIONS) as error:
        words = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be parsed"
        raise BadStores(f"is no YAML: {printable(' '.join(str(words).split()), 200)}; correct it") from None
    try:
        stores = tuple(s.config() for s in read(_Stores, content if content is not None else {}, "").stores)
    except Unreadable as error:
        raise BadStores(str(error.problems[0]).lstrip(".")) from None
    for store in stores:
        absent = next((f for f in store.files if not Path(f).is_file()), None)
        if absent is not None:
            raise BadStores(f"stores[{store.name}]: {absent!r} is not a file; mount it or correct the path")
    return stores


class _Strict(yaml.SafeLoader):
    """YAML in which the last of two equal keys does not silently win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        found: Mapping[Hashable, Any] = super().construct_mapping(node, deep=deep)
        if len(found) != len(node.value):
            raise yaml.constructor.ConstructorError(None, None, "a key is repeated", node.start_mark)
        return dict(found)


__all__ = ["TENANT_HEADER", "BadStores", "StoreConfig", "StoreKind", "configured_stores", "read_stores"]
