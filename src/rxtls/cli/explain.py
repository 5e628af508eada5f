"""`rxtls explain`; app.py lists it. No logic here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from rxtls.cli import complete, options
from rxtls.cli.terminal import complain, show
from rxtls.run.options import ReplayOptions


@options.takes(chosen=options.Part(ReplayOptions, "profile policy settings interfaces engine"))
def explain(
    capture: Annotated[str, typer.Argument(help="A capture, or the folder of a run (replay --out).")],
    flow: Annotated[
        str | None,
        typer.Argument(
            help="The connection: its id, an ip:port, or a server name. None: the ten worst, with the reason for each.",
            autocompletion=complete.flows,
        ),
    ] = None,
    keys: options.Keys = None,
    *,
    chosen: ReplayOptions,
    all: Annotated[bool, typer.Option("--all", help="Every loss of sync, however many.")] = False,  # noqa: A002
) -> None:
    """In plain words: why a flow was or was not offloaded, when it lost sync, to what segment, how it came back.

    Frames are numbered as Wireshark numbers them. Exit status: 0; 2 where there is no such flow, or bad usage, or a
    capture that cannot be read to its end.

    Example: rxtls explain capture.pcapng 1 --keys keys.log
    """
    from rxtls.run.replay import Replay
    from rxtls.study.explain import EPISODES, explained
    from rxtls.study.ranking import rendered
    from rxtls.study.run import Run, as_written
    from rxtls.study.story import of_capture, of_run
    from rxtls.study.table import WIDTH

    damaged, stories = False, []
    if os.path.isdir(capture):
        with as_written(Path(capture)):
            saved = Run(capture)
            summary = saved.summary
            stories = [] if flow is None else of_run(saved, flow)
    else:
        chosen.watch = "events" if flow else "nothing"
        run = Replay([capture], keys or [], chosen)
        if flow is None:
            for _ in run.batches():
                pass
        else:
            stories = of_capture(run, flow)
        summary = run.summary()
        for error in run.errors:
            complain(str(error))
        damaged = bool(run.source.errors)
    if flow is None:
        show(rendered(summary, WIDTH))
    show("\n".join(explained(story, 1 << 62 if all else EPISODES) for story in stories))
    raise typer.Exit(2 if damaged else 0)
