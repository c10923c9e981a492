"""A self-signed certificate for 127.0.0.1, made with the standard library alone.

X.509 is RFC 5280, the signature is ECDSA with SHA-256 on the curve P-256 (FIPS 186-4, section 6.4, and SEC 1). It
serves tests on the loopback interface for a day: nothing here resists whoever measures the time it takes.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

PRIME = 2**256 - 2**224 + 2**192 + 2**96 - 1
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
GENERATOR = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)
Point = tuple[int, int] | None  # None is the point at infinity

P256 = bytes.fromhex("06082a8648ce3d030107")
EC_KEY = bytes.fromhex("06072a8648ce3d0201")
ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
COMMON_NAME = bytes.fromhex("0603550403")
KEY_IDENTIFIER, KEY_USAGE, OTHER_NAMES, CONSTRAINTS = (bytes.fromhex(f"0603551d{n}") for n in ("0e", "0f", "11", "13"))
YES = bytes.fromhex("0101ff")
SIGNS_ANYTHING = bytes.fromhex("03020284")  # digitalSignature and keyCertSign
LOOPBACK = bytes.fromhex("87047f000001")


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """Certificate and key in PEM, in two new files of that folder."""
    number = secrets.randbelow(ORDER - 1) + 1
    certificate, key = folder / "tls.crt", folder / "tls.key"
    certificate.write_text(_pem("CERTIFICATE", _certificate(number)), encoding="ascii")
    body = _sequence(_integer(1), _der(0x04, number.to_bytes(32, "big")), _der(0xA0, P256))
    key.write_text(_pem("EC PRIVATE KEY", body), encoding="ascii")
    return certificate, key


def _certificate(number: int) -> bytes:
    public = _times(number, GENERATOR)
    assert public is not None
    point = b"\x04" + b"".join(each.to_bytes(32, "big") for each in public)
    now = datetime.now(UTC)
    times = (_der(0x17, f"{t:%y%m%d%H%M%SZ}".encode()) for t in (now - timedelta(hours=1), now + timedelta(days=1)))
    name = _sequence(_der(0x31, _sequence(COMMON_NAME, _der(0x0C, b"127.0.0.1"))))
    extensions = _sequence(
        _extension(CONSTRAINTS, YES, _sequence(YES)),
        _extension(KEY_USAGE, YES, SIGNS_ANYTHING),
        _extension(KEY_IDENTIFIER, _der(0x04, hashlib.sha1(point).digest())),
        _extension(OTHER_NAMES, _sequence(LOOPBACK)),
    )
    signed = _sequence(
        _der(0xA0, _integer(2)),  # version 3
        _integer(secrets.randbits(64)),
        ECDSA_SHA256,
        name,
        _sequence(*times),
        name,
        _sequence(_sequence(EC_KEY, P256), _bits(point)),
        _der(0xA3, extensions),
    )
    return _sequence(signed, ECDSA_SHA256, _bits(_signature(number, signed)))


def _signature(number: int, signed: bytes) -> bytes:
    once = secrets.randbelow(ORDER - 1) + 1
    point = _times(once, GENERATOR)
    assert point is not None
    digest = int.from_bytes(hashlib.sha256(signed).digest(), "big")
    r = point[0] % ORDER
    return _sequence(_integer(r), _integer(pow(once, -1, ORDER) * (digest + r * number) % ORDER))


def _times(factor: int, point: Point) -> Point:
    found: Point = None
    while factor:
        if factor & 1:
            found = _sum(found, point)
        point, factor = _sum(point, point), factor >> 1
    return found


def _sum(a: Point, b: Point) -> Point:
    if a is None or b is None:
        return b if a is None else a
    if a[0] == b[0] and (a[1] + b[1]) % PRIME == 0:
        return None
    rise, run = (3 * a[0] ** 2 - 3, 2 * a[1]) if a == b else (b[1] - a[1], b[0] - a[0])
    slope = rise * pow(run, -1, PRIME)
    x = (slope**2 - a[0] - b[0]) % PRIME
    return x, (slope * (a[0] - x) - a[1]) % PRIME


def _extension(kind: bytes, *value: bytes) -> bytes:
    *critical, content = value
    return _sequence(kind, *critical, _der(0x04, content))


def _sequence(*parts: bytes) -> bytes:
    return _der(0x30, b"".join(parts))


def _integer(value: int) -> bytes:
    return _der(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _bits(value: bytes) -> bytes:
    return _der(0x03, b"\x00" + value)


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 128:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def _pem(kind: str, body: bytes) -> str:
    return f"-----BEGIN {kind}-----\n{base64.encodebytes(body).decode('ascii')}-----END {kind}-----\n"
