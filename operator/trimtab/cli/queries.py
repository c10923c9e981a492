"""PromQL of a manifest, read without a metrics store: what the operator would refuse to send."""

from __future__ import annotations

from typing import Any

from trimtab.api.convert_spec import parse_spec
from trimtab.api.lint import Finding
from trimtab.control.preflight_queries import query_problems
from trimtab.domain.errors import InvalidSpec, NotYetSupported


def refused_queries(manifest: Any) -> list[Finding]:
    """One finding for each SLI whose queries, matchers or segment must not be sent; none while the manifest has other
    errors, which come first."""
    try:
        spec = parse_spec(manifest["spec"])
    except (InvalidSpec, NotYetSupported, LookupError, TypeError):
        return []
    return [
        Finding(p.field, p.message.removeprefix(f"{p.field}: ").removesuffix(f"; {p.remedy}"), p.remedy)
        for p in query_problems(spec)
    ]


__all__ = ["refused_queries"]
