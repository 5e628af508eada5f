"""Test vectors of a device, for those who have no Python: a capture, and step by step what a device is told and does.

    NAME.pcapng         the packets, with the sessions' secrets in it
    NAME.json           receive tags, packets, commands and answers in order; the records and counters of it
    schema.json         what stands in NAME.json, as JSON Schema (draft 2020-12)
    manifest.json       all of them, with digests

The steps are what the built-in NIC was told and gave back over the protocol of device/guest.py. A device that is told
the same has to give the same back. The keys are test keys, and stand in the steps: a device needs no TLS library.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rxtls.capture.write import write_pcapng
from rxtls.device.built_in import BuiltIn
from rxtls.device.guest import Event, Packet, Said
from rxtls.device.profiles import profile
from rxtls.offload.commands import Command, Confirm, Guess, Install, Progress, Query
from rxtls.path.receive import PathOptions, ReceivePath
from rxtls.simulation.knobs import Knobs
from rxtls.simulation.simulate import TAPPED_AT, simulate
from rxtls.system.files import Name, make_directory, write_text, writing
from rxtls.version import __version__
from rxtls.wire.keylog import KeyLog

SCHEMA = 1
PROFILE = "ideal"

_CHACHA, _GCM12 = "TLS_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"

# name -> (what it is, policy, the traffic)
VECTORS: dict[str, tuple[str, str, Knobs]] = {
    "clean-tls13": ("in order, TLS 1.3", "freebsd-table", Knobs(records=8, seed=1)),
    "clean-tls12": ("in order, TLS 1.2", "freebsd-table", Knobs(suite=_GCM12, records=8, seed=2)),
    "clean-chacha20": ("in order, ChaCha20-Poly1305", "freebsd-table", Knobs(suite=_CHACHA, records=8, seed=3)),
    "small-records": ("many records a packet", "freebsd-table", Knobs(records=300, record=90, seed=4)),
    "small-packets": ("many packets a record", "freebsd-table", Knobs(records=3, mtu=160, seed=5)),
    "loss": ("lost headers, asked for and confirmed", "freebsd-table", Knobs(records=60, loss=1.5, seed=6)),
    "loss-guessed": ("lost headers, volunteered and confirmed", "linux-sync", Knobs(records=60, loss=1.5, seed=6)),
    "loss-positions": ("lost headers, and positions ahead", "next-hint", Knobs(records=60, loss=1.5, seed=6)),
    "loss-tls12": ("lost headers, TLS 1.2", "freebsd-table", Knobs(suite=_GCM12, records=60, loss=1.5, seed=7)),
    "reordered": ("packets that overtake others", "freebsd-table", Knobs(records=40, reorder=3, seed=8)),
    "duplicated": ("packets that come twice", "freebsd-table", Knobs(records=20, duplicate=5, seed=9)),
    "false-headers": ("payload of false headers, and loss", "look-ahead",
                      Knobs(records=60, loss=1.5, payload="headers", seed=10)),
    "several-flows": ("four flows at once, and loss", "freebsd-table", Knobs(flows=4, records=15, loss=1, seed=11)),
}  # fmt: skip


class Recorder:
    """A Device that notes what another one is told and gives back."""

    def __init__(self, device: BuiltIn) -> None:
        self.steps: list[dict[str, Any]] = []
        self._device = device

    def install(self, flow: int, install: Install) -> Sequence[Said]:
        """As Device."""
        keys, said = install.keys, self._device.install(flow, install)
        step = {"step": "install", "flow": flow, "epoch": install.epoch, "suite": keys.suite.name}
        step |= {"version": int(keys.version), "key": keys.key.hex(), "iv": keys.iv.hex(), "number": install.number}
        self.steps.append(step | {"tcp_sn": install.tcp_sn, "said": [_said(each) for each in said]})
        return said

    def post(self, flow: int, command: Command) -> Sequence[Said]:
        """As Device."""
        said = self._device.post(flow, command)
        kind = "query" if isinstance(command, Query) else "confirm" if isinstance(command, Confirm) else "set_position"
        self.steps.append(
            {"step": kind, "flow": flow, **command._asdict(), "said": [_said(each) for each in said]},
        )
        return said

    def receive(self, flow: int, packet: Packet) -> tuple[bytes | None, Sequence[Said]]:
        """As Device."""
        out, said = self._device.receive(flow, packet)
        step = {"step": "packet", "flow": flow, "frame": packet.frame, "seq": packet.seq, "length": len(packet.payload)}
        step |= {"decrypted": out is not None, "sha256": _digest(packet.payload if out is None else out)}
        self.steps.append(step | {"said": [_said(each) for each in said]})
        return out, said

    def release(self, flow: int, epoch: int) -> None:
        """As Device."""
        self._device.release(flow, epoch)
        self.steps.append({"step": "release", "flow": flow, "epoch": epoch, "said": []})


def vector(name: str) -> tuple[bytes, dict[str, Any]]:
    """The capture of one of VECTORS, and what is expected of it."""
    about, policy, knobs = VECTORS[name]
    frames, keylog, _ = simulate(knobs)
    capture = io.BytesIO()
    write_pcapng(frames, capture, ("simulated",), keylog, f"captured at the {TAPPED_AT}")
    keys = KeyLog()
    keys.add(keylog.encode(), "simulated")
    numbers = profile(PROFILE, {"budget": "16", "poll": "2,50us", "confirm": "2,50us"})
    nic = Recorder(BuiltIn(numbers))
    path = ReceivePath(keys, PathOptions(profile=numbers, policy=policy, nic=nic, nic_name="recorder"))
    records = [*path.receive(list(enumerate(frames))), *path.finish()]
    return capture.getvalue(), {
        "schema": SCHEMA,
        "rxtls": __version__,
        "name": name,
        "about": about,
        "capture": f"{name}.pcapng",
        "policy": policy,
        "profile": numbers.printed(),
        "steps": nic.steps,
        "records": [
            {
                "flow": each.flow, "receiver": each.receiver, "frame": each.frame, "number": each.number,
                "type": each.type, "class": str(each.record_class), "composition": each.composition,
                "tcp_seq": each.tcp_seq, "wire_length": each.wire_length, "sha256": _digest(each.data),
            }
            for each in records
        ],
        "counters": dict(sorted({**path.ledger.fates, **path.stats}.items())),
    }  # fmt: skip


def write_vectors(directory: Name, only: Sequence[str] = ()) -> list[str]:
    """Write them all, or those named `only`; the names. Raises UsageError for a directory that cannot be."""
    folder = make_directory(directory)
    manifest: dict[str, dict[str, str]] = {}
    for name in only or VECTORS:
        capture, expected = vector(name)
        text = json.dumps(expected, indent=1) + "\n"
        with writing(folder / f"{name}.pcapng"):
            Path(folder / f"{name}.pcapng").write_bytes(capture)
        write_text(folder / f"{name}.json", text)
        manifest[name] = {"pcapng": _digest(capture), "json": _digest(text.encode())}
    schema = (Path(__file__).parent / "assets" / "vectors.schema.json").read_text()
    write_text(folder / "schema.json", schema)
    write_text(folder / "manifest.json", json.dumps({"rxtls": __version__, "vectors": manifest}, indent=1) + "\n")
    return list(manifest)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _said(said: Said) -> dict[str, Any]:
    match said:
        case Progress():
            return {"says": "progress"} | {name: int(value) for name, value in said._asdict().items()}
        case Guess():
            return {"says": "guess", **said._asdict()}
        case Event(happening, tcp_sn):
            return {"says": str(happening), "tcp_sn": tcp_sn}
