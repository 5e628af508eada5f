"""What is written is what our own readers, and dpkt, read back."""

from __future__ import annotations

import io

import dpkt

from rxtls.capture.write import write_pcap, write_pcapng
from rxtls.simulation.link import LinkFrame
from rxtls.wire.capture import Frame, Interface, Secrets, read_capture

FRAMES = [LinkFrame(1_750_000_000_123_456_789 + n, bytes([n]) * (60 + n), interface=n % 2) for n in range(9)]


def test_pcap_keeps_times_to_the_nanosecond_and_every_byte() -> None:
    out = io.BytesIO()
    written = write_pcap(FRAMES, out)
    assert written == len(out.getvalue())
    out.seek(0)
    frames = [item for item in read_capture(out.read, "mem") if isinstance(item, Frame)]
    assert [(frame.time_ns, frame.data) for frame in frames] == [(frame.time_ns, frame.data) for frame in FRAMES]
    out.seek(0)
    assert [data for _, data in dpkt.pcap.Reader(out)] == [frame.data for frame in FRAMES]


def test_pcap_can_be_written_in_parts() -> None:
    whole, parts = io.BytesIO(), io.BytesIO()
    write_pcap(FRAMES, whole)
    write_pcap(FRAMES[:4], parts)
    write_pcap(FRAMES[4:], parts, header=False)
    assert parts.getvalue() == whole.getvalue()


def test_pcapng_has_interfaces_and_secrets_in_front() -> None:
    out = io.BytesIO()
    keylog = "CLIENT_RANDOM aa bb\n"
    assert write_pcapng(FRAMES, out, ("eth0", "eth1"), keylog) == len(out.getvalue())
    out.seek(0)
    items = list(read_capture(out.read, "mem"))
    assert [item.name for item in items if isinstance(item, Interface)] == ["eth0", "eth1"]
    assert [item.data for item in items if isinstance(item, Secrets)] == [keylog.encode()]
    frames = [item for item in items if isinstance(item, Frame)]
    assert [(frame.time_ns, frame.interface, frame.data) for frame in frames] == [
        (frame.time_ns, frame.interface, frame.data) for frame in FRAMES
    ]
