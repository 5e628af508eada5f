"""Where the capture was taken: each kind of evidence, their order, and real captures whose place is known."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from dialog import MILLISECOND, SLL, SLL2, Dialog, Steered, captured, steer
from rxtls.intake.batch import ACK, FIN, LENGTH, SYN
from rxtls.intake.evidence import Evidence
from rxtls.intake.steer import SteerOptions
from rxtls.intake.vantage import KINDS, REORDERED, VANTAGE, Place, judge
from rxtls.wire.capture import Frame, read_capture
from rxtls.wire.frame import Packet, parse

EXAMPLES = Path(__file__).parents[2] / "examples"
REAL = Path(__file__).parents[1] / "data" / "real"

US = 1000  # ns
# A scene writes a conversation; None of them gives timing evidence unless it is about timing.
Scene = Callable[[Dialog], None]


def evidence(frames: list[Frame], until: int | None = None) -> Evidence:
    """The evidence of one connection's first frames."""
    stage = steer(frames[:until], finish=False).stage
    (flow,) = stage._table.flows()
    return flow.evidence


def silent() -> Dialog:
    """The two hosts answer within microseconds: no distance to speak of."""
    return Dialog(step=20 * US)


def handshake(talk: Dialog, to_b: int, to_a: int) -> Dialog:
    """A handshake seen with these delays before b's and a's answer, in microseconds."""
    talk.step = to_b * US
    talk.a(flags=SYN, mss=1460)
    talk.step = to_a * US
    talk.b(flags=SYN | ACK, mss=1460)
    talk.step = 20 * US
    talk.a()
    return talk


def cooked(talk: Dialog, types: tuple[int, int], link_type: int = SLL) -> None:
    """A handshake with these packet types on a's and b's packets."""
    said = [talk.a(flags=SYN), talk.b(flags=SYN | ACK), talk.a()]
    for n, sent in enumerate(said):
        side = n % 2
        data = sent.cooked(types[side]) if link_type == SLL else sent.cooked2(types[side], 1)
        talk.frames[n] = captured(data, talk.frames[n].time_ns, 0, link_type)


def sums(a: str, b: str) -> Scene:
    """Checksums of everything that a and b send."""

    def scene(talk: Dialog) -> None:
        talk.a(flags=SYN, mss=1460, checksum=a)
        talk.b(flags=SYN | ACK, mss=1460, checksum=b)
        talk.a(checksum=a)
        talk.a(b"hello", checksum=a)
        talk.b(b"hello", checksum=b)

    return scene


def data_sums(a: str, b: str) -> Scene:
    """The same from the middle of a connection, and with payload only."""

    def scene(talk: Dialog) -> None:
        talk.a(b"hello", checksum=a)
        talk.b(b"hello", checksum=b)

    return scene


def large(a: str, bare: str = "right") -> Scene:
    """A frame of a that is larger than the MSS, with this checksum, and handshake frames with `bare`."""

    def scene(talk: Dialog) -> None:
        talk.a(flags=SYN, mss=1460, checksum=bare)
        talk.b(flags=SYN | ACK, mss=1460)
        talk.a(checksum=bare)
        talk.a(bytes(2900), checksum=a)

    return scene


def plain(talk: Dialog) -> None:
    """A handshake, unless there was one."""
    if not talk.frames:
        talk.handshake()


def lost_before(side: int) -> Scene:
    """A hole, the receiver asks, the bytes come for the first time."""

    def scene(talk: Dialog) -> None:
        plain(talk)
        talk.say(side, b"1" * 100)
        talk.say(1 - side)
        hole = talk.next[side]
        talk.next[side] += 100
        for _ in range(3):
            talk.say(side, b"3" * 100)
            talk.say(1 - side, ack=hole)
        talk.say(side, b"2" * 100, seq=hole)
        talk.say(1 - side)

    return scene


def lost_behind(side: int) -> Scene:
    """All bytes pass, the receiver asks three times for some of them, they pass again."""

    def scene(talk: Dialog) -> None:
        plain(talk)
        talk.say(side, b"1" * 100)
        talk.say(1 - side)
        lost = talk.next[side]
        talk.say(side, b"2" * 100)
        for _ in range(3):
            talk.say(side, b"3" * 100)
            talk.say(1 - side, ack=lost)
        talk.say(side, b"2" * 100, seq=lost)
        talk.say(1 - side)

    return scene


def both(*scenes: Scene) -> Scene:
    def scene(talk: Dialog) -> None:
        for part in scenes:
            part(talk)

    return scene


def reordered(times: int) -> Scene:
    """Bytes of a that come late, before b could have asked for them."""

    def scene(talk: Dialog) -> None:
        talk.handshake()
        for _ in range(times):
            late = talk.next[0]
            talk.next[0] += 100
            talk.a(b"2" * 100)
            talk.a(b"1" * 100, seq=late)
            talk.b()

    return scene


def capture_lost(talk: Dialog) -> None:
    """b acknowledges bytes that are not in the capture."""
    talk.handshake()
    talk.next[0] += 100
    talk.a(b"3" * 100)
    talk.b()
    talk.b()
    talk.b()
    talk.b()
    talk.a(b"3" * 100, seq=talk.next[0] - 100)


def probes(talk: Dialog) -> None:
    """b's window is closed; a probes with the next byte again and again."""
    talk.handshake()
    for _ in range(6):
        talk.a(b"x", seq=1001)
        talk.b(ack=1001, window=0)


def spurious(talk: Dialog) -> None:
    """a retransmits what b has acknowledged."""
    talk.handshake()
    for _ in range(6):
        talk.a(b"x" * 100)
        talk.b()
        talk.a(b"x" * 100, seq=talk.next[0] - 100)
        talk.b()


@pytest.mark.parametrize(
    ("scene", "place"),
    [
        pytest.param(plain, Place.UNKNOWN, id="nothing to go by"),
        # cooked packet types: 4 from us, 0 to us, 3 to somebody else
        pytest.param(lambda talk: cooked(talk, (4, 0)), Place.AT_A, id="cooked: a is us"),
        pytest.param(lambda talk: cooked(talk, (0, 4)), Place.AT_B, id="cooked: b is us"),
        pytest.param(lambda talk: cooked(talk, (0, 4), SLL2), Place.AT_B, id="cooked v2: b is us"),
        pytest.param(lambda talk: cooked(talk, (0, 0)), Place.UNKNOWN, id="cooked: loopback, or a router"),
        pytest.param(lambda talk: cooked(talk, (4, 4)), Place.UNKNOWN, id="cooked: contradictory"),
        pytest.param(lambda talk: cooked(talk, (3, 3)), Place.MIDDLE, id="cooked: to others"),
        pytest.param(lambda talk: cooked(talk, (1, 2)), Place.UNKNOWN, id="cooked: broadcasts say nothing"),
        # checksums that the NIC had still to finish
        pytest.param(sums("partial", "right"), Place.AT_A, id="checksum: a leaves them to its NIC"),
        pytest.param(sums("right", "partial"), Place.AT_B, id="checksum: b leaves them to its NIC"),
        pytest.param(sums("partial", "partial"), Place.UNKNOWN, id="checksum: both do, one machine"),
        pytest.param(sums("wrong", "right"), Place.AT_A, id="checksum: a's are garbage"),
        pytest.param(sums("wrong", "wrong"), Place.UNKNOWN, id="checksum: both garbage"),
        pytest.param(data_sums("partial", "right"), Place.AT_A, id="checksum: partial with payload, nothing else"),
        pytest.param(data_sums("wrong", "right"), Place.UNKNOWN, id="checksum: one bad packet is a bad packet"),
        # losses
        pytest.param(lost_before(0), Place.AT_B, id="loss: a's bytes before the tap"),
        pytest.param(lost_before(1), Place.AT_A, id="loss: b's bytes before the tap"),
        pytest.param(lost_behind(0), Place.AT_A, id="loss: a's bytes behind the tap"),
        pytest.param(lost_behind(1), Place.AT_B, id="loss: b's bytes behind the tap"),
        pytest.param(both(lost_before(0), lost_behind(0)), Place.MIDDLE, id="loss: on both sides of the tap"),
        pytest.param(both(lost_before(0), lost_behind(1)), Place.AT_B, id="loss: in both directions, one side"),
        pytest.param(reordered(REORDERED), Place.AT_B, id="loss: reordered before the tap"),
        pytest.param(reordered(REORDERED - 1), Place.UNKNOWN, id="loss: twice may be the capture's fault"),
        pytest.param(capture_lost, Place.UNKNOWN, id="loss: by the capture is none"),
        pytest.param(probes, Place.UNKNOWN, id="loss: window probes are none"),
        pytest.param(spurious, Place.UNKNOWN, id="loss: spurious retransmissions are none"),
        # sizes
        pytest.param(large("right"), Place.AT_B, id="size: joined, sum right: the receiver's NIC"),
        pytest.param(large("partial"), Place.AT_B, id="size: joined, sum partial, others finished: GRO"),
        pytest.param(large("partial", "partial"), Place.AT_A, id="size: all sums partial: TSO at the sender"),
    ],
)
def test_evidence(scene: Scene, place: Place) -> None:
    talk = silent()
    scene(talk)
    assert judge(evidence(talk.frames)).place is place


@pytest.mark.parametrize(
    ("to_b", "to_a", "place"),
    [
        (30, 20_000, Place.AT_B),
        (20_000, 30, Place.AT_A),
        (1_000, 9_000, Place.AT_B),
        (9_000, 11_000, Place.MIDDLE),
        (2_000, 9_000, Place.MIDDLE),
        (1_500, 9_000, Place.UNKNOWN),  # too far for a host, too near for the middle
        (20, 30, Place.UNKNOWN),  # no distance: loopback, or one rack
        (20, 400, Place.UNKNOWN),
    ],
)
def test_timing_of_the_handshake(to_b: int, to_a: int, place: Place) -> None:
    talk = handshake(Dialog(), to_b, to_a)
    assert judge(evidence(talk.frames)).place is place
    assert judge(evidence(talk.frames, 2)).place is Place.UNKNOWN


class TestTiming:
    def test_a_retransmitted_syn_spoils_it(self) -> None:
        talk = Dialog()
        talk.a(flags=SYN)
        talk.time += 1000 * MILLISECOND
        talk.a(flags=SYN, seq=1000)
        talk.frames += handshake(Dialog(time=talk.time), 30, 20_000).frames[1:]
        assert judge(evidence(talk.frames)).place is Place.UNKNOWN

    def test_later_answers_are_shorter_than_a_slow_first_one(self) -> None:
        """A server that was busy at the SYN: its ACKs of data come at once."""
        talk = handshake(Dialog(), 5_000, 20_000)
        assert judge(evidence(talk.frames)).place is Place.MIDDLE
        talk.step = 30 * US
        talk.a(b"x" * 100)
        talk.b()
        assert judge(evidence(talk.frames)).place is Place.AT_B

    def test_both_near_means_that_the_handshake_was_slow_for_another_reason(self) -> None:
        talk = handshake(Dialog(), 30, 20_000)
        talk.step = 30 * US
        talk.b(b"x" * 100)
        talk.a()
        assert judge(evidence(talk.frames)).place is Place.UNKNOWN

    def test_an_answer_to_what_was_sent_twice_is_not_timed(self) -> None:
        """Karn's rule."""
        talk = handshake(Dialog(), 5_000, 20_000)
        talk.step = 300 * MILLISECOND
        talk.a(b"x" * 100)
        talk.step = 30 * US
        talk.a(b"x" * 100, seq=talk.next[0] - 100)
        talk.b()
        assert judge(evidence(talk.frames)).place is Place.MIDDLE

    def test_one_machine_has_no_distance_however_slow_it_is(self) -> None:
        talk = Dialog()
        talk.a(flags=SYN, checksum="partial")
        talk.b(flags=SYN | ACK, checksum="partial")
        talk.time += 20 * MILLISECOND
        talk.a(checksum="partial")
        assert judge(evidence(talk.frames)).place is Place.UNKNOWN


class TestOrder:
    def test_kinds(self) -> None:
        assert list(KINDS) == ["cooked", "checksum", "loss", "size", "timing"]

    def test_the_earlier_kind_wins(self) -> None:
        """A host behind a lossy queue of its own: what it left to its NIC says more."""
        talk = silent()
        talk.a(flags=SYN, checksum="partial")
        lossy = silent()
        lost_before(0)(lossy)
        talk.frames += lossy.frames[1:]
        assert judge(evidence(lossy.frames)).place is Place.AT_B
        assert judge(evidence(talk.frames)).place is Place.AT_A

    def test_what_contradicts_itself_is_silent(self) -> None:
        talk = silent()
        lost_before(0)(talk)
        for n, frame in enumerate(talk.frames):
            data = b"\0\0" + bytes(12) + b"\x08\x00" + frame.data[14:]
            talk.frames[n] = frame._replace(data=data, link_type=SLL, wire_length=len(data))
        assert judge(evidence(talk.frames)).place is Place.AT_B

    def test_vantages_of_the_two_directions(self) -> None:
        assert {place.name: VANTAGE[place] for place in Place} == {
            "UNKNOWN": ("unknown", "unknown"),
            "AT_A": ("sender", "receiver"),
            "AT_B": ("receiver", "sender"),
            "MIDDLE": ("middle", "middle"),
        }


class TestConnection:
    def test_keeps_its_last_word(self) -> None:
        talk = handshake(Dialog(), 30, 20_000)
        running = steer(talk.frames, finish=False).stage.connections[0]
        assert (running.vantage(0), running.vantage(1)) == ("receiver", "sender")
        ended = steer(talk.frames).stage.connections[0]
        assert ended.evidence is None
        assert (ended.vantage(0), ended.vantage(1)) == ("receiver", "sender")

    @pytest.mark.parametrize("forced", ["receiver", "sender", "middle"])
    def test_can_be_told(self, forced: str) -> None:
        talk = handshake(Dialog(), 30, 20_000)
        connection = steer(talk.frames, SteerOptions(vantage=forced)).stage.connections[0]  # type: ignore[arg-type]
        assert (connection.vantage(0), connection.vantage(1)) == (forced, forced)


def lengths(out: Steered) -> list[int]:
    return [row[LENGTH] for row in out.rows if row[LENGTH]]


class TestExemption:
    """A NIC that fills in checksums leaves anything in a capture at its own host."""

    @staticmethod
    def upload(to_b: int, to_a: int) -> list[Frame]:
        """A whole upload from a, whose checksums are all garbage."""
        talk = Dialog(step=to_b * US)
        talk.a(flags=SYN, mss=1460, checksum="wrong")
        talk.step = to_a * US
        talk.b(flags=SYN | ACK, mss=1460)
        talk.step = 20 * US
        talk.a(checksum="wrong")
        talk.a(b"hello", checksum="wrong")
        talk.a(b"more", checksum="wrong")
        talk.b()
        talk.a(flags=FIN | ACK, checksum="wrong")
        return talk.frames

    def test_is_known_at_the_third_packet(self) -> None:
        out = steer(self.upload(20_000, 30))
        assert out.fates == {"segment": 5, "ack": 2}  # the SYN before it carries nothing that could win over others
        assert lengths(out) == [5, 4]
        connection = out.stage.connections[0]
        assert connection.a[1] == 40000
        assert connection.vantage(0) == "sender"

    def test_without_timing_at_the_third_in_a_row(self) -> None:
        out = steer(self.upload(20, 20))
        assert out.fates == {"bad_checksum": 1, "segment": 5, "ack": 1}
        assert lengths(out) == [5, 4]

    def test_not_where_the_capture_is_at_the_receiver(self) -> None:
        talk = handshake(Dialog(), 30, 20_000)
        for _ in range(4):
            talk.a(b"hello", checksum="wrong")
        assert lengths(steer(talk.frames)) == []

    @pytest.mark.parametrize("good", ["right", "partial"])
    def test_not_of_a_host_that_has_shown_a_good_checksum(self, good: str) -> None:
        """A vantage of "sender" is an inference: the damaged copy must not win against its intact retransmission."""
        talk = Dialog(step=1000 * US)
        talk.a(flags=SYN, mss=1460, checksum=good)
        talk.step = 20 * US
        talk.b(flags=SYN | ACK, mss=1460)
        talk.a(checksum=good)
        assert judge(evidence(talk.frames)).place is Place.AT_A
        talk.a(b"hellO", checksum="wrong")
        talk.a(b"hello", seq=1001, checksum=good)
        out = steer(talk.frames)
        assert out.stage.connections[0].vantage(0) == "sender"
        assert out.fates == {"segment": 3, "ack": 1, "bad_checksum": 1}
        assert b"hello" in out.payloads
        assert b"hellO" not in out.payloads

    @pytest.mark.parametrize(
        ("types", "fates"),
        [
            ((4, 4), {"segment": 4, "ack": 1}),  # sent here
            ((0, 0), {"segment": 3, "ack": 1, "bad_checksum": 1}),  # received here
            ((0, 4), {"segment": 3, "ack": 1, "bad_checksum": 1}),  # forwarded here: it came in as bad as it went out
        ],
    )
    def test_where_the_kernel_sent_this_packet(self, types: tuple[int, int], fates: dict[str, int]) -> None:
        talk = silent()
        said = [talk.a(flags=SYN), talk.b(flags=SYN | ACK), talk.a()]
        said += [talk.a(b"hello", checksum="wrong"), talk.a(b"more")]
        kinds = [types[0], 4 - types[0], types[0], types[1], types[1]]
        frames = [
            captured(sent.cooked(kind), frame.time_ns, 0, SLL)
            for sent, kind, frame in zip(said, kinds, talk.frames, strict=True)
        ]
        assert steer(frames).fates == fates

    def test_not_for_the_other_side(self) -> None:
        talk = Dialog()
        talk.frames = self.upload(20_000, 30)
        talk.time = talk.frames[-1].time_ns + US
        talk.b(b"hello", seq=5001, checksum="wrong")
        assert steer(talk.frames).fates == {"segment": 5, "ack": 2, "bad_checksum": 1}

    @pytest.mark.parametrize(
        ("options", "rows"),
        [
            (SteerOptions(vantage="sender"), [5, 4]),
            (SteerOptions(vantage="receiver"), [5, 4]),  # none of a host is right: wherever the tap stands
            (SteerOptions(vantage="sender", checksum="verify"), []),
            (SteerOptions(checksum="verify"), []),
            (SteerOptions(vantage="receiver", checksum="ignore"), [5, 4]),
        ],
    )
    def test_options_have_the_last_word(self, options: SteerOptions, rows: list[int]) -> None:
        assert lengths(steer(self.upload(20_000, 30), options)) == rows


def frames_of(path: Path) -> list[Frame]:
    return [item for item in read_capture(io.BytesIO(path.read_bytes()).read, path.name) if isinstance(item, Frame)]


@pytest.mark.parametrize(
    "name",
    [
        "loss-reorder-tls13-aes256gcm",
        "loss-reorder-dup-tls12-aes128gcm",
        "loss-tls13-chacha20",
        "reorder-tls12-aes128cbc-sha256",
    ],
)
def test_examples_with_a_wire_that_lost_or_reordered_before_the_capture(name: str) -> None:
    (connection,) = steer(frames_of(EXAMPLES / f"{name}.pcap")).stage.connections
    assert (connection.vantage(0), connection.vantage(1)) == ("receiver", "sender")


def test_sixty_connections_where_only_some_met_a_loss() -> None:
    """No connection may be judged by another's packets: those that lost nothing stay unknown. None is misjudged."""
    connections = steer(frames_of(EXAMPLES / "many-tls13-aes128gcm.pcap")).stage.connections
    verdicts = [(connection.vantage(0), connection.vantage(1)) for connection in connections]
    assert set(verdicts) == {("receiver", "sender"), ("unknown", "unknown")}
    assert verdicts.count(("receiver", "sender")) >= 15


def test_a_clean_example_between_two_hosts_30_us_apart_is_unknown() -> None:
    """It was taken at the receiver, but nothing in it says so: it would look the same from the sender.

    SYN to SYN-ACK is 28.8 us, SYN-ACK to ACK 29.7 us, all checksums are right, nothing is joined, lost or late. Calling
    it "receiver" would call a capture at the sender so, too, and that is the mistake a vantage is there to prevent.
    """
    (connection,) = steer(frames_of(EXAMPLES / "clean-tls13-aes128gcm.pcap")).stage.connections
    assert (connection.vantage(0), connection.vantage(1)) == ("unknown", "unknown")


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("any-sll", "receiver"),
        ("any-sll2", "receiver"),
        ("any-loopback", "unknown"),
        ("missing-close-notify", "unknown"),  # loopback, whose RSTs alone have finished checksums
        ("veth-offload-receiver", "unknown"),  # a veth hands partial checksums through
        ("veth-offload-sender", "unknown"),
        ("veth-plain-receiver", "unknown"),
        ("veth-plain-sender", "unknown"),
    ],
)
def test_real_captures_whose_place_is_known(name: str, verdict: str) -> None:
    connections = steer(frames_of(REAL / f"{name}.pcap")).stage.connections
    assert {connection.vantage(0) for connection in connections} == {verdict}


def test_the_verdict_of_any_prefix_comes_from_the_prefix_alone() -> None:
    talk = Dialog(step=20 * US)
    lost_before(0)(talk)
    running = [judge(evidence(talk.frames, n)).place for n in range(1, len(talk.frames) + 1)]
    one = Evidence()
    acked = [-1, -1]
    again = []
    for frame in talk.frames:
        packet = parse(frame.link_type, frame.data, frame.wire_length)
        assert isinstance(packet, Packet)
        side = 0 if packet.sport == 40000 else 1
        one.look(side, frame.time_ns, packet)
        one.follow(side, frame.time_ns, packet, acked[side], acked[1 - side])
        if packet.flags & ACK:
            acked[1 - side] = max(acked[1 - side], packet.ack)
        again.append(judge(one).place)
    assert running == again
    assert [place for place, _ in itertools.groupby(running)] == [Place.UNKNOWN, Place.AT_B]
