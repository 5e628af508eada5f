"""The kTLS worker: one record after another off the TLS chain, each authenticated by the device or by the host.

1. Peek at the header. One that cannot be right ends the stream (EINVAL version or type, EMSGSIZE size).
2. Is the whole record there? Detach it, take its number: the number advances even if the record then fails.
3. Classify by the marks of *all* its bytes, header and AEAD tag included:

    DECRYPTED   all marked by one epoch, under the right key    trim only, no cryptography
    ENCRYPTED   none marked                                     open
    MIXED       anything else                                   recrypt what was marked, then open the whole

4. A record that does not authenticate is dropped alone; the next one goes on.
5. Behind a hole of the capture (recovery.py) nobody knows what a NIC at the receiver had made of it. So verdicts are
   unjudged from there until the modelled NIC is in sync again; they are no less authentic.
6. Each good record that was not DECRYPTED is reported; the first DECRYPTED one after such says that sync is back.

Nothing is handed on that neither device nor host authenticated. DECRYPTED is trusted because the device marks a byte at
most once and only in runs whose AEAD tags verified (device/engine.py); one epoch over the whole record is what makes
that argument hold. Follows uipc_ktls.c ktls_decrypt and ktls_ocf.c; RFC 5246 section 6.2, RFC 8446 and 9846 section 5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from rxtls.crypto.keys import RECORD_HEADER, Keys
from rxtls.crypto.ocf import Ocf, OcfSession
from rxtls.crypto.records import Opened, Opener
from rxtls.crypto.recrypt import recrypt
from rxtls.errors import RecordError
from rxtls.host.sockbuf import SockBuf
from rxtls.offload.commands import Report
from rxtls.offload.mbuf import WIRE, Mbuf, latest

APPLICATION_DATA = 23
_NUMBERS = (1 << 64) - 1  # record numbers have 64 bits


class CryptoState(IntEnum):
    """State of one whole record, as upstream's enum (ktls_mbuf_crypto_state)."""

    MIXED = 0
    ENCRYPTED = 1
    DECRYPTED = -1


MIXED, ENCRYPTED, DECRYPTED = CryptoState


class Outcome(NamedTuple):
    """What became of one record."""

    state: CryptoState
    opened: Opened | None  # None: it did not authenticate, and was dropped
    error: str  # the errno's name if it was dropped
    number: int
    tcp_seq: int
    total: int  # bytes on the wire, header included
    recrypted: int  # bytes of it that were re-encrypted
    composition: str
    frame: int
    time_ns: int
    report: Report | None
    judged: bool  # the verdict holds for the receiver's NIC
    in_order: bool  # as far as the capture shows, its bytes came in order


@dataclass(slots=True)
class Epoch:
    """What the device was given when a receive tag was installed: enough to undo what it then did."""

    keys: Keys
    shift: int  # the device's record number - the ordinal of the record in this session
    slips: set[int] = field(default_factory=set)  # by how much the number it was told later was wrong


class Session:
    """One direction's kTLS session. `number` is the record number of the first record on the TLS chain."""

    __slots__ = (
        "_opener",
        "_resync",
        "epochs",
        "explicit",
        "fatal",
        "keys",
        "length",
        "number",
        "ocf",
        "ordinal",
        "unjudged",
        "unlocked",
    )

    def __init__(self, keys: Keys, number: int, ocf: Ocf | None = None) -> None:
        self.keys = keys
        self.ocf = ocf
        self.number = number
        self.ordinal = 0  # records since receive was enabled, whatever keys they had
        self.epochs: dict[int, Epoch] = {}
        self.fatal: str | None = None
        self.length = 0  # of the last record, and its explicit nonce as a number
        self.explicit = 0
        self.unjudged = False
        # Called where upstream holds no lock: between detaching a record and coming back with it. For tests.
        self.unlocked: Callable[[], None] | None = None
        self._opener = self._session(keys)
        self._resync = False  # SB_TLS_RX_RESYNC

    def rekey(self, keys: Keys, number: int) -> None:
        """The next record is the first under new keys."""
        self.keys = keys
        self.number = number
        self.unjudged = False  # the NIC gets these keys where they begin, hole or no hole
        self._opener = self._session(keys)

    def resume(self, number: int, *, unjudged: bool) -> None:
        """Behind a hole: the next record on the chain has this number. `unjudged`: a NIC may have seen what was in the
        hole."""
        self.ordinal += number - self.number
        self.number = number
        self.unjudged = unjudged

    def opens(self, chain: Sequence[Mbuf], record: bytes, number: int) -> bool:
        """Whether these bytes, none of which is taken, authenticate as the record of that number."""
        ordinal = self.ordinal + number - self.number
        if all(mbuf.mark == WIRE for mbuf in chain):
            return self._opens(number, record)
        for slip in self._slips(chain):
            try:
                wire = self._undo(chain, record, ordinal, slip)
            except RecordError:
                return False  # whatever the slip
            if self._opens(number, wire):
                return True
        return False

    def _session(self, keys: Keys) -> Opener | OcfSession:
        """Who opens records: on a kernel's socket, OCF."""
        return Opener(keys) if self.ocf is None else self.ocf.session(keys)

    def use(self, ocf: Ocf) -> None:
        """From now on records are opened by this kernel's crypto sessions."""
        self.ocf = ocf
        self._opener = self._session(self.keys)

    def begin_epoch(self, epoch: int) -> None:
        """A receive tag is installed with the present keys; its marks will carry `epoch`."""
        self.epochs[epoch] = Epoch(self.keys, self.number - self.ordinal)

    def prune_epochs(self, live: set[int]) -> None:
        """Forget the keys of epochs that no byte carries any more."""
        for epoch in self.epochs.keys() - live:
            del self.epochs[epoch]

    def step(self, sockbuf: SockBuf) -> Outcome | None:
        """The next record, or None: there is no whole one, or the stream met its fatal header."""
        header_length = self.keys.header_length
        if sockbuf.tlscc < header_length or self.fatal:
            return None
        header = sockbuf.peek(header_length)
        total = RECORD_HEADER + (header[3] << 8 | header[4])
        self.fatal = self._refuse(header, total)
        if sockbuf.tlscc < total or self.fatal:
            return None
        if self.number > _NUMBERS:
            # RFC 8446, RFC 9846 section 5.3: record numbers must not wrap.
            self.fatal = "EBADMSG: record numbers are used up"
            return None
        tcp_seq = sockbuf.start_seq
        number, ordinal = self.number, self.ordinal
        self.number += 1
        self.ordinal += 1
        chain = sockbuf.detach(total)
        if self.unlocked:
            self.unlocked()
        state = self._classify(chain)
        result, recrypted = self._open(chain, state, number, ordinal)
        if not sockbuf.tlsdcc:
            return None  # flushed meanwhile: what was decrypted goes the way of the rest
        opened, error = (result, "") if isinstance(result, Opened) else (None, result.errno_name)
        sockbuf.hand_on(len(opened.payload) if opened else 0)
        frame, time_ns = latest(chain)
        report = self._report(state, tcp_seq, total, number) if opened else None
        self.length, self.explicit = total, int.from_bytes(header[RECORD_HEADER : RECORD_HEADER + 8])
        if opened and state is DECRYPTED:
            self.unjudged = False
        return Outcome(
            state, opened, error, number, tcp_seq, total, recrypted, _composition(chain), frame, time_ns, report,
            not self.unjudged, not self.unjudged or _ascends(chain),
        )  # fmt: skip

    def next_place(self, sockbuf: SockBuf) -> tuple[int, int]:
        """(TCP sequence number, record number) of the first record whose header is not on the chain yet.

        That is where a new receive tag can begin. Headers are in clear, so the chain tells; if it ends inside a header,
        that header's place is given, and the device will find that it is too late for it.
        """
        offsets = sockbuf.headers()
        return (sockbuf.start_seq + offsets[-1]) & 0xFFFF_FFFF, self.number + len(offsets) - 1

    def _refuse(self, header: bytes, total: int) -> str | None:
        """The checks of the header stage, in upstream's order. They are fatal: the stream has lost its framing."""
        keys = self.keys
        if header[1] != 3 or header[2] != (3 if keys.tls13 else keys.version & 0xFF):
            return "EINVAL: the record header has another version"
        if keys.tls13 and header[0] != APPLICATION_DATA:
            return "EINVAL: a TLS 1.3 record whose outer type is not application_data"
        if not keys.header_length <= total <= keys.max_total:
            return f"EMSGSIZE: a record of {total} bytes"
        return None

    def _classify(self, chain: Sequence[Mbuf]) -> CryptoState:
        mark = chain[0].mark
        if len(chain) == 1 or all(mbuf.mark == mark for mbuf in chain):
            if mark == WIRE:
                return ENCRYPTED
            epoch = self.epochs.get(mark)
            if epoch and epoch.keys == self.keys and epoch.shift == self.number - self.ordinal:
                return DECRYPTED
        return MIXED

    def _open(
        self, chain: Sequence[Mbuf], state: CryptoState, number: int, ordinal: int
    ) -> tuple[Opened | RecordError, int]:
        """The content or why there is none, and how many bytes were re-encrypted."""
        record = chain[0].data if len(chain) == 1 else b"".join(mbuf.data for mbuf in chain)
        try:
            if state is DECRYPTED:
                return self._opener.trim(record), 0
            if state is ENCRYPTED:
                return self._opener.open(number, record), 0
        except RecordError as error:
            return error, 0
        return self._open_mixed(chain, record, number, ordinal)

    def _open_mixed(
        self, chain: Sequence[Mbuf], record: bytes, number: int, ordinal: int
    ) -> tuple[Opened | RecordError, int]:
        payload = _spans(chain, self.keys.header_length, len(record) - self.keys.aead_tag_length)
        marked = sum(end - start for start, end, mark in payload if mark != WIRE)
        failure: RecordError | None = None
        if isinstance(self._opener, OcfSession):
            self._opener.recrypt()  # whatever of the record was decrypted, as upstream
        for slip in self._slips(chain):
            try:
                wire = self._undo(chain, record, ordinal, slip)
                return self._opener.open(number, wire), marked
            except RecordError as error:
                failure = failure or error
        assert failure is not None
        return failure, marked

    def _slips(self, chain: Sequence[Mbuf]) -> tuple[int, ...]:
        """The number the device was given is right unless a policy was wrong; then it is off by a known slip."""
        epochs = [self.epochs[mark] for mark in {mbuf.mark for mbuf in chain} if mark in self.epochs]
        return (0, *sorted({slip for epoch in epochs for slip in epoch.slips}))

    def _opens(self, number: int, record: bytes) -> bool:
        try:
            self._opener.open(number, record)
        except RecordError:
            return False
        return True

    def _undo(self, chain: Sequence[Mbuf], record: bytes, ordinal: int, slip: int) -> bytes:
        """The record as it was on the wire: each epoch's marked bytes re-encrypted with that epoch's key and number."""
        wire = bytearray(record)
        epochs = []
        for mark in {mbuf.mark for mbuf in chain} - {WIRE}:
            epoch = self.epochs.get(mark)
            if epoch is None:
                raise RecordError("EBADMSG", "marked by an epoch that never was")
            epochs.append((epoch.keys.header_length, mark, epoch))
        # Shorter headers first: what they count as ciphertext may be the explicit nonce of the others.
        for start, mark, epoch in sorted(epochs, key=lambda each: each[:2]):
            end = len(wire) - epoch.keys.aead_tag_length
            spans = [(wire[a:b], m == mark) for a, b, m in _spans(chain, start, end)]
            # Marks on header and AEAD tag alone changed nothing, and the length may be one these keys do not know.
            if any(marked for _, marked in spans):
                wire[start:end] = recrypt(epoch.keys, (ordinal + epoch.shift + slip) & _NUMBERS, wire[:start], spans)
        return bytes(wire)

    def _report(self, state: CryptoState, tcp_seq: int, total: int, number: int) -> Report | None:
        if state is not DECRYPTED:
            self._resync = True
            return Report(tcp_seq, total, number, state is MIXED)
        if self._resync:
            self._resync = False
            return Report((tcp_seq + total) & 0xFFFF_FFFF, 0, number)
        return None


def _spans(chain: Sequence[Mbuf], start: int, end: int) -> list[tuple[int, int, int]]:
    """(from, to, mark) of each Mbuf's part of the record's bytes [start, end)."""
    spans: list[tuple[int, int, int]] = []
    at = 0
    for mbuf in chain:
        a, b = max(at, start), min(at + len(mbuf.data), end)
        if a < b:
            spans.append((a, b, mbuf.mark))
        at += len(mbuf.data)
    return spans


def _ascends(chain: Sequence[Mbuf]) -> bool:
    frames = [arrival[1] for mbuf in chain for arrival in mbuf.arrivals]
    return frames == sorted(frames)


def _composition(chain: Sequence[Mbuf]) -> str:
    """Which stretches were decrypted: "D", "E", "DE", "EDE", ..."""
    if len(chain) == 1:
        return "D" if chain[0].mark != WIRE else "E"
    letters: list[str] = []
    for mbuf in chain:
        letter = "D" if mbuf.mark != WIRE else "E"
        if not letters or letters[-1] != letter:
            letters.append(letter)
    return "".join(letters)
