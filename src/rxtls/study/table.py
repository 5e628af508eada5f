"""A run for a person's eyes: a table per flow, totals, and what to look at."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from rxtls.run.summary import totals
from rxtls.study.coverage import covered, left_out, twice
from rxtls.study.ranking import Row, ordered
from rxtls.study.verdict import many
from rxtls.study.where import where

WIDTH = 200  # where no terminal says how wide it is
MAX_ROWS = 40  # directions shown where nobody says how many (--top); the JSON has them all
NARROW = 150  # columns of a terminal, below which a line per flow with everything in it would be folded to shreds
CLASSES = ("decrypted", "mixed", "encrypted", "failed", "unjudged", "unknown", "library")

# The classes as columns are headed.
_SHORT = ("decr.", "mixed", "encr.", "failed")
_LONG = ("decrypted", "mixed", "encrypted", "failed", "unjd.", "unkn.", "libr.")
_WIDE_ONLY = frozenset({"seen at", "tls", "suite", "failed", "polls", "conf.", "reg."})

# What is not said by its own name, in the order in which a reader meets it.
_LEGEND = {
    "ifnet": "the NIC decrypts",
    "sw": "the host decrypts",
    "decr.": "records decrypted in full by the NIC",
    "mixed": "in part by the NIC, then by the host",
    "encr.": "encrypted, opened by the host",
    "unjd.": "unjudged, behind a gap of the capture",
    "unkn.": "unknown, not all there",
    "libr.": "read by the TLS library, as handshakes are",
    "conf.": "places confirmed to the NIC",
    "reg.": "times that sync was regained",
}


def rendered(summary: dict[str, Any], digest: bool = False, top: int | None = None, sort: str | None = None) -> str:
    """The first `top` directions in the order `sort` (ranking.py), the totals by vantage, a legend, and notes: text as
    standard output takes it, with colours if a terminal."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    with console.capture() as captured:
        _show(console, summary, digest, MAX_ROWS if top is None else top, sort)
    return captured.get()


def _show(console: Console, summary: dict[str, Any], digest: bool, top: int, sort: str | None) -> None:
    rows = ordered(summary, sort)
    if not summary["flows"]:
        for line in _without_flows(summary):
            console.print(Text(line))
        return
    narrow = console.width < NARROW
    tables = [_flows(rows[:top], narrow), _totals(summary, narrow)]
    console.print(tables[0])
    if len(rows) > top:
        more = f"... and {many(len(rows) - top, 'more direction')}; --json has all of them"
        console.print(f"{more} (--top N shows N, --sort lost, or bytes, puts others first)")
    if digest:
        for flow, receiver, received in rows[:top]:
            if received["app_bytes"]:
                console.print(Text(f"sha256 {received['sha256']}  flow {flow['id']} to {receiver}"))
    console.print(tables[1])
    console.print(
        _legend(tables, {row.received["offload"] for row in rows[:top]}), style="dim", width=80 if narrow else None
    )
    for note in (*notes(summary), *twice(summary), *left_out(summary), *covered(summary)):
        console.print(Text(note))


def _without_flows(summary: dict[str, Any]) -> list[str]:
    """Why there is no connection; nothing where no capture could be read, which has been said."""
    if summary.get("errors") and not summary.get("frames"):
        return []
    return ["no TCP connection was found", *(left_out(summary) if "fates" in summary else [])]


def _legend(tables: list[Table], modes: set[str | None]) -> str:
    """The abbreviations that are shown: heads of columns and of rows, and modes."""
    shown = {str(column.header) for table in tables for column in table.columns} | modes
    shown |= {str(cell) for table in tables for cell in table.columns[0].cells}
    return "; ".join(f"{name}: {text}" for name, text in _LEGEND.items() if name in shown)


def notes(summary: dict[str, Any]) -> list[str]:
    """What a person should know besides the numbers, a line each."""
    lines: list[str] = []
    reasons: Counter[tuple[str, str]] = Counter()
    for flow in summary["flows"]:
        for received in flow["receive"].values():
            if received is not None and received["why"]["code"] not in ("offloaded", "no_data"):
                reasons[received["why"]["code"], received["why"]["text"]] += 1
    lines += [f"not offloaded ({many(n, 'direction')}): {text} [{code}]" for (code, text), n in reasons.most_common(8)]
    lines += _key_notes(summary["keys"])
    resegmented = sum(flow["resegmented"] for flow in summary["flows"])
    if resegmented:
        was = "was" if resegmented == 1 else "were"
        lines.append(
            f"{many(resegmented, 'aggregated frame')} (GRO or TSO) {was} cut into segments again (--resegment off: not)"
        )
    lines += where(summary)
    lines += _order_notes(summary)
    lines += _gap_notes(summary)
    lines += _interface_notes(summary)
    if n := summary["fates"].get("frame.segment_cut"):
        was = "was" if n == 1 else "were"
        lines.append(f"{many(n, 'frame')} {was} cut by the snap length; records in them cannot be whole")
    wrong = [flow["wrong_checksums"] for flow in summary["flows"] if flow.get("wrong_checksums")]
    if wrong:
        frames = f"{many(sum(wrong), 'frame')} of {many(len(wrong), 'connection')}"
        lines.append(
            f"{frames} were read in spite of wrong checksums: none "
            "of their host is right, or its NIC fills them in (--checksum verify: leave them out)"
        )
    if summary["limits_met"]["keys_wait"]:
        lines.append("the bound on bytes waiting for keys was met (--set keys_wait=BYTES)")
    if met := summary["limits_met"].get("hold_run"):  # a run of schema 1 has none
        lines.append(f"{many(met, 'direction')} let go of what was held, as all held too much (--set hold_run=BYTES)")
    if summary["balance"]:
        lines.append(f"balance {summary['balance']}: something was lost or counted twice; please report this")
    return lines


def _interface_notes(summary: dict[str, Any]) -> list[str]:
    """Where packets came by that --interfaces does not know."""
    lines = []
    for leaf in summary.get("unknown_interfaces", []):
        each = summary["interfaces"][leaf & 0xFFFF_FFFF]
        name = f" ({each['name']})" if each["name"] else ""
        device = f", ifindex {leaf >> 32}" if leaf >> 32 else ""
        lines.append(
            f"packets came by interface {leaf} ({each['file']}, id {each['id']}{name}{device}), which is no port of "
            "--interfaces: their interface is unknown, and no receive tag is there"
        )
    ports = {each.get("port") for each in summary["interfaces"]}
    if lines and ports == {None}:
        lines.append("no interface of these captures is a port of --interfaces: `capture` in that file says which is")
    return lines


def _key_notes(keys: dict[str, Any]) -> list[str]:
    """Whether there were secrets at all, and which lines of the key logs were passed over."""
    lines = []
    if not keys.get("given", keys["sessions"]):
        lines.append("no secrets were given: nothing can be decrypted (see --keys)")
    elif not keys["sessions"]:
        lines.append(
            "what was given as keys holds no secret: nothing can be decrypted (standard error says what it is)"
        )
    skipped = keys.get("skipped_labels", {})
    if skipped:
        named = ", ".join(f"{label} ({n})" for label, n in list(skipped.items())[:8])
        lines.append(f"key log lines with labels that are not known were passed over: {named}")
    return lines


def _order_notes(summary: dict[str, Any]) -> list[str]:
    """Where frames were not in order of time."""
    order = summary["order"]
    lines = [
        f"{each['file']}: {many(each['late_frames'], 'frame')} stood behind later ones, by "
        f"{each['latest_seconds']:.6f} s at most; all was read in order of time (--order file: not)"
        for each in order["sorted"]
    ]
    lines += [
        f"{each['file']}: its clock is {each['ahead_seconds']:.6f} s ahead of another one of the same packets, "
        "which was taken off (--order file: not)"
        for each in order["shifted"]
    ]
    if order["steps_back"]:
        lines.append(
            f"time goes back {many(order['steps_back'], 'time')}, by {order['largest_step_seconds']:.6f} s at most, "
            "among frames that were read as they stand"
        )
    return lines


def _gap_notes(summary: dict[str, Any]) -> list[str]:
    """What the capture lacks, and what became of it."""
    gaps = [
        received["gaps"]
        for flow in summary["flows"]
        for received in flow["receive"].values()
        if received is not None and received["gaps"]["count"]
    ]
    if not gaps:
        return []
    sums = {name: sum(each[name] for each in gaps) for name in gaps[0] if isinstance(gaps[0][name], int)}
    return [
        f"the capture lacks {many(sums['missing_bytes'], 'byte')} in {many(sums['count'], 'place')} "
        f"({many(len(gaps), 'direction')}). Records lost: {sums['lost_records']:,}; read behind them: "
        f"{sums['recovered_records']:,} ({many(sums['recovered_bytes'], 'byte')})"
    ]


def _flows(rows: list[Row], narrow: bool) -> Table:
    table = Table(title="what arrived at each host", title_justify="left", box=None, pad_edge=False)
    table.add_column("flow", justify="right")
    for name in ("from > to", "seen at", "tls", "suite", "offload"):
        if not narrow or name not in _WIDE_ONLY:
            table.add_column(name, overflow="fold", no_wrap=name in ("from > to", "tls"))
    for name in ("app bytes", "decr.", "mixed", "encr.", "failed", "lost", "polls", "conf.", "reg."):
        if not narrow or name not in _WIDE_ONLY:
            table.add_column(name, justify="right", no_wrap=True)
    table.add_column("end")
    for row in rows:
        flow, _, received = row
        records, resync = received["records"], received["resync"]
        whole = {True: "", False: ", incomplete", None: ""}[received["complete"]]
        columns = {
            "seen at": received["vantage"],
            "tls": flow["tls"] or "-",
            "suite": escape(flow["suite"] or "-"),
            "offload": received["offload"] or received["why"]["code"],
            "app bytes": f"{received['app_bytes']:,}",
            **{name: str(records[each]) for name, each in zip(_SHORT[:4], CLASSES, strict=False)},
            "lost": str(resync["lost"]),
            "polls": str(resync["polls"]),
            "conf.": str(resync["confirmed"]),
            "reg.": str(resync["regained"]),
            "end": f"{flow['end']}{whole}",
        }
        table.add_row(
            str(flow["id"]),
            escape(("\n> " if narrow else " > ").join(row.names)),
            *(text for name, text in columns.items() if not narrow or name not in _WIDE_ONLY),
        )
    return table


def _totals(summary: dict[str, Any], narrow: bool) -> Table:
    """A line for each place of capture; on a narrow terminal a column."""
    lines = []
    for title, receiver_vantage in (("the receiver", True), ("elsewhere", False)):
        sums = totals(summary, receiver_vantage)
        lines.append(
            (
                title,
                str(sums["directions"]),
                f"{sums['app_bytes']:,}",
                *(_share(sums, name) for name in CLASSES),
                f"{sums['bytes.recrypted']:,}",
                *(str(sums[f"resync.{name}"]) for name in ("lost", "polls", "confirmed", "regained")),
            )
        )
    names = ("directions", "app bytes", *_LONG, "recrypted bytes", "lost", "polls", "conf.", "reg.")
    table = Table(title="\ntotals", title_justify="left", box=None, pad_edge=False)
    table.add_column("seen at")
    if narrow:
        for line in lines:
            table.add_column(line[0], justify="right")
        for name, *figures in zip(names, *(line[1:] for line in lines), strict=True):
            table.add_row(name, *figures)
        return table
    for name in names:
        table.add_column(name, justify="right")
    for line in lines:
        table.add_row(*line)
    return table


def _share(sums: Counter[str], name: str) -> str:
    """Records of a class, and their share of those that receive offload concerns."""
    n = sums[f"records.{name}"]
    whole = sum(sums[f"records.{each}"] for each in CLASSES[:6])
    return f"{n} ({100 * n / whole:.1f} %)" if whole and n and name != "library" else str(n)
