"""What a person may set for a run, and what may be written of it. Values only; the names are the command's."""

from __future__ import annotations

import os
from dataclasses import dataclass

from rxtls.errors import UsageError
from rxtls.option import check, option

CALL_SIZE = 4096  # frames handed to the path at once; results do not depend on it
MOST_CALL = 1 << 20  # some 100 bytes of memory each


@dataclass(slots=True)
class ReplayOptions:
    """What a run depends on besides its captures and keys. Raises UsageError for a value of another type."""

    profile: str = option(
        "connectx-6dx", "NIC profile: connectx-6dx, connectx-7, ideal, none, or FILE.toml.", "profiles"
    )
    policy: str = option(
        "freebsd-table", "Resynchronisation policy: docs/policies.md; or MODULE:CLASS, FILE.py:CLASS.", "policies"
    )
    receiver: str = option("both", "Model what arrives at: server, client, both, or a network.", "receivers")
    vantage: str = option("auto", "Where it was captured: auto, client, server, receiver, sender, middle.", "vantages")
    checksum: str = option("auto", "TCP checksums: auto, verify, ignore.", "checksums")
    resegment: str = option("auto", "Cut aggregated frames: auto, off, or a segment size.", "resegments")
    filter: str | None = option(None, "Only these packets, e.g. 'host 10.0.0.1 and port 443'.")
    digest: bool = option(False, "SHA-256 of each direction's plaintext.")
    assume_received: bool = option(False, "The receiver's NIC has seen, in order, what the capture lacks.")
    order: str = option("time", "Of the frames in a capture: time, or file, as they stand.", "orders")
    settings: dict[str, str] = option({}, "NAME=VALUE of the profile, e.g. install=8,200us.", "settings", flag="--set")
    nic: str | None = option(None, "A NIC of one's own: MODULE:CLASS, FILE.py:CLASS or exec:COMMAND.", "nics")
    engine: str = option("auto", "auto, compiled or plain: the same results, sooner or later.", "engines")
    interfaces: str | None = option(None, "TOML file with ports, VLANs, LAGGs and routes of the receiving host.")
    sysctl: dict[str, str] = option({}, "NAME=0 or 1, e.g. kern.ipc.tls.ifnet.permitted=0.", "sysctls")
    call_size: int = CALL_SIZE
    watch: str = "nothing"  # what `trace` of the batches shows: nothing, events or frames

    def __post_init__(self) -> None:
        name: object = self.interfaces
        if isinstance(name, os.PathLike):
            self.interfaces = os.fspath(name)
        check(self)


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """What is to be written of a run; None where nothing is. Raises UsageError for what goes with something else."""

    out: str | None = option(None, "Write the run into this directory: Parquet tables, JSON.")
    frames: bool = option(False, "With --out: also a row per frame, with fate and verdict.")
    report: str | None = option(None, "Write a report to this HTML file.")
    annotate: str | None = option(None, "Write the same packets to this pcapng, with what was found as comments.")
    embed_keys: bool = option(False, "With --annotate: also the secrets of these sessions.")
    plain: str | None = option(None, "Write the plaintext to this pcapng, as TCP that Wireshark dissects.")
    streams: str | None = option(None, "Write each direction's plaintext into this directory.")
    gaps: str = option("skip", "What those files do where records are missing: skip, zero (fill), stop.", "gaps")
    json: str | None = option(None, "Write the summary as JSON to a file, or '-'.")
    metrics: str | None = option(None, "Write counters in Prometheus' text format to a file.")

    def __post_init__(self) -> None:
        if self.frames and self.out is None:
            raise UsageError("--frames is a table of --out DIR")
        if self.embed_keys and self.annotate is None:
            raise UsageError("--embed-keys is about the capture that --annotate FILE writes")
