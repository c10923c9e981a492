"""`trimtab simulate`: an Experiment tried on a played service, before it meets a real one.

Exit status: 0 trials were simulated, 1 none could begin or a promise was broken, 2 a file or an argument has to be
changed first.
"""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

EXIT_UNUSABLE = 2
ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


class Output(StrEnum):
    """What is printed."""

    TABLE = "table"
    JSON = "json"
    HTML = "html"


def simulate_command(
    files: Annotated[
        list[Path] | None,
        typer.Option("--file", "-f", help="The Experiment; more files or documents may hold its Deployment."),
    ] = None,
    workload: Annotated[Path | None, typer.Option("--workload", "-w", help="The service, as a workload file.")] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, max=2**31 - 1, help="Of noise and search. Default: spec.search.seed.")
    ] = None,
    days: Annotated[float, typer.Option(min=0.01, max=60, help="Horizon in days of virtual time.")] = 7.0,
    start: Annotated[str, typer.Option(help="Virtual time at which it begins. Default: a Monday at nine, UTC.")] = "",
    scrape_interval: Annotated[str, typer.Option(help="Time between scrapes of a pod.")] = "15s",
    faults: Annotated[Path | None, typer.Option(help="A plan of faults.")] = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="What to print.")] = Output.TABLE,
    compare: Annotated[
        str,
        typer.Option(metavar="RULES", help="Rules on the same load: vpa, krr, random, hold, default-hpa, by commas."),
    ] = "",
    seeds: Annotated[int, typer.Option(min=1, max=10_000, help="So many seeds, from --seed upwards.")] = 1,
    jobs: Annotated[int, typer.Option(min=1, max=256, help="Processes for several seeds.")] = 1,
    export_history: Annotated[
        Path | None, typer.Option(help="Write the Trials as a ConfigMap for warmStart; no evidence of safety.")
    ] = None,
    replay: Annotated[Path | None, typer.Option(help="Run a simulation again that broke a promise.")] = None,
) -> None:
    """Simulate an Experiment on a workload: no cluster, no Prometheus, days in seconds.

    The operator's own code runs in virtual time. The result is compared with the workload model without noise: what is
    truly safe, and what the best assignment would save.
    """
    for name in ONE_THREAD:  # must be set before numpy is loaded
        os.environ.setdefault(name, "1")
    from trimtab.cli import simulating

    wanted = simulating.Wanted(
        files=tuple(files or ()), workload=workload, seed=seed, days=days, start=start, scrape=scrape_interval,
        faults=faults, output=output.value, compare=compare, seeds=seeds, jobs=jobs, export_history=export_history,
        replay=replay,
    )  # fmt: skip
    try:
        code = simulating.simulate(wanted)
    except simulating.Unusable as error:
        typer.echo(f"trimtab: {error}", err=True)
        raise typer.Exit(EXIT_UNUSABLE) from None
    except KeyboardInterrupt:
        typer.echo("trimtab: interrupted", err=True)
        raise typer.Exit(130) from None
    raise typer.Exit(code)


def register(app: Any) -> None:
    """Add the command."""
    app.command("simulate")(simulate_command)


__all__ = ["Output", "register", "simulate_command"]
