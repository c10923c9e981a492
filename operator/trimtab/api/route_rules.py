"""Weights in one rule of an HTTPRoute, as pure functions on its JSON: written, recognized, and taken out again.

What was there before is recorded in the route itself (`route_claim.py`). Nothing else of the rule is touched, and what
others changed meanwhile stays.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from trimtab.domain.route import BackendView, Shares, split

Rule = Mapping[str, Any]
Obj = dict[str, Any]


def backend_view(reference: Rule) -> BackendView:
    """A backendRef; the API server fills in what is left out here."""
    plain = (reference.get("group") or "", reference.get("kind", "Service")) == ("", "Service")
    return BackendView(
        reference["name"],
        reference.get("weight", 1),
        reference.get("port"),
        plain and not reference.get("namespace"),
    )


def backends(rule: Rule) -> list[Obj]:
    """The rule's backendRefs; what is left out is none."""
    return list(rule.get("backendRefs") or ())


def weights_of(references: Sequence[Rule]) -> list[int]:
    """What each backendRef weighs."""
    return [backend_view(r).weight for r in references]


def index_of(references: Sequence[Rule], service: str) -> int | None:
    """Where the backend that is this Service stands."""
    views = [backend_view(r) for r in references]
    return next((i for i, v in enumerate(views) if v.plain and v.name == service), None)


def with_arms(rule: Rule, weights: Sequence[int], at: int, arms: Sequence[str]) -> Obj:
    """The rule with these weights, the arms' backends at the end: each a copy of the backend at `at`.

    Args:
        weights: of the rule's own backends, in order, then of the arms.
    """
    own = [copy.deepcopy(dict(r)) for r in backends(rule)]
    added = [copy.deepcopy(own[at]) | {"name": arm} for arm in arms]
    references = [r | {"weight": w} for r, w in zip([*own, *added], weights, strict=True)]
    return {**rule, "backendRefs": references}


def planned_weights(rule: Rule, at: int, shares: Shares) -> tuple[int, ...]:
    """Of the rule's own backends and both arms, at these shares."""
    return split(weights_of(backends(rule)), at, shares)


def without_arms(live: Rule, original: Rule, weights: Sequence[int], at: int, arms: Sequence[str]) -> Obj:
    """The live rule with nothing of ours in it: the arms' backends are taken out, the weights put back.

    Where somebody changed weights meanwhile, theirs stay, and the backend gets back what the arms had of it: what is
    left divides the traffic as they meant it. `weights` are those that were written, as in `with_arms`.
    """
    kept = [copy.deepcopy(r) for r in backends(live) if not _is_arm(r, arms)]
    before = backends(original)
    unchanged = weights_of(kept) == list(weights[: len(before)])
    if unchanged and [_identity(r) for r in kept] == [_identity(r) for r in before]:
        # Only the weight is ours to put back, and whether one was written at all.
        kept = [_weighing(mine, theirs) for mine, theirs in zip(kept, before, strict=True)]
    elif (index := _same(kept, before[at], weights[at])) is not None and len(kept) < len(backends(live)):
        kept[index]["weight"] = weights[at] + sum(weights[len(before) :])
    return {**live, "backendRefs": kept}


def has_arms(rule: Rule, arms: Sequence[str]) -> bool:
    """Does it lead to one of them?"""
    return any(_is_arm(r, arms) for r in backends(rule))


def arms_out(rule: Rule, prefix: str) -> Obj:
    """The rule without backends whose names begin so: where nothing says what it was before."""
    kept = [r for r in backends(rule) if not (backend_view(r).plain and r["name"].startswith(prefix))]
    return {**rule, "backendRefs": kept}


def _is_arm(reference: Rule, arms: Sequence[str]) -> bool:
    view = backend_view(reference)
    return view.plain and view.name in arms


def _identity(reference: Rule) -> Obj:
    """A backendRef but for its weight."""
    return {key: value for key, value in reference.items() if key != "weight"}


def _weighing(reference: Obj, like: Rule) -> Obj:
    if "weight" in like:
        return reference | {"weight": like["weight"]}
    return _identity(reference)


def _same(references: Sequence[Rule], wanted: Rule, weight: int) -> int | None:
    """Where this very backend stands, still with this weight."""
    alike = [i for i, r in enumerate(references) if _identity(r) == _identity(wanted)]
    return alike[0] if len(alike) == 1 and backend_view(references[alike[0]]).weight == weight else None


__all__ = [
    "arms_out",
    "backend_view",
    "backends",
    "has_arms",
    "index_of",
    "planned_weights",
    "weights_of",
    "with_arms",
    "without_arms",
]
