"""The context: all that the device knows about one receive tag.

    marked_to        header of the current record        expected          next_header
        |                   |                                |                  |
    ....|===================|hdr|ciphertext absorbed so far..|..still to come...|hdr|...
                                                             ^ next byte in order

Until a record's length is known, `next_header` is the place of its own header, which is awaited or being collected;
from then on it is where the record ends. `number` is the record number of the current record once the context is bound,
and the count of records walked since the anchor while it is not.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from rxtls.crypto.keys import Keys
from rxtls.crypto.stream import StreamOpener
from rxtls.device.tracker import IDLE, TRANSITIONS, HeaderPattern, State, TrackerEvent
from rxtls.offload.commands import Auth, DeviceEvent, Guess, Progress

OFFSET_MASK = 0xFF_FFFF  # hw_offset_record_number has 24 bits


@dataclass(slots=True)
class Context:
    """One receive tag on the device. `keys` is what the engine decrypts with; the host holds its own copy."""

    epoch: int
    leaf: int
    keys: Keys
    search_after: int
    auth_failures: int
    pattern: HeaderPattern
    state: State = IDLE
    expected: int = 0
    next_header: int = 0
    number: int = 0
    anchor: int = 0
    in_order: bool = False  # absorbing from `expected` on; otherwise waiting for `next_header`
    header: bytearray = field(default_factory=bytearray)  # what has come of the current header
    opener: StreamOpener | None = None
    left: int = 0  # ciphertext bytes of the current record still to come
    aead_tag: bytearray = field(default_factory=bytearray)
    record_start: int = 0
    marked_to: int | None = None  # end of the last packet that was marked
    failures: int = 0  # AEAD failures in a row
    false_anchors: int = 0
    lost: bool = False  # a loss has not been followed by a resume yet
    guesses: list[Guess] = field(default_factory=list)
    log: list[DeviceEvent] = field(default_factory=list)

    @property
    def bound(self) -> bool:
        """True when the context knows record numbers: it decrypts, or will from the next header on."""
        return self.state[1] is not Auth.NO_OFFLOAD

    def fire(self, event: TrackerEvent) -> None:
        """Take the transition that the table has for this event."""
        self.state = TRANSITIONS[self.state][event]

    def forget_record(self) -> None:
        """Drop what was absorbed of the current record."""
        self.opener = None
        self.left = 0
        self.header.clear()
        self.aead_tag.clear()

    def progress(self) -> Progress:
        """The snapshot a Query gets."""
        return Progress(
            self.epoch,
            self.next_header,
            self.anchor,
            self.state[0],
            self.state[1],
            (self.number if not self.bound else 0) & OFFSET_MASK,
        )
