"""Parameters that are no resources: environment variables and node selectors. Pure.

What the target has today is the baseline, so it must be written in the Deployment itself and read back as it stands: a
value from a ConfigMap or Secret is not known, and one that a trial would spell in another way would be a change.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from trimtab.domain.errors import InvalidSpec
from trimtab.domain.kube import EnvSetting, Labels, Target
from trimtab.domain.space import (
    Assignment,
    Categorical,
    ContainerResource,
    EnvValue,
    NodeSelectorKey,
    Numeric,
    Parameter,
    Value,
)
from trimtab.domain.spec import ExperimentSpec

IN_DEPLOYMENT = "set it in the Deployment: it is what trials are compared with"


class BaselineError(InvalidSpec):
    """The target's present values are no point of the search; `reason` is a CamelCase condition reason."""

    def __init__(self, reason: str, field: str, problem: str, remedy: str) -> None:
        self.reason = reason
        super().__init__(field, problem, remedy)


def env_settings(spec: ExperimentSpec, assignment: Assignment) -> tuple[EnvSetting, ...]:
    """The variables that an assignment sets."""
    return tuple(
        EnvSetting(p.locus.container, p.locus.name, env_text(p, assignment[p.name]))
        for p in spec.space.parameters
        if isinstance(p.locus, EnvValue)
    )


def node_labels(spec: ExperimentSpec, assignment: Assignment) -> Labels:
    """The node selectors that an assignment sets, by key."""
    loci = ((p.name, p.locus) for p in spec.space.parameters)
    return tuple(sorted((at.key, str(assignment[name])) for name, at in loci if isinstance(at, NodeSelectorKey)))


def node_parameter(spec: ExperimentSpec) -> str | None:
    """The parameter whose values have prices of their own."""
    return next((p.name for p in spec.space.parameters if isinstance(p.locus, NodeSelectorKey)), None)


def env_text(parameter: Parameter, value: Value) -> str:
    """The variable's text: `-Xmx512m`."""
    assert isinstance(parameter.locus, EnvValue)
    return parameter.locus.format.replace("{}", parameter.format(value))


def present(target: Target, parameter: Parameter) -> Value:
    """What the target has today.

    Raises:
        BaselineError: it sets nothing, or something that is no value of this parameter.
    """
    if isinstance(parameter.locus, EnvValue):
        return _of_env(target, parameter, parameter.locus)
    assert isinstance(parameter.locus, NodeSelectorKey)
    field, key = f"spec.parameters[{parameter.name}].nodeSelector", parameter.locus.key
    found = dict(target.node_selector).get(key)
    if found is None:
        raise BaselineError("NoBaseline", field, f"Deployment {target.name} has no nodeSelector {key}", IN_DEPLOYMENT)
    return _category(parameter, found, f"nodeSelector {key}")


def _of_env(target: Target, parameter: Parameter, locus: EnvValue) -> Value:
    field, what = f"spec.parameters[{parameter.name}].env", f"{locus.name} of container {locus.container}"
    container = target.container(locus.container)
    if container is None:
        names = ", ".join(c.name for c in target.containers)
        problem = f"Deployment {target.name} has no container {locus.container}"
        raise BaselineError("ContainerNotFound", f"{field}.container", problem, f"use one of its containers: {names}")
    known = dict(container.env)
    if locus.name not in known:
        raise BaselineError("NoBaseline", field, f"{what} is not set", IN_DEPLOYMENT)
    text = known[locus.name]
    if text is None:
        problem = f"{what} comes from a ConfigMap, a Secret or the pod itself"
        raise BaselineError("NoBaseline", field, problem, "write its value into the Deployment")
    before, _, after = locus.format.partition("{}")
    if len(text) < len(before) + len(after) or not (text.startswith(before) and text.endswith(after)):
        problem = f"{what} does not read {locus.format}"
        raise BaselineError("NoBaseline", f"{field}.format", problem, "correct format, or the Deployment")
    inner = text[len(before) : len(text) - len(after)]
    return _category(parameter, inner, what) if isinstance(parameter.domain, Categorical) else _number(parameter, inner)


def _category(parameter: Parameter, found: str, what: str) -> str:
    domain = parameter.domain
    assert isinstance(domain, Categorical)
    if found not in domain.values:
        field, values = f"spec.parameters[{parameter.name}].categorical", ", ".join(domain.values)
        problem = f"{what} is {found} at present, which is none of {values}"
        raise BaselineError("BaselineOutsideSpace", field, problem, f"add {found} to values")
    return found


def _number(parameter: Parameter, inner: str) -> Decimal:
    domain, field = parameter.domain, f"spec.parameters[{parameter.name}]"
    assert isinstance(domain, Numeric)
    assert isinstance(parameter.locus, EnvValue)
    try:
        value = Decimal(inner)
    except InvalidOperation:
        value = Decimal("nan")
    if not value.is_finite() or (domain.integer and value != value.to_integral_value()):
        kind = "a whole number" if domain.integer else "a number"
        problem = f"{parameter.locus.name} holds {inner!r} at present, which is not {kind}"
        raise BaselineError("NoBaseline", f"{field}.env", problem, "correct format, or use categorical values")
    spelled = parameter.format(value)
    if spelled != inner:
        problem = f"{parameter.locus.name} holds {inner} at present, which trials would write {spelled}"
        raise BaselineError("NoBaseline", f"{field}.env", problem, f"write {spelled} in the Deployment")
    inside(parameter, value, f"{parameter.locus.name} is")
    return value


def inside(parameter: Parameter, value: Decimal, subject: str) -> None:
    """Today's value must lie in the range; `subject` are the words before it: `container api has cpu`.

    Raises:
        BaselineError: it does not.
    """
    domain = parameter.domain
    assert isinstance(domain, Numeric)
    if domain.minimum <= value <= domain.maximum:
        return
    low, high, shown = (parameter.format(v) for v in (domain.minimum, domain.maximum, value))
    side = "min" if value < domain.minimum else "max"
    kind = "integer" if domain.integer else "decimal"
    kind = "quantity" if isinstance(parameter.locus, ContainerResource) else kind
    raise BaselineError(
        "BaselineOutsideSpace",
        f"spec.parameters[{parameter.name}].{kind}",
        f"{subject} {shown} at present, outside {low} to {high}",
        f"set {side} to {shown}, so that the search starts from what is known to work",
    )


__all__ = [
    "BaselineError",
    "env_settings",
    "env_text",
    "inside",
    "node_labels",
    "node_parameter",
    "present",
]
