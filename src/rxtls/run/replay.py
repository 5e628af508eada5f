"""Replay: captures and key logs in, records and a summary out. The main job, as an object.

    run = Replay(["capture.pcapng"], keys=["keys.log"])
    for record in run:
        ...
    run.summary()["flows"]

Iterating walks the captures once. What a capture could still give before it broke is delivered first; what broke stands
in `errors`, and in the exit status. Nothing here knows how a record is decrypted: this file reads, hands over, counts.
"""

from __future__ import annotations

import gc
import io
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import IO, Any, cast

from rxtls.capture.captures import Captures, SecretsFound, TickFound
from rxtls.capture.frames import CompiledFeed, Feed, PlainFeed
from rxtls.device.profiles import profile
from rxtls.driver.trace import Watch
from rxtls.errors import GuestError, InputError, KeyLogError, UsageError
from rxtls.events import Record
from rxtls.host.flow import Flow
from rxtls.host.sysctl import sysctl
from rxtls.intake.parse import ChecksumPolicy, read_resegment
from rxtls.intake.steer import SteerOptions, Vantage
from rxtls.intake.vantage import SAID
from rxtls.offload.interface import Interfaces
from rxtls.offload.interface_file import interfaces, whose
from rxtls.option import check, names, shown
from rxtls.path.engines import chosen, why_not_compiled
from rxtls.path.receive import PathOptions, ReceivePath
from rxtls.path.records import Records
from rxtls.run.exec_nic import ExecNic
from rxtls.run.key_files import read_key_log
from rxtls.run.nics import nic
from rxtls.run.options import MOST_CALL, ReplayOptions
from rxtls.run.summary import Place, summarise
from rxtls.system.files import Name
from rxtls.wire.filter import compile_filter
from rxtls.wire.keylog import KeyLog


class Replay:
    """One run over `captures` ("-" is standard input) with `keys` (key log files).

    Iterate once for the records of modelled directions; `summary()` afterwards. `engine` is the one that runs, and
    `note` says why it is not the fast one, where nobody chose that. Raises UsageError for options that do not exist or
    fit, KeyLogError for a key log that cannot be opened; what is wrong inside files is in `errors`.
    """

    def __init__(
        self,
        captures: Name | Sequence[Name],
        keys: Name | Sequence[Name] = (),
        options: ReplayOptions | None = None,
        stdin: IO[bytes] | None = None,
    ) -> None:
        self.options = ReplayOptions() if options is None else options
        if not isinstance(self.options, ReplayOptions):
            raise UsageError(f"options are ReplayOptions, not {shown(options)}")
        check(self.options)  # they may have been changed since they were made
        captures, keys = names(captures, "captures"), names(keys, "keys")
        if isinstance(stdin, io.TextIOBase) or (stdin is not None and not hasattr(stdin, "read")):
            raise UsageError(f"stdin is a file of bytes, not {shown(stdin)}")
        if not 1 <= self.options.call_size <= MOST_CALL:
            raise UsageError(f"call_size is a whole number from 1 to {MOST_CALL}, not {self.options.call_size}")
        own = self.options.nic
        self.engine = chosen(self.options.engine, own is not None)
        unasked = own is None and (self.options.engine, self.engine) == ("auto", "plain")
        reason = why_not_compiled() if unasked else None
        self.note = f"the plain engine runs, which is slow: {reason}" if reason else None
        self.profile = profile(self.options.profile, self.options.settings)
        self._models = _receiver(self.options.receiver)
        self._by_time = _by_time(self.options.order)
        self.keys = KeyLog()
        for name in keys:
            read_key_log(self.keys, os.fspath(name))
        self.feed: Feed
        if self.engine == "compiled":
            check_ip = self.options.checksum != "ignore"
            self.feed = CompiledFeed(captures, self.options.call_size, stdin, check_ip, self._by_time)
        else:
            self.feed = PlainFeed(captures, self.options.call_size, stdin, self._by_time)
        for secrets in self.source.secrets:
            self.keys.add(secrets, "secrets block")
        self.keys_given = bool(keys) or bool(self.source.secrets)
        self._nic = None if own is None else nic(own)
        self.path = ReceivePath(
            self.keys,
            PathOptions(
                profile=self.profile,
                policy=self.options.policy,
                nic=self._nic,
                nic_name=f"nic {own}",
                steer=self._steer_options(),
                digest=self.options.digest,
                assume_received=self.options.assume_received,
                wait_for_keys=self.source.total_bytes is None,
                engine=self.engine,
                watch=_watch(self.options.watch),
                sysctl=sysctl(self.options.sysctl),
                interfaces=self._interfaces(self.options.interfaces),
                same=self.source.device,
                names=self.source.name_of,
                by_completion=True,
            ),
        )
        self.wall_seconds = 0.0

    def __iter__(self) -> Iterator[Record]:
        return self.walk()

    def walk(self, progress: Callable[[Replay], None] | None = None) -> Iterator[Record]:
        """The records in the order in which they were completed; `progress` is called after each call to the path."""
        for records in self.batches(progress):
            yield from records

    def batches(self, progress: Callable[[Replay], None] | None = None) -> Iterator[Records]:
        """The same in bulk, a batch for each call to the path: no record is made until somebody asks for it."""
        try:
            yield from self._batches(progress)
        except GuestError as error:
            if error.frame is not None:
                place = self.place(error.frame)
                error.place = f"{place['file']} frame {place['frame']}"
            raise
        finally:
            if isinstance(self._nic, ExecNic):
                self._nic.close()

    def _batches(self, progress: Callable[[Replay], None] | None) -> Iterator[Records]:
        started = time.perf_counter()
        for call in self.feed:
            if isinstance(call, SecretsFound):
                self.keys.add(call.data, "secrets block")
                self.keys_given = True
                yield self._modelled(self.path.take_unlocked())
            elif isinstance(call, TickFound):
                yield self._modelled(self.path.take_tick(call.time_ns, call.interfaces))
            else:
                with _uncollected():
                    records = self.path.take(call)
                yield self._modelled(records)
            self.wall_seconds = time.perf_counter() - started
            if progress:
                progress(self)
        yield self._modelled(self.path.take_last())
        self.wall_seconds = time.perf_counter() - started

    def share(self, job: int, jobs: int) -> None:
        """Before iterating: follow only the connections of `job` (from 0) of `jobs` (jobs.py)."""
        self.feed.share(job, jobs)
        self.path.share(job, jobs)

    @property
    def frames(self) -> int:
        """Frames read so far."""
        return self.feed.frames

    @property
    def captured_bytes(self) -> int:
        """Bytes captured of them."""
        return self.feed.captured_bytes

    @property
    def source(self) -> Captures:
        """The captures: names, interfaces, how much of them was read, and what was wrong with them."""
        return self.feed.captures

    def models(self, flow: Flow, side: int) -> bool:
        """Whether what `side` sent is modelled, that is, whether --receiver asks for the host that received it."""
        return self._models(flow, side)

    def place(self, frame: int) -> Place:
        """File and Wireshark's frame number of a global frame index. UsageError for a frame that was not read."""
        try:
            capture, number = self.feed.places.find(frame)
        except (IndexError, TypeError):
            raise UsageError(f"there are {self.frames} frames, numbered from 0, and no {shown(frame)}") from None
        return {"file": self.source.names[capture], "frame": number}

    @property
    def errors(self) -> list[InputError]:
        """What was wrong with the input: captures first, then key log lines."""
        return [*self.source.errors, *(KeyLogError(*error) for error in self.keys.errors)]

    def summary(self) -> dict[str, Any]:
        """The JSON of this run, schema 2 (docs/json.md)."""
        return summarise(self)

    def _interfaces(self, name: str | None) -> Interfaces | None:
        """The receiving host's tree of interfaces, from a TOML file."""
        if name is None:
            return None
        try:
            text = Path(name).read_text(encoding="utf-8")
        except (OSError, ValueError) as failure:  # ValueError: no UTF-8, or a NUL in the name
            cause = failure.strerror if isinstance(failure, OSError) else failure
            raise UsageError(f"{name}: {cause}") from None
        tree = interfaces(text, name)
        tree.whose = whose(tree.named, self.source.described)
        return tree

    def _modelled(self, records: Records) -> Records:
        if self.options.receiver == "both":
            return records
        return records.only(lambda flow, side: self._models(flow, side))

    def _steer_options(self) -> SteerOptions:
        options = self.options
        if options.checksum not in ("auto", "verify", "ignore"):
            raise UsageError(f"checksum is 'auto', 'verify' or 'ignore', not {options.checksum!r}")
        if options.vantage not in ("auto", *SAID):
            raise UsageError(f"vantage is one of auto, {', '.join(SAID)}, not {options.vantage!r}")
        return SteerOptions(
            checksum=ChecksumPolicy(options.checksum),
            resegment=read_resegment(options.resegment),
            vantage=cast(Vantage, options.vantage),
            idle_ns=self.profile.idle * 1_000_000_000,
            max_flows=self.profile.max_flows,
            filter=compile_filter(options.filter) if options.filter else None,
        )


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without Python's search for cycles of garbage, every 700 objects: a call to the path leaves none, and looking
    through all that connections keep is a fifth of what short ones cost. It may search between calls."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _by_time(text: str) -> bool:
    if text not in ("time", "file"):
        raise UsageError(f"order is 'time' or 'file', not {text!r}")
    return text == "time"


def _watch(text: str) -> Watch:
    names = {each.name.lower(): each for each in Watch}
    if text not in names:
        raise UsageError(f"watch is 'nothing', 'events' or 'frames', not {text!r}")
    return names[text]


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
