"""The built-in device behind the protocol of guests (guest.py): what `rxtls nic serve` serves, and an example."""

from __future__ import annotations

from collections.abc import Sequence

from rxtls.device import engine
from rxtls.device.context import Context
from rxtls.device.guest import Event, Packet, Said
from rxtls.device.profiles import Profile
from rxtls.device.tracker import HeaderPattern, TrackerEvent
from rxtls.offload.commands import Command, Confirm, Install, Query, SetPosition

_WHENEVER = (0, 0)  # frame and time of what the device tells: whoever hears it knows them


class BuiltIn:
    """The device model of a profile. What of its state is its own is in `contexts`, by flow."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self.contexts: dict[int, Context] = {}

    def install(self, flow: int, install: Install) -> Sequence[Said]:
        """As Device."""
        numbers = self._profile
        context = self.contexts[flow] = Context(
            install.epoch, install.leaf, install.keys, numbers.search_after, numbers.auth_failures,
            HeaderPattern(install.keys),
        )  # fmt: skip
        if numbers.start == "programmed":
            engine.bind(context, install.tcp_sn, install.number)
        else:
            context.fire(TrackerEvent.SCAN)
        return []

    def post(self, flow: int, command: Command) -> Sequence[Said]:
        """As Device."""
        context = self.contexts.get(flow)
        if context is None or context.epoch != command.epoch:
            return []
        match command:
            case Query():
                return [context.progress()]
            case Confirm(_, tcp_sn, number):
                engine.confirm(context, tcp_sn, number, _WHENEVER)
            case SetPosition(_, tcp_sn, number):
                engine.set_position(context, tcp_sn, number)
        return _said(context)

    def receive(self, flow: int, packet: Packet) -> tuple[bytes | None, Sequence[Said]]:
        """As Device."""
        context = self.contexts.get(flow)
        if context is None:
            return None, []
        out = engine.receive(context, packet.seq, packet.payload, _WHENEVER)
        return out, _said(context)

    def release(self, flow: int, epoch: int) -> None:
        """As Device."""
        if flow in self.contexts and self.contexts[flow].epoch == epoch:
            del self.contexts[flow]


def _said(context: Context) -> list[Said]:
    """What a context has to tell since it was last asked."""
    told: list[Said] = [Event(each.happening, each.tcp_sn) for each in context.log]
    told += context.guesses
    context.log.clear()
    context.guesses.clear()
    return told
