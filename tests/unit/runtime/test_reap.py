"""The process of reap: what it is told, and what it says in the end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trimtab.runtime import reap
from trimtab.runtime.reaper import Reaped
from trimtab.runtime.settings import InvalidSetting, ReapSettings

GONE = {"TRIMTAB_LEASE_NAMESPACE": "trimtab"}


def kubeconfig(tmp_path: Path, server: str = "https://127.0.0.1:9") -> str:
    cluster, user = {"name": "c", "cluster": {"server": server}}, {"name": "u", "user": {"token": "t"}}
    context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
    content = {"clusters": [cluster], "users": [user], "contexts": [context], "current-context": "x"}
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "Config"} | content))
    return str(path)


def test_settings_are_the_operators_own_variables(tmp_path: Path) -> None:
    given = {
        "TRIMTAB_LEASE_NAMESPACE": "tuning", "TRIMTAB_LEASE_NAME": "mine", "TRIMTAB_NAMESPACE": "shop, billing",
        "TRIMTAB_LOG_LEVEL": "WARNING", "TRIMTAB_KUBECONFIG": kubeconfig(tmp_path),
    }  # fmt: skip
    settings = ReapSettings.from_environment(given)
    assert (settings.lease_namespace, settings.lease_name, settings.namespaces) == (
        "tuning",
        "mine",
        ("shop", "billing"),
    )
    assert (settings.log_format, settings.log_level) == ("json", "WARNING")


def test_in_a_pod_the_lease_is_in_its_own_namespace(tmp_path: Path) -> None:
    (tmp_path / "namespace").write_text("tuning\n")
    assert ReapSettings.from_environment({}, tmp_path / "namespace").lease_namespace == "tuning"
    with pytest.raises(InvalidSetting, match="TRIMTAB_LEASE_NAMESPACE: is not set"):
        ReapSettings.from_environment({}, tmp_path / "absent")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--namespace", "Shop"], "TRIMTAB_NAMESPACE: 'Shop' is not the name of a namespace"),
        (["--kubeconfig", "/nowhere"], "TRIMTAB_KUBECONFIG: '/nowhere' is not a file"),
        (["--limit", "0"], "--limit: 0 is out of range; use 1 to 3600 seconds"),
        ([], "not inside a cluster"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_status_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert reap.main([*arguments, "--once"], GONE) == 2
    said = capsys.readouterr().err
    assert said.startswith("trimtab reap: ")
    assert words in said
    assert said.count("\n") == 1


def test_once_and_all_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        reap.main(["--once", "--all"], GONE)
    assert caught.value.code == 2
    assert "not allowed with" in capsys.readouterr().err


def test_an_end_without_problems_is_status_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert reap.told(Reaped(removed=("shop/tune-1",), kept=("shop/tune-2",))) == 0
    assert "trimtab reap:" not in capsys.readouterr().err


def test_problems_are_one_line_and_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert reap.told(Reaped(problems=("first\nof two", "second", "third", "fourth", "fifth"))) == 1
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("trimtab reap:")]
    assert line == "trimtab reap: first of two; second; third; and 2 more"
