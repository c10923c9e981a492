"""Tables of manifests: good ones as files, bad ones as a good one with changes and the message that a user sees.

`python -m tests.cluster.manifests.table <kubeconfig>` asks a running control plane (with the definitions of `crds/`
applied) for every message again and rewrites the tables: for a new Kubernetes version, followed by a review of the
diff.
"""

from __future__ import annotations

import copy
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from controlplane import ApiClient, ApiError

FOLDER = Path(__file__).resolve().parent
SHORTEST = FOLDER.parents[2] / "examples" / "minimal" / "experiment.yaml"
EXPERIMENTS = "/apis/trimtab.dev/v1alpha1/namespaces/{}/experiments"

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A manifest that is refused: a good one, changed."""

    table: str
    name: str
    manifest: Manifest
    message: str

    @property
    def id(self) -> str:
        return f"{self.table}: {self.name}"


@cache
def good() -> dict[str, Manifest]:
    """All good manifests by name; nobody may change them."""
    paths = [SHORTEST, *sorted((FOLDER / "good").glob("*.yaml"))]
    return {("shortest" if path == SHORTEST else path.stem): yaml.safe_load(path.read_text()) for path in paths}


def bad() -> list[Case]:
    """All bad manifests."""
    return [case for path in sorted((FOLDER / "bad").glob("*.yaml")) for case in _read(path)]


def _read(path: Path) -> Iterator[Case]:
    table = yaml.safe_load(path.read_text())
    base = good()[table["base"]]
    for case in table["cases"]:
        manifest = changed(base, case.get("set", {}), case.get("remove", []))
        yield Case(path.stem, case["name"], manifest, case.get("message", ""))


def changed(base: Manifest, new: dict[str, Any], gone: list[str]) -> Manifest:
    """A copy with values set and removed by path (`spec.parameters[0].quantity.min`)."""
    manifest = copy.deepcopy(base)
    for path in gone:
        *parents, last = steps(path)
        del _walk(manifest, parents)[last]
    for path, value in new.items():
        *parents, last = steps(path)
        holder = _walk(manifest, parents)
        if isinstance(holder, list) and last == len(holder):
            holder.append(value)
        else:
            holder[last] = value
    return manifest


def steps(path: str) -> list[str | int]:
    """The keys and indices of a path."""
    return [int(index) if index else name for name, index in re.findall(r"([A-Za-z]+)|\[(\d+)\]", path)]


def _walk(manifest: Any, path: list[str | int]) -> Any:
    for step in path:
        manifest = manifest[step] if isinstance(step, int) else manifest.setdefault(step, {})
    return manifest


def submit(client: ApiClient, namespace: str, manifest: Manifest, *, dry_run: bool = True) -> Manifest:
    """POST as kubectl does it: unknown fields are refused.

    Raises:
        ApiError: with the message that a user sees.
    """
    query = {"fieldValidation": "Strict"} | ({"dryRun": "All"} if dry_run else {})
    answer: Manifest = client.request("POST", EXPERIMENTS.format(namespace), manifest, query=query)
    return answer


def answer_of(client: ApiClient, namespace: str, manifest: Manifest) -> str:
    """The message that a user sees, empty when the manifest is accepted."""
    try:
        submit(client, namespace, manifest)
    except ApiError as error:
        return error.message
    return ""


def record(client: ApiClient, namespace: str) -> list[str]:
    """Rewrite the messages of all tables; returns the cases that were not refused."""
    accepted = []
    for path in sorted((FOLDER / "bad").glob("*.yaml")):
        table = yaml.safe_load(path.read_text())
        lines = [f"base: {table['base']}", "cases:"]
        for raw, case in zip(table["cases"], _read(path), strict=True):
            message = answer_of(client, namespace, case.manifest)
            if not message:
                accepted.append(case.id)
            lines += _lines({**raw, "message": message})
        path.write_text("\n".join(lines) + "\n")
    return accepted


def _lines(case: dict[str, Any]) -> Iterator[str]:
    for number, key in enumerate(key for key in ("name", "remove", "set", "message") if key in case):
        text = yaml.safe_dump(
            case[key], default_flow_style=key != "message", width=10**6, allow_unicode=True, sort_keys=False
        )
        yield f"{'  ' if number else '- '}{key}: {_bare(text)}"


def _bare(text: str) -> str:
    """A scalar without the end-of-document marker that the dumper adds."""
    return text.strip().removesuffix("...").strip()


if __name__ == "__main__":
    for name in record(ApiClient.from_kubeconfig(Path(sys.argv[1])), "default"):
        print(f"not refused: {name}")
