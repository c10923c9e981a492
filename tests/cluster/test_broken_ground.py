"""What the operator stands on breaks: its requests fail on the way, and etcd dies under the API server.

The operator runs through a proxy with its own ServiceAccount's token; an eyewitness reads the API server directly.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from benchmarks.operator.live import Live, live_stack, phase_of
from tests.cluster.crashes import witnessed
from tests.cluster.ground import KeptAlive, proxied
from tests.cluster.stories import MEASURING

from controlplane import ApiClient, ControlPlane, wait_for
from controlplane.client import Conflict, Unavailable, Unreachable
from faultproxy import Asked, Fault, Plan, WatchFault
from faultproxy.plan import WatchLife

SEED = 1
WRITES = (  # of which no trial does without
    "create trials",
    "create deployments",
    "update trials",
    "update trials/status",
    "update experiments",
    "update experiments/status",
    "delete deployments",
)


@pytest.fixture(scope="module")
def ground(controlplane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """One stack for the Experiments of this module."""
    with live_stack(controlplane, tmp_path_factory.mktemp("ground"), "ground") as found:
        yield found


@pytest.fixture
def live(ground: Live) -> Iterator[Live]:
    """The place of a test, which leaves nothing there."""
    yield ground
    ground.clear()


class Always(Plan):
    """One fault for every write, and one for every watch."""

    def __init__(self, fault: Fault | None, of_watch: WatchFault = WatchFault.CLOSED) -> None:
        super().__init__(SEED)
        self.fault, self.of_watch = fault, of_watch

    def request(self, asked: Asked) -> Fault | None:
        return self.fault if asked.writes else None

    def watch(self, asked: Asked) -> WatchLife:
        assert asked.verb == "watch"
        return WatchLife(self.of_watch, 2, 20.0)


@pytest.mark.parametrize(
    ("fault", "error", "done"),
    [
        (Fault.CONFLICT, Conflict, False),
        (Fault.THROTTLED, Unavailable, False),
        (Fault.BROKEN, Unavailable, False),
        (Fault.CUT_BEFORE, Unreachable, False),
        (Fault.CUT_AFTER, Unreachable, True),
        (Fault.SILENT_AFTER, Unreachable, True),
    ],
)
def test_each_fault_is_what_it_says(
    controlplane: ControlPlane, admin: ApiClient, namespace: str, fault: Fault, error: type[Exception], done: bool
) -> None:
    with proxied(controlplane, Always(fault)) as proxy:
        client = admin.through(proxy.address, timeout=10.0)
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": namespace}}
        with pytest.raises(error) as caught:
            client.create(body)
        assert type(caught.value) is error
        if done:
            wait_for(lambda: admin.find("v1", "ConfigMap", "a", namespace), "what was cut off to be done all the same")
        else:
            assert admin.find("v1", "ConfigMap", "a", namespace) is None
        assert client.get("v1", "Namespace", namespace)["metadata"]["name"] == namespace
        assert proxy.injected == {("create configmaps", fault.value): 1}


def test_a_watch_ends_and_repeats_itself_as_it_says(
    controlplane: ControlPlane, admin: ApiClient, namespace: str
) -> None:
    for number in range(4):
        metadata = {"name": f"c-{number}", "namespace": namespace}
        admin.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    path = f"/api/v1/namespaces/{namespace}/configmaps?watch=1&fieldSelector=metadata.name!=kube-root-ca.crt"
    lines = {}
    for fault in (WatchFault.CLOSED, WatchFault.GONE, WatchFault.REPEATED):
        with proxied(controlplane, Always(None, fault)) as proxy:
            text = admin.through(proxy.address).raw("GET", path)
        lines[fault] = text.splitlines()
    first, second = lines[WatchFault.CLOSED]
    assert lines[WatchFault.GONE][:2] == [first, second]
    assert '"code": 410' in lines[WatchFault.GONE][2]
    assert lines[WatchFault.REPEATED] == [first, first, second, first, second]
    for fault in (WatchFault.CUT, WatchFault.REFUSED):
        with proxied(controlplane, Always(None, fault)) as proxy, pytest.raises(Unavailable):
            admin.through(proxy.address).raw("GET", path)


def test_an_experiment_completes_through_a_bad_network(live: Live, controlplane: ControlPlane) -> None:
    name = "proxied"
    with proxied(controlplane, Plan(SEED)) as proxy, witnessed(live, name):
        operator = KeptAlive(live, proxy.address)
        live.create(name)
        ended = operator.wait_ended(live, name, 300.0)
        live.wait_nothing_left()
        print(f"\nseed {SEED}: {sum(proxy.injected.values())} faults, {sum(proxy.passed.values())} requests went well")
        print(*(f"  {count:4} {fault}" for fault, count in proxy.by_fault().items()), sep="\n")
        print(f"  trials {[phase_of(t) for t in live.trials(name)]}, operator started {operator.starts} times")
        assert ended["status"]["phase"] == "Completed"
        assert set(proxy.by_fault()) == {f.value for f in (*Fault, *WatchFault)}
        assert set(WRITES) <= {asked for asked, _ in proxy.injected}


def test_etcd_dies_in_the_middle_of_a_trial(live: Live, controlplane: ControlPlane) -> None:
    name = "etcd"
    etcd, hasty = controlplane.component("etcd"), controlplane.client.through(controlplane.server, timeout=1.0)
    with witnessed(live, name):
        operator = KeptAlive(live)
        live.create(name)
        trial = live.wait_trial(name, MEASURING)
        etcd.kill()
        try:
            wait_for(lambda: not answers(hasty), "the API server to notice")
        finally:
            controlplane.start_component("etcd")
        ended = operator.wait_ended(live, name, 240.0)
        live.wait_nothing_left()
        print(f"\ntrials {[phase_of(t) for t in live.trials(name)]}, operator started {operator.starts} times")
        assert ended["status"]["phase"] == "Completed"
        assert live.trials(name)[0]["metadata"]["uid"] == trial["metadata"]["uid"]


def answers(client: ApiClient) -> bool:
    """Whether the API server can read something from etcd."""
    try:
        return bool(client.list("v1", "Namespace"))
    except Unavailable:
        return False
