"""A stream whose beginning was not captured: where its records begin, whose they are, and which number they have.

    bytes      | .. rest of a record | header .. | header . | header .... | hea     each header leads to the next
    trials     short records first: under each secret that may be theirs, as each number that they may have

In TLS 1.3 a traffic secret is all it takes (RFC 8446, RFC 9846 section 7.3): which of the key log's it is, which suite
goes with it and how many records went before is found by trial. What is likely and cheap is tried before what is not:

    AES-GCM                 a record tells its number (crypto/number.py): one look for each secret
    ChaCha20, AES-CCM       numbers from 0 up, in steps that widen, for all secrets before the next step
    after KeyUpdates        the secrets that follow

Before TLS 1.3 keys are made from both randoms (RFC 5246 section 6.3): where these are known and only a part of the
handshake is missing, numbers are few and simply tried. All of it is paid for from a budget of work (search_budget.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice, pairwise
from typing import NamedTuple

from rxtls.crypto.keys import CBC_BLOCK, RECORD_HEADER, Keys
from rxtls.crypto.number import likely_numbers, told_number
from rxtls.crypto.records import APPLICATION_DATA, Opener
from rxtls.crypto.schedule import HASH_LENGTH, tls13_keys, tls13_next_secret
from rxtls.crypto.suites import TLS13_SUITES, Family, Suite
from rxtls.errors import RecordError
from rxtls.handshake.exchange import Role
from rxtls.handshake.search_budget import LIKELY_NUMBERS, SCHEDULE, SEARCHED_BYTES, TOLD, TRIAL_BYTES, Work
from rxtls.wire.tls import ALERT, CHANGE_CIPHER_SPEC, HANDSHAKE, MAX_FRAGMENT

ENOUGH = 64 << 10  # bytes in which to look for short records
STEPS = (0, 64, 1024, 1 << 14, 1 << 20)  # numbers that are tried, one range after the other
MOST_NUMBER = 1 << 48  # what a record tells is believed up to here: the rest of its 64 bits is a check
GENERATIONS = 4  # KeyUpdates before the capture; most connections have none
NUMBERS12 = 256  # tried before TLS 1.3, where no more than a handshake is missing,
_EARLY12 = 128  # on records from among the first
_TELLING = frozenset({Family.AES_GCM})  # crypto/number.py
_CHACHA = frozenset({Family.CHACHA20_POLY1305})
_CCM = frozenset({Family.AES_CCM, Family.AES_CCM8})
_FIRST = 8  # records of a chain, in which keys before a KeyUpdate are looked for: more than a handshake's flight has
KEPT = 1 << 15  # keys that are kept for the next stream: some 20 MB
_BATCH = 128  # secrets that are looked at in bulk,
_AT_ONCE = 1 << 14  # and numbers

_ENOUGH_BLOCKS = 3  # records of whole blocks: 1 in 4096 streams of another kind; of the longest, 64 KiB has no more

_HEADER = re.compile(rb"[\x14-\x17]\x03[\x01-\x03]")


Kept = dict[tuple[int, bytes], Keys]  # by suite and secret


class Secret(NamedTuple):
    """A traffic secret that may be the stream's: of which session, and of which role."""

    random: bytes
    role: Role
    secret: bytes

    def __repr__(self) -> str:
        return f"Secret({self.role.name})"


class Start(NamedTuple):
    """The record at `offset` has this `number` under `keys`. In TLS 1.3: `whose` secret it was before any KeyUpdate,
    and the `secret` now in force."""

    offset: int
    keys: Keys
    number: int
    whose: Secret | None = None
    secret: bytes = b""

    def __repr__(self) -> str:
        return f"Start(offset={self.offset}, number={self.number})"


class Place(NamedTuple):
    """A record in the bytes at hand."""

    offset: int
    length: int


def chain(data: bytes, work: Work) -> list[Place]:
    """The whole records of the first chain of headers that goes on to the end of `data`; [] if there is none."""
    work.left -= len(data) // SEARCHED_BYTES
    at = 0
    while (match := _HEADER.search(data, at)) is not None and work.left > 0:
        places = _follow(data, match.start())
        if places:
            return places
        at = match.start() + 1
        work.left -= 1
    return []


def _follow(data: bytes, at: int) -> list[Place]:
    places = []
    while at + RECORD_HEADER <= len(data):
        length = data[at + 3] << 8 | data[at + 4]
        if _HEADER.match(data, at) is None or not 0 < length <= MAX_FRAGMENT:
            return []
        if at + RECORD_HEADER + length > len(data):
            break
        places.append(Place(at, RECORD_HEADER + length))
        at += RECORD_HEADER + length
    return places


def find13(
    data: bytes, secrets: Iterable[Secret], suite: Suite | None, work: Work, kept: Kept | None = None
) -> Start | None:
    """Where a TLS 1.3 stream can be read from. `suite` is the only one that it may be, if that is known. `kept` are the
    keys of secrets that were tried before, for the next stream: it spares time, and no work."""
    kept = {} if kept is None else kept
    places = chain(data, work)
    picks = _picks(places, [data[each.offset] == APPLICATION_DATA for each in places])
    if not picks:
        return None
    candidates = list(secrets)
    suites = TLS13_SUITES if suite is None else (suite,)
    for n, updates, numbers, ciphers in _looks(len(picks)):
        record = data[picks[n].offset : picks[n].offset + picks[n].length]
        for each in suites:
            if each.family not in ciphers:
                continue
            for keys, number, whose, secret in _fitting(candidates, each, record, updates, numbers, work, kept):
                start = _begin(data, places, picks[n], Start(0, keys, number, whose, secret))
                if start is not None and updates:
                    start = _before_update(data, places, start, whose, updates, work) or start
                if start is not None:
                    return start
            if work.left <= 0:
                return None
    return None


def find12(data: bytes, keys: Iterable[Keys], work: Work) -> Start | None:
    """The same before TLS 1.3, for all keys that it may be. Finished, which is record 0, is not given to anybody."""
    places = chain(data, work)
    sealed = _under_first_keys(data, places)[:_EARLY12]
    for each in keys:
        opener = Opener(each)
        for record in _picks(sealed, [True] * len(sealed)):
            for number in range(NUMBERS12):
                if work.left <= 0:
                    return None
                work.trial(each, record.length)
                if _opens(opener, number, data, record):
                    start = _begin(data, sealed, record, Start(0, each, number))
                    if start is not None and not start.number:
                        finished = next(place for place in places if place.offset == start.offset)
                        start = start._replace(offset=finished.offset + finished.length, number=1)
                    return start
    return None


def _under_first_keys(data: bytes, places: list[Place]) -> list[Place]:
    """The records between the first ChangeCipherSpec, in plaintext, and the next one, which is under the keys that it
    ends (a renegotiation); as far as there are such."""
    ccs = [n for n, each in enumerate(places) if data[each.offset] == CHANGE_CIPHER_SPEC]
    plain = [n for n in ccs if places[n].length == RECORD_HEADER + 1]
    first = plain[-1] + 1 if plain else 0
    return places[first : next((n for n in ccs if n >= first), len(places))]


def before_tls13(data: bytes, work: Work) -> bool:
    """Whether these are records that TLS 1.3 does not have: of another type or version outside, or with explicit nonces
    that count up by one. (False for some that are older all the same.)"""
    places = chain(data, work)
    nonces = [int.from_bytes(data[each.offset + 5 : each.offset + 13]) for each in places if each.length >= 13]
    return (
        any(data[each.offset] in (ALERT, HANDSHAKE) or data[each.offset + 2] != 3 for each in places)
        or any(b - a == 1 for a, b in pairwise(nonces))
    )  # fmt: skip


def in_blocks(data: bytes, work: Work) -> bool:
    """Whether these seem to be records of a CBC suite, which TLS 1.3 has none of: all of whole blocks. By chance others
    have such lengths, too, so that it is no reason not to try."""
    places = chain(data, work)
    return len(places) >= _ENOUGH_BLOCKS and all(not (each.length - RECORD_HEADER) % CBC_BLOCK for each in places)


def _picks(places: list[Place], sealed: list[bool]) -> list[Place]:
    """The records to try: the shortest of the later half, of all, and the last. Early ones may be of the handshake."""
    usable = [place for place, good in zip(places, sealed, strict=True) if good]
    if not usable:
        return []
    later = usable[len(usable) // 2 :]
    return list(dict.fromkeys((min(later, key=_length), min(usable, key=_length), usable[-1])))


def _length(place: Place) -> int:
    return place.length


def _looks(picks: int) -> Iterator[tuple[int, int, range | None, frozenset[Family]]]:
    """What to look at, in order: (which record, KeyUpdates, numbers, ciphers); numbers None: what the record tells."""
    few, *more = [range(start, stop) for start, stop in pairwise(STEPS)]
    last = picks - 1
    yield 0, 0, None, _TELLING
    yield 0, 0, few, _CHACHA
    yield from ((n, 0, None, _TELLING) for n in range(1, picks))
    yield from ((n, 0, few, _CHACHA) for n in range(1, picks))
    yield from ((n, 0, few, _CCM) for n in range(picks))
    for updates in range(1, GENERATIONS + 1):
        yield last, updates, None, _TELLING
        yield last, updates, few, _CHACHA | _CCM
    for numbers in more:
        yield from ((n, 0, numbers, _CHACHA | _CCM) for n in range(picks))


def _fitting(
    candidates: list[Secret],
    suite: Suite,
    record: bytes,
    updates: int,
    numbers: range | None,
    work: Work,
    kept: Kept,
) -> Iterator[tuple[Keys, int, Secret, bytes]]:
    """Keys and numbers under which the record may be, as (keys, number, whose secret, the secret in force)."""
    fitting = (each for each in candidates if len(each.secret) == HASH_LENGTH[suite.prf_hash])
    at_once = 1 if numbers is None else max(1, _BATCH // (1 + len(numbers) // 256))
    while (some := list(islice(fitting, at_once))) and work.left > 0:
        secrets = [_updated(suite, each.secret, updates) for each in some]
        keys = [keys_of(suite, secret, kept) for secret in secrets]
        work.left -= SCHEDULE * (1 + updates) * len(some)
        if not keys[0].min_total <= len(record) <= keys[0].max_total:
            return
        for n, number in _numbers(keys, record, numbers, work):
            yield keys[n], number, some[n], secrets[n]


def _numbers(keys: list[Keys], record: bytes, numbers: range | None, work: Work) -> Iterator[tuple[int, int]]:
    """(Place in `keys`, number) of those that open the record."""
    if numbers is None:
        work.left -= TOLD + len(record) // TRIAL_BYTES
        told = told_number(keys[0], record)
        found = [] if told is None or told > MOST_NUMBER else [(0, told)]
    else:
        found = []
        for start in range(numbers.start, numbers.stop, _AT_ONCE):
            stop = min(start + _AT_ONCE, numbers.stop)
            work.left -= len(keys) * (stop - start) // LIKELY_NUMBERS
            yield from _opening(keys, record, likely_numbers(keys, record, start, stop), work)
            if work.left <= 0:
                return
    yield from _opening(keys, record, found, work)


def _opening(keys: list[Keys], record: bytes, found: list[tuple[int, int]], work: Work) -> Iterator[tuple[int, int]]:
    for n, number in found:
        work.trial(keys[n], len(record))
        try:
            Opener(keys[n]).open(number, record)
        except RecordError:
            continue
        yield n, number


def keys_of(suite: Suite, secret: bytes, kept: Kept) -> Keys:
    """Record keys of a traffic secret, which are kept for who tries it again."""
    keys = kept.get((suite.code, secret))
    if keys is None:
        keys = tls13_keys(suite, secret)
        if len(kept) < KEPT:
            kept[suite.code, secret] = keys
    return keys


def _before_update(
    data: bytes, places: list[Place], found: Start, whose: Secret, updates: int, work: Work
) -> Start | None:
    """Where records begin under keys before those found, if a KeyUpdate is in the chain: its first records are tried,
    some of which may be the handshake's."""
    suite = found.keys.suite
    earlier = [place for place in places if place.offset < found.offset and data[place.offset] == APPLICATION_DATA]
    secrets = [_updated(suite, whose.secret, before) for before in range(updates)]
    all_keys = [tls13_keys(suite, secret) for secret in secrets]
    work.left -= SCHEDULE * (1 + updates) * updates
    numbers = None if suite.family in _TELLING else range(STEPS[0], STEPS[2])
    for place in earlier[:_FIRST]:
        record = data[place.offset : place.offset + place.length]
        for secret, keys in zip(secrets, all_keys, strict=True):
            if work.left <= 0:
                return None
            if keys.min_total <= len(record) <= keys.max_total:
                for _, number in _numbers([keys], record, numbers, work):
                    return _begin(data, places, place, Start(0, keys, number, whose, secret))
    return None


def _updated(suite: Suite, secret: bytes, updates: int) -> bytes:
    for _ in range(updates):
        secret = tls13_next_secret(suite, secret)
    return secret


def _begin(data: bytes, places: list[Place], record: Place, found: Start) -> Start | None:
    """The first record of the chain that is under the same keys as the one that was found.

    An AEAD tag of 8 bytes alone says too little after so many trials: a record beside it has to open, too."""
    opener = Opener(found.keys)
    at = places.index(record)
    zero = at - found.number  # where the record 0 is, or would be
    if found.keys.aead_tag_length == 8:
        beside = [n for n in (at - 1, at + 1) if max(0, zero) <= n < len(places)]
        if not any(_opens(opener, n - zero, data, places[n]) for n in beside):
            return None
    first = max(0, zero)
    while first < at and not _opens(opener, first - zero, data, places[first]):
        first += 1
    return found._replace(offset=places[first].offset, number=first - zero)


def _opens(opener: Opener, number: int, data: bytes, place: Place) -> bool:
    try:
        opener.open(number, data[place.offset : place.offset + place.length])
    except RecordError:
        return False
    return True
