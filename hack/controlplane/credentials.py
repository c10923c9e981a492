"""Keys and tokens of one plane, made with the standard library alone."""

from __future__ import annotations

import base64
import csv
import io
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

ADMIN = "admin"
BUILT_IN = {
    ADMIN: ("system:masters",),
    "system:kube-controller-manager": (),
    "system:kube-scheduler": (),
}


@dataclass(frozen=True)
class Credentials:
    """The users of a plane, each with a random token.

    Attributes:
        groups: user name to groups.
        tokens: user name to bearer token.
    """

    groups: Mapping[str, Sequence[str]]
    tokens: Mapping[str, str] = field(repr=False)

    @classmethod
    def create(cls, users: Mapping[str, Sequence[str]]) -> Credentials:
        """Random tokens for these users and for the built-in ones."""
        groups = BUILT_IN | dict(users)
        return cls(groups, {name: secrets.token_urlsafe(32) for name in groups})

    def token_file(self) -> str:
        """The content of kube-apiserver's --token-auth-file: token, user, uid, "groups"."""
        out = io.StringIO()
        rows = [[self.tokens[name], name, name, ",".join(groups)] for name, groups in self.groups.items()]
        csv.writer(out, lineterminator="\n").writerows(rows)
        return out.getvalue()


def signing_key() -> str:
    """A new P-256 private key in PEM, for service account tokens.

    The ECPrivateKey structure of RFC 5915 needs the secret number and the name of the curve only; the public point is
    optional and computed by the reader, so no elliptic-curve arithmetic is needed here.
    """
    number = secrets.randbelow(P256_ORDER - 1) + 1
    version_1 = bytes.fromhex("020101")
    secret = bytes.fromhex("0420") + number.to_bytes(32, "big")
    curve = bytes.fromhex("a00a06082a8648ce3d030107")
    body = version_1 + secret + curve
    encoded = base64.encodebytes(b"\x30" + bytes([len(body)]) + body).decode()
    return f"-----BEGIN EC PRIVATE KEY-----\n{encoded}-----END EC PRIVATE KEY-----\n"
