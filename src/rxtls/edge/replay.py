"""Replay: captures and key logs in, records and a summary out. The main job, as an object.

    run = Replay(["capture.pcapng"], keys=["keys.log"])
    for record in run:
        ...
    run.summary()["flows"]

Iterating walks the captures once. What a capture could still give before it broke is delivered first; what broke stands
in `errors`, and in the exit status. Nothing here knows how a record is decrypted: this file reads, hands over, counts.
"""

from __future__ import annotations

import os
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from itertools import islice
from typing import IO, Any, cast

from rxtls.device.profiles import profile
from rxtls.edge.source import SecretsFound, Source, SourceFrame
from rxtls.edge.summary import Place, summarise
from rxtls.errors import InputError, KeyLogError, UsageError
from rxtls.events import Record
from rxtls.host.flow import Flow
from rxtls.intake.parse import ChecksumPolicy, read_resegment
from rxtls.intake.steer import SteerOptions, Vantage
from rxtls.path import PathOptions, ReceivePath
from rxtls.wire.filter import compile_filter
from rxtls.wire.keylog import KeyLog

CALL_SIZE = 1024  # frames handed to the path at once; results do not depend on it
CALL_BYTES = 8 << 20  # bytes of them, or a small compressed file of the largest frames would fill gigabytes at once
MAX_KEY_LOG = 1 << 30  # bytes of one key log file: millions of sessions


@dataclass(slots=True)
class ReplayOptions:
    """Everything a person may set for a run; the names are the command's."""

    profile: str = "connectx-6dx"
    policy: str = "freebsd-table"
    receiver: str = "both"  # server, client, both, or the receiving host's network in CIDR notation
    vantage: str = "auto"
    checksum: str = "auto"
    resegment: str = "auto"
    filter: str | None = None
    digest: bool = False
    settings: dict[str, str] = field(default_factory=dict)
    engine: str = "auto"
    call_size: int = CALL_SIZE


class Replay:
    """One run over `captures` ("-" is standard input) with `keys` (key log files).

    Iterate once for the records of modelled directions; `summary()` afterwards. Raises UsageError for options that do
    not exist or fit, KeyLogError for a key log that cannot be opened; what is wrong inside files is in `errors`.
    """

    def __init__(
        self,
        captures: Sequence[str | os.PathLike[str]],
        keys: Sequence[str | os.PathLike[str]] = (),
        options: ReplayOptions | None = None,
        stdin: IO[bytes] | None = None,
    ) -> None:
        self.options = options or ReplayOptions()
        if self.options.call_size < 1:
            raise UsageError(f"call_size is a whole number from 1, not {self.options.call_size}")
        if self.options.engine not in ("auto", "plain"):
            raise UsageError(f"engine is 'auto' or 'plain', not {self.options.engine!r}")
        self.profile = profile(self.options.profile, self.options.settings)
        self._models = _receiver(self.options.receiver)
        self.keys = KeyLog()
        for name in keys:
            self.keys.add(*_read_key_log(os.fspath(name)))
        self.source = Source(captures, stdin=stdin)
        for secrets in self.source.secrets:
            self.keys.add(secrets, "secrets block")
        self.keys_given = bool(keys) or bool(self.source.secrets)
        self.path = ReceivePath(
            self.keys,
            PathOptions(
                profile=self.profile,
                policy=self.options.policy,
                steer=self._steer_options(),
                digest=self.options.digest,
                wait_for_keys=self.source.total_bytes is None,
            ),
        )
        self.frames = 0
        self.captured_bytes = 0
        self.wall_seconds = 0.0
        self.first_ns: int | None = None
        self.last_ns: int | None = None
        # Where each frame came from: only needed when its index does not tell.
        self._places: array[int] | None = array("q") if len(self.source.names) > 1 else None

    def __iter__(self) -> Iterator[Record]:
        return self.walk()

    def walk(self, progress: Callable[[Replay], None] | None = None) -> Iterator[Record]:
        """The records in the order in which they were completed; `progress` is called after each call to the path."""
        started = time.perf_counter()
        items = iter(self.source)
        while True:
            frames, secrets, more = self._take(items)
            yield from self._modelled(self.path.receive(frames))
            if secrets is not None:
                self.keys.add(secrets.data, "secrets block")
                self.keys_given = True
                yield from self._modelled(self.path.keys_added())
            self.wall_seconds = time.perf_counter() - started
            if progress:
                progress(self)
            if not more:
                break
        yield from self._modelled(self.path.finish())
        self.wall_seconds = time.perf_counter() - started

    def models(self, flow: Flow, side: int) -> bool:
        """Whether what `side` sent is modelled, that is, whether --receiver asks for the host that received it."""
        return self._models(flow, side)

    def place(self, frame: int) -> Place:
        """File and Wireshark's frame number of a global frame index."""
        if self._places is None:
            return {"file": self.source.names[0], "frame": frame + 1}
        packed = self._places[frame]
        return {"file": self.source.names[packed >> 40], "frame": packed & (1 << 40) - 1}

    @property
    def errors(self) -> list[InputError]:
        """What was wrong with the input: captures first, then key log lines."""
        return [*self.source.errors, *(KeyLogError(*error) for error in self.keys.errors)]

    def summary(self) -> dict[str, Any]:
        """The JSON of this run, schema 1 (docs/json.md)."""
        return summarise(self)

    def _take(
        self, items: Iterator[SourceFrame | SecretsFound]
    ) -> tuple[list[tuple[int, SourceFrame]], SecretsFound | None, bool]:
        """Frames for one call, up to where keys came in; and whether there may be more."""
        frames: list[tuple[int, SourceFrame]] = []
        secrets: SecretsFound | None = None
        before = self.captured_bytes
        for item in islice(items, self.options.call_size):
            if isinstance(item, SecretsFound):
                secrets = item
                break
            frames.append((self.frames, item))
            self.frames += 1
            self.captured_bytes += len(item.data)
            if self._places is not None:
                self._places.append(item.file << 40 | item.number)
            if self.captured_bytes - before >= CALL_BYTES:
                break
        if frames:
            times = [frame.time_ns for _, frame in frames]
            self.first_ns = min(times) if self.first_ns is None else min(self.first_ns, *times)
            self.last_ns = max(times) if self.last_ns is None else max(self.last_ns, *times)
        full = self.captured_bytes - before >= CALL_BYTES or len(frames) == self.options.call_size
        return frames, secrets, full or secrets is not None

    def _modelled(self, records: list[Record]) -> Iterator[Record]:
        for record in records:
            flow = self.path.flows[record.flow]
            if self._models(flow, flow.client_side if record.receiver == "server" else 1 - flow.client_side):
                yield record

    def _steer_options(self) -> SteerOptions:
        options = self.options
        if options.checksum not in ("auto", "verify", "ignore"):
            raise UsageError(f"checksum is 'auto', 'verify' or 'ignore', not {options.checksum!r}")
        if options.vantage not in ("auto", "receiver", "sender", "middle"):
            raise UsageError(f"vantage is 'auto', 'receiver', 'sender' or 'middle', not {options.vantage!r}")
        return SteerOptions(
            checksum=ChecksumPolicy(options.checksum),
            resegment=read_resegment(options.resegment),
            vantage=cast(Vantage, options.vantage),
            idle_ns=self.profile.idle * 1_000_000_000,
            max_flows=self.profile.max_flows,
            filter=compile_filter(options.filter) if options.filter else None,
            device=self.source.device,
        )


def _read_key_log(name: str) -> tuple[bytes, str]:
    try:
        with open(name, "rb") as file:
            return file.read(MAX_KEY_LOG), name
    except (OSError, ValueError) as failure:
        cause = failure.strerror if isinstance(failure, OSError) and failure.strerror else str(failure)
        raise KeyLogError(name, None, cause) from None


def _receiver(text: str) -> Callable[[Flow, int], bool]:
    """`--receiver` as a predicate over (flow, sending side)."""
    if text == "both":
        return lambda _flow, _side: True
    if text in ("server", "client"):
        return lambda flow, side: flow.receiver(side) == text
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise UsageError(
            f"receiver is 'server', 'client', 'both' or a network such as 10.0.0.0/8, not {text!r}"
        ) from None

    def arrives_in_network(flow: Flow, side: int) -> bool:
        connection = flow.connection
        return ip_address((connection.b if side == 0 else connection.a)[0]) in network

    return arrives_in_network
