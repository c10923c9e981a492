"""An HTTPRoute, read for the core, and the two writes that a trial makes of it: weights in, weights out.

Taking them out needs two PUTs. The first puts the rule back: from then on the arms get nothing. It makes us the owner
of the rules, as the one before did; only a PUT that changes no field can give managedFields as they were. The
annotation goes with the second, so that a crash between the two leaves word of what is left to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from trimtab.api.kube_read import Raw, managed_by
from trimtab.api.route_claim import UnreadableClaim, Written, given_back, owners_of_rules, written_in
from trimtab.api.route_rules import (
    arms_out,
    backend_view,
    backends,
    has_arms,
    index_of,
    planned_weights,
    with_arms,
    without_arms,
)
from trimtab.domain.errors import InvalidSpec
from trimtab.domain.kube import Manifest
from trimtab.domain.names import ANNOTATION_ROUTE, ANNOTATION_WEIGHTS_OK, arm_prefix
from trimtab.domain.route import Claim, RoutePlan, RouteView, RuleView, Standing

Obj = dict[str, Any]
# Who writes manifests from elsewhere, by the names under which they apply.
TOOLS = {
    "argocd-controller": "Argo CD",
    "argocd-application-controller": "Argo CD",
    "kustomize-controller": "Flux",
    "helm-controller": "Flux",
}


def route_view(manifest: Manifest) -> RouteView:
    """A route with its rules, its standing at its Gateways, and whose weights it carries."""
    metadata, annotations = manifest["metadata"], manifest["metadata"].get("annotations") or {}
    claim, problem = None, ""
    try:
        written = written_in(manifest)
    except UnreadableClaim as error:
        problem = str(error)
    else:
        claim = None if written is None else _claim(manifest, written)
    return RouteView(
        name=metadata["name"],
        namespace=metadata["namespace"],
        rules=tuple(_rule_view(r) for r in _rules(manifest)),
        accepted=_accepted(manifest),
        claim=claim,
        claim_problem=problem,
        managed_by=_managed_by(metadata),
        weights_ok=ANNOTATION_WEIGHTS_OK in annotations,
    )


def _claim(manifest: Manifest, written: Written) -> Claim:
    return Claim(
        trial_uid=written.trial_uid,
        trial_name=written.trial_name,
        experiment_uid=written.experiment_uid,
        experiment_name=written.experiment_name,
        rule=written.rule,
        shares=written.shares,
        since=written.since,
        deadline=written.deadline,
        standing=_standing(_rule_of(manifest, written), written),
    )


def _rule_of(manifest: Manifest, written: Written) -> Raw | None:
    return _rule(manifest, written.rule, written.arms)


def _standing(live: Raw | None, written: Written) -> Standing:
    if live is None or not has_arms(live, written.arms):
        return Standing.FREE
    as_written = with_arms(written.original, written.weights, written.at, written.arms)
    return Standing.WRITTEN if dict(live) == as_written else Standing.EDITED


def _rule_view(rule: Raw) -> RuleView:
    references = backends(rule)
    filters = [f["type"] for each in (rule, *references) for f in each.get("filters") or ()]
    return RuleView(rule.get("name") or "", tuple(map(backend_view, references)), tuple(filters))


def _rules(manifest: Manifest) -> Sequence[Raw]:
    return manifest["spec"].get("rules") or ()


def _rule(manifest: Manifest, name: str, arms: Sequence[str] = ()) -> Raw | None:
    """The rule of this name. Names may be repeated: then the one that leads to these arms, else the first."""
    named = [r for r in _rules(manifest) if r.get("name") == name]
    return next((r for r in named if has_arms(r, arms)), named[0] if named else None)


def _accepted(manifest: Manifest) -> bool:
    """Some parent has accepted it as it is now."""
    parents = (manifest.get("status") or {}).get("parents") or ()
    conditions = (c for parent in parents for c in parent.get("conditions") or ())
    return any(c.get("type") == "Accepted" and c.get("status") == "True" for c in conditions)


def observed(manifest: Manifest) -> bool:
    """Every parent has decided on the route as it is now; true where there is none."""
    now = manifest["metadata"].get("generation", 0)
    parents = (manifest.get("status") or {}).get("parents") or ()
    return all(any(_seen(c, now) for c in parent.get("conditions") or ()) for parent in parents)


def _seen(condition: Raw, generation: int) -> bool:
    return bool(condition.get("type") == "Accepted" and condition.get("observedGeneration", 0) >= generation)


def _managed_by(metadata: Raw) -> str:
    known = managed_by(metadata)
    tools = (TOOLS[e["manager"]] for e in metadata.get("managedFields") or () if e.get("manager") in TOOLS)
    return known or next(tools, "")


# In


def with_weights(manifest: Manifest, plan: RoutePlan, now: float) -> Manifest | None:
    """The body of the PUT that gives the plan's arms their share; None when they have it.

    The rule as it was is recorded with the first of these writes and kept by the next ones.

    Raises:
        InvalidSpec: the rule or the backend is not there, or others' weights are.
    """
    before = written_in_or_none(manifest)
    live = _rule(manifest, plan.rule, (plan.canary, plan.control))
    if live is None:
        raise InvalidSpec(_where(plan), f"it has no rule {plan.rule}")
    if before is not None:
        if before.trial_uid != plan.trial_uid or _standing(live, before) is not Standing.WRITTEN:
            raise InvalidSpec(_where(plan), f"it carries weights of trial {before.trial_name}, or was edited")
        if before.shares == plan.shares:
            return None
        original, at, owners = before.original, before.at, before.owners
    else:
        found = index_of(backends(live), plan.backend)
        if found is None:
            raise InvalidSpec(_where(plan), f"its rule {plan.rule} has no backend {plan.backend}")
        original, at = live, found
        owners = owners_of_rules(manifest["metadata"].get("managedFields") or ())
    arms = (plan.canary, plan.control)
    weights = planned_weights(original, at, plan.shares)
    record = Written(
        plan.trial_uid, plan.trial_name, plan.experiment_uid, plan.experiment_name, plan.deadline, now, plan.shares,
        plan.rule, at, arms, weights, original, owners,
    )  # fmt: skip
    return _body(manifest, live, with_arms(original, weights, at, arms), record)


def _where(plan: RoutePlan) -> str:
    return f"HTTPRoute {plan.route}"


def written_in_or_none(manifest: Manifest) -> Written | None:
    """The annotation, None also where it cannot be read."""
    try:
        return written_in(manifest)
    except UnreadableClaim:
        return None


# Out


def toward_release(manifest: Manifest, trial_uid: str, experiment_uid: str) -> Manifest | None:
    """The body of the next PUT that frees a route of this trial's weights; None when nothing is left to do.

    Where no readable annotation says what was there before, backends named as this Experiment's arms are taken out.
    """
    try:
        written = written_in(manifest)
    except UnreadableClaim:
        return _salvaged(manifest, experiment_uid, drop=True)
    if written is None:
        return _salvaged(manifest, experiment_uid, drop=False)
    if written.trial_uid != trial_uid:
        return None
    live = _rule_of(manifest, written)
    if live is not None:
        freed = without_arms(live, written.original, written.weights, written.at, written.arms)
        if freed != dict(live):
            edited = _standing(live, written) is not Standing.WRITTEN
            owners = owners_of_rules(manifest["metadata"].get("managedFields") or ())
            # Who wrote the rule after us owns it now; the recorded owners did before.
            record = replace(written, owners=owners) if edited and owners else written
            return _body(manifest, live, freed, record)
    return _unclaimed(manifest, written)


def _salvaged(manifest: Manifest, experiment_uid: str, *, drop: bool) -> Manifest | None:
    prefix = arm_prefix(experiment_uid)
    rules = [dict(r) for r in _rules(manifest)]
    freed = [arms_out(r, prefix) if _named(r, prefix) else r for r in rules]
    if freed == rules:
        return None
    made: Obj = {**manifest, "spec": {**manifest["spec"], "rules": freed}}
    return _without_annotation(made) if drop else made


def _named(rule: Raw, prefix: str) -> bool:
    return any(view.plain and view.name.startswith(prefix) for view in map(backend_view, backends(rule)))


def _body(manifest: Manifest, old: Raw, new: Raw, record: Written) -> Manifest:
    """The route with one of its rules changed and the record of it: both in one PUT, or neither."""
    rules = [new if r is old else r for r in _rules(manifest)]
    metadata = manifest["metadata"]
    annotations = {**(metadata.get("annotations") or {}), ANNOTATION_ROUTE: record.text()}
    return {
        **manifest,
        "metadata": {**metadata, "annotations": annotations},
        "spec": {**manifest["spec"], "rules": rules},
    }


def _unclaimed(manifest: Manifest, written: Written) -> Manifest:
    made = _without_annotation(manifest)
    managed = given_back(manifest["metadata"].get("managedFields") or (), written.owners)
    made["metadata"]["managedFields"] = managed
    return made


def _without_annotation(manifest: Manifest) -> Obj:
    metadata = dict(manifest["metadata"])
    kept = {k: v for k, v in (metadata.get("annotations") or {}).items() if k != ANNOTATION_ROUTE}
    if kept:
        metadata["annotations"] = kept
    else:
        metadata.pop("annotations", None)
    return {**manifest, "metadata": metadata}


__all__ = ["observed", "route_view", "toward_release", "with_weights", "written_in_or_none"]
