"""Command line of the playground: `python -m playground ...` plays pods, `python -m playground backfill ...` a past."""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import logging
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import yaml
from pydantic import TypeAdapter, ValidationError

from trimtab.workload import WorkloadError, load_workload
from trimtab.workload.faults import Fault
from trimtab.workload.units import parse_seconds

from .backfill import Past, write_past
from .kube import KubeconfigError, KubeError, load_access
from .program import Options, Program


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 when it ended well, 2 when its input was wrong."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given[:1] == ["backfill"]:
            return _backfill(_backfill_parser().parse_args(given[1:]))
        return _play(_play_parser().parse_args(given))
    except (WorkloadError, KubeconfigError, KubeError, ValueError, OSError) as error:
        print(f"playground: {error}", file=sys.stderr)
        return 2


def _play_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="playground", description="Play the pods of workloads on a control plane.")
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--workload", type=Path, action="append", required=True, help="may be given several times")
    parser.add_argument("--namespace", action="append", required=True, help="may be given several times")
    parser.add_argument("--metrics-port", type=int, default=0, help="0: a free port, printed and in --address-file")
    parser.add_argument("--address-file", type=Path, help="receives host:port once the server listens")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tick", default="250ms", help="how often pods serve their share")
    parser.add_argument("--time-origin", help="time of the offered load at the start, ISO 8601; default now")
    parser.add_argument("--load-speed", type=float, default=1.0, help="how fast the offered load's clock runs")
    parser.add_argument("--nodes", type=int, default=6)
    parser.add_argument("--metrics-api", action="store_true", help="serve metrics.k8s.io; one program per cluster")
    parser.add_argument("--faults", type=Path, help="YAML list of faults; start in seconds after the program's")
    parser.add_argument("--verbose", action="store_true")
    return parser


def _play(args: argparse.Namespace) -> int:
    logging.basicConfig(
        level=logging.INFO if args.verbose else logging.WARNING, format="playground: %(levelname)s %(message)s"
    )
    options = Options(
        namespaces=tuple(args.namespace),
        seed=args.seed,
        port=args.metrics_port,
        tick_s=parse_seconds(args.tick),
        time_origin=parse_time(args.time_origin) if args.time_origin else None,
        load_speed=args.load_speed,
        nodes=args.nodes,
        address_file=args.address_file,
        metrics_api=args.metrics_api,
    )
    workloads = [load_workload(path) for path in args.workload]
    program = Program(load_access(args.kubeconfig), workloads, options, _faults(args.faults))
    return asyncio.run(_until_stopped(program))


async def _until_stopped(program: Program) -> int:
    """Run until SIGTERM or SIGINT."""
    task = asyncio.create_task(program.run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        return 0
    return 1


def _faults(path: Path | None) -> list[Fault]:
    if path is None:
        return []
    try:
        return TypeAdapter(list[Fault]).validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{path}: {field}: {first['msg'].removeprefix('Value error, ')}") from None


def parse_time(text: str) -> float:
    """Seconds since the epoch of an ISO 8601 time (UTC unless it says otherwise)."""
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"--time-origin: {text!r} is no time; write for example 2026-03-02T13:00") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp()


def _backfill_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="playground backfill", description="Write a service's past as OpenMetrics.")
    parser.add_argument("--workload", type=Path, required=True)
    parser.add_argument("--namespace", default="default")
    parser.add_argument("--deployment", help="default: the workload's target")
    parser.add_argument("--replicas", type=int, required=True)
    parser.add_argument("--cpu", default="2", help="CPU request and limit of a pod")
    parser.add_argument("--memory", default="2Gi", help="memory request and limit of a pod")
    parser.add_argument("--days", type=float, default=30.0)
    parser.add_argument("--step", default="60s", help="distance of the newest samples; older ones are sparser")
    parser.add_argument("--end", type=float, help="seconds since the epoch; default now")
    parser.add_argument("--time-origin", help="time of the offered load at the end, as for playing; default now")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    return parser


def _backfill(args: argparse.Namespace) -> int:
    end = args.end if args.end is not None else time.time()
    past = Past.of(
        load_workload(args.workload),
        namespace=args.namespace,
        deployment=args.deployment,
        replicas=args.replicas,
        cpu=args.cpu,
        memory=args.memory,
        days=args.days,
        step_s=parse_seconds(args.step),
        end=end,
        origin=parse_time(args.time_origin) if args.time_origin else end,
        seed=args.seed,
    )
    samples = write_past(past, args.out)
    print(f"playground: wrote {samples} samples to {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
