"""The dashboards as the chart installs them: whole, as they were generated, and found by Grafana's side-car."""

from __future__ import annotations

import json
from typing import Any

from tests.chart.test_render import CHART, of_kind, rendered

from monitoring import DASHBOARDS

FILES = CHART / "files" / "dashboards"


def installed(**dashboards: Any) -> dict[str, dict[str, Any]]:
    """ConfigMaps by name."""
    objects = of_kind("ConfigMap", rendered(dashboards={"enabled": True, **dashboards}))
    return {o["metadata"]["name"]: o for o in objects}


def test_each_is_a_config_map_with_the_file_s_bytes() -> None:
    found = installed()
    assert set(found) == {f"trimtab-dashboard-{board.name}" for board in DASHBOARDS}
    for board in DASHBOARDS:
        data = found[f"trimtab-dashboard-{board.name}"]["data"]
        assert data == {f"trimtab-{board.name}.json": (FILES / f"{board.name}.json").read_text()}
        assert json.loads(data[f"trimtab-{board.name}.json"])["title"] == board.title


def test_the_side_car_finds_them_by_its_label() -> None:
    assert {o["metadata"]["labels"]["grafana_dashboard"] for o in installed().values()} == {"1"}
    annotations = {"grafana_folder": "Tuning"}
    own = installed(labels={"grafana_dashboard": "yes"}, annotations=annotations)
    for manifest in own.values():
        assert manifest["metadata"]["labels"]["grafana_dashboard"] == "yes"
        assert manifest["metadata"]["annotations"] == annotations


def test_they_fit_into_an_object() -> None:
    """A ConfigMap holds at most a mebibyte, and `kubectl apply` notes 256 KiB of it in an annotation."""
    assert max(path.stat().st_size for path in FILES.glob("*.json")) < 200 * 1024


def test_nothing_is_installed_unless_asked_for() -> None:
    assert not of_kind("ConfigMap", rendered())
