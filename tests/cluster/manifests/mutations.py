"""Random changes of good manifests, as a tired person would make them: most are refused, some are not."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

Path = tuple[str | int, ...]

VALUES: list[Any] = [
    "", "0", "1", "-1", "0.5", "1.5", "100", "1000", "1d", "1s", "0s", "5m", "2h", "200h", "250m", "2", "2Gi", "512Mi",
    "1Ki", "1e3", "1E", "a", "A", "cpu", "memory", "slow", "p95", "node", "gc", "x" * 300, "é", "$selector", "{}",
    "None", "Log", "Linear", 0, 1, -1, 2, 3, 10**6, 10**12, 10**20, 0.5, True, False, [], {}, ["a"], ["a", "a"], [{}],
    {"name": "a"}, None,
]  # fmt: skip


def mutated(manifest: dict[str, Any], seed: int) -> dict[str, Any]:
    """The manifest with one to three changes below `spec`; the same seed makes the same changes."""
    rng = random.Random(seed)
    changed = copy.deepcopy(manifest)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        change = _mistake if rng.random() < 0.8 else _accident
        change(changed["spec"], rng)
    return changed


def _mistake(spec: Any, rng: random.Random) -> None:
    """A value is forgotten, or another of its type written, perhaps that of another field."""
    leaves = [path for path in _paths(spec) if path and not isinstance(_at(spec, path), (dict, list))]
    path = rng.choice(leaves)
    holder, key = _at(spec, path[:-1]), path[-1]
    if isinstance(holder, dict) and rng.random() < 0.2:
        del holder[key]
        return
    kind = type(holder[key])
    choices = [value for value in (*VALUES, *(_at(spec, other) for other in leaves)) if type(value) is kind]
    holder[key] = rng.choice(choices)


def _accident(spec: Any, rng: random.Random) -> None:
    """A part is lost, repeated, or replaced by anything at all."""
    paths = [path for path in _paths(spec) if path]
    path = rng.choice(paths)
    holder, key = _at(spec, path[:-1]), path[-1]
    kind = rng.choice(("lose", "repeat", "move", "replace"))
    if kind == "lose":
        del holder[key]
    elif kind == "repeat" and isinstance(holder, list):
        holder.append(copy.deepcopy(holder[int(key)]))
    elif kind == "move":
        holder[key] = copy.deepcopy(_at(spec, rng.choice(paths)))
    else:
        holder[key] = copy.deepcopy(rng.choice(VALUES))


def _paths(value: Any, path: Path = ()) -> Iterator[Path]:
    yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from _paths(child, (*path, key))


def _at(value: Any, path: Path) -> Any:
    for step in path:
        value = value[step]
    return value
