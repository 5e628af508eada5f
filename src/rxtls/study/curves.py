"""A study's results for the eye: a table as text, and its curves as SVG (matplotlib, when it is installed)."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from rxtls.errors import UsageError
from rxtls.study.reference import Verdict
from rxtls.study.sweep import Swept
from rxtls.study.table import WIDTH
from rxtls.system.files import Output, writing

SHARES = ("entirely", "partially", "not")
COLOURS = {"entirely": "tab:green", "partially": "tab:orange", "not": "tab:red"}
MOST_ROWS = 200


def rendered(swept: Swept, verdict: Verdict | None) -> str:
    """The table, and what came of the reference."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    measured = {(each.x, each.name): each for each in verdict.values} if verdict else {}
    table = Table(title=swept.study.title, title_justify="left", box=None, pad_edge=False)
    heads = [*SHARES, "lost", "regained", "queries", "confirms", "hints", "out of sync"]
    for name in (*swept.study.grid, *heads):
        table.add_column(name, justify="right")
    for point, row in zip(swept.study.points[:MOST_ROWS], swept.rows, strict=False):
        shares = []
        for name in SHARES:
            text = f"{row[name]:.1f}"
            theirs = measured.get((float(point.varied[swept.study.plot["x"]]), name)) if measured else None
            if theirs:
                text += f" ({theirs.theirs:.1f}{'' if theirs.held else ' MISSED'})"
            shares.append(text)
        told = [f"{row[name]:,}" for name in ("lost", "regained", "polls", "confirms", "positions")]
        away = f"{int(row['out_of_sync_bytes']) / 1e6:.1f} MB"
        table.add_row(*(str(value) for value in point.varied.values()), *shares, *told, away)
    with console.capture() as captured:
        console.print(table)
        if len(swept.rows) > MOST_ROWS:
            console.print(f"... and {len(swept.rows) - MOST_ROWS} more points; the Parquet file has all")
        if verdict:
            console.print(
                f"in parentheses: measured. {len(verdict.misses)} of {len(verdict.values)} values missed their bound; "
                f"root mean square of the large shares {verdict.rms:.2f} points (bound {verdict.rms_bound:g}): "
                + ("all bounds held" if verdict.held else "NOT all bounds held")
            )
    return captured.get()


def draw(swept: Swept, verdict: Verdict | None, path: Path) -> Path:
    """The curves of the three shares over the plot's x, one set for each value of its `by`; dots are the reference."""
    try:
        import matplotlib as mpl
    except ImportError:
        raise UsageError("plots are drawn by matplotlib, which is not installed: pip install 'rxtls[study]'") from None
    mpl.use("agg")
    mpl.rcParams["svg.hashsalt"] = "rxtls"  # the same results, the same file
    mpl.rcParams["svg.fonttype"] = "none"
    from matplotlib.figure import Figure

    study = swept.study
    x, by = study.plot["x"], study.plot.get("by")
    groups = list(dict.fromkeys(point.varied[by] for point in study.points)) if by else [None]
    figure = Figure(figsize=(5.5 * min(3, len(groups)), 3.8 * -(-len(groups) // 3)), layout="constrained")
    axes = figure.subplots(-(-len(groups) // 3), min(3, len(groups)), squeeze=False, sharey=True)
    for axis, group in zip(axes.flat, groups, strict=False):
        pairs = list(zip(study.points, swept.rows, strict=True))
        chosen = [(p.varied[x], row) for p, row in pairs if by is None or p.varied[by] == group]
        for name in SHARES:
            axis.plot([at for at, _ in chosen], [row[name] for _, row in chosen], color=COLOURS[name], label=name)
            dots = [each for each in verdict.values if each.name == name] if verdict else []
            if dots:
                axis.plot([d.x for d in dots], [d.theirs for d in dots], "o", color=COLOURS[name], mfc="none")
        axis.set(xlabel=f"{x}, percent of units" if x in ("loss", "reorder") else x, ylim=(0, 100))
        axis.set_title(study.title if by is None else f"{by} {group}", fontsize=9)
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("percent of records")
    axes[0][0].legend(title="decrypted by the NIC", fontsize=8, title_fontsize=8)
    with Output(path) as output, writing(path):
        figure.savefig(output.file, format="svg", metadata={"Date": None})
    return path
