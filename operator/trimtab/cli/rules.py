"""`trimtab rules`: recording rules for the error budgets of an Experiment.

Exit status: 0 rules were printed, 1 the Experiment needs none or somebody has to change it, 2 a file could not be read.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from trimtab.api.convert import parse_experiment
from trimtab.cli.files import UnreadableFile, read_documents
from trimtab.control.preflight_queries import query_problems
from trimtab.domain.errors import InvalidSpec, NotYetSupported
from trimtab.slo.recording import rule_group

EXIT_FINDINGS = 1
EXIT_UNREADABLE = 2


class Form(StrEnum):
    """For whom: Prometheus' own rule files, or the Prometheus operator."""

    PROMETHEUS = "prometheus"
    PROMETHEUS_RULE = "PrometheusRule"


def rules_command(
    file: Annotated[Path, typer.Option("--file", "-f", help="YAML file that holds one or more Experiments.")],
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="Of the Experiments that do not name theirs.")
    ] = "",
    form: Annotated[Form, typer.Option("--output", "-o", help="A rule file, or an object.")] = Form.PROMETHEUS,
) -> None:
    """Print recording rules that keep the long windows of error budgets cheap.

    The operator finds their series by itself, and uses them where they cover a window.
    """
    try:
        groups = [_group(d.content, namespace) for d in read_documents(file) if d.is_experiment]
        if not groups:
            raise UnreadableFile(str(file), "no Experiment of trimtab.dev in it")
    except UnreadableFile as error:
        typer.echo(f"trimtab: {error}", err=True)
        raise typer.Exit(EXIT_UNREADABLE) from error
    except (InvalidSpec, NotYetSupported) as error:
        typer.echo(f"{file}: {error}", err=True)
        raise typer.Exit(EXIT_FINDINGS) from error
    typer.echo(yaml.safe_dump_all(_documents(groups, form), sort_keys=False, width=10_000), nl=False)


def _group(manifest: Any, namespace: str) -> tuple[str, str, dict[str, Any]]:
    """(namespace, name, rule group) of one Experiment.

    Raises:
        InvalidSpec, NotYetSupported: names the field and the remedy.
    """
    spec = parse_experiment(manifest)
    refused = next(query_problems(spec), None)
    if refused is not None:
        raise InvalidSpec(refused.field, refused.message.removeprefix(f"{refused.field}: "))
    metadata = manifest.get("metadata") or {}
    where, name = str(metadata.get("namespace") or namespace), str(metadata.get("name") or "")
    if not where or not name:
        field = "metadata.namespace" if name else "metadata.name"
        raise InvalidSpec(field, "is not set", "write it" + (", or give --namespace" if name else ""))
    group = rule_group(where, name, spec)
    if not group["rules"]:
        raise InvalidSpec("spec.errorBudgets", "there is none, so no long window is read", "no rules are needed")
    return where, name, group


def _documents(groups: list[tuple[str, str, dict[str, Any]]], form: Form) -> list[dict[str, Any]]:
    if form is Form.PROMETHEUS:
        return [{"groups": [group for _, _, group in groups]}]
    return [
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": {"name": f"trimtab-{name}", "namespace": where},
            "spec": {"groups": [group]},
        }
        for where, name, group in groups
    ]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("rules")(rules_command)


__all__ = ["register"]
