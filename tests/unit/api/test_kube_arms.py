"""Arms are found whole or in leftovers, and every edit of one is noticed."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from tests.unit.api.kube_manifests import Obj, arm_labels, endpoint_slice, pod
from tests.unit.api.test_kube_autoscaler import scaler

from trimtab.api.kube import (
    ANNOTATION_LIVE,
    ANNOTATION_TRIAL_NAME,
    arm_views,
    live_digest,
    ready_endpoint_names,
    shape_digest,
)
from trimtab.api.kube_arms import ANNOTATION_SCALED_BY
from trimtab.api.kube_autoscaler import scaler_digest
from trimtab.domain.measurement import Arm
from trimtab.domain.names import ANNOTATION_DEADLINE, ANNOTATION_DIGEST

NAME = "tt-0f0e0d0c-7-c"
POD = f"{NAME}-6d4cf56db6-abcde"


def arm_deployment(**status: Any) -> Obj:
    container = {
        "name": "web",
        "image": "web:1",
        "env": [{"name": "EMPTY", "value": ""}],
        "resources": {"requests": {"cpu": "0.5", "memory": "1024Mi"}},
    }
    made: Obj = {
        "metadata": {
            "name": NAME,
            "namespace": "shop",
            "uid": "arm-uid",
            "generation": 1,
            "labels": arm_labels(),
            "annotations": {
                ANNOTATION_DIGEST: "plan-1",
                ANNOTATION_TRIAL_NAME: "web-abcdef-0007",
                ANNOTATION_DEADLINE: "2026-05-01T11:00:00Z",
            },
        },
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"trimtab.dev/trial": "trial-uid"}},
            "template": {"metadata": {"labels": arm_labels()}, "spec": {"containers": [container]}},
        },
        "status": status,
    }
    made["metadata"]["annotations"][ANNOTATION_LIVE] = shape_digest(made)
    return made


def replica_set() -> Obj:
    labels = {**arm_labels(), "pod-template-hash": "6d4cf56db6"}
    return {"metadata": {"name": f"{NAME}-6d4cf56db6", "namespace": "shop", "uid": "rs-uid", "labels": labels}}


class TestViews:
    def test_an_arm_with_its_pods_and_what_gets_traffic(self) -> None:
        pods = [pod(POD, arm_labels()), pod(f"{NAME}-6d4cf56db6-zzzzz", arm_labels(), ready=False)]
        slices = [endpoint_slice("web", (POD, {"ready": True}), ("web-1", {"ready": True}))]
        (view,) = arm_views([arm_deployment()], [replica_set()], pods, slices)
        assert (view.arm, view.name, view.uid) == (Arm.CANARY, NAME, "arm-uid")
        assert (view.trial_uid, view.trial_name) == ("trial-uid", "web-abcdef-0007")
        assert (view.namespace, view.experiment_name, view.experiment_uid) == ("shop", "web", "exp-uid")
        assert view.deadline == 1777633200.0
        assert view.spec_digest == view.observed_digest == "plan-1"
        assert (view.replicas, view.ready_pods, view.ready_endpoints) == (1, 1, 1)

    def test_leftovers_show_without_their_deployment(self) -> None:
        (by_pod,) = arm_views([], [], [pod(POD, arm_labels())], [endpoint_slice("web", (POD, {}))])
        assert (by_pod.name, by_pod.uid, by_pod.ready_endpoints) == (NAME, None, 1)
        assert by_pod.deadline == 1777633200.0
        assert (by_pod.namespace, by_pod.experiment_name, by_pod.experiment_uid) == ("shop", "web", "exp-uid")
        (by_set,) = arm_views([], [replica_set()], [], [])
        assert (by_set.name, by_set.uid, by_set.pods) == (NAME, None, ())

    def test_arms_of_different_trials_and_kinds_are_kept_apart(self) -> None:
        labels = [arm_labels("t1"), arm_labels("t1", "control"), arm_labels("t2"), {"app": "web"}]
        views = arm_views([], [], [pod(f"p{i}", found) for i, found in enumerate(labels)], [])
        assert [(v.trial_uid, v.arm.value) for v in views] == [("t1", "canary"), ("t1", "control"), ("t2", "canary")]

    def test_the_servers_words_when_pods_cannot_be_created(self) -> None:
        words = 'pods "tt" is forbidden: exceeded quota: small'
        condition = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": words}
        (view,) = arm_views([arm_deployment(conditions=[condition])], [], [], [])
        assert view.failure == words

    def test_an_unreadable_deadline_is_unknown(self) -> None:
        made = arm_deployment()
        made["metadata"]["annotations"][ANNOTATION_DEADLINE] = "tomorrow"
        (view,) = arm_views([made], [], [], [])
        assert view.deadline is None


def arm_scaler(**spec: Any) -> Obj:
    made = scaler(scaleTargetRef={"kind": "Deployment", "name": NAME}, **spec)
    made["metadata"] |= {"name": NAME, "uid": "hpa-uid", "labels": arm_labels()}
    made["metadata"]["annotations"] = {ANNOTATION_DIGEST: "plan-1", ANNOTATION_LIVE: scaler_digest(made)}
    return made


class TestAnArmThatScales:
    """Its replicas are its autoscaler's; everything else of it, and of the autoscaler, is nobody's to change."""

    def arm(self) -> Obj:
        made = arm_deployment()
        made["metadata"]["annotations"][ANNOTATION_SCALED_BY] = NAME
        made["metadata"]["annotations"][ANNOTATION_LIVE] = shape_digest(made)
        return made

    def test_its_autoscaler_is_seen(self) -> None:
        (view,) = arm_views([self.arm()], [], [], [], [arm_scaler()])
        assert view.scaled_by == NAME
        assert view.scaler is not None
        assert (view.scaler.name, view.scaler.uid) == (NAME, "hpa-uid")
        assert (view.scaler.minimum, view.scaler.maximum, view.scaler.deleting) == (2, 20, False)
        assert view.scaler.spec_digest == view.scaler.observed_digest == "plan-1"

    def test_or_missed(self) -> None:
        (view,) = arm_views([self.arm()], [], [], [])
        assert (view.scaled_by, view.scaler) == (NAME, None)
        (plain,) = arm_views([arm_deployment()], [], [], [])
        assert plain.scaled_by == ""

    def test_an_edit_of_the_autoscaler_is_noticed(self) -> None:
        edited = arm_scaler()
        edited["spec"]["maxReplicas"] = 30
        (view,) = arm_views([self.arm()], [], [], [], [edited])
        assert view.scaler is not None
        assert view.scaler.observed_digest != view.scaler.spec_digest

    def test_scaling_is_no_edit(self) -> None:
        scaled = self.arm()
        scaled["spec"]["replicas"] = 7
        scaled["metadata"]["generation"] = 5
        scaled["metadata"]["managedFields"] = [
            {"manager": "trimtab", "operation": "Update", "fieldsV1": {"f:metadata": {}, "f:spec": {}}},
            {"manager": "kube-controller-manager", "subresource": "scale", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
            {"manager": "kube-controller-manager", "subresource": "status", "fieldsV1": {"f:status": {}}},
            {"manager": "labeller", "operation": "Update", "fieldsV1": {"f:metadata": {"f:labels": {}}}},
        ]
        assert live_digest(scaled) == "plan-1"

    def test_an_edit_is_one(self) -> None:
        image, unseen = self.arm(), self.arm()
        image["spec"]["template"]["spec"]["containers"][0]["image"] = "web:2"
        assert live_digest(image).startswith("edited")
        unseen["metadata"]["managedFields"] = [
            {"manager": "trimtab", "fieldsV1": {"f:spec": {}}},
            {"manager": "kubectl-edit", "fieldsV1": {"f:spec": {"f:template": {}}}},
        ]
        assert live_digest(unseen).startswith("edited")
        later = self.arm()
        later["metadata"]["creationTimestamp"] = "2026-05-01T10:00:00Z"
        entry = {"manager": "trimtab", "time": "2026-05-01T10:00:00Z", "fieldsV1": {"f:spec": {}}}
        later["metadata"]["managedFields"] = [entry]
        assert live_digest(later) == "plan-1"
        entry["time"] = "2026-05-01T10:00:07Z"
        assert live_digest(later).startswith("edited")


@pytest.mark.parametrize(
    ("conditions", "counts"),
    [
        ({"ready": True, "serving": True, "terminating": False}, True),
        ({}, True),  # unknown readiness counts as ready, as kube-proxy has it
        ({"ready": False}, False),
        ({"ready": True, "terminating": True}, False),
    ],
)
def test_which_endpoints_get_traffic(conditions: Obj, counts: bool) -> None:
    assert (POD in ready_endpoint_names([endpoint_slice("web", (POD, conditions))])) is counts


def test_slices_without_endpoints_or_pods_are_read() -> None:
    external: Obj = {"metadata": {}, "endpoints": [{"addresses": ["10.0.0.1"]}]}
    assert ready_endpoint_names([{"metadata": {}, "endpoints": None}, external]) == frozenset()


class TestLiveDigest:
    def test_the_servers_defaulting_and_rewriting_change_nothing(self) -> None:
        live = arm_deployment(observedGeneration=1)
        live["spec"] |= {"progressDeadlineSeconds": 600, "strategy": {"type": "Recreate"}}
        pod_spec = live["spec"]["template"]["spec"]
        pod_spec |= {"restartPolicy": "Always", "securityContext": {}}
        pod_spec["containers"][0] |= {
            "imagePullPolicy": "Always",
            "env": [{"name": "EMPTY"}],
            "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}},
        }
        live["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "1"
        assert live_digest(live) == "plan-1"

    @pytest.mark.parametrize(
        ("path", "value"),
        [
            (("replicas",), 2),
            (("template", "metadata", "labels", "tier"), "back"),
            (("template", "spec", "containers", 0, "image"), "web:2"),
            (("template", "spec", "containers", 0, "args"), ["--fast"]),
            (("template", "spec", "containers", 0, "env"), [{"name": "EMPTY", "value": "x"}]),
            (("template", "spec", "containers", 0, "resources"), {"requests": {"cpu": "501m", "memory": "1Gi"}}),
        ],
    )
    def test_an_arm_made_anew_with_another_shape_differs(self, path: tuple[Any, ...], value: Any) -> None:
        live = copy.deepcopy(arm_deployment())
        at = live["spec"]
        for step in path[:-1]:
            at = at[step]
        at[path[-1]] = value
        assert live_digest(live) != "plan-1"

    def test_any_second_generation_is_an_edit(self) -> None:
        live = arm_deployment()
        live["metadata"]["generation"] = 2
        assert live_digest(live) != "plan-1"

    def test_a_deletion_counts_a_generation_but_is_no_edit(self) -> None:
        live = arm_deployment()
        live["metadata"] |= {"generation": 2, "deletionTimestamp": "2026-05-01T10:30:00Z"}
        assert live_digest(live) == "plan-1"
