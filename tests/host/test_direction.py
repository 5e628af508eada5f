"""One direction as the path walks it: every byte in ends somewhere, whatever became of the connection."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rxtls.counters import Ledger
from rxtls.crypto.keys import Keys
from rxtls.crypto.records import Sealer
from rxtls.crypto.stream import StreamOpener
from rxtls.events import Record, RecordClass
from rxtls.handshake.steps import WHY, refuse
from rxtls.host.direction import Direction
from rxtls.host.tally import Tally
from rxtls.host.worker import CryptoState, Outcome, Session
from rxtls.intake.batch import ACK, FIN, RST, SYN
from rxtls.offload.commands import Report
from rxtls.seq import MASK, add
from sample_keys import STREAMED, made_up, shape_name
from sample_mbufs import mbuf

KEYS = STREAMED[-1]
ISN = MASK - 200


def begun(keys: Keys = KEYS, number: int = 0) -> Direction:
    """A direction whose first byte is that of a record, with a receive tag's epoch 1."""
    direction = Direction(Ledger(), 100_000, digest=True)
    direction.input(mbuf(ISN, flags=SYN))
    direction.sockbuf.enable()
    direction.session = Session(keys, number)
    direction.session.begin_epoch(1)
    return direction


def served(direction: Direction) -> list[Outcome]:
    """What the worker makes of what is there; the bytes are accounted for as the path does it."""
    out: list[Outcome] = []
    assert direction.session is not None
    direction.reassembly.settle()
    while (outcome := direction.session.step(direction.sockbuf)) is not None:
        direction.sockbuf.check_chain()
        direction.ledger.fate("byte.record", outcome.total)
        out.append(outcome)
    return out


def packet(direction: Direction, at: int, data: bytes, mark: int = 0, flags: int = ACK, leaf: int = 0) -> None:
    direction.ledger.enter("byte", len(data))
    direction.input(mbuf(ISN + 1 + at, data, mark, flags=flags, leaf=leaf))


def plain(keys: Keys, number: int, wire: bytes) -> bytes:
    start, end = keys.header_length, len(wire) - 16
    return wire[:start] + StreamOpener(keys, number, wire[:start]).update(wire[start:end]) + wire[end:]


@pytest.mark.parametrize("keys", STREAMED, ids=shape_name)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_trap_19_any_mix_of_retransmissions_is_the_same_plaintext(keys: Keys, data: st.DataObject) -> None:
    """Packets decrypted the first time and as on the wire when sent again, cut anew, in any order."""
    payloads = [made_up(n, f"payload {n}") for n in data.draw(st.lists(st.integers(0, 90), min_size=1, max_size=4))]
    wires = [Sealer(keys).seal(i, 23, payload) for i, payload in enumerate(payloads)]
    wire = b"".join(wires)
    decrypted = b"".join(plain(keys, i, record) for i, record in enumerate(wires))
    untouched = (bytes(bytearray(wire)), bytes(bytearray(decrypted)))
    direction, outcomes = begun(keys), []
    for _ in range(data.draw(st.integers(0, 12))):
        a, b = sorted(data.draw(st.tuples(*[st.integers(0, len(wire))] * 2)))
        mark = data.draw(st.integers(0, 1))
        packet(direction, a, (decrypted if mark else wire)[a:b], mark)
        if data.draw(st.booleans()):
            outcomes += served(direction)
    packet(direction, 0, wire, 0, ACK | FIN)
    outcomes += served(direction)
    assert [outcome.opened for outcome in outcomes] == [(23, payload) for payload in payloads]
    assert direction.complete() is True
    direction.finish()
    assert direction.ledger.balance() == 0
    assert untouched == (wire, decrypted), "trap 32"


def test_trap_20_dropped_by_the_host_after_the_nic_decrypted_it() -> None:
    wire = Sealer(KEYS).seal(0, 23, made_up(90, "payload"))
    decrypted = plain(KEYS, 0, wire)
    direction = begun()
    direction.ledger.enter("byte", 60)
    edge = (ISN + 1 + 40) & MASK
    packet(direction, 0, decrypted[:30], 1)
    direction.input(mbuf(ISN + 1 + 40, decrypted[40:], 1, acked=(ISN + 31) & MASK, edge=edge))
    packet(direction, 30, decrypted[30:40], 1)
    packet(direction, 40, wire[40:])
    (outcome,) = served(direction)
    assert (outcome.state, outcome.composition, outcome.opened) == (
        CryptoState.MIXED,
        "DE",
        (23, made_up(90, "payload")),
    )


@pytest.mark.parametrize("fin", ["with the data", "before the data", "after the data", "before the worker"])
def test_trap_18_places_are_counted_from_the_end_of_the_data(fin: str) -> None:
    """The FIN has been counted by TCP when the worker reports: the places are those of the records all the same."""
    wires = [Sealer(KEYS).seal(i, 23, made_up(20, f"{i}")) for i in range(3)]
    direction, at = begun(), 0
    end = sum(map(len, wires))
    if fin == "before the data":
        packet(direction, end, b"", flags=ACK | FIN)
    outcomes: list[Outcome] = []
    for i, wire in enumerate(wires):
        packet(direction, at, wire, flags=ACK | FIN * (fin == "with the data" and i == 2))
        at += len(wire)
        if fin == "after the data":
            outcomes += served(direction)
    if fin in ("after the data", "before the worker"):
        packet(direction, end, b"", flags=ACK | FIN)
    outcomes += served(direction)
    places = [add(ISN + 1, i * len(wires[0])) for i in range(3)]
    assert [outcome.report for outcome in outcomes] == [Report(p, len(wires[0]), i) for i, p in enumerate(places)]
    assert [outcome.tcp_seq for outcome in outcomes] == places
    assert direction.session is not None
    assert direction.session.next_place(direction.sockbuf) == (add(ISN + 1, end), 3)
    assert direction.complete() is True


def test_fast_open_places() -> None:
    """Data in the SYN begins one behind it; the first record's place is that of its first byte."""
    direction = Direction(Ledger(), 1000, digest=False)
    direction.input(mbuf(ISN, b"\x16\x03\x01", flags=SYN))
    assert direction.sockbuf.start_seq == add(ISN, 1)
    direction.input(mbuf(ISN + 4, b"\x00\x01x"))
    assert (direction.sockbuf.start_seq, direction.sockbuf.peek(9)) == (add(ISN, 1), b"\x16\x03\x01\x00\x01x")


# Every byte has a fate.


def closed(direction: Direction) -> None:
    direction.closed = True


def dead(direction: Direction) -> None:
    direction.fatal = "EINVAL: for the test"


def refused(direction: Direction) -> None:
    direction.refused = refuse("suite_unsupported")


UNREAD: dict[str, Callable[[Direction], None]] = {
    "byte.after_close": closed,
    "byte.after_error": dead,
    "byte.suite": refused,
}


@pytest.mark.parametrize("fate", UNREAD)
def test_what_nobody_reads_has_its_fate(fate: str) -> None:
    direction = begun()
    packet(direction, 0, b"waits here")
    packet(direction, 20, b"held")
    assert direction.fate() is None
    UNREAD[fate](direction)
    assert direction.fate() == fate
    direction.drop_waiting()
    packet(direction, 10, b"fills it..")  # with what was held: 14 bytes in order, of which nobody reads one
    packet(direction, 5, b"again")
    packet(direction, 40, b"behind a hole")
    direction.finish()
    assert direction.ledger.fates == {fate: 24, "byte.duplicate": 5, "byte.after_hole": 13}
    assert direction.ledger.balance() == 0
    assert direction.sockbuf.ccc == 0


def test_drop_waiting_keeps_what_will_be_read() -> None:
    direction = begun()
    packet(direction, 0, b"waits")
    direction.drop_waiting()
    assert direction.sockbuf.waiting == 5


@pytest.mark.parametrize("code", WHY)
def test_each_refusal_has_a_fate_that_exists(code: str) -> None:
    direction = begun()
    direction.refused = refuse(code, "detail")
    packet(direction, 0, b"unread")
    assert direction.ledger.balance() == 0
    assert direction.refused.text.endswith("detail")


def test_a_record_whose_rest_never_came() -> None:
    wire = Sealer(KEYS).seal(0, 23, b"payload")
    direction = begun()
    packet(direction, 0, wire + wire[:9], flags=ACK | FIN)
    assert len(served(direction)) == 1
    direction.finish()
    assert (direction.left_over, direction.complete()) == (9, False)
    assert direction.ledger.fates == {"byte.record": len(wire), "byte.left_over": 9}
    assert direction.ledger.balance() == 0


def test_raw_bytes_that_the_library_never_read() -> None:
    direction = Direction(Ledger(), 1000, digest=False)
    packet(direction, 0, b"\x16\x03\x01")
    direction.finish()
    assert (direction.left_over, direction.complete()) == (3, None)
    assert direction.ledger.balance() == 0


def test_a_fatal_header_leaves_what_came_before() -> None:
    wire = Sealer(KEYS).seal(0, 23, b"payload")
    direction = begun()
    packet(direction, 0, wire + b"\x17\x03\x09\x00\x20 and so on", flags=ACK | FIN)
    (outcome,) = served(direction)
    assert outcome.opened == (23, b"payload")
    assert direction.session is not None
    assert direction.session.fatal
    direction.fatal = "EINVAL: for the test"
    direction.drop_waiting()
    direction.finish()
    assert direction.ledger.fates == {"byte.record": len(wire), "byte.after_error": 15}
    assert direction.complete() is False


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_it_always_balances(data: st.DataObject) -> None:
    """Segments anywhere, with a FIN or a RST among them, a close, an error or a refusal at any moment."""
    direction = begun()
    for _ in range(data.draw(st.integers(0, 15))):
        at, length = data.draw(st.integers(-20, 120)), data.draw(st.integers(0, 40))
        packet(
            direction,
            at,
            made_up(length, "hostile"),
            data.draw(st.integers(0, 2)),
            ACK | data.draw(st.sampled_from([0, 0, 0, FIN, RST])),
            data.draw(st.integers(0, 1)),
        )
        match data.draw(st.integers(0, 12)):
            case 0:
                closed(direction)
            case 1:
                dead(direction)
            case 2:
                refused(direction)
        direction.drop_waiting()
        if direction.fate() is None:
            served(direction)
    direction.finish()
    assert direction.ledger.balance() == 0
    assert (direction.sockbuf.ccc, direction.reassembly.held_bytes) == (0, 0)


# Completeness.


def test_complete_means_from_the_first_record_to_the_end() -> None:
    wires = [Sealer(KEYS).seal(i, 23, b"payload") for i in range(2)]
    direction = begun()
    packet(direction, 0, wires[0])
    served(direction)
    assert direction.complete() is False, "no FIN, no close_notify: more may have come"
    packet(direction, len(wires[0]), wires[1], flags=ACK | FIN)
    served(direction)
    assert direction.complete() is True
    direction.finish()
    assert direction.complete() is True


def test_close_notify_is_an_end_too() -> None:
    direction = begun()
    closed(direction)
    assert direction.complete() is True


@pytest.mark.parametrize("what", ["failed record", "fatal header", "gap"])
def test_not_complete(what: str) -> None:
    direction = begun()
    packet(direction, 0, b"", flags=ACK | FIN)
    if what == "failed record":
        direction.tally.count(record(RecordClass.FAILED, b""))
    elif what == "fatal header":
        dead(direction)
    else:
        direction = begun()
        direction.input(mbuf(ISN + 30, b"x", flags=ACK | FIN, acked=(ISN + 32) & MASK))
        direction.reassembly.last()
        direction.enter_gap([direction.pass_hole()], None, None)
        assert direction.gap
        direction.sockbuf.flush()
    assert direction.complete() is False


# Leaves.


def test_the_newest_leaf_in_stream_order_wins() -> None:
    direction = begun()
    told: list[int | None] = []
    for at, leaf in ((0, 1), (20, 3), (10, 2), (0, 7)):
        packet(direction, at, bytes(10), leaf=leaf)
        told.append(direction.leaf)
    # Held packets are not visited yet; the third one brings them all in one chain, and the header visited last
    # decides; a duplicate is not visited at all.
    assert told == [1, 1, 3, 3]
    assert direction.sockbuf.leaf == 3


def test_leaf_changes_within_one_packet_of_held_data_are_seen() -> None:
    # Upstream reads the first header of the chain each time, and misses this one.
    direction = begun()
    packet(direction, 0, bytes(10), leaf=1)
    packet(direction, 20, bytes(10), leaf=2)
    packet(direction, 10, bytes(10), leaf=1)
    assert direction.leaf == 2


# The tally.


def record(record_class: RecordClass, data: bytes, record_type: int = 23, composition: str = "E") -> Record:
    return Record(0, "server", record_type, data, 0, record_class, 0, len(data) + 22, 0, 0, composition)


def test_tally_counts_by_class_and_digests_application_data() -> None:
    tally = Tally(digest=True)
    tally.count(record(RecordClass.DECRYPTED, b"one", composition="D"))
    tally.count(record(RecordClass.MIXED, b"two", composition="ED"))
    tally.count(record(RecordClass.MIXED, b"an alert", 21, composition="ED"))
    tally.count(record(RecordClass.LIBRARY, b" early"))
    tally.count(record(RecordClass.FAILED, b""))
    assert tally.records == {
        RecordClass.DECRYPTED: 1,
        RecordClass.MIXED: 2,
        RecordClass.LIBRARY: 1,
        RecordClass.FAILED: 1,
    }
    assert tally.bytes[RecordClass.MIXED] == 3 + 8 + 44
    assert tally.compositions == {"D": 1, "ED": 2, "E": 1}  # the library read its record before there was a NIC
    assert tally.app_bytes == 12
    assert tally.digest is not None
    assert tally.digest.hexdigest() == hashlib.sha256(b"onetwo early").hexdigest()
    assert Tally(digest=False).digest is None


@pytest.mark.parametrize("missing", [(), (3,), (4, 5)])
def test_standing_is_what_a_walk_over_all_that_came_finds(missing: tuple[int, ...]) -> None:
    """In order or not, up to the first header that a hole hides."""
    direction = begun(number=7)
    sealer = Sealer(KEYS)
    records = [sealer.seal(7 + n, 23, made_up(100, f"{n}")) for n in range(6)]
    wire = b"".join(records)
    starts = [sum(map(len, records[:n])) for n in range(7)]
    packets = [(at, wire[at : at + 60]) for at in range(0, len(wire), 60)]
    for n, (at, piece) in enumerate(packets):
        if n not in missing:
            packet(direction, at, piece)
    there = {at + i for n, (at, piece) in enumerate(packets) if n not in missing for i in range(len(piece))}
    in_order = min(60 * missing[0] if missing else len(wire), len(wire))
    known = [starts[0]]
    for start, end in pairwise(starts):
        if not set(range(start, start + 5)) <= there:
            break
        known.append(end)
    standing = direction.standing()
    assert standing.places == tuple((add(ISN + 1, at), 7 + n) for n, at in enumerate(known))
    assert standing.in_order == sum(start + 5 <= in_order for start in known[:-1])
    assert standing.waiting == in_order
    assert standing.top == add(ISN + 1, max(there) + 1)
