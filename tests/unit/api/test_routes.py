"""Weights in a route: recorded with the write, restored with their owners, and never over what somebody else wrote."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.api.route_manifests import (
    CANARY,
    CONTROL,
    EXPERIMENT,
    PLAN,
    RULES_AND_HOSTS,
    Obj,
    backend,
    owner,
    put_by,
    route,
    rule,
)

from trimtab.api.routes import observed, route_view, toward_release, with_weights
from trimtab.domain.errors import InvalidSpec
from trimtab.domain.names import ANNOTATION_ROUTE, ANNOTATION_WEIGHTS_OK
from trimtab.domain.route import Standing

NOW = 1777630000.0


def claimed(before: Obj, share: float = 0.05) -> Obj:
    """The route after the PUT that gives the arms their share."""
    made = with_weights(before, replace(PLAN, shares=(share, share)), NOW)
    assert made is not None
    return put_by(made, before)


def freed(live: Obj) -> Obj:
    """The route after all PUTs that free it."""
    for _ in range(4):
        body = toward_release(live, PLAN.trial_uid, EXPERIMENT)
        if body is None:
            return live
        live = put_by(body, live)
    raise AssertionError("it does not end")


def references(live: Mapping[str, Any], index: int = 0) -> list[tuple[str, int]]:
    return [(r["name"], r["weight"]) for r in live["spec"]["rules"][index]["backendRefs"]]


def same(one: Obj, other: Obj) -> bool:
    """Equal in spec, labels and annotations, and in who owns what."""

    def seen(of: Obj) -> Any:
        metadata = of["metadata"]
        owners = sorted((e["manager"], e["operation"], str(e["fieldsV1"])) for e in metadata["managedFields"])
        return of["spec"], metadata.get("labels"), metadata.get("annotations"), owners

    return bool(seen(one) == seen(other))


class TestIn:
    def test_the_arms_stand_at_the_end_with_the_backends_port_and_filters(self) -> None:
        header = [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": []}}]
        before = route(rule(backends=[backend(filters=header), backend("old", 3)]))
        live = claimed(before)
        assert references(live) == [("web", 900), ("old", 3000), (CANARY, 50), (CONTROL, 50)]
        added = live["spec"]["rules"][0]["backendRefs"][2]
        assert (added["port"], added["filters"]) == (80, header)

    def test_other_rules_and_fields_are_not_touched(self) -> None:
        before = route(rule("api"), rule(timeouts={"request": "10s"}), labels={"a": "b"}, annotations={"c": "d"})
        live = claimed(before)
        assert live["spec"]["rules"][0] == before["spec"]["rules"][0]
        assert live["spec"]["rules"][1]["timeouts"] == {"request": "10s"}
        assert live["spec"]["hostnames"] == ["shop.test"]
        assert live["metadata"]["annotations"]["c"] == "d"
        assert live["metadata"]["resourceVersion"] == "7"

    def test_each_step_starts_from_the_rule_as_it_was(self) -> None:
        before = route()
        live = claimed(claimed(before, 0.0125), 0.05)
        assert references(live) == [("web", 900), (CANARY, 50), (CONTROL, 50)]
        assert same(freed(live), before)

    def test_the_same_share_is_no_write(self) -> None:
        assert with_weights(claimed(route()), PLAN, NOW + 5) is None

    @pytest.mark.parametrize(
        "before", [route(rule("api")), route(rule(backends=[backend("other")])), route(rule(backends=[]))]
    )
    def test_what_is_not_there_is_said(self, before: Obj) -> None:
        before["spec"]["rules"][0]["backendRefs"] = [
            b for b in before["spec"]["rules"][0]["backendRefs"] if before["spec"]["rules"][0]["name"] == "api"
        ]
        with pytest.raises(InvalidSpec, match="HTTPRoute web"):
            with_weights(before, PLAN, NOW)

    def test_weights_of_another_trial_are_left_alone(self) -> None:
        with pytest.raises(InvalidSpec, match="web-0f0e0d-0007"):
            with_weights(claimed(route()), replace(PLAN, trial_uid="another"), NOW)

    def test_a_rule_that_was_edited_is_not_written_over(self) -> None:
        live = claimed(route())
        live["spec"]["rules"][0]["timeouts"] = {"request": "1s"}
        with pytest.raises(InvalidSpec):
            with_weights(live, replace(PLAN, shares=(0.04, 0.04)), NOW)


class TestOut:
    def test_it_takes_two_writes_and_leaves_nothing(self) -> None:
        before = route(annotations={"c": "d"})
        live = claimed(before)
        first = toward_release(live, PLAN.trial_uid, EXPERIMENT)
        assert first is not None
        assert first["spec"] == before["spec"]
        assert ANNOTATION_ROUTE in first["metadata"]["annotations"]
        live = put_by(first, live)
        assert [e["manager"] for e in live["metadata"]["managedFields"]] == ["team", "trimtab"]
        second = toward_release(live, PLAN.trial_uid, EXPERIMENT)
        assert second is not None
        assert same(put_by(second, live), before)
        assert toward_release(second, PLAN.trial_uid, EXPERIMENT) is None

    @given(
        weights=st.lists(st.integers(0, 1000), max_size=4),
        own=st.integers(1, 1000),
        at=st.integers(0, 4),
        shares=st.lists(st.sampled_from([0.0125, 0.025, 0.05, 0.5]), min_size=1, max_size=3, unique=True),
        owners=st.lists(st.sampled_from(["team", "kubectl-client-side-apply", "flux"]), unique=True),
    )
    def test_whatever_was_written_the_route_is_as_before(
        self, weights: list[int], own: int, at: int, shares: list[float], owners: list[str]
    ) -> None:
        refs = [backend(f"other-{i}", w) for i, w in enumerate(weights)]
        refs.insert(min(at, len(refs)), backend(weight=own))
        managed = [owner(name, RULES_AND_HOSTS, "Update" if "client" in name else "Apply") for name in owners]
        before = route(rule("api"), rule(backends=refs), managedFields=managed)
        live = before
        for share in shares:
            live = claimed(live, share)
        assert same(freed(live), before)

    def test_another_trials_weights_stay(self) -> None:
        assert toward_release(claimed(route()), "another", EXPERIMENT) is None

    def test_an_owner_that_kept_nothing_gets_an_entry_anew(self) -> None:
        before = route(managedFields=[owner("team", {"f:spec": {"f:rules": {}}})])
        live = claimed(before)
        assert [e["manager"] for e in live["metadata"]["managedFields"]] == ["trimtab"]
        assert same(freed(live), before)

    def test_annotations_of_others_stay_and_ours_leaves_no_trace_of_ownership(self) -> None:
        live = claimed(route(annotations={"c": "d"}))
        ours = next(e for e in live["metadata"]["managedFields"] if e["manager"] == "trimtab")
        ours["fieldsV1"]["f:metadata"] = {"f:annotations": {".": {}, f"f:{ANNOTATION_ROUTE}": {}}}
        done = freed(live)
        assert [e["manager"] for e in done["metadata"]["managedFields"]] == ["team"]
        assert done["metadata"]["annotations"] == {"c": "d"}


class TestForeignHands:
    """What somebody else wrote meanwhile stays; what is ours goes."""

    def edited(self, change: Any, before: Obj | None = None) -> Obj:
        live = claimed(before or route(rule(backends=[backend(), backend("old", 3)])))
        after = copy.deepcopy(live)
        change(after["spec"]["rules"][0])
        return put_by(after, live, "anna")

    def test_another_field(self) -> None:
        live = self.edited(lambda r: r.update(timeouts={"request": "1s"}))
        assert route_view(live).claim.standing is Standing.EDITED  # type: ignore[union-attr]
        done = freed(live)
        assert done["spec"]["rules"][0]["timeouts"] == {"request": "1s"}
        assert references(done) == [("web", 1), ("old", 3)]
        assert "annotations" not in done["metadata"]
        owners = {e["manager"]: e["fieldsV1"]["f:spec"] for e in done["metadata"]["managedFields"]}
        assert "f:rules" in owners["anna"]
        assert "f:rules" not in owners["team"]

    def test_another_weight_keeps_the_division_that_was_meant(self) -> None:
        def more(edited: Obj) -> None:
            edited["backendRefs"][1]["weight"] = 1000

        assert references(freed(self.edited(more))) == [("web", 1000), ("old", 1000)]

    def test_the_backends_own_weight_is_theirs_then(self) -> None:
        def less(edited: Obj) -> None:
            edited["backendRefs"][0]["weight"] = 10

        assert references(freed(self.edited(less))) == [("web", 10), ("old", 3000)]

    def test_a_backend_more(self) -> None:
        live = self.edited(lambda r: r["backendRefs"].append(backend("new", 5)))
        assert references(freed(live)) == [("web", 1000), ("old", 3000), ("new", 5)]

    def test_our_backends_taken_out(self) -> None:
        def out(edited: Obj) -> None:
            del edited["backendRefs"][2:]

        live = self.edited(out)
        assert route_view(live).claim.standing is Standing.FREE  # type: ignore[union-attr]
        assert references(freed(live)) == [("web", 1), ("old", 3)]

    def test_the_rule_put_back_by_its_owner(self) -> None:
        before = route()
        live = claimed(before)
        after = copy.deepcopy(live)
        after["spec"] = copy.deepcopy(before["spec"])
        done = freed(put_by(after, live, "team"))
        assert references(done) == [("web", 1)]
        assert [e["manager"] for e in done["metadata"]["managedFields"]] == ["team"]

    def test_the_rule_gone(self) -> None:
        live = claimed(route(rule("api"), rule()))
        del live["spec"]["rules"][1]
        done = freed(live)
        assert [r["name"] for r in done["spec"]["rules"]] == ["api"]
        assert "annotations" not in done["metadata"]

    def test_a_second_rule_of_that_name_before_ours(self) -> None:
        live = claimed(route(rule(timeouts={"request": "9s"})))
        live["spec"]["rules"].insert(0, rule())
        done = freed(live)
        assert [references(done, i) for i in (0, 1)] == [[("web", 1)], [("web", 1)]]

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"trial": 1}'])
    def test_an_annotation_that_cannot_be_read(self, text: str) -> None:
        live = claimed(route())
        live["metadata"]["annotations"][ANNOTATION_ROUTE] = text
        view = route_view(live)
        assert view.claim is None
        assert ANNOTATION_ROUTE in view.claim_problem
        done = freed(live)
        assert references(done) == [("web", 900)]
        assert "annotations" not in done["metadata"]

    def test_an_annotation_that_was_taken(self) -> None:
        live = claimed(route(annotations={"c": "d"}))
        del live["metadata"]["annotations"][ANNOTATION_ROUTE]
        assert references(freed(live)) == [("web", 900)]

    def test_names_like_an_arms_of_another_experiment_are_not_ours(self) -> None:
        live = route(rule(backends=[backend(), backend("tt-ffffffff-0-c", 5)]))
        assert toward_release(live, PLAN.trial_uid, EXPERIMENT) is None


class TestView:
    def test_as_the_core_needs_it(self) -> None:
        filters = [{"type": "RequestMirror"}]
        foreign = backend("far", namespace="elsewhere")
        view = route_view(route(rule(backends=[backend(), foreign], filters=filters)))
        (seen,) = view.rules
        assert (view.name, view.namespace, view.accepted, view.claim) == ("web", "shop", True, None)
        assert (seen.name, seen.filters, [b.plain for b in seen.backends]) == (
            "pages",
            ("RequestMirror",),
            [True, False],
        )
        assert [b.port for b in seen.of("web")] == [80]

    def test_whose_weights_it_carries(self) -> None:
        claim = route_view(claimed(route())).claim
        assert claim is not None
        assert (claim.trial_uid, claim.trial_name, claim.experiment_uid) == ("trial-uid", "web-0f0e0d-0007", EXPERIMENT)
        assert (claim.rule, claim.shares, claim.since, claim.deadline) == ("pages", (0.05, 0.05), NOW, PLAN.deadline)
        assert claim.standing is Standing.WRITTEN

    def test_an_unaccepted_route(self) -> None:
        live = route()
        live["status"] = {"parents": [{"conditions": [{"type": "Accepted", "status": "False"}]}]}
        assert not route_view(live).accepted
        del live["status"]
        assert not route_view(live).accepted

    @pytest.mark.parametrize(
        ("generations", "seen"), [((), True), ((3,), True), ((2,), False), ((3, 2), False), ((4, 3), True)]
    )
    def test_a_gateway_has_followed(self, generations: tuple[int, ...], seen: bool) -> None:
        live = route(generation=3)
        live["status"]["parents"] = [
            {"conditions": [{"type": "Accepted", "status": "True", "observedGeneration": g}]} for g in generations
        ]
        assert observed(live) is seen

    @pytest.mark.parametrize(
        ("metadata", "tool"),
        [
            ({"annotations": {"argocd.argoproj.io/tracking-id": "shop:apps"}}, "Argo CD application shop"),
            ({"labels": {"kustomize.toolkit.fluxcd.io/name": "shop"}}, "Flux Kustomization shop"),
            ({"managedFields": [owner("kustomize-controller", RULES_AND_HOSTS)]}, "Flux"),
            ({}, ""),
        ],
    )
    def test_who_writes_it_from_elsewhere(self, metadata: Obj, tool: str) -> None:
        view = route_view(route(**metadata))
        assert (view.managed_by, view.weights_ok) == (tool, False)
        annotations = {**metadata.get("annotations", {}), ANNOTATION_WEIGHTS_OK: ""}
        assert route_view(route(**{**metadata, "annotations": annotations})).weights_ok
