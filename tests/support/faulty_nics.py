"""NICs with one fault each, made of the built-in one: what conformance has to notice. `CAUGHT` names cases that do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rxtls.crypto.stream import StreamOpener
from rxtls.device.built_in import BuiltIn
from rxtls.device.context import Context
from rxtls.device.guest import Event, Packet, Said
from rxtls.device.profiles import profile
from rxtls.device.tracker import IDLE, SEARCHING, TRACKING, TrackerEvent
from rxtls.offload.commands import Command, Confirm, Guess, Install, Progress, Query, SetPosition
from rxtls.seq import distance

Out = tuple[bytes | None, Sequence[Said]]


class Good(BuiltIn):
    """No fault: what the others are made of."""

    def __init__(self) -> None:
        super().__init__(profile("ideal"))


class _Trusting:
    """An opener for which every AEAD tag verifies."""

    def __init__(self, opener: Any) -> None:
        self._opener = opener

    def update(self, data: bytes) -> bytes:
        """As StreamOpener."""
        opened: bytes = self._opener.update(data)
        return opened

    def verify(self, _tag: bytes) -> bool:
        """Always."""
        return True


class _Patient(Good):
    """Has something to do with the context before each packet."""

    def receive(self, flow: int, packet: Packet) -> Out:
        """As Device."""
        context = self.contexts.get(flow)
        if context is not None:
            self.before(context, packet)
        return super().receive(flow, packet)

    def before(self, context: Context, packet: Packet) -> None:
        """The fault."""


class MarksBeforeTheAeadTag(_Patient):
    """Marks packets whatever their AEAD tags are, where the record began in an earlier one."""

    def before(self, context: Context, packet: Packet) -> None:
        """As _Patient."""
        if isinstance(context.opener, StreamOpener):
            context.opener = _Trusting(context.opener)  # type: ignore[assignment]


class MarksAll(Good):
    """Gives wire bytes up as decrypted."""

    def receive(self, flow: int, packet: Packet) -> Out:
        """As Device."""
        out, said = super().receive(flow, packet)
        return packet.payload if out is None else out, said


class HalfDecrypted(Good):
    """Leaves the last byte as on the wire."""

    def receive(self, flow: int, packet: Packet) -> Out:
        """As Device."""
        out, said = super().receive(flow, packet)
        return out if out is None or len(out) < 60 else out[:-20] + packet.payload[-20:], said


class StripsHeaders(Good):
    """Zeroes the record header in what it decrypted."""

    def receive(self, flow: int, packet: Packet) -> Out:
        """As Device."""
        out, said = super().receive(flow, packet)
        return out if out is None else out.replace(b"\x17\x03\x03", b"\0\0\0"), said


class DecryptsAgain(Good):
    """Keeps what it decrypted, and gives it up again at a retransmission."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[tuple[int, int, bytes], bytes] = {}

    def receive(self, flow: int, packet: Packet) -> Out:
        """As Device."""
        out, said = super().receive(flow, packet)
        key = flow, packet.seq, packet.payload
        if out is not None:
            self._kept[key] = out
        return self._kept.get(key), said


class IgnoresSequence(_Patient):
    """Takes each packet for the next one."""

    def before(self, context: Context, packet: Packet) -> None:
        """As _Patient."""
        if context.in_order:
            context.expected = packet.seq


class ConfirmsItself(_Patient):
    """Takes an anchor for a header without asking."""

    def before(self, context: Context, packet: Packet) -> None:
        """As _Patient."""
        if context.state == TRACKING:
            context.fire(TrackerEvent.CONFIRM)


class TrustsAnyConfirm(Good):
    """A confirm of another place moves the anchor there."""

    def post(self, flow: int, command: Command) -> Sequence[Said]:
        """As Device."""
        context = self.contexts.get(flow)
        if isinstance(command, Confirm) and context is not None and context.state == TRACKING:
            command = command._replace(tcp_sn=context.anchor)
        return super().post(flow, command)


class IgnoresEpochs(Good):
    """Commands of any epoch act."""

    def post(self, flow: int, command: Command) -> Sequence[Said]:
        """As Device."""
        if flow in self.contexts:
            command = command._replace(epoch=self.contexts[flow].epoch)
        return super().post(flow, command)


class AnswersOldEpochs(Good):
    """Answers a query with the epoch before."""

    def post(self, flow: int, command: Command) -> Sequence[Said]:
        """As Device."""
        return [each._replace(epoch=each.epoch - 1) if isinstance(each, Progress) else each
                for each in super().post(flow, command)]  # fmt: skip


class NeverAnswers(Good):
    """No answer to a query."""

    def post(self, flow: int, command: Command) -> Sequence[Said]:
        """As Device."""
        return [] if isinstance(command, Query) else super().post(flow, command)


class NeverConfirms(Good):
    """A confirm is lost."""

    def post(self, flow: int, command: Command) -> Sequence[Said]:
        """As Device."""
        return [] if isinstance(command, Confirm) else super().post(flow, command)


class ConfirmRebinds(Good):
    """A confirm acts in sync too, by its number."""

    def post(self, flow: int, command: Command) -> Sequence[Said]:
        """As Device."""
        context = self.contexts.get(flow)
        if isinstance(command, Confirm) and context is not None and context.bound:
            context.number = command.number
        return super().post(flow, command)


class PositionRebinds(Good):
    """A position acts in sync too."""

    def post(self, flow: int, command: Command) -> Sequence[Said]:
        """As Device."""
        context = self.contexts.get(flow)
        if isinstance(command, SetPosition) and context is not None and context.bound:
            context.in_order, context.next_header, context.number = False, command.tcp_sn, command.number
            context.forget_record()
        return super().post(flow, command)


class IgnoresPositions(Good):
    """A position is lost."""

    def post(self, flow: int, command: Command) -> Sequence[Said]:
        """As Device."""
        return [] if isinstance(command, SetPosition) else super().post(flow, command)


class KeepsKeys(Good):
    """The second receive tag of a flow gets the first one's keys."""

    def __init__(self) -> None:
        super().__init__()
        self._keys: dict[int, Any] = {}

    def install(self, flow: int, install: Install) -> Sequence[Said]:
        """As Device."""
        return super().install(flow, install._replace(keys=self._keys.setdefault(flow, install.keys)))


class OneContext(Good):
    """All flows share the newest one's keys."""

    def install(self, flow: int, install: Install) -> Sequence[Said]:
        """As Device."""
        said = super().install(flow, install)
        for context in self.contexts.values():
            context.keys = install.keys
            context.number = install.number
        return said


class FewContexts(Good):
    """Forgets receive tags beyond the eighth."""

    def install(self, flow: int, install: Install) -> Sequence[Said]:
        """As Device."""
        said = super().install(flow, install)
        while len(self.contexts) > 8:
            del self.contexts[min(self.contexts)]
        return said


class ShortNumbers(_Patient):
    """Record numbers of 32 bits."""

    def before(self, context: Context, packet: Packet) -> None:
        """As _Patient."""
        context.number &= 0xFFFF_FFFF


class WrapsNumbers(_Patient):
    """Goes on after the last record number, with 0."""

    def before(self, context: Context, packet: Packet) -> None:
        """As _Patient."""
        if context.state == IDLE and context.number == 1 << 64:
            context.fire(TrackerEvent.BIND)
            context.in_order, context.number, context.next_header = False, 0, packet.seq


class WrapsBadly(Good):
    """Compares sequence numbers as plain numbers."""

    def receive(self, flow: int, packet: Packet) -> Out:
        """As Device."""
        context = self.contexts.get(flow)
        if context is not None and context.in_order and packet.seq + len(packet.payload) >= 1 << 32:
            return None, []
        return super().receive(flow, packet)


class TakesAnyLength(_Patient):
    """A header may announce any length, and any type and version."""

    def before(self, context: Context, packet: Packet) -> None:
        """As _Patient."""
        context.pattern._longest = 1 << 17
        context.pattern._shortest = 5


class TakesAnyHeader(_Patient):
    """Does not look at type and version."""

    def before(self, context: Context, packet: Packet) -> None:
        """As _Patient."""
        context.pattern = _Any(context)  # type: ignore[assignment]


@dataclass
class _Any:
    """Any type and version will do."""

    context: Context

    def total(self, header: bytes) -> int:
        """As HeaderPattern."""
        keys, total = self.context.keys, 5 + (header[3] << 8 | header[4])
        return total if keys.min_total <= total <= keys.max_total else 0

    def find(self, _data: bytes, _start: int) -> int:
        """None."""
        return -1


class GivesUpAtOnce(Good):
    """Stops for good after one bad packet."""

    def install(self, flow: int, install: Install) -> Sequence[Said]:
        """As Device."""
        said = super().install(flow, install)
        self.contexts[flow].auth_failures = 1
        return said


class LosesHeadersItKnows(_Patient):
    """Any hole makes it search."""

    def before(self, context: Context, packet: Packet) -> None:
        """As _Patient."""
        if context.bound and context.in_order and distance(context.expected, packet.seq) > 0:
            context.fire(TrackerEvent.LOSE)
            context.in_order = False
            context.forget_record()


class SplitsNoHeaders(Good):
    """Gives a packet up that ends in a header."""

    def receive(self, flow: int, packet: Packet) -> Out:
        """As Device."""
        out, said = super().receive(flow, packet)
        context = self.contexts.get(flow)
        return None if context is not None and context.header and context.opener is None else out, said


class GuessesElsewhere(Good):
    """A guess that is four bytes off, as in Innova's format (Linux: the header's last byte), and beyond the packet."""

    def receive(self, flow: int, packet: Packet) -> Out:
        """As Device."""
        out, said = super().receive(flow, packet)
        return out, [each._replace(tcp_sn=each.tcp_sn + 104) if isinstance(each, Guess) else each for each in said]


class NeverGuesses(Good):
    """Volunteers nothing."""

    def receive(self, flow: int, packet: Packet) -> Out:
        """As Device."""
        out, said = super().receive(flow, packet)
        return out, [each for each in said if isinstance(each, Event)]


class Crashes(Good):
    """Raises at a payload that begins with a header of length 0."""

    def receive(self, flow: int, packet: Packet) -> Out:
        """As Device."""
        if packet.payload[:5] == b"\x17\x03\x03\0\0":
            raise IndexError("length")
        return super().receive(flow, packet)


class AnchorsWithoutLooking(Good):
    """Says it tracks from wherever the packet began that it searched in."""

    def post(self, flow: int, command: Command) -> Sequence[Said]:
        """As Device."""
        said = super().post(flow, command)
        return [
            each._replace(hw_resync_tcp_sn=each.hw_resync_tcp_sn + 1) if isinstance(each, Progress) else each
            for each in said
        ]


class MarksWhileSearching(Good):
    """Passes what it cannot place as decrypted garbage."""

    def receive(self, flow: int, packet: Packet) -> Out:
        """As Device."""
        out, said = super().receive(flow, packet)
        context = self.contexts.get(flow)
        lost = context is not None and context.state == SEARCHING
        return bytes(len(packet.payload)) if lost else out, said


CAUGHT: dict[type[Good], tuple[str, ...]] = {
    MarksBeforeTheAeadTag: ("forged tag", "forged ciphertext", "split forged tag"),
    MarksAll: (
        "begins where it was told",
        "one bad among good",
        "overtaken",
        "lost header",
        "wrong number",
        "false headers",
        "keys changed under it",
        "another leaf",
    ),
    HalfDecrypted: ("in order", "several in a packet"),
    StripsHeaders: ("in order", "released"),
    DecryptsAgain: ("retransmission",),
    IgnoresSequence: ("hole in a record", "old and new", "other bytes"),
    ConfirmsItself: ("confirmed",),
    TrustsAnyConfirm: ("stale confirm",),
    IgnoresEpochs: ("old commands",),
    AnswersOldEpochs: ("confirmed", "released with commands out"),
    NeverAnswers: ("confirmed",),
    NeverConfirms: ("confirmed",),
    ConfirmRebinds: ("confirm in sync",),
    PositionRebinds: ("position in sync",),
    IgnoresPositions: ("position",),
    KeepsKeys: ("keys changed",),
    OneContext: ("many at once",),
    FewContexts: ("many at once",),
    ShortNumbers: ("large numbers",),
    WrapsBadly: ("sequence wraps",),
    TakesAnyLength: ("oversize",),
    TakesAnyHeader: ("hostile headers",),
    GivesUpAtOnce: ("one bad packet",),
    LosesHeadersItKnows: ("hole in a record",),
    SplitsNoHeaders: ("split anywhere", "odd records"),
    GuessesElsewhere: ("guess",),
    NeverGuesses: ("guess",),
    Crashes: ("hostile headers",),
    AnchorsWithoutLooking: ("confirmed",),
    MarksWhileSearching: ("noise",),
    WrapsNumbers: ("last number",),
}
