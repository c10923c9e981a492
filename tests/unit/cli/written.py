"""Manifests written to files, and where in them something is."""

from __future__ import annotations

from pathlib import Path

import yaml


def write(name: str, *documents: object) -> Path:
    """A file in the current directory."""
    path = Path(name)
    path.write_text(yaml.safe_dump_all(documents, sort_keys=False))
    return path


def line_with(name: str, text: str) -> int:
    """The only line that begins like this, from 1; the dash of a list is no part of it."""
    (line,) = (n for n, each in enumerate(Path(name).read_text().splitlines(), 1) if each.lstrip(" -").startswith(text))
    return line
