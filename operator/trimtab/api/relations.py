"""Wire models of `spec.parameterConstraints`: relations between parameters that every assignment must keep."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from trimtab.api.base import Keyed, Rule, WireModel, exactly_one
from trimtab.api.scalars import Name, number


class OrderConstraint(WireModel):
    """`lower` may not exceed `upper`, both in base units."""

    lower: Name = Field(description="Name of the parameter that stays below.")
    upper: Name = Field(description="Name of the parameter that stays above.")

    RULES = (
        Rule(
            "self.lower != self.upper",
            "lower and upper must name two different parameters; correct one",
            lambda m: m.lower != m.upper,
        ),
    )


class SumTerm(WireModel):
    """weight x value."""

    parameter: Name = Field(description="Name of a numeric parameter.")
    weight: Annotated[str, number("-1000000", "1000000")] = Field(
        "1", description="Weight, as a decimal string; values count in cores, GiB or plain numbers."
    )


class SumConstraint(WireModel):
    """The weighted sum of parameters may not exceed `max`; CPU in cores, memory in GiB, others plain."""

    max: Annotated[str, number("-1000000000", "1000000000")] = Field(description="Greatest sum, as a decimal string.")
    terms: Annotated[tuple[SumTerm, ...], Keyed("parameter")] = Field(
        description="The summands.", min_length=2, max_length=12
    )


class RatioConstraint(WireModel):
    """`of` / `to` may not exceed `max`, both in base units."""

    of: Name = Field(description="Name of the numerator's parameter.")
    to: Name = Field(description="Name of the denominator's parameter.")
    max: Annotated[str, number("0", "1000000000000", above=True)] = Field(
        description="Greatest ratio, as a decimal string."
    )

    RULES = (
        Rule("self.of != self.to", "of and to must name two different parameters; correct one", lambda m: m.of != m.to),
    )


class ParameterConstraint(WireModel):
    """A relation between parameters that every assignment must keep."""

    name: Name = Field(description="Name of the constraint, used in messages.")
    order: OrderConstraint | None = Field(None, description="One parameter stays below another.")
    sum: SumConstraint | None = Field(None, description="A weighted sum stays below a bound.")
    ratio: RatioConstraint | None = Field(None, description="A quotient stays below a bound.")

    RULES = (exactly_one("order", "sum", "ratio"),)

    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters that the constraint refers to."""
        if self.order is not None:
            return (self.order.lower, self.order.upper)
        if self.sum is not None:
            return tuple(term.parameter for term in self.sum.terms)
        return (self.ratio.of, self.ratio.to) if self.ratio is not None else ()
