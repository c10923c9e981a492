"""Where in a YAML file a field is written."""

from __future__ import annotations

import re

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

_STEP = re.compile(r"\[(?P<item>[^\]]*)\]|(?P<key>[^.\[\]]+)")


def line_of(node: Node, field: str) -> int:
    """The line, from 1, of a field such as `spec.parameters[0].quantity.max` or `spec.slis[slow].value`. Of one that is
    not written, that of the innermost one around it: there it has to be added."""
    line = node.start_mark.line
    for step in _STEP.finditer(field):
        found = _item(node, step["item"]) if step["key"] is None else _value(node, step["key"])
        if found is None:
            break
        line, node = found
    return line + 1


def _value(node: Node, key: str) -> tuple[int, Node] | None:
    """(line of the key, its value) in a mapping."""
    if isinstance(node, MappingNode):
        for name, value in node.value:
            if isinstance(name, ScalarNode) and name.value == key:
                return name.start_mark.line, value
    return None


def _item(node: Node, which: str) -> tuple[int, Node] | None:
    """(line, item) of a list, by its index or its name."""
    if not isinstance(node, SequenceNode):
        return None
    for index, item in enumerate(node.value):
        if which == str(index) or _named(item, which):
            return item.start_mark.line, item
    return None


def _named(item: Node, name: str) -> bool:
    found = _value(item, "name")
    return found is not None and isinstance(found[1], ScalarNode) and found[1].value == name


__all__ = ["line_of"]
