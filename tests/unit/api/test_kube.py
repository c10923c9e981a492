"""Reading Deployments and pods: complete where the object says it, silent where it does not."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from tests.unit.api.kube_manifests import Obj, anti_affinity, deployment, pod

from trimtab.api.kube import pod_from, resources_from, target_from
from trimtab.domain.errors import InvalidSpec
from trimtab.domain.kube import Resources

GIB = Decimal(2**30)


class TestTarget:
    def test_reads_what_tuning_needs(self) -> None:
        target = target_from(deployment())
        assert (target.name, target.namespace, target.uid) == ("web", "shop", "target-uid")
        assert (target.replicas, target.ready_replicas) == (20, 20)
        assert target.selector == (("app.kubernetes.io/instance", "web-production"), ("app.kubernetes.io/name", "web"))
        assert dict(target.pod_labels)["tier"] == "front"
        assert target.container("web") is not None
        assert target.containers[0].resources == Resources(Decimal(2), Decimal(2), 2 * GIB, 2 * GIB)
        assert target.termination_grace_seconds == 10
        assert target.hazards == target.side_effects == ()
        assert target.rollout_behind == ""
        assert not target.rollout_stuck
        assert not target.paused

    def test_a_deployment_as_a_person_writes_it_can_be_read(self) -> None:
        raw = {
            "metadata": {"name": "web", "namespace": "shop", "uid": "u"},
            "spec": {
                "selector": {"matchLabels": {"app": "web"}},
                "template": {"spec": {"containers": [{"name": "web"}]}},
            },
        }
        target = target_from(raw)
        assert (target.replicas, target.ready_replicas, target.strategy) == (1, 0, "RollingUpdate")
        assert target.containers[0].resources == Resources()
        assert target.termination_grace_seconds == 30
        assert target.rollout_behind == "0 of 1 pods have the present template"

    def test_the_template_hash_follows_what_would_roll_the_pods_alone(self) -> None:
        same = deployment(labels={"team": "shop"}, generation=9)
        same["spec"]["replicas"] = 3
        same["status"] = {}
        other = deployment()
        other["spec"]["template"]["metadata"]["annotations"] = {"kubectl.kubernetes.io/restartedAt": "now"}
        hashes = [target_from(d).template_hash for d in (deployment(), same, other)]
        assert hashes[0] == hashes[1] != hashes[2]

    @pytest.mark.parametrize(
        ("status", "behind"),
        [
            ({"observedGeneration": 2}, "its controller has not seen generation 3 yet"),
            ({"updatedReplicas": 19}, "19 of 20 pods have the present template"),
            ({"replicas": 21}, "21 pods are there where 20 are wanted"),
            ({"availableReplicas": 19}, "19 of 20 pods are available, after 60 s of being ready"),
        ],
    )
    def test_a_rollout_is_complete_only_when_every_count_agrees(self, status: dict[str, int], behind: str) -> None:
        raw = deployment()
        raw["spec"]["minReadySeconds"] = 60
        raw["status"] |= status
        assert target_from(raw).rollout_behind == behind

    def test_a_rollout_past_its_progress_deadline_is_stuck(self) -> None:
        raw = deployment()
        progress = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
        raw["status"]["conditions"] = [{"type": "Available", "status": "True"}, progress]
        assert target_from(raw).rollout_stuck

    def test_side_cars_are_told_from_init_containers(self) -> None:
        inits = [
            {"name": "proxy", "restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}},
            {"name": "once"},
        ]
        target = target_from(deployment(pod={"initContainers": inits}))
        assert [(c.name, c.sidecar) for c in target.init_containers] == [("proxy", True), ("once", False)]

    def test_what_quotas_count_beside_cpu_and_memory(self) -> None:
        resources = {"requests": {"cpu": "1", "ephemeral-storage": "1Gi"}, "limits": {"nvidia.com/gpu": "1"}}
        containers = [{"name": name, "resources": resources} for name in ("a", "b")]
        demand = dict(target_from(deployment(pod={"containers": containers})).extra_demand)
        assert demand == {"requests.ephemeral-storage": 2 * GIB, "limits.nvidia.com/gpu": Decimal(2)}

    def test_an_unreadable_quantity_names_its_field(self) -> None:
        with pytest.raises(InvalidSpec, match=r"requests\.cpu"):
            target_from(deployment(pod={"containers": [{"name": "w", "resources": {"requests": {"cpu": "two"}}}]}))

    @pytest.mark.parametrize(
        ("labels", "annotations", "owner"),
        [
            ({}, {}, ""),
            ({"argocd.argoproj.io/instance": "shop"}, {}, "Argo CD application shop"),
            ({}, {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/web"}, "Argo CD application shop"),
            ({"kustomize.toolkit.fluxcd.io/name": "apps"}, {}, "Flux Kustomization apps"),
            ({"helm.toolkit.fluxcd.io/name": "web"}, {}, "Flux HelmRelease web"),
            ({}, {"meta.helm.sh/release-name": "web"}, "Helm release web"),
        ],
    )
    def test_who_manages_the_manifest(self, labels: Obj, annotations: Obj, owner: str) -> None:
        assert target_from(deployment(labels=labels, annotations=annotations)).managed_by == owner


def container(**fields: Any) -> list[Obj]:
    return [{"name": "web", **fields}]


class TestHazards:
    @pytest.mark.parametrize(
        ("raw", "words"),
        [
            (deployment(spec={"strategy": {"type": "Recreate"}}), "Recreate"),
            (deployment(pod={"resources": {"requests": {"cpu": "1"}}}), "pod-level resources"),
            (deployment(pod={"hostNetwork": True}), "hostNetwork"),
            (deployment(pod={"containers": container(ports=[{"hostPort": 8080}])}), "hostPort 8080"),
            (deployment(pod={"volumes": [{"name": "disk", "gcePersistentDisk": {"pdName": "d"}}]}), "one node only"),
        ],
    )
    def test_what_cannot_run_twice_is_a_sentence_with_a_remedy(self, raw: Obj, words: str) -> None:
        (hazard,) = target_from(raw).hazards
        assert words in hazard
        assert "; " in hazard

    @pytest.mark.parametrize(
        ("pod_fields", "words"),
        [
            ({"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "web-data"}}]}, "claim web-data"),
            ({"volumes": [{"name": "logs", "hostPath": {"path": "/var/log"}}]}, "hostPath"),
            ({"initContainers": [{"name": "migrate"}]}, "init containers (migrate)"),
        ],
    )
    def test_what_only_the_owner_can_judge_names_the_annotation(self, pod_fields: Obj, words: str) -> None:
        target = target_from(deployment(pod=pod_fields))
        assert target.hazards == ()
        (effect,) = target.side_effects
        assert words in effect
        assert "annotate the Deployment with trimtab.dev/side-effects-ok" in effect

    @pytest.mark.parametrize(
        "pod_fields",
        [
            {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "c", "readOnly": True}}]},
            {
                "volumes": [
                    {"name": "own", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}},
                    {"name": "e", "emptyDir": {}},
                ]
            },
            {"initContainers": [{"name": "proxy", "restartPolicy": "Always"}]},
            {"containers": container(ports=[{"containerPort": 8080}])},
        ],
    )
    def test_what_every_pod_has_for_itself_is_no_hazard(self, pod_fields: Obj) -> None:
        target = target_from(deployment(pod=pod_fields))
        assert target.hazards == target.side_effects == ()


class TestAntiAffinity:
    def terms(self, *terms: Obj) -> list[bool]:
        """Whether each term that applies matches a pod with another instance."""
        target = target_from(deployment(pod={"affinity": anti_affinity(*terms)}))
        arm = {"app.kubernetes.io/name": "web", "app.kubernetes.io/instance": "arm", "tier": "front"}
        return [t.matches(arm) for t in target.anti_affinity]

    def test_a_term_matches_as_the_scheduler_would(self) -> None:
        by_name = {"labelSelector": {"matchLabels": {"app.kubernetes.io/name": "web"}}}
        by_instance = {"labelSelector": {"matchLabels": {"app.kubernetes.io/instance": "web-production"}}}
        by_list = {"labelSelector": {"matchExpressions": [{"key": "tier", "operator": "In", "values": ["front"]}]}}
        assert self.terms(by_name, by_instance, by_list) == [True, False, True]

    def test_terms_of_other_namespaces_or_of_one_revision_do_not_apply(self) -> None:
        everything: Obj = {"labelSelector": {}}
        elsewhere = {**everything, "namespaces": ["billing"]}
        everywhere = {**elsewhere, "namespaceSelector": {}}
        revision = {**everything, "matchLabelKeys": ["pod-template-hash"]}
        assert self.terms(elsewhere, revision, everywhere, {}) == [True]

    def test_label_keys_stand_for_the_pods_own_values(self) -> None:
        match = {"labelSelector": {}, "matchLabelKeys": ["app.kubernetes.io/instance"]}
        mismatch = {"labelSelector": {}, "mismatchLabelKeys": ["app.kubernetes.io/instance"]}
        assert self.terms(match, mismatch) == [False, True]


class TestPod:
    def test_reads_what_safety_needs(self) -> None:
        status = {
            "name": "web",
            "ready": False,
            "restartCount": 3,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
            "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137, "message": "heap full"}},
        }
        view = pod_from(pod("tt-1-c-a-b", ready=False, containerStatuses=[status]))
        (found,) = view.containers
        assert (found.restarts, found.waiting_reason, found.last_terminated_reason) == (
            3,
            "CrashLoopBackOff",
            "OOMKilled",
        )
        assert (found.message, found.last_words) == ("back-off 40s", "heap full")
        assert not view.ready
        assert view.ready_since is None
        assert dict(view.resources)["web"].cpu_request == Decimal("0.5")

    def test_since_when_it_is_ready(self) -> None:
        assert pod_from(pod("p")).ready_since == 1777629600.0

    def test_why_it_is_not_scheduled(self) -> None:
        words = "0/3 nodes are available: 3 Insufficient cpu."
        unscheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": words}
        assert pod_from(pod("p", conditions=[unscheduled])).unschedulable == words

    def test_a_disruption_has_the_servers_reason(self) -> None:
        target = {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}
        assert pod_from(pod("p", conditions=[target])).reason == "PreemptionByScheduler"

    def test_a_side_car_counts_as_a_container_and_an_init_container_does_not(self) -> None:
        waiting = {"name": "schema", "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
        killed = {"name": "proxy", "restartCount": 1, "lastState": {"terminated": {"reason": "OOMKilled"}}}
        manifest = pod("p", containerStatuses=[{"name": "web"}], initContainerStatuses=[waiting, killed])
        manifest["spec"]["initContainers"] = [{"name": "schema"}, {"name": "proxy", "restartPolicy": "Always"}]
        view = pod_from(manifest)
        assert [(c.name, c.waiting_reason) for c in view.init_containers] == [("schema", "CrashLoopBackOff")]
        assert [c.name for c in view.containers] == ["web", "proxy"]
        assert view.containers[1].last_terminated_reason == "OOMKilled"

    def test_a_pod_without_a_status_is_pending(self) -> None:
        view = pod_from({"metadata": {"name": "p", "uid": "u"}, "spec": {"containers": [{"name": "web"}]}})
        assert (view.phase, view.ready, view.containers, view.node) == ("Pending", False, (), "")


def test_a_missing_request_is_the_limit() -> None:
    found = resources_from({"resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"memory": "512Mi"}}})
    assert found == Resources(Decimal(1), Decimal(1), GIB / 2, GIB)
