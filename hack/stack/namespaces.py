"""Namespaces for tests: made ready for pods, and dropped in such a way that nothing of them stays.

A namespace that cannot end is not only a leftover: its controller asks for all of its contents again and again, and so
slows down whatever runs next on the same control plane.
"""

from __future__ import annotations

import contextlib
import functools

from controlplane import ApiClient, ApiError, wait_for
from stack.place import API

HELD = ("Experiment", "Trial")


def make_namespaces(client: ApiClient, *names: str) -> None:
    """Create them and wait until pods can be created there."""
    for name in names:
        client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    for name in names:
        account = functools.partial(client.find, "v1", "ServiceAccount", "default", name)
        wait_for(account, f"the service account of {name}", seconds=60)


def drop_namespaces(client: ApiClient, *names: str) -> None:
    """Ask for their deletion and remove what would hold it up: no operator runs that would let go of a finalizer, and
    without a kubelet a scheduled pod would wait for its grace period for ever. Does not wait for the end."""
    for name in names:
        with contextlib.suppress(ApiError):
            client.delete("v1", "Namespace", name)
        with contextlib.suppress(ApiError):  # also when the definitions are not installed
            release_all(client, name)
        with contextlib.suppress(ApiError):
            client.delete_all("v1", "Pod", name, grace=0)


def release_all(client: ApiClient, namespace: str) -> None:
    """Take the finalizers of everything that an operator held there and that nobody will let go of."""
    for kind in HELD:
        for found in client.list(API, kind, namespace):
            if found["metadata"].get("finalizers"):
                with contextlib.suppress(ApiError):
                    client.patch(API, kind, found["metadata"]["name"], {"metadata": {"finalizers": None}}, namespace)
