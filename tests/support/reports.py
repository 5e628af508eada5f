"""Runs in folders for tests of reports, and a capture that is hostile to them."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import replays
import rxtls
from rxtls.crypto.suites import SUITES, Version
from rxtls.simulation.link import Connection, Impairment, Link
from rxtls.simulation.synth import Session, converse
from rxtls.study.run import Run
from rxtls.study.store import RunWriter

# No spaces: a server name's are shown as escapes.
HOSTILE = "</script><script>document.title='owned'</script><img/src=x/onerror=alert(1)>&'\"`${1}"


def kept(folder: Path, captures: str | list[str], keys: Any = (), watch: str = "frames", **options: Any) -> Run:
    run = rxtls.replay(captures, keys, watch=watch, **options)
    writer = RunWriter(folder, run)
    for records in run.batches():
        writer.take(records)
    writer.close(run.summary())
    return rxtls.open(folder)


def hostile(folder: Path, sni: str = HOSTILE) -> tuple[str, str]:
    """A capture whose server name would like to be HTML, under a name that would, too; and its keys."""
    talk = converse(Session(SUITES[0x1301], Version.TLS13, sni=sni), Random(5))
    talk.request([b"GET"], [bytes(9000)] * 8)
    talk.close()
    run = Link(5, to_client=Impairment(loss=0.05)).run(Connection(), talk.client, talk.server)
    (folder / "made.keys").write_text(talk.keylog)
    return replays.pcap(folder, run.frames, "<b onload=alert(2)>.pcap"), str(folder / "made.keys")
