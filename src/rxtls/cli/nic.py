"""`rxtls nic`, `conform` and `vectors`: NICs of one's own, the contract they are held to, and that for people without
Python. No logic here."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from rxtls.cli import complete, options
from rxtls.cli.terminal import read_settings, results, show
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


def conform(
    nic: Annotated[
        str,
        typer.Argument(
            help="plain or compiled, the built-in ones; or MODULE:CLASS, FILE.py:CLASS, exec:COMMAND.",
            autocompletion=complete.conforming,
        ),
    ],
    profile: Annotated[
        str, typer.Option(help="What the NIC is taken for: a profile, or FILE.toml.", autocompletion=complete.profiles)
    ] = "ideal",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE of the profile.", autocompletion=complete.settings)
    ] = None,
    json: options.Json = None,
) -> None:
    """The contract of a NIC as a suite of cases: which of them it holds, and what it did where it does not.

    Cases that need commands which the profile's NIC has not are left out. Exit status 1 if there is a breach.

    Example: rxtls conform plain
    """
    from rxtls.device.profiles import profile as chosen
    from rxtls.path.engines import ENGINES
    from rxtls.run.nics import nic as made
    from rxtls.study.conform.suite import as_json, rendered
    from rxtls.study.conform.suite import conform as run

    with results(json, ()) as give:
        numbers = chosen(profile, read_settings(settings or []))
        found = run(lambda: nic if nic in ENGINES else made(nic), nic, numbers)
        give(as_json(found), rendered(found))
    raise typer.Exit(int(not found.good))


def vectors(
    out: Annotated[str, typer.Option(help="Directory of the vectors.")],
) -> None:
    """Test vectors of a device for those who have no Python: captures, and as JSON what is told and expected.

    Example: rxtls vectors --out vectors
    """
    from rxtls.study.vectors import write_vectors

    show(f"{len(write_vectors(out))} vectors in {out}\n")
