"""The command, as `rxtls` and `python -m rxtls`. Signals end it before anything else is imported (system/ending.py)."""

from __future__ import annotations

from typing import NoReturn

from rxtls.system.ending import ending


def main() -> NoReturn:
    """The console script."""
    with ending():
        from rxtls.cli.app import main as command

        command()


if __name__ == "__main__":
    main()
