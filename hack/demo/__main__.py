"""Run the demo: `python -m demo --seed 1 [--keep]`."""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import signal
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from controlplane import ApiError, ControlPlane, ControlPlaneError, PrometheusError, WaitTimeout, wait_for
from demo.latency import Latencies
from demo.script import Script
from demo.settings import BUSIEST, EXPERIMENT, NAMESPACE, DemoOptions, experiment
from demo.summary import Seen, Summary, arms_left, summarize
from demo.view import Board, render
from stack import Stack, StackOptions
from stack.paths import ROOT

DEADLINE = 900.0
ENDED = {"Completed", "Stopped", "Failed"}
API = "trimtab.dev/v1alpha1"


def main() -> int:
    """Exit code: 0 when the demo showed what it promises, 1 when it did not, 130 when it was interrupted."""
    options = _options()
    console = Console(force_terminal=None if not options.plain else False, highlight=False)
    if not console.is_terminal:  # nobody could see a table that changes
        options = replace(options, plain=True)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _run(options, console)
    except KeyboardInterrupt:
        console.print("demo: interrupted; everything was stopped")
        return 130
    except (ControlPlaneError, ApiError, ValueError) as error:
        console.print(f"demo: {error}", style="bold red")
        return 1


def _options() -> DemoOptions:
    parser = argparse.ArgumentParser(prog="demo", description="Tune the example web service on a real control plane.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C")
    parser.add_argument("--plain", action="store_true", help="no live table")
    given = parser.parse_args()
    return DemoOptions(given.seed, given.keep, given.plain)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _run(options: DemoOptions, console: Console) -> int:
    output = ROOT / "build" / "demo"
    output.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()

    def say(text: str) -> None:
        console.print(f"{time.monotonic() - begun:5.0f} s  {text}", style="dim")

    say("starting a control plane (etcd, kube-apiserver, controller manager, scheduler)")
    with ControlPlane() as plane, tempfile.TemporaryDirectory(prefix="trimtab-demo-") as directory:
        settings = StackOptions(namespace=NAMESPACE, seed=options.seed, time_origin=BUSIEST)
        with Stack(plane, Path(directory), settings, say) as stack:
            try:
                summary = _experiment(options, console, plane, stack, begun)
            finally:
                _keep_logs(stack, output)
            document = json.dumps(summary.document(), indent=2) + "\n"
            for name in ("summary", f"seed-{options.seed}"):  # the second is kept beside those of other seeds
                (output / f"{name}.json").write_text(document)
            _tell(console, summary)
            if options.keep:
                _stay(console, plane, stack)
    return 1 if summary.failures() else 0


def _experiment(options: DemoOptions, console: Console, plane: ControlPlane, stack: Stack, begun: float) -> Summary:
    before = stack.target()
    plane.client.create(experiment(options.seed))
    script = Script(plane.client, stack.playground)
    origin = datetime.fromisoformat(stack.options.time_origin).replace(tzinfo=UTC).timestamp()
    started = time.monotonic()
    board, latencies = Board(), Latencies(functools.partial(_asked, stack))
    last = ""
    table = contextlib.nullcontext() if options.plain else Live(console=console, refresh_per_second=4, transient=False)
    with table as live:
        while True:
            found = plane.client.get(API, "Experiment", EXPERIMENT, NAMESPACE)
            trials = plane.client.list(API, "Trial", NAMESPACE)
            script.direct(found, trials)
            elapsed = time.monotonic() - begun
            rows = board.rows(found, trials, latencies.of(trials))
            if live is None:
                last = _line(console, found, elapsed, last)
            else:
                live.update(render(found, rows, script.note, elapsed, console.width))
            if (found.get("status") or {}).get("phase") in ENDED:
                break
            if time.monotonic() - started > DEADLINE:
                raise ControlPlaneError(
                    f"the Experiment did not end within {DEADLINE:.0f} s; see build/demo/operator.log"
                )
            time.sleep(0.25)
    if options.plain:
        console.print(render(found, rows, script.note, elapsed, console.width))
    _settle(plane)
    elapsed = time.monotonic() - begun
    trials = plane.client.list(API, "Trial", NAMESPACE)
    when = origin + time.monotonic() - started
    seen = Seen(found, trials, before, stack.target(), arms_left(plane.client, NAMESPACE))
    return summarize(seen, script, when, elapsed, options.seed)


def _asked(stack: Stack, expression: str) -> float | None:
    """One number from Prometheus; the table does without when it does not answer."""
    try:
        return stack.prometheus.value(expression)
    except (PrometheusError, OSError):
        return None


def _line(console: Console, found: dict[str, Any], elapsed: float, last: str) -> str:
    status = found.get("status") or {}
    text = f"{status.get('phase', 'Pending')}: {status.get('message', '')}"
    if text != last:
        console.print(f"{elapsed:5.0f} s  {text}", soft_wrap=True)
    return text


def _settle(plane: ControlPlane, seconds: float = 15.0) -> None:
    """Terminating pods are the kubelet's business for a moment longer."""
    try:
        wait_for(lambda: arms_left(plane.client, NAMESPACE) == 0, "the last arm pods to go", seconds=seconds)
    except WaitTimeout:
        return


def _keep_logs(stack: Stack, output: Path) -> None:
    for name in ("operator", "playground"):
        log = stack.directory / f"{name}.log"
        if log.exists():
            (output / f"{name}.log").write_bytes(log.read_bytes())


def _tell(console: Console, summary: Summary) -> None:
    table = Table(title="Result", title_justify="left", show_header=False)
    table.add_column()
    table.add_column()
    saved, optimum = summary.savingPercent, summary.optimumSavingPercent
    if summary.costPerHourBefore is not None and summary.costPerHourAfter is not None:
        table.add_row("$ per hour", f"{summary.costPerHourBefore:.3f} -> {summary.costPerHourAfter:.3f}")
    share = f" ({100 * saved / optimum:.0f} % of what the noise-free optimum saves)" if saved and optimum else ""
    table.add_row("saving", f"{saved} %{share}")
    for words, held in (("at the end", summary.sloHeldAtEnd), ("at the day's peak", summary.sloHeldAtPeak)):
        table.add_row(f"noise-free SLO {words}", "held" if held else "BROKEN")
    table.add_row(
        "trials",
        f"{summary.trials}: {summary.succeeded} succeeded, {summary.infeasible} infeasible, "
        f"{summary.inconclusive} inconclusive, {summary.aborted} aborted",
    )
    table.add_row("search trials by the model", f"{summary.suggestedByModel} of {summary.searchTrials}")
    table.add_row("incumbent measured again", f"{summary.replicates}")
    table.add_row("canaries withdrawn", f"{summary.rollbacks}, slowest {summary.rollbackSecondsMax} s")
    table.add_row("slow canary withdrawn for", summary.withdrawnFor or "-")
    table.add_row("target unchanged", "yes" if summary.targetUnchanged else "NO")
    table.add_row("arms left", str(summary.armsLeft))
    table.add_row("took", f"{summary.seconds:.0f} s")
    console.print(table)
    for words in summary.failures():
        console.print(f"demo: {words}", style="bold red")
    for line in (
        "Next:",
        "  make demo KEEP=1                                # then, with the KUBECONFIG that it prints:",
        f"  kubectl -n {NAMESPACE} get experiments.trimtab.dev,trials.trimtab.dev",
        f"  kubectl -n {NAMESPACE} get configmap {EXPERIMENT}-recommendation -o yaml",
        "  less runbooks/README.md                         # pause, rollback, what each alert means",
    ):
        console.print(line, soft_wrap=True)


def _stay(console: Console, plane: ControlPlane, stack: Stack) -> None:
    console.print("\nEverything keeps running. In another terminal:")
    console.print(f"  export KUBECONFIG={plane.kubeconfig()}", soft_wrap=True)
    console.print(f"  {plane.kubectl} -n {NAMESPACE} get experiments.trimtab.dev -o wide", soft_wrap=True)
    console.print(f"  Prometheus: {stack.prometheus.url}")
    console.print("Ctrl-C stops everything and removes it.")
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    sys.exit(main())
