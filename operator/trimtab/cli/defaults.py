"""The effective Experiment: every default written out, also the optimizer's step limits, which the API leaves open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trimtab.api import effective as api
from trimtab.api.convert_spec import parse_spec, read_spec
from trimtab.domain.space import ContainerResource, Resource
from trimtab.optimize.steps import CPU_DECREASE, INCREASE, MEMORY_DECREASE


def effective(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest with the spec that the operator acts upon.

    Raises:
        InvalidSpec: the spec cannot be understood; names the field and the remedy.
        NotYetSupported: the spec asks for something that this version does not have.
    """
    parsed = parse_spec(manifest.get("spec"))
    spec = api.effective(read_spec(manifest.get("spec")), parsed)
    for written, parameter in zip(spec["parameters"], parsed.space.parameters, strict=True):
        if isinstance(parameter.locus, ContainerResource):
            cpu = parameter.locus.resource is Resource.CPU
            written.setdefault("maxDecreasePercent", f"{100 * (CPU_DECREASE if cpu else MEMORY_DECREASE):g}")
            written.setdefault("maxIncreasePercent", f"{100 * INCREASE:g}")
    return {**manifest, "spec": spec}
