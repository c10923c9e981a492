"""`trimtab history`: the Trials of a staging copy as a warm start of the Experiment in production."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from trimtab.api.convert import parse_experiment
from trimtab.api.history import read_history
from trimtab.cli.app import app

HISTORY = Path(__file__).parent / "history.json"


def objects() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(HISTORY.read_text())
    return found


def printed(tmp_path: Path, *arguments: str, of: list[dict[str, Any]] | None = None) -> tuple[int, str]:
    """Exit status and output; the file is what kubectl prints."""
    path = tmp_path / "trials.yaml"
    path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": objects() if of is None else of}))
    done = CliRunner().invoke(app, ["history", str(path), *arguments])
    return done.exit_code, done.output


def test_the_named_experiments_trials_as_a_config_map_elsewhere(tmp_path: Path) -> None:
    code, text = printed(tmp_path, "--experiment", "tune", "-n", "production")
    assert code == 0, text
    manifest = yaml.safe_load(text)
    assert manifest["metadata"]["namespace"] == "production"
    experiment = next(o for o in objects() if o["kind"] == "Experiment" and o["metadata"]["name"] == "tune")
    found = read_history(manifest, parse_experiment(experiment).space)
    assert found.source == "Experiment"
    assert len(found.trials) > 3


@pytest.mark.parametrize(
    ("arguments", "of", "words"),
    [
        ((), None, "name one with --experiment"),
        (("--experiment", "nobody"), None, "no Trial of an Experiment nobody; get them with: kubectl"),
        ((), [], "the files hold no Trial; get them with: kubectl"),
    ],
)
def test_what_is_missing_is_said_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], of: list[dict[str, Any]] | None, words: str
) -> None:
    code, text = printed(tmp_path, *arguments, of=of)
    assert code == 2
    assert words in text
    assert text.count("\n") == 1
