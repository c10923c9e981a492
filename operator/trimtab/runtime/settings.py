"""Settings from the environment: read once at the start, frozen, passed as an argument from there on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from trimtab.adapters.query_limits import QUERY_LIMIT

SERVICE_ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

T = TypeVar("T")


class InvalidSetting(Exception):
    """A variable has a value that cannot be used; one line that names it and the remedy."""

    def __init__(self, variable: str, problem: str, remedy: str) -> None:
        self.variable = variable
        super().__init__(f"{variable}: {problem}; {remedy}")


@dataclass(frozen=True)
class Settings:
    """What the operator is told from outside.

    `namespaces` is empty for the whole cluster. `kubeconfig` None means the pod that we run in. `prometheus_url` is ""
    when only `telemetry_file` names metrics stores. `query_limit` is queries in a minute for each live
    trial. Seconds.
    """

    prometheus_url: str
    lease_namespace: str
    namespaces: tuple[str, ...] = ()
    prometheus_token_file: str | None = None
    telemetry_file: str | None = None
    query_limit: int = QUERY_LIMIT
    http_host: str = "0.0.0.0"
    http_port: int = 8080
    lease_name: str = "trimtab-operator"
    lease_duration: float = 15.0
    log_format: str = "json"
    log_level: str = "INFO"
    kubeconfig: str | None = None
    workers: int = 4
    resync: float = 60.0

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str], own_namespace: Path = SERVICE_ACCOUNT_NAMESPACE
    ) -> Settings:
        """Read and check all variables.

        Raises:
            InvalidSetting: names the first variable that cannot be used.
        """
        read = _Reader(environment)
        return cls(
            namespaces=read.names("TRIMTAB_NAMESPACE"),
            prometheus_url=read.url("TRIMTAB_PROMETHEUS_URL", needed=not read.text("TRIMTAB_TELEMETRY_FILE", "")),
            prometheus_token_file=read.file("TRIMTAB_PROMETHEUS_TOKEN_FILE"),
            telemetry_file=read.file("TRIMTAB_TELEMETRY_FILE"),
            query_limit=read.integer("TRIMTAB_QUERY_LIMIT", cls.query_limit, 120, 1_000_000),
            http_host=read.text("TRIMTAB_HTTP_HOST", cls.http_host),
            http_port=read.integer("TRIMTAB_HTTP_PORT", cls.http_port, 0, 65535),
            lease_namespace=read.text("TRIMTAB_LEASE_NAMESPACE", "") or _own_namespace(own_namespace),
            lease_name=read.text("TRIMTAB_LEASE_NAME", cls.lease_name),
            lease_duration=read.seconds("TRIMTAB_LEASE_DURATION", cls.lease_duration, 3.0, 120.0),
            log_format=read.choice("TRIMTAB_LOG_FORMAT", cls.log_format, ("json", "console")),
            log_level=read.choice("TRIMTAB_LOG_LEVEL", cls.log_level, ("DEBUG", "INFO", "WARNING", "ERROR")),
            kubeconfig=read.file("TRIMTAB_KUBECONFIG"),
            workers=read.integer("TRIMTAB_WORKERS", cls.workers, 1, 64),
            resync=read.seconds("TRIMTAB_RESYNC", cls.resync, 1.0, 600.0),
        )


@dataclass(frozen=True)
class ReapSettings:
    """What `trimtab reap` is told from outside: the same variables as the operator, whose arms it removes."""

    lease_namespace: str
    lease_name: str = Settings.lease_name
    namespaces: tuple[str, ...] = ()
    log_format: str = Settings.log_format
    log_level: str = Settings.log_level
    kubeconfig: str | None = None

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str], own_namespace: Path = SERVICE_ACCOUNT_NAMESPACE
    ) -> ReapSettings:
        """Read and check all variables.

        Raises:
            InvalidSetting: names the first variable that cannot be used.
        """
        read = _Reader(environment)
        return cls(
            lease_namespace=read.text("TRIMTAB_LEASE_NAMESPACE", "") or _own_namespace(own_namespace),
            lease_name=read.text("TRIMTAB_LEASE_NAME", cls.lease_name),
            namespaces=read.names("TRIMTAB_NAMESPACE"),
            log_format=read.choice("TRIMTAB_LOG_FORMAT", cls.log_format, ("json", "console")),
            log_level=read.choice("TRIMTAB_LOG_LEVEL", cls.log_level, ("DEBUG", "INFO", "WARNING", "ERROR")),
            kubeconfig=read.file("TRIMTAB_KUBECONFIG"),
        )


class _Reader:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def text(self, variable: str, default: str) -> str:
        return self._environment.get(variable, "").strip() or default

    def names(self, variable: str) -> tuple[str, ...]:
        names = tuple(dict.fromkeys(part.strip() for part in self.text(variable, "").split(",") if part.strip()))
        for name in names:
            if len(name) > 63 or not all(c.isascii() and (c.islower() or c.isdigit() or c == "-") for c in name):
                remedy = "use namespace names separated by commas, or leave it empty for the whole cluster"
                raise InvalidSetting(variable, f"{name!r} is not the name of a namespace", remedy)
        return names

    def url(self, variable: str, *, needed: bool) -> str:
        value = self.text(variable, "")
        remedy = "set it to Prometheus' address, e.g. http://prometheus.monitoring:9090"
        if not value and not needed:
            return ""
        if not value:
            raise InvalidSetting(variable, "is not set", remedy)
        try:
            parts = urlsplit(value)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise InvalidSetting(variable, f"{value!r} is not an http or https address", remedy)
        if parts.username or parts.password:
            raise InvalidSetting(variable, "holds credentials", "use TRIMTAB_PROMETHEUS_TOKEN_FILE instead")
        return value.rstrip("/")

    def file(self, variable: str) -> str | None:
        value = self.text(variable, "")
        if not value:
            return None
        if not Path(value).is_file():
            raise InvalidSetting(variable, f"{value!r} is not a file", "mount the file or correct the path")
        return value

    def choice(self, variable: str, default: str, values: tuple[str, ...]) -> str:
        value = self.text(variable, default)
        if value not in values:
            raise InvalidSetting(variable, f"{value!r} is not known", f"use one of {', '.join(values)}")
        return value

    def integer(self, variable: str, default: int, low: int, high: int) -> int:
        return self._number(variable, default, low, high, int, "a whole number")

    def seconds(self, variable: str, default: float, low: float, high: float) -> float:
        return self._number(variable, default, low, high, float, "a number of seconds")

    def _number(self, variable: str, default: T, low: float, high: float, parse: Callable[[str], T], what: str) -> T:
        text = self.text(variable, "")
        if not text:
            return default
        remedy = f"use {what} from {low:g} to {high:g}"
        try:
            value = parse(text)
        except ValueError:
            raise InvalidSetting(variable, f"{text!r} is not {what}", remedy) from None
        if not low <= float(value) <= high:  # type: ignore[arg-type]
            raise InvalidSetting(variable, f"{text} is out of range", remedy)
        return value


def _own_namespace(path: Path) -> str:
    try:
        found = path.read_text().strip()
    except OSError:
        found = ""
    if not found:
        remedy = "set it to the operator's own namespace"
        raise InvalidSetting("TRIMTAB_LEASE_NAMESPACE", "is not set and this is not a pod", remedy)
    return found


__all__ = ["InvalidSetting", "ReapSettings", "Settings"]
