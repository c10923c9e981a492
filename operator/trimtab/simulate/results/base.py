"""Building blocks of the result: parts that cannot change, numbers that round alike everywhere, typed absence."""

from __future__ import annotations

import math
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

DIGITS: Final = 9


def stable(value: Any) -> Any:
    """A float with nine significant digits; other values as they are."""
    if isinstance(value, bool) or not isinstance(value, float) or not math.isfinite(value):
        return value
    return float(f"{value:.{DIGITS}g}") + 0.0


Real = Annotated[float, BeforeValidator(stable), Field(allow_inf_nan=False)]


class Part(BaseModel):
    """A part of the result: camelCase on the wire, no unknown fields."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        serialize_by_alias=True,
        use_attribute_docstrings=True,
    )


class Absent(Part):
    """Something that is not known, and why: it takes the place of a number."""

    absent: str
    """CamelCase reason, for example NoRecommendation, NoData, Stale."""
    detail: str = ""
    """One line for people."""


Number = Real | Absent
Flag = bool | Absent
