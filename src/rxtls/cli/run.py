"""The commands about a run that is over, and the one to begin with; app.py lists them. No logic here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rxtls.cli import complete
from rxtls.cli.terminal import show
from rxtls.system.files import apart


def report(
    directory: Annotated[str, typer.Argument(help="A folder that rxtls replay --out wrote.")],
    html: Annotated[str, typer.Argument(help="The HTML file to write.")] = "report.html",
    compare: Annotated[str | None, typer.Option(help="Also show what rxtls compare --json wrote to this file.")] = None,
    sort: Annotated[
        str | None,
        typer.Option(help="Which flows come first: id, bytes, lost, host, ...", autocompletion=complete.sorts),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Flows whose packets are shown, 40 at most.")] = 40,
) -> None:
    """Make the report of a run that was written to a folder.

    With --frames when it was written, each segment is shown; without, each record.

    Example: rxtls report out report.html
    """
    from rxtls.study.ranking import checked
    from rxtls.study.report import read_comparison, write_report
    from rxtls.study.run import Run, as_written

    checked(sort)
    run = Run(directory)
    comparison = None if compare is None else read_comparison(compare)
    apart([html], [*Path(directory).iterdir(), *([compare] if compare else [])])
    with as_written(run.directory):
        write_report(run, html, comparison, sort, top)


def demo(
    directory: Annotated[str, typer.Argument(help="Where to put capture, keys and report.")] = "rxtls-demo",
) -> None:
    """Make a small capture with loss and reordering, replay it, and write its report.

    Needs neither network nor keys. What it leaves in the directory can be replayed again with other options.

    Example: rxtls demo
    """
    from rxtls.run.options import OutputOptions, ReplayOptions
    from rxtls.run.replay import Replay
    from rxtls.simulation.demo import make_demo
    from rxtls.study.outputs import Outputs
    from rxtls.study.table import rendered

    capture, keys = make_demo(directory)
    page = Path(directory) / "report.html"
    with Outputs(OutputOptions(report=str(page))) as outputs:
        summary = outputs.walk(Replay([capture], [keys], ReplayOptions(watch=outputs.watch)))
    show(rendered(summary))
    show(f"\nreplayed {capture} with {keys}\nlook at {page}\n")
