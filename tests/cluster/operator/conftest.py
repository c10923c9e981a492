"""A running operator for these tests: real control plane, real Prometheus, the chart's ServiceAccount.

`stack` belongs to a module: one operator for every namespace, one Prometheus, one workload program, and a few
namespaces in which the workload is up before the first test starts. A test gets one of them as its `place`, and the
next test gets it again unless it was spoiled. `own_stack` is a test's own, installed in one namespace with the narrower
rights; a module uses one of the two. A module may set TARGET_REPLICAS, CHART_VALUES and METRICS_API.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.operator.support import REPLICAS, workload

from controlplane import ApiError, ControlPlane
from stack import Place, Stack, StackOptions, drop_namespaces, make_namespaces

LOG_LINES = 60
MOST_PLACES = 5
Reported = Callable[[Stack, Place], None]
REPORTED: pytest.StashKey[list[tuple[str, Callable[[], str]]]] = pytest.StashKey()


@pytest.fixture(scope="module")
def stack(
    controlplane: ControlPlane, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """One operator for the whole cluster, and the workload in as many namespaces as the module has tests."""
    tests = [i for i in request.session.items if i.path == request.path and "place" in getattr(i, "fixturenames", ())]
    run = secrets.token_hex(3)
    places = tuple(f"place-{run}-{number}" for number in range(min(max(len(tests), 1), MOST_PLACES)))
    namespace = f"trimtab-{run}"
    make_namespaces(controlplane.client, namespace, *places)
    directory = tmp_path_factory.mktemp("stack")
    replicas = getattr(request.module, "TARGET_REPLICAS", REPLICAS)
    options = StackOptions(
        namespace=namespace,
        cluster=True,
        places=places,
        days=0,
        replicas=replicas,
        workload=workload(directory, replicas),
        values=getattr(request.module, "CHART_VALUES", {}),
        metrics_api=getattr(request.module, "METRICS_API", False),
    )
    try:
        with Stack(controlplane, directory, options) as running:
            yield running
    finally:
        drop_namespaces(controlplane.client, namespace, *places)


@pytest.fixture(scope="module")
def free_places(stack: Stack) -> list[str]:
    """Namespaces of the module that a test may use."""
    return list(stack.options.places)


@pytest.fixture
def reported(request: pytest.FixtureRequest) -> Reported:
    """What a failure of this test shows: call it with its stack and place."""

    def report(stack: Stack, place: Place) -> None:
        request.node.stash[REPORTED] = _report(stack, place)

    return report


@pytest.fixture
def place(stack: Stack, free_places: list[str], reported: Reported) -> Iterator[Place]:
    """A namespace of this test alone, where four replicas of the workload run; Experiments in it are deleted after."""
    assert free_places, "earlier tests of this module failed and left no namespace that can be used"
    found = Place(stack.plane.client, free_places.pop(0))
    reported(stack, found)
    yield found
    with contextlib.suppress(ApiError):
        left = found.client.list("trimtab.dev/v1alpha1", "Experiment", found.namespace)
        for experiment in left:
            found.delete(experiment["metadata"]["name"])
        if not left and not found.spoiled and not found.leftovers():
            free_places.append(found.namespace)


@pytest.fixture
def own_stack(controlplane: ControlPlane, namespace: str, reported: Reported, tmp_path: Path) -> Iterator[Stack]:
    """A stack of this test alone: the operator is installed in the test's namespace and watches only that."""
    options = StackOptions(namespace=namespace, days=0, replicas=REPLICAS, workload=workload(tmp_path))
    with Stack(controlplane, tmp_path / "stack", options) as running:
        reported(running, Place(controlplane.client, namespace))
        yield running


@pytest.fixture
def own_place(own_stack: Stack) -> Place:
    """The namespace of `own_stack`."""
    return Place(own_stack.plane.client, own_stack.options.namespace)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Generator[None, Any, Any]:
    """A failure shows the Experiments and the end of the operator's log."""
    report = yield
    if report.failed and REPORTED in item.stash:
        for title, text in item.stash[REPORTED]:
            report.sections.append((title, text()))
    return report


def _report(stack: Stack, place: Place) -> list[tuple[str, Callable[[], str]]]:
    def log() -> str:
        return "\n".join(line for one in stack.operators for line in one.component.tail(LOG_LINES).splitlines())

    return [(f"Experiments in {place.namespace}", place.report), ("operator's log", log)]
