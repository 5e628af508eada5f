"""The command, as `rxtls` and `python -m rxtls`. Before anything else is imported, signals end it (ending.py)."""

from __future__ import annotations

from typing import NoReturn

from rxtls.ending import ending


def main() -> NoReturn:
    """The console script."""
    with ending():
        from rxtls.cli import main as command

        command()


if __name__ == "__main__":
    main()
