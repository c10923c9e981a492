"""JSON data that cannot be changed: stored once, handed out to everybody without a copy.

An API server's answers are copies, so a caller that writes into one changes nothing for others. Copying every answer
would be most of a simulation's work; an answer that refuses to be written into keeps the promise for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn


def _refuse(*_: object, **__: object) -> NoReturn:
    raise TypeError("this object belongs to the cluster: build a changed one, for example {**obj, 'spec': spec}")


class FrozenDict(dict[str, Any]):
    """A dict without its mutating methods; `|`, `{**x}` and `dict(x)` make ordinary ones."""

    __slots__ = ()
    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return {key: thawed(item) for key, item in self.items()}

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        return dict, (thawed(self),)


class FrozenList(list[Any]):
    """A list without its mutating methods; slices and `[*x]` make ordinary ones."""

    __slots__ = ()
    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = clear = extend = insert = pop = remove = reverse = sort = _refuse

    def __deepcopy__(self, memo: dict[int, Any]) -> list[Any]:
        return [thawed(item) for item in self]

    def __reduce__(self) -> tuple[type[list[Any]], tuple[list[Any]]]:
        return list, (thawed(self),)


_ALREADY = frozenset({FrozenDict, FrozenList, str, int, bool, float, type(None)})


def frozen(value: Any) -> Any:
    """The same JSON data, unchangeable. Parts that are so already are shared, not copied."""
    kind = type(value)
    if kind in _ALREADY:
        return value
    if kind is dict:  # before the abstract type, which is slow to ask about
        return FrozenDict({key: frozen(item) for key, item in value.items()})
    if isinstance(value, Mapping):
        return FrozenDict({key: frozen(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return FrozenList([frozen(item) for item in value])
    return value


def thawed(value: Any) -> Any:
    """An ordinary deep copy, several times faster than copy.deepcopy."""
    if isinstance(value, Mapping):
        return {key: thawed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [thawed(item) for item in value]
    return value


__all__ = ["FrozenDict", "FrozenList", "frozen", "thawed"]
