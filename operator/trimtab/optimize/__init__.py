"""The optimizer: a constrained Gaussian process with a safe set, behind the Designer port.

`Optimizer` and what it needs are for programs outside Kubernetes (`library.py`). They are loaded when they are asked
for: the operator's own process has no use for numpy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trimtab.optimize.library import (
        Bound,
        Choices,
        Counts,
        Diagnostics,
        Forecast,
        FrontPoint,
        Optimizer,
        Order,
        Range,
        Ratio,
        Recommendation,
        Suggestion,
        Sum,
    )

__all__ = [
    "Bound", "Choices", "Counts", "Diagnostics", "Forecast", "FrontPoint", "Optimizer", "Order", "Range", "Ratio",
    "Recommendation", "Suggestion", "Sum",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in __all__:
        from trimtab.optimize import library

        return getattr(library, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
