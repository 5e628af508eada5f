"""Which directions come first: the orders that `--sort` knows, and the ten worst with a reason for each.

Worst is what left the host the most to do: bytes of records that the NIC did not decrypt, or that nobody could.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rxtls.errors import UsageError
from rxtls.study.verdict import many, size

WORST = 10


class Row(NamedTuple):
    """One direction of the JSON with its flow."""

    flow: dict[str, Any]
    receiver: str
    received: dict[str, Any]

    @property
    def names(self) -> tuple[str, str]:
        """The sender's ip:port, and the receiver's."""
        return self.flow["client" if self.receiver == "server" else "server"], self.flow[self.receiver]


def rows(summary: dict[str, Any]) -> list[Row]:
    """The directions in which something came, in order of their flows' first frames."""
    return [
        Row(flow, receiver, received)
        for flow in summary["flows"]
        for receiver, received in flow["receive"].items()
        if received is not None and (received["app_bytes"] or _why(received)["code"] != "no_data")
    ]


def _why(received: dict[str, Any]) -> dict[str, str]:
    return received["why"] or {"code": "offloaded", "text": ""}


def _host_bytes(received: dict[str, Any]) -> int:
    return sum(received["bytes"][name] for name in ("mixed", "encrypted", "failed", "unjudged"))


def _records(name: str) -> Callable[[Row], int]:
    return lambda row: int(row.received["records"][name])


def _resync(name: str) -> Callable[[Row], int]:
    return lambda row: int(row.received["resync"][name])


# The largest first; "id" is the order of the flows.
SORTS: dict[str, Callable[[Row], float]] = {
    "id": lambda row: -row.flow["id"],
    "bytes": lambda row: row.received["app_bytes"],
    "records": lambda row: sum(row.received["records"].values()),
    "decrypted": _records("decrypted"),
    "mixed": _records("mixed"),
    "encrypted": _records("encrypted"),
    "failed": _records("failed"),
    "lost": _resync("lost"),
    "polls": _resync("polls"),
    "host": lambda row: _host_bytes(row.received),
    "gap": lambda row: row.received["gaps"]["missing_bytes"],
}


def checked(name: str | None) -> None:
    """UsageError where there is no order of this name."""
    if name is not None and name not in SORTS:
        raise UsageError(f"no order {name!r}; there are {', '.join(SORTS)}")


def ordered(summary: dict[str, Any], name: str | None) -> list[Row]:
    """The directions in an order, by flow where none is named; equal ones stay as their flows are."""
    checked(name)
    return sorted(rows(summary), key=SORTS[name or "id"], reverse=True)


def worst(summary: dict[str, Any], most: int = WORST) -> list[tuple[Row, str]]:
    """The directions that left the host most to do, or could not be read, each with why."""
    found = [(row, reason) for row in rows(summary) if (reason := _reason(row.received))]
    found.sort(key=lambda pair: (pair[0].received["offload"] is not None, -_host_bytes(pair[0].received)))
    unread = [pair for pair in found if pair[0].received["offload"] is None]
    read = [pair for pair in found if pair[0].received["offload"] is not None]
    # What could not be read has no bytes to rank by; it takes half of the places at most while others want them.
    return [*read[: max(most - len(unread), most // 2)], *unread][:most]


def _reason(received: dict[str, Any]) -> str | None:
    """Why not every record was decrypted by the NIC; None where all were."""
    why, resync, left = _why(received), received["resync"], _host_bytes(received)
    parts = []
    if why["code"] != "offloaded":
        parts.append(f"{why['text']} [{why['code']}]")
    if received["records"]["failed"]:
        parts.append(f"{many(received['records']['failed'], 'record')} did not authenticate")
    if resync["lost"]:
        milliseconds = resync["out_of_sync_seconds"] * 1e3
        parts.append(
            f"lost sync {many(resync['lost'], 'time')}, regained {resync['regained']:,}: "
            f"{milliseconds:,.1f} ms and {size(resync['out_of_sync_bytes'])} out of sync"
        )
    if received["gaps"]["count"]:
        parts.append(f"the capture lacks {many(received['gaps']['missing_bytes'], 'byte')}")
    if not parts and left:
        n = sum(received["records"][name] for name in ("mixed", "encrypted", "unjudged"))
        parts.append(
            f"no loss of sync: segments of {many(n, 'record')} came late, again, or before the NIC had the keys"
        )
    return "; ".join(parts) or None


def rendered(summary: dict[str, Any], width: int) -> str:
    """The worst as text, in so many columns, and how to ask on."""
    console = Console(highlight=False, width=None)
    if not console.is_terminal:
        console.width = width
    shown = worst(summary)
    with console.capture() as captured:
        if not summary["flows"]:
            console.print("no TCP connection was found")
        elif not shown:
            console.print(
                f"Nothing to explain: the NIC decrypted every record of {many(len(rows(summary)), 'direction')}."
            )
        else:
            table = Table(title="worst first", title_justify="left", box=None, pad_edge=False)
            table.add_column("flow", justify="right")
            table.add_column("from > to", no_wrap=True)
            table.add_column("left to the host", justify="right", no_wrap=True)
            table.add_column("why", overflow="fold")
            for row, reason in shown:
                octets = "-" if row.received["offload"] is None else size(_host_bytes(row.received))
                table.add_row(str(row.flow["id"]), escape("\n> ".join(row.names)), octets, escape(reason))
            console.print(table)
            console.print(f"\nrxtls explain CAPTURE {shown[0][0].flow['id']} tells of one of them, frame by frame")
    return captured.get()
