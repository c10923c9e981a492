"""What a route says of the weights in it: an annotation, written with them in one PUT.

Whoever finds it can put everything back from the route alone: another leader, `trimtab reap`, a person. It holds the
rule as it was, what was written over it, and who owned the route's rules: a PUT takes ownership of them, and their
owner's next apply would conflict with a manager that has long gone.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trimtab.domain.names import ANNOTATION_ROUTE, MANAGED_BY
from trimtab.domain.route import Shares

MANAGER = MANAGED_BY  # the field manager of our PUTs, from the client's User-Agent
_METADATA, _ANNOTATIONS = "f:metadata", "f:annotations"
Obj = dict[str, Any]
Raw = Mapping[str, Any]


class UnreadableClaim(ValueError):
    """The annotation is not what was written; the message says how."""


@dataclass(frozen=True)
class Written:
    """The annotation, parsed.

    `original` is the rule as it was, `weights` those that were written (the rule's own backends, then the arms), `at`
    the index of the backend whose traffic they share. `owners` are entries of managedFields, each with its part of
    `f:rules` alone. The rest as in `domain.route.Claim`.
    """

    trial_uid: str
    trial_name: str
    experiment_uid: str
    experiment_name: str
    deadline: float
    since: float
    shares: Shares
    rule: str
    at: int
    arms: tuple[str, ...]
    weights: tuple[int, ...]
    original: Raw
    owners: tuple[Raw, ...]

    def text(self) -> str:
        """As the annotation holds it."""
        return json.dumps(
            {
                "trial": {"name": self.trial_name, "uid": self.trial_uid},
                "experiment": {"name": self.experiment_name, "uid": self.experiment_uid},
                "deadline": self.deadline,
                "since": self.since,
                "shares": list(self.shares),
                "rule": self.rule,
                "backend": self.at,
                "arms": list(self.arms),
                "weights": list(self.weights),
                "original": self.original,
                "owners": list(self.owners),
            },
            sort_keys=True,
        )


def written_in(manifest: Raw) -> Written | None:
    """What the route's annotation says; None without one.

    Raises:
        UnreadableClaim: a hand wrote into it.
    """
    text = (manifest["metadata"].get("annotations") or {}).get(ANNOTATION_ROUTE)
    if text is None:
        return None
    try:
        return _parsed(json.loads(text))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnreadableClaim(f"annotation {ANNOTATION_ROUTE} cannot be read: {error!r}"[:300]) from error


def _parsed(found: Any) -> Written:
    trial, experiment = found["trial"], found["experiment"]
    canary, control = found["shares"]
    made = Written(
        trial_uid=str(trial["uid"]),
        trial_name=str(trial["name"]),
        experiment_uid=str(experiment["uid"]),
        experiment_name=str(experiment["name"]),
        deadline=float(found["deadline"]),
        since=float(found["since"]),
        shares=(float(canary), float(control)),
        rule=str(found["rule"]),
        at=int(found["backend"]),
        arms=tuple(str(arm) for arm in found["arms"]),
        weights=tuple(int(weight) for weight in found["weights"]),
        original=dict(found["original"]),
        owners=tuple(dict(owner) for owner in found["owners"]),
    )
    own = len(made.original["backendRefs"])
    if not 0 <= made.at < own or len(made.weights) != own + len(made.arms):
        raise ValueError("its weights do not belong to its rule")
    return made


# Ownership of fields: metadata.managedFields


def owners_of_rules(managed: Sequence[Raw]) -> tuple[Obj, ...]:
    """Who owns the route's rules, but for us."""
    return tuple(
        {**_without_fields(entry), "fieldsV1": {"f:spec": {"f:rules": _rules(entry)}}}
        for entry in managed
        if entry.get("manager") != MANAGER and _rules(entry) is not None
    )


def given_back(managed: Sequence[Raw], owners: Sequence[Raw]) -> list[Obj]:
    """managedFields without us; the rules, where they were ours, belong to whom they did before.

    What somebody else owns by now stays theirs.
    """
    ours = any(entry.get("manager") == MANAGER and _rules(entry) is not None for entry in managed)
    made = [copy.deepcopy(dict(entry)) for entry in managed]
    made = [entry for entry in made if entry.get("manager") != MANAGER or _let_go(entry)]
    for owner in owners if ours else ():
        same = next((entry for entry in made if _who(entry) == _who(owner)), None)
        if same is None:
            made.append(copy.deepcopy({**owner, "fieldsType": "FieldsV1"}))
        else:
            same.setdefault("fieldsV1", {}).setdefault("f:spec", {})["f:rules"] = copy.deepcopy(_rules(owner))
    return made


def _let_go(entry: Obj) -> bool:
    """Take what Trimtab writes out of an entry of its name; is anything left?"""
    fields: Obj = entry.get("fieldsV1") or {}
    _drop(fields, ("f:spec", "f:rules"))
    _drop(fields, (_METADATA, _ANNOTATIONS, f"f:{ANNOTATION_ROUTE}"))
    annotations = (fields.get(_METADATA) or {}).get(_ANNOTATIONS)
    if annotations is not None and not set(annotations) - {"."}:
        _drop(fields, (_METADATA, _ANNOTATIONS))
    return bool(fields)


def _drop(fields: Obj, path: Sequence[str]) -> None:
    """Remove what stands there, and what is empty without it."""
    head, *rest = path
    if rest and isinstance(fields.get(head), dict):
        _drop(fields[head], rest)
    if head in fields and (not rest or not fields[head]):
        del fields[head]


def _rules(entry: Raw) -> Any:
    """The entry's part of the rules; None when it has none. (The list is atomic, so its part is {}.)"""
    return ((entry.get("fieldsV1") or {}).get("f:spec") or {}).get("f:rules")


def _without_fields(entry: Raw) -> Obj:
    return {key: value for key, value in entry.items() if key not in {"fieldsV1", "fieldsType"}}


def _who(entry: Raw) -> tuple[Any, ...]:
    """By what the API server tells managers apart."""
    return tuple(entry.get(key) or "" for key in ("manager", "operation", "apiVersion", "subresource"))


__all__ = ["MANAGER", "UnreadableClaim", "Written", "given_back", "owners_of_rules", "written_in"]
