"""`trimtab history`: what an Experiment elsewhere taught, as a ConfigMap for another Experiment's warm start.

A staging copy is tuned in its own namespace, or in another cluster. Its Trials tell the one in production where to look
first, and nothing else: a copy with another load and other neighbours is no evidence of safety.

Exit status: 0 printed, 2 the files lack something.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from trimtab.api.history import experiment_history
from trimtab.cli.files import UnreadableFile, items, read_documents
from trimtab.domain.errors import InvalidSpec
from trimtab.domain.kinds import TRIALS

EXIT_UNUSABLE = 2
GET = "kubectl -n NAMESPACE get trials.trimtab.dev -o yaml > trials.yaml"
Of = tuple[str, str]
"""Namespace and name of an Experiment."""


class NoHistory(Exception):
    """Nothing can be exported: one line with what to do."""


def history_command(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="The Experiment's Trials, as YAML.")],
    name: Annotated[str, typer.Option("--experiment", help="Which one, where the files hold several.")] = "",
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="Of the ConfigMap: where the other Experiment is.")
    ] = "",
) -> None:
    """Print the history of an Experiment as a ConfigMap that another one's spec.warmStart.historyRef can name.

    Get the files with: kubectl get trials.trimtab.dev -o yaml
    """
    try:
        objects = [o for file in files for d in read_documents(file) for o in items(d.content)]
        (own, experiment), trials = chosen([o for o in objects if o.get("kind") == TRIALS.name], name)
        manifest = experiment_history(experiment, namespace or own, trials)
    except (NoHistory, UnreadableFile, InvalidSpec) as error:
        typer.echo(f"trimtab: {error}", err=True)
        raise typer.Exit(EXIT_UNUSABLE) from None
    typer.echo(yaml.safe_dump(manifest, sort_keys=False, width=120), nl=False)


def chosen(trials: list[Mapping[str, Any]], name: str) -> tuple[Of, list[Mapping[str, Any]]]:
    """The Trials of the one Experiment, or of the one that is named.

    Raises:
        NoHistory: there is none, or it is not clear which; names them.
    """
    found: dict[Of, list[Mapping[str, Any]]] = {}
    for trial in trials:
        experiment = str(((trial.get("spec") or {}).get("experiment") or {}).get("name", ""))
        if name in ("", experiment):
            found.setdefault((str(trial["metadata"].get("namespace", "")), experiment), []).append(trial)
    if not found:
        of = f" of an Experiment {name}" if name else ""
        raise NoHistory(f"the files hold no Trial{of}; get them with: {GET}")
    if len(found) > 1:
        several = ", ".join(f"{space}/{experiment}" for space, experiment in sorted(found))
        raise NoHistory(f"the files hold Trials of {several}; name one with --experiment, from one namespace")
    return next(iter(found.items()))


def register(app: Any) -> None:
    """Add the command."""
    app.command("history")(history_command)


__all__ = ["NoHistory", "chosen", "history_command", "register"]
