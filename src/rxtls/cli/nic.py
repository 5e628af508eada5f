"""`rxtls nic`: the NICs that packages brought, and the built-in one as a process to speak to. No logic here."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from rxtls.cli import complete
from rxtls.cli.terminal import read_settings, show
from rxtls.errors import UsageError

app = typer.Typer(no_args_is_help=True, help="NICs of one's own: which are there, and the built-in one over a pipe.")


@app.command("list")
def listed() -> None:
    """The NICs that packages which are installed brought, for --nic.

    Example: rxtls nic list
    """
    from rxtls.run.nics import GROUP
    from rxtls.system.plug import brought

    show("".join(f"{name}\n" for name in brought(GROUP)) or "no package that is installed brings a NIC\n")


@app.command("serve")
def served(
    profile: Annotated[
        str, typer.Option(help="NIC profile, also FILE.toml.", autocompletion=complete.profiles)
    ] = "connectx-6dx",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE, as replay has it.", autocompletion=complete.settings)
    ] = None,
) -> None:
    """The built-in NIC on standard input and output, in the language of docs/your-nic.md: an example to compare with.

    Example: rxtls replay capture.pcapng --keys keys.log --nic "exec:rxtls nic serve"
    """
    from rxtls.device.built_in import BuiltIn
    from rxtls.device.framing import FramingError
    from rxtls.device.profiles import profile as chosen
    from rxtls.run.exec_nic import serve

    device = BuiltIn(chosen(profile, read_settings(settings or [])))
    try:
        serve(device, sys.stdin.buffer, sys.stdout.buffer)
    except FramingError as error:
        raise UsageError(f"standard input: {error}") from None
