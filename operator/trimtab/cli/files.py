"""YAML files to documents, strictly and in bounded time: what `kubectl` would refuse or choke on is refused here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from trimtab.cli.places import line_of
from trimtab.domain.kinds import EXPERIMENTS, TRIALS
from trimtab.domain.texts import CONTRADICTIONS, printable

MAX_BYTES = 3 * 1024 * 1024  # of a request to the API server
MAX_NODES = 100_000  # with every alias written out


class UnreadableFile(Exception):
    """The file holds nothing that can be looked at: one line that names it."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {printable(problem)}")


@dataclass(frozen=True)
class Document:
    """One document of a file, and how it is written there."""

    path: str
    node: Node = field(repr=False, compare=False)
    content: Any

    def where(self, of: str = "") -> str:
        """File and line of a field, such as `spec.slis[slow].value`, or of the document's beginning."""
        return f"{self.path}:{line_of(self.node, of)}"

    @property
    def is_experiment(self) -> bool:
        """Whether it means to be one of ours; a misspelt kind or a forgotten apiVersion is for lint to say."""
        if not isinstance(self.content, dict):
            return False
        version, kind = self.content.get("apiVersion"), self.content.get("kind")
        if version is None:
            return bool(kind == EXPERIMENTS.name)
        return str(version).partition("/")[0] == EXPERIMENTS.group and kind != TRIALS.name


def read_documents(path: Path) -> tuple[Document, ...]:
    """Every document that is not empty.

    Raises:
        UnreadableFile: it cannot be read, is no YAML, or is far too large.
    """
    shown = str(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UnreadableFile(shown, f"is larger than {MAX_BYTES:,} bytes; no API server would take it")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UnreadableFile(shown, error.strerror or "cannot be read") from error
    except UnicodeDecodeError as error:
        raise UnreadableFile(shown, "is not UTF-8 text") from error
    try:
        return tuple(_documents(shown, text))
    except yaml.YAMLError as error:
        raise UnreadableFile(shown, f"is no YAML: {_one_line(error)}") from error
    except RecursionError as error:
        raise UnreadableFile(shown, "is nested too deeply") from error
    except CONTRADICTIONS as error:
        raise UnreadableFile(shown, f"holds a value that is none: {error}") from error


def items(content: Any) -> Iterator[Mapping[str, Any]]:
    """The objects of a document: those of a List, as `kubectl get -o yaml` prints, or itself."""
    if isinstance(content, Mapping):
        if str(content.get("kind", "")).endswith("List"):
            for item in content.get("items") or ():
                yield from items(item)
        else:
            yield content


def _documents(path: str, text: str) -> Iterator[Document]:
    loader = yaml.SafeLoader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            assert node is not None, "check_node said that there is one"
            _refuse_oddities(path, node)
            content = loader.construct_document(node)
            if content is not None:
                yield Document(path, node, content)
    finally:
        loader.dispose()


def _refuse_oddities(path: str, node: Node) -> None:
    """Repeated keys, of which the last would silently win, and aliases that write out to a huge or endless document."""
    if _size(path, node, {}) > MAX_NODES:
        raise UnreadableFile(path, f"writes out to more than {MAX_NODES:,} values; use fewer aliases")


def _size(path: str, node: Node, known: dict[int, int | None]) -> int:
    if id(node) in known:
        size = known[id(node)]
        if size is None:
            raise UnreadableFile(path, f"line {node.start_mark.line + 1}: an alias refers to itself")
        return size
    known[id(node)] = None
    children: list[Node] = []
    if isinstance(node, SequenceNode):
        children = node.value
    elif isinstance(node, MappingNode):
        _refuse_repeated(path, node)
        children = [part for pair in node.value for part in pair]
    total = 1 + sum(_size(path, child, known) for child in children)
    known[id(node)] = total
    return total


def _refuse_repeated(path: str, node: MappingNode) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        if isinstance(key, ScalarNode):
            if key.value in seen:
                raise UnreadableFile(path, f"line {key.start_mark.line + 1}: the key {key.value!r} is repeated")
            seen.add(key.value)


def _one_line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be parsed"
    return f"line {mark.line + 1}: {problem}" if mark is not None else str(problem)
