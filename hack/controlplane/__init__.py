"""A real Kubernetes control plane and a real Prometheus on one machine: no containers, loopback only.

`build` makes (or finds) the binaries, `plane` runs the control plane, `prometheus` runs Prometheus, `client` talks to
the API server, `waiting` polls for a condition. Nothing here reads or writes the user's own kubeconfig or its contexts.
"""

from controlplane.build import binaries
from controlplane.client import ApiClient, ApiError
from controlplane.definitions import read_definitions
from controlplane.errors import BuildError, ControlPlaneError, StartError
from controlplane.gateway import gateway_definitions
from controlplane.plane import ControlPlane, PlaneOptions
from controlplane.prometheus import PrometheusError, PrometheusServer, backfill, scrape_config
from controlplane.waiting import WaitTimeout, eventually, wait_for

__all__ = [
    "ApiClient",
    "ApiError",
    "BuildError",
    "ControlPlane",
    "ControlPlaneError",
    "PlaneOptions",
    "PrometheusError",
    "PrometheusServer",
    "StartError",
    "WaitTimeout",
    "backfill",
    "binaries",
    "eventually",
    "gateway_definitions",
    "read_definitions",
    "scrape_config",
    "wait_for",
]
