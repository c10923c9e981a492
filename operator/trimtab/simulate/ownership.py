"""Who owns which field of an object: `metadata.managedFields`, as the API server keeps them. Pure functions.

Enough of it for kinds whose lists are atomic, such as HTTPRoute: labels and annotations are owned one by one, the rest
by field of `spec` and `status`. A write takes what it changes from everybody else; server-side apply takes nothing that
another manager owns and that differs, unless it is forced. The contract suite compares all this with the real server.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from trimtab.domain.errors import Conflict
from trimtab.domain.kube import Manifest

Path = tuple[str, ...]
Fields = frozenset[Path]
MAPS = (("metadata", "labels"), ("metadata", "annotations"), ("spec",), ("status",))
"""What is owned by its parts; a last element `.` of a path stands for such a map itself."""
SELF = "."
APPLY, UPDATE = "Apply", "Update"


@dataclass(frozen=True, order=True)
class Manager:
    """Whose entry it is: one name may have several, by operation and subresource."""

    operation: str
    name: str
    api_version: str
    subresource: str = ""


@dataclass(frozen=True)
class Entry:
    """What a manager owns, and since when (as written); an apply that changed nothing has no time."""

    fields: Fields
    time: str


Owners = dict[Manager, Entry]


def owners_of(obj: Manifest) -> Owners:
    """The owners of an object's fields; none when the object is not tracked."""
    found = {}
    for each in (obj.get("metadata") or {}).get("managedFields") or ():
        if each.get("manager"):
            who = Manager(each["operation"], each["manager"], each["apiVersion"], each.get("subresource", ""))
            found[who] = Entry(frozenset(_decoded(each.get("fieldsV1") or {})), each.get("time", ""))
    return found


def written(owners: Owners) -> list[dict[str, Any]]:
    """`metadata.managedFields`, in the server's order."""
    listed = sorted(owners.items(), key=lambda item: (item[0].operation, item[1].time, item[0]))
    return [
        {
            "manager": who.name,
            "operation": who.operation,
            "apiVersion": who.api_version,
            **({"time": entry.time} if entry.time else {}),
            "fieldsType": "FieldsV1",
            "fieldsV1": _encoded(entry.fields),
            **({"subresource": who.subresource} if who.subresource else {}),
        }
        for who, entry in listed
        if entry.fields
    ]


def after_update(owners: Owners, old: Manifest | None, new: Manifest, who: Manager, now: str) -> Owners:
    """The owners after a create (`old` is None) or an update by `who`, which owns what it changed."""
    before, after = values_of(old or {}), values_of(new)
    taken = {path for path, value in after.items() if path not in before or before[path] != value}
    gone = before.keys() - after.keys()
    kept = _without(owners, taken | gone, besides=who)
    mine = owners.get(who, Entry(frozenset(), now))
    fields = (mine.fields | taken) - gone
    kept[who] = mine if fields == mine.fields else Entry(fields, now)
    return {manager: entry for manager, entry in kept.items() if entry.fields}


def apply(
    live: Manifest, wanted: Manifest, who: Manager, now: str, *, force: bool = False
) -> tuple[dict[str, Any], Owners]:
    """(object after a server-side apply of `wanted` by `who`, its owners).

    Raises:
        Conflict: another manager owns a field that would get another value.
    """
    owners, current = owners_of(live), values_of(live)
    applied = {path: value for path, value in values_of(wanted).items() if path[-1] != SELF}
    changed = {path for path, value in applied.items() if path not in current or current[path] != value}
    conflicts = {m: e.fields & changed for m, e in owners.items() if m != who and e.fields & changed}
    if conflicts and not force:
        raise Conflict(409, _words(conflicts))
    mine = owners.get(who, Entry(frozenset(), ""))
    others = _without(owners, changed, besides=who)
    dropped = mine.fields - applied.keys() - {p for m, e in others.items() if m != who for p in e.fields}
    fields = frozenset(applied)
    if fields != mine.fields:
        mine = Entry(fields, now if changed or dropped else mine.time)
    return _changed(live, applied, dropped), {**others, who: mine}


def values_of(obj: Manifest) -> dict[Path, Any]:
    """All that can be owned of an object, by path."""
    found: dict[Path, Any] = {}
    for path in MAPS:
        inside: Any = obj
        for name in path:
            inside = (inside or {}).get(name)
        if isinstance(inside, Mapping):
            if inside:
                found[*path, SELF] = True
            found.update({(*path, key): value for key, value in inside.items()})
    return found


def _without(owners: Owners, taken: Iterable[Path], *, besides: Manager) -> Owners:
    lost = frozenset(taken)
    return {m: e if m == besides else Entry(e.fields - lost, e.time) for m, e in owners.items()}


def _changed(live: Manifest, applied: Mapping[Path, Any], dropped: Iterable[Path]) -> dict[str, Any]:
    """The live object with some values set and some gone."""
    new: dict[str, Any] = {**live, "metadata": dict(live["metadata"])}

    def inside(path: Path) -> dict[str, Any]:
        at = new
        for name in path[:-1]:
            at[name] = dict(at.get(name) or {})
            at = at[name]
        return at

    for path, value in applied.items():
        inside(path)[path[-1]] = value
    for path in dropped:
        inside(path).pop(path[-1], None)
    return new


def _words(conflicts: Mapping[Manager, Fields]) -> str:
    count = sum(map(len, conflicts.values()))
    parts = []
    for who, fields in sorted(conflicts.items()):
        name = f'"{who.name}"' + (f' with subresource "{who.subresource}"' if who.subresource else "")
        name += f" using {who.api_version}" if who.operation == UPDATE else ""
        paths = [f".{'.'.join(path)}" for path in sorted(fields)]
        listed = "\n".join(f"- {path}" for path in paths)
        parts.append(f"conflict with {name}: {paths[0]}" if count == 1 else f"conflicts with {name}:\n{listed}")
    return f"Apply failed with {count} conflict{'s' if count > 1 else ''}: " + "\n".join(parts)


def _encoded(fields: Fields) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path in sorted(fields):
        at = found
        for name in path:
            at = at.setdefault(SELF if name == SELF else f"f:{name}", {})
    return found


def _decoded(tree: Mapping[str, Any], path: Path = ()) -> Iterable[Path]:
    for key, below in tree.items():
        name = key if key == SELF else key.removeprefix("f:")
        if below:
            yield from _decoded(below, (*path, name))
        else:
            yield (*path, name)


__all__ = ["APPLY", "UPDATE", "Manager", "Owners", "after_update", "apply", "owners_of", "values_of", "written"]
