"""The process of `trimtab reap`: arguments, connection, signals, exit status; what it does is in `reaper` and
`uninstall`.

It runs in the operator's image as `python -m trimtab.runtime.reap`, without the extra of the command line. Exit status:
0 nothing is left that has to go, 1 something could not be removed or judged, 2 a setting or the connection is unusable.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence

import structlog

from trimtab.adapters.clock import SystemClock
from trimtab.adapters.cluster import KubernetesCluster
from trimtab.adapters.connection import ConnectionProblem, connect
from trimtab.domain.errors import ApiError, NotFound
from trimtab.domain.kinds import LEASES
from trimtab.ports import Cluster
from trimtab.runtime.lease import unique_identity
from trimtab.runtime.logging import configure_logging
from trimtab.runtime.reaper import LIMIT_SECONDS, Reaped, Reaper, Where
from trimtab.runtime.settings import InvalidSetting, ReapSettings
from trimtab.runtime.uninstall import Uninstall

log = structlog.get_logger(__name__)

EXIT_LEFT = 1
EXIT_UNUSABLE = 2
MOST_SECONDS = 3600
SHOWN = 3  # problems in the one line that a person reads first
OPTIONS = {
    "--lease-namespace": ("TRIMTAB_LEASE_NAMESPACE", "namespace of the operators' Lease: where they are installed"),
    "--lease-name": ("TRIMTAB_LEASE_NAME", "name of their Lease"),
    "--namespace": ("TRIMTAB_NAMESPACE", "namespaces that they work in, separated by commas; none: all"),
    "--kubeconfig": ("TRIMTAB_KUBECONFIG", "path of a kubeconfig; none: the pod's own account"),
}


def main(arguments: Sequence[str] | None = None, environment: Mapping[str, str] | None = None) -> int:
    """Parse, run, and return the exit status."""
    given = _parser().parse_args(arguments)
    told = dict(os.environ if environment is None else environment)
    for option, (variable, _) in OPTIONS.items():
        value = getattr(given, option.strip("-").replace("-", "_"))
        if value is not None:
            told[variable] = value
    try:
        settings = ReapSettings.from_environment(told)
    except InvalidSetting as error:
        return _complain(str(error), EXIT_UNUSABLE)
    if not 1 <= given.limit <= MOST_SECONDS:
        return _complain(f"--limit: {given.limit:g} is out of range; use 1 to {MOST_SECONDS} seconds", EXIT_UNUSABLE)
    configure_logging(settings.log_format, settings.log_level)
    return asyncio.run(_run(settings, given))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trimtab reap",
        description="Remove canaries that outlived their controller: past their deadline, all of them once nobody has "
        "renewed the operators' Lease for 60 s, and those whose Trial is over.",
        epilog="Each option can be given as a variable, too: " + ", ".join(v for v, _ in OPTIONS.values()),
    )
    for option, (variable, words) in OPTIONS.items():
        parser.add_argument(option, metavar=variable.removeprefix("TRIMTAB_"), help=words)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--once", action="store_true", help="end when all is decided and done")
    how.add_argument(
        "--all", action="store_true", help="before Trimtab is removed: remove every arm, then all its finalizers"
    )
    words = "go on although there is no such Lease, as when its namespace was deleted; else that is taken for a mistake"
    parser.add_argument("--missing-lease-ok", action="store_true", help=words)
    words = "seconds after which --once or --all give up; under 60 nobody can know that no operator leads"
    parser.add_argument("--limit", type=float, default=LIMIT_SECONDS, metavar="SECONDS", help=words)
    return parser


async def _run(settings: ReapSettings, given: argparse.Namespace) -> int:
    clock = SystemClock()
    try:
        connection = await connect(settings.kubeconfig, clock.monotonic)
    except ConnectionProblem as error:
        return _complain(str(error), EXIT_UNUSABLE)
    cluster = KubernetesCluster(connection)
    where = Where(settings.lease_namespace, settings.lease_name, settings.namespaces)
    try:
        if not given.missing_lease_ok and await lease_missing(cluster, where):
            name = f"{where.lease_namespace}/{where.lease_name}"
            remedy = "name the operators' own Lease, or, if they are gone for good, give --missing-lease-ok"
            return _complain(f"there is no Lease {name}, by which living operators are known; {remedy}", EXIT_UNUSABLE)
        if given.all:
            return told(await Uninstall(cluster, clock, where, unique_identity()).run(given.limit))
        reaper = Reaper(cluster, clock, where)
        if given.once:
            return told(await reaper.once(given.limit))
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await reaper.forever(stop)
        return 0
    finally:
        await cluster.close()


async def lease_missing(cluster: Cluster, where: Where) -> bool:
    """Is there surely no such Lease? Who looks at the wrong one would take a living operator for dead."""
    try:
        await cluster.get(LEASES, where.lease_namespace, where.lease_name)
    except NotFound:
        return True
    except ApiError:
        return False  # said by whoever needs it
    return False


def told(reaped: Reaped) -> int:
    """Say what a run came to; its exit status."""
    log.info("reap.done", removed=reaped.removed, kept=reaped.kept, problems=reaped.problems)
    if not reaped.problems:
        return 0
    more = len(reaped.problems) - SHOWN
    words = "; ".join(reaped.problems[:SHOWN]) + (f"; and {more} more" if more > 0 else "")
    return _complain(words, EXIT_LEFT)


def _complain(words: str, status: int) -> int:
    print(f"trimtab reap: {' '.join(words.split())}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
