"""An operator with a list of stores, on the real control plane: the store that is named is the one that is asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from benchmarks.operator.live import Live, live_stack

from controlplane import ControlPlane, wait_for

NOBODY = "http://127.0.0.1:9"  # the discard port: nothing listens there


@pytest.fixture(scope="module")
def live(controlplane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """One stack for this module."""
    with live_stack(controlplane, tmp_path_factory.mktemp("stores"), "stores") as found:
        yield found


def condition(live: Live, name: str, kind: str) -> dict[str, str]:
    """One condition of an Experiment, {} while it has none."""
    listed = (live.find(name).get("status") or {}).get("conditions", [])
    return next((c for c in listed if c["type"] == kind), {})


def test_an_experiment_is_measured_where_it_says(live: Live, tmp_path: Path) -> None:
    """The usual store does not exist, so whatever is measured was read from the other one."""
    (tmp_path / "token").write_text("not-asked-for")
    store = {
        "name": "long-term",
        "url": live.stack.prometheus.url,
        "auth": {"bearerTokenFile": str(tmp_path / "token")},
    }
    (tmp_path / "stores.yaml").write_text(yaml.safe_dump({"stores": [store]}))
    live.operator({"TRIMTAB_PROMETHEUS_URL": NOBODY, "TRIMTAB_TELEMETRY_FILE": str(tmp_path / "stores.yaml")})

    with live.explained("lost"):
        live.create("lost", telemetry={"store": "lost"})
        refused = wait_for(
            lambda: c if (c := condition(live, "lost", "Stalled")).get("status") == "True" else None, "a refusal"
        )
        assert refused["reason"] == "UnknownStore"
        assert "'lost' is no metrics store of this operator; it knows default, long-term" in refused["message"]
        assert refused["message"].startswith("spec.telemetry.store: ")
        assert live.trials("lost") == []
    live.remove("lost")

    with live.explained("usual"):
        live.create("usual")
        waits = wait_for(
            lambda: (
                m if "not reachable" in (m := str((live.find("usual").get("status") or {}).get("message"))) else None
            ),
            "preflight to say that nobody answers",
        )
        assert live.trials("usual") == [], waits
    live.remove("usual")

    with live.explained("named"):
        live.create("named", telemetry={"store": "long-term"})
        ended = live.wait_ended("named", 300.0)
        assert [t["status"]["phase"] for t in live.trials("named")] == ["Succeeded"], ended["status"]["message"]
    live.remove("named")
