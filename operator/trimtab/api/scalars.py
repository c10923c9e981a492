"""Scalar types of the wire: names, decimal strings, percentages, durations, quantities."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from trimtab.api.base import UNIT_KEY, Checked, Rule
from trimtab.domain.errors import InvalidSpec
from trimtab.domain.quantity import parse_duration, parse_quantity

DURATION_PATTERN = r"^([0-9]+(ms|s|m|h))+$"
DECIMAL_PATTERN = r"^[0-9]{1,12}(\.[0-9]{1,9})?$"
SIGNED_PATTERN = r"^-?[0-9]{1,12}(\.[0-9]{1,9})?$"
QUANTITY_PATTERN = r"^[0-9]{1,18}(\.[0-9]{1,9})?(n|u|m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"


def _literal(text: str) -> str:
    """CEL raw string literal of a pattern."""
    return f"r'{text}'"


def unless_malformed(pattern: str, *fields: str) -> str:
    """CEL: the rule that follows is left out where one of these fields does not even have the right form.

    The field's own rule says so already; without this guard the API server would add a conversion error.
    """
    return "".join(f"!{field}.matches({_literal(pattern)}) || " for field in fields)


def lasting(least: str, most: str) -> Checked:
    """A Go-style duration within bounds, both included."""
    low, high = parse_duration(least), parse_duration(most)
    message = f"must be a duration from {least} to {most}; write it like 90s, 10m or 1h30m (there is no unit for days)"

    def holds(text: str) -> bool:
        try:
            return low <= parse_duration(text) <= high
        except InvalidSpec:
            return False

    cel = (
        f"self.matches({_literal(DURATION_PATTERN)}) && "
        f"duration(self) >= duration('{least}') && duration(self) <= duration('{most}')"
    )
    schema = {"pattern": DURATION_PATTERN, "maxLength": 20, "minLength": 2, UNIT_KEY: f"duration, {least} to {most}"}
    return Checked((Rule(cel, message, holds),), schema)


HUGE = Decimal(10**9)


def number(
    least: str,
    most: str,
    *,
    above: bool = False,
    below: bool = False,
    unit: str = "",
    example: str = "1.5",
    what: str = "a decimal number",
) -> Checked:
    """A decimal string within bounds; `above` and `below` exclude the lower and the upper one."""
    low, high = Decimal(least), Decimal(most)
    pattern = SIGNED_PATTERN if low < 0 else DECIMAL_PATTERN
    words = _range_words(low, high, above, below)

    def holds(text: str) -> bool:
        if not re.fullmatch(pattern, text):
            return False
        value = Decimal(text)
        return (value > low if above else value >= low) and (value < high if below else value <= high)

    rule = Rule(
        f"self.matches({_literal(pattern)}) && double(self) {'>' if above else '>='} {float(low)!r} && "
        f"double(self) {'<' if below else '<='} {float(high)!r}",
        f'must be {what}{words and " " + words}; write it in quotes, like "{example}"',
        holds,
    )
    shown = ", ".join(text for text in (unit, words) if text)
    return Checked((rule,), {"pattern": pattern, "maxLength": 24, "minLength": 1, UNIT_KEY: shown})


def _range_words(low: Decimal, high: Decimal, above: bool, below: bool) -> str:
    """The bounds in words; those that only keep nonsense out are not worth a word."""
    start = "" if low <= -HUGE else f"{'above' if above else 'from'} {low}"
    end = "" if high >= HUGE else f"{'and below' if below else 'and at most' if above else 'to'} {high}"
    return f"{start} {end}".strip() if end or above or not start else f"of at least {low}"


def percentage(least: str = "0", most: str = "100", *, above: bool = False, below: bool = False) -> Checked:
    """A percentage as a decimal string."""
    example = "95" if Decimal(most) > 95 else "5"
    return number(
        least, most, above=above, below=below, unit="percent", example=example, what="a percentage, without a sign,"
    )


def _plain(value: Any) -> Any:
    """YAML's 2 is the quantity "2"; true and 2.5 are mistakes."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _is_quantity(text: str) -> bool:
    if not re.fullmatch(QUANTITY_PATTERN, text):
        return False
    return 0 < parse_quantity(text) <= parse_quantity("1Pi")


Quantity = Annotated[
    str,
    Checked(
        (
            Rule(
                cel=(
                    f"string(self).matches({_literal(QUANTITY_PATTERN)}) && "
                    "quantity(string(self)).isGreaterThan(quantity('0')) && "
                    "!quantity(string(self)).isGreaterThan(quantity('1Pi'))"
                ),
                message='must be a quantity above 0; write it like 250m or "2" (cores), 512Mi or 2Gi (memory)',
                holds=_is_quantity,
            ),
        ),
        {
            "x-kubernetes-int-or-string": True,
            "maxLength": 32,
            UNIT_KEY: "cores or bytes",
        },
        replace=True,
    ),
    BeforeValidator(_plain),
]

NAME_PATTERN = r"^[A-Za-z]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$"
_NAME_MESSAGE = "must start with a letter and hold at most 63 letters, digits and dashes; write it like p95-latency"


def _named(pattern: str, most: int, message: str, **extra: Any) -> Checked:
    rule = Rule(f"self.matches({_literal(pattern)})", message, lambda text: bool(re.fullmatch(pattern, text)))
    return Checked((rule,), {"pattern": pattern, "maxLength": most, "minLength": 1, **extra})


Name = Annotated[str, _named(NAME_PATTERN, 63, _NAME_MESSAGE)]
DnsName = Annotated[
    str,
    _named(
        r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$",
        253,
        "must be the name of a Kubernetes object; "
        "use lower-case letters, digits, dashes and dots, at most 253 characters",
    ),
]
ContainerName = Annotated[
    str,
    _named(
        r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$",
        63,
        "must be a container's name; use lower-case letters, digits and dashes, at most 63 characters",
    ),
]
MetricName = Annotated[
    str,
    _named(
        r"^[a-zA-Z_:][a-zA-Z0-9_:]{0,199}$",
        200,
        "must be a Prometheus metric name without labels; write it like http_request_duration_seconds",
    ),
]
EnvName = Annotated[
    str,
    _named(
        r"^[A-Za-z_][A-Za-z0-9_.-]{0,127}$",
        128,
        "must be the name of an environment variable; write it like JAVA_OPTS",
    ),
]
LabelKey = Annotated[
    str,
    _named(
        r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$",
        317,
        "must be a node label's key; write it like node.kubernetes.io/instance-type",
    ),
]
AlertName = Annotated[
    str,
    _named(
        r"^[A-Za-z_]([A-Za-z0-9_:. -]{0,126}[A-Za-z0-9_])?$",
        128,
        "must be the name of a Prometheus alert (its label alertname), "
        "of letters, digits, spaces and _ : . -; write it like CheckoutDown",
    ),
]
Cron = Annotated[
    str,
    _named(
        r"^([0-9A-Za-z*/,-]{1,30} ){4}[0-9A-Za-z*/,-]{1,30}$",
        154,
        "must be five cron fields (minute, hour, day of month, month, day of week); write it like 0 9 * * 1-5",
    ),
]
TimeZone = Annotated[
    str,
    _named(
        r"^[A-Za-z][A-Za-z0-9_+/-]{0,63}$", 64, "must be a name of the tz database; write it like UTC or Europe/Berlin"
    ),
]
Text = Annotated[str, Field(max_length=253)]
MoneyCap = Annotated[str, number("0", "1000000000", above=True, unit="$", example="50")]
Price = Annotated[str, number("0", "1000000", unit="$ per hour", example="0.03")]
