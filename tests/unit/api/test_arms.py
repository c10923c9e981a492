"""An arm is the target's template with the plan's changes, and nothing by which another tool would claim it."""

from __future__ import annotations

import copy
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from tests.unit.api.kube_manifests import POD_LABELS, Obj, anti_affinity, deployment

from trimtab.api.arms import arm_manifest, live_digest
from trimtab.api.kube import arm_views
from trimtab.domain.kube import ArmPlan, EnvSetting, ResourceSetting
from trimtab.domain.measurement import Arm
from trimtab.domain.space import LimitsRule, Resource

GIB = Decimal(2**30)
INSTANCE = "app.kubernetes.io/instance"
PLAN = ArmPlan(
    name="tt-0f0e0d0c-7-c",
    namespace="shop",
    arm=Arm.CANARY,
    replicas=2,
    experiment_name="web",
    experiment_uid="0f0e0d0c-0b0a-4908-8706-050403020100",
    trial_name="web-0f0e0d-0007",
    trial_uid="trial-uid",
    trial_index=7,
    deadline=1777633199.2,
    settings=(
        ResourceSetting("web", Resource.CPU, Decimal("0.75"), Decimal("0.75"), LimitsRule.RATIO),
        ResourceSetting("web", Resource.MEMORY, GIB, None, LimitsRule.KEEP),
    ),
    label_overrides=((INSTANCE, "tt-0f0e0d0c-7-c"),),
    selector=(("trimtab.dev/arm", "canary"), ("trimtab.dev/trial", "trial-uid")),
    otel=False,
    template_hash="hash",
    spec_digest="plan-1",
    progress_deadline=1200,
)


def template(made: Obj) -> Obj:
    found: Obj = made["spec"]["template"]
    return found


def only_container(made: Obj) -> Obj:
    found: Obj = template(made)["spec"]["containers"][0]
    return found


class TestClone:
    def test_the_deployment_belongs_to_its_trial(self) -> None:
        made = arm_manifest(deployment(), PLAN)
        assert (made["apiVersion"], made["kind"]) == ("apps/v1", "Deployment")
        assert (made["metadata"]["name"], made["metadata"]["namespace"]) == ("tt-0f0e0d0c-7-c", "shop")
        (owner,) = made["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["uid"], owner["controller"]) == (
            "Trial",
            "web-0f0e0d-0007",
            "trial-uid",
            True,
        )
        assert made["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "trimtab"

    def test_arms_of_trials_side_by_side_keep_apart_beside_what_the_target_asks_for(self) -> None:
        preferred = "preferredDuringSchedulingIgnoredDuringExecution"
        own = {"weight": 1, "podAffinityTerm": {"topologyKey": "zone", "labelSelector": {}}}
        target = deployment()
        template(target)["spec"]["affinity"] = {"nodeAffinity": {}, "podAntiAffinity": {preferred: [own]}}
        made = arm_manifest(target, replace(PLAN, apart=True))
        found = template(made)["spec"]["affinity"]
        first, *mine = found["podAntiAffinity"][preferred]
        assert (first, found["nodeAffinity"]) == (own, {})
        assert len(mine) == 2
        for term in mine:
            assert term["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname"
            expressions = term["podAffinityTerm"]["labelSelector"]["matchExpressions"]
            assert {"key": "trimtab.dev/trial", "operator": "NotIn", "values": ["trial-uid"]} in expressions
        assert template(arm_manifest(target, PLAN))["spec"]["affinity"]["podAntiAffinity"][preferred] == [own]

    def test_its_size_and_deadlines_are_the_plans(self) -> None:
        spec = arm_manifest(deployment(), PLAN)["spec"]
        assert (spec["replicas"], spec["revisionHistoryLimit"], spec["progressDeadlineSeconds"]) == (2, 0, 1200)
        assert spec["strategy"] == {"type": "Recreate"}
        assert spec["selector"] == {"matchLabels": dict(PLAN.selector)}

    def test_pods_carry_the_deadline_too_as_they_may_outlive_it(self) -> None:
        made = arm_manifest(deployment(), PLAN)
        for notes in (made["metadata"]["annotations"], template(made)["metadata"]["annotations"]):
            assert notes["trimtab.dev/deadline"] == "2026-05-01T11:00:00Z"
            assert notes["trimtab.dev/trial-name"] == "web-0f0e0d-0007"

    def test_pods_keep_every_label_but_the_replaced_one(self) -> None:
        labels = template(arm_manifest(deployment(), PLAN))["metadata"]["labels"]
        assert {k: labels[k] for k in POD_LABELS} == {**POD_LABELS, INSTANCE: "tt-0f0e0d0c-7-c"}
        assert {k: v for k, v in labels.items() if k.startswith("trimtab.dev/")} == {
            "trimtab.dev/arm": "canary",
            "trimtab.dev/experiment": "web",
            "trimtab.dev/experiment-uid": PLAN.experiment_uid,
            "trimtab.dev/trial": "trial-uid",
        }

    def test_the_target_is_not_touched(self) -> None:
        target = deployment(
            pod={"affinity": anti_affinity({"labelSelector": {"matchLabels": {INSTANCE: "web-production"}}})}
        )
        before = copy.deepcopy(target)
        arm_manifest(target, replace(PLAN, otel=True))
        assert target == before

    def test_what_tracks_the_target_is_left_behind_and_the_rest_is_kept(self) -> None:
        labels = {
            "team": "shop",
            "helm.sh/chart": "web-1",
            "app.kubernetes.io/managed-by": "Helm",
            "argocd.argoproj.io/instance": "shop",
            "kustomize.toolkit.fluxcd.io/name": "apps",
            INSTANCE: "web-production",
        }
        annotations = {"argocd.argoproj.io/tracking-id": "x", "deployment.kubernetes.io/revision": "7", "note": "hers"}
        target = deployment(labels=labels, annotations=annotations)
        template(target)["metadata"] |= {
            "labels": {**POD_LABELS, "pod-template-hash": "abc"},
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "prometheus.io/scrape": "true"},
        }
        made = arm_manifest(target, PLAN)
        theirs = {k for k in made["metadata"]["labels"] if not k.startswith("trimtab.dev/")}
        assert theirs == {"team", "app.kubernetes.io/managed-by"}
        assert all(k.startswith("trimtab.dev/") for k in made["metadata"]["annotations"])
        assert "pod-template-hash" not in template(made)["metadata"]["labels"]
        on_pods = {k for k in template(made)["metadata"]["annotations"] if not k.startswith("trimtab.dev/")}
        assert on_pods == {"prometheus.io/scrape"}

    def test_a_long_name_is_cut_to_a_valid_label(self) -> None:
        made = arm_manifest(deployment(), replace(PLAN, experiment_name="a" * 62 + "." + "b" * 100))
        assert made["metadata"]["labels"]["trimtab.dev/experiment"] == "a" * 62


class TestSelectors:
    def test_selectors_that_name_the_replaced_label_follow_it(self) -> None:
        own = {"matchLabels": {INSTANCE: "web-production", "tier": "front"}}
        listed = {"matchExpressions": [{"key": INSTANCE, "operator": "In", "values": ["web-production", "other"]}]}
        other = {"matchLabels": {INSTANCE: "redis"}}
        spread = [{"maxSkew": 1, "topologyKey": "zone", "labelSelector": own}]
        affinity = anti_affinity({"labelSelector": listed}, {"labelSelector": other})
        pod = template(arm_manifest(deployment(pod={"affinity": affinity, "topologySpreadConstraints": spread}), PLAN))[
            "spec"
        ]
        assert pod["topologySpreadConstraints"][0]["labelSelector"] == {
            "matchLabels": {INSTANCE: "tt-0f0e0d0c-7-c", "tier": "front"}
        }
        terms = pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert terms[0]["labelSelector"]["matchExpressions"][0]["values"] == ["tt-0f0e0d0c-7-c", "other"]
        assert terms[1]["labelSelector"] == other

    def test_without_a_replaced_label_they_stay(self) -> None:
        affinity = anti_affinity({"labelSelector": {"matchLabels": {INSTANCE: "web-production"}}})
        made = arm_manifest(deployment(pod={"affinity": affinity}), replace(PLAN, label_overrides=()))
        assert template(made)["spec"]["affinity"] == affinity


class TestResources:
    def test_settings_are_written_and_the_rest_is_kept(self) -> None:
        assert only_container(arm_manifest(deployment(), PLAN))["resources"] == {
            "requests": {"cpu": "750m", "memory": "1Gi"},
            "limits": {"cpu": "750m", "memory": "2Gi"},
        }

    @pytest.mark.parametrize(
        ("rule", "limits"), [(LimitsRule.NONE, {"memory": "2Gi"}), (LimitsRule.KEEP, {"cpu": "2", "memory": "2Gi"})]
    )
    def test_a_limit_that_is_not_set_is_removed_or_kept_by_its_rule(self, rule: LimitsRule, limits: Obj) -> None:
        setting = ResourceSetting("web", Resource.CPU, Decimal(1), None, rule)
        made = arm_manifest(deployment(), replace(PLAN, settings=(setting,)))
        assert only_container(made)["resources"]["limits"] == limits

    def test_a_container_without_resources_gets_them(self) -> None:
        made = arm_manifest(deployment(pod={"containers": [{"name": "web", "resources": None}]}), PLAN)
        assert only_container(made)["resources"]["requests"] == {"cpu": "750m", "memory": "1Gi"}


MINE = "trimtab.experiment=web,trimtab.trial=web-0f0e0d-0007,trimtab.arm=canary"
OTEL = "OTEL_RESOURCE_ATTRIBUTES"


class TestTraces:
    @pytest.mark.parametrize(
        ("container", "env"),
        [
            ({}, [{"name": OTEL, "value": MINE}]),
            ({"env": [{"name": OTEL, "value": "team=a"}]}, [{"name": OTEL, "value": f"team=a,{MINE}"}]),
            ({"env": [{"name": OTEL}]}, [{"name": OTEL, "value": MINE}]),
            ({"env": [{"name": OTEL, "valueFrom": {}}]}, [{"name": OTEL, "valueFrom": {}}]),
            ({"envFrom": [{"configMapRef": {"name": "c"}}]}, None),
        ],
    )
    def test_ids_are_added_where_nothing_is_lost(self, container: Obj, env: Any) -> None:
        target = deployment(pod={"containers": [{"name": "web", **container}]})
        assert only_container(arm_manifest(target, replace(PLAN, otel=True))).get("env") == env

    def test_they_are_opt_in(self) -> None:
        assert "env" not in only_container(arm_manifest(deployment(), PLAN))


def test_a_new_arm_is_unedited_and_reads_back_as_planned() -> None:
    made = arm_manifest(deployment(), PLAN)
    assert live_digest(made) == "plan-1"
    made["metadata"]["uid"] = "arm-uid"
    (view,) = arm_views([made], [], [], [])
    assert (view.arm, view.name, view.trial_uid, view.trial_name) == (
        Arm.CANARY,
        PLAN.name,
        "trial-uid",
        PLAN.trial_name,
    )
    assert view.spec_digest == view.observed_digest == "plan-1"
    assert view.deadline == 1777633200.0


class TestVariablesAndNodes:
    def test_a_variable_keeps_its_place(self) -> None:
        target = deployment()
        env = [{"name": "A", "value": "1"}, {"name": "GOGC", "value": "100"}, {"name": "B", "value": "$(GOGC)"}]
        target["spec"]["template"]["spec"]["containers"][0]["env"] = copy.deepcopy(env)
        made = arm_manifest(target, replace(PLAN, env=(EnvSetting("web", "GOGC", "250"),)))
        assert only_container(made)["env"] == [env[0], {"name": "GOGC", "value": "250"}, env[2]]
        assert target["spec"]["template"]["spec"]["containers"][0]["env"] == env

    def test_one_that_the_target_lost_meanwhile_is_added(self) -> None:
        made = arm_manifest(deployment(), replace(PLAN, env=(EnvSetting("web", "GOGC", "250"),)))
        assert only_container(made)["env"] == [{"name": "GOGC", "value": "250"}]

    def test_other_node_selectors_stay(self) -> None:
        target = deployment()
        target["spec"]["template"]["spec"]["nodeSelector"] = {"zone": "a", "type": "old"}
        made = arm_manifest(target, replace(PLAN, node_selector=(("type", "new"),)))
        assert template(made)["spec"]["nodeSelector"] == {"zone": "a", "type": "new"}
        assert "nodeSelector" not in template(arm_manifest(deployment(), PLAN))["spec"]

    def test_another_value_is_another_shape(self) -> None:
        digests = {
            live_digest(arm_manifest(deployment(), replace(PLAN, env=(EnvSetting("web", "GOGC", value),))))
            for value in ("100", "200")
        }
        assert len(digests) == 1  # both are as they were created: the plan's own digest
