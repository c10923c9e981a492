"""`trimtab reap`: the operator image's own command, for a person's terminal."""

from __future__ import annotations

import os
from typing import Annotated

import typer


def reap_command(
    lease_namespace: Annotated[str, typer.Option(help="Namespace of the operators' Lease: where they are installed.")],
    kubeconfig: Annotated[str, typer.Option(help="Path of a kubeconfig; the current context is never guessed.")],
    namespace: Annotated[list[str] | None, typer.Option(help="Where they work; repeat it. None: everywhere.")] = None,
    lease_name: Annotated[str, typer.Option(help="Name of their Lease.")] = "trimtab-operator",
    once: Annotated[bool, typer.Option("--once", help="End when all is decided and done.")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Before Trimtab is removed: remove every arm, then its finalizers.")
    ] = False,
    missing_lease_ok: Annotated[
        bool,
        typer.Option("--missing-lease-ok", help="Go on although there is no such Lease, as without its namespace."),
    ] = False,
    limit: Annotated[float, typer.Option(help="Seconds after which --once or --all give up.")] = 150.0,
) -> None:
    """Remove canaries that outlived their controller.

    Those past their deadline, all of them once nobody has renewed the operators' Lease for 60 s, and those whose Trial
    is over. Exit status: 0 nothing is left that has to go, 1 something could not be removed, 2 unusable settings.
    """
    from trimtab.runtime.reap import main  # with the Kubernetes client, which the other commands do not need

    arguments = ["--lease-namespace", lease_namespace, "--lease-name", lease_name, "--kubeconfig", kubeconfig]
    arguments += ["--namespace", ",".join(namespace or ()), "--limit", str(limit)]
    flags = (("--once", once), ("--all", everything), ("--missing-lease-ok", missing_lease_ok))
    arguments += [flag for flag, given in flags if given]
    raise typer.Exit(main(arguments, {"TRIMTAB_LOG_FORMAT": "console"} | os.environ))


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("reap")(reap_command)
