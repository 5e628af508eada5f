"""rxtls live: the path on running interfaces of this host. Options in, a run, its results out, and the exit status."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from rxtls.cli import options
from rxtls.cli.terminal import complain, show
from rxtls.run.options import OutputOptions, ReplayOptions

if TYPE_CHECKING:
    from rxtls.capture.live import Live
    from rxtls.path.records import Records
    from rxtls.run.replay import Replay

MAX_ERRORS = 20  # lines on standard error
_MODEL = "profile policy receiver vantage checksum resegment filter digest settings sysctl"
_WRITTEN = "out frames report plain streams gaps json metrics"


@options.takes(chosen=options.Part(ReplayOptions, _MODEL), wanted=options.Part(OutputOptions, _WRITTEN))
def live(  # noqa: PLR0913 - each is an option of the command
    interfaces: Annotated[list[str], typer.Argument(help="Interfaces of this host.")],
    keys: Annotated[
        str | None, typer.Option(help="Key log (SSLKEYLOGFILE), read as it grows; it need not be there yet.")
    ] = None,
    *,
    chosen: ReplayOptions,
    wanted: OutputOptions,
    save: Annotated[str | None, typer.Option(help="Keep all packets, with ticks, in this pcapng.")] = None,
    save_keys: Annotated[bool, typer.Option("--save-keys", help="With --save: also the secrets that came.")] = False,
    ring: Annotated[int, typer.Option(min=2, max=4096, help="MiB of the ring of each interface.")] = 64,
    seconds: Annotated[float | None, typer.Option(min=0, help="End after so long; else at SIGINT or SIGTERM.")] = None,
    user: Annotated[str | None, typer.Option(help="Go on as this user once the interfaces are open.")] = None,
    top: options.Top = 40,
    sort: options.Sort = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress and no table.")] = False,
) -> None:
    """Listen on interfaces: what the NIC would have decrypted of what comes now (Linux).

    It ends at SIGINT or SIGTERM (a second one breaks it off), and then prints, writes and exits as rxtls replay does.
    Packets that the kernel dropped because the ring was full are told: to the path they are gaps of the capture.

    Example: rxtls live lo --seconds 1 --save seen.pcapng
    """
    from rxtls.capture.live import Live
    from rxtls.capture.ring import Ring
    from rxtls.capture.tail import KeyTail
    from rxtls.errors import UsageError
    from rxtls.run.jobs import replay
    from rxtls.run.replay import Replay
    from rxtls.run.summary import exit_status
    from rxtls.study.outputs import Outputs
    from rxtls.study.ranking import checked
    from rxtls.study.table import rendered
    from rxtls.system.ending import asked
    from rxtls.system.files import Output, apart, json_parts
    from rxtls.system.user import go_on_as

    checked(sort)
    if save_keys and save is None:
        raise UsageError("--save-keys is about the capture that --save FILE writes")
    if len(set(interfaces)) < len(interfaces):
        raise UsageError("an interface is listened on once")
    outputs = Outputs(wanted, [keys] if keys else [], sort)
    names = [save, *(getattr(wanted, name) for name in ("out", "report", "plain", "streams", "json", "metrics"))]
    written = [name for name in names if name not in (None, "-")]
    apart(written, [keys] if keys else [])
    chosen.watch = outputs.watch
    with ExitStack() as stack:
        rings = []
        for name in interfaces:
            rings.append(Ring(name, ring))
            stack.callback(rings[-1].close)
        kept = stack.enter_context(Output(save, secret=save_keys)) if save else None
        tail = KeyTail(keys).lines if keys else bytes
        stream = Live(rings, tail, kept.write if kept else len, save_keys)
        run = Replay(["-"], [], chosen, io.BufferedReader(stream, 1 << 16))
        run.keys_given = keys is not None
        stack.enter_context(asked(stream.stop))
        if seconds is not None:
            timer = threading.Timer(seconds, stream.stop)
            timer.daemon = True
            timer.start()
        stack.enter_context(outputs)
        if user is not None:
            go_on_as(user, written, keys)
        done = replay(
            lambda: run,
            streams=wanted.streams,
            watch=lambda run: _watched(run, stream, quiet or wanted.json == "-"),
            takers=outputs.takers if outputs.any else None,
            gaps=wanted.gaps,
        )
        outputs.close(run, done.summary)
    typer.echo(f"rxtls: {stream}", err=True)
    for error in run.errors[:MAX_ERRORS]:
        complain(str(error))
    if wanted.json == "-":
        show(json_parts(done.summary), needed=True)
    elif not quiet:
        show(rendered(done.summary, chosen.digest, top, sort))
    raise typer.Exit(exit_status(run, done.summary, strict=False))


def _watched(run: Replay, stream: Live, quiet: bool) -> Iterator[Records]:
    """The run's records in bulk, with how it stands on standard error when that is a terminal."""
    if quiet or sys.stderr is None or not sys.stderr.isatty():
        yield from run.batches()
        return
    from rich.console import Console

    with Console(stderr=True).status(f"{stream}") as status:
        yield from run.batches(lambda now: status.update(f"{stream}; {len(now.path.flows):,} connections"))
