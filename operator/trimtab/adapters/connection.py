"""How to reach one API server: address, certificates, and a bearer token that is read again as it rotates.

A kubeconfig is used only when its path is given. The user's current context is never taken by accident, because an
operator that finds the wrong cluster tunes the wrong production.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from kubernetes.aio.client import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config
from kubernetes.aio.config.incluster_config import SERVICE_TOKEN_FILENAME

TOKEN_PERIOD = 60.0


class ConnectionProblem(Exception):
    """The API server's address or credentials cannot be read; the message names the remedy in one line."""


class Connection:
    """Address and credentials of one API server, shared by the clients of this process.

    Service account tokens rotate, and the library reads a kubeconfig's `tokenFile` only once. So the token file is read
    again each minute, and everything else once more when the server answers 401.
    """

    def __init__(
        self, kubeconfig: str | None, configuration: Any, token_file: str | None, monotonic: Callable[[], float]
    ) -> None:
        self._kubeconfig = kubeconfig
        self.configuration = configuration
        self.token_file = token_file
        self._monotonic = monotonic
        self._read_at = monotonic()
        if token_file is not None:
            self._token: str | None = _read_token(token_file)
        else:
            self._token = _static_authorization(configuration)

    @property
    def server(self) -> str:
        """The API server's address without a trailing slash."""
        return str(self.configuration.host).rstrip("/")

    def authorization(self) -> str | None:
        """The Authorization header of now, None with client certificates alone."""
        if self.token_file is not None and self._monotonic() - self._read_at >= TOKEN_PERIOD:
            self._reread(self.token_file)
        return self._token

    async def refresh(self, refused: str | None) -> bool:
        """Read the credentials again after a 401 to this header; True when there are others now, so that asking again
        makes sense. Of many that were refused at once the first one reads, and all of them ask again."""
        if self._token != refused:
            return True
        if self.token_file is not None:
            self._reread(self.token_file)
        elif self._kubeconfig is not None:
            self.configuration, _ = await _load_kubeconfig(self._kubeconfig)
            self._token = _static_authorization(self.configuration)
        return self._token != refused

    def _reread(self, path: str) -> None:
        try:
            self._token = _read_token(path)
        except ConnectionProblem:
            return  # between two versions of a projected volume: the old token is still good for minutes
        self._read_at = self._monotonic()


async def connect(kubeconfig: str | None, monotonic: Callable[[], float]) -> Connection:
    """The API server of this kubeconfig file, or of the pod that we run in when none is given.

    Raises:
        ConnectionProblem: neither is there, or it cannot be read.
    """
    if kubeconfig:
        configuration, token_file = await _load_kubeconfig(kubeconfig)
        return Connection(kubeconfig, configuration, token_file, monotonic)
    configuration = _new_configuration()
    try:
        load_incluster_config(configuration, try_refresh_token=False)
    except ConfigException as error:
        raise ConnectionProblem(
            f"not inside a cluster ({error}); set TRIMTAB_KUBECONFIG to the path of a kubeconfig"
        ) from None
    return Connection(None, configuration, SERVICE_TOKEN_FILENAME, monotonic)


async def _load_kubeconfig(path: str) -> tuple[Any, str | None]:
    configuration = _new_configuration()
    try:
        token_file = _token_file(path)
        await load_kube_config(config_file=path, client_configuration=configuration, persist_config=False)
    except (OSError, yaml.YAMLError, ConfigException, ValueError, TypeError, KeyError) as error:
        text = " ".join(str(error).split())
        raise ConnectionProblem(f"kubeconfig {path} cannot be read ({text}); check the path and its contents") from None
    return configuration, token_file


def _new_configuration() -> Any:
    configuration = Configuration()
    configuration.retries = None  # retrying is the workqueue's business; a hidden retry hides latency from safety
    configuration.connection_pool_maxsize = 8
    return configuration


def _token_file(path: str) -> str | None:
    """The `tokenFile` of the kubeconfig's own current context."""
    content = yaml.safe_load(Path(path).read_text())
    if not isinstance(content, dict):
        raise ValueError("not a kubeconfig")
    context = _named(content, "contexts", content.get("current-context")).get("context") or {}
    user = _named(content, "users", context.get("user")).get("user") or {}
    token_file = user.get("tokenFile")
    return str((Path(path).parent / token_file).resolve()) if token_file else None


def _named(content: dict[str, Any], key: str, name: Any) -> dict[str, Any]:
    return next((item for item in content.get(key) or [] if item.get("name") == name), {})


def _read_token(path: str) -> str:
    try:
        token = Path(path).read_text().strip()
    except OSError as error:
        raise ConnectionProblem(f"token file {path} cannot be read ({error.strerror}); mount or name a token") from None
    if not token:
        raise ConnectionProblem(f"token file {path} is empty; mount or name a token")
    return f"Bearer {token}"


def _static_authorization(configuration: Any) -> str | None:
    value = configuration.api_key.get("BearerToken")
    return str(value) if value else None
