"""The operator's process: its metrics stores are wired once for each loop, and a bad list ends it with one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from tests.contract.test_telemetry import ERRORS, EVERYTHING, TIMEOUT, WINDOW, pods
from tests.unit.slo.loopback import Loopback

from trimtab.adapters.clock import SystemClock
from trimtab.adapters.connection import connect
from trimtab.domain.measurement import Sample, TelemetryError
from trimtab.ports import SliRequest
from trimtab.runtime import main
from trimtab.runtime.settings import Settings

SERVER = "http://127.0.0.1:9"  # nobody is asked


def kubeconfig(directory: Path) -> str:
    named = {"name": "a"}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "a",
        "clusters": [named | {"cluster": {"server": SERVER}}],
        "users": [named | {"user": {"token": "t"}}],
        "contexts": [named | {"context": {"cluster": "a", "user": "a"}}],
    }
    path = directory / "kubeconfig"
    path.write_text(yaml.safe_dump(content))
    return str(path)


def listed(directory: Path, *stores: dict[str, str]) -> str:
    path = directory / "stores.yaml"
    path.write_text(yaml.safe_dump({"stores": list(stores)}))
    return str(path)


async def test_a_bad_list_ends_it_with_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stores = listed(tmp_path, {"name": "long-term", "url": "http://user:s3cr3t@thanos"})
    settings = Settings("", "ops", kubeconfig=kubeconfig(tmp_path), telemetry_file=stores)
    assert await main.run(settings, {}) == main.EXIT_BAD_SETTING
    said = capsys.readouterr().err
    assert said.startswith("trimtab-operator: TRIMTAB_TELEMETRY_FILE: stores[0].url: holds credentials; ")
    assert said.count("\n") == 1
    assert "s3cr3t" not in said


async def test_every_store_is_asked_by_its_name_from_both_loops(tmp_path: Path) -> None:
    with Loopback(EVERYTHING) as usual, Loopback(EVERYTHING) as other:
        stores = listed(tmp_path, {"name": "long-term", "kind": "Thanos", "url": other.url})
        settings = Settings(usual.url, "ops", kubeconfig=kubeconfig(tmp_path), telemetry_file=stores, query_limit=1000)
        clock = SystemClock()
        process = main._wire(settings, {}, await connect(settings.kubeconfig, clock.monotonic), clock)
        try:
            watchman, answerer = process.parts.safety._watchman, process.parts.reconciler._answerer
            for telemetry in (watchman._telemetry, answerer._telemetry):
                slis = (ERRORS, replace(ERRORS, store="long-term"), replace(ERRORS, store="lost"))
                found = await telemetry.read([SliRequest(s, pods("plain"), WINDOW) for s in slis], timeout=TIMEOUT)
                assert [type(r) for r in found] == [Sample, Sample, TelemetryError]
        finally:
            await process.close()
        assert len(usual.asked) == len(other.asked) == 4
        value = process.parts.metrics.registry.get_sample_value
        for store in ("default", "long-term"):
            for loop in ("reconcile", "safety"):
                labels = {"store": store, "loop": loop, "outcome": "answered"}
                assert value("trimtab_telemetry_queries_total", labels) == 2.0
                del labels["outcome"]
                assert value("trimtab_telemetry_query_seconds_count", labels) == 2.0
