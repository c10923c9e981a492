"""The effective spec: what a manifest means once every default is filled in, also those that depend on other fields."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trimtab.api.experiment import ExperimentSpec
from trimtab.api.parameters import DEFAULT_STEPS, Parameter
from trimtab.domain.quantity import format_duration
from trimtab.domain.space import Apply, Categorical
from trimtab.domain.spec import ErrorBudget as Budget
from trimtab.domain.spec import ExperimentSpec as Domain


def effective(wire: ExperimentSpec, domain: Domain) -> dict[str, Any]:
    """The manifest's form of the spec with every default written out."""
    full = wire.wire()
    for written, parameter, parsed in zip(full["parameters"], wire.parameters, domain.space.parameters, strict=True):
        _fill_parameter(written, parameter)
        ranged = written.get("integer") or written.get("decimal")
        if ranged is not None and not isinstance(parsed.domain, Categorical):
            ranged.setdefault("scale", parsed.domain.scale.value)
    for written, sli in zip(full["slis"], domain.slis, strict=True):
        written.setdefault("minSamples", sli.min_samples)
    for written, budget in zip(full["errorBudgets"], domain.budgets, strict=True):
        _fill_budget(written, budget)
    full.setdefault("telemetry", {"store": domain.store})
    full["search"].setdefault("initialTrials", domain.search.initial_trials)
    full["trial"].setdefault("earlySuccess", domain.trial.early_success)
    full["safety"].setdefault("resourceGuards", "Enforce" if domain.safety.resource_guards else "Off")
    return full


def _fill_parameter(written: dict[str, Any], parameter: Parameter) -> None:
    if parameter.container is not None:
        usual = Apply.BOTH if parameter.container.resource == "memory" else Apply.REQUESTS
        written["container"].setdefault("apply", usual.value)
        if parameter.quantity is not None:
            written["quantity"].setdefault("step", DEFAULT_STEPS[parameter.container.resource])


def _fill_budget(written: dict[str, Any], budget: Budget) -> None:
    if budget.pause_on_burn is not None:
        pause = budget.pause_on_burn
        usual = {"percent": f"{100 * pause.fraction:g}", "window": format_duration(pause.window)}
        written.setdefault("pauseOnBurn", usual)
    pairs = [
        {"short": format_duration(p.short), "long": format_duration(p.long), "factor": f"{p.factor:g}"}
        for p in budget.rollback_on_burn
    ]
    written.setdefault("rollbackOnBurnRate", pairs)


def leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """(path, value) of everything that is not an object; lists of plain values count as one."""
    if isinstance(value, dict):
        for key, child in value.items():
            yield from leaves(child, f"{path}.{key}")
    elif isinstance(value, list) and any(isinstance(child, dict) for child in value):
        for index, child in enumerate(value):
            yield from leaves(child, f"{path}[{index}]")
    else:
        yield path, value
