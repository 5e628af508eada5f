"""`rxtls profile`: which NIC profiles there are, and one as a file to begin from. No logic here."""

from __future__ import annotations

from typing import Annotated

import typer

from rxtls.cli import complete
from rxtls.cli.terminal import read_settings, show

app = typer.Typer(no_args_is_help=True, help="NIC profiles: which there are, and one as a file to begin from.")


@app.command("list")
def listed() -> None:
    """The profiles that come with rxtls: what each takes, and what it can be told.

    Example: rxtls profile list
    """
    from rxtls.device.profiles import PROFILES

    for name, each in PROFILES.items():
        printed = each.printed()
        taken, commands = (", ".join(map(str, printed[key])) for key in ("ciphers", "commands"))  # type: ignore[call-overload]
        show(f"{name:14} {taken or 'nothing':28} {commands or '-'}\n")


@app.command("show")
def shown(
    name: Annotated[str, typer.Argument(help="A profile, or a file of one.", autocompletion=complete.profiles)],
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE, as replay has it.", autocompletion=complete.settings)
    ] = None,
) -> None:
    """A profile as TOML, to begin one's own from: --profile FILE.toml reads it back as it is.

    Example: rxtls profile show connectx-6dx --set poll=16,100us
    """
    from rxtls.device.profiles import as_toml, profile

    show(as_toml(profile(name, read_settings(settings or []))))
