"""The image's recipe agrees with the chart and with the package. (Building it needs a container engine.)"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_it_runs_as_the_chart_s_user() -> None:
    deployment = (ROOT / "charts" / "trimtab" / "templates" / "deployment.yaml").read_text()
    users = re.findall(r"runAs(?:User|Group): (\d+)", deployment)
    assert re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE) == [tuple(users)]


def test_it_listens_where_the_chart_asks() -> None:
    values = yaml.safe_load((ROOT / "charts" / "trimtab" / "values.yaml").read_text())
    assert re.findall(r"^EXPOSE (\d+)$", DOCKERFILE, re.MULTILINE) == [str(values["httpPort"])]


def test_it_starts_the_operator() -> None:
    (command,) = re.findall(r'^ENTRYPOINT \["(.+)"\]$', DOCKERFILE, re.MULTILINE)
    assert command in PROJECT["scripts"]


def test_reap_starts_by_a_module_of_the_package_and_needs_no_extra() -> None:
    """The image has neither typer nor rich: a process without them must get as far as its settings."""
    template = (ROOT / "charts" / "trimtab" / "templates" / "_reap.tpl").read_text()
    (command,) = re.findall(r"^    command: \[(.+)\]$", template, re.MULTILINE)
    assert command == "python, -m, trimtab.runtime.reap"
    hidden = "import sys; sys.modules.update(dict.fromkeys(('typer', 'rich', 'jinja2', 'click')))"
    start = f"{hidden}; import runpy; runpy.run_module('trimtab.runtime.reap', run_name='__main__', alter_sys=True)"
    environment = {"PYTHONPATH": str(ROOT / "operator"), "TRIMTAB_LEASE_NAMESPACE": "tuning"}
    done = subprocess.run([sys.executable, "-c", start], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.startswith("trimtab reap: not inside a cluster")


def test_its_python_is_one_that_the_package_supports() -> None:
    (version,) = re.findall(r"^ARG PYTHON=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert SpecifierSet(PROJECT["requires-python"]).contains(version)


def test_every_runtime_dependency_is_pinned_and_no_extra_is_installed() -> None:
    pinned = {
        re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower()
        for line in (ROOT / "constraints.txt").read_text().split()
    }
    wanted = {re.sub(r"[-_.]+", "-", Requirement(text).name).lower() for text in PROJECT["dependencies"]}
    assert wanted <= pinned
    assert "--constraint constraints.txt" in DOCKERFILE
    assert "[" not in "".join(re.findall(r"pip install (.+)", DOCKERFILE))


def test_everything_that_is_copied_is_sent_to_the_builder() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        name for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE) for name in line.split()
    }
    assert copied == allowed
