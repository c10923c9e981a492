"""A real Prometheus as a child process, on loopback, with faults on request.

The binary is built without its web interface; the HTTP API is complete. Blocks made by `backfill` from an OpenMetrics
file give it a past before it starts.
"""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from controlplane.build import binaries
from controlplane.errors import ControlPlaneError
from controlplane.processes import Component, Family, start_on_free_port, temporary_path

Config = dict[str, Any]


class PrometheusError(ControlPlaneError):
    """Prometheus refused a request or a file."""


def scrape_config(
    targets: Mapping[str, Sequence[str]], *, scrape_interval: float = 1.0, honor_labels: bool = True
) -> Config:
    """A configuration that scrapes these addresses.

    Args:
        targets: job name to addresses, each host:port or host:port/path.
        scrape_interval: seconds; also the timeout and the interval of rules.
        honor_labels: keep the labels that the target itself puts on its series.
    """
    return {
        "global": {
            "scrape_interval": _duration(scrape_interval),
            "scrape_timeout": _duration(scrape_interval),
            "evaluation_interval": _duration(scrape_interval),
        },
        "scrape_configs": [
            _job(job if number == 0 else f"{job}-{number}", path, addresses, honor_labels)
            for job, listed in targets.items()
            for number, (path, addresses) in enumerate(_by_path(listed).items())
        ],
    }


def backfill(openmetrics: Path, tsdb: Path, *, max_block_duration: str = "24h", promtool: Path | None = None) -> None:
    """Turn an OpenMetrics file (with timestamps, ending in `# EOF`) into blocks of a TSDB directory.

    Args:
        openmetrics: the samples.
        tsdb: the directory, made when missing; give it to `PrometheusServer` afterwards.
        max_block_duration: longer blocks are fewer files and need more memory while they are made.
        promtool: the binary; found or built by default.

    Raises:
        PrometheusError: with promtool's last line.
    """
    tool = promtool or binaries(["promtool"])["promtool"]
    tsdb.mkdir(parents=True, exist_ok=True)
    command = [str(tool), "tsdb", "create-blocks-from", "--quiet", f"--max-block-duration={max_block_duration}"]
    done = subprocess.run([*command, "openmetrics", str(openmetrics), str(tsdb)], capture_output=True, text=True)
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines() or ["no output"]
        raise PrometheusError(f"promtool refused {openmetrics}: {lines[-1]}")


class PrometheusServer:
    """One Prometheus; several can run side by side.

    Args:
        config: its configuration as a dict, see `scrape_config`; `rules` are added to it.
        directory: for configuration, log and data; a temporary one by default.
        tsdb: an existing data directory, for example from `backfill`; it is used in place and never removed.
        rules: rule groups, as below `groups:` in a rule file.
        retention: how long samples are kept; it must cover what was backfilled.
        arguments: further arguments, given last.
        path: the binary; found or built by default.
        ready_seconds: deadline of every start.
    """

    def __init__(
        self,
        config: Config,
        directory: Path | None = None,
        *,
        tsdb: Path | None = None,
        rules: Sequence[Config] = (),
        retention: str = "90d",
        arguments: Sequence[str] = (),
        path: Path | None = None,
        ready_seconds: float = 60.0,
    ) -> None:
        self._path = path or binaries(["prometheus"])["prometheus"]
        self._temporary = directory is None
        self.directory = (directory or temporary_path("trimtab-prometheus-")).resolve()
        self.tsdb = (tsdb or self.directory / "data").resolve()
        self._own_tsdb = tsdb is None
        self._config = config
        self._rules = list(rules)
        self._retention = retention
        self._arguments = list(arguments)
        self._ready_seconds = ready_seconds
        self._port = 0
        self._family: Family | None = None
        self._component: Component | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def log(self) -> Path:
        """Its log."""
        return self.directory / "prometheus.log"

    @property
    def pid(self) -> int | None:
        """Its process id, or None when it does not run."""
        return self._component.pid if self._component is not None else None

    @property
    def group(self) -> int | None:
        """The process group of it and its guard, or None when it is stopped."""
        return self._family.group if self._family is not None else None

    def start(self) -> Self:
        """Start it on a free port and wait until it answers queries.

        Raises:
            StartError: it did not come up; nothing is left running.
        """
        if self._family is not None:
            return self
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._write_config()
        self._family = Family(remove=[self.directory] if self._temporary else [])
        self._component = Component("prometheus", self._family, self._command, self.log)
        try:
            start_on_free_port(self._start_on, self._running)
        except BaseException:
            self.stop(keep_logs=True)
            raise
        return self

    def stop(self, *, keep_logs: bool = False, grace: float = 5.0) -> None:
        """Stop it and remove what it made; the log too, unless it shall be kept."""
        if self._family is None:
            return
        self._running().stop(grace)
        self._family.close()
        self._family = None
        if self._own_tsdb:
            shutil.rmtree(self.tsdb, ignore_errors=True)
        if self._temporary and not keep_logs:
            shutil.rmtree(self.directory, ignore_errors=True)

    def pause(self) -> None:
        """SIGSTOP: connections are accepted by the kernel, nothing is answered, nothing is scraped."""
        self._running().pause()

    def resume(self) -> None:
        """SIGCONT."""
        self._running().resume()

    def kill(self) -> None:
        """SIGKILL; `restart` brings it back on the same port with its data."""
        self._running().kill()

    def restart(self, *, empty: bool = False) -> None:
        """Stop it if it runs, start it on the same port with the same data, and wait until it answers.

        Args:
            empty: without the data: its volume was lost.
        """
        self._running().stop()
        if empty:
            shutil.rmtree(self.tsdb, ignore_errors=True)
        self._start_on(self._port)

    def reload(self, config: Config | None = None) -> None:
        """Use another configuration, or read the rules and the configuration again."""
        self._config = config if config is not None else self._config
        self._write_config()
        self.request("POST", "/-/reload")

    def query(self, expression: str, time: float | None = None) -> list[Config]:
        """An instant query; the result list of a vector, or the single result of a scalar in a list.

        Args:
            expression: PromQL.
            time: Unix seconds, now by default.
        """
        answer = self._api("query", {"query": expression} | ({} if time is None else {"time": f"{time:.3f}"}))
        return list(answer["result"]) if answer["resultType"] != "scalar" else [{"value": answer["result"]}]

    def query_range(self, expression: str, start: float, end: float, step: float) -> list[Config]:
        """A range query; the result list of a matrix."""
        fixed = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:.3f}"}
        return list(self._api("query_range", {"query": expression} | fixed)["result"])

    def value(self, expression: str, time: float | None = None) -> float | None:
        """The value of a query with at most one result; None when there is none."""
        result = self.query(expression, time)
        if len(result) > 1:
            raise PrometheusError(f"{expression}: {len(result)} series, expected at most one")
        return float(result[0]["value"][1]) if result else None

    def request(self, method: str, path: str, form: Mapping[str, str] | None = None, *, timeout: float = 15.0) -> str:
        """One HTTP request; the answer is text.

        Raises:
            PrometheusError: for an error status.
            OSError: no answer.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=timeout)
        try:
            body = urllib.parse.urlencode(form or {})
            connection.request(method, path, body, {"Content-Type": "application/x-www-form-urlencoded"})
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        finally:
            connection.close()
        if answer.status >= 400:
            raise PrometheusError(f"{method} {path}: {answer.status} {text.strip()}")
        return text

    def _api(self, endpoint: str, form: Mapping[str, str]) -> Config:
        data: Config = json.loads(self.request("POST", f"/api/v1/{endpoint}", form))["data"]
        return data

    def _running(self) -> Component:
        if self._component is None:
            raise PrometheusError("this Prometheus was never started")
        return self._component

    def _start_on(self, port: int) -> None:
        self._port = port
        component = self._running()
        component.start()
        component.wait_ready(self._ready, self._ready_seconds)

    def _ready(self) -> bool:
        # The log tells that it is this process, and not another Prometheus that won the race for the port.
        if "Server is ready to receive web requests" not in self._running().output():
            return False
        try:
            self.request("GET", "/-/ready", timeout=2.0)
        except (OSError, http.client.HTTPException, PrometheusError):
            return False
        return True

    def _write_config(self) -> None:
        rules = self.directory / "rules.json"
        rules.write_text(json.dumps({"groups": self._rules}))
        listed = [*self._config.get("rule_files", []), str(rules)]
        (self.directory / "prometheus.json").write_text(json.dumps(self._config | {"rule_files": listed}, indent=2))

    def _command(self) -> list[str]:
        return [
            str(self._path),
            f"--config.file={self.directory / 'prometheus.json'}",
            f"--storage.tsdb.path={self.tsdb}",
            f"--storage.tsdb.retention.time={self._retention}",
            f"--web.listen-address=127.0.0.1:{self._port}",
            "--web.enable-lifecycle",
            "--web.enable-admin-api",
            "--scrape.discovery-reload-interval=500ms",  # default 5 s: tests would wait for their first sample
            *self._arguments,
        ]


def _duration(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"


def _by_path(addresses: Sequence[str]) -> dict[str, list[str]]:
    paths: dict[str, list[str]] = {}
    for address in addresses:
        host, slash, rest = address.partition("/")
        paths.setdefault(f"/{rest}" if slash else "/metrics", []).append(host)
    return paths


def _job(name: str, path: str, addresses: list[str], honor_labels: bool) -> Config:
    static = [{"targets": addresses}]
    return {"job_name": name, "metrics_path": path, "honor_labels": honor_labels, "static_configs": static}
