"""Options that several commands take, with the same words and the same completion everywhere."""

from __future__ import annotations

from typing import Annotated

import typer

from rxtls.cli import complete

Keys = Annotated[list[str] | None, typer.Option(help="Key log (SSLKEYLOGFILE). May be given more than once.")]
Profile = Annotated[str, typer.Option(help="NIC profile: connectx-6dx, ideal, none.", autocompletion=complete.profiles)]
Policy = Annotated[
    str, typer.Option(help="Resynchronisation policy: docs/policies.md.", autocompletion=complete.policies)
]
Policies = Annotated[
    list[str] | None,
    typer.Option(help="Only this policy. May be given more than once.", autocompletion=complete.policies),
]
Receiver = Annotated[
    str,
    typer.Option(help="Model what arrives at: server, client, both, or a network.", autocompletion=complete.receivers),
]
Vantage = Annotated[
    str,
    typer.Option(
        help="Where it was captured: auto, client, server, receiver, sender, middle.",
        autocompletion=complete.vantages,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="NAME=VALUE of the profile, e.g. install=8,200us.", autocompletion=complete.settings),
]
Engine = Annotated[
    str,
    typer.Option(help="auto, compiled or plain: the same results, sooner or later.", autocompletion=complete.engines),
]
Interfaces = Annotated[
    str | None, typer.Option(help="TOML file with ports, VLANs, LAGGs and routes of the receiving host.")
]
Json = Annotated[str | None, typer.Option(help="Write the results as JSON to a file, or '-'.")]
Top = Annotated[int, typer.Option(min=1, help="Directions that the table shows.")]
Sort = Annotated[
    str | None,
    typer.Option(
        help="Which come first: id, bytes, records, lost, host (bytes left to it), failed, gap, ...",
        autocompletion=complete.sorts,
    ),
]
