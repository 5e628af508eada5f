"""The commands that put resynchronisation under the microscope; cli.py lists them. No logic here."""

from __future__ import annotations

import json as jsons
from typing import Annotated

import typer

from rxtls.errors import UsageError
from rxtls.terminal import complain, read_settings, show, write

Keys = Annotated[list[str] | None, typer.Option(help="Key log (SSLKEYLOGFILE). May be given more than once.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="NAME=VALUE of the profile, e.g. confirm=24."),
]
Engine = Annotated[str, typer.Option(help="auto, compiled or plain: the same results, sooner or later.")]
Json = Annotated[str | None, typer.Option(help="Write the results as JSON to a file, or '-'.")]


def compare(
    captures: Annotated[list[str], typer.Argument(help="pcap or pcapng, also compressed.")],
    keys: Keys = None,
    profile: Annotated[str, typer.Option(help="NIC profile: ideal knows every policy's commands.")] = "ideal",
    policy: Annotated[list[str] | None, typer.Option(help="Only this policy. May be given more than once.")] = None,
    receiver: Annotated[str, typer.Option(help="Model what arrives at: server, client, both, or a network.")] = "both",
    vantage: Annotated[str, typer.Option(help="Where it was captured: auto, receiver, sender, middle.")] = "auto",
    filter: Annotated[str | None, typer.Option(help="Only these packets, e.g. 'port 443'.")] = None,  # noqa: A002
    settings: Settings = None,
    engine: Engine = "auto",
    json: Json = None,
) -> None:
    """The same packets through every resynchronisation policy, side by side.

    Exit status as replay's, the worst of all runs; 1 also if two policies brought out different plaintext.

    Example: rxtls compare capture.pcapng --keys keys.log
    """
    from rxtls.edge.replay import ReplayOptions
    from rxtls.study.compare import as_json, rendered
    from rxtls.study.compare import compare as run

    if "-" in captures:
        raise UsageError("compare reads its captures several times: standard input is no capture for it")
    options = ReplayOptions(
        profile=profile,
        receiver=receiver,
        vantage=vantage,
        filter=filter,
        settings=read_settings(settings or []),
        engine=engine,
    )
    done = run(captures, keys or [], options, policy or ())
    _out(as_json(done), rendered(done), json)
    for error in done.errors:
        complain(str(error))
    raise typer.Exit(done.status)


def _out(results: dict[str, object], table: str, json: str | None) -> None:
    """JSON where it was asked for, the table for people unless that was standard output."""
    text = jsons.dumps(results, indent=2) + "\n"
    if json == "-":
        show(text, needed=True)
        return
    if json is not None:
        write(json, text)
    show(table)
