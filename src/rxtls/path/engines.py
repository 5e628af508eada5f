"""The front of the hallway, in its two makings: intake and NIC, plain or compiled.

Both take frames and stop connections at their host points, as device/nic.py says; what they give is the same to the
byte. The compiled one needs numba and libcrypto; the plain one is its oracle, and does where these are missing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from rxtls.counters import Ledger
from rxtls.device.guest import Device
from rxtls.device.guest_nic import GuestNic
from rxtls.device.nic import HostPoint, Nic
from rxtls.device.profiles import Profile
from rxtls.driver.driver import Commanded, WayBack
from rxtls.driver.trace import FATE_CODES, segments
from rxtls.errors import UsageError
from rxtls.host.reassembly import Account
from rxtls.host.rejoin import PAUSES
from rxtls.intake.batch import CLOCK, COLUMNS, END, FLAGS, FLOW, TICK, Batch
from rxtls.intake.flows import Connection, both_ways
from rxtls.intake.shard import mine
from rxtls.intake.steer import Steer, SteerOptions
from rxtls.native.shapes import Array
from rxtls.offload.mbuf import Mbuf
from rxtls.path.leaves import Leaves
from rxtls.wire.captured import CapturedFrame
from rxtls.wire.compiled.columns import FrameRow

if TYPE_CHECKING:
    from rxtls.path.compiled_host import Steady
    from rxtls.wire.compiled.columns import Frames

    FramesIn = Iterable[tuple[int, CapturedFrame]] | Frames

ENGINES = ("auto", "compiled", "plain")

Guest = tuple[Device, str]


class NicLike(Commanded, Protocol):
    """What the host asks of a NIC besides commands."""

    def flush(self, flow: int) -> list[Mbuf]: ...
    def ahead(self) -> list[tuple[int, tuple[int, int] | None]]: ...
    def flush_ahead(self, flow: int) -> list[Mbuf]: ...
    def news(self, flow: int) -> bool: ...
    def set_budget(self, connection: int, budget: int) -> None: ...
    def forget(self, connection: int) -> None: ...


class Front(Protocol):
    """Frames in; which flows the host is to serve, and where in the call that was."""

    @property
    def engine(self) -> str: ...
    @property
    def nic(self) -> NicLike: ...
    @property
    def connections(self) -> list[Connection]: ...
    @property
    def most_flows(self) -> int: ...
    @property
    def account(self) -> Account: ...
    def receive(self, frames: FramesIn) -> list[HostPoint]: ...
    def resume(self) -> list[HostPoint]: ...
    def tick(self, time_ns: int, interfaces: Sequence[int] | None) -> list[HostPoint]: ...
    def finish(self) -> list[HostPoint]: ...
    def refresh(self) -> None: ...
    def watch(self) -> None: ...
    @property
    def rows(self) -> Array: ...
    def segments(self) -> Array: ...
    def fates(self) -> Array: ...


class PlainFront:
    """The slow, obvious one; around a NIC of somebody else's (`guest`: it, and its name in errors), if there is one."""

    engine = "plain"

    def __init__(
        self,
        ledger: Ledger,
        bounds: SteerOptions,
        profile: Profile,
        lro_limit: int,
        leaves: Leaves | None = None,
        guest: Guest | None = None,
    ) -> None:
        self._leaves = leaves or Leaves()
        self._steer = Steer(ledger, bounds)
        self.nic = Nic(profile, lro_limit) if guest is None else GuestNic(profile, lro_limit, *guest)
        self.account: Account = [0]  # memory of what the host holds out of order (host/reassembly.py)
        self._data: bytes = b""
        self.rows: Array = np.zeros((0, COLUMNS), np.int64)

    @property
    def connections(self) -> list[Connection]:
        """All generations so far."""
        return self._steer.connections

    @property
    def most_flows(self) -> int:
        """How many connections were followed at once: known at the end."""
        return self._steer.most_flows

    def share(self, job: int, jobs: int) -> None:
        """Follow only the connections of this job."""
        self._steer.mine = mine(job, jobs)

    def receive(self, frames: Any) -> list[HostPoint]:
        """Take (global frame index, frame) pairs in capture order."""
        return self._take(self._steer.batch(frames))

    def tick(self, time_ns: int, interfaces: Sequence[int] | None) -> list[HostPoint]:
        """It is `time_ns` by the clock of these capture interfaces, whether frames come or not."""
        return self._take(self._steer.tick(time_ns, interfaces))

    def resume(self) -> list[HostPoint]:
        """The host has been."""
        return self.nic.resume(self._data)

    def finish(self) -> list[HostPoint]:
        """The input ends: every connection does."""
        return self._take(self._steer.finish())

    def refresh(self) -> None:
        """Connections are always up to date."""

    def watch(self) -> None:
        """Before the first frame: note what becomes of segments and frames."""
        self.nic.watch()
        self._steer.noted = []

    def segments(self) -> Array:
        """The segments of this call, as driver/trace.py has them; its rows must all have been taken."""
        seen = np.array(self.nic.seen(), np.int64).reshape(-1, 2)
        return segments(self.rows, seen[:, 0], seen[:, 1])

    def fates(self) -> Array:
        """The frames of this call, as driver/trace.py has them."""
        noted, self._steer.noted = self._steer.noted or [], []
        return np.array([(frame, time, FATE_CODES[fate]) for frame, time, fate in noted], np.int64).reshape(-1, 3)

    def _take(self, batch: Batch) -> list[HostPoint]:
        self.rows = self._leaves.settle(batch.rows)
        rows = batch.rows.tolist()
        for position, row in enumerate(rows):
            row.append(position)
        self._data = batch.data
        return self.nic.receive(rows, batch.data, going_on(batch.rows, self.connections))


class CompiledFront:
    """The fast one."""

    engine = "compiled"

    def __init__(
        self, ledger: Ledger, bounds: SteerOptions, profile: Profile, lro_limit: int, leaves: Leaves | None = None
    ) -> None:
        from rxtls.crypto.compiled.key_table import KeyTable
        from rxtls.device.compiled.nic import CompiledNic
        from rxtls.host.compiled.tables import FastHost
        from rxtls.intake.compiled.steer import CompiledSteer
        from rxtls.offload.compiled.arena import Arena
        from rxtls.path.nic_and_host import onward

        self._leaves = leaves or Leaves()
        self._steer = CompiledSteer(ledger, bounds)
        arena, keys = Arena(), KeyTable()
        self._host = host = FastHost(arena, keys)
        self.account: Account = host.account  # memory of what the host holds out of order
        self._nothing = np.zeros(8, np.uint8)  # the data of rows that carry none
        self.rows: Array = np.zeros((0, COLUMNS), np.int64)
        self._frames: Frames | None = None  # of this call, if watched
        self._watched = False
        self.nic = CompiledNic(
            profile,
            arena,
            keys,
            lro_limit,
            lambda rows, data, nic, keys, arena: onward(rows, data, nic, keys, arena, host.tables),
        )

    @property
    def connections(self) -> list[Connection]:
        """All generations so far."""
        return self._steer.connections

    @property
    def most_flows(self) -> int:
        """How many connections were followed at once: known at the end."""
        return self._steer.most_flows

    def steady(self, way_back: WayBack) -> Steady:
        """The compiled host that goes with this NIC."""
        from rxtls.path.compiled_host import Steady

        return Steady(self.nic, self._host, way_back)

    def receive(self, frames: Any) -> list[HostPoint]:
        """Take frames in capture order: Frames, or (global frame index, frame) pairs."""
        from rxtls.wire.compiled.columns import Frames, frames_of

        frames = frames if isinstance(frames, Frames) else frames_of(frames)
        batch = self._steer.batch(frames)
        self.rows = self._leaves.settle(batch.rows)
        self._frames = frames if self._watched else None
        data: Any = batch.data  # the frames' own array
        return self.nic.receive(batch.rows, data, going_on(batch.rows, self.connections))

    def tick(self, time_ns: int, interfaces: Sequence[int] | None) -> list[HostPoint]:
        """It is `time_ns` by the clock of these capture interfaces, whether frames come or not."""
        batch = self._steer.tick(time_ns, interfaces)
        self.rows, self._frames = self._leaves.settle(batch.rows), None
        return self.nic.receive(batch.rows, self._nothing)

    def resume(self) -> list[HostPoint]:
        """The host has been."""
        return self.nic.resume()

    def finish(self) -> list[HostPoint]:
        """The input ends: every connection does."""
        batch = self._steer.finish()
        self.rows, self._frames = batch.rows, None
        return self.nic.receive(batch.rows, self._nothing)

    def refresh(self) -> None:
        """Bring what connections say of themselves up to date."""
        self._steer.refresh()

    def watch(self) -> None:
        """Before the first frame: note what becomes of segments and frames."""
        self._watched = True
        self.nic.watch()
        self._steer.watch()

    def segments(self) -> Array:
        """The segments of this call, as driver/trace.py has them; its rows must all have been taken."""
        return segments(self.rows, *self.nic.seen())

    def fates(self) -> Array:
        """The frames of this call, as driver/trace.py has them."""
        from rxtls.wire.compiled.rows import FATE_NAMES

        told = self._steer.noted
        if self._frames is None or told is None:
            return np.zeros((0, 3), np.int64)
        mine = told >= 0  # the others are another job's
        codes = np.array([FATE_CODES[name] for name in FATE_NAMES], np.int64)
        return np.column_stack((self._frames.table[mine][:, [FrameRow.INDEX, FrameRow.TIME]], codes[told[mine]]))


def going_on(rows: Array, connections: Sequence[Connection]) -> list[int]:
    """The rows of a batch with which a connection begins that may go on from one that ended in it. With a SYN as well:
    the other side may be the same."""
    ended = rows[rows[:, FLAGS] == END, FLOW] >> 1
    tuples = {both_ways(connections[each].key) for each in ended.tolist() if connections[each].end in PAUSES}
    if not tuples:
        return []
    begun = np.flatnonzero((rows[:, CLOCK] == 1) & (rows[:, FLAGS] & TICK == 0))
    return [row for row in begun.tolist() if both_ways(connections[int(rows[row, FLOW]) >> 1].key) in tuples]


def why_not_compiled() -> str | None:
    """Why the compiled engine cannot run here, in a few words; None if it can."""
    if os.environ.get("NUMBA_DISABLE_JIT", "0") != "0":
        return "NUMBA_DISABLE_JIT is set"
    from rxtls import native
    from rxtls.crypto.libcrypto import available
    from rxtls.native.store import why_not

    found = available()
    return (None if native.INTERPRETED else why_not()) or (found if isinstance(found, str) else None)


def chosen(engine: str, guest: bool = False) -> str:
    """`compiled` or `plain` for one of ENGINES; `plain` around a NIC of somebody else's. UsageError if `compiled` is
    asked for and cannot be."""
    if engine not in ENGINES:
        raise UsageError(f"engine is 'auto', 'compiled' or 'plain', not {engine!r}")
    if guest and engine == "compiled":
        raise UsageError("a NIC of one's own is served by the plain engine, not by the compiled one")
    if guest:
        return "plain"
    if engine == "plain":
        return engine
    reason = why_not_compiled()
    if reason is None:
        return "compiled"
    if engine == "compiled":
        raise UsageError(f"the compiled engine cannot run here: {reason}")
    return "plain"


def described() -> str:
    """Which engine runs here, in lines for a person."""
    from rxtls.crypto.libcrypto import available

    reason = why_not_compiled()
    lines = [f"engine: {'compiled' if reason is None else f'plain ({reason})'}"]
    if reason is None:
        from rxtls import native

        if native.INTERPRETED:
            lines[0] += ", its kernels run by the Python interpreter (RXTLS_KERNELS)"
        import numba

        lines.append(f"numba: {numba.__version__}")
    found = available()
    lines.append(f"libcrypto: {found}" if isinstance(found, str) else f"libcrypto: {found.version} ({found.path})")
    return "\n".join(lines) + "\n"
