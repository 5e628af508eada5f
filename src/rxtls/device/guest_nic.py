"""A NIC with a device of somebody else's in it (guest.py): what is around the device is that of the plain NIC.

Everything that the device gives back is looked at. What it raises, and what it must not give back, becomes a GuestError
with flow and frame, and what it had last been told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rxtls.device.context import Context
from rxtls.device.guest import Device, Event, Packet
from rxtls.device.nic import Lane, Nic
from rxtls.device.profiles import Profile
from rxtls.device.tracker import BOUND, IDLE, OFFLOADING, SEARCHING, TRACKING, HeaderPattern, State
from rxtls.errors import GuestError
from rxtls.offload.commands import (
    Auth,
    Command,
    DeviceEvent,
    Guess,
    Happening,
    Install,
    Progress,
    Tracker,
)
from rxtls.system.plug import caused

_METHODS = ("install", "post", "receive", "release")

# What the device's state is taken to be for those who look on, after what it told.
_AFTER: dict[Happening, State] = {
    Happening.INSTALLED: BOUND,
    Happening.LOST: SEARCHING,
    Happening.FALSE_ANCHOR: SEARCHING,
    Happening.ANCHORED: TRACKING,
    Happening.CONFIRMED: BOUND,
    Happening.RESUMED: OFFLOADING,
    Happening.STOPPED: IDLE,
}


class GuestLane(Lane):
    """A lane that knows its flow."""

    __slots__ = ("flow",)

    def __init__(self, lro_limit: int, flow: int) -> None:
        super().__init__(lro_limit)
        self.flow = flow


class GuestNic(Nic):
    """The plain NIC around `device`, called `name` in errors. Raises GuestError for one that lacks a method."""

    def __init__(self, profile: Profile, lro_limit: int, device: Device, name: str = "nic") -> None:
        super().__init__(profile, lro_limit)
        self._device = device
        self._who = name
        self._told = "nothing yet"
        lacking = [each for each in _METHODS if not callable(getattr(device, each, None))]
        if lacking:
            raise GuestError(self._who, f"it has no {', no '.join(lacking)}", self._told)

    def release(self, flow: int) -> None:
        """As Nic."""
        self._released(flow)
        super().release(flow)

    def forget(self, connection: int) -> None:
        """As Nic."""
        for flow in (2 * connection, 2 * connection + 1):
            self._released(flow)
        super().forget(connection)

    def _released(self, flow: int) -> None:
        lane = self._lanes.get(flow)
        if lane is not None and lane.context is not None:
            epoch, lane.context = lane.context.epoch, None
            self._told = f"release of epoch {epoch}"
            self._asked(lambda: self._device.release(flow, epoch), flow, None)

    def _lane(self, flow: int) -> Lane:
        lane = self._lanes.get(flow)
        if lane is None:
            lane = self._lanes[flow] = GuestLane(self._lro_limit, flow)
        return lane

    def _pass(self, lane: Lane, context: Context, seq: int, payload: bytes, moment: tuple[int, int]) -> bytes | None:
        flow = _flow(lane)
        self._told = f"a packet of {len(payload)} bytes at {seq}"
        given = self._asked(lambda: self._device.receive(flow, Packet(seq, payload, *moment)), flow, moment)
        if not isinstance(given, tuple) or len(given) != 2:
            self._wrong(f"it gave back {type(given).__name__}, not (payload or None, what it says)", flow, moment)
        out, said = given
        if out is not None and not isinstance(out, bytes | bytearray | memoryview):
            self._wrong(f"its payload is {type(out).__name__}, not bytes or None", flow, moment)
        if out is not None and len(out) != len(payload):
            self._wrong(f"its payload has {len(out)} bytes, and the packet {len(payload)}", flow, moment)
        self._hear(lane, context, said, moment)
        if out is None:
            return None
        context.state = OFFLOADING
        return bytes(out)

    def _carry_out(self, lane: Lane, command: Install | Command, moment: tuple[int, int]) -> None:
        flow = _flow(lane)
        if isinstance(command, Install):
            self._told = f"install of epoch {command.epoch}, {command.keys.suite.name}, record {command.number}"
            self._told += f" at {command.tcp_sn}"
            context = lane.context = Context(
                command.epoch, command.leaf, command.keys, 0, 0, HeaderPattern(command.keys), BOUND
            )
            lane.log.append(DeviceEvent(Happening.INSTALLED, *moment, command.tcp_sn))
            said = self._asked(lambda: self._device.install(flow, command), flow, moment)
        else:
            if lane.context is None:
                return  # of a wrong epoch the device makes nothing, or should
            context = lane.context
            self._told = str(command)
            said = self._asked(lambda: self._device.post(flow, command), flow, moment)
        self._hear(lane, context, said, moment)
        lane.log += context.log
        context.log.clear()
        lane.answers += context.guesses if "guess" in self.profile.commands else []
        context.guesses.clear()

    def _hear(self, lane: Lane, context: Context, said: Any, moment: tuple[int, int]) -> None:
        """What the device tells."""
        if not isinstance(said, list | tuple) or isinstance(said, Progress | Guess | Event):
            self._wrong(f"what it says is {type(said).__name__}, not a list", _flow(lane), moment)
        for each in said:
            if not _fits(each):
                self._wrong(f"it says {str(each)[:80]!r}, which is none of Progress, Guess, Event", _flow(lane), moment)
            if isinstance(each, Progress):
                lane.answers.append(each)
            elif isinstance(each, Guess):
                context.guesses.append(each)
            elif each.happening is not Happening.INSTALLED:
                context.log.append(DeviceEvent(each.happening, *moment, each.tcp_sn))
                context.state = _AFTER.get(each.happening, context.state)

    def _asked(self, ask: Callable[[], Any], flow: int, moment: tuple[int, int] | None) -> Any:
        try:
            return ask()
        except GuestError as error:
            error.flow, error.frame, error.told = flow, moment and moment[0], self._told
            raise
        except Exception as error:
            raise GuestError(self._who, caused(error), self._told, flow, moment and moment[0]) from None

    def _wrong(self, cause: str, flow: int, moment: tuple[int, int]) -> None:
        raise GuestError(self._who, cause, self._told, flow, moment[0])


def _flow(lane: Lane) -> int:
    assert isinstance(lane, GuestLane)
    return lane.flow


def _fits(said: object) -> bool:
    """Whether this may be said: a value of one of the three kinds, all of its numbers of their sizes."""
    match said:
        case Progress(epoch, place, anchor, Tracker(), Auth(), offset):
            return all(map(_number, (epoch, place, anchor, offset)))
        case Guess():
            return all(map(_number, said))
        case Event(Happening(), tcp_sn):
            return _number(tcp_sn)
    return False


def _number(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 32
