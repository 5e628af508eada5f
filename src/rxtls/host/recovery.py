"""Behind a hole: from the bytes that go on there to the next record that authenticates.

    record `number` begins          chain: bytes in order again
    |------|- - - - - - - - - - - -|....|header ....|header .....|      Found(offset, number)
     came    hole (missing bytes)        ^ candidate
    0                              base  base + offset

A candidate is a place that looks like a record header and has another one, or the end, behind its record. The header of
the record that the hole begins in is the best guide, where it came: it says where the next one stands. A candidate is
opened as record n, for all n that the bytes in between leave room for, the likeliest first:

    the number that the record itself tells     AES-GCM in TLS 1.3 (crypto/number.py)
    the distance of the explicit nonces         TLS 1.2; most senders count them up by one
    what records of the usual length make       then on from there in both directions

and under the keys that follow, should there be a KeyUpdate in the hole. A header that only looks like one costs a few
trials and nothing else: what it takes to go on is that a record authenticates, and no byte is handed on before.
Every trial is paid for from a budget of work (`search` of the profile), which forged headers cannot stretch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from rxtls.crypto.keys import CBC_BLOCK, RECORD_HEADER, Keys
from rxtls.crypto.number import tells_number, told_number
from rxtls.crypto.records import Opener
from rxtls.errors import RecordError
from rxtls.handshake.search_budget import SEARCHED_BYTES, TOLD, Work
from rxtls.host.reassembly import Hole
from rxtls.host.worker import Session
from rxtls.offload.mbuf import WIRE, Mbuf

WINDOW = 64 << 10  # bytes that are searched at a time: a few maximal records
GENERATIONS = 4  # KeyUpdates that one hole may hold: a sender makes one in millions of records
MOST_HOLES = 1000  # that are kept one by one: one segment may make each
OUTWARD = 4096  # numbers that one candidate is opened as, at most
_EARLY_NUMBERS = 64  # and under keys that follow, as such keys begin at 0

# Records before TLS 1.3 show their types: 20 to 24.
_HEADERS = {
    (True, 3): re.compile(rb"\x17\x03\x03"),
    (False, 3): re.compile(rb"[\x14-\x18]\x03\x03"),
    (False, 2): re.compile(rb"[\x14-\x18]\x03\x02"),
}


class Found(NamedTuple):
    """The record at `offset` of the chain has this number, under the keys `generation` KeyUpdates on."""

    offset: int
    number: int
    generation: int = 0


class Waiting(Protocol):
    """Bytes in order, behind the hole: a socket buffer, or what stands for one."""

    @property
    def waiting(self) -> int: ...
    @property
    def start_seq(self) -> int: ...
    def peek(self, length: int) -> bytes: ...
    def slice(self, start: int, end: int) -> list[Mbuf]: ...
    def flush(self) -> int: ...
    def detach(self, length: int) -> object: ...
    def hand_on(self, payload: int) -> None: ...
    def first_arrival(self) -> tuple[int, int]: ...


class Recovery:
    """From the record `number`, which is not whole, to the next that is. There may be several holes on the way.

    `total` is that record's length if its header came. `usual` is a record's usual length, `explicit` the explicit
    nonce of some record as (record number, nonce), None if there are none.
    """

    __slots__ = ("_base", "_explicit", "_scanned", "_usual", "before", "cut", "holes", "more", "number", "total")

    def __init__(self, number: int, total: int | None, usual: int, explicit: tuple[int, int] | None) -> None:
        self.number = number
        self.total = total
        self.cut = 0  # bytes that did come, of records that are lost,
        self.before = 0  # and those of them before the first hole
        self.holes: list[Hole] = []
        self.more = 0  # bytes in holes behind the first MOST_HOLES - 1, but for the last
        self._usual = usual
        self._explicit = explicit
        self._base = 0
        self._scanned = 0

    def enter(self, dropped: int, hole: Hole) -> None:
        """The `dropped` bytes that waited belong to records that are not whole, and `hole` follows them."""
        self.drop(dropped)
        if not self.holes:
            self.before = dropped
        self._base += hole.length
        if len(self.holes) == MOST_HOLES:
            self.more += self.holes.pop().length
        self.holes.append(hole)
        self._scanned = 0

    def drop(self, length: int) -> None:
        """`length` bytes at the chain's beginning belong to no record that can be opened; they are off it."""
        self._base += length
        self.cut += length
        self._scanned = max(0, self._scanned - length)

    @property
    def distance(self) -> int:
        """Bytes of stream from the beginning of the record `number` to that of the chain."""
        return self._base

    def search(
        self,
        sockbuf: Waiting,
        session: Session,
        following: Callable[[int], Keys | None],
        work: Work,
        ended: bool,
    ) -> Found | None:
        """The next record on the chain that authenticates, None if there is none (yet); then all that was searched in
        vain has been taken off the chain. `following` gives the keys n KeyUpdates on. `ended`: no more bytes will come
        behind these. Stops when the budget is spent."""
        keys = session.keys
        pattern = _HEADERS[keys.tls13, keys.version.wire & 0xFF]
        while work.left > 0:
            data = sockbuf.peek(WINDOW)
            at = self._next(pattern, data)
            if at is None:
                searched = len(data) - (0 if ended and len(data) == sockbuf.waiting else RECORD_HEADER - 1)
                more = len(data) < sockbuf.waiting
                work.left -= max(0, searched - self._scanned) // SEARCHED_BYTES
                self._discard(sockbuf, searched)
                if more:
                    continue
                return None
            total = _total(keys, data, at)
            self._scanned = at
            if total is not None and at + total > sockbuf.waiting and not ended:
                return None
            if total is not None and at + total <= sockbuf.waiting:
                if at + total + RECORD_HEADER > len(data):
                    data = sockbuf.peek(at + total + RECORD_HEADER)
                if self._continues(keys, pattern, data, at + total):
                    found = self._try(sockbuf, session, following, work, at, data[at : at + total])
                    if found is not None:
                        return found
            self._scanned = at + 1
            if self.total is not None and self._base + at == self.total:
                self._scanned = 0  # what its header said was wrong: now search from the beginning
                self.total = None
        return None

    def _next(self, pattern: re.Pattern[bytes], data: bytes) -> int | None:
        """The next candidate: the place that the cut record's header tells, else what looks like a header."""
        if self.total is not None:
            at = self.total - self._base
            if at < 0:
                self.total = None
            elif at + RECORD_HEADER <= len(data):
                return at
            elif at < len(data) + (WINDOW << 1):
                # Not there yet. What stands before it is the rest of the cut record.
                return None
        match = pattern.search(data, self._scanned)
        return match.start() if match is not None and match.start() + RECORD_HEADER <= len(data) else None

    def _discard(self, sockbuf: Waiting, length: int) -> None:
        if self.total is not None:
            length = min(length, self.total - self._base)
        if length > 0:
            sockbuf.detach(length)
            sockbuf.hand_on(0)
            self.drop(length)

    def _continues(self, keys: Keys, pattern: re.Pattern[bytes], data: bytes, end: int) -> bool:
        """Whether what stands behind a candidate's record may be a header, as far as it is there."""
        head = data[end : end + 3]
        if len(head) < 3:
            return True
        return pattern.match(head) is not None and (len(data) < end + 5 or _total(keys, data, end) is not None)

    def _try(
        self,
        sockbuf: Waiting,
        session: Session,
        following: Callable[[int], Keys | None],
        work: Work,
        at: int,
        record: bytes,
    ) -> Found | None:
        """Open the candidate at `at` as each number that it may have."""
        keys = session.keys
        if not keys.min_total <= len(record) <= keys.max_total:
            return None
        chain = sockbuf.slice(at, at + len(record))
        marked = any(mbuf.mark != WIRE for mbuf in chain)
        low, high = self._bounds(keys, at)
        for n in self._numbers(keys, record, low, high, self._guess(at), marked, work):
            if work.left <= 0:
                return None
            work.trial(keys, len(record))
            if session.opens(chain, record, n):
                return Found(at, n)
        if marked or not keys.tls13:
            return None
        for generation in range(1, GENERATIONS + 1):
            later = following(generation)
            if later is None or work.left <= 0:
                return None
            opener = Opener(later)
            room = min(high - self.number, OUTWARD)
            for n in self._numbers(later, record, 0, room, 0, marked, work, _EARLY_NUMBERS):
                work.trial(later, len(record))
                if _opens(opener, n, record):
                    return Found(at, n, generation)
        return None

    def _bounds(self, keys: Keys, at: int) -> tuple[int, int]:
        """The least and the greatest number of a record that begins at `at` of the chain."""
        between = self._base + at
        return self.number + 1, self.number + max(1, between // keys.min_total)

    def _guess(self, at: int) -> int:
        if self.total is not None:
            return self.number + 1 + round((self._base + at - self.total) / self._usual)
        return self.number + max(1, round((self._base + at) / self._usual))

    def _numbers(
        self, keys: Keys, record: bytes, low: int, high: int, guess: int, marked: bool, work: Work, most: int = OUTWARD
    ) -> Iterator[int]:
        guess = min(max(guess, low), high)
        yield guess
        if tells_number(keys) and not marked:
            work.left -= TOLD
            told = told_number(keys, record)
            if told is not None and low <= told <= high and told != guess:
                yield told
            return
        if self._explicit is not None and keys.explicit_length == 8:
            number, nonce = self._explicit
            told = number + (int.from_bytes(record[RECORD_HEADER : RECORD_HEADER + 8]) - nonce & (1 << 64) - 1)
            if low <= told <= high and told != guess:
                yield told
        for step in range(1, most):
            if guess + step > high and guess - step < low:
                return
            if guess + step <= high:
                yield guess + step
            if guess - step >= low:
                yield guess - step


def _total(keys: Keys, data: bytes, at: int) -> int | None:
    """The length of the record whose header stands at `at`, if these keys know such records."""
    total = RECORD_HEADER + (data[at + 3] << 8 | data[at + 4])
    if data[at + 1] != 3 or not keys.min_total <= total <= keys.max_total:
        return None
    if not keys.aead_tag_length:
        outside = keys.suite.mac_length if keys.encrypt_then_mac else 0
        if (total - keys.header_length - outside) % CBC_BLOCK:
            return None
    return total


def _opens(opener: Opener, number: int, record: bytes) -> bool:
    try:
        opener.open(number, record)
    except RecordError:
        return False
    return True
