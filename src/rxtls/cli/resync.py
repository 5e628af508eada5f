"""The commands that put resynchronisation under the microscope; app.py lists them. No logic here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from rxtls.cli import complete, options
from rxtls.cli.terminal import complain, inputs, results, show
from rxtls.errors import UsageError
from rxtls.run.options import ReplayOptions
from rxtls.simulation.knobs import NAMES, Knobs


@options.takes(
    chosen=options.Part(ReplayOptions, "profile receiver vantage filter settings nic engine", profile="ideal")
)
def compare(
    captures: Annotated[list[str], typer.Argument(help="pcap or pcapng, also compressed.")],
    keys: options.Keys = None,
    policy: options.Policies = None,
    *,
    chosen: ReplayOptions,
    json: options.Json = None,
) -> None:
    """The same packets through every resynchronisation policy, side by side.

    Exit status as replay's, the worst of all runs; 1 also if nothing was compared, or if two policies brought out
    different plaintext.

    Example: rxtls compare capture.pcapng --keys keys.log
    """
    from rxtls.study.compare import as_json, rendered
    from rxtls.study.compare import compare as run

    if "-" in captures:
        raise UsageError("compare reads its captures several times: standard input is no capture for it")
    with results(json, inputs(captures, keys)) as give:
        done = run(captures, keys or [], chosen, policy or ())
        give(as_json(done), rendered(done))
    for error in done.errors:
        complain(str(error))
    raise typer.Exit(done.status)


@options.takes(
    knobs=options.Part(Knobs),
    chosen=options.Part(
        ReplayOptions,
        "profile policy settings digest nic engine",
        profile="ideal",
        vantage="client",  # where write_simulation taps
    ),
)
def simulate(
    out: Annotated[
        str | None, typer.Option(help="Write a pcapng with its secrets, and beside it the key log (.keys).")
    ] = None,
    *,
    knobs: Knobs,
    chosen: ReplayOptions,
    top: options.Top = 40,
    sort: options.Sort = None,
    json: options.Json = None,
) -> None:
    """Simulated TLS senders through a bad link, and what NIC and host make of it: as replay shows it.

    Real records, from a seed. With --out others' tools read the same traffic. Exit status as replay's.

    Example: rxtls simulate --flows 8 --loss 1 --unit 8 --policy linux-async --out lossy.pcapng
    """
    from pathlib import Path

    from rxtls.run.replay import Replay
    from rxtls.run.summary import exit_status
    from rxtls.simulation.simulate import write_simulation
    from rxtls.study.ranking import checked
    from rxtls.study.table import rendered
    from rxtls.system.files import Output, discard, scratch, write_text, writing

    checked(sort)
    keylog = None if out is None else str(Path(out).with_suffix(".keys"))
    with results(json, (), [each for each in (out, keylog) if each is not None]) as give:
        folder = scratch()
        try:
            name = out or str(folder / "simulated.pcapng")
            with Output(name, secret=True) as output, writing(name):
                _, text, counts = write_simulation(knobs, output.file)
            if keylog is not None:
                write_text(keylog, text, secret=True)
            run = Replay([name], [], chosen)
            for _ in run.batches():
                pass
        finally:
            discard(folder)
        summary = run.summary()
        if out is None:
            summary["captures"] = []  # the file is gone
        summary["simulated"] = {name: getattr(knobs, name) for name in NAMES}
        summary["link"] = dict(sorted(counts.items()))
        link = ", ".join(f"{n:,} {what}" for what, n in sorted(counts.items())) or "nothing happened to any segment"
        give(summary, f"{rendered(summary, chosen.digest, top, sort)}\nthe link: {link}\n")
    raise typer.Exit(exit_status(run, summary, False))


def sweep(
    study: Annotated[
        str,
        typer.Argument(
            help="A study file (TOML), or the name of one that comes with rxtls, e.g. policies.",
            autocompletion=complete.studies,
        ),
    ],
    out: Annotated[str | None, typer.Option(help="Directory of the results; by default out/STUDY.")] = None,
    jobs: Annotated[int | None, typer.Option(help="Processes; by default the cores.")] = None,
    plot: Annotated[bool, typer.Option(help="Draw the curves (needs matplotlib).")] = True,
) -> None:
    """A grid of simulations over knobs, settings and policies: a table, a Parquet file, and the curves.

    What is done is kept: after a break the same command goes on. The same study gives the same results. Exit status 1
    if the study has measured values to be held against, and missed a bound.

    Example: rxtls sweep asplos21-loss
    """
    import os
    from pathlib import Path

    from rxtls.study.curves import draw, rendered
    from rxtls.study.plan import read_study
    from rxtls.study.reference import judge
    from rxtls.study.sweep import PLOT, POINTS, RESULTS, write_results
    from rxtls.study.sweep import sweep as run
    from rxtls.system.files import apart

    plan = read_study(study)
    directory = Path(out) if out else Path("out") / plan.name
    apart([directory / name for name in (POINTS, RESULTS, PLOT)], plan.files)
    with _progress(plan.name) as progress:
        swept = run(plan, directory, jobs or os.cpu_count() or 1, progress)
    verdict = judge(swept)
    show(rendered(swept, verdict))
    if swept.resumed:
        show(f"{swept.resumed} of {len(plan.points)} points were there before\n")
    written = [write_results(swept, directory)]
    if plot and plan.plot:
        written.append(draw(swept, verdict, directory / PLOT))
    show("".join(f"wrote {path}\n" for path in written))
    raise typer.Exit(int(verdict is not None and not verdict.held))


@options.takes(asked=options.Part(ReplayOptions, "profile policy receiver vantage settings"))
def cost(
    captures: Annotated[
        list[str] | None, typer.Argument(help="Captures to predict for; none: the model itself.")
    ] = None,
    keys: options.Keys = None,
    *,
    asked: ReplayOptions,
    calibrate: Annotated[bool, typer.Option("--calibrate", help="Measure crypto and copying on this machine.")] = False,
    costs: Annotated[str | None, typer.Option(help="Costs that --calibrate --json wrote.")] = None,
    paper: Annotated[
        str | None,
        typer.Option(
            help="A CSV of measured shares and throughputs; paper-receiver comes with rxtls.",
            autocompletion=complete.papers,
        ),
    ] = None,
    json: options.Json = None,
) -> None:
    """What receiving costs the host's processor, with receive offload and without: a model, and its predictions.

    Of captures what was seen at the receiver counts, as in replay's first line of totals. Exit status as replay's;
    1 also if no record was opened.

    Example: rxtls cost capture.pcapng --keys keys.log
    """
    from rxtls.study.cost import as_json
    from rxtls.study.cost import calibrate as measure
    from rxtls.study.costs import costs_of, held_against, model_shown, predicted_for

    with results(json, inputs(captures or [], keys, costs, paper)) as give:
        chosen = measure() if calibrate else costs_of(costs)
        text, found, status = model_shown(chosen), as_json(chosen), 0
        if captures:
            predicted = predicted_for(captures, keys or [], asked, chosen)
            text, status = text + predicted.shown(), predicted.status
            found |= {"predicted": predicted.as_json()}
            for error in predicted.errors:
                complain(str(error))
        if paper:
            text += held_against(paper)
        give(found, text)
    raise typer.Exit(status)


def explore(
    policy: options.Policies = None,
    profile: Annotated[
        str, typer.Option(help="NIC profile, also FILE.toml.", autocompletion=complete.profiles)
    ] = "ideal",
    states: Annotated[int, typer.Option(help="Distinct states of device, policy and host for each.")] = 1_000_000,
    scaled: Annotated[bool, typer.Option("--scaled", help="Scale the policies' constants down.")] = False,
    faults: Annotated[bool, typer.Option("--faults", help="Instead, look for each seeded fault.")] = False,
    seed: Annotated[int, typer.Option(help="Of the order in which states are visited.")] = 0,
    jobs: Annotated[int | None, typer.Option(help="Processes; by default the cores.")] = None,
    json: options.Json = None,
) -> None:
    """Device, policy and host through all interleavings of short streams, within bounds: does plaintext stay right?

    Lost, late and repeated segments, late and lost answers, false headers, key updates, new leaves; the code is that of
    the plain engine. Exit status 1 if anything was found (with --faults: if a fault was not).

    Example: rxtls explore --policy linux-async --states 1000
    """
    import os

    from rxtls.study.explore.report import as_json, rendered
    from rxtls.study.explore.runs import all_faults, all_policies

    processes = jobs or os.cpu_count() or 1
    with results(json, ()) as give:
        with _progress("states") as progress:
            if faults:
                found = all_faults(states, seed, processes, progress)
            else:
                found = all_policies(policy or (), states, scaled, seed, processes, progress, profile)
        give(as_json(found), rendered(found))
    raise typer.Exit(int(not found.good))


@contextmanager
def _progress(title: str) -> Iterator[Callable[[int, int], None] | None]:
    """A bar on a terminal, else nothing."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
