"""What the API server refuses of Trimtab's own objects: the rules of the CRDs that compare with the past.

The rules themselves are CEL in the CRDs, generated from `trimtab.api`, and tested there on a real API server; here is
what a simulation needs of them so that a write that would be refused in production is refused, too.
"""

from __future__ import annotations

from collections.abc import Callable

from trimtab.api.experiment import FROZEN
from trimtab.domain import kinds
from trimtab.domain.errors import Rejected
from trimtab.domain.kinds import Kind
from trimtab.domain.kube import Manifest
from trimtab.domain.trial import TrialPhase
from trimtab.simulate.objects import Obj, resource_of

TERMINAL = frozenset(phase.value for phase in TrialPhase if phase.terminal)
ROUTE_LIMIT, WEIGHT_LIMIT = 16, 1_000_000  # rules of a route and backends of a rule; a weight
Admission = Callable[[Kind, str, Obj, Manifest | None], None]


def admit_own(kind: Kind, verb: str, new: Obj, old: Manifest | None) -> None:
    """The CRDs' transition rules.

    Raises:
        Rejected: as the server would, with the rule's words.
    """
    if verb != "replace" or old is None:
        return
    if kind == kinds.TRIALS:
        _admit_trial(new, old)
    elif kind == kinds.EXPERIMENTS:
        _admit_experiment(new, old)


def _admit_trial(new: Obj, old: Manifest) -> None:
    if new.get("spec") != old.get("spec"):
        _refuse(kinds.TRIALS, old, "spec of a Trial is immutable; it is a row of a ledger")
    status = old.get("status")
    if status is not None and status.get("phase") in TERMINAL and new.get("status") != status:
        _refuse(kinds.TRIALS, old, "a terminal status never changes")


def _admit_experiment(new: Obj, old: Manifest) -> None:
    created = int((old.get("status") or {}).get("trialsCreated", 0))
    if int((new.get("status") or {}).get("trialsCreated", 0)) < created:
        _refuse(kinds.EXPERIMENTS, old, "status.trialsCreated never shrinks")
    before, after = old.get("spec") or {}, new.get("spec") or {}
    if before.get("targetRef") != after.get("targetRef"):
        _refuse(kinds.EXPERIMENTS, old, "targetRef is immutable; create a new Experiment for another target")
    for field in FROZEN if created else ():
        if before.get(field) != after.get(field):
            _refuse(kinds.EXPERIMENTS, old, f"spec.{field} is frozen once a trial exists; create a new Experiment")


def admit_routes(kind: Kind, verb: str, new: Obj, old: Manifest | None) -> None:
    """The rules of an HTTPRoute's definition that whoever changes weights may break.

    Raises:
        Rejected: as the server would, with the field.
    """
    del verb, old
    rules = (new.get("spec") or {}).get("rules") or () if kind == kinds.HTTP_ROUTES else ()
    if len(rules) > ROUTE_LIMIT:
        _refuse(kind, new, f"spec.rules: Too many: {len(rules)}: must have at most {ROUTE_LIMIT} items")
    for index, rule in enumerate(rules):
        backends = rule.get("backendRefs") or ()
        if len(backends) > ROUTE_LIMIT:
            words = f"Too many: {len(backends)}: must have at most {ROUTE_LIMIT} items"
            _refuse(kind, new, f"spec.rules[{index}].backendRefs: {words}")
        for place, ref in enumerate(backends):
            _admit_backend(kind, new, f"spec.rules[{index}].backendRefs[{place}]", ref)


def _admit_backend(kind: Kind, new: Obj, field: str, ref: Manifest) -> None:
    weight = ref.get("weight", 1)
    if not 0 <= weight <= WEIGHT_LIMIT:
        bound = f"less than or equal to {WEIGHT_LIMIT}" if weight > 0 else "greater than or equal to 0"
        _refuse(kind, new, f"{field}.weight: Invalid value: {weight}: {field}.weight in body should be {bound}")
    if (ref.get("group", ""), ref.get("kind", "Service")) == ("", "Service") and "port" not in ref:
        _refuse(kind, new, f'{field}: Invalid value: "object": Must have port for Service reference')


def _refuse(kind: Kind, obj: Manifest, words: str) -> None:
    raise Rejected(422, f'{resource_of(kind)} "{obj["metadata"]["name"]}" is invalid: {words}')


def all_of(*admissions: Admission) -> Admission:
    """Each in turn."""

    def admit(kind: Kind, verb: str, new: Obj, old: Manifest | None) -> None:
        for each in admissions:
            each(kind, verb, new, old)

    return admit


__all__ = ["admit_own", "admit_routes", "all_of"]
