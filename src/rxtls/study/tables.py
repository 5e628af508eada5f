"""The tables of a run as Parquet, version 1: a contract, as the JSON is (docs/run.md).

Within a version columns may be added, and none is changed or removed. Numbers that people subtract are signed and 64
bits wide, whatever their range: libraries differ in what they make of others.
"""

from __future__ import annotations

from typing import NamedTuple

VERSION = 1

# Where the version stands in the metadata of each file.
VERSION_KEY = b"rxtls.tables"


class Column(NamedTuple):
    """`type` is an Arrow type by name; `text` is a string from a small set, stored as a dictionary; `null`: may be.
    Runs whose JSON is of a schema before `since` lack it."""

    type: str
    unit: str
    meaning: str
    null: bool = False
    since: int = 1


_FLOW = Column("int64", "", "The connection: `id` of a flow in the JSON.")
_RECEIVER = Column("text", "", "`server` or `client`: the host at which it arrived.")
_CAPTURE = Column("int64", "", "The capture: its place in the JSON's `captures`, from 0.")
_FRAME = Column("int64", "", "The frame in that capture, as Wireshark numbers it, from 1.")
_TIME = Column("timestamp", "UTC, ns", "Capture time of the frame.")
_SEQ = "TCP sequence number"

RECORDS: dict[str, Column] = {
    "flow": _FLOW,
    "receiver": _RECEIVER,
    "number": Column("uint64", "", "The record number under the key in force.", null=True),
    "type": Column("uint8", "", "Content type, in TLS 1.3 the inner one; 0 where nobody opened the record."),
    "class": Column("text", "", "`decrypted`, `mixed`, `encrypted`, `failed`, `unjudged`, `unknown` or `library`."),
    "by": Column("text", "", "Who decrypted it: `device`, `recrypt`, `host`, `library` or `nobody`."),
    "composition": Column("text", "", "Which stretches the NIC had decrypted: `D`, `E`, `DE`, `EDE` ..., or `?`."),
    "tcp_seq": Column("int64", "", f"{_SEQ} of the first byte of the record header, from 0 to 2^32 - 1."),
    "offset": Column("int64", "bytes", "How far that byte is from the direction's first record; does not wrap."),
    "wire_length": Column("int64", "bytes", "Header, payload and trailer."),
    "length": Column("int64", "bytes", "The plaintext, without padding and content type."),
    "recrypted": Column("int64", "bytes", "What the NIC had decrypted and the host turned back."),
    "early_data": Column("bool", "", "It is 0-RTT data."),
    "capture": _CAPTURE,
    "frame": Column("int64", "", "The frame that completed it, as Wireshark numbers it, from 1."),
    "time": _TIME,
}

RESYNC: dict[str, Column] = {
    "flow": _FLOW,
    "receiver": _RECEIVER,
    "event": Column("text", "", "What happened; see below."),
    "capture": _CAPTURE,
    "frame": _FRAME,
    "time": _TIME,
    "tcp_seq": Column("int64", "", f"{_SEQ} that it is about, from 0 to 2^32 - 1.", null=True),
    "number": Column("uint64", "", "The record number that was told.", null=True),
    "epoch": Column("int64", "", "The receive tag: which one of this direction, from 1."),
    "from": Column(
        "text",
        "",
        "Of resets, also failed ones: the interface before, as in the JSON's `path_changes`,",
        null=True,
        since=2,
    ),
    "to": Column("text", "", "the one that packets come by now,", null=True, since=2),
    "cause": Column("text", "", "`moved`, `route` or `detached`,", null=True, since=2),
    "result": Column("text", "", "and `done`, or why there could be no receive tag.", null=True, since=2),
}

FRAMES: dict[str, Column] = {
    "capture": _CAPTURE,
    "frame": _FRAME,
    "time": _TIME,
    "fate": Column("text", "", "What became of the frame: a fate that begins with `frame.`."),
    "flow": Column("int64", "", "The connection, where the frame went into a receive flow.", null=True),
    "receiver": Column("text", "", "`server` or `client`, likewise.", null=True),
    "interface": Column(
        "int64",
        "",
        "Where it arrived: a place in the JSON's `interfaces`, the first of the same interface, plus 2^32 times "
        "Linux's ifindex.",
        null=True,
    ),
    "tcp_seq": Column("int64", "", f"{_SEQ} of its first byte, from 0 to 2^32 - 1.", null=True),
    "flags": Column("int64", "", "TCP flags: FIN 1, SYN 2, RST 4, PSH 8, ACK 16.", null=True),
    "length": Column("int64", "bytes", "TCP payload that was captured.", null=True),
    "segments": Column("int64", "", "Segments that it held: more than 1 if it was aggregated.", null=True),
    "verdict": Column("text", "", "What the NIC made of it; see below.", null=True),
    "decrypted": Column("int64", "bytes", "Payload in segments that went up decrypted.", null=True),
    "epoch": Column("int64", "", "The receive tag under which it was decrypted; 0 where it was not.", null=True),
}

FLOWS: dict[str, Column] = {
    "flow": _FLOW,
    "receiver": _RECEIVER,
    "client": Column("string", "", "`ip:port`, IPv6 in brackets."),
    "server": Column("string", "", "`ip:port` of the other end."),
    "sni": Column("string", "", "The server name that the client asked for.", null=True),
    "alpn": Column("string", "", "The application protocol that the server chose.", null=True),
    "tls": Column("string", "", "`1.1`, `1.2` or `1.3`.", null=True),
    "suite": Column("string", "", "IANA's name of the cipher suite.", null=True),
    "resumed": Column("bool", "", "The session was resumed."),
    "vantage": Column("text", "", "`receiver`, `sender`, `middle` or `unknown`: where it was captured."),
    "offload": Column("text", "", "The final mode: `ifnet`, `sw`, or null.", null=True),
    "why": Column("text", "", "How it came to that: `why.code` of the JSON."),
    "app_bytes": Column("int64", "bytes", "Authenticated application data, early data included."),
    "sha256": Column("string", "", "Digest of it, in hex; null without `--digest`.", null=True),
    **{
        f"records_{name}": Column("int64", "records", f"Records of the class `{name}`.")
        for name in ("decrypted", "mixed", "encrypted", "failed", "unjudged", "unknown", "library")
    },
    **{
        f"bytes_{name}": Column("int64", "bytes", f"Bytes on the wire of the records of class `{name}`.")
        for name in ("decrypted", "mixed", "encrypted", "failed", "unjudged", "unknown", "library")
    },
    "bytes_recrypted": Column("int64", "bytes", "What the NIC had decrypted and the host turned back."),
    "lost": Column("int64", "", "Times the device got out of sync."),
    "polls": Column("int64", "", "Queries that the host posted."),
    "confirmed": Column("int64", "", "Confirms that met the anchor they were meant for."),
    "regained": Column("int64", "", "Losses after which a record was decrypted in full again."),
    "confirms": Column("int64", "", "Confirms that the host posted."),
    "positions": Column("int64", "", "Positions of coming headers that the host posted."),
    "stale": Column("int64", "", "Confirms for an anchor that was no more."),
    "out_of_sync_bytes": Column("int64", "bytes", "Bytes of the stream that the device was out of sync for."),
    "out_of_sync_seconds": Column("float64", "seconds", "Capture time of the same."),
    "false_anchors": Column("int64", "", "Anchors that outlived their packet and proved to be no header."),
    "receive_tag_resets": Column("int64", "", "Times the receive tag was made anew for another interface,"),
    "receive_tag_resets_failed": Column("int64", "", "and times it could not be.", since=2),
    "lost_in_gaps": Column("int64", "", "Times it got out of sync because the capture lacks something."),
    "gap": Column("bool", "", "The receiver acknowledged bytes that the capture lacks."),
    "gaps": Column("int64", "", "Places in which the capture lacks something."),
    "missing_bytes": Column("int64", "bytes", "Bytes of the stream that it lacks there."),
    "recovered_bytes": Column("int64", "bytes", "Application data that was read behind the first of them."),
    "complete": Column("bool", "", "All of it was there and opened; null if receive was never enabled.", null=True),
    "end": Column("text", "", "How the connection ended, as in the JSON."),
    "capture": _CAPTURE,
    "frame": Column("int64", "", "The connection's first frame, as Wireshark numbers it, from 1."),
    "end_capture": Column("int64", "", "The capture that its last frame is in."),
    "end_frame": Column("int64", "", "The connection's last frame."),
    "resegmented": Column("int64", "frames", "Aggregated frames that were cut back into segments."),
}

TABLES: dict[str, dict[str, Column]] = {"records": RECORDS, "flows": FLOWS, "resync": RESYNC, "frames": FRAMES}
