"""Guards over the whole repository: what is easy to break by accident and expensive to find out later."""

from __future__ import annotations

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MOST_LINES = 420
# Homes of people and build machines; paths that mean the same on every machine, such as /var/run, are no concern.
MACHINE_PATH = re.compile(r"(?<![\w.$})-])/(?:home|root|Users|work|workspace|mnt|private)/[\w.-]+")
# Where packages are downloaded from, written apart so that this file does not hold what it looks for.
REGISTRIES = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"), ("files", "pythonhosted", "org"), ("proxy", "golang", "org"), ("sum", "golang", "org"),
        ("registry", "npmjs", "org"), ("registry", "k8s", "io"), ("crates", "io"), ("dl", "google", "com"),
        ("go", "dev/dl"), ("index", "docker", "io"), ("registry-1", "docker", "io"),
    )
)  # fmt: skip
INDEX_OPTION = re.compile(r"--(?:extra-)?index-url|(?:PIP|UV)_(?:EXTRA_)?INDEX_URL|\bGOPROXY=")
PINNED = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?==[A-Za-z0-9][A-Za-z0-9.!+_-]*")
LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
THIS = "tests/unit/test_repository.py"
LICENSE = "LICENSE"
REASONED = tuple(f"operator/trimtab/{layer}/" for layer in ("adapters", "control", "runtime", "slo"))
REASON_AT = {  # which argument holds the reason
    "Outcome": 1, "StopRequest": 0, "GateVerdict": 1, "SliProbe": 1,
    "Problem": 0, "problem": 0, "note": 0, "_stalled": 1, "stall": 1, "stopped": 1,
}  # fmt: skip


@cache
def tracked() -> tuple[str, ...]:
    """Files that git knows; those that were deleted and not yet committed are left out."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return tuple(name for name in listed.split("\0") if name and (ROOT / name).is_file())


@cache
def text_of(name: str) -> str:
    """A file's text; "" for a binary file."""
    try:
        return (ROOT / name).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def lines_matching(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{name}:{number}: {line.strip()[:120]}"
        for name in tracked()
        if name not in (THIS, LICENSE) and pattern.search(text_of(name))
        for number, line in enumerate(text_of(name).splitlines(), 1)
        if pattern.search(line)
    ]


def test_the_folder_operator_is_no_package() -> None:
    """It would shadow the standard library's module of that name, and break the interpreter in odd places."""
    assert not (ROOT / "operator" / "__init__.py").exists()


def test_modules_stay_small() -> None:
    sizes = {
        name: text_of(name).count("\n") for name in tracked() if name.startswith("operator/") and name[-3:] == ".py"
    }
    assert sizes, "no module found below operator/"
    assert {name: lines for name, lines in sizes.items() if lines > MOST_LINES} == {}


def test_tests_never_sleep() -> None:
    """A test waits for a condition (`wait_for`, `eventually`) or turns a clock; one that sleeps is slow on good days
    and wrong on bad ones. Virtual time passes in one place, which refuses to let real time pass."""
    modules = [name for name in tracked() if name.startswith("tests/") and name.endswith(".py")]
    assert [place for name in modules for place in sleeps(name)] == []


def sleeps(name: str) -> list[str]:
    text = text_of(name)
    if "sleep" not in text:
        return []
    found: list[str] = []
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.ImportFrom(module="time" | "asyncio", names=names) if any(n.name == "sleep" for n in names):
                found.append(f"{name}:{node.lineno}: write asyncio.sleep or time.sleep in full, so that it is seen")
            case ast.Call(func=ast.Attribute(value=ast.Name(id="time" | "asyncio"), attr="sleep")):
                found.append(f"{name}:{node.lineno}")
    return found


def test_every_runbook_is_in_the_index_and_exists() -> None:
    pages = {path.name for path in (ROOT / "runbooks").glob("*.md")} - {"README.md"}
    named = set(re.findall(r"\]\(([a-z-]+\.md)", text_of("runbooks/README.md")))
    assert named == pages


def test_links_between_pages_lead_somewhere() -> None:
    pages = [name for name in tracked() if name.endswith(".md") and not name.startswith("docs/reference/")]
    links = [
        (name, target.partition("#")[0])
        for name in pages
        for target in LINK.findall(text_of(name))
        if "://" not in target and not target.startswith("#")
    ]
    assert [(name, target) for name, target in links if not ((ROOT / name).parent / target).exists()] == []


def test_no_path_of_one_machine_is_in_a_file() -> None:
    assert lines_matching(MACHINE_PATH) == []


def test_no_address_of_a_package_registry_is_in_a_file() -> None:
    """Where packages come from is the machine's business; a pinned address fails behind the next mirror."""
    for host in REGISTRIES:  # a pattern each, as one that begins with a choice is ten times slower
        assert lines_matching(re.compile(rf"{re.escape(host)}(?<![\w.-]{re.escape(host)})")) == []
    assert lines_matching(INDEX_OPTION) == []


def test_the_readme_names_both_commands_first() -> None:
    readme = text_of("README.md")
    assert "make demo" in readme
    assert "make test" in readme
    assert max(readme.index("make demo"), readme.index("make test")) < readme.index("helm install")


def test_ci_runs_the_command_that_people_run() -> None:
    assert re.search(r"^exec make test$", text_of(".ci/run"), re.MULTILINE)
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111, ".ci/run must be executable"


def test_constraints_are_plain_pins() -> None:
    lines = text_of("constraints.txt").splitlines()
    assert lines, "constraints.txt is empty"
    assert [line for line in lines if not PINNED.fullmatch(line)] == []


def test_every_reason_in_the_code_is_explained_to_people() -> None:
    """A reason in a condition or an outcome is what somebody looks up at night."""
    explained = "".join(text_of(page) for page in tracked() if page.startswith(("runbooks/", "docs/how-to/")))
    unexplained = {reason: name for name in tracked() if name.startswith(REASONED) for reason in reasons(text_of(name))}
    assert {r: name for r, name in unexplained.items() if f"`{r}`" not in explained} == {}


def reasons(text: str) -> set[str]:
    """Of outcomes, of preflight's problems, of what stalls or stops an Experiment, of its gates: literals, or constants
    of the module."""
    found: set[str] = set()
    module = ast.parse(text)
    constants = {
        target.id: node.value
        for node in module.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in REASON_AT:
            place = REASON_AT[node.func.id]
            word = node.args[place] if len(node.args) > place else None
            word = constants.get(word.id) if isinstance(word, ast.Name) else word
            if isinstance(word, ast.Constant) and word.value:
                found.add(str(word.value))
    return found


def test_a_campaign_that_fails_keeps_no_other_from_its_turn(tmp_path: Path) -> None:
    played = (
        "first: ; @echo first >> told; false\nsecond: ; @echo second >> told\nthird: ; @echo third >> told; false\n"
    )
    (tmp_path / "Makefile").write_text(text_of("Makefile") + played)
    done = subprocess.run(
        ["make", "chaos", "CAMPAIGNS=first second third"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (tmp_path / "told").read_text().split() == ["first", "second", "third"]
    assert done.returncode != 0
    assert "chaos: failed: first third\n" in done.stderr


@pytest.mark.parametrize("name", ["make demo", "make test", "make check", "make bench", "make generate", "make verify"])
def test_commands_in_the_documentation_exist(name: str) -> None:
    target = name.removeprefix("make ")
    assert re.search(rf"^{target}:.*## ", text_of("Makefile"), re.MULTILINE)
