"""Fixtures of the tests against a real control plane and a real Prometheus.

Each pytest process (so each worker of pytest-xdist) has one control plane; each test has a namespace of its own in it.
The binaries are built before the first test and outside of any test's timeout. A failed build fails every test that
needs it, with the reason and the remedy: nothing is skipped.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from tests.contract.test_cluster import GADGETS

from controlplane import (
    ApiClient,
    BuildError,
    ControlPlane,
    PlaneOptions,
    PrometheusServer,
    binaries,
    gateway_definitions,
    read_definitions,
    wait_for,
)
from controlplane.tools import CONTROL_PLANE, MONITORING
from stack import drop_namespaces, make_namespaces
from stack.paths import CRDS
from trimtab.adapters.prometheus import PrometheusTelemetry
from trimtab.ports import Telemetry

FIXTURES_WITH_BINARIES = {"controlplane", "prometheus_factory", "built"}
GADGET_DEFINITION: dict[str, Any] = {  # of the Cluster's contract: a status and any content
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"{GADGETS.plural}.{GADGETS.group}"},
    "spec": {
        "group": GADGETS.group,
        "scope": "Namespaced",
        "names": {"plural": GADGETS.plural, "singular": "gadget", "kind": GADGETS.name, "listKind": "GadgetList"},
        "versions": [
            {
                "name": GADGETS.version,
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}
BINARIES: pytest.StashKey[dict[str, Path]] = pytest.StashKey()
FAILURE: pytest.StashKey[str] = pytest.StashKey()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build what the selected tests need; progress goes to the terminal, because a first build takes minutes."""
    needed = any(FIXTURES_WITH_BINARIES & set(getattr(item, "fixturenames", ())) for item in session.items)
    if not needed or session.config.option.collectonly:
        return
    capture = session.config.pluginmanager.getplugin("capturemanager")
    uncaptured = capture.global_and_fixture_disabled() if capture is not None else contextlib.nullcontext()
    try:
        with uncaptured:
            session.config.stash[BINARIES] = binaries([*CONTROL_PLANE, *MONITORING])
            gateway_definitions()
    except BuildError as error:
        session.config.stash[FAILURE] = str(error)


@pytest.fixture(scope="session")
def built(pytestconfig: pytest.Config) -> dict[str, Path]:
    """The binaries by name."""
    if FAILURE in pytestconfig.stash:
        pytest.fail(f"no binaries for the control plane: {pytestconfig.stash[FAILURE]}", pytrace=False)
    return pytestconfig.stash[BINARIES]


@pytest.fixture(scope="session", name="controlplane")
def controlplane_fixture(built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """The control plane of this process; its logs stay in pytest's temporary directory.

    Every definition that any test uses is there from the start, so no test depends on who ran before it: neither on
    what is served, nor on whether the garbage collector has already found out.
    """
    definitions = [*read_definitions(CRDS), *gateway_definitions(), GADGET_DEFINITION]
    options = PlaneOptions(hpa_sync_period=5.0, audit_log=True, definitions=definitions)
    plane = ControlPlane(tmp_path_factory.mktemp("controlplane"), options, paths=built)
    plane.start()
    try:
        yield plane
    finally:
        plane.stop(keep_logs=True)


@pytest.fixture
def admin(controlplane: ControlPlane) -> ApiClient:
    """A client of the cluster administrator."""
    return controlplane.client


@pytest.fixture
def namespace(admin: ApiClient) -> Iterator[str]:
    """A namespace of this test alone, ready for pods.

    It is deleted afterwards without waiting for its end: the next test has another one.
    """
    name = f"test-{secrets.token_hex(4)}"
    make_namespaces(admin, name)
    yield name
    drop_namespaces(admin, name)


@pytest.fixture
def no_nodes(admin: ApiClient) -> None:
    """A cluster without Nodes: those of a stopped playground would take pods that nobody plays and nobody removes."""
    admin.delete_all("v1", "Node")
    wait_for(lambda: not admin.list("v1", "Node"), "the nodes of earlier tests to go")


class PrometheusFactory(Protocol):
    """Starts a Prometheus; the arguments are those of `PrometheusServer` without the directory."""

    def __call__(self, config: dict[str, Any], **options: Any) -> PrometheusServer: ...


@pytest.fixture
def prometheus_factory(built: dict[str, Path], tmp_path: Path) -> Iterator[PrometheusFactory]:
    """Start Prometheus servers that end with the test; their logs stay in the test's temporary directory."""
    started: list[PrometheusServer] = []

    def start(config: dict[str, Any], **options: Any) -> PrometheusServer:
        directory = tmp_path / f"prometheus-{len(started)}"
        server = PrometheusServer(config, directory, path=built["prometheus"], **options)
        started.append(server)
        return server.start()

    yield start
    for server in started:
        server.stop(keep_logs=True)


@pytest.fixture
def telemetry(server: PrometheusServer) -> Iterator[Telemetry]:
    """The adapter over the module's `server`."""
    made = PrometheusTelemetry(server.url)
    yield made
    made.close()
