"""Handshakes that lack one segment, whichever it is: all that keys and the hellos left can open comes back.

The examples, their handshakes cut into segments of some bytes, of which one at a time is taken away. In TLS 1.3 secrets
are all it takes; before that, the random and the suite of the ServerHello.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

import dpkt
import pytest

import rxtls
from rxtls.path.engines import why_not_compiled
from timed import EXAMPLES, Read, Timed, frames, put, read, replayed, share

HANDSHAKE = 16  # frames
RANDOM_AND_SUITE = 46  # bytes of a stream up to the suite of a ServerHello without a session id


def cut(name: str, size: int) -> list[Timed]:
    """An example whose handshake comes in segments of `size` bytes."""
    out = []
    for n, (ns, data) in enumerate(frames(name)):
        segment = segment_of(data)
        if n >= HANDSHAKE or segment is None:
            out.append((ns, data))
            continue
        payload = bytes(segment.data)
        for at in range(0, len(payload), size) or [0]:
            piece = dpkt.ethernet.Ethernet(data)
            tcp = piece.data.data
            tcp.data, tcp.seq, tcp.sum = payload[at : at + size], (segment.seq + at) & 0xFFFF_FFFF, 0
            piece.data.len, piece.data.sum = 20 + len(tcp), 0
            out.append((ns, bytes(piece)))
    return out


def segment_of(data: bytes) -> dpkt.tcp.TCP | None:
    tcp = getattr(dpkt.ethernet.Ethernet(data).data, "data", None)
    return tcp if isinstance(tcp, dpkt.tcp.TCP) else None


class Lost(NamedTuple):
    """A segment that is taken away: its bytes, its place, whether the server sent it, and what is left."""

    data: bytes
    seq: int
    at: int  # in its stream
    by_server: bool
    left: list[Timed]


def lost(kept: list[Timed]) -> Iterator[Lost]:
    """Each segment of the handshake in its turn."""
    starts: dict[int, int] = {}
    for n, (_, data) in enumerate(kept):
        segment = segment_of(data)
        if segment is None or not segment.data:
            continue
        at = segment.seq - starts.setdefault(segment.sport, segment.seq)
        if len(segment.data) > 800:  # application data, a frame of the example
            return
        yield Lost(bytes(segment.data), segment.seq, at, segment.sport == 4433, kept[:n] + kept[n + 1 :])


def assert_all_else_is_there(got: Read, whole: Read, gone: Lost) -> None:
    """Every record that does not need the segment."""
    assert all(whole[key] == record for key, record in got.items())
    receiver = "client" if gone.by_server else "server"
    for key in whole.keys() - got.keys():
        assert key[0] == receiver
        assert key[1] < gone.seq + len(gone.data)
        assert gone.seq < key[1] + whole[key][2]


@pytest.mark.parametrize("size", [36, 100, 536])
@pytest.mark.parametrize("name", ["loss-tls13-chacha20", "reorder-tls12-aes128cbc-sha256"])
def test_all_but_the_server_random_and_suite_can_be_done_without(tmp_path: Path, name: str, size: int) -> None:
    whole = read(replayed(EXAMPLES / f"{name}.pcap", name)[1])
    kept = cut(name, size)
    engine = "plain" if why_not_compiled() else "compiled"
    cases = 0
    for gone in lost(kept):
        run, records = replayed(put(tmp_path / "cut.pcap", gone.left), name, engine=engine)
        summary = run.summary()
        assert summary["balance"] == 0
        if "tls12" in name and gone.by_server and gone.at < RANDOM_AND_SUITE:
            assert not read(records)
            assert {each["why"]["code"] for each in summary["flows"][0]["receive"].values()} == {"needs_server_hello"}
        else:
            assert_all_else_is_there(read(records), whole, gone)
        cases += 1
    assert cases > {36: 40, 100: 15, 536: 5}[size]


@pytest.mark.skipif(why_not_compiled() is not None, reason=f"no compiled engine: {why_not_compiled()}")
def test_both_engines_agree(tmp_path: Path) -> None:
    name = "reorder-tls12-aes128cbc-sha256"
    for n, gone in enumerate(lost(cut(name, 60))):
        if n % 5 == 0:
            path = put(tmp_path / "cut.pcap", gone.left)
            one, other = (replayed(path, name, engine=engine)[1] for engine in ("plain", "compiled"))
            assert one == other


@pytest.mark.parametrize("entries", [0, 100])
def test_without_the_client_hello_the_session_is_found_among_others(tmp_path: Path, entries: int) -> None:
    """From the ServerHello on, by trial; then the client's side is read with what was found."""
    name = "reorder-tls12-aes128cbc-sha256"
    whole = read(replayed(EXAMPLES / f"{name}.pcap", name)[1])
    log = tmp_path / "crowded.keys"
    others = "".join(f"CLIENT_RANDOM {n:064x} {n:096x}\n" for n in range(1, entries + 1))
    log.write_text(others + (EXAMPLES / f"{name}.keys").read_text())
    gone = next(lost(frames(name)))
    assert gone.data[5] == 1
    run = rxtls.replay(put(tmp_path / "cut.pcap", gone.left), log)
    assert share(read(list(run)), whole) > 0.999


@pytest.mark.parametrize("seed", range(3))
def test_every_whole_record_among_many_holes_after_a_late_start(tmp_path: Path, seed: int) -> None:
    """Most stretches have none. What is unread at the end is not the last word, if more is behind a hole."""
    name = "loss-tls13-chacha20"
    whole = read(replayed(EXAMPLES / f"{name}.pcap", name)[1])
    dice = Random(seed)
    left = [each for each in frames(name)[30:] if dice.random() > 0.15]
    there: dict[str, set[int]] = {"server": set(), "client": set()}
    for _, data in left:
        segment = segment_of(data)
        if segment is not None:
            receiver = "client" if segment.sport == 4433 else "server"
            there[receiver].update(range(segment.seq, segment.seq + len(segment.data)))
    expected = {key for key, each in whole.items() if there[key[0]].issuperset(range(key[1], key[1] + each[2]))}
    assert 5 < len(expected) < len(whole) / 2
    got = read(replayed(put(tmp_path / "holes.pcap", left), name, settings={"search": "20000000"})[1])
    assert all(whole[key] == each for key, each in got.items())
    assert got.keys() >= expected
