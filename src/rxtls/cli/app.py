"""The commands. No logic here: options in, a run, its results out, and the exit status.

Errors are one line on standard error. Nothing but the JSON goes to standard output when it is asked for there.
"""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import typer

from rxtls.cli import explain, nic, options, profile, resync, run, talk
from rxtls.cli.live import live
from rxtls.cli.terminal import abandon_output, complain, hinted, inputs, show, show_notes
from rxtls.counters import FATES, OURS, UPSTREAM
from rxtls.errors import RxtlsError
from rxtls.run.options import OutputOptions, ReplayOptions
from rxtls.system.ending import ending
from rxtls.version import __version__

MAX_ERRORS = 20  # lines on standard error

app = typer.Typer(
    name="rxtls",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)


def _version_told(wanted: bool) -> None:
    if wanted:
        show(f"rxtls {__version__}\n")
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version_told, help="The version, and nothing else.")
    ] = False,
) -> None:
    """The TLS receive-offload path in user space: what the NIC decrypted, what the host had to do, and why."""


@app.command(cls=options.Told)
@options.takes(chosen=options.Part(ReplayOptions), wanted=options.Part(OutputOptions))
def replay(  # noqa: PLR0913 - each is an option of the command
    captures: Annotated[list[str], typer.Argument(help="pcap or pcapng, also compressed; '-' is standard input.")],
    keys: options.Keys = None,
    *,
    chosen: ReplayOptions,
    wanted: OutputOptions,
    top: options.Top = 40,
    sort: options.Sort = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 if a TLS flow had no keys.")] = False,
    libcrypto: Annotated[
        str | None, typer.Option(help="The libcrypto (a shared library) that the compiled engine is to use.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(help="Processes that share the connections; by default the cores, for large captures.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress and no table.")] = False,
) -> None:
    """Decrypt captures and say, record by record, what the NIC would have decrypted.

    Exit status: 0 all good; 1 a keyed record failed, a keyed stream has a gap, or nothing was decrypted although keys
    were given (with --strict also: a TLS flow had no keys); 2 bad usage, or a capture that cannot be read to its end.

    Example: rxtls replay capture.pcapng --keys keys.log --json result.json
    """
    from rxtls.crypto.libcrypto import use
    from rxtls.run import jobs as several
    from rxtls.run.progress import watched
    from rxtls.run.replay import Replay
    from rxtls.run.summary import exit_status
    from rxtls.study.outputs import Outputs
    from rxtls.study.ranking import checked
    from rxtls.study.table import rendered
    from rxtls.system.files import json_parts

    checked(sort)
    read = inputs(captures, keys, chosen.interfaces, libcrypto)
    outputs = Outputs(wanted, read, sort)
    chosen.watch = outputs.watch
    if libcrypto is not None:
        use(libcrypto)
    with outputs:
        done = several.replay(
            lambda: Replay(captures, keys or [], chosen),
            jobs,
            wanted.streams,
            lambda run: watched(run, quiet or wanted.json == "-"),
            outputs.takers if outputs.any else None,
            wanted.gaps,
            read,
        )
        run, summary = done.run, done.summary
        outputs.close(run, summary)
    for note in (run.note, done.note):
        if note and not quiet:
            complain(note)
    if wanted.json == "-":
        show(json_parts(summary), needed=True)
    if wanted.json != "-" and not quiet:
        show(rendered(summary, chosen.digest, top, sort))
    for error in run.errors[:MAX_ERRORS]:
        complain(str(error))
    if len(run.errors) > MAX_ERRORS:
        complain(f"and {len(run.errors) - MAX_ERRORS} more errors; --json has all of them")
    raise typer.Exit(exit_status(run, summary, strict))


app.command()(live)
app.command()(run.report)
app.command()(run.demo)


@app.command()
def counters() -> None:
    """Every counter with its sentence: fates of frames, bytes and records, upstream's names, and those of --metrics.

    Example: rxtls counters
    """
    parts = [
        "".join(f"{name:{width}} {sentence}\n" for name, sentence in table.items())
        for table, width in ((FATES, 28), (UPSTREAM, 48), (OURS, 24))
    ]
    show("\n".join(parts))


@app.command()
def version(
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Also the engine, and the libcrypto that it uses.")
    ] = False,
    libcrypto: Annotated[str | None, typer.Option(help="Look at this libcrypto instead.")] = None,
) -> None:
    """The version.

    Example: rxtls version --verbose
    """
    show(f"rxtls {__version__}\n")
    if verbose:
        from rxtls.crypto.libcrypto import use
        from rxtls.path.engines import described

        if libcrypto is not None:
            use(libcrypto)
        show(described())


app.command(cls=options.Told)(resync.compare)
app.command(cls=options.Told)(resync.simulate)
app.command()(resync.sweep)
app.command()(explain.explain)
app.command()(talk.follow)
app.command()(talk.http)
app.command(cls=options.Told)(resync.explore)
app.command()(resync.cost)
app.command()(nic.conform)
app.command()(nic.vectors)
app.add_typer(profile.app, name="profile")
app.add_typer(nic.app, name="nic")


def main() -> NoReturn:
    """The console script: one line per error, never a traceback for what a user handed in."""
    with ending():
        _main()


def _main() -> NoReturn:
    show_notes()
    status: object = 0
    try:
        status = app(sys.argv[1:] or ["--help"], prog_name="rxtls", standalone_mode=False)
    except RxtlsError as error:
        complain(str(error))
        sys.exit(2)
    except OSError as failure:  # what typer prints itself, on a disk that is full
        complain(f"standard output: {failure.strerror}")
        abandon_output()
        sys.exit(2)
    except Exception as error:
        hint = hinted(error)
        if hint is None:
            raise
        complain(hint)
        sys.exit(2)
    sys.exit(status if isinstance(status, int) else 0)
