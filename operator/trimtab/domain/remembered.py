"""What was parsed once and says the same while nothing changed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Set
from typing import Generic, TypeVar

from trimtab.domain.kube import Manifest

MOST = 4096
T = TypeVar("T")
Key = tuple[str, ...]
"""First the uid of its owner, an Experiment or a Trial, where answers are forgotten with their owners."""


class Remembered(Generic[T]):
    """The last answer for each key, a bounded number of them, until it is forgotten. Only the work of parsing is saved:
    what an answer was read from is compared each time, and what was forgotten is read again."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._entries: OrderedDict[Key, tuple[object, T]] = OrderedDict()

    def known(self, key: Key, source: object, read: Callable[[T | None], T]) -> T:
        """The same answer for the same source, such as a uid and resourceVersion; `read` is given the answer before."""
        entry = self._entries.get(key)
        if entry is not None and entry[0] == source:
            return entry[1]
        found = read(entry[1] if entry is not None else None)
        self._entries[key] = (source, found)
        self._entries.move_to_end(key)
        if len(self._entries) > self._most:
            self._entries.popitem(last=False)
        return found

    def keep_only(self, owners: Set[str]) -> None:
        """Forget what is of nobody of these uids."""
        for key in [key for key in self._entries if key[0] not in owners]:
            del self._entries[key]

    def __len__(self) -> int:
        return len(self._entries)


def version_of(manifest: Manifest) -> tuple[str, str]:
    """An object's uid and resourceVersion: the same version of an object says the same."""
    metadata = manifest["metadata"]
    return metadata["uid"], metadata["resourceVersion"]


__all__ = ["Remembered", "version_of"]
