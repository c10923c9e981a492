"""`trimtab lint`, `defaults`, `simulate`, `replay`, `history`, `rules`, `version`: an Experiment looked at without a
cluster. And `trimtab reap`, which needs one.

Exit status: 0 nothing would be refused, 1 somebody has to change a manifest, 2 a file could not be looked at.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from trimtab import __version__
from trimtab.api.lint import Finding, Level, lint
from trimtab.cli import history, reap, replay, rules, simulate
from trimtab.cli.defaults import effective
from trimtab.cli.files import Document, UnreadableFile, read_documents
from trimtab.cli.queries import refused_queries
from trimtab.domain.errors import InvalidSpec, NotYetSupported

EXIT_FINDINGS = 1
EXIT_UNREADABLE = 2
INDENT = 4
STYLES = {Level.ERROR: "bold red", Level.WARNING: "bold yellow"}

app = typer.Typer(
    help="Safe production tuning: look at Experiments, and try them, before they reach a cluster.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command("lint")
def lint_command(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="YAML files, of one or more documents.")],
    strict: Annotated[bool, typer.Option("--strict", help="Warnings fail too.")] = False,
) -> None:
    """Say what an Experiment's author has to change, with field, problem and remedy.

    Errors are what the API server or the operator would refuse. Warnings are valid, but perhaps not what was meant.
    """
    documents = _experiments(files)
    found = [(document, finding) for document in documents for finding in lint(document.content, time.time())]
    found += [(document, finding) for document in documents for finding in refused_queries(document.content)]
    if found:
        show(found, Console(highlight=False))
    errors = sum(finding.level is Level.ERROR for _, finding in found)
    warnings = len(found) - errors
    looked = f"{_count(len(documents), 'Experiment')} in {_count(len(files), 'file')}"
    typer.echo(f"{looked}: {_count(errors, 'error')}, {_count(warnings, 'warning')}")
    if errors or (strict and warnings):
        raise typer.Exit(EXIT_FINDINGS)


@app.command("defaults")
def defaults_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="YAML file, of one or more documents.")],
) -> None:
    """Print the Experiments of a file with every default written out."""
    found = []
    for document in _experiments([file]):
        try:
            found.append(effective(document.content))
        except (InvalidSpec, NotYetSupported) as error:
            typer.echo(f"{document.where(error.field)}: {error}", err=True)
            raise typer.Exit(EXIT_FINDINGS) from error
    typer.echo(yaml.safe_dump_all(found, sort_keys=False, width=120, allow_unicode=True), nl=False)


simulate.register(app)
replay.register(app)
history.register(app)
reap.register(app)
rules.register(app)


@app.command("version")
def version_command() -> None:
    """Print the version."""
    typer.echo(f"trimtab {__version__}")


def _experiments(files: list[Path]) -> list[Document]:
    """All Experiments of the files; a set of files without any is not a success."""
    try:
        found = [d for file in files for d in read_documents(file) if d.is_experiment]
        if not found:
            raise UnreadableFile(", ".join(map(str, files)), "no Experiment of trimtab.dev in it")
    except UnreadableFile as error:
        typer.echo(f"trimtab: {error}", err=True)
        raise typer.Exit(EXIT_UNREADABLE) from error
    return found


def show(found: list[tuple[Document, Finding]], console: Console) -> None:
    """In a pipe one line per finding, for grep; in a terminal two, so that fields stay whole and words are wrapped."""
    for document, finding in found:
        where = document.where(finding.field)
        if not console.is_terminal:
            typer.echo(f"{where}: {finding}")
            continue
        head = Text.assemble((f"{where}: ", "dim"), (finding.level.value, STYLES[finding.level]), f": {finding.field}")
        console.print(head, soft_wrap=True)  # text of a manifest is never markup
        console.print(Padding(Text(f"{finding.problem}; {finding.remedy}"), (0, 0, 0, INDENT)))


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
