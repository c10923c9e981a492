"""Entry point of `trimtab`: says what to install when the extra is missing, instead of a traceback."""

from __future__ import annotations

import gc
import sys

EXIT_UNREADABLE = 2
EXTRA = frozenset({"jinja2", "markupsafe", "rich", "typer"})


def main() -> None:
    """Run the command line."""
    try:
        from trimtab.cli.app import app
    except ModuleNotFoundError as error:
        if error.name not in EXTRA:
            raise
        print(f"trimtab: {error.name} is not installed; run pip install 'trimtab[cli]'", file=sys.stderr)
        sys.exit(EXIT_UNREADABLE)
    try:
        app()
    finally:
        gc.freeze()  # the process ends: to look through all of a simulated world once more takes a second


if __name__ == "__main__":
    main()
