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
from trimtab.report.tables import next_steps, set_view, simulation_view
from trimtab.report.words import Files
from trimtab.simulate.faults.plan import FaultPlan, InvalidPlan, plan_of
from trimtab.simulate.peers import RULES, incomparable
from trimtab.simulate.replay import from_replay, to_replay
from trimtab.simulate.results import Result, Simulation, to_json
from trimtab.simulate.run import Ran, run
from trimtab.simulate.scenario import START, Scenario, scenario
from trimtab.simulate.seeds import gathered
from trimtab.workload import WorkloadError

EXIT_FAILED = 1
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
        made, plan = _read(wanted)
        unlike = incomparable(made.truth, peers)
        if peers and unlike:
            raise Unusable(f"--compare: {unlike}; leave it out")
        several = _several(made, plan, wanted, peers) if wanted.seeds > 1 else [_one(made, plan, wanted, peers)]
        if wanted.export_history is not None:
            _export(wanted.export_history, several[0])
        result = gathered(ran.result for ran in several) if wanted.seeds > 1 else several[0].result
        _print(wanted, result, comparable=not unlike)
        broken = [ran for ran in several if ran.result.promises.broken]
        for ran in broken:
            _tell_how_to_replay(ran)
        return EXIT_FAILED if broken or not all(ran.trials for ran in several) else 0
    except (InvalidSpec, NotYetSupported, WorkloadError, InvalidPlan, UnreadableFile) as error:
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
    if wanted.replay is not None and (wanted.files or wanted.workload is not None or wanted.faults is not None):
        raise Unusable("--replay: has everything in it; leave out --file, --workload and --faults")
    if wanted.replay is None and not wanted.files:
        raise Unusable("--file: is missing; give the Experiment with -f experiment.yaml")
    if wanted.replay is None and wanted.workload is None:
        raise Unusable("--workload: is missing; give the service with --workload workload.yaml")
    if wanted.seeds > 1 and (wanted.export_history is not None or wanted.replay is not None):
        option = "--replay" if wanted.replay is not None else "--export-history"
        raise Unusable(f"{option}: is of one simulation; leave out --seeds")
    if wanted.export_history is not None and not wanted.export_history.resolve().parent.is_dir():
        raise Unusable(f"{wanted.export_history}: its folder does not exist; make it, or give another path")
    if wanted.output == "html" and sys.stdout.isatty():
        raise Unusable("--output: a page goes to a file; add > page.html")


def _read(wanted: Wanted) -> tuple[Scenario, FaultPlan | None]:
    """What to simulate, and what goes wrong."""
    if wanted.replay is not None:
        return from_replay(_only_document(wanted.replay), str(wanted.replay))
    plan = None if wanted.faults is None else plan_of(_only_document(wanted.faults), str(wanted.faults))
    return _scenario(wanted), plan


def _only_document(path: Path) -> object:
    documents = read_documents(path)
    if len(documents) != 1:
        raise Unusable(f"{path}: must hold one document, found {len(documents)}; give one file for each")
    return documents[0].content


def _scenario(wanted: Wanted) -> Scenario:
    assert wanted.workload is not None
    experiments, others = _documents(wanted.files)
    if len(experiments) != 1:
        found = ", ".join(d.where() for d in experiments) or "none"
        names = ", ".join(map(str, wanted.files))
        raise Unusable(f"{names}: must hold one Experiment of trimtab.dev, found {found}; give one with -f")
    (experiment,) = experiments
    try:
        return scenario(
            experiment.content, [d.content for d in others], _text(wanted.workload), source=str(wanted.workload),
            seed=wanted.seed, days=wanted.days, start=_start(wanted.start), scrape=_scrape(wanted.scrape),
        )  # fmt: skip
    except (InvalidSpec, NotYetSupported) as error:
        raise Unusable(f"{experiment.where(error.field)}: {error}") from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not UTF-8 text"
        raise Unusable(f"{path}: cannot be read ({reason}); give the path of a workload file") from None


def _documents(files: tuple[Path, ...]) -> tuple[list[Document], list[Document]]:
    """(Experiments, everything else)."""
    found = [document for file in files for document in read_documents(file)]
    for document in found:
        content = document.content
        if not isinstance(content, dict) or not isinstance((content.get("metadata") or {}).get("name"), str):
            raise Unusable(f"{document.where('metadata.name')}: metadata.name: is missing; give a Kubernetes manifest")
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


def _one(made: Scenario, plan: FaultPlan | None, wanted: Wanted, peers: tuple[str, ...]) -> Ran:
    with _watching(wanted, made) as watching:
        return run(made, peers, watching.progress, plan)


@contextmanager
def _watching(wanted: Wanted, made: Scenario) -> Iterator[Watching]:
    terminal = Console(stderr=True, highlight=False)
    shown = terminal.is_terminal and wanted.output == "table"
    with Watching(terminal if shown else None, made) as watching:
        yield watching


def _several(made: Scenario, plan: FaultPlan | None, wanted: Wanted, peers: tuple[str, ...]) -> list[Ran]:
    """Every seed, in order; several processes share them."""
    cases = [(made.with_seed(made.seed + k), _reseeded(plan, k)) for k in range(wanted.seeds)]
    with _watching(wanted, made) as watching:
        if wanted.jobs == 1:
            return [watching.seed(run(each, peers, None, faults)) for each, faults in cases]
        with ProcessPoolExecutor(wanted.jobs, get_context("spawn"), initializer=quiet) as pool:
            futures = [pool.submit(run, each, peers, None, faults) for each, faults in cases]
            try:
                return [watching.seed(future.result()) for future in futures]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _reseeded(plan: FaultPlan | None, more: int) -> FaultPlan | None:
    """The same faults; what they leave to chance is drawn anew."""
    return None if plan is None else plan.model_copy(update={"seed": plan.seed + more})


# Results


def _tell_how_to_replay(ran: Ran) -> None:
    """A broken promise is a defect of ours: the file is all that is needed to see it again."""
    path = Path(f"replay-{ran.scenario.name}-{ran.scenario.seed}.json")
    path.write_text(to_replay(ran.scenario, ran.plan), encoding="utf-8")
    for breach in ran.result.promises.broken:
        print(f"trimtab: promise broken: {breach.promise} at {breach.at}: {breach.detail}", file=sys.stderr)
    if ran.plan is not None:
        print(yaml.safe_dump(ran.plan.wire(), sort_keys=False, width=120), end="", file=sys.stderr)
    print(f"trimtab: to see it again: trimtab simulate --replay {path}", file=sys.stderr)


def _export(path: Path, ran: Ran) -> None:
    made = ran.scenario
    workload = f"{made.workload.name}/{ran.result.inputs.workload_digest}"
    manifest = simulated_history(made.name, made.namespace, workload, made.seed, ran.trials)
    try:
        path.write_text(yaml.safe_dump(manifest, sort_keys=False, width=120), encoding="utf-8")
    except OSError as error:
        raise Unusable(f"{path}: cannot be written ({error.strerror}); give another path") from None


def _print(wanted: Wanted, result: Result, *, comparable: bool) -> None:
    if wanted.output == "json":
        sys.stdout.write(to_json(result))
        return
    files = Files(comparable=comparable)
    if wanted.files:
        files = Files(str(wanted.files[0]), str(wanted.workload), _options(wanted), comparable)
    if wanted.output == "html":
        sys.stdout.write(page(result, files) if isinstance(result, Simulation) else set_page(result))
        return
    terminal = Console(highlight=False)
    console = terminal if terminal.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)
    if isinstance(result, Simulation):
        console.print(simulation_view(result))
        console.print(next_steps(result, files), soft_wrap=True)
    else:
        console.print(set_view(result))


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
