"""A run for a person's eyes: a table per flow, totals, and what to look at."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from rxtls.edge.summary import totals

WIDTH = 200  # where no terminal says how wide it is
MAX_ROWS = 40  # flows shown; the JSON has them all
CLASSES = ("decrypted", "mixed", "encrypted", "failed", "unjudged", "unknown", "library")


def rendered(summary: dict[str, Any], digest: bool = False) -> str:
    """The flows, the totals by vantage, and notes: text as standard output takes it, with colours if a terminal."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    with console.capture() as captured:
        _show(console, summary, digest)
    return captured.get()


def _show(console: Console, summary: dict[str, Any], digest: bool) -> None:
    rows = [
        (flow, receiver, received)
        for flow in summary["flows"]
        for receiver, received in flow["receive"].items()
        if received is not None and (received["app_bytes"] or received["why"]["code"] != "no_data")
    ]
    if not summary["flows"]:
        console.print("no TCP connection was found")
        return
    console.print(_flows(rows[:MAX_ROWS]))
    if len(rows) > MAX_ROWS:
        console.print(f"... and {len(rows) - MAX_ROWS} more directions; --json has all of them")
    if digest:
        for flow, receiver, received in rows[:MAX_ROWS]:
            if received["app_bytes"]:
                console.print(Text(f"sha256 {received['sha256']}  flow {flow['id']} to {receiver}"))
    console.print(_totals(summary))
    for note in notes(summary):
        console.print(Text(note))


def notes(summary: dict[str, Any]) -> list[str]:
    """What a person should know besides the numbers, a line each."""
    lines: list[str] = []
    reasons: Counter[tuple[str, str]] = Counter()
    for flow in summary["flows"]:
        for received in flow["receive"].values():
            if received is not None and received["why"]["code"] not in ("offloaded", "no_data"):
                reasons[received["why"]["code"], received["why"]["text"]] += 1
    lines += [f"not offloaded ({n} directions): {text} [{code}]" for (code, text), n in reasons.most_common(8)]
    if not summary["keys"]["sessions"]:
        lines.append("no secrets were given: nothing can be decrypted (see --keys)")
    resegmented = sum(flow["resegmented"] for flow in summary["flows"])
    if resegmented:
        lines.append(
            f"{resegmented} aggregated frames (GRO or TSO) were cut into segments again (--resegment off: not)"
        )
    lines += _gap_notes(summary)
    for name, sentence in (
        ("frame.bad_checksum", "frames had a wrong TCP checksum and were left out (--checksum ignore: take them)"),
        ("frame.segment_cut", "frames were cut by the snap length; records in them cannot be whole"),
        ("frame.mirrored", "frames were second sights of the same packet"),
    ):
        if summary["fates"].get(name):
            lines.append(f"{summary['fates'][name]} {sentence}")
    if summary["limits_met"]["keys_wait"]:
        lines.append("the bound on bytes waiting for keys was met (--set keys_wait=BYTES)")
    if summary["balance"]:
        lines.append(f"balance {summary['balance']}: something was lost or counted twice; please report this")
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
        f"the capture lacks {sums['missing_bytes']:,} bytes in {sums['count']:,} places ({len(gaps)} directions): "
        f"{sums['lost_records']:,} records are lost, {sums['recovered_records']:,} behind them were read "
        f"({sums['recovered_bytes']:,} bytes)"
    ]


def _flows(rows: list[tuple[dict[str, Any], str, dict[str, Any]]]) -> Table:
    table = Table(title="what arrived at each host", title_justify="left", box=None, pad_edge=False)
    table.add_column("flow", justify="right")
    for name in ("from > to", "seen at", "tls", "suite", "offload"):
        table.add_column(name, overflow="fold", no_wrap=name in ("from > to", "tls"))
    for name in ("app bytes", "decr.", "mixed", "encr.", "failed", "lost", "polls", "conf.", "reg."):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("end")
    for flow, receiver, received in rows:
        sender = "client" if receiver == "server" else "server"
        records, resync = received["records"], received["resync"]
        whole = {True: "", False: ", incomplete", None: ""}[received["complete"]]
        table.add_row(
            str(flow["id"]),
            escape(f"{flow[sender]} > {flow[receiver]}"),
            received["vantage"],
            flow["tls"] or "-",
            escape(flow["suite"] or "-"),
            received["offload"] or received["why"]["code"],
            f"{received['app_bytes']:,}",
            *(str(records[name]) for name in CLASSES[:4]),
            *(str(resync[name]) for name in ("lost", "polls", "confirmed", "regained")),
            f"{flow['end']}{whole}",
        )
    return table


def _totals(summary: dict[str, Any]) -> Table:
    table = Table(title="\ntotals", title_justify="left", box=None, pad_edge=False)
    table.add_column("seen at")
    shown = ("decrypted", "mixed", "encrypted", "failed", "unjd.", "unkn.", "libr.")
    for name in ("directions", "app bytes", *shown, "recrypted bytes", "lost", "polls", "conf.", "reg."):
        table.add_column(name, justify="right")
    for title, receiver_vantage in (("the receiver", True), ("elsewhere", False)):
        sums = totals(summary, receiver_vantage)
        table.add_row(
            title,
            str(sums["directions"]),
            f"{sums['app_bytes']:,}",
            *(_share(sums, name) for name in CLASSES),
            f"{sums['bytes.recrypted']:,}",
            *(str(sums[f"resync.{name}"]) for name in ("lost", "polls", "confirmed", "regained")),
        )
    return table


def _share(sums: Counter[str], name: str) -> str:
    """Records of a class, and their share of those that receive offload concerns."""
    n = sums[f"records.{name}"]
    whole = sum(sums[f"records.{each}"] for each in CLASSES[:6])
    return f"{n} ({100 * n / whole:.1f} %)" if whole and n and name != "library" else str(n)
