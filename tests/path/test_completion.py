"""Both directions of a connection in one order of time: by the frame with which each record was complete."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import replays
import runs
import rxtls
from rxtls.crypto.suites import SUITES, Version
from rxtls.device.profiles import profile
from rxtls.events import Gap, Record
from rxtls.path.completion import PROMPT, by_completion
from rxtls.path.engines import why_not_compiled
from rxtls.path.receive import PathOptions, ReceivePath
from rxtls.simulation.link import Impairment, interleave
from rxtls.simulation.synth import Session
from rxtls.wire.keylog import KeyLog

REAL = Path(__file__).parents[1] / "data" / "real"
ENGINES = ["plain"] if why_not_compiled() else ["plain", "compiled"]
SESSIONS = [Session(SUITES[code], version) for code, version in (
    (0x1301, Version.TLS13), (0x1303, Version.TLS13), (0xC02F, Version.TLS12), (0xC014, Version.TLS12),
)]  # fmt: skip


def complete(records: Sequence[Record]) -> dict[int, list[int]]:
    """By connection, in the order given: the frame with which each record was complete."""
    found: dict[int, list[int]] = defaultdict(list)
    latest: Counter[tuple[int, str]] = Counter()
    for record in records:
        key = record.flow, record.receiver
        latest[key] = max(latest[key], record.frame)
        found[record.flow].append(latest[key])
    return found


@st.composite
def talks(draw: st.DrawFn) -> replays.Talked:
    """A conversation in turns, of records that are cut into packets, lost, overtaken and doubled."""
    seed = draw(st.integers(0, 1 << 16))
    talk = replays.begin(seed, draw(st.sampled_from(SESSIONS)))
    sizes = st.lists(st.sampled_from([1, 40, 700, 1400, 5000, 16384]), min_size=1, max_size=6)
    dice = Random(seed)
    for _ in range(draw(st.integers(1, 12))):
        talk.request([dice.randbytes(n) for n in draw(sizes)], [dice.randbytes(n) for n in draw(sizes)])
    if draw(st.booleans()):
        talk.close()
    rate = st.sampled_from([0.0, 0.03, 0.15])
    down, up = (Impairment(loss=draw(rate), reorder=draw(rate), duplicate=draw(rate)) for _ in range(2))
    return replays.carry(talk, seed=seed, down=down, up=up)


def walked(
    talked: replays.Talked, engine: str, call_size: int, budget: str, ordered: bool = True, name: str = "ideal"
) -> tuple[list[Record], list[object]]:
    """Every record in order, and all else that the run came to."""
    options = PathOptions(profile=profile(name, {"budget": budget}), engine=engine, by_completion=ordered, digest=True)
    keys = KeyLog()
    keys.add(talked.keylog.encode(), "keys")
    path = ReceivePath(keys, options)
    frames = list(enumerate(interleave([talked.frames], 0)))
    out = []
    for at in range(0, len(frames), call_size):
        out += path.receive(frames[at : at + call_size])
    out += path.finish()
    return out, runs.Ran(path, {}, []).everything()


@settings(max_examples=8, deadline=None)
@given(talks(), st.sampled_from(["7", "64"]), st.sampled_from(["ideal", "connectx-6dx", "none"]))
def test_the_order_is_that_of_completion_and_nothing_else_is_other(
    talked: replays.Talked, budget: str, name: str
) -> None:
    """In both engines and however frames are divided over calls; and nothing but the order is other than without."""
    usual, results = walked(talked, "plain", 1000, budget, ordered=False, name=name)
    orders = []
    for engine in ENGINES:
        for call_size in (1, 63, 1000):
            out, came_to = walked(talked, engine, call_size, budget, name=name)
            assert came_to == results
            for receiver in ("server", "client"):
                assert [r for r in out if r.receiver == receiver] == [r for r in usual if r.receiver == receiver]
            assert all(frames == sorted(frames) for frames in complete(out).values())
            orders.append(out)
    assert all(out == orders[0] for out in orders)


@pytest.mark.parametrize("name", ["early-data-accepted", "post-handshake-auth", "key-update", "concurrent", "tls12",
                                  "half-close", "veth-offload-receiver", "reused-4-tuple"])  # fmt: skip
@pytest.mark.parametrize("engine", ENGINES)
def test_recordings_in_order(name: str, engine: str) -> None:
    """Early data, keys that change, connections side by side, alerts before TLS 1.3, frames of many segments."""
    name = "curl-nginx-tls12" if name == "tls12" else name
    orders = []
    for call_size in (1, 1000):
        run = rxtls.replay(REAL / f"{name}.pcap", REAL / f"{name}.keys", engine=engine, call_size=call_size)
        records = list(run)
        found = complete(records)
        assert found
        assert all(frames == sorted(frames) for frames in found.values())
        orders.append([(each.flow, each.receiver, each.tcp_seq) for each in records])
    assert sorted(orders[0]) == sorted(orders[1])


@pytest.mark.parametrize("engine", ENGINES)
def test_in_a_renegotiation_the_order_depends_on_host_points_alone(engine: str) -> None:
    """Its first message is heard at the host point, as ever, and what is behind has to wait."""
    orders = []
    for call_size in (1, 63, 1000):
        run = rxtls.replay(REAL / "renegotiation.pcap", REAL / "renegotiation.keys", engine=engine, call_size=call_size)
        by_flow: dict[int, list[tuple[str, int | None]]] = defaultdict(list)
        for record in run:
            by_flow[record.flow].append((record.receiver, record.number))
        orders.append(by_flow)
    assert orders[0] == orders[1] == orders[2]


@pytest.mark.parametrize("engine", ENGINES)
def test_behind_a_gap_records_stand_where_it_was_passed(engine: str) -> None:
    """The capture lacks packets that their receiver had. Until that is plain the other direction goes on."""
    talk = replays.begin(8)
    for n in range(40):
        talk.request([b"question %d" % n], [bytes([n]) * 16384] * 3)
    talk.close()
    talked = replays.carry(talk)
    down = [n for n, frame in enumerate(talked.frames) if replays.from_server(frame) and replays.payload(frame)]
    talked.frames = [frame for n, frame in enumerate(talked.frames) if n not in down[60:63]]
    orders = []
    for call_size in (1, 63, 1000):
        out, _ = walked(talked, engine, call_size, "64")
        places = [n for n, record in enumerate(out) if isinstance(record, Gap)]
        assert len(places) == 1
        before, behind = out[: places[0]], out[places[0] :]
        assert complete(before)[0] == sorted(complete(before)[0])
        assert {record.receiver for record in before[-20:]} == {"server", "client"} or len(before) < 20
        assert [record.number for record in behind if record.receiver == "client"] == sorted(
            record.number or 0 for record in behind if record.receiver == "client"
        )
        orders.append(out)
    assert orders[0] == orders[1] == orders[2]


def test_sorting() -> None:
    """Directions 0 and 1: a hole that frame 9 fills, and a record that came out late, at frame 8."""
    rows = [  # direction, delivered, frame, held
        (0, 1, 2, PROMPT), (0, 2, 9, PROMPT), (0, 3, 5, PROMPT), (1, 4, 3, PROMPT), (1, 5, 4, 8), (1, 6, 10, PROMPT),
    ]  # fmt: skip
    columns = np.array(rows, np.int64).T
    assert by_completion(*columns).tolist() == [0, 3, 4, 1, 2, 5]
    assert by_completion(*columns[:, :1]).tolist() == [0]
    assert by_completion(*columns[:, :0]).tolist() == []
