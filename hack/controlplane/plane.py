"""A control plane of one's own: etcd, kube-apiserver, kube-controller-manager and kube-scheduler as child processes.

etcd listens on Unix sockets in a private folder, because it has no authentication of its own; the controllers serve
nothing. So the API server is the only listener, on loopback, and every request to it needs a token. There is no
kubelet: pods are bound to Node objects that somebody registers, and stay Pending until somebody writes their status.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from controlplane.build import binaries
from controlplane.client import ApiClient, ApiError, Obj, Unreachable
from controlplane.credentials import ADMIN, Credentials, signing_key
from controlplane.definitions import read_definitions, serve
from controlplane.kubeconfig import write_kubeconfig, write_private
from controlplane.processes import Component, Family, start_on_free_port, stop_together, temporary_path

ETCD, APISERVER, CONTROLLERS, SCHEDULER = "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"
ISSUER = "https://kubernetes.default.svc"
SERVICE_RANGE = "10.96.0.0/16"
SOCKET_PATH_LIMIT = 100  # bytes; the kernel's is 104 to 108


@dataclass(frozen=True)
class PlaneOptions:
    """What may differ between planes.

    Attributes:
        hpa_sync_period: seconds between two looks of the HPA controller; the controller's own default is 15.
        node_monitor_grace_period: seconds without a heartbeat after which a Node counts as lost.
        users: further users by name with their groups; each gets a random token.
        audit_log: write an audit log of all requests (level Metadata), see `ControlPlane.audit_events`.
        definitions: CustomResourceDefinitions that are served before the controllers start: their garbage collector
            looks for new ones only every 30 seconds.
        arguments: further arguments per component, given last.
        ready_seconds: deadline of every start.
    """

    hpa_sync_period: float | None = None
    node_monitor_grace_period: float = 40.0
    users: Mapping[str, Sequence[str]] = field(default_factory=dict)
    audit_log: bool = False
    definitions: Sequence[Obj] = ()
    arguments: Mapping[str, Sequence[str]] = field(default_factory=dict)
    ready_seconds: float = 60.0


class ControlPlane:
    """One control plane; several can run side by side.

    Args:
        directory: for logs, keys and kubeconfigs; a temporary one by default.
        options: what may differ between planes.
        paths: binaries by name; found or built by default.

    Use it as a context manager, or call `start` and `stop`.
    """

    def __init__(
        self,
        directory: Path | None = None,
        options: PlaneOptions = PlaneOptions(),
        *,
        paths: Mapping[str, Path] | None = None,
    ) -> None:
        self.options = options
        self._paths = dict(paths) if paths is not None else binaries()
        self._temporary = directory is None
        self.directory = (directory or temporary_path("trimtab-plane-")).resolve()
        self._credentials = Credentials.create(options.users)
        self._scratch = Path()
        self._port = 0
        self._family: Family | None = None
        self._components: dict[str, Component] = {}
        self._clients: dict[str, ApiClient] = {}

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # Life

    def start(self) -> Self:
        """Start all components and wait until the API server is ready and namespaces get their service account.

        Raises:
            StartError: a component did not come up; nothing is left running, the logs are kept.
        """
        if self._family is not None:
            return self
        self._scratch = _short_temporary_folder()
        for folder in (self.directory, self.logs, self._pki):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._family = Family(remove=[self._scratch, *([self.directory] if self._temporary else [])])
        self._components = {
            name: Component(name, self._family, command, self.log(name))
            for name, command in (
                (ETCD, self._etcd_command),
                (APISERVER, self._apiserver_command),
                (CONTROLLERS, self._controllers_command),
                (SCHEDULER, self._scheduler_command),
            )
        }
        try:
            self._write_credentials()
            self.start_component(ETCD)
            start_on_free_port(self._start_apiserver_on, lambda: self._components[APISERVER])
            self.kubeconfig()
            serve(self.client, self.options.definitions)
            self.start_component(SCHEDULER)
            self.start_component(CONTROLLERS)
        except BaseException:
            self.stop(keep_logs=True)
            raise
        return self

    def stop(self, *, keep_logs: bool = False, grace: float = 1.0) -> None:
        """Stop everything and remove the data, the keys and the kubeconfigs; logs too, unless they shall be kept.

        The grace period is short, because the API server and etcd would wait for their open watches and nothing they
        could still write is kept.
        """
        if self._family is None:
            return
        stop_together(list(reversed(self._components.values())), grace)
        self._family.close()
        self._family = None
        shutil.rmtree(self._scratch, ignore_errors=True)
        for folder in (self._pki, self.directory / "kubeconfig", *([] if keep_logs else [self.logs])):
            shutil.rmtree(folder, ignore_errors=True)
        if self._temporary and not keep_logs:
            shutil.rmtree(self.directory, ignore_errors=True)

    def component(self, name: str) -> Component:
        """A component by name, with or without `kube-`, to signal, pause or kill it."""
        for known in (name, f"kube-{name}"):
            if known in self._components:
                return self._components[known]
        choice = ", ".join(self._components) or "none, because the plane is stopped"
        raise KeyError(f"no component {name!r}: choose from {choice}")

    def start_component(self, name: str) -> None:
        """Start a stopped component (on its old port) and wait until it is ready."""
        component = self.component(name)
        if component.pid is not None:
            return
        if component.name == CONTROLLERS:
            self._forget_controllers_work()
        component.start()
        ready = {ETCD: self._etcd_ready, APISERVER: self._apiserver_ready, CONTROLLERS: self._controllers_work}
        component.wait_ready(ready.get(component.name, lambda: True), self.options.ready_seconds)

    def stop_component(self, name: str, grace: float = 2.0) -> None:
        """Stop one component; its data stay."""
        self.component(name).stop(grace)

    def restart_component(self, name: str) -> None:
        """Stop and start one component."""
        self.stop_component(name)
        self.start_component(name)

    # What it offers

    @property
    def server(self) -> str:
        """The API server's address."""
        return f"https://127.0.0.1:{self._port}"

    @property
    def ca_pem(self) -> bytes:
        """The API server's self-signed certificates."""
        return (self._pki / "apiserver.crt").read_bytes()

    @property
    def serving_certificate(self) -> tuple[Path, Path]:
        """The API server's certificate and its key, for a program of ours that stands in front of it on loopback."""
        return self._pki / "apiserver.crt", self._pki / "apiserver.key"

    @property
    def client(self) -> ApiClient:
        """A client of the cluster administrator."""
        return self.client_for(ADMIN)

    @property
    def kubectl(self) -> Path:
        """The kubectl of this version; call it with `--kubeconfig`."""
        return self._paths["kubectl"]

    @property
    def logs(self) -> Path:
        """The folder of the logs."""
        return self.directory / "logs"

    @property
    def pids(self) -> dict[str, int]:
        """The process ids of the running components."""
        return {name: pid for name, component in self._components.items() if (pid := component.pid) is not None}

    @property
    def group(self) -> int | None:
        """The process group of all processes of this plane, or None when it is stopped."""
        return self._family.group if self._family is not None else None

    def log(self, name: str) -> Path:
        """The log of a component."""
        return self.logs / f"{name}.log"

    def client_for(self, user: str) -> ApiClient:
        """A client of a static user; the same one each time, for what it has learned about the server."""
        if user not in self._clients:
            self._clients[user] = ApiClient(self.server, self.ca_pem, self._credentials.tokens[user])
        return self._clients[user]

    def kubeconfig(
        self, path: Path | None = None, *, user: str = ADMIN, token: str | None = None, namespace: str = "default"
    ) -> Path:
        """Write a kubeconfig for a static user or a token; by default `kubeconfig/<user>` in the plane's folder."""
        place = path or self.directory / "kubeconfig" / user.replace(":", "-")
        credential = {"token": token or self._credentials.tokens[user]}
        return write_kubeconfig(place, self.server, self.ca_pem, credential, namespace)

    def service_account_token(self, namespace: str, name: str, seconds: int = 3600) -> str:
        """A token of a service account by TokenRequest; the API server refuses less than 600 seconds."""
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds},
        }
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        return str(self.client.request("POST", path, request)["status"]["token"])

    def service_account_kubeconfig(
        self, namespace: str, name: str, path: Path | None = None, *, seconds: int = 3600, server: str | None = None
    ) -> Path:
        """Write a kubeconfig of a service account that names a token file beside it, and that file.

        Call it again to renew the token: the token file is replaced in one step, as a kubelet does. `server` is an
        address to use instead of the API server's own, e.g. of a proxy with the same certificate.
        """
        place = path or self.directory / "kubeconfig" / f"{namespace}-{name}"
        token_file = place.with_name(f"{place.name}.token").resolve()
        write_private(token_file, self.service_account_token(namespace, name, seconds))
        return write_kubeconfig(place, server or self.server, self.ca_pem, {"tokenFile": str(token_file)}, namespace)

    def apply_crds(self, folder: Path, *, seconds: float = 30.0) -> list[str]:
        """Create or replace the CustomResourceDefinitions of a folder and wait until they are served.

        Returns:
            their names.
        """
        return serve(self.client, read_definitions(folder), seconds)

    def audit_events(self, user: str | None = None) -> list[Obj]:
        """All completed requests so far (needs `audit_log`); one dict per request, as in audit.k8s.io/v1.

        Args:
            user: only the requests of this user.
        """
        path = self.logs / "audit.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        events = [json.loads(line) for line in lines if user is None or f'"username":"{user}"' in line]
        return [event for event in events if user in {None, event["user"]["username"]}]

    # How it is started

    @property
    def _pki(self) -> Path:
        return self.directory / "pki"

    def _write_credentials(self) -> None:
        write_private(self._pki / "service-account.key", signing_key())
        write_private(self._pki / "tokens.csv", self._credentials.token_file())
        policy = {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived", "ResponseStarted"],
            "rules": [{"level": "Metadata"}],
        }
        write_private(self._pki / "audit-policy.json", json.dumps(policy))

    def _start_apiserver_on(self, port: int) -> None:
        self._port = port
        self.start_component(APISERVER)

    def _etcd_ready(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self._scratch / "client.sock")) == 0

    def _apiserver_ready(self) -> bool:
        try:
            self._clients.clear()  # of another port, or of a certificate that was not written yet
            return self.client.raw("GET", "/readyz") == "ok"
        except (ApiError, FileNotFoundError):
            return False

    def _forget_controllers_work(self) -> None:
        """Delete something that a working controller manager makes again, to see when it works (again)."""
        with contextlib.suppress(ApiError):
            self.client.delete("v1", "ServiceAccount", "default", "default")

    def _controllers_work(self) -> bool:
        with contextlib.suppress(Unreachable):
            return self.client.find("v1", "ServiceAccount", "default", "default") is not None
        return False

    def _extra(self, name: str) -> list[str]:
        return list(self.options.arguments.get(name, ()))

    def _etcd_command(self) -> list[str]:
        return [
            str(self._paths[ETCD]),
            f"--data-dir={self._scratch / 'etcd'}",
            f"--listen-client-urls=unix://{self._scratch / 'client.sock'}",
            f"--listen-peer-urls=unix://{self._scratch / 'peer.sock'}",
            # Advertised addresses must look like host:port; a single member never connects to them.
            "--advertise-client-urls=http://localhost:2379",
            "--initial-advertise-peer-urls=http://localhost:2380",
            "--initial-cluster=default=http://localhost:2380",
            "--unsafe-no-fsync",
            "--log-level=warn",
            *self._extra(ETCD),
        ]

    def _apiserver_command(self) -> list[str]:
        pki = self._pki
        audit = [
            f"--audit-policy-file={pki / 'audit-policy.json'}",
            f"--audit-log-path={self.logs / 'audit.jsonl'}",
            "--audit-log-maxsize=4096",  # MB; at 100 it would start anew in the middle of a long test run
        ]
        return [
            str(self._paths[APISERVER]),
            f"--etcd-servers=unix://{self._scratch / 'client.sock'}",
            f"--secure-port={self._port}",
            "--bind-address=127.0.0.1",
            # Endpoints may not hold a loopback address, so the API server does not register itself as one.
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",
            f"--cert-dir={pki}",
            f"--service-account-key-file={pki / 'service-account.key'}",
            f"--service-account-signing-key-file={pki / 'service-account.key'}",
            f"--service-account-issuer={ISSUER}",
            f"--token-auth-file={pki / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            *(audit if self.options.audit_log else []),
            *self._extra(APISERVER),
        ]

    def _controllers_command(self) -> list[str]:
        period = self.options.hpa_sync_period
        return [
            *self._controller(CONTROLLERS),
            f"--service-account-private-key-file={self._pki / 'service-account.key'}",
            f"--root-ca-file={self._pki / 'apiserver.crt'}",
            "--use-service-account-credentials",
            # Each controller asks for its own token first; at the default 20 requests per second that takes 6 s.
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
            f"--node-monitor-grace-period={self.options.node_monitor_grace_period:g}s",
            *([f"--horizontal-pod-autoscaler-sync-period={period:g}s"] if period is not None else []),
            *self._extra(CONTROLLERS),
        ]

    def _scheduler_command(self) -> list[str]:
        return [*self._controller(SCHEDULER), *self._extra(SCHEDULER)]

    def _controller(self, name: str) -> list[str]:
        config = self.kubeconfig(user=f"system:{name}")
        return [str(self._paths[name]), f"--kubeconfig={config}", "--leader-elect=false", "--secure-port=0"]


def _short_temporary_folder() -> Path:
    """A private folder whose path leaves room for the name of a Unix socket."""
    folder = Path(tempfile.mkdtemp(prefix="trimtab-"))
    if len(os.fsencode(folder / "client.sock")) > SOCKET_PATH_LIMIT:
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix="trimtab-", dir="/tmp"))
    return folder
