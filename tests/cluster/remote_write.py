"""Prepared samples, also native histograms, into a real Prometheus: its remote-write protocol, as far as tests need it.

A message is protobuf in a snappy block. Both are written out by hand here: literals only, nothing is compressed.
"""

from __future__ import annotations

import http.client
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

NHCB_SCHEMA = -53  # custom bounds
CHUNK = 60_000


@dataclass(frozen=True)
class Native:
    """One native histogram at one time: cumulative counts of integer buckets.

    `buckets` are (index, count), ascending: with `schema` s bucket i reaches from 2^((i-1)/2^s) to 2^(i/2^s); with
    `bounds` it reaches to bounds[i], the last one to infinity.
    """

    buckets: tuple[tuple[int, int], ...]
    schema: int = 3
    zero: int = 0
    zero_threshold: float = 1e-9
    bounds: tuple[float, ...] = ()

    @property
    def count(self) -> int:
        return self.zero + sum(n for _, n in self.buckets)


@dataclass(frozen=True)
class Pushed:
    """One series: labels with its name, and (unix seconds, number or histogram) samples."""

    labels: Mapping[str, str]
    points: Sequence[tuple[float, float | Native]]


def push(port: int, series: Iterable[Pushed]) -> None:
    """Store these samples; the server must run with `--web.enable-remote-write-receiver`."""
    body = _snappy(b"".join(_field(1, _series(each)) for each in series))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        headers = {
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "snappy",
            "X-Prometheus-Remote-Write-Version": "0.1.0",
        }
        connection.request("POST", "/api/v1/write", body, headers)
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
    finally:
        connection.close()
    if answer.status >= 300:
        raise RuntimeError(f"remote write: {answer.status} {text.strip()}")


def _series(each: Pushed) -> bytes:
    labels = b"".join(
        _field(1, _field(1, name.encode()) + _field(2, value.encode())) for name, value in sorted(each.labels.items())
    )
    return labels + b"".join(_sample(time, value) for time, value in each.points)


def _sample(time: float, value: float | Native) -> bytes:
    if isinstance(value, Native):
        return _field(4, _histogram(time, value))
    return _field(2, _double(1, value) + _number(2, round(1000 * time)))


def _histogram(time: float, h: Native) -> bytes:
    schema = NHCB_SCHEMA if h.bounds else h.schema
    parts = [
        _number(1, h.count),
        _double(3, 0.0),
        _number(4, _zigzag(schema)),
        _double(5, 0.0 if h.bounds else h.zero_threshold),
        _number(6, h.zero),
    ]
    spans, deltas, previous, end = [], [], 0, 0
    for index, count in h.buckets:
        spans.append(_field(11, _number(1, _zigzag(index - end)) + _number(2, 1)))
        deltas.append(_varint(_zigzag(count - previous)))
        previous, end = count, index + 1
    parts += [*spans, _field(12, b"".join(deltas)), _number(15, round(1000 * time))]
    parts += [_field(16, b"".join(struct.pack("<d", b) for b in h.bounds))] if h.bounds else []
    return b"".join(parts)


# The two encodings


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _zigzag(value: int) -> int:
    return (value << 1) ^ (value >> 63)


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _double(number: int, value: float) -> bytes:
    return _varint(number << 3 | 1) + struct.pack("<d", value)


def _field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _snappy(data: bytes) -> bytes:
    out = [_varint(len(data))]
    for start in range(0, len(data), CHUNK):
        part = data[start : start + CHUNK]
        out.append(bytes([61 << 2]) + struct.pack("<H", len(part) - 1) + part)
    return b"".join(out)
