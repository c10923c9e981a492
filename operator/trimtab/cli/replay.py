"""`trimtab replay`: are the suggestions of a stored history those that this version gives?

Exit status: 0 every suggestion is identical, 1 some are not or none could be told, 2 the files lack something.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from trimtab import __version__
from trimtab.api.convert import experiment_record
from trimtab.api.convert_trial import trial_record
from trimtab.api.history import read_history
from trimtab.api.kube_target import target_from
from trimtab.cli.files import UnreadableFile, items, read_documents
from trimtab.cli.simulate import EXIT_UNUSABLE, ONE_THREAD
from trimtab.control.replaying import Replayed, replay
from trimtab.domain.errors import CorruptLedger, InvalidSpec
from trimtab.domain.spec import ExperimentSpec, WarmStart
from trimtab.domain.trial import Trial
from trimtab.ports import ExperimentRecord

EXIT_DIFFERENT = 1
GET = "kubectl get experiments.trimtab.dev,trials.trimtab.dev,deployments -o yaml > history.yaml"


class Lacking(Exception):
    """Something that the files must hold: one line with what to do."""


def replay_command(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="The Experiment, its Trials and its Deployment, as YAML.")
    ],
    name: Annotated[str, typer.Option("--experiment", help="Which one, where the files hold several.")] = "",
) -> None:
    """Suggest again what each Trial of an Experiment suggested, from the Trials before it, and compare.

    Get the files with: kubectl get experiments.trimtab.dev,trials.trimtab.dev,deployments -o yaml
    """
    for variable in ONE_THREAD:  # must be set before numpy is loaded
        os.environ.setdefault(variable, "1")
    try:
        objects = [o for file in files for d in read_documents(file) for o in items(d.content)]
        found = list(replayed(objects, name))
    except (Lacking, UnreadableFile, InvalidSpec, CorruptLedger) as error:
        typer.echo(f"trimtab: {error}", err=True)
        raise typer.Exit(EXIT_UNUSABLE) from None
    for each in found:
        typer.echo(f"trial {each.trial.index} ({each.trial.purpose.value}): {each.message}")
    same, other = sum(r.identical is True for r in found), sum(r.identical is False for r in found)
    libraries = ", ".join(f"{package} {version(package)}" for package in ("numpy", "scipy"))
    typer.echo(f"{same} of {len(found)} suggestions identical, {other} different; trimtab {__version__}, {libraries}")
    if other:
        typer.echo("suggestions are the same for the same versions only: look which the operator's image has")
    if other or not same:
        raise typer.Exit(EXIT_DIFFERENT)


def replayed(objects: list[Mapping[str, Any]], name: str = "") -> Iterator[Replayed]:
    """Replay the Experiment among the objects; `name` says which, where there are several.

    Raises:
        Lacking, InvalidSpec, CorruptLedger: each names what has to be put right.
    """
    from trimtab.optimize.designer import suggest
    from trimtab.optimize.sobol import without_model

    record = _experiment([o for o in objects if o.get("kind") == "Experiment"], name)
    spec, state = record.spec, record.state
    if spec is None or state is None:
        raise Lacking(f"Experiment {record.name}: {record.problem or record.state_problem or 'has no status'}")
    trials = _trials(objects, record.uid, spec)
    if not trials:
        raise Lacking(f"Experiment {record.name}: there is no Trial of it in the files; get them with: {GET}")
    deployment = _named(objects, "Deployment", record.namespace, spec.target.name)
    earlier = _earlier(objects, record.namespace, spec)
    fallback = lambda study: without_model(study, "")  # noqa: E731
    return replay(spec, state, target_from(deployment), trials, suggest, fallback, earlier)


def _experiment(found: list[Mapping[str, Any]], name: str) -> ExperimentRecord:
    names = [str((o.get("metadata") or {}).get("name")) for o in found]
    chosen = [o for o, own in zip(found, names, strict=True) if name in ("", own)]
    if len(chosen) != 1:
        remedy = "name one with --experiment" if len(chosen) > 1 else f"get it with: {GET}"
        raise Lacking(f"the files hold the Experiments {', '.join(names) or 'none'}; {remedy}")
    return experiment_record(chosen[0])


def _trials(objects: list[Mapping[str, Any]], uid: str, spec: ExperimentSpec) -> tuple[Trial, ...]:
    read = [trial_record(o, spec.space) for o in objects if o.get("kind") == "Trial" and _owner(o) == uid]
    return tuple(sorted(read, key=lambda t: t.index))


def _owner(trial: Mapping[str, Any]) -> str:
    experiment = (trial.get("spec") or {}).get("experiment") or {}
    return str(experiment.get("uid", ""))


def _named(objects: list[Mapping[str, Any]], kind: str, namespace: str, name: str) -> Mapping[str, Any]:
    for each in objects:
        metadata = each.get("metadata") or {}
        if (each.get("kind"), metadata.get("namespace"), metadata.get("name")) == (kind, namespace, name):
            return each
    raise Lacking(f"{kind} {namespace}/{name} is not in the files; get it with kubectl get -o yaml")


def _earlier(objects: list[Mapping[str, Any]], namespace: str, spec: ExperimentSpec) -> tuple[Trial, ...]:
    """The Trials of the warm start, from the same files."""
    warm: WarmStart | None = spec.warm_start
    found: tuple[Trial, ...] = ()
    if warm is not None and warm.experiment:
        metadata = _named(objects, "Experiment", namespace, warm.experiment).get("metadata") or {}
        found += _trials(objects, str(metadata.get("uid", "")), spec)
    if warm is not None and warm.history:
        found += read_history(_named(objects, "ConfigMap", namespace, warm.history), spec.space).trials
    return found


def register(app: Any) -> None:
    """Add the command."""
    app.command("replay")(replay_command)


__all__ = ["Lacking", "register", "replay_command", "replayed"]
