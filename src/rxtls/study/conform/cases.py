"""The cases of the contract: what is played, and what must come of it besides the rules of bed.py.

Each has a name, the commands that the profile's NIC must have for it, and a sentence. A case takes a `Begin`, which
makes flows, and raises Breach.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from random import Random

from rxtls.crypto.keys import Keys
from rxtls.offload.commands import Confirm, Guess, Progress, Query, SetPosition
from rxtls.study.conform.bed import Bed, Breach, Played, must, must_all
from rxtls.study.conform.stream import NUMBERS, Stream


@dataclass(frozen=True, slots=True)
class Begin:
    """Makes the streams and flows of one case. `other` are keys of the same kind."""

    bed: Bed
    keys: Keys
    other: Keys

    def stream(self, base: int = 1_000, number: int = 0) -> Stream:
        """An empty stream."""
        return Stream(self.keys, base, number)

    def play(self, stream: Stream) -> Played:
        """A flow with this stream, without a receive tag."""
        return Played(self.bed, stream, self.bed.flow())

    def lost(self, more: int = 30) -> tuple[Played, int]:
        """A flow that is out of sync: the headers of three records never came. The second value is where the stream
        goes on, in mid-record."""
        played = self.play(self.stream().many(3 + more, 64)).install()
        first, away = played.stream.records[0].end, played.stream.records[3].end + 7
        must_all(played.cut(0, first), "before the loss")
        played.silenced = "the place of the next header is not known, and nothing was confirmed"
        return played, away


@dataclass(frozen=True, slots=True)
class Case:
    """One of them."""

    name: str
    needs: frozenset[str]
    about: str
    run: Callable[[Begin], None]


CASES: list[Case] = []


def _case(about: str, *needs: str) -> Callable[[Callable[[Begin], None]], None]:
    def add(run: Callable[[Begin], None]) -> None:
        CASES.append(Case(run.__name__.strip("_").replace("_", " "), frozenset(needs), about, run))

    return add


# In order.


@_case("records in order, cut at 1,448 bytes, all come up decrypted")
def _in_order(begin: Begin) -> None:
    must_all(begin.play(begin.stream().many(4, 4_000).add(16_384).add(1)).install().rest(), "in order")


@_case("headers, nonces, ciphertext and AEAD tags split at every place")
def _split_anywhere(begin: Begin) -> None:
    for step in (1, 2, 3, 7, 16, 23):
        must_all(begin.play(begin.stream().many(4, 40)).install().rest(step=step), f"packets of {step} bytes")


@_case("several records in one packet")
def _several_in_a_packet(begin: Begin) -> None:
    must_all(begin.play(begin.stream().many(40, 50)).install().rest(), "many small records")


@_case("empty records, other types and, in TLS 1.3, padding")
def _odd_records(begin: Begin) -> None:
    stream = begin.stream().add(0).add(2, kind=21).add(10, padding=100 if begin.keys.tls13 else 0).add(5)
    must_all(begin.play(stream).install().rest(step=30), "odd records")


@_case("bytes before the first record of the receive tag are left alone, those from it on decrypted")
def _begins_where_it_was_told(begin: Begin) -> None:
    played = begin.play(begin.stream().many(6, 200))
    cut = played.stream.records[2].start
    played.install(2)
    must(not any(played.cut(0, 100, cut)), "decrypted before the first record")
    must_all(played.rest(cut, 150), "from the first record on")


# All or nothing, and only after the AEAD tag.


@_case("a packet in which a forged AEAD tag ends stays as on the wire")
def _forged_tag(begin: Begin) -> None:
    stream = begin.stream().add(300).forged(3_000).add(300)
    begin.play(stream).install().rest(step=500)


@_case("so it does where the ciphertext was changed, and where the record is in pieces")
def _forged_ciphertext(begin: Begin) -> None:
    for step in (1_448, 97, 5):
        begin.play(begin.stream().add(200).forged(700, at=40).add(200)).install().rest(step=step)


@_case("a packet of good records with one forged among them stays as on the wire, all of it")
def _one_bad_among_good(begin: Begin) -> None:
    for place in range(4):
        stream = begin.stream()
        for n in range(4):
            stream.forged(60) if n == place else stream.add(60)
        played = begin.play(stream.many(4, 60)).install()
        must(not played.send(0, stream.records[3].end), "a packet with a forged record came up decrypted")


@_case("an AEAD tag that is split over packets is judged with its last byte")
def _split_forged_tag(begin: Begin) -> None:
    for before in range(1, 16):
        stream = begin.stream().forged(100)
        played = begin.play(stream.add(100)).install()
        played.cut(0, len(stream.wire) // 2 - before, len(stream.wire) // 2, len(stream.wire))


@_case("after one forged record the next ones are decrypted")
def _one_bad_packet(begin: Begin) -> None:
    if begin.bed.profile.auth_failures > 1:
        played = begin.play(begin.stream().many(2, 100).forged(100).many(4, 100)).install()
        ends = [sent.end for sent in played.stream.records]
        played.cut(0, *ends[:3])
        must_all(played.cut(*ends[2:]), "after one forged record")


# Holes, and what comes twice.


@_case("behind a hole in a record nothing of it is decrypted; the next one is, as its place is known")
def _hole_in_a_record(begin: Begin) -> None:
    played = begin.play(begin.stream().many(3, 3_000).many(20, 100)).install()
    second, third = played.stream.records[1], played.stream.records[2]
    played.cut(0, 1_000, second.start + 100)
    played.cut(second.start + 600, third.start - 20)  # 500 bytes are missing
    played.send(third.start - 20, third.start + 500)
    must_all(played.rest(third.start + 500, 700), "from the header behind the hole on")


@_case("packets that overtake each other")
def _overtaken(begin: Begin) -> None:
    dice = Random(7)
    played = begin.play(begin.stream().many(12, 900)).install()
    cuts = [*range(0, len(played.stream.wire), 400), len(played.stream.wire)]
    spans = list(pairwise(cuts))
    for n in range(0, len(spans) - 3, 4):
        some = spans[n : n + 4]
        dice.shuffle(some)
        for start, end in some:
            played.send(start, end)


@_case("a retransmission of what was decrypted stays as on the wire")
def _retransmission(begin: Begin) -> None:
    played = begin.play(begin.stream().many(6, 300)).install()
    ends = [sent.end for sent in played.stream.records]
    must_all(played.cut(0, *ends[:3]), "the first time")
    must(not any(played.cut(0, *ends[:3])), "decrypted again")
    must_all(played.cut(*ends[2:]), "after a retransmission")


@_case("so does one that has old and new bytes in one packet, or is cut otherwise")
def _old_and_new(begin: Begin) -> None:
    played = begin.play(begin.stream().many(8, 300)).install()
    second = played.stream.records[2].start
    must_all(played.cut(0, second), "the first time")
    for start, end in ((0, second + 200), (5, 40), (second - 1, second + 1), (second - 300, second + 600)):
        played.send(start, end)


@_case("other bytes in the place of old ones change nothing")
def _other_bytes(begin: Begin) -> None:
    played = begin.play(begin.stream().many(6, 300)).install()
    ends = [sent.end for sent in played.stream.records]
    must_all(played.cut(0, *ends[:2]), "before")
    played.send(0, 200, data=Random(3).randbytes(200))
    must_all(played.cut(*ends[1:]), "after other bytes")


# Out of sync, and back.


@_case("once a header is lost, nothing is decrypted before a place is confirmed")
def _lost_header(begin: Begin) -> None:
    played, away = begin.lost()
    played.rest(away, 120)


def _anchored(begin: Begin) -> tuple[Played, Progress, int]:
    """A flow out of sync that tracks from a place which the device told, and where the stream goes on."""
    played, at = begin.lost()
    for _ in range(4):
        played.send(at, at + 100)
        at += 100
    told = [each for each in played.post(Query(played.epoch)) if isinstance(each, Progress)]
    must(len(told) == 1, f"{len(told)} answers to one query")
    must(told[0].epoch == played.epoch, f"an answer of epoch {told[0].epoch}, not {played.epoch}")
    return played, told[0], at


def _number(played: Played, place: int) -> int:
    """Of the record that begins at this sequence number."""
    for sent in played.stream.records:
        if played.stream.seq(sent.start) == place:
            return sent.number
    raise Breach("the answer's place is none where a record begins, in a stream without false headers")


@_case("a query out of sync tells a header; once that is confirmed, records are decrypted again", "query", "confirm")
def _confirmed(begin: Begin) -> None:
    played, told, at = _anchored(begin)
    _regained(played, told, at)


def _regained(played: Played, told: Progress, at: int) -> None:
    """Once the place is confirmed, and the stream goes on from `at`."""
    played.post(Confirm(played.epoch, told.hw_resync_tcp_sn, _number(played, told.hw_resync_tcp_sn)))
    played.silenced = ""
    marks = played.rest(at, 120)
    must(any(marks), "nothing was decrypted after the confirm")
    must_all(marks[marks.index(True) :], "after the confirm")


@_case("a confirm of another place than the device tracks from has no effect", "query", "confirm")
def _stale_confirm(begin: Begin) -> None:
    played, told, at = _anchored(begin)
    for sent in played.stream.records:
        if played.stream.seq(sent.start) != told.hw_resync_tcp_sn:
            played.post(Confirm(played.epoch, played.stream.seq(sent.start), sent.number))
    played.cut(at, at + 50)
    _regained(played, told, at + 50)


@_case("a confirm with a wrong record number decrypts nothing, since no AEAD tag verifies", "query", "confirm")
def _wrong_number(begin: Begin) -> None:
    played, told, at = _anchored(begin)
    number = _number(played, told.hw_resync_tcp_sn)
    played.post(Confirm(played.epoch, told.hw_resync_tcp_sn, number + 1))
    if begin.keys.explicit_length:
        played.silenced = "the record number was wrong"  # in TLS 1.2 it is part of the additional data
    record = played.stream.records[0].end
    first = next(sent.start for sent in played.stream.records if sent.start >= at)
    played.rest(first, record)


@_case("a confirm while in sync has no effect", "confirm")
def _confirm_in_sync(begin: Begin) -> None:
    played = begin.play(begin.stream().many(10, 100)).install()
    ends = [sent.end for sent in played.stream.records]
    must_all(played.cut(0, *ends[:3]), "before")
    played.post(Confirm(played.epoch, played.stream.seq(ends[2]), 77))
    must_all(played.cut(*ends[2:]), "after a confirm that nobody asked for")


@_case("commands for an epoch that is over have no effect, and no answer", "query", "confirm")
def _old_commands(begin: Begin) -> None:
    played, told, at = _anchored(begin)
    place = told.hw_resync_tcp_sn
    must(played.post(Query(played.epoch - 1)) == [], "an answer to a query of another epoch")
    played.post(Confirm(played.epoch - 1, place, _number(played, place)))
    played.rest(at, 120)


@_case("a guess that is volunteered names a header in its own packet", "guess")
def _guess(begin: Begin) -> None:
    played, at = begin.lost()
    told: list[tuple[Guess, int]] = []
    while at < len(played.stream.wire) - 100:
        played.send(at, at + 100)
        told += [(each, at) for each in played.tick() if isinstance(each, Guess)]
        at += 100
    must(bool(told), "no guess, though headers passed by")
    for each, start in told:
        seq = played.stream.seq(start)
        must(each.epoch == played.epoch, "a guess of another epoch")
        must((each.packet_sn, each.packet_length) == (seq, 100), "a guess with another packet")
        must((each.tcp_sn - seq) % (1 << 32) < 100, "a guess that is not in its packet")


@_case("a position that lies ahead is taken, and decrypted from", "set_position")
def _position(begin: Begin) -> None:
    played, at = begin.lost()
    played.send(at, at + 100)
    ahead = next(sent for sent in played.stream.records if sent.start > at + 300)
    played.post(SetPosition(played.epoch, played.stream.seq(ahead.start), ahead.number))
    played.cut(at + 100, ahead.start)
    played.silenced = ""
    must_all(played.rest(ahead.start, 130), "from the position on")


@_case("a position has no effect while in sync", "set_position")
def _position_in_sync(begin: Begin) -> None:
    played = begin.play(begin.stream().many(10, 100)).install()
    ends = [sent.end for sent in played.stream.records]
    must_all(played.cut(0, *ends[:3]), "before")
    played.post(SetPosition(played.epoch, played.stream.seq(ends[5] + 3), 77))
    must_all(played.cut(*ends[2:]), "after a position that nobody wanted")


@_case("payload that looks like chained headers is not decrypted, nor an anchor that is confirmed by itself")
def _false_headers(begin: Begin) -> None:
    size = begin.keys.min_total + 40
    link = b"\x17\x03\x03" + (size - 5).to_bytes(2) + b"\xff" * (size - 5)
    stream = begin.stream().add(100).many(3, 60)
    for _ in range(4):
        stream.crafted(link * 12)
    played = begin.play(stream.many(4, 60)).install()
    must_all(played.cut(0, stream.records[0].end), "before the loss")
    played.silenced = "nothing was confirmed"
    played.rest(stream.records[4].start + 20, 200)


# Receive tags.


@_case("after the release nothing is decrypted, and nothing told")
def _released(begin: Begin) -> None:
    played = begin.play(begin.stream().many(10, 100)).install()
    ends = [sent.end for sent in played.stream.records]
    must_all(played.cut(0, *ends[:3]), "before the release")
    played.release()
    played.cut(*ends[2:])
    must(played.tick() == [], "an answer after the release")


@_case(
    "a release with commands out: none of them is answered, and none reaches the next receive tag", "query", "confirm"
)
def _released_with_commands_out(begin: Begin) -> None:
    played, told, at = _anchored(begin)
    place = told.hw_resync_tcp_sn
    played.bed.core.post(played.flow, Query(played.epoch))
    played.bed.core.post(played.flow, Confirm(played.epoch, place, _number(played, place)))
    played.release()
    later = next(n for n, sent in enumerate(played.stream.records) if sent.start > at)
    played.install(later, tick=False)
    must(played.tick() == [], "an answer to a query of the receive tag that was released")
    played.silenced = ""
    start = played.stream.records[later].start
    must_all(played.rest(start, 130), "under the next receive tag")
    must(all(each.epoch == played.epoch for each in played.post(Query(played.epoch))), "an answer of the epoch before")


@_case("other keys with a new receive tag: from its first record on, under its own mark")
def _keys_changed(begin: Begin) -> None:
    stream = begin.stream().many(4, 300).rekey(begin.other).many(4, 300)
    played = begin.play(stream).install(keys=begin.keys)
    change = stream.records[4].start
    must_all(played.cut(0, 500, change), "under the first keys")
    played.release()
    played.install(4)
    played.silenced = ""
    must_all(played.rest(change, 333), "under the second keys")


@_case("keys that change under the receive tag: nothing of the new ones is decrypted")
def _keys_changed_under_it(begin: Begin) -> None:
    stream = begin.stream().many(4, 100).rekey(begin.other).many(12, 100)
    played = begin.play(stream).install(keys=begin.keys)
    ends = [0, *(sent.end for sent in stream.records)]
    must_all(played.cut(*ends[:5]), "under the right keys")
    played.silenced = "the keys are others"
    played.cut(*ends[4:])


@_case("packets by another interface are left alone, and keep their leaf")
def _another_leaf(begin: Begin) -> None:
    played = begin.play(begin.stream().many(10, 100)).install()
    ends = [0, *(sent.end for sent in played.stream.records)]
    must_all(played.cut(*ends[:3]), "on the receive tag's interface")
    for start, end in pairwise(ends[2:6]):
        must(not played.send(start, end, leaf=1), "decrypted on another interface")
    played.cut(*ends[5:])


@_case("a hundred receive tags at once do not get into each other's way")
def _many_at_once(begin: Begin) -> None:
    flows = [begin.play(begin.stream(base=1_000 * n, number=n).many(4, 90)) for n in range(100)]
    for played in flows:
        played.install()
    for start in range(0, len(flows[0].stream.wire), 70):
        for played in flows:
            must(played.send(start, min(start + 70, len(played.stream.wire))), "one of a hundred flows in order")
    for played in flows:
        played.bed.done(played.flow)


# Wraps.


@_case("sequence numbers that wrap in header, ciphertext, AEAD tag, and between records")
def _sequence_wraps(begin: Begin) -> None:
    length = Stream(begin.keys).add(60).records[0].end
    for before in (length, length + 2, length + 5, length + 30, 2 * length - 8, 2 * length - 1):
        for step in (length, 33):
            played = begin.play(begin.stream(base=(1 << 32) - before).many(4, 60)).install()
            must_all(played.rest(step=step), f"a wrap {before} bytes into the stream")


@_case("record numbers beyond 32 bits")
def _large_numbers(begin: Begin) -> None:
    for number in ((1 << 32) - 2, (1 << 48) - 1, NUMBERS // 2 - 1):
        must_all(begin.play(begin.stream(number=number).many(4, 60)).install().rest(), f"number {number}")


@_case("record numbers do not wrap: after the last one nothing is decrypted (RFC 8446, RFC 9846 section 5.3)")
def _last_number(begin: Begin) -> None:
    stream = begin.stream(number=NUMBERS - 3).many(8, 60)
    played = begin.play(stream).install()
    ends = [0, *(sent.end for sent in stream.records)]
    must_all(played.cut(*ends[:3]), "before the last number")
    played.cut(*ends[2:4])
    played.silenced = "record numbers are used up"
    played.cut(*ends[3:])


# Hostile.

_HEADERS = ((0, 0x0303, None), (0x17, 0x0301, None), (0x17, 0x0304, None), (0x57, 0x0303, None), (0x17, 0x0303, 0),
            (0x17, 0x0303, 16), (0x17, 0x0303, 0xFFFF), (0xFF, 0xFFFF, 0xFFFF))  # fmt: skip


@_case("records whose headers say what no record has, though their AEAD tags verify")
def _hostile_headers(begin: Begin) -> None:
    for header in _HEADERS:
        for step in (50, 700):
            played = begin.play(begin.stream().many(2, 80).hostile(*header).many(8, 80)).install()
            bad = played.stream.records[2]
            must_all(played.cut(0, bad.start), "before")
            if header[2] is not None or header[1] != 0x0303 or header[0] != 0x17:
                played.silenced = "the place of a header holds none"
            played.rest(bad.start, step)


@_case("records that are longer than any may be, though their AEAD tags verify")
def _oversize(begin: Begin) -> None:
    excess = begin.keys.max_total - begin.keys.header_length - 16 + 1
    stream = begin.stream().add(80).hostile(0x17, 0x0303, None, excess).many(3, 80)
    played = begin.play(stream).install()
    must_all(played.cut(0, stream.records[0].end), "before")
    played.silenced = "the place of a header holds none"
    played.rest(stream.records[0].end, 1_448)


@_case("noise: bytes and sequence numbers at random, in sync and out of it")
def _noise(begin: Begin) -> None:
    for seed in range(8):
        dice = Random(seed)
        played = begin.play(begin.stream().many(3, 80)).install()
        must_all(played.rest(), "before the noise")
        played.silenced = "it is noise"
        played.send(len(played.stream.wire), 0, data=bytes(100))  # where a header was to be
        for _ in range(60):
            start = dice.choice([len(played.stream.wire), dice.randrange(1 << 32), dice.randrange(4_000)])
            junk = dice.randbytes(dice.randrange(1, 1_449))
            if dice.random() < 0.5:
                junk = (b"\x17\x03\x03" + dice.randrange(1 << 16).to_bytes(2) + junk)[:1_448]
            played.send(start, start, data=junk)
