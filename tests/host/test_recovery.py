"""Behind a hole, by itself: the first whole record is found under its own number, or nothing is, and at what cost.

The model is the stream as it was sent: whoever made it knows which records the hole leaves whole.
"""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rxtls.crypto.keys import Keys
from rxtls.crypto.records import Sealer
from rxtls.crypto.schedule import tls13_keys, tls13_next_secret
from rxtls.crypto.suites import SUITES, Version
from rxtls.handshake.search_budget import Work
from rxtls.host.holes import begun
from rxtls.host.reassembly import Hole
from rxtls.host.recovery import GENERATIONS, WINDOW, Found, Recovery
from rxtls.host.sockbuf import SockBuf
from rxtls.host.worker import Session
from rxtls.seq import add
from sample_keys import ALL_SHAPES, made_up, sample_keys, shape_name
from sample_mbufs import mbuf
from tls_stream import stream_of

GCM12, GCM13 = sample_keys(SUITES[0xC02F], Version.TLS12), sample_keys(SUITES[0x1301], Version.TLS13)
CHACHA13, CHACHA12 = sample_keys(SUITES[0x1303], Version.TLS13), sample_keys(SUITES[0xCCA8], Version.TLS12)
CBC12 = sample_keys(SUITES[0xC013], Version.TLS12)
BASE = 0xFFFF_FF00
every_shape = pytest.mark.parametrize("keys", ALL_SHAPES, ids=shape_name)


def no_update(_generation: int) -> Keys | None:
    return None


class Broken:
    """A stream with a hole [lost from, lost to): the worker has read what is whole before it."""

    def __init__(self, keys: Keys, wire: bytes, lost: tuple[int, int], number: int = 0, first: Keys | None = None):
        self.wire, self.lost, self.work = wire, lost, Work()
        self.session = Session(first or keys, number)
        self.sockbuf = SockBuf()
        self.sockbuf.enable()
        self.add(0, lost[0])
        while self.session.step(self.sockbuf):
            pass
        self.begins = lost[0] - self.sockbuf.waiting  # the record that the hole is in
        self.recovery = begun(self.session, self.sockbuf.peek(self.session.keys.header_length))
        self.enter(*lost)

    def enter(self, start: int, end: int) -> None:
        hole = Hole(start, add(BASE, start), end - start, acknowledged=True)
        self.recovery.enter(self.sockbuf.flush(), hole)

    def add(self, start: int, end: int, step: int = 1400) -> None:
        for at in range(start, end, step):
            self.sockbuf.append(mbuf(BASE + at, self.wire[at : min(at + step, end)]))

    def search(self, ended: bool = False, following: object = no_update) -> Found | None:
        return self.recovery.search(self.sockbuf, self.session, following, self.work, ended)  # type: ignore[arg-type]

    def place(self, found: Found | None) -> tuple[int, int, int] | None:
        """Where in the stream that is, under which number, how many KeyUpdates on."""
        if found is None:
            return None
        return self.begins + self.recovery.distance + found.offset, found.number, found.generation


def sealed(keys: Keys, lengths: list[int], number: int = 0, seed: int = 0) -> tuple[bytes, list[int]]:
    """The records' bytes, and where each begins; the end of the last stands behind them."""
    sealer, dice, wire, starts = Sealer(keys), Random(seed), b"", [0]
    for n, length in enumerate(lengths):
        wire += sealer.seal(number + n, 23, dice.randbytes(length))
        starts.append(len(wire))
    return wire, starts


def first_whole(starts: list[int], end: int, lost_to: int) -> tuple[int, int] | None:
    """(place, index) of the first record that is whole behind the hole, as far as `end`."""
    for index, (start, stop) in enumerate(pairwise(starts)):
        if start >= lost_to and stop <= end:
            return start, index
    return None


@every_shape
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_the_first_whole_record_comes_back_under_its_number(keys: Keys, data: st.DataObject) -> None:
    """Wherever the hole is, however much of the stream's end came, in however many steps."""
    lengths = data.draw(st.lists(st.one_of(st.integers(0, 90), st.just(1200)), min_size=3, max_size=12))
    number = data.draw(st.sampled_from([0, 1, 2**32 - 3]))
    wire, starts = sealed(keys, lengths, number)
    start = data.draw(st.integers(0, len(wire) - 1))
    lost = start, data.draw(st.integers(start + 1, len(wire)))
    end = data.draw(st.integers(lost[1], len(wire)))
    broken = Broken(keys, wire, lost, number)
    found, at = None, lost[1]
    for stop in sorted({*data.draw(st.lists(st.integers(lost[1], end), max_size=3)), end}):
        broken.add(at, stop)
        at = stop
        found = found or broken.search()
        if found:
            break
    found = found or broken.search(ended=True)
    expected = first_whole(starts, at, lost[1])
    assert broken.place(found) == (expected and (expected[0], number + expected[1], 0))
    if found:
        assert broken.sockbuf.slice(found.offset, found.offset + 5)
    # Whatever was searched in vain is off the chain, and counted.
    assert broken.sockbuf.waiting == at - broken.begins - broken.recovery.distance
    assert broken.recovery.cut == broken.recovery.distance - (lost[1] - lost[0])
    assert broken.recovery.before == lost[0] - broken.begins
    broken.sockbuf.check_chain()


@every_shape
def test_forged_headers_in_the_way_are_passed(keys: Keys) -> None:
    """A hole that ends in the middle of a record which looks like records, all of it; and two of them in a row."""
    wire, starts = sealed(keys, [200, 300, 100, 60], 5)
    version = keys.version.wire.to_bytes(2)
    forged = (b"\x17" + version + b"\x00\x50" + bytes(0x50)) * 20 + b"\x17" + version
    whole = wire[: starts[1] + 20] + forged + wire[starts[2] :]
    for extra in (0, 7):
        lost = starts[1] - 30, starts[1] + 20 + extra
        broken = Broken(keys, whole, lost, 5)
        broken.recovery.total = None  # else its header, which came, says where the next one is
        broken.add(lost[1], len(whole))
        # The bytes in between leave room for many numbers, and it is the record that tells which it is.
        assert broken.place(broken.search(ended=True)) == (starts[2] + len(whole) - len(wire), 7, 0)


def test_several_holes_before_the_next_whole_record() -> None:
    wire, starts = sealed(GCM13, [500] * 6)
    broken = Broken(GCM13, wire, (starts[1] + 100, starts[1] + 200))
    broken.add(starts[1] + 200, starts[3])
    assert broken.place(broken.search()) == (starts[2], 2, 0)
    again = Broken(GCM13, wire, (starts[1] + 100, starts[2] + 50))
    again.add(starts[2] + 50, starts[2] + 300)
    assert again.search() is None
    again.enter(starts[2] + 300, starts[3] + 1)
    again.add(starts[3] + 1, starts[5])
    assert again.place(again.search()) == (starts[4], 4, 0)
    assert [hole.length for hole in again.recovery.holes] == [starts[2] - starts[1] - 50, starts[3] - starts[2] - 299]
    assert again.recovery.before == 100
    assert again.recovery.distance == starts[4] - starts[1] - again.sockbuf.waiting + (starts[5] - starts[4])


def test_the_cut_record_s_header_says_where_the_next_one_stands() -> None:
    """Nothing else is tried then, whatever looks like a header in between."""
    inner = b"\x17\x03\x03\x00\x30" + b"x" * 48
    stream = stream_of(GCM13, [40])
    stream.append_crafted(b"\xff" * 60 + inner * 8).append(made_up(60, "a")).append(made_up(70, "b"))
    starts = stream.starts
    broken = Broken(GCM13, stream.wire, (starts[1] + 20, starts[1] + 50))
    assert broken.recovery.total == starts[2] - starts[1]
    broken.add(starts[1] + 50, starts[2] + 3)
    assert broken.search() is None
    spent = broken.work.spent
    assert broken.sockbuf.waiting == 4  # the rest of the cut record is off, but for what may be a header's beginning
    broken.add(starts[2] + 3, len(stream.wire))
    assert broken.place(broken.search()) == (starts[2], 2, 0)
    assert (spent, broken.work.spent) == (0, 4)  # one trial


def test_a_cut_record_s_length_that_was_wrong_is_not_believed() -> None:
    """Its header was damaged: it says a place where there is nothing. What is behind the hole is found all the same."""
    wire, starts = sealed(GCM13, [300, 300, 50, 60, 70])
    for total in (40, 330, 400, 16000):  # too early, in other records, and far beyond all there is
        broken = Broken(GCM13, wire, (starts[1] + 20, starts[1] + 25))
        broken.recovery.total = total
        broken.add(starts[1] + 25, len(wire))
        place = broken.place(broken.search(ended=True))
        if total == 16000:  # nobody can tell yet: that many bytes may still come
            assert place is None
        else:
            assert place is not None
            assert place[0] in starts
            assert place[1] == starts.index(place[0])


@pytest.mark.parametrize("keys", [GCM12, CHACHA13, CHACHA12, CBC12], ids=shape_name)
@pytest.mark.parametrize("lost", [1, 7, 40])
def test_numbers_are_found_when_the_lengths_in_the_hole_are_not_the_usual_ones(keys: Keys, lost: int) -> None:
    for sizes in ([1000] * lost, [10] * lost, [10, 1000] * lost):
        wire, starts = sealed(keys, [200, 200, *sizes, 200, 200], 3)
        at = len(starts) - 3
        broken = Broken(keys, wire, (starts[2] - 3, starts[at] - 2), 3)
        broken.add(starts[at] - 2, len(wire))
        assert broken.place(broken.search()) == (starts[at], 3 + at, 0)


def test_explicit_nonces_that_count_up_tell_the_number_at_once() -> None:
    wire, starts = sealed(GCM12, [100] * 2 + [3, 900] * 30 + [100] * 2)
    at = len(starts) - 3
    broken = Broken(GCM12, wire, (starts[2], starts[at]))
    broken.add(starts[at], len(wire))
    assert broken.place(broken.search()) == (starts[at], at, 0)
    assert broken.work.spent <= 8  # two trials: the usual length's guess, and what the nonce says


@pytest.mark.parametrize("came", [2, 20], ids=["without its header", "with it"])
@pytest.mark.parametrize("lost", [1, 7, 300])
def test_records_of_the_usual_length_are_numbered_at_once(came: int, lost: int) -> None:
    """Whether the header of the record that the hole is in came or not: one trial."""
    wire, starts = sealed(CHACHA13, [1000] * (4 + lost), 9)
    broken = Broken(CHACHA13, wire, (starts[2] + came, starts[2 + lost] - 5), 9)
    broken.add(starts[2 + lost] - 5, len(wire))
    assert broken.place(broken.search()) == (starts[2 + lost], 9 + 2 + lost, 0)
    assert broken.work.spent <= 5


def test_a_header_with_its_nonce_tells_it_too_when_no_record_came_before() -> None:
    wire, starts = sealed(GCM12, [3, 900] * 30 + [100] * 2)
    at = len(starts) - 3
    spent = []
    for came in (13, 12):
        broken = Broken(GCM12, wire, (came, starts[at]))
        broken.add(starts[at], len(wire))
        assert broken.place(broken.search()) == (starts[at], at, 0)
        spent.append(broken.work.spent)
    assert spent[0] <= 8 < 100 < spent[1]


@pytest.mark.parametrize("behind", range(1, GENERATIONS + 2))
@pytest.mark.parametrize("code", [0x1301, 0x1303])
def test_key_updates_in_the_hole(code: int, behind: int) -> None:
    """RFC 8446, RFC 9846 section 7.2: the next secret is made from the last; numbers begin at 0 again."""
    suite = SUITES[code]
    secrets = [made_up(32, "secret")]
    for _ in range(GENERATIONS + 1):
        secrets.append(tls13_next_secret(suite, secrets[-1]))
    generations = [tls13_keys(suite, secret) for secret in secrets]
    before, starts = sealed(generations[0], [300] * 3)
    after, later = sealed(generations[behind], [120, 130, 140, 150])
    wire = before + after
    lost = starts[2] + 10, len(before) + later[2] - 5
    broken = Broken(generations[0], wire, lost)
    broken.add(lost[1], len(wire))
    asked: list[int] = []

    def following(generation: int) -> Keys:
        asked.append(generation)
        return generations[generation]

    found = broken.search(following=following)
    if behind > GENERATIONS:
        assert found is None
        assert set(asked) == set(range(1, GENERATIONS + 1))
    else:
        assert broken.place(found) == (len(before) + later[2], 2, behind)
        assert asked == list(range(1, behind + 1))
    stopped = Broken(generations[0], wire, lost)
    stopped.add(lost[1], len(wire))
    assert stopped.search() is None  # nobody knows of keys that follow


def test_no_update_is_looked_for_before_tls_1_3() -> None:
    wire, starts = sealed(GCM12, [300] * 3)
    other, _ = sealed(sample_keys(SUITES[0xC02F], Version.TLS12, label="other"), [90, 90])
    broken = Broken(GCM12, wire + other, (starts[2], starts[3]))
    broken.add(starts[3], len(wire + other))

    def never(_generation: int) -> Keys | None:
        raise AssertionError("asked for keys that follow")

    assert broken.search(following=never) is None


def test_a_search_far_behind_the_hole_goes_on_window_by_window_and_is_paid_for() -> None:
    junk = made_up(3 * WINDOW + 500, "junk").replace(b"\x03\x03", b"\x03\x02")
    wire, starts = sealed(GCM13, [100] * 4)
    whole = wire[: starts[2] - 20] + junk + wire[starts[2] :]
    broken = Broken(GCM13, whole, (starts[1], starts[2] - 20))
    broken.add(starts[2] - 20, len(whole))
    assert broken.place(broken.search()) == (starts[2] - 20 + len(junk), 2, 0)
    assert 3 * WINDOW // 1024 - 3 <= broken.work.spent <= 3 * WINDOW // 1024 + 40


@pytest.mark.parametrize("ended", [False, True])
def test_what_may_be_the_beginning_of_a_header_stays(ended: bool) -> None:
    wire, starts = sealed(GCM13, [100] * 4)
    for kept in range(5):
        broken = Broken(GCM13, wire, (starts[1], starts[2] - 50))
        broken.add(starts[2] - 50, starts[2] + kept)
        assert broken.search(ended) is None
        assert broken.sockbuf.waiting == (0 if ended else 4)


def test_a_record_that_is_not_whole_yet_is_waited_for_unless_no_more_will_come() -> None:
    wire, starts = sealed(GCM13, [100, 100, 2000, 100])
    for behind, ended in ((False, False), (True, True)):
        broken = Broken(GCM13, wire, (starts[1], starts[2] - 5))
        broken.add(starts[2] - 5, starts[2] + 500)
        assert broken.search() is None
        assert broken.sockbuf.waiting == 505
        if behind:
            assert broken.search(ended) is None
            assert broken.sockbuf.waiting == 0
        else:
            broken.add(starts[2] + 500, len(wire))
            assert broken.place(broken.search()) == (starts[2], 2, 0)


def test_nothing_is_tried_without_a_budget() -> None:
    wire, starts = sealed(CHACHA13, [100] * 40)
    broken = Broken(CHACHA13, wire, (starts[1], starts[30]))
    broken.add(starts[30], len(wire))
    broken.work.left = 0
    assert broken.search() is None
    assert broken.sockbuf.waiting == len(wire) - starts[30]
    strange = Broken(CHACHA13, wire, (starts[1], starts[30]))
    strange.session = Session(sample_keys(SUITES[0x1303], Version.TLS13, label="strange"), 0)
    strange.add(starts[30], len(wire))
    strange.work = Work(100)
    assert strange.search() is None
    assert 100 <= strange.work.spent <= 110


@every_shape
def test_lengths_that_these_keys_do_not_know_are_no_candidates(keys: Keys) -> None:
    """What cannot be a record is not opened: no trial is paid for."""
    wire, starts = sealed(keys, [100] * 3)
    version = keys.version.wire.to_bytes(2)
    for total in (keys.min_total - 1, keys.max_total + 1):
        junk = b"\x17" + version + (total - 5).to_bytes(2) + bytes(200)
        broken = Broken(keys, wire[: starts[1]] + bytes(10) + junk, (starts[1], starts[1] + 10))
        broken.add(starts[1] + 10, starts[1] + 10 + len(junk))
        assert broken.search(ended=True) is None
        assert broken.work.spent == 0


BEHIND = {b"": True, b"\x17\x03": True, b"\x17\x03\x03\x00": True, b"\x17\x03\x03\x00\x40": True,
          b"\x17\x03\x04": False, b"\x17\x03\x03\xff\xff": False, b"\x10\x03\x03": False}  # fmt: skip


@pytest.mark.parametrize(("behind", "tried"), BEHIND.items())
def test_a_candidate_needs_another_header_or_the_end_behind_it(behind: bytes, tried: bool) -> None:
    header = b"\x17\x03\x03\x00\x40" + bytes(64)
    wire, starts = sealed(CHACHA13, [100] * 2)
    broken = Broken(CHACHA13, wire + bytes(100) + header + behind, (starts[2], starts[2] + 100))
    broken.add(starts[2] + 100, len(broken.wire))
    assert broken.search(ended=True) is None
    assert (broken.work.spent > 0) is tried


def test_marked_bytes_are_undone_before_they_are_tried() -> None:
    """The NIC may have gone on behind the hole: what it decrypted is opened as the wire had it."""
    stream = stream_of(GCM13, [100] * 6)
    starts = stream.starts
    broken = Broken(GCM13, stream.wire, (starts[2] + 10, starts[3] - 10))
    broken.session.begin_epoch(1)
    broken.sockbuf.append(mbuf(BASE + starts[3] - 10, stream.wire[starts[3] - 10 : starts[3]]))
    broken.sockbuf.append(mbuf(BASE + starts[3], stream.plain[starts[3] :], 1))
    assert broken.place(broken.search()) == (starts[3], 3, 0)
    fresh = Recovery(0, None, 100, None)
    assert (fresh.distance, fresh.cut, fresh.holes) == (0, 0, [])
