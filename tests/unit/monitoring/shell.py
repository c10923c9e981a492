"""The commands in the runbooks' shell blocks, taken apart."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

RUNBOOKS = sorted((Path(__file__).resolve().parents[3] / "runbooks").glob("*.md"))
LOOP = re.compile(r"for object in \$\((.*)\); do")  # over what a command names: `$object`
NAMING = re.compile(r"^\w+=\$\((.*)\)$")  # what a command says, for a later one
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)


def commands() -> Iterator[tuple[str, list[str]]]:
    """(page, words) of every simple command in the runbooks' shell blocks; what is piped is one command each."""
    for page in RUNBOOKS:
        for block in BLOCK.findall(page.read_text()):
            for line in block.replace("\\\n", " ").splitlines():
                inner = NAMING.sub(r"\1", LOOP.sub(r"\1", line.strip().removesuffix("done")))
                words = shlex.split(inner, comments=True)
                for simple in split_at(words, {"|", "&", "&&", ";"}):
                    yield page.name, simple


def split_at(words: list[str], ends: set[str]) -> Iterator[list[str]]:
    found: list[str] = []
    for word in [*words, ";"]:
        if word in ends:
            if found:
                yield found
            found = []
        else:
            found.append(word)


def operands(words: list[str]) -> list[str]:
    """What is no option, and no value of one."""
    taking = {"-n", "-l", "-o", "-p", "-L", "-c", "--type", "--field-selector", "--for", "--namespace", "--sort-by"}
    found, skip = [], False
    for word in words:
        if skip or word == "--":
            if word == "--":
                break
            skip = False
        elif word in taking:
            skip = True
        elif not word.startswith("-"):
            found.append(word)
    return found


def kinds(words: list[str]) -> list[str]:
    """The resources that a command names: `a,b` and `a/name` alike; none where it names a file or a path."""
    verb, *rest = operands(words)
    if verb in {"auth", "rollout"}:
        rest = rest[2:] if verb == "auth" else rest[1:]
    if verb == "logs" or not rest:
        return [word.partition("/")[0] for word in rest if "/" in word]
    return [kind.partition("/")[0] for kind in rest[0].split(",")]


__all__ = ["RUNBOOKS", "commands", "kinds", "operands"]
