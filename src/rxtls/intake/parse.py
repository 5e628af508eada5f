"""What a Packet means for the rows of a Batch: whether its checksum lets it through, and how many segments it is.

**Checksums.** A NIC hands its crypto engine only what it has verified, so a packet whose checksum is bad must not reach
the engine here. But captures hold checksums that nobody was to verify yet. What excuses one:

    policy   OK    PARTIAL  UNVERIFIABLE  BAD, BAD_HEADER
    auto     pass  pass     pass          refused, unless recorded at the host that sent it, or none of its are right
    verify   pass  bad      pass          refused
    ignore   pass  pass     pass          pass

What is refused is "frame.bad_checksum", or "frame.bad_ip_checksum" where the IPv4 header's is wrong already.

PARTIAL is left to the NIC: at a Linux sender, and in what a Linux receiver's GRO has joined. A sender of another kind
leaves anything there, in all that it sends; what counts as recorded there is in vantage.py (`excuses`). A payload that
the snap length cut gives no evidence either way, and its fate ("frame.segment_cut") says so.

**Resegmentation.** GRO, LRO and TSO make one frame of many packets, and the NIC modelled here sees packets. Such a
frame is cut back at the segment size that its sender used: the MSS option that it was sent (which counts neither IP nor
TCP header: RFC 9293 section 3.7.1) less the TCP options in each segment (RFC 6691 section 2). The cut is a
reconstruction: a path MTU below the MSS, or a sender that pushed early, cannot be seen any more.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, NamedTuple

from ..errors import UsageError
from ..seq import MASK
from ..wire.frame import Checksum, Packet
from .batch import FIN, PSH, RST, SYN

CWR = 0x80

# TCP segmentation offload repeats the flags on every packet except for these (Linux tcp_gso_segment).
_FIRST_ONLY = SYN | CWR
_LAST_ONLY = FIN | PSH

# What an MSS is taken to be where no SYN said: Ethernet's 1500 bytes less IP and TCP headers.
_DEFAULT_MSS = {4: 1460, 16: 1440}  # by address size

# No segment is made smaller, so that a hostile MSS of 1 cannot make 65,535 rows of a frame. Linux has the same floor
# for the same reason (TCP_MIN_SND_MSS, after CVE-2019-11479).
MIN_SEGMENT = 48

Resegment = Literal["auto", "off"] | int


class ChecksumPolicy(StrEnum):
    """`--checksum`."""

    AUTO = "auto"
    VERIFY = "verify"
    IGNORE = "ignore"


_BAD = {
    ChecksumPolicy.AUTO: frozenset({Checksum.BAD, Checksum.BAD_HEADER}),
    ChecksumPolicy.VERIFY: frozenset({Checksum.BAD, Checksum.BAD_HEADER, Checksum.PARTIAL}),
    ChecksumPolicy.IGNORE: frozenset[Checksum](),
}


class Segment(NamedTuple):
    """One packet as the NIC would have seen it. `offset` is into the frame's data; `seq` of a SYN is the SYN's own."""

    seq: int
    offset: int
    length: int  # payload bytes present
    flags: int


def checksum_fate(packet: Packet, policy: ChecksumPolicy, excused: bool = False) -> str | None:
    """The fate of a packet that the policy stops at its checksum, else None: the table above.

    `excused`: the packet was recorded at the host that sent it, or that host has no right checksum.
    """
    if packet.checksum is Checksum.OK or packet.checksum not in _BAD[policy]:
        return None
    if excused and policy == ChecksumPolicy.AUTO:
        return None
    return "frame.bad_ip_checksum" if packet.checksum is Checksum.BAD_HEADER else "frame.bad_checksum"


def read_resegment(text: str) -> Resegment:
    """The value of `--resegment`: auto, off, or payload bytes per segment. UsageError if it is none of these."""
    if text == "auto":
        return "auto"
    if text == "off":
        return "off"
    if text.isascii() and text.isdecimal() and len(text) <= 9 and int(text) >= MIN_SEGMENT:
        return int(text)
    raise UsageError(f"--resegment {text[:40]!r}: expected auto, off, or a number of bytes from {MIN_SEGMENT} on")


def segments(packet: Packet, resegment: Resegment, mss: int | None) -> list[Segment]:
    """The packets that `packet` was made of: itself, unless it is longer than a segment can be. Never empty.

    `mss` is the MSS option that the packet's sender was bound by (the smaller one, where both SYNs were seen), None
    when unknown; it matters for "auto" only. A number is taken as payload bytes per segment as it is.

    Only bytes that are present are handed on. Where the snap length cut the payload, FIN has a segment of its own at
    its place in sequence space, and what is missing is a hole.
    """
    seq, flags = packet.seq, packet.flags
    offset, present, length = packet.payload_offset, packet.captured_length, packet.payload_length
    if resegment == "off":
        size = length
    elif resegment == "auto":
        size = (mss or _DEFAULT_MSS[len(packet.src)]) - packet.option_length
    else:
        size = resegment
    if size < MIN_SEGMENT:
        size = MIN_SEGMENT
    cut = present < length
    # A reset is never joined with anything, and its sequence number is judged as it stands (RFC 9293 section 3.10.7.4).
    if flags & RST or (length <= size and not (cut and flags & FIN)):
        return [Segment(seq, offset, present, flags)]

    first = flags & ~_LAST_ONLY
    found = [Segment(seq, offset, min(size, present), first)]
    if flags & SYN:
        seq += 1  # SYN takes the place before the first byte (RFC 9293 section 3.4)
    between = flags & ~(_FIRST_ONLY | _LAST_ONLY)
    for at in range(size, present, size):
        found.append(Segment(seq + at & MASK, offset + at, min(size, present - at), between))
    if not cut:
        found[-1] = found[-1]._replace(flags=found[-1].flags | flags & _LAST_ONLY)
    elif flags & FIN:
        found.append(Segment(seq + length & MASK, offset + present, 0, between | flags & _LAST_ONLY))
    return found
