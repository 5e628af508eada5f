"""The same packet seen twice: what is a mirrored copy, and what is a duplicate of the wire."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dialog import ETHERNET, SLL2, START, Dialog, captured, steer
from rxtls.intake.batch import ACK, CLOCK, END, FLAGS, FLOW, LENGTH, SYN
from rxtls.intake.mirror import BOUND, WITHIN_NS, Home, Identity, Sights, identity
from rxtls.intake.steer import SteerOptions
from rxtls.wire.captured import Frame
from rxtls.wire.frame import Packet, parse

HERE, THERE = (0, 0, 1, 0), (1, 0, 1, 0)


def rest_of_a_connection() -> Dialog:
    talk = Dialog().handshake()
    talk.a(b"payload")
    return talk


def rows_with(copy: Frame) -> list[int]:
    """The lengths of a's data rows, when `copy` follows its data."""
    talk = rest_of_a_connection()
    out = steer([*talk.frames, copy])
    assert sum(out.fates.values()) == 5
    assert out.fates.get("mirrored", 0) + out.fates["segment"] == 4
    return [row[LENGTH] for row in out.rows if row[FLOW] == 0 and row[LENGTH]]


DROPPED, KEPT = [7], [7, 7]


class TestRule:
    """Dropped only if interface, VLAN depth or link type differs, and it comes within 10 ms."""

    @pytest.mark.parametrize(
        ("interface", "vlan", "link_type", "after_ns", "rows"),
        [
            (0, (), ETHERNET, 0, KEPT),
            (1, (), ETHERNET, 0, DROPPED),
            (0, (7,), ETHERNET, 0, DROPPED),
            (0, (), SLL2, 0, DROPPED),
            (1, (), ETHERNET, WITHIN_NS, DROPPED),
            (1, (), ETHERNET, WITHIN_NS + 1, KEPT),
            (1, (), ETHERNET, -WITHIN_NS, DROPPED),  # merged captures' clocks differ both ways
            (1, (), ETHERNET, -WITHIN_NS - 1, KEPT),
        ],
    )
    def test_place_and_time(
        self, interface: int, vlan: tuple[int, ...], link_type: int, after_ns: int, rows: list[int]
    ) -> None:
        talk = rest_of_a_connection()
        assert talk.last is not None
        data = talk.last.cooked2(0, 0) if link_type == SLL2 else talk.last.ethernet(vlan)
        copy = captured(data, talk.frames[-1].time_ns + after_ns, interface, link_type)
        assert rows_with(copy) == rows

    @pytest.mark.parametrize(
        ("change", "rows"),
        [
            ({"ttl": 63}, DROPPED),  # a router's two sides
            ({"ident": 99}, KEPT),  # sent again, by another leaf
            ({"payload": b"pAyload"}, KEPT),
            ({"window": 999}, KEPT),
            ({"ack": 4999}, KEPT),
        ],
    )
    def test_what_is_compared(self, change: dict[str, object], rows: list[int]) -> None:
        talk = rest_of_a_connection()
        assert talk.last is not None
        copy = replace(talk.last, **change)  # type: ignore[arg-type]
        assert rows_with(captured(copy.ethernet(), talk.frames[-1].time_ns, 1)) == rows

    def test_the_padding_of_short_frames_is_not(self) -> None:
        talk = rest_of_a_connection()
        frame = talk.frames[-1]
        padded = frame.data + bytes(3)
        assert rows_with(frame._replace(data=padded, wire_length=len(padded), interface=1)) == DROPPED

    def test_another_vlan_of_the_same_depth_is_the_same_place(self) -> None:
        talk = Dialog(vlan=(1,)).handshake()
        assert talk.last is not None
        talk.frames.append(captured(talk.last.ethernet((2,)), talk.time - talk.step))
        assert "mirrored" not in steer(talk.frames).fates

    def test_the_device_of_linux_cooked_v2_is_an_interface(self) -> None:
        talk = Dialog()
        sent = talk.a(flags=SYN)
        frames = [captured(sent.cooked2(0, ifindex), START, 0, SLL2) for ifindex in (2, 3, 2)]
        assert steer(frames).fates == {"segment": 2, "mirrored": 1}


def test_every_further_copy_falls_and_a_duplicate_of_the_wire_counts() -> None:
    """Three places, and the wire duplicated the packet once: six sights, two packets."""
    talk = Dialog()
    talk.a(flags=SYN)
    frame = talk.frames[0]
    once = [frame._replace(interface=interface) for interface in (0, 1, 2)]
    assert steer(once + once).fates == {"segment": 2, "mirrored": 4}


@pytest.mark.parametrize("lag", [1, 3, 10, 90])
def test_a_whole_conversation_seen_twice_is_as_if_seen_once(lag: int) -> None:
    """Two mirror ports, one some packets behind the other: same rows, clocks and ends."""
    talk = Dialog(step=100_000).handshake()
    for n in range(30):
        talk.a(bytes([n]) * 100)
        talk.b()
    talk.goodbye()
    once = steer(talk.frames)
    delay = lag * talk.step + 1
    copies = [frame._replace(time_ns=frame.time_ns + delay, interface=1) for frame in talk.frames]
    numbered = sorted(enumerate(talk.frames + copies), key=lambda item: item[1].time_ns)
    twice = steer([frame for _, frame in numbered])
    skip = {0}  # frame numbers differ
    assert [[v for c, v in enumerate(row) if c not in skip] for row in twice.rows] == [row[1:] for row in once.rows]
    assert twice.fates["mirrored"] == len(talk.frames)
    assert twice.payloads == once.payloads


def test_mirrored_pure_acks_are_no_evidence_and_no_acks() -> None:
    talk = Dialog().handshake()
    talk.b()
    talk.frames.append(talk.frames[-1]._replace(interface=1))
    assert steer(talk.frames).fates == {"segment": 2, "ack": 2, "mirrored": 1}


def test_a_refused_frame_is_no_first_sight() -> None:
    """A sum left unfinished on the upper device, finished on the lower one."""
    talk = Dialog().handshake()
    sent = talk.a(b"x", checksum="wrong")
    talk.frames.append(captured(replace(sent, checksum="right").ethernet(), talk.time, 1))
    assert steer(talk.frames).fates == {"segment": 3, "ack": 1, "bad_checksum": 1}


def test_the_syn_that_reuses_a_tuple_is_mirrored_too() -> None:
    talk = Dialog().handshake()
    talk.a(flags=SYN, seq=4711)
    talk.frames.append(talk.frames[-1]._replace(interface=1))
    out = steer(talk.frames)
    assert out.ends == ["reused", "open"]
    assert out.fates["mirrored"] == 1


def test_two_captures_of_one_host_at_different_interfaces_keep_their_leaves() -> None:
    talk = Dialog().handshake()
    talk.interface = 1
    talk.a(b"by the other leaf")
    out = steer(talk.frames)
    assert out.fates == {"segment": 3, "ack": 1}
    assert [row[CLOCK] for row in out.rows if row[FLOW] == 0 and row[FLAGS] != END] == [1, 2]


def number(n: int) -> Identity:
    """The identity of some packet."""
    return (n,)


class TestMemory:
    def test_holds_the_latest_of_the_run(self) -> None:
        sights, ours, others = Sights(), Home(HERE), Home(HERE)
        for n in range(BOUND):
            sights.accept(others if n & 1 else ours, number(n), 0, HERE)
        assert sights.mirrored(ours, number(0), 0, THERE)
        sights.accept(others, number(BOUND), 0, HERE)
        assert not sights.mirrored(ours, number(0), 0, THERE)
        assert sights.mirrored(others, number(1), 0, THERE)
        assert len(sights) == BOUND

    def test_what_was_seen_again_is_as_young_as_its_last_sight(self) -> None:
        sights, home = Sights(), Home(HERE)
        for _ in range(2):
            sights.accept(home, number(0), 0, HERE)
        for n in range(1, BOUND):
            sights.accept(home, number(n), 0, HERE)
        assert sights.mirrored(home, number(0), 0, THERE)
        sights.accept(home, number(BOUND), 0, HERE)
        assert not sights.mirrored(home, number(0), 0, THERE)

    def test_connections_do_not_share_it(self) -> None:
        sights, home = Sights(), Home(HERE)
        sights.accept(home, number(0), 0, HERE)
        assert sights.mirrored(home, number(0), 0, THERE)
        assert not sights.mirrored(Home(HERE), number(0), 0, THERE)

    def test_an_evicted_connection_is_forgotten(self) -> None:
        talk = Dialog(step=0)
        other = Dialog(ends=(("10.0.0.3", 40000), ("10.0.0.2", 443)))
        talk.a(flags=SYN)
        other.a(flags=SYN)
        copy = talk.frames[0]._replace(interface=1)
        frames = [*talk.frames, *other.frames, copy]
        assert steer(frames).fates == {"segment": 2, "mirrored": 1}
        assert steer(frames, SteerOptions(max_flows=1)).fates == {"segment": 3}


class TestIdentity:
    """What copies share, and what tells packets from each other."""

    @staticmethod
    def of(data: bytes) -> Identity:
        packet = parse(ETHERNET, data, len(data))
        assert isinstance(packet, Packet)
        return identity(packet)

    def test_a_payload_damaged_on_the_way_is_another_packet(self) -> None:
        sent = Dialog().a(b"payload")
        data = bytearray(sent.ethernet())
        data[-1] ^= 1
        assert self.of(bytes(data)) != self.of(sent.ethernet())

    def test_options_count(self) -> None:
        sent = Dialog().a(flags=SYN, mss=1460)
        assert self.of(replace(sent, mss=1459).ethernet()) != self.of(sent.ethernet())

    def test_vlans_and_hops_do_not(self) -> None:
        sent = Dialog().a(b"payload")
        assert self.of(replace(sent, ttl=63).ethernet((7, 8))) == self.of(sent.ethernet())


def test_ack_flag_alone_makes_a_row_of_payload_only() -> None:
    talk = Dialog()
    talk.a(flags=ACK)
    talk.frames.append(talk.frames[-1]._replace(interface=1))
    assert steer(talk.frames).fates == {"ack": 1, "mirrored": 1}
