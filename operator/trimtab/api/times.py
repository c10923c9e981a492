"""Times on the wire: RFC 3339 in UTC, milliseconds; unix seconds in the domain."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

TIME_PATTERN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


@lru_cache(maxsize=4096)
def parse_time(text: str) -> float:
    """Read RFC 3339 into unix seconds, rounded to milliseconds.

    Raises:
        ValueError: not RFC 3339 with a time zone.
    """
    if not re.fullmatch(TIME_PATTERN, text):
        raise ValueError(f"{text!r} is not a time such as 2026-01-31T12:00:00Z")
    # fromisoformat reads at most six digits of a second
    moment = datetime.fromisoformat(re.sub(r"(\.[0-9]{6})[0-9]+", r"\1", text))
    return round((moment - _EPOCH) / _MILLISECOND) / 1000


def format_time(seconds: float) -> str:
    """Write unix seconds with milliseconds; `parse_time` reads back the same number."""
    moment = _EPOCH + timedelta(milliseconds=round(seconds * 1000))
    return zulu(moment, "milliseconds")


def format_seconds(seconds: float) -> str:
    """Write unix seconds without a fraction, as `metav1.Condition` has it."""
    return zulu(_EPOCH + timedelta(seconds=int(seconds)), "seconds")


def zulu(moment: datetime, precision: str) -> str:
    """A moment in UTC as RFC 3339, to "seconds", "milliseconds" or "microseconds"; what is finer is cut off."""
    return moment.isoformat(timespec=precision).replace("+00:00", "Z")


def _is_time(text: str) -> str:
    try:
        parse_time(text)
    except ValueError as error:
        raise PydanticCustomError("time", "must be a time such as 2026-01-31T12:00:00Z") from error
    return text


Time = Annotated[str, Field(max_length=40, json_schema_extra={"format": "date-time"}), AfterValidator(_is_time)]
