"""A capture, pcap or pcapng, as frames: the one door for all formats.

What the format is stands in the first four bytes and nowhere else: file names are not looked at here. Nothing is
sorted, dropped or repaired. Compression, files and merging are capture/source.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rxtls.wire import pcap, pcapng
from rxtls.wire.captured import Captured, Frame, Interface, Secrets, Tick, Window

__all__ = ["TLS_KEY_LOG", "Captured", "Frame", "Interface", "Secrets", "Tick", "read_capture"]

TLS_KEY_LOG = 0x544C534B  # Secrets.kind of a TLS key log, "TLSK"


# What people give for a capture, by its first bytes, and what to do.
_OTHERS: dict[bytes, str] = {
    b"PK\x03\x04": "a zip archive: unpack it, and give the capture that is in it",
    b"7z\xbc\xaf": "a 7z archive: unpack it, and give the capture that is in it",
    b"Rar!": "a RAR archive: unpack it, and give the capture that is in it",
    b"{": "JSON, such as a HAR file: what a browser notes of its requests has no packets. Record these (tcpdump -w), "
    "and their secrets (SSLKEYLOGFILE)",
    b"snoo": "a snoop file: make a pcap of it (editcap -F pcap)",
    b"GMBU": "a Network Monitor file: make a pcap of it (editcap -F pcap)",
    b"RTSS": "a Network Monitor file: make a pcap of it (editcap -F pcap)",
    b"# TL": "a key log: give it by --keys",
    b"# SS": "a key log: give it by --keys",
    b"CLIE": "a key log: give it by --keys",
    b"SERV": "a key log: give it by --keys",
}


def read_capture(read: Callable[[int], bytes], name: str) -> Iterator[Captured]:
    """What the capture holds, in file order; every interface comes before its first frame.

    `read(n)` returns 1 to n bytes, b"" at the end of the input; what it raises passes through, after everything that it
    had given was delivered. `name` is for errors. Counting the `Frame`s from 1 gives Wireshark's frame numbers.

    Raises CaptureError(name, offset, cause) at the first damage, after everything before it was yielded: the offset is
    that of the block or frame that cannot be read.
    """
    window = Window(read, name)
    yield from pcap.read_pcap(window) if isinstance(reader(window), pcap.PcapReader) else pcapng.read_pcapng(window)


def reader(window: Window) -> pcap.PcapReader | pcapng.PcapngReader:
    """The reader of the capture that begins at data[0], from which nothing was taken yet.

    Raises CaptureError if it is no capture, or what the window's source raises.
    """
    magic = window.slide(0, 4)[:4]
    if magic in pcap.MAGICS:
        return pcap.PcapReader()
    if magic == pcapng.MAGIC:
        return pcapng.PcapngReader()
    if not magic:
        raise window.damage(0, "empty: not even a capture's file header")
    for begins, what in _OTHERS.items():
        if magic.startswith(begins):
            raise window.damage(0, f"not a capture, but {what}")
    raise window.damage(0, f"not a capture: neither pcap nor pcapng begins with the bytes {magic.hex(' ')}")
