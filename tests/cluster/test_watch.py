"""kopf on the real API server with a service account's token: what it feeds, and that it needs no right but to look.

The namespaced install has a Role in one namespace, the other one a ClusterRole. Neither may read namespaces, CRDs or
Events, and neither may write anything.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.contract.test_ledger import SPEC

from controlplane import ApiClient, ControlPlane, eventually, wait_for
from trimtab.adapters.clock import SystemClock
from trimtab.adapters.cluster import KubernetesCluster
from trimtab.adapters.connection import connect
from trimtab.runtime.handlers import Watcher, kopf_settings, make_registry
from trimtab.runtime.lease import Elector, LeaseTiming
from trimtab.runtime.resync import Resync, WatchState
from trimtab.runtime.workqueue import Key

RBAC = "rbac.authorization.k8s.io"
LOOK = ["list", "watch"]
RULES = [
    {"apiGroups": ["trimtab.dev"], "resources": ["experiments", "trials"], "verbs": LOOK},
    {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": LOOK},
    {"apiGroups": [""], "resources": ["pods"], "verbs": LOOK},
]
TRIMTAB = "trimtab.dev/v1alpha1"


@dataclass
class Watch:
    """A running watch and what it fed."""

    namespace: str
    user: str
    state: WatchState
    resync: Resync
    fed: list[Key] = field(default_factory=list)

    async def feeds(self, key: Key) -> None:
        """Wait until this key is fed; forgets what was fed before."""
        await eventually(lambda: key in self.fed, f"{key} is fed")
        self.fed.clear()

    async def delivers(self, *names: str) -> None:
        """Wait until the watch has delivered these Experiments."""
        wanted = {Key(self.namespace, name) for name in names}
        await eventually(lambda: wanted <= set(self.fed), f"{names} are fed")
        self.fed.clear()


@pytest.fixture(params=["namespaced", "cluster-wide"])
async def watch(
    request: pytest.FixtureRequest, controlplane: ControlPlane, admin: ApiClient, namespace: str
) -> AsyncIterator[Watch]:
    """A watch with only the rights above."""
    admin.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "looker", "namespace": namespace}})
    scoped = request.param == "namespaced"
    granted = grant(admin, namespace, scoped)
    clock = SystemClock()
    kubeconfig = controlplane.service_account_kubeconfig(namespace, "looker")
    connection = await connect(str(kubeconfig), clock.monotonic)
    cluster = KubernetesCluster(connection)
    namespaces = (namespace,) if scoped else ()
    state = WatchState(clock)
    made = Watch(
        namespace,
        f"system:serviceaccount:{namespace}:looker",
        state,
        Resync(cluster, clock, state, lambda _: None, namespaces=namespaces),
    )
    registry = make_registry(made.fed.append, state, connection)
    stop = asyncio.Event()
    watcher = Watcher(registry, kopf_settings, namespaces=namespaces, state=state)
    task = asyncio.create_task(watcher.run(stop))
    yield made
    stop.set()
    async with asyncio.timeout(15):
        await task
    await cluster.close()
    for kind in granted:
        admin.delete(f"{RBAC}/v1", kind, f"looker-{namespace}", namespace)


def grant(admin: ApiClient, namespace: str, scoped: bool) -> tuple[str, ...]:
    """The rights to look, in one namespace or everywhere, in force; returns the kinds of what grants them."""
    kind = "Role" if scoped else "ClusterRole"
    name = f"looker-{namespace}"
    metadata = {"name": name} | ({"namespace": namespace} if scoped else {})
    admin.create({"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": metadata, "rules": RULES})
    subject = {"kind": "ServiceAccount", "name": "looker", "namespace": namespace}
    reference = {"apiGroup": RBAC, "kind": kind, "name": name}
    binding = {"apiVersion": f"{RBAC}/v1", "kind": f"{kind}Binding", "metadata": metadata}
    admin.create(binding | {"roleRef": reference, "subjects": [subject]})
    wait_for(lambda: may_watch_pods(admin, namespace), "the rights to be in force")
    return f"{kind}Binding", kind


def may_watch_pods(admin: ApiClient, namespace: str) -> bool:
    """Whether the looker may, asked by the administrator, so that it stays out of the looker's own requests."""
    attributes = {"namespace": namespace, "verb": "watch", "group": "", "resource": "pods"}
    user = f"system:serviceaccount:{namespace}:looker"
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {"name": ""}}
    spec = {"user": user, "resourceAttributes": attributes}
    return bool(admin.create(review | {"spec": spec})["status"]["allowed"])


def make(admin: ApiClient, namespace: str, api: str, kind: str, name: str, **more: Any) -> dict[str, Any]:
    """An object in the test's namespace."""
    metadata = {"name": name, "namespace": namespace} | more.pop("metadata", {})
    return admin.create({"apiVersion": api, "kind": kind, "metadata": metadata, **more})


def deployment(app: str) -> dict[str, Any]:
    """A Deployment's spec."""
    pod = {"metadata": {"labels": {"app": app}}, "spec": {"containers": [{"name": "api", "image": "example.test/a:1"}]}}
    return {"replicas": 1, "selector": {"matchLabels": {"app": app}}, "template": pod}


async def test_it_feeds_what_concerns_an_experiment_and_only_looks(
    watch: Watch, admin: ApiClient, controlplane: ControlPlane
) -> None:
    where = watch.namespace
    key = Key(where, "web")
    experiment = make(admin, where, TRIMTAB, "Experiment", "web", spec=SPEC)
    await watch.feeds(key)
    make(admin, where, "apps/v1", "Deployment", "web", spec=deployment("web"))  # the target
    await watch.feeds(key)
    labels = {"trimtab.dev/arm": "canary", "trimtab.dev/experiment": "web"}
    make(admin, where, "apps/v1", "Deployment", "tt-1-c", spec=deployment("arm"), metadata={"labels": labels})
    await watch.feeds(key)
    pod = deployment("x")["template"]["spec"]
    make(admin, where, "v1", "Pod", "tt-1-c-0", spec=pod, metadata={"labels": labels})
    await watch.feeds(key)
    await watch.resync.once()
    await watch.resync.once()
    assert not watch.state.dead.is_set()
    assert watch.state.age() < 5
    admin.delete(TRIMTAB, "Experiment", "web", where)
    await eventually(lambda: watch.state.tuning(where, "web") == (), "the deletion is seen")
    assert experiment["metadata"].get("annotations", {}) == {}

    asked = controlplane.audit_events(watch.user)
    assert {event["verb"] for event in asked} <= {"get", "list", "watch"}
    paths = {event["requestURI"].split("?")[0] for event in asked if event["verb"] == "get"}
    assert all(path in ("/api", "/apis") or path.count("/") <= 3 for path in paths), paths  # discovery
    refused = [event["requestURI"] for event in asked if event.get("responseStatus", {}).get("code", 200) >= 400]
    assert refused == []


async def test_a_stranger_is_not_fed(watch: Watch, admin: ApiClient) -> None:
    where = watch.namespace
    make(admin, where, TRIMTAB, "Experiment", "first", spec=SPEC | {"targetRef": {"name": "first"}})
    await watch.feeds(Key(where, "first"))
    make(admin, where, "apps/v1", "Deployment", "stranger", spec=deployment("stranger"))
    make(admin, where, "v1", "Pod", "stranger", spec=deployment("x")["template"]["spec"])
    make(admin, where, TRIMTAB, "Experiment", "last", spec=SPEC | {"targetRef": {"name": "last"}})
    await eventually(lambda: Key(where, "last") in watch.fed, "the last one is fed")
    assert {key for key in watch.fed if key.namespace == where} <= {Key(where, "first"), Key(where, "last")}


async def test_a_watch_that_misses_something_is_started_anew(watch: Watch, admin: ApiClient) -> None:
    where = watch.namespace
    make(admin, where, TRIMTAB, "Experiment", "web", spec=SPEC)
    await watch.delivers("web")
    watch.state.dead.set()
    await watch.feeds(Key(where, "web"))  # listed again by the new watch
    assert not watch.state.dead.is_set()


async def test_signals_stay_with_the_operator(watch: Watch, admin: ApiClient) -> None:
    received = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, received.set)
    try:
        make(admin, watch.namespace, TRIMTAB, "Experiment", "web", spec=SPEC)
        await watch.delivers("web")
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(5):
            await received.wait()
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
    admin.delete(TRIMTAB, "Experiment", "web", watch.namespace)
    await watch.feeds(Key(watch.namespace, "web"))


async def test_it_comes_back_after_the_api_server_was_down(
    watch: Watch, admin: ApiClient, controlplane: ControlPlane
) -> None:
    where = watch.namespace
    make(admin, where, TRIMTAB, "Experiment", "before", spec=SPEC | {"targetRef": {"name": "a"}})
    await watch.delivers("before")
    controlplane.restart_component("kube-apiserver")
    wait_for(lambda: admin.find("v1", "Namespace", where), "the API server to be back", ignore=(Exception,))
    make(admin, where, TRIMTAB, "Experiment", "after", spec=SPEC | {"targetRef": {"name": "b"}})
    await watch.delivers("after")


async def test_two_operators_lead_one_after_the_other(controlplane: ControlPlane, namespace: str) -> None:
    clock = SystemClock()
    cluster = KubernetesCluster(await connect(str(controlplane.kubeconfig()), clock.monotonic))
    timing = LeaseTiming()
    stops = [asyncio.Event(), asyncio.Event()]
    led: list[str] = []
    electors = [
        Elector(cluster, clock, namespace=namespace, name="operator", identity=name, timing=timing) for name in "ab"
    ]

    def start(number: int) -> asyncio.Task[None]:
        elector = electors[number]
        return asyncio.create_task(
            elector.run(stops[number], on_started=lambda: led.append(elector.identity), on_lost=led.append)
        )

    first = start(0)
    await eventually(lambda: led == ["a"], "the first leads")
    second = start(1)
    await eventually(lambda: electors[1].holder == "a", "the second has looked")
    assert not electors[1].leading
    stops[0].set()
    await first
    await eventually(lambda: led == ["a", "b"], "the second leads")
    assert electors[1].leading
    assert electors[1].transitions == 1
    stops[1].set()
    await second
    await cluster.close()
