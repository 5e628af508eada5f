"""Draws the state machines into docs/states.md, from the tables that the code runs on.

python tools/states.py            writes the document
python tools/states.py --check    exit status 1 if it is not what it would write (tests/test_states.py)
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from rxtls.device.tracker import TRANSITIONS, TrackerEvent
from rxtls.offload.policies.freebsd_table import RESYNC, ResyncEvent
from rxtls.offload.receive_tag import LIFE, LifeEvent

DOCUMENT = Path(__file__).parents[1] / "docs" / "states.md"
HEAD = """# State machines

Drawn by `tools/states.py` from the tables that the code runs on; a test holds that this page is what it would draw. An
event that has no entry in a state's row cannot happen there, and tests try every state with every event.
"""
MACHINES: dict[str, tuple[str, Mapping[Any, Mapping[Any, Any]], type[Enum]]] = {
    "The receive tag": (
        "`offload/receive_tag.py`: from allocation to release. Reports and answers count in READY alone.",
        LIFE,
        LifeEvent,
    ),
    "The record tracker": (
        "`device/tracker.py`: the device's (tracker, auth), with the hardware's numbers. Only TRACKING with "
        "NO_OFFLOAD is answered by the driver.",
        TRANSITIONS,
        TrackerEvent,
    ),
    "Resynchronisation": (
        "`offload/policies/freebsd_table.py`: the driver of D32356, between the host's reports and the device's "
        "answers. RECORD out of IDLE or OPEN posts the query; HIT posts the confirm.",
        RESYNC,
        ResyncEvent,
    ),
}


def drawn() -> str:
    """The whole document."""
    parts = [HEAD]
    for title, (words, table, events) in MACHINES.items():
        parts.append(f"\n## {title}\n\n{words}\n\n{_table(table, events)}\n```mermaid\n{_diagram(table)}```\n")
    return "".join(parts)


def _table(table: Mapping[Any, Mapping[Any, Any]], events: type[Enum]) -> str:
    columns = list(events)
    lines = ["| state | " + " | ".join(event.name for event in columns) + " |", "| --- |" + " --- |" * len(columns)]
    for state, row in table.items():
        cells = [_name(row[event]) if event in row else "" for event in columns]
        lines.append(f"| {_name(state)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _diagram(table: Mapping[Any, Mapping[Any, Any]]) -> str:
    lines = ["stateDiagram-v2"]
    for state, row in table.items():
        targets: dict[Any, list[str]] = {}
        for event, target in row.items():
            targets.setdefault(target, []).append(event.name)
        lines += [f"    {_node(state)} --> {_node(target)}: {', '.join(names)}" for target, names in targets.items()]
    return "\n".join(lines) + "\n"


def _name(state: Any) -> str:
    return ", ".join(part.name for part in state) if isinstance(state, tuple) else state.name


def _node(state: Any) -> str:
    return _name(state).replace(", ", "_")


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(DOCUMENT.read_text() != drawn())
    DOCUMENT.write_text(drawn())
