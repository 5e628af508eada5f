"""Downloads as packets, thousands at a time, by numpy.

Two packets to an acknowledgement, packet by packet in turn where several flows go abreast:

    data f0 | data f1 | ... | data f0 | data f1 | ... | ack f0 | ack f1 | ...         one group
    pcap header | Ethernet | IPv4 | TCP, timestamps | 1448 bytes of the stream        one data frame

A lost packet is missing at its place and comes 100 to 300 packets of its flow later, as with SACK about a round trip
after it was missed; its repair may be lost as well. A reordered packet comes three places early, as `netem` makes it.
What is acknowledged is always what the receiver has in order by then.
"""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from bench_cases import Traffic
from bench_stream import MSS, Flow

from rxtls.wire.packets import ACK, PSH, Headers, timestamps

GAP_NS = 2_000  # between frames: about 4 Gb/s
SUPER_SEGMENT = 45  # segments of a sender's 64 KiB write: the last has PSH
JUMP = 3  # places that a reordered packet is early
LATE = 100, 300  # packets after which a lost one is repaired
MOST_LOSSES = 4  # of one packet, so that what is held stays within the window
LAID_OUT = 4096  # data frames at a time

Array = npt.NDArray[Any]
Positions = npt.NDArray[np.int64]


def arrivals(segments: int, loss: float, reorder: float, seed: int) -> Positions:
    """Which segment comes at each place."""
    dice = np.random.default_rng(seed)
    due = np.arange(segments, dtype=np.float64)
    if reorder:
        due[dice.random(segments) < reorder] -= JUMP + 0.5
    lost = np.full(segments, loss > 0)
    for _ in range(MOST_LOSSES):
        lost &= dice.random(segments) < loss
        due[lost] += dice.integers(*LATE, segments, endpoint=True)[lost] + 0.5
    return np.argsort(due, kind="stable").astype(np.int64)


def in_order(order: Positions) -> Positions:
    """How many segments are there without a hole after each arrival."""
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    complete = np.maximum.accumulate(place)  # when a segment and all before it are there
    return np.searchsorted(complete, np.arange(len(order)), side="right").astype(np.int64)


def _frame(payload: int) -> np.dtype[Any]:
    """A frame in a pcap, its fields as they change from packet to packet."""
    return np.dtype(
        [
            ("seconds", "<u4"),
            ("nanoseconds", "<u4"),
            ("lengths", "<u4", (2,)),
            ("ethernet", "V14"),
            ("ip_length", "V4"),
            ("ident", ">u2"),
            ("ip_fields", "V4"),
            ("ip_checksum", ">u2"),
            ("addresses", "V8"),
            ("ports", "V4"),
            ("seq", ">u4"),
            ("ack", ">u4"),
            ("flags", ">u2"),
            ("window", ">u2"),
            ("checksum", ">u2"),
            ("urgent", "V2"),
            ("timestamp_kind", "V4"),
            ("timestamps", ">u4", (2,)),
            ("payload", "u1", (payload,)),
        ]
    )


DATA, ACK_ONLY = _frame(MSS), _frame(0)


class Downloads:
    """The bulk of the flows that go abreast, laid out block by block."""

    def __init__(self, flows: list[Flow], traffic: Traffic, seed: int, now: int) -> None:
        self.flows = flows
        self.now = now
        self.data_frames = sum(flow.segments for flow in flows)
        self.frames = self.data_frames // 2 * 3
        self._order = [
            arrivals(flow.segments, traffic.loss, traffic.reorder, seed << 16 | n) for n, flow in enumerate(flows)
        ]
        self._there = [in_order(order) for order in self._order]
        self._held = [_Held(flow, order) for flow, order in zip(flows, self._order, strict=True)]
        rows = min(flows[0].segments, LAID_OUT // len(flows) // 2 * 2)
        layout = [("data", DATA, (2, len(flows))), ("ack", ACK_ONLY, (len(flows),))]
        self._groups = np.zeros(rows // 2, np.dtype(layout))
        self._templates = [self._laid_out(n, flow) for n, flow in enumerate(flows)]

    def write(self, out: BinaryIO) -> int:
        """All of it; the bytes written."""
        segments, rows = self.flows[0].segments, 2 * len(self._groups)
        gaps = self._groups["data"].size + self._groups["ack"].size
        per_group = gaps // len(self._groups)
        for begin in range(0, segments, rows):
            groups = self._groups[: min(rows, segments - begin) // 2]
            times = self.now + GAP_NS * np.arange(len(groups) * per_group).reshape(len(groups), per_group)
            split = 2 * len(self.flows)
            _stamp(groups["data"], times[:, :split].reshape(groups["data"].shape))
            _stamp(groups["ack"], times[:, split:])
            for n in range(len(self.flows)):
                self._fill(groups, n, begin)
            self.now += GAP_NS * times.size
            out.write(groups.view(np.uint8).data)
        return segments // 2 * self._groups.itemsize

    def _laid_out(self, n: int, flow: Flow) -> tuple[Array, Array]:
        """A frame of each kind with zeros in what changes; the others are copies of it."""
        connection = flow.connection
        windows = [window >> max(0, window.bit_length() - 16) for window in connection.windows]
        asked = connection.sequences[0] + flow.begun[0]  # after the request, which the server has
        data = Headers(connection.server, connection.client).frame(
            0, asked, ACK, windows[1], bytes(MSS), timestamps(0, 0)
        )
        bare = Headers(connection.client, connection.server).frame(asked, 0, ACK, windows[0], b"", timestamps(0, 0))
        templates = _template(data, DATA), _template(bare, ACK_ONLY)
        self._groups["data"][:, :, n], self._groups["ack"][:, n] = templates
        return templates

    def _fill(self, groups: Array, n: int, begin: int) -> None:
        """One flow's share of the groups: `begin` is its first place."""
        flow = self.flows[n]
        data, bare = groups["data"][:, :, n], groups["ack"][:, n]
        places = np.arange(begin, begin + data.size).reshape(data.shape)
        segments = self._order[n][places]
        start = flow.connection.sequences[1] + flow.begun[1]
        payload = self._held[n].take(begin, begin + data.size)
        data["payload"] = payload.reshape(*data.shape, MSS)
        data["seq"] = start + segments * MSS & 0xFFFF_FFFF
        data["flags"] = self._templates[n][0]["flags"] | PSH * (segments % SUPER_SEGMENT == SUPER_SEGMENT - 1)
        bare["ack"] = start + self._there[n][places[:, 1]] * MSS & 0xFFFF_FFFF
        for frames, template, kind in ((data, self._templates[n][0], 0), (bare, self._templates[n][1], 1)):
            ident = (places[:, 1] >> 1 if kind else places) & 0xFFFF
            frames["ident"] = ident
            frames["ip_checksum"] = (int(template["ip_checksum"]) + int(template["ident"]) - ident) % 0xFFFF
        # RFC 1624: the checksum of what changes is taken off that of the template. 2^16 = 1 modulo 2^16 - 1.
        changed = data["seq"].astype(np.int64) + (data["flags"] & PSH) + _stamps(data)
        words = payload.view("<u4").sum(axis=1, dtype=np.uint64).astype(np.int64) % 0xFFFF
        changed += (words << 8).reshape(data.shape)  # little-endian words: bytes change places by a factor of 2^8
        data["checksum"] = (int(self._templates[n][0]["checksum"]) - changed) % 0xFFFF
        changed = bare["ack"].astype(np.int64) + _stamps(bare)
        bare["checksum"] = (int(self._templates[n][1]["checksum"]) - changed) % 0xFFFF


class _Held:
    """A window over a flow's segments, which are made once and in order, but asked for as they arrive."""

    def __init__(self, flow: Flow, order: Positions) -> None:
        self._stream = flow.stream()
        self._order = order
        self._least = np.minimum.accumulate(order[::-1])[::-1]  # the first segment that is still wanted
        self._segments = np.zeros((0, MSS), np.uint8)
        self._first = self._made = 0

    def take(self, begin: int, end: int) -> npt.NDArray[np.uint8]:
        """The segments that arrive at places begin to end: (end - begin, MSS), contiguous, valid until the next."""
        wanted = self._order[begin:end]
        first, last = int(self._least[begin]), max(self._made, int(wanted.max()) + 1)
        if last - first > len(self._segments):
            grown = np.empty((last - first + (end - begin), MSS), np.uint8)
            grown[: self._made - first] = self._segments[first - self._first : self._made - self._first]
            self._segments = grown
        elif first > self._first:
            kept = self._segments[first - self._first : self._made - self._first]
            self._segments[: len(kept)] = kept.copy()
        self._first = first
        self._stream.fill(self._segments[self._made - first : last - first].reshape(-1).data)
        self._made = last
        if len(wanted) == last - first:
            within = self._segments[: len(wanted)]
            if np.array_equal(wanted, np.arange(first, last)):
                return within
        return self._segments[wanted - first]


def _template(frame: bytes, layout: np.dtype[Any]) -> Array:
    head = bytes(8) + 2 * len(frame).to_bytes(4, "little")
    made: Array = np.frombuffer(head + frame, layout)[0]
    return made


def _stamp(frames: Array, times: Positions) -> None:
    frames["seconds"], frames["nanoseconds"] = np.divmod(times, 1_000_000_000)
    frames["timestamps"] = (times // 1_000_000 & 0xFFFF_FFFF)[..., np.newaxis]  # as the link has them: in milliseconds


def _stamps(frames: Array) -> Positions:
    total: Positions = frames["timestamps"].astype(np.int64).sum(axis=-1)
    return total
