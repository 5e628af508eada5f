"""`rxtls follow` and `rxtls http`; app.py lists them. No logic here."""

from __future__ import annotations

from typing import Annotated

import typer

from rxtls.cli import complete, options
from rxtls.cli.terminal import complain, inputs, show, show_bytes
from rxtls.run.options import ReplayOptions
from rxtls.talk.options import FollowOptions, HttpOptions

Capture = Annotated[str, typer.Argument(help="pcap or pcapng, also compressed; '-' is standard input.")]
READ = "checksum order engine"  # options of a run that only reads what was said: no NIC is in it


@options.takes(chosen=options.Part(ReplayOptions, READ, profile="none"), how=options.Part(FollowOptions))
def follow(
    capture: Capture,
    flow: Annotated[
        str | None,
        typer.Argument(
            help="The connection: its id, an ip:port, or a server name. May be left out where there is one.",
            autocompletion=complete.flows,
        ),
    ] = None,
    keys: options.Keys = None,
    *,
    chosen: ReplayOptions,
    how: FollowOptions,
) -> None:
    """What was said in one connection: both sides in order, with times, and holes where the capture lacks something.

    Exit status: 0; 1 where nothing could be read of it; 2 where there is no such flow, or several, or bad usage, or a
    capture that cannot be read to its end.

    Example: rxtls follow capture.pcapng 1 --keys keys.log
    """
    from rxtls.run.replay import Replay
    from rxtls.talk.follow import Conversation

    run = Replay([capture], keys or [], chosen)
    conversation = Conversation(run, flow, how)
    show_bytes(conversation, raw=how.form == "raw")
    for error in run.errors:
        complain(str(error))
    raise typer.Exit(2 if run.source.errors else 0 if conversation.found else 1)


@options.takes(chosen=options.Part(ReplayOptions, READ, profile="none"), wanted=options.Part(HttpOptions))
def http(
    capture: Capture,
    flow: Annotated[
        str | None,
        typer.Argument(
            help="Only this connection: its id, an ip:port, or a server name.", autocompletion=complete.flows
        ),
    ] = None,
    keys: options.Keys = None,
    *,
    chosen: ReplayOptions,
    wanted: HttpOptions,
) -> None:
    """The HTTP in a capture, a line a request: HTTP/1, HTTP/2 and the messages of WebSockets.

    What is cut by a hole is marked, and the rest goes on. Exit status: 0; 1 where no HTTP was found; 2 for bad usage,
    or a capture that cannot be read to its end.

    Example: rxtls http capture.pcapng --keys keys.log --json list.json
    """
    from rxtls.run.replay import Replay
    from rxtls.talk.outputs import HttpOutputs

    run = Replay([capture], keys or [], chosen)
    with HttpOutputs(wanted, run, inputs([capture], keys)) as outputs:
        parts = outputs.walk(flow)
        show(parts, needed=wanted.json == "-")
        for _ in parts:  # who reads no further takes nothing from the files
            pass
        outputs.close()
    for error in run.errors:
        complain(str(error))
    seen = outputs.seen
    if not seen.http:
        complain(f"no HTTP in the {seen.spoke} connections that could be read (rxtls replay says why others were not)")
    raise typer.Exit(2 if run.source.errors else 0 if seen.http else 1)
