"""The compiled NIC against the plain one: on the same rows, under the same host, they give the same."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from random import Random
from typing import Protocol

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import traffic
from rxtls.counters import Ledger
from rxtls.crypto.compiled.key_table import KeyTable
from rxtls.crypto.keys import Keys
from rxtls.crypto.records import Sealer
from rxtls.crypto.schedule import tls13_keys, tls13_next_secret
from rxtls.crypto.suites import Version
from rxtls.device.compiled.nic import CompiledNic
from rxtls.device.lro import MAX_RUN
from rxtls.device.nic import HostPoint, Nic
from rxtls.device.profiles import PROFILES, Latency, Profile, profile
from rxtls.intake.batch import ACK, COLUMNS, END, FIN, LEAF, PSH, RST, SYN, Row
from rxtls.intake.steer import Steer, SteerOptions
from rxtls.offload.commands import (
    Auth,
    Command,
    Confirm,
    DeviceEvent,
    Guess,
    Happening,
    Install,
    Progress,
    Query,
    SetPosition,
    Tracker,
)
from rxtls.offload.compiled.arena import LARGE, MOST_ARRIVALS, SMALL, Arena, Chunk, Extent
from rxtls.offload.mbuf import Mbuf
from rxtls.seq import add, distance
from rxtls.simulation.link import Address, interleave
from rxtls.simulation.sender import HANDSHAKE
from sample_keys import made_up
from tls_stream import ENGINE_KEYS, GCM12, GCM13, TlsStream, false_headers, stream_of
from twin_nics import Piece, Twins, as_arrays, assert_unused, pieces

LONG = 1 << 40  # microseconds: never
AT_ONCE = Latency(0, 0)
PROMPT = replace(PROFILES["ideal"], poll=AT_ONCE, confirm=AT_ONCE)


def row(
    flow: int = 0,
    clock: int = 1,
    seq: int = 0,
    offset: int = 0,
    length: int = 0,
    flags: int = ACK,
    leaf: int = 0,
    edge: int = -1,
) -> Row:
    return [100 + clock, clock * 1_000, leaf, flow, clock, seq, flags, offset, length, -1, edge]


def rows_of(stream: TlsStream, cuts: list[int], flow: int = 0, first: int = 1) -> list[Row]:
    """The stream's packets from cut to cut, at consecutive clocks from `first` on; the data is the stream itself."""
    return [
        row(flow, clock, stream.seq(start), start, end - start)
        for clock, (start, end) in enumerate(pairwise(cuts), first)
    ]


def cut(stream: TlsStream, size: int, flow: int = 0, first: int = 1) -> list[Row]:
    """Packets of `size` bytes."""
    return rows_of(stream, [*range(0, len(stream.wire), size), len(stream.wire)], flow, first)


def install(stream: TlsStream, index: int = 0, epoch: int = 1) -> Install:
    return Install(epoch, 0, stream.keys, stream.number + index, stream.seq(stream.starts[index]))


def take(twins: Twins, rows: list[Row], data: bytes, flow: int = 0) -> list[Mbuf]:
    """All that comes of the rows of one flow, whose host asks for nothing."""
    taken: list[Mbuf] = []
    due = twins.receive(rows, data)
    while due:
        for each, _ in due:
            taken += twins.flush(each) if each == flow else []
        due = twins.resume()
    return taken + twins.flush(flow)


def happenings(log: list[DeviceEvent]) -> list[Happening]:
    return [event.happening for event in log]


# A host that makes trouble, and knows the truth.


@dataclass
class Truth:
    """What a flow's sender knows: the keys and number of the record whose header stands at a sequence number."""

    records: list[tuple[int, Keys, int]]

    def after(self, seq: int) -> tuple[int, Keys, int]:
        """The first record at or after `seq`, or the last."""
        return next((record for record in self.records if distance(seq, record[0]) >= 0), self.records[-1])

    def at(self, seq: int) -> tuple[int, Keys, int] | None:
        return next((record for record in self.records if record[0] == seq), None)


class Nics(Protocol):
    """What the host does to a NIC."""

    def set_budget(self, connection: int, budget: int) -> None: ...
    def post(self, flow: int, command: Install | Command) -> None: ...
    def release(self, flow: int) -> None: ...
    def forget(self, connection: int) -> None: ...


class Trouble:
    """Serves host points by dice that depend on the flow and on how often it was served: the same for both NICs."""

    def __init__(self, nic: Nics, truths: dict[int, Truth], seed: int, acts_when_clean: bool) -> None:
        self.nic = nic
        self.truths = truths
        self.seed = seed
        self.acts_when_clean = acts_when_clean
        self.served: dict[int, int] = {}
        self.reached: dict[int, int] = {}
        self.epochs: dict[int, int] = {}
        self.installed: dict[int, Keys | None] = {}

    def serve(self, flow: int, mbufs: list[Mbuf], log: list[DeviceEvent], answers: list[Progress | Guess]) -> None:
        for mbuf in mbufs:
            if mbuf.data:
                self.reached[flow] = add(mbuf.seq, len(mbuf.data))
        count = self.served[flow] = self.served.get(flow, 0) + 1
        clean = not log and not answers and all(m.mark and m.data and not m.flags & ~(ACK | PSH) for m in mbufs)
        truth = self.truths.get(flow)
        if truth is None or (clean and not self.acts_when_clean):
            return
        dice = Random(f"{self.seed} {flow} {count}")
        for answer in answers:
            self._answer(flow, truth, answer, dice)
        epoch = self.epochs.get(flow, 0)
        seq, keys, number = truth.after(self.reached.get(flow, truth.records[0][0]))
        if dice.random() < 0.05:
            self.nic.release(flow)
            self.installed[flow] = None
        if self.installed.get(flow) != keys and dice.random() < 0.6:
            epoch = self.epochs[flow] = epoch + 1
            self.installed[flow] = keys
            if dice.random() < 0.9:
                self.nic.release(flow)
            self.nic.post(flow, Install(epoch, 0, keys, self._perhaps_wrong(number, dice), seq))
        if dice.random() < 0.5:
            self.nic.post(flow, Query(epoch))
        if dice.random() < 0.1:
            self.nic.post(flow, SetPosition(epoch, seq, self._perhaps_wrong(number, dice)))
        if dice.random() < 0.05:
            self.nic.post(flow, Confirm(dice.choice((epoch, epoch + 1)), seq, number))
        if dice.random() < 0.02:
            self.nic.forget(flow >> 1)
            self.installed[flow] = self.installed[flow ^ 1] = None
        if count == 1 or dice.random() < 0.05:
            self.nic.set_budget(flow >> 1, dice.choice((1, 2, 3, 8, 64)))

    def _answer(self, flow: int, truth: Truth, answer: Progress | Guess, dice: Random) -> None:
        if isinstance(answer, Progress):
            if (answer.tracker, answer.auth) != (Tracker.TRACKING, Auth.NO_OFFLOAD):
                return
            anchor = answer.hw_resync_tcp_sn
        else:
            anchor = answer.tcp_sn
        found = truth.at(anchor)
        if found:
            self.nic.post(flow, Confirm(answer.epoch, anchor, self._perhaps_wrong(found[2], dice)))
        elif dice.random() < 0.3:
            self.nic.post(flow, Confirm(answer.epoch, anchor, dice.randrange(9)))

    def _perhaps_wrong(self, number: int, dice: Random) -> int:
        return number if dice.random() < 0.85 else max(0, number + dice.choice((-1, 1, 5)))


# Small streams under a bad network.


def made(dice: Random, flow: int, trouble: float, damage: float) -> tuple[bytes, list[Row], Truth]:
    """One flow: the bytes as they arrive, its rows (offsets from the start of those bytes), and the truth."""
    stream = TlsStream(
        dice.choice(ENGINE_KEYS), dice.choice((0, 1_000, 2**32 - 3_000, 2**31 - 3_000)), dice.choice((0, 2**32 - 3))
    )
    for index in range(dice.randrange(3, 25)):
        kind = dice.randrange(10)
        if kind == 0:
            stream.append_crafted(b"\xff" * 9 + false_headers(stream.keys, 6, 40) + b"\xff" * 30)
        elif kind == 1:
            stream.append_crafted(b"\x17\x03\x03\x00\x60" + b"\xff" * 50)
        elif kind == 2:
            stream.append(made_up(dice.choice((700, 5_000, 16_384)), f"{index}"))
        else:
            padding = dice.choice((0, 0, 0, 200)) if stream.keys.version is Version.TLS13 else 0
            stream.append(made_up(dice.randrange(120), f"{index}"), padding)
    wire, total = stream.wire, len(stream.wire)
    sizes = dice.choice(((1, 3, 7, 40, 90, 200), (200, 1448), (40, 1448, 9_000), (1448, 70_000)))
    order: list[tuple[float, int, int]] = []
    at = 0
    while at < total:
        end = min(total, at + dice.choice(sizes))
        for _ in range(1 + (dice.random() < trouble)):
            if dice.random() >= trouble:
                late = dice.choice((0, 0, 0, 30, 1_500)) if dice.random() < trouble else 0
                order.append((at + late, at, end))
        if dice.random() < trouble:  # a retransmission with other borders
            start = max(0, at - dice.randrange(300))
            order.append((at + dice.randrange(100), start, min(total, start + 1 + dice.randrange(1_500))))
        at = end
    order.sort(key=lambda packet: packet[0])
    data = bytearray()
    rows: list[Row] = []
    for clock, (_, start, end) in enumerate(order, 1):
        packet = bytearray(wire[start:end])
        if dice.random() < damage:
            packet[dice.randrange(len(packet))] ^= 0x40
        flags = dice.choice((ACK, ACK, ACK | PSH)) if dice.random() < 0.98 else dice.choice((ACK | FIN, ACK | SYN))
        leaf = 0 if dice.random() < 0.97 else 5
        seq = stream.seq(start)
        edge = dice.choice((-1, -1, add(seq, end - start), add(seq, dice.randrange(-40, 40))))
        rows.append(row(flow, clock, seq, len(data), end - start, flags, leaf, edge))
        rows[-1][9] = dice.choice((-1, seq))
        rows[-1][1] += dice.choice((0, 0, 0, 60_000))
        data += packet
    if dice.random() < 0.5:
        rows.append(row(flow, len(rows) + 1, flags=dice.choice((RST, END, FIN | ACK))))
    records = [(stream.seq(start), stream.keys, stream.number + n) for n, start in enumerate(stream.starts)]
    return bytes(data), rows, Truth(records)


@dataclass
class Capture:
    """Several flows' rows in one order, over one buffer."""

    rows: list[Row]
    data: bytes
    truths: dict[int, Truth]


def captured(dice: Random, flows: int, trouble: float, damage: float, untold: float = 0.0) -> Capture:
    """`untold` of the flows have no truth: their host never asks the device for anything."""
    data = b""
    waiting: list[list[Row]] = []
    truths: dict[int, Truth] = {}
    for flow in range(flows):
        some, rows, truth = made(dice, flow, trouble, damage)
        for each in rows:
            each[7] += len(data)
        data += some
        waiting.append(rows[::-1])
        if dice.random() >= untold:
            truths[flow] = truth
    mixed: list[Row] = []
    while any(waiting):
        rows = dice.choice([rows for rows in waiting if rows])
        for _ in range(dice.choice((1, 1, 1, 9))):
            if rows:
                mixed.append(rows.pop())
    for frame, each in enumerate(mixed):
        each[0] = frame
    return Capture(mixed, data, truths)


latencies = st.sampled_from((AT_ONCE, AT_ONCE, Latency(2, LONG), Latency(9, 3), Latency(8, 50)))
nics = st.builds(
    lambda name, **numbers: replace(PROFILES[name], **numbers),
    st.sampled_from(("ideal", "ideal", "connectx-6dx")),
    start=st.sampled_from(("programmed", "programmed", "search")),
    install=st.sampled_from((AT_ONCE, AT_ONCE, Latency(3, 20))),
    poll=latencies,
    confirm=latencies,
    auth_failures=st.sampled_from((1, 3, 10)),
    search_after=st.sampled_from((0, 0, 40, 20_000)),
)
seeds = st.integers(0, 2**32)
call_sizes = st.sampled_from((1, 7, 63, 10_000))
rates = st.sampled_from((0.0, 0.02, 0.1, 0.3))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(nics, seeds, st.integers(1, 5), rates, rates, call_sizes, st.sampled_from((1, 100, 4_000, MAX_RUN)))
def test_both_give_the_same_whatever_arrives_and_whatever_the_host_does(
    nic: Profile, seed: int, flows: int, trouble: float, damage: float, call_size: int, limit: int
) -> None:
    capture = captured(Random(seed), flows, trouble, damage)
    twins = Twins(nic, limit)
    host = Trouble(twins, capture.truths, seed, acts_when_clean=True)
    for start in range(0, len(capture.rows), call_size):
        due = twins.receive(capture.rows[start : start + call_size], capture.data)
        while due:
            for flow, _ in due:
                host.serve(flow, twins.flush(flow), twins.log(flow), twins.answers(flow))
            due = twins.resume()
    for flow in range(flows):
        twins.flush(flow)
        twins.log(flow)
    twins.close()


def bare(scenario: traffic.Scenario, first: int) -> tuple[list[Row], bytes, dict[int, Truth]]:
    """The scenario's flows without handshakes, from record `first` on, as rows and data; the truth by flow."""
    runs, truths = [], {}
    for n, flow in enumerate(scenario.flows):
        client = flow.connection.client
        apart = replace(flow.connection, client=Address(client.ip, client.port + n, client.mac))
        played = traffic.bare(replace(flow, connection=apart), first)
        runs.append(played.run.frames)
        keys, secret, number, at = played.keys, played.secret, first, 0
        records = []
        for kind, _ in played.sent.truth:
            records.append((add(played.sent.sequence, at), keys, number))
            at += 5 + int.from_bytes(played.sent.stream[at + 3 : at + 5])
            number += 1
            if kind == HANDSHAKE and secret:
                secret = tls13_next_secret(keys.suite, secret)
                keys, number = tls13_keys(keys.suite, secret), 0
        truths[client.port + n, flow.upload] = Truth(records)
    steer = Steer(Ledger(), SteerOptions())
    batch = steer.batch(list(enumerate(interleave(runs, scenario.seed))))
    by_flow = {}
    for index, connection in enumerate(steer.connections):
        for side, (_, port) in enumerate((connection.a, connection.b)):
            for (client_port, upload), truth in truths.items():
                # The data's sender is the client where the flow uploads, else the one who talks to that client.
                if client_port == (port if upload else (connection.a, connection.b)[1 - side][1]):
                    by_flow[2 * index + side] = truth
    return batch.rows.tolist(), bytes(batch.data), by_flow


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(traffic.scenarios(unseen=True), st.sampled_from((0, 7, 2**32 - 2)), seeds, call_sizes)
def test_the_same_over_the_simulated_link(scenario: traffic.Scenario, first: int, seed: int, call_size: int) -> None:
    rows, data, truths = bare(scenario, first)
    twins = Twins(profile(scenario.profile, scenario.settings))
    host = Trouble(twins, truths, seed, acts_when_clean=True)
    for start in range(0, len(rows), call_size):
        due = twins.receive(rows[start : start + call_size], data)
        while due:
            for flow, _ in due:
                host.serve(flow, twins.flush(flow), twins.log(flow), twins.answers(flow))
            due = twins.resume()
    twins.close()


# Quiet: host points are skipped where serving the host would do nothing, and nothing else changes.

Seen = dict[int, list[tuple[int, int, list[Piece], list[DeviceEvent], list[Progress | Guess]]]]


def seen_by_plain(nic: Profile, capture: Capture, seed: int, call_size: int) -> Seen:
    """What a host sees at each host point that does nothing while all is well."""
    seen: Seen = {}
    plain = Nic(nic)
    host = Trouble(plain, capture.truths, seed, acts_when_clean=False)
    for flow in range(0, 20, 2):
        plain.set_budget(flow >> 1, 2 + flow % 5)
    for start in range(0, len(capture.rows), call_size):
        rows = capture.rows[start : start + call_size]
        due = plain.receive([[*each, position] for position, each in enumerate(rows)], capture.data)
        while due:
            for flow, position in due:
                mbufs, log, answers = plain.flush(flow), plain.log(flow), plain.answers(flow)
                seen.setdefault(flow, []).append((start, position, pieces(mbufs), log, answers))
                host.serve(flow, mbufs, log, answers)
            due = plain.resume(capture.data)
    return seen


def groups(nic: CompiledNic, arena: Arena, flow: int) -> list[tuple[int, list[Mbuf]]]:
    """What a flow is served with, by host point."""
    found: list[tuple[int, list[Mbuf]]] = []
    head = node = nic.detach(flow)
    points = []
    while node >= 0:
        points.append(int(arena.extents[node, Extent.POINT]))
        node = int(arena.extents[node, Extent.NEXT])
    for point, mbuf in zip(points, arena.mbufs(head), strict=True):
        if not found or found[-1][0] != point:
            found.append((point, []))
        found[-1][1].append(mbuf)
    return found


def seen_by_quiet(nic: Profile, capture: Capture, seed: int, call_size: int) -> tuple[Seen, int]:
    """The same where host points may be skipped, and how many were served together with a later one."""
    seen: Seen = {}
    skipped = 0
    arena, keys = Arena(), KeyTable()
    compiled = CompiledNic(nic, arena, keys)
    host = Trouble(compiled, capture.truths, seed, acts_when_clean=False)
    for flow in range(0, 20, 2):
        compiled.set_budget(flow >> 1, 2 + flow % 5)
    for start in range(0, len(capture.rows), call_size):
        due = compiled.receive(*as_arrays(capture.rows[start : start + call_size], capture.data))
        while due:
            for flow, last in sorted(due, key=lambda point: point[1]):
                log, answers = compiled.log(flow), compiled.answers(flow)
                served = groups(compiled, arena, flow)
                skipped += len(served) - 1
                for point, mbufs in served:
                    now = (log, answers) if point == served[-1][0] else ([], [])
                    seen.setdefault(flow, []).append((start, point, pieces(mbufs), *now))
                    host.serve(flow, mbufs, *now)
                assert served[-1][0] == last
                dice = Random(f"{seed} {flow} {last}")
                compiled.quiet(flow, 2 if flow not in capture.truths else dice.choice((0, 1, 1, 1)))
            due = compiled.resume()
    for connection in range(10):
        compiled.forget(connection)
    assert_unused(arena)
    return seen, skipped


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(nics, seeds, st.integers(1, 5), st.sampled_from((0.0, 0.0, 0.02, 0.1)), st.sampled_from((0.0, 0.02)), call_sizes)
def test_skipped_host_points_are_those_that_change_nothing(
    nic: Profile, seed: int, flows: int, trouble: float, damage: float, call_size: int
) -> None:
    capture = captured(Random(seed), flows, trouble, damage, untold=0.2)
    seen, _ = seen_by_quiet(nic, capture, seed, call_size)
    assert seen == seen_by_plain(nic, capture, seed, call_size)


def test_the_property_has_host_points_that_are_skipped() -> None:
    assert sum(seen_by_quiet(PROMPT, captured(Random(n), 5, 0.0, 0.0), n, 10_000)[1] for n in range(8)) > 5


class Quiet:
    """One flow of a compiled NIC, in order, at budget 4."""

    def __init__(self, stream: TlsStream, mode: int = 1, nic: Profile = PROMPT) -> None:
        self.stream = stream
        self.arena, self.keys = Arena(), KeyTable()
        self.nic = CompiledNic(nic, self.arena, self.keys)
        self.nic.post(0, install(stream))
        self.nic.set_budget(0, 4)
        self.nic.quiet(0, mode)

    def due(self, rows: list[Row]) -> list[HostPoint]:
        return self.nic.receive(*as_arrays(rows, self.stream.wire))

    def served(self) -> list[tuple[int, list[Mbuf]]]:
        return groups(self.nic, self.arena, 0)


def test_a_clean_flow_is_served_once_for_all_that_it_skipped() -> None:
    quiet = Quiet(stream_of(GCM13, [50] * 30))
    rows = cut(quiet.stream, 72)  # a record each
    assert quiet.due(rows[:4]) == [(0, 3)]  # the install is news
    assert [point for point, _ in quiet.served()] == [3]
    assert happenings(quiet.nic.log(0)) == [Happening.INSTALLED]
    assert quiet.nic.resume() == []
    assert quiet.due(rows[4:14]) == [(0, 7)]  # clocks 8 and 12; 13 and 14 are after the last
    found = quiet.served()
    assert [(point, sum(len(mbuf.data) for mbuf in mbufs)) for point, mbufs in found] == [(3, 4 * 72), (7, 4 * 72)]
    assert all(mbuf.mark == 1 for _, mbufs in found for mbuf in mbufs)
    assert quiet.nic.resume() == []
    assert quiet.due(rows[14:16]) == [(0, 1)]
    (last,) = quiet.served()
    assert (last[0], sum(len(mbuf.data) for mbuf in last[1])) == (1, 4 * 72)


def test_detached_again_it_gives_the_rest() -> None:
    quiet = Quiet(stream_of(GCM13, [50] * 30), mode=2)
    assert quiet.due(cut(quiet.stream, 72)[:11]) == [(0, 7)]
    assert [point for point, _ in quiet.served()] == [3, 7]
    assert quiet.nic.log(0) == []  # that it was installed is news, but this point was skipped all the same
    ((point, mbufs),) = quiet.served()
    assert (point, sum(len(mbuf.data) for mbuf in mbufs)) == (-1, 3 * 72)
    assert happenings(quiet.nic.log(0)) == [Happening.INSTALLED]


def test_what_is_skipped_before_a_real_host_point_is_served_there() -> None:
    quiet = Quiet(stream_of(GCM13, [50] * 30), mode=2)
    rows = cut(quiet.stream, 72)[:8]
    rows[5][6] = FIN | ACK
    assert quiet.due(rows) == [(0, 5)]
    assert [point for point, _ in quiet.served()] == [3, 5]
    assert quiet.nic.resume() == [(0, 7)]


def test_skipped_lanes_come_after_the_stopped_and_by_their_last_host_point() -> None:
    stream = stream_of(GCM13, [50] * 30)
    nic = CompiledNic(PROMPT, Arena(), KeyTable())
    for flow in (2, 4, 6):
        nic.set_budget(flow >> 1, 2)
        nic.quiet(flow, 2)
    flows = (2, 4, 2, 4, 6, 6, 5, 4, 6, 5, 4, 6, 6)
    clocks = dict.fromkeys(flows, 0)
    rows = []
    for flow in flows:
        clocks[flow] += 1
        rows.append(row(flow, clocks[flow], length=1))
    # Flow 5 stops its connection at row 9, so of flow 4 only the first host point is skipped.
    assert nic.receive(*as_arrays(rows, stream.wire)) == [(5, 9), (2, 2), (4, 3), (6, 11)]


@pytest.mark.parametrize("keys", [GCM13, GCM12])
def test_a_record_of_another_type_is_served(keys: Keys) -> None:
    stream = stream_of(keys, [50] * 9)
    size = len(stream.wire) // 9
    handshake = Sealer(keys).seal(9, HANDSHAKE, made_up(50, "handshake"), 0)
    stream.starts.append(len(stream.wire))
    stream.wire += handshake
    for index in range(10, 30):
        stream.append(made_up(50, f"payload {index}"))
    quiet = Quiet(stream)
    rows = cut(stream, size)
    assert quiet.due(rows[:4]) == [(0, 3)]
    quiet.served()
    quiet.nic.resume()
    assert quiet.due(rows[4:16]) == [(0, 7)]  # clock 8 was skipped; the record came before clock 12
    assert [point for point, _ in quiet.served()] == [3, 7]
    assert quiet.nic.resume() == [(0, 11)]
    assert len(quiet.served()) == 1


@pytest.mark.parametrize("what", ["loss", "leaf", "damage", "command", "padding alone"])
def test_what_is_not_clean_is_served(what: str) -> None:
    stream = stream_of(GCM13, [50] * 5)
    stream.append(made_up(10, "padded"), padding=40 if what == "padding alone" else 0)
    for index in range(20):
        stream.append(made_up(50, f"{index}"))
    wire = bytearray(stream.wire)
    rows = by_record(stream)
    quiet = Quiet(stream, nic=replace(PROMPT, poll=Latency(50, LONG)))
    assert quiet.due(rows[:4]) == [(0, 3)]
    quiet.served()
    quiet.nic.resume()
    if what == "loss":
        del rows[5]
        for clock, each in enumerate(rows, 1):
            each[4] = clock
    elif what == "leaf":
        rows[5][LEAF] = 4
    elif what == "damage":
        wire[stream.starts[5] + 9] ^= 1
    elif what == "command":
        quiet.nic.post(0, Query(1))
    else:
        # Its last ten bytes of plaintext come alone, and are all padding.
        start, end = stream.starts[5], stream.end(5)
        rows[5:6] = [
            row(0, 0, stream.seq(start), start, end - 26 - start),
            row(0, 0, stream.seq(end - 26), end - 26, 26),
        ]
        for clock, each in enumerate(rows, 1):
            each[4] = clock
    assert quiet.nic.receive(*as_arrays(rows[4:16], bytes(wire))) == [(0, 3)]
    assert len(quiet.served()) == 1
    # What is lost stays lost, and what is pending stays pending; the rest has passed with that host point.
    assert quiet.nic.resume() == [(0, 7 if what in ("loss", "leaf", "command") else 11)]


def test_ordinary_padding_is_clean() -> None:
    stream = TlsStream(GCM13)
    for index in range(12):
        stream.append(made_up(10, f"{index}"), padding=300)
    quiet = Quiet(stream)
    rows = by_record(stream)
    assert quiet.due(rows[:4]) == [(0, 3)]
    quiet.served()
    quiet.nic.resume()
    assert quiet.due(rows[4:12]) == [(0, 7)]
    assert [point for point, _ in quiet.served()] == [3, 7]


# Edges.


def by_record(stream: TlsStream) -> list[Row]:
    """One packet a record."""
    return rows_of(stream, [*stream.starts, len(stream.wire)])


@pytest.mark.parametrize("keys", ENGINE_KEYS)
@pytest.mark.parametrize("size", [1, 2, 16, 1448, 70_000])
@pytest.mark.parametrize("base", [1_000, 2**32 - 900])
def test_in_order_everything_is_marked_however_cut(keys: Keys, size: int, base: int) -> None:
    lengths = [0, 1, 40, 0, 300] if size <= 16 else [16_384] * 12 + [200] * 50
    stream = stream_of(keys, lengths, base)
    twins = Twins(PROMPT)
    twins.set_budget(0, 64)
    twins.post(0, install(stream))
    taken = take(twins, cut(stream, size), stream.wire)
    assert b"".join(mbuf.data for mbuf in taken) == stream.plain
    assert {mbuf.mark for mbuf in taken} == {1}
    twins.close()


def test_records_are_one_stretch_of_one_chunk() -> None:
    stream = stream_of(GCM13, [50] * 10 + [16_384] * 20 + [3_000] * 60)
    arena = Arena()
    nic = CompiledNic(PROMPT, arena, KeyTable())
    nic.set_budget(0, 1 << 30)
    nic.post(0, install(stream))
    assert nic.receive(*as_arrays(cut(stream, 1448), stream.wire)) == []
    node, at = nic.detach(0), 0
    whole: list[tuple[int, int, int]] = []  # chunk, and the bytes of the stream that are in it
    while node >= 0:
        extent = arena.extents[node]
        chunk, length = int(extent[Extent.CHUNK]), int(extent[Extent.LENGTH])
        if whole and whole[-1][0] == chunk and whole[-1][2] == at:
            whole[-1] = (chunk, whole[-1][1], at + length)
        else:
            whole.append((chunk, at, at + length))
        at += length
        node = int(extent[Extent.NEXT])
    assert at == len(stream.wire)
    assert len(whole) > 5
    cut_up = [span for span in stream.spans() if not any(b <= span[0] and span[1] <= e for _, b, e in whole)]
    assert cut_up == stream.spans()[10:11]  # it began in the flow's small first chunk, behind shorter ones


def test_more_packets_than_a_chunk_has_arrivals() -> None:
    stream = stream_of(GCM13, [1_000] * 3)
    twins = Twins(PROMPT)
    twins.set_budget(0, 1 << 30)
    twins.post(0, install(stream))
    rows = cut(stream, 3)
    assert len(rows) > 3 * MOST_ARRIVALS
    assert b"".join(mbuf.data for mbuf in take(twins, rows, stream.wire)) == stream.plain
    twins.close()


@pytest.mark.parametrize("flags", [ACK, ACK | FIN, SYN, SYN | FIN, ACK | RST | PSH])
@pytest.mark.parametrize("damaged", [False, True])
def test_a_packet_of_a_mebibyte(flags: int, damaged: bool) -> None:
    stream = stream_of(GCM13, [16_384] * 66)
    wire = bytearray(stream.wire)
    wire[700_000] ^= damaged
    middle = stream.starts[64] + 5
    rows = rows_of(stream, [0, middle, len(wire)])
    assert rows[0][8] > 1 << 20
    rows[0][6] = flags
    twins = Twins(PROMPT)
    twins.set_budget(0, 64)
    twins.post(0, install(stream))
    taken = take(twins, rows, bytes(wire))
    assert {mbuf.mark for mbuf in taken[:-1]} == {0 if damaged else 1}
    assert [bool(mbuf.flags & FIN) for mbuf in taken].count(True) == bool(flags & FIN)
    twins.close()


def test_the_last_record_number_stops_the_engine() -> None:
    stream = stream_of(GCM13, [50, 50], number=2**64 - 2)
    stream.wire += stream.wire
    twins = Twins(PROMPT)
    twins.set_budget(0, 64)
    twins.post(0, install(stream))
    taken = take(twins, cut(stream, 72), stream.wire)
    assert [mbuf.mark for mbuf in taken for _ in mbuf.arrivals] == [1, 1, 0, 0]
    assert happenings(twins.log(0)) == [Happening.INSTALLED, Happening.STOPPED]


@pytest.mark.parametrize("keys", [GCM13, GCM12], ids=["TLS13", "TLS12"])
@pytest.mark.parametrize("lost", [0, 1, 2, 3])
def test_so_does_passing_it_by(keys: Keys, lost: int) -> None:
    stream = stream_of(keys, [50] * 4, number=2**64 - 4)
    total = len(stream.wire)
    stream.wire += stream.wire
    twins = Twins(PROMPT)
    twins.set_budget(0, 64)
    twins.post(0, install(stream))
    middles = [start + offset for start in stream.starts for offset in (20, 40)]
    rows = rows_of(stream, [0, *middles, total + 30, 2 * total])
    del rows[1 + 2 * lost]  # of a record, but not its header
    taken = take(twins, rows, stream.wire)
    assert taken[-1].mark == 0
    assert happenings(twins.log(0))[-1] is Happening.STOPPED


@pytest.mark.parametrize("number", [2**63 - 2, 2**63, 2**64 - 4, 2**64 - 3, 2**64 - 1])
def test_a_confirm_near_the_end_of_record_numbers(number: int) -> None:
    stream = stream_of(GCM13, [50] * 4, number=2**63 - 3)
    twins = Twins(replace(PROMPT, start="search"))
    twins.set_budget(0, 1)
    twins.post(0, install(stream))
    rows = rows_of(stream, [0, *(start + 30 for start in stream.starts), len(stream.wire)])
    due = twins.receive(rows, stream.wire)
    seen: list[Happening] = []
    while due:
        for flow, position in due:
            twins.flush(flow)
            seen += happenings(twins.log(flow))
            if position == 1:
                twins.post(flow, Confirm(1, stream.seq(0), number))
        due = twins.resume()
    assert Happening.CONFIRMED in seen
    assert (seen[-1] is Happening.STOPPED) == (number >= 2**64 - 4), "four records are as many as there are numbers"


def test_tables_grow() -> None:
    stream = stream_of(GCM13, [50] * 3)
    twins = Twins(replace(PROMPT, poll=Latency(2, LONG)))
    flows = range(600)
    for flow in flows:
        twins.post(flow, install(stream))
        for _ in range(400 if flow == 7 else 1):
            twins.post(flow, Query(1))
    rows = [each for rows in zip(*(cut(stream, 72, flow) for flow in flows), strict=True) for each in rows]
    due = twins.receive(rows, stream.wire)
    answers = 0
    while due:
        for flow, _ in due:
            (mbuf,) = twins.flush(flow)
            assert mbuf.mark == 1
            answers += len(twins.answers(flow))
            twins.log(flow)
        due = twins.resume()
    assert answers == 599 + 400
    for flow in flows:
        twins.forget(flow >> 1)
    twins.close()


def test_more_events_than_the_table_held() -> None:
    stream = stream_of(GCM12, [0] * 9_000)
    wire = bytearray(stream.wire)
    for start in stream.starts:
        wire[start + 20] ^= 1
    twins = Twins(replace(PROMPT, auth_failures=1 << 30))
    twins.set_budget(0, 1 << 30)
    twins.post(0, install(stream))
    assert {mbuf.mark for mbuf in take(twins, cut(stream, 60_000), bytes(wire))} == {0}
    assert happenings(twins.log(0)) == [Happening.INSTALLED] + [Happening.AUTH_FAILED] * 9_000


def test_idle_flows_hold_no_chunks_that_others_need() -> None:
    arena = Arena()
    nic = CompiledNic(PROMPT, arena, KeyTable())
    data = bytes(5_000)
    for connection in range(3_000):
        rows = [
            row(2 * connection, 1, 0, 0, 100),
            row(2 * connection, 2, 100, 0, 5_000),
            row(2 * connection + 1, 1, 0, 0, 9),
        ]
        due = nic.receive(*as_arrays(rows, data))
        while due:
            for flow, _ in due:
                nic.flush(flow)
            due = nic.resume()
    assert len(arena.chunks) < 1_000


def test_a_chunk_that_nobody_else_holds_is_written_over() -> None:
    stream = stream_of(GCM13, [16_384] * 30)
    arena = Arena()
    nic = CompiledNic(PROMPT, arena, KeyTable())
    nic.set_budget(0, 8)
    nic.post(0, install(stream))
    due = nic.receive(*as_arrays(cut(stream, 1448), stream.wire))
    chunks = set()
    while due:
        head = nic.detach(0)
        chunks.add(int(arena.extents[head, Extent.CHUNK]))
        assert {mbuf.mark for mbuf in arena.mbufs(head)} == {1}
        due = nic.resume()
    assert len(chunks) == 2  # the small one, and then the large one


def test_a_connection_forgotten_at_its_host_point_starts_anew_with_what_is_parked() -> None:
    stream = stream_of(GCM13, [50] * 8)
    twins = Twins(PROMPT)
    twins.set_budget(0, 3)
    twins.post(0, install(stream))
    assert twins.receive(by_record(stream), stream.wire) == [(0, 2)]
    twins.forget(0)
    for clock in range(4, 9):
        assert twins.resume() == [(0, clock - 1)]  # at budget one
        (mbuf,) = twins.flush(0)
        assert mbuf.mark == 0
        if clock == 6:
            twins.forget(0)
    assert twins.resume() == []
    twins.forget(0)
    twins.close()


def test_the_slot_of_a_forgotten_connection_is_used_again() -> None:
    twins = Twins(PROMPT)
    for connection in range(500):
        take(twins, [row(2 * connection, 1, 0, 0, 5), row(2 * connection, 2, flags=END)], b"hello", 2 * connection)
        twins.forget(connection)
    assert len(twins.compiled._connections) == 64
    twins.close()


def test_release_takes_what_is_pending_and_what_was_answered() -> None:
    stream = stream_of(GCM13, [50] * 6)
    twins = Twins(replace(PROMPT, install=Latency(2, LONG)))
    twins.post(0, install(stream))
    twins.release(0)
    assert {mbuf.mark for mbuf in take(twins, by_record(stream)[:3], stream.wire)} == {0}
    twins.post(0, install(stream, 5, epoch=2))
    twins.post(0, Query(2))
    take(twins, by_record(stream)[3:], stream.wire)
    twins.release(0)
    assert (twins.answers(0), happenings(twins.log(0))) == ([], [Happening.INSTALLED])
    assert len(twins.keys) == 0


def test_nothing_is_made_by_asking() -> None:
    nic = CompiledNic(PROMPT, Arena(), KeyTable())
    nic.release(4)
    nic.forget(9)
    nic.quiet(4, 0)
    assert (nic.detach(4), nic.flush(4), nic.log(4), nic.answers(4), nic.resume()) == (-1, [], [], [], [])
    assert not (nic._connections[:, 0] >= 0).any()


def test_the_rows_before_have_to_be_taken_first() -> None:
    nic = CompiledNic(PROMPT, Arena(), KeyTable())
    rows = as_arrays([row(0, 1), row(0, 2)], b"")
    assert nic.receive(*rows) == [(0, 0)]
    with pytest.raises(AssertionError):
        nic.receive(*rows)
    assert nic.resume() == [(0, 1)]
    assert nic.resume() == []
    assert nic.receive(*rows) == [(0, 0)]


def test_rows_and_data_are_not_written_to_and_need_not_be_contiguous() -> None:
    stream = stream_of(GCM13, [50] * 4)
    rows, data = as_arrays(by_record(stream), stream.wire)
    wide = np.zeros((len(rows), COLUMNS + 3), np.int64)
    wide[:, :COLUMNS] = rows
    rows.flags.writeable = False
    for each in (rows, wide[:, :COLUMNS]):
        nic = CompiledNic(PROMPT, Arena(), KeyTable())
        nic.set_budget(0, 64)
        nic.post(0, install(stream))
        assert nic.receive(each, data) == []
        (run,) = nic.flush(0)
        assert (run.data, run.mark) == (stream.plain, 1)
    assert bytes(data) == stream.wire


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 1_000), (99, 5), (100, 5), (200, 5), (-5, 3), (5, -3), (2**62, 2**62)]
)
def test_payload_that_the_data_has_not_is_not_read(offset: int, length: int) -> None:
    nic = CompiledNic(PROMPT, Arena(), KeyTable())
    data = bytes(range(100))
    assert nic.receive(*as_arrays([row(0, 1, 0, offset, length)], data)) == [(0, 0)]
    (mbuf,) = nic.flush(0)
    assert mbuf.data == (data[offset : offset + length] if offset >= 0 and length > 0 else b"")


def test_sizes_of_the_first_chunks() -> None:
    arena = Arena()
    nic = CompiledNic(PROMPT, arena, KeyTable())
    for flow, length, size in ((0, 100, SMALL), (2, SMALL, SMALL), (4, SMALL + 1, LARGE)):
        nic.receive(*as_arrays([row(flow, 1, 0, 0, length)], bytes(9_000)))
        head = nic.detach(flow)
        assert arena.chunks[arena.extents[head, Extent.CHUNK], Chunk.SIZE] == size
        nic.resume()
