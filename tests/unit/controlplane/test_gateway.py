"""The Gateway API's definitions come from the cache, and from Go's module proxy only the first time."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from controlplane import gateway
from controlplane.errors import BuildError

DEFINITION = "kind: CustomResourceDefinition\nmetadata: {name: httproutes.gateway.networking.k8s.io}\n"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a compiler that need not exist."""
    monkeypatch.setenv("TRIMTAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(gateway, "find_go", lambda *_: Path("go"))
    return tmp_path


def answers(monkeypatch: pytest.MonkeyPatch, code: int, **answer: Any) -> list[list[str]]:
    """`go mod download` answers so; returns the calls that are made."""
    calls: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        return subprocess.CompletedProcess(command, code, json.dumps(answer), "")

    monkeypatch.setattr(subprocess, "run", run)
    return calls


def test_they_are_downloaded_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = cache / "module" / "config" / "crd" / "standard"
    folder.mkdir(parents=True)
    (folder / gateway.FILES[0]).write_text(DEFINITION)
    calls, told = answers(monkeypatch, 0, Dir=str(cache / "module")), []
    for _ in range(2):
        (found,) = gateway.gateway_definitions(say=told.append)
        assert found["metadata"]["name"] == "httproutes.gateway.networking.k8s.io"
    assert [command[1:4] for command in calls] == [["mod", "download", "-json"]]
    assert len(told) == 1
    assert gateway.gateway_version() in told[0]


def test_a_failure_says_why_and_what_to_do(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, 1, Error="dial tcp: no route to host")
    with pytest.raises(BuildError, match=r"failed \(dial tcp: no route to host\): check the network") as caught:
        gateway.gateway_definitions(say=lambda _: None)
    assert "\n" not in str(caught.value)
    assert not list((cache / "cache").glob("crds/*/*"))
