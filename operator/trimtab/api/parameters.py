"""Wire models of `spec.parameters`: what may be tuned, and where it lives."""

from __future__ import annotations

from decimal import Decimal as Number
from typing import Annotated, Any, Literal

from pydantic import Field

from trimtab.api.base import DEFAULT_KEY, Rule, Unique, WireModel, exactly_one
from trimtab.api.scalars import (
    QUANTITY_PATTERN,
    SIGNED_PATTERN,
    ContainerName,
    EnvName,
    LabelKey,
    Name,
    Quantity,
    number,
    percentage,
    unless_malformed,
)
from trimtab.api.scaling_rules import PARAMETER_RULES
from trimtab.domain.quantity import parse_quantity
from trimtab.domain.space import MAX_GRID, Apply, LimitsRule

DEFAULT_STEPS = {"cpu": "50m", "memory": "64Mi"}
WireScale = Literal["Linear", "Log"]
AutoscalerFieldName = Literal[
    "CPUUtilization",
    "MemoryUtilization",
    "MinReplicas",
    "MaxReplicas",
    "ScaleDownStabilizationSeconds",
    "ScaleUpStabilizationSeconds",
    "ScaleDownTolerancePercent",
    "ScaleUpTolerancePercent",
]


class ContainerResource(WireModel):
    """CPU or memory of one container of the target's pods."""

    name: ContainerName = Field(description="Name of the container in the target's pod template.")
    resource: Literal["cpu", "memory"] = Field(description="Which resource the parameter sets.")
    apply: Apply | None = Field(
        None,
        description="Which side the parameter sets: Requests, Limits, or Both (request and limit get the same value). "
        "Default: Both for memory, as memory above the request can be taken away; Requests for cpu.",
        json_schema_extra={DEFAULT_KEY: "Both for memory, Requests for cpu"},
    )
    limits: LimitsRule = Field(
        LimitsRule.RATIO,
        description="What happens to the limit when only the request is set: Ratio keeps limit/request, Keep leaves "
        "the limit, Equal sets it to the request, None removes it.",
    )


class AutoscalerMetric(WireModel):
    """Which of the autoscaler's metrics is meant, where it has several."""

    container: ContainerName | None = Field(
        None, description="Container of a ContainerResource metric. Unset: the pods' Resource metric."
    )


class Autoscaler(WireModel):
    """A field of the HorizontalPodAutoscaler that scales the target."""

    name: ContainerName | None = Field(
        None,
        description="Name of the HorizontalPodAutoscaler. Unset: the one that scales the target.",
        json_schema_extra={DEFAULT_KEY: "the one that scales the target"},
    )
    field: AutoscalerFieldName = Field(description="The field that is tuned; its unit is in its name or percent.")
    metric: AutoscalerMetric | None = Field(None, description="Which metric, where the autoscaler has several.")


class Replicas(WireModel):
    """`spec.replicas` of a target that no autoscaler scales."""


class Env(WireModel):
    """An environment variable of one container."""

    container: ContainerName = Field(description="Name of the container.")
    name: EnvName = Field(description="Name of the environment variable.")
    format: str = Field(
        "{}",
        max_length=1024,
        description="Text of the variable; its one {} is replaced by the value, for example -Xmx{}m.",
    )

    RULES = (
        Rule(
            "self.format.contains('{}') && self.format.indexOf('{}') == self.format.lastIndexOf('{}')",
            "format must hold {} exactly once, where the value goes; write it like -Xmx{}m",
            lambda m: m.format.count("{}") == 1,
            field=".format",
        ),
    )


class NodeSelector(WireModel):
    """A key of the pods' nodeSelector: a category of nodes, each with its price."""

    key: LabelKey = Field(description="The node label, for example node.kubernetes.io/instance-type.")


def _ordered(kind: str) -> Rule:
    cel = {
        "quantity": unless_malformed(QUANTITY_PATTERN, "string(self.min)", "string(self.max)")
        + "quantity(string(self.min)).isLessThan(quantity(string(self.max)))",
        "integer": "self.min < self.max",
        "decimal": unless_malformed(SIGNED_PATTERN, "self.min", "self.max") + "double(self.min) < double(self.max)",
    }[kind]
    return Rule(cel, "max must be greater than min; raise max or lower min", lambda m: m.low() < m.high(), field=".max")


class QuantityRange(WireModel):
    """A range of CPU (cores) or memory (bytes)."""

    min: Quantity = Field(description="Least value, for example 250m or 512Mi.")
    max: Quantity = Field(description="Greatest value, for example 2 or 2Gi.")
    step: Quantity | None = Field(
        None,
        description="Distance between two values of the grid, counted from min. Default: 50m for cpu, 64Mi for memory.",
        json_schema_extra={DEFAULT_KEY: "50m for cpu, 64Mi for memory"},
    )
    scale: WireScale = Field(
        "Log", description="How the range maps to the optimizer's unit interval; Log suits what acts by its ratio."
    )

    RULES = (_ordered("quantity"),)

    def low(self) -> Number:
        return parse_quantity(self.min)

    def high(self) -> Number:
        return parse_quantity(self.max)


_SCALE_DEFAULT: dict[str, Any] = {DEFAULT_KEY: "Linear; for utilization targets logit"}


class IntegerRange(WireModel):
    """A range of whole numbers."""

    min: int = Field(description="Least value.", ge=0, le=1_000_000_000)
    max: int = Field(description="Greatest value.", ge=0, le=1_000_000_000)
    step: int = Field(
        1, description="Distance between two values of the grid, counted from min.", ge=1, le=1_000_000_000
    )
    scale: WireScale | None = Field(
        None,
        description="How the range maps to the optimizer's unit interval. Default: Linear, for utilization targets "
        "the logit of the fraction.",
        json_schema_extra=_SCALE_DEFAULT,
    )

    RULES = (
        _ordered("integer"),
        Rule(
            "self.min >= self.max || self.step < 1 || "
            f"self.max - self.min >= self.step && (self.max - self.min) / self.step <= {MAX_GRID}",
            f"step must fit between min and max and divide the range into at most {MAX_GRID} values; change step",
            lambda m: m.min >= m.max or m.step <= m.max - m.min <= MAX_GRID * m.step + m.step - 1,
            field=".step",
        ),
        Rule(
            "!has(self.scale) || self.scale != 'Log' || self.min > 0",
            "min must be above 0 with scale Log; raise min or use scale Linear",
            lambda m: m.scale != "Log" or m.min > 0,
            field=".min",
        ),
    )

    def low(self) -> Number:
        return Number(self.min)

    def high(self) -> Number:
        return Number(self.max)


_DECIMAL = number("-1000000000", "1000000000")


class DecimalRange(WireModel):
    """A range of decimal numbers."""

    min: Annotated[str, _DECIMAL] = Field(description="Least value, as a decimal string.")
    max: Annotated[str, _DECIMAL] = Field(description="Greatest value, as a decimal string.")
    step: Annotated[str, number("0", "1000000000", above=True)] = Field(
        description="Distance between two values of the grid, counted from min, as a decimal string."
    )
    scale: WireScale | None = Field(
        None,
        description="How the range maps to the optimizer's unit interval. Default: Linear.",
        json_schema_extra={DEFAULT_KEY: "Linear"},
    )

    RULES = (
        _ordered("decimal"),
        Rule(
            f"{unless_malformed(SIGNED_PATTERN, 'self.min', 'self.max', 'self.step')}double(self.step) <= 0.0 || "
            "double(self.min) >= double(self.max) || double(self.max) - double(self.min) >= double(self.step) && "
            f"(double(self.max) - double(self.min)) / double(self.step) <= {MAX_GRID}.0",
            f"step must fit between min and max and divide the range into at most {MAX_GRID} values; change step",
            lambda m: m.low() >= m.high() or m.stride() <= m.high() - m.low() <= MAX_GRID * m.stride(),
            field=".step",
        ),
        Rule(
            "!has(self.scale) || self.scale != 'Log' || "
            f"{unless_malformed(SIGNED_PATTERN, 'self.min')}double(self.min) > 0.0",
            "min must be above 0 with scale Log; raise min or use scale Linear",
            lambda m: m.scale != "Log" or m.low() > 0,
            field=".min",
        ),
    )

    def low(self) -> Number:
        return Number(self.min)

    def high(self) -> Number:
        return Number(self.max)

    def stride(self) -> Number:
        return Number(self.step)


Category = Annotated[str, Field(min_length=1, max_length=253)]


class Categorical(WireModel):
    """A choice between unordered values."""

    values: Annotated[tuple[Category, ...], Unique()] = Field(
        description="The values, in any order.", min_length=2, max_length=16
    )


class When(WireModel):
    """Makes a parameter conditional: it is active only while another one has one of these values."""

    parameter: Name = Field(description="Name of a categorical parameter.")
    in_: tuple[Category, ...] = Field(
        alias="in", description="Values of that parameter.", min_length=1, max_length=16,
    )  # fmt: skip


def _step_of(p: Any) -> Number:
    return parse_quantity(p.quantity.step or DEFAULT_STEPS[p.container.resource])


def _grid_fits(p: Any) -> bool:
    if p.quantity is None or p.container is None or p.quantity.low() >= p.quantity.high():
        return True
    width, step = p.quantity.high() - p.quantity.low(), _step_of(p)
    return bool(step <= width <= MAX_GRID * step)


_Q = "self.quantity"
_STEP = f"(has({_Q}.step) ? string({_Q}.step) : (self.container.resource == 'cpu' ? '50m' : '64Mi'))"
_WIDTH = f"quantity(string({_Q}.max)).sub(quantity(string({_Q}.min)))"
_HAS_BOTH = "!has(self.container) || !has(self.quantity) || " + unless_malformed(
    QUANTITY_PATTERN, "string(self.quantity.min)", "string(self.quantity.max)"
)
_STEP_FORMED = f"has({_Q}.step) && !string({_Q}.step).matches(r'{QUANTITY_PATTERN}') || "
_ORDERED = f"!quantity(string({_Q}.min)).isLessThan(quantity(string({_Q}.max))) || "
_DOMAINS = ("quantity", "integer", "decimal", "categorical")
_LOCI = ("container", "autoscaler", "replicas", "env", "node_selector")


def _takes(locus: str, *domains: str, words: str) -> Rule:
    """A relation between where a parameter lives and what kind of values it has."""
    field = {"node_selector": "nodeSelector"}.get(locus, locus)
    cel = f"!has(self.{field}) || " + " || ".join(f"has(self.{domain})" for domain in domains)
    return Rule(
        cel,
        f"{field} parameters take {words}; replace the other kind of range",
        lambda m: getattr(m, locus) is None or any(getattr(m, domain) is not None for domain in domains),
    )


class Parameter(WireModel):
    """One thing that is tuned: where it lives, and which values it may have."""

    name: Name = Field(description="Name of the parameter, used in assignments and messages.")
    container: ContainerResource | None = Field(None, description="Tunes CPU or memory of one container.")
    autoscaler: Autoscaler | None = Field(
        None, description="Tunes a field of the target's HorizontalPodAutoscaler; needs traffic.mode HTTPRoute."
    )
    replicas: Replicas | None = Field(None, description="Tunes the number of replicas of a target without autoscaler.")
    env: Env | None = Field(None, description="Tunes an environment variable.")
    node_selector: NodeSelector | None = Field(None, description="Tunes a key of the pods' nodeSelector.")
    quantity: QuantityRange | None = Field(None, description="Values are Kubernetes quantities.")
    integer: IntegerRange | None = Field(None, description="Values are whole numbers.")
    decimal: DecimalRange | None = Field(None, description="Values are decimal numbers.")
    categorical: Categorical | None = Field(None, description="Values are names without an order.")
    when: When | None = Field(None, description="Makes the parameter conditional on another one.")
    max_decrease_percent: Annotated[str, percentage(above=True)] | None = Field(
        None,
        description="Largest decrease in one step from a verified assignment. Default: 20 for memory, else 30; "
        "replicas go down by one. At least one grid step is always allowed.",
        json_schema_extra={DEFAULT_KEY: "20 for memory, else 30; replicas by one"},
    )
    max_increase_percent: Annotated[str, percentage(most="1000", above=True)] | None = Field(
        None,
        description="Largest increase in one step from a verified assignment. Default: 50; utilization targets go up "
        "by 10 points. At least one grid step is always allowed.",
        json_schema_extra={DEFAULT_KEY: "50; utilization targets by 10 points"},
    )

    RULES = (
        exactly_one(*_LOCI),
        exactly_one(*_DOMAINS),
        _takes("container", "quantity", words="quantity {min, max}"),
        _takes("autoscaler", "integer", "decimal", words="integer {min, max} or decimal {min, max, step}"),
        _takes("replicas", "integer", words="integer {min, max}"),
        _takes("env", "integer", "decimal", "categorical", words="integer, decimal or categorical values"),
        _takes("node_selector", "categorical", words="categorical {values}"),
        Rule(
            f"{_HAS_BOTH}self.container.resource != 'cpu' || "
            "!quantity(string(self.quantity.max)).isGreaterThan(quantity('1024'))",
            "max of cpu is in cores and may not exceed 1024; write 250m for a quarter of a core",
            lambda m: not (m.container and m.quantity and m.container.resource == "cpu" and m.quantity.high() > 1024),
            field=".quantity.max",
        ),
        Rule(
            f"{_HAS_BOTH}self.container.resource != 'memory' || "
            "!quantity(string(self.quantity.min)).isLessThan(quantity('1Mi'))",
            "min of memory is in bytes and must be at least 1Mi; write 512Mi for 512 mebibytes",
            lambda m: (
                not (m.container and m.quantity and m.container.resource == "memory" and m.quantity.low() < 2**20)
            ),
            field=".quantity.min",
        ),
        Rule(
            f"{_HAS_BOTH}{_STEP_FORMED}{_ORDERED}({_WIDTH}.compareTo(quantity({_STEP})) >= 0 && "
            f"{_WIDTH}.asApproximateFloat() <= {MAX_GRID}.0 * quantity({_STEP}).asApproximateFloat())",
            "step (default 50m for cpu, 64Mi for memory) must fit between min and max and divide the range into at "
            f"most {MAX_GRID} values; change quantity.step",
            _grid_fits,
            field=".quantity",
        ),
        *PARAMETER_RULES,
    )
