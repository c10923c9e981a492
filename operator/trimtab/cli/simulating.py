"""What `trimtab simulate` does with its arguments: read, run, print. It loads numpy: imported only when needed."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from shlex import quote

import structlog
import yaml
from rich.console import Console

from trimtab.api.history import simulated_history
from trimtab.api.times import parse_time
from trimtab.cli.files import Document, UnreadableFile, read_documents
from trimtab.cli.watching import Watching
from trimtab.domain.errors import InvalidSpec, NotYetSupported
from trimtab.domain.quantity import parse_duration
from trimtab.report.html import page, set_page
from trimtab.report.tables import set_view, simulation_view
from trimtab.report.words import Files
from trimtab.simulate.peers import RULES
from trimtab.simulate.results import Result, Simulation, to_json
from trimtab.simulate.run import Ran, run
from trimtab.simulate.scenario import START, Scenario, scenario
from trimtab.simulate.seeds import gathered
from trimtab.workload import WorkloadError

EXIT_NOTHING = 1
LEAST_SCRAPE, MOST_SCRAPE = 1.0, 300.0
PLAIN_WIDTH = 160  # of tables in a pipe or a log, where no terminal says how wide it is


class Unusable(Exception):
    """Something that the user has to change first: one line."""


@dataclass(frozen=True)
class Wanted:
    """The command line."""

    files: tuple[Path, ...]
    workload: Path | None
    seed: int | None
    days: float
    start: str
    scrape: str
    faults: Path | None
    output: str
    compare: str
    seeds: int
    jobs: int
    export_history: Path | None
    replay: Path | None


def simulate(wanted: Wanted) -> int:
    """Run; the result is the exit status.

    Raises:
        Unusable: a file or an argument has to be changed first.
    """
    quiet()
    peers = _peers(wanted.compare)
    _check(wanted)
    try:
        made = _scenario(wanted)
        if wanted.seeds > 1:
            several = gathered(_several(made, wanted, peers))
            _print(wanted, several)
            return 0 if all(run.summary.trials for run in several.runs) else EXIT_NOTHING
        ran = _one(made, wanted, peers)
        _export(wanted, made, ran)
        _print(wanted, ran.result)
        return 0 if ran.result.trials else EXIT_NOTHING
    except (InvalidSpec, NotYetSupported, WorkloadError, UnreadableFile) as error:
        raise Unusable(str(error)) from None


def quiet() -> None:
    """The simulated operator's logs are of virtual moments; the result says what matters."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


# Arguments


def _peers(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    unknown = [name for name in names if name not in RULES]
    if unknown:
        raise Unusable(f"--compare: {unknown[0]!r} is no rule; use some of {','.join(RULES)}")
    return names


def _check(wanted: Wanted) -> None:
    if not wanted.files:
        raise Unusable("--file: is missing; give the Experiment with -f experiment.yaml")
    if wanted.workload is None:
        raise Unusable("--workload: is missing; give the service with --workload workload.yaml")
    if wanted.seeds > 1 and wanted.export_history is not None:
        raise Unusable("--export-history: needs one simulation; leave out --seeds")
    if wanted.export_history is not None and not wanted.export_history.resolve().parent.is_dir():
        raise Unusable(f"{wanted.export_history}: its folder does not exist; make it, or give another path")
    if wanted.output == "html" and sys.stdout.isatty():
        raise Unusable("--output: a page goes to a file; add > page.html")


def _scenario(wanted: Wanted) -> Scenario:
    assert wanted.workload is not None
    experiments, others = _documents(wanted.files)
    if len(experiments) != 1:
        found = ", ".join(f"{d.path}:{d.line}" for d in experiments) or "none"
        names = ", ".join(map(str, wanted.files))
        raise Unusable(f"{names}: must hold one Experiment of trimtab.dev, found {found}; give one with -f")
    (experiment,) = experiments
    try:
        text = wanted.workload.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not UTF-8 text"
        raise Unusable(f"{wanted.workload}: cannot be read ({reason}); give the path of a workload file") from None
    try:
        return scenario(
            experiment.content, [d.content for d in others], text, source=str(wanted.workload),
            seed=wanted.seed, days=wanted.days, start=_start(wanted.start), scrape=_scrape(wanted.scrape),
        )  # fmt: skip
    except (InvalidSpec, NotYetSupported) as error:
        raise Unusable(f"{experiment.path}:{experiment.line}: {error}") from None


def _documents(files: tuple[Path, ...]) -> tuple[list[Document], list[Document]]:
    """(Experiments, everything else)."""
    found = [document for file in files for document in read_documents(file)]
    for document in found:
        content = document.content
        if not isinstance(content, dict) or not isinstance((content.get("metadata") or {}).get("name"), str):
            raise Unusable(f"{document.path}:{document.line}: metadata.name: is missing; give a Kubernetes manifest")
    return [d for d in found if d.is_experiment], [d for d in found if not d.is_experiment]


def _start(text: str) -> float:
    if not text:
        return START
    try:
        return parse_time(text)
    except ValueError as error:
        raise Unusable(f"--start: {error}; write for example 2026-03-02T09:00:00Z") from None


def _scrape(text: str) -> float:
    try:
        seconds = parse_duration(text, "--scrape-interval")
    except InvalidSpec as error:
        raise Unusable(str(error)) from None
    if not LEAST_SCRAPE <= seconds <= MOST_SCRAPE:
        raise Unusable(f"--scrape-interval: {text} is out of bounds; use {LEAST_SCRAPE:g}s to {MOST_SCRAPE:g}s")
    return seconds


# Running


def _one(made: Scenario, wanted: Wanted, peers: tuple[str, ...]) -> Ran:
    with _watching(wanted, made) as watching:
        return run(made, peers, watching.progress)


@contextmanager
def _watching(wanted: Wanted, made: Scenario) -> Iterator[Watching]:
    terminal = Console(stderr=True, highlight=False)
    shown = terminal.is_terminal and wanted.output == "table"
    with Watching(terminal if shown else None, made) as watching:
        yield watching


def _several(made: Scenario, wanted: Wanted, peers: tuple[str, ...]) -> list[Simulation]:
    """Every seed, in order; several processes share them."""
    scenarios = [made.with_seed(made.seed + k) for k in range(wanted.seeds)]
    with _watching(wanted, made) as watching:
        if wanted.jobs == 1:
            return [watching.seed(run(each, peers).result) for each in scenarios]
        with ProcessPoolExecutor(wanted.jobs, get_context("spawn"), initializer=quiet) as pool:
            futures = [pool.submit(_seed, each, peers) for each in scenarios]
            try:
                return [watching.seed(future.result()) for future in futures]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _seed(made: Scenario, peers: tuple[str, ...]) -> Simulation:
    return run(made, peers).result


# Results


def _export(wanted: Wanted, made: Scenario, ran: Ran) -> None:
    if wanted.export_history is None:
        return
    workload = f"{made.workload.name}/{ran.result.inputs.workload_digest}"
    manifest = simulated_history(made.name, made.namespace, workload, made.seed, ran.trials)
    try:
        wanted.export_history.write_text(yaml.safe_dump(manifest, sort_keys=False, width=120), encoding="utf-8")
    except OSError as error:
        raise Unusable(f"{wanted.export_history}: cannot be written ({error.strerror}); give another path") from None


def _print(wanted: Wanted, result: Result) -> None:
    if wanted.output == "json":
        sys.stdout.write(to_json(result))
        return
    files = Files(str(wanted.files[0]), str(wanted.workload), _options(wanted))
    if wanted.output == "html":
        sys.stdout.write(page(result, files) if isinstance(result, Simulation) else set_page(result))
        return
    terminal = Console(highlight=False)
    console = terminal if terminal.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)
    console.print(simulation_view(result, files) if isinstance(result, Simulation) else set_view(result))


def _options(wanted: Wanted) -> str:
    """What was given beside the files, as it would be typed again."""
    more = [f" -f {quote(str(path))}" for path in wanted.files[1:]]
    for option, value, usual in (
        ("--days", f"{wanted.days:g}", "7"),
        ("--start", wanted.start, ""),
        ("--scrape-interval", wanted.scrape, "15s"),
        ("--faults", "" if wanted.faults is None else str(wanted.faults), ""),
    ):
        if value != usual:
            more.append(f" {option} {quote(value)}")
    return "".join(more)


__all__ = ["Unusable", "Wanted", "quiet", "simulate"]
