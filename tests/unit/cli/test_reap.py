"""`trimtab reap` hands over to the command of the operator's image, and its exit status comes back."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from typer.testing import CliRunner

from trimtab.cli.app import app
from trimtab.runtime import reap

GIVEN = ["--lease-namespace", "trimtab", "--kubeconfig", "admin.kubeconfig"]


def test_options_are_handed_over_and_the_status_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    handed: list[list[str]] = []

    def main(arguments: list[str], environment: Mapping[str, str]) -> int:
        assert environment["TRIMTAB_LOG_FORMAT"] == "console"
        handed.append(arguments)
        return 1

    monkeypatch.setattr(reap, "main", main)
    monkeypatch.delenv("TRIMTAB_LOG_FORMAT", raising=False)
    result = CliRunner().invoke(
        app, ["reap", *GIVEN, "--namespace", "shop", "--namespace", "billing", "--all", "--missing-lease-ok"]
    )
    assert result.exit_code == 1
    assert handed == [[
        "--lease-namespace", "trimtab", "--lease-name", "trimtab-operator", "--kubeconfig", "admin.kubeconfig",
        "--namespace", "shop,billing", "--limit", "150.0", "--all", "--missing-lease-ok",
    ]]  # fmt: skip


def test_a_kubeconfig_that_is_none_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    result = CliRunner().invoke(app, ["reap", *GIVEN, "--once"])
    assert result.exit_code == 2
    assert "TRIMTAB_KUBECONFIG: 'admin.kubeconfig' is not a file" in result.stderr + capsys.readouterr().err
