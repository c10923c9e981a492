"""`trimtab replay`: a stored history gives the same suggestions in another process, digest included.

`history.json` is what the API server of a simulation held (`tests/simulation/replay_history.py` writes it).
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from trimtab.cli.app import app
from trimtab.cli.replay import Lacking, replayed

HISTORY = Path(__file__).parent / "history.json"
ROOT = Path(__file__).parents[3]
RUN = """
import json, sys
from trimtab.cli.replay import replayed
objects = json.load(open(sys.argv[1]))
print(json.dumps([[r.identical, r.message] for name in ("tune", "again") for r in replayed(objects, name)]))
"""


def objects() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(HISTORY.read_text())
    return found


def few(*indices: int) -> list[dict[str, Any]]:
    """The first Experiment with these Trials of it alone."""
    return [o for o in objects() if o["kind"] != "Trial" or (owner(o) == "tune" and o["spec"]["index"] in indices)]


def owner(trial: dict[str, Any]) -> str:
    return str(trial["spec"]["experiment"]["name"])


@pytest.mark.thorough
@pytest.mark.parametrize(("salt", "threads"), [("1", "1"), ("2", "2")])
def test_a_fresh_process_suggests_the_same(salt: str, threads: str) -> None:
    """Another salt of hashes and another number of threads of the linear algebra."""
    environment = {**os.environ, "PYTHONHASHSEED": salt, "PYTHONPATH": f"{ROOT}/operator"}
    environment |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), threads)
    done = subprocess.run(
        [sys.executable, "-c", RUN, HISTORY], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    told = json.loads(done.stdout)
    by_designer = [o for o in objects() if o["kind"] == "Trial" and o["spec"]["purpose"] != "Verification"]
    assert len(told) == len(by_designer) >= 14
    assert sum(o["spec"]["suggestion"]["byModel"] for o in by_designer) >= 5
    assert [words for same, words in told if not same] == []


def test_a_suggestion_by_the_model_is_the_recorded_one() -> None:
    (last,) = [r for r in replayed(few(*range(6)), "tune") if r.trial.index == 5]
    assert (last.identical, last.trial.suggestion.by_model) == (True, True)


def test_a_measurement_that_was_touched_is_noticed_by_what_came_after_it() -> None:
    changed = few(*range(6))
    trial = next(o for o in changed if o["kind"] == "Trial" and o["spec"]["index"] == 2)
    trial["status"]["measurements"][0]["sample"]["bad"] += 1
    found = {r.trial.index: r for r in replayed(changed, "tune")}
    assert [i for i, r in found.items() if r.identical is False] == [3, 4, 5]
    assert "model_digest: " in found[5].message


def test_what_cannot_be_told_is_not_called_different() -> None:
    changed = few(0, 1)
    one, two = (o for o in changed if o["kind"] == "Trial")
    one["spec"]["environment"]["templateHash"] = "0123456789"
    two["spec"]["specDigest"] = "another"
    assert [(r.identical, r.message) for r in replayed(changed, "tune")] == [
        (None, "ran on another template of the target, whose Deployment is gone"),
        (None, "was suggested under another spec of the Experiment"),
    ]


def run(tmp_path: Path, found: list[dict[str, Any]], *more: str) -> tuple[int, str]:
    file = tmp_path / "history.yaml"
    file.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": found}))
    result = CliRunner().invoke(app, ["replay", str(file), *more])
    return result.exit_code, result.output


def test_the_command_says_it_for_each_trial(tmp_path: Path) -> None:
    code, output = run(tmp_path, few(0, 1), "--experiment", "tune")
    assert code == 0
    lines = output.splitlines()
    assert lines[:2] == ["trial 0 (Baseline): identical", "trial 1 (Baseline): identical"]
    assert lines[2].startswith("2 of 2 suggestions identical, 0 different; trimtab ")
    assert "numpy " in lines[2]
    changed = copy.deepcopy(few(0, 1))
    next(o for o in changed if o["kind"] == "Trial")["spec"]["seed"] += 1
    code, output = run(tmp_path, changed, "--experiment", "tune")
    assert code == 1
    assert "trial 0 (Baseline): seed: " in output
    assert "suggestions are the same for the same versions only" in output


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        ("Deployment", "tune", "Deployment shop/web is not in the files"),
        ("Experiment", "tune", "the files hold the Experiments none; get it with: kubectl get"),
        ("Trial", "tune", "there is no Trial of it in the files"),
        ("", "", "the files hold the Experiments tune, again; name one with --experiment"),
        ("", "other", "the files hold the Experiments tune, again; get it with"),
    ],
)
def test_what_the_files_lack_is_said_with_the_remedy(tmp_path: Path, kind: str, name: str, words: str) -> None:
    found = [o for o in few(0) if o["kind"] != kind]
    with pytest.raises(Lacking, match=words[:20]):
        list(replayed(found, name))
    code, output = run(tmp_path, found, *(["--experiment", name] if name else []))
    assert code == 2
    assert words in output
