"""Entry point of `trimtab`: says what to install when the extra is missing, instead of a traceback."""

from __future__ import annotations

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
    app()


if __name__ == "__main__":
    main()
