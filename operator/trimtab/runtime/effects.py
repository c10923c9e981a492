"""Every effect on the cluster goes through one place, which can stop the process exactly there.

This is a test facility, off unless asked for by environment. Crash tests kill the operator at a NAMED effect instead of
after a sleep, so they hit what they mean:

    TRIMTAB_FAIL_POINT="after:create:Deployment:2"    SIGKILL itself right after the second Deployment was created
    TRIMTAB_EFFECT_LOG=/path/to/file                  append each effect, as `before:<effect>` and `after:<effect>`

An effect's name is `<verb>:<Kind>`, or `<verb>:<Kind>/<subresource>`: `create:Trial`, `replace:Trial/status`,
`delete:Pod`. Reads and dry runs are no effects. The simulator uses the same hook to raise instead of to kill.

Several parts of a process may write: the reconciler, the safety loop, the election. Each counts its own effects, and
the log says whose they are: `safety/after:delete:Pod`. A fail point may name its part in the same way.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from trimtab.domain.kinds import Kind
from trimtab.domain.kube import Manifest
from trimtab.ports import Cluster
from trimtab.runtime.settings import InvalidSetting

FailPoint = Callable[[str], Awaitable[None]]
"""Called with `before:<effect>` or `after:<effect>`."""


class EffectfulCluster:
    """A Cluster whose writes are announced before and after; reads pass through."""

    def __init__(self, cluster: Cluster, fail_point: FailPoint) -> None:
        self._cluster = cluster
        self._fail_point = fail_point

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Manifest:
        """Pass through."""
        return await self._cluster.get(kind, namespace, name)

    async def list(self, kind: Kind, namespace: str | None, *, labels: str = "") -> tuple[Manifest, ...]:
        """Pass through."""
        return await self._cluster.list(kind, namespace, labels=labels)

    async def version(self) -> str:
        """Pass through."""
        return await self._cluster.version()

    async def create(self, kind: Kind, namespace: str | None, body: Manifest, *, dry_run: bool = False) -> Manifest:
        """An effect, unless it is a dry run."""
        if dry_run:
            return await self._cluster.create(kind, namespace, body, dry_run=True)
        effect = f"create:{kind.name}"
        await self._fail_point(f"before:{effect}")
        result = await self._cluster.create(kind, namespace, body)
        await self._fail_point(f"after:{effect}")
        return result

    async def create_subresource(
        self, kind: Kind, namespace: str, name: str, subresource: str, body: Manifest
    ) -> Manifest:
        """An effect."""
        effect = f"create:{kind.name}/{subresource}"
        await self._fail_point(f"before:{effect}")
        result = await self._cluster.create_subresource(kind, namespace, name, subresource, body)
        await self._fail_point(f"after:{effect}")
        return result

    async def replace(
        self, kind: Kind, namespace: str | None, name: str, body: Manifest, *, subresource: str = ""
    ) -> Manifest:
        """An effect."""
        effect = f"replace:{kind.name}" + (f"/{subresource}" if subresource else "")
        await self._fail_point(f"before:{effect}")
        result = await self._cluster.replace(kind, namespace, name, body, subresource=subresource)
        await self._fail_point(f"after:{effect}")
        return result

    async def delete(
        self, kind: Kind, namespace: str | None, name: str, *, uid: str | None = None, grace_seconds: int | None = None
    ) -> None:
        """An effect."""
        effect = f"delete:{kind.name}"
        await self._fail_point(f"before:{effect}")
        await self._cluster.delete(kind, namespace, name, uid=uid, grace_seconds=grace_seconds)
        await self._fail_point(f"after:{effect}")


class KillAt:
    """A fail point that kills this process at the nth occurrence of one point, and logs them all under `part`."""

    def __init__(self, point: str, nth: int, log: Path | None, kill: Callable[[], None], part: str = "") -> None:
        self._point, self._nth, self._log, self._kill = point, nth, log, kill
        self._prefix = f"{part}/" if part else ""
        self._seen: Counter[str] = Counter()

    async def __call__(self, point: str) -> None:
        """Note the point; die if it is the one."""
        self._seen[point] += 1
        if self._log is not None:
            _append(self._log, f"{self._prefix}{point}\n")
        if point == self._point and self._seen[point] == self._nth:
            self._kill()


def with_fail_points(cluster: Cluster, environment: Mapping[str, str], part: str = "") -> Cluster:
    """The cluster itself, or wrapped when the environment asks for the test facility.

    Args:
        cluster: where the effects go.
        environment: TRIMTAB_FAIL_POINT and TRIMTAB_EFFECT_LOG.
        part: who writes through this client.

    Raises:
        InvalidSetting: TRIMTAB_FAIL_POINT is malformed.
    """
    wanted, log = environment.get("TRIMTAB_FAIL_POINT", ""), environment.get("TRIMTAB_EFFECT_LOG", "")
    if not wanted and not log:
        return cluster
    whose, point, nth = _parse(wanted) if wanted else ("", "", 0)
    if whose not in ("", part):
        point = ""
    return EffectfulCluster(cluster, KillAt(point, nth, Path(log) if log else None, _kill_self, part))


def _parse(text: str) -> tuple[str, str, int]:
    """Part ("" for any), point, and which occurrence of it."""
    point, _, nth = text.rpartition(":")
    moment, _, effect = point.partition(":")
    part, slash, moment = moment.rpartition("/")
    if moment not in ("before", "after") or ":" not in effect or not nth.isdigit() or int(nth) < 1:
        remedy = "use [<part>/]<before|after>:<verb>:<Kind>[/<subresource>]:<nth>, e.g. after:create:Deployment:1"
        raise InvalidSetting("TRIMTAB_FAIL_POINT", f"{text!r} is not a fail point", remedy)
    return part, point.removeprefix(f"{part}{slash}"), int(nth)


def _append(path: Path, line: str) -> None:
    with path.open("a") as out:
        out.write(line)


def _kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


__all__ = ["EffectfulCluster", "FailPoint", "KillAt", "with_fail_points"]
