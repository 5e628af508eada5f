"""Connections that carry nothing have no Flow (host/silent.py), and nothing that is said of them depends on it."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

import rxtls
from capture_blocks import enhanced, interface, section
from hostile_structures import DOWN, SERVER, SHAPES, START, UP, base
from rxtls.driver.trace import joined
from rxtls.errors import SocketError
from rxtls.host import silent
from rxtls.path.engines import why_not_compiled
from rxtls.path.receive import PathOptions, ReceivePath
from rxtls.run import jobs
from rxtls.run.options import ReplayOptions
from rxtls.run.replay import Replay
from rxtls.simulation.link_model import LinkFrame
from rxtls.wire.packets import ACK, FIN, PSH, RST, SYN, Address, Headers, syn_options

ENGINES = ["plain"] if why_not_compiled() else ["compiled", "plain"]
_FLAGS = (SYN, SYN, SYN, SYN | ACK, SYN | ACK, ACK, ACK, RST, RST | ACK, FIN | ACK, ACK | PSH, SYN | FIN, SYN | RST)


def strewn(dice: Random, n: int) -> tuple[bytes, bytes]:
    """A capture of SYNs to which everything may happen that can happen to one, over a few tuples, of which one is that
    of a connection with keys; and its key log."""
    made = base(dice, [3000])
    talk = [*made.head, *(made.down(at, 1448) for at in range(0, len(made.bulk), 1448))]
    ends = [(UP, DOWN)]
    for each in range(5):
        source = Address("10.0.0.1" if each else "10.0.0.2", 40_001 + each)
        ends.append((Headers(source, SERVER, (7,) if each == 3 else ()), Headers(SERVER, source)))
    places = [[dice.randrange(1 << 32), dice.randrange(1 << 32)] for _ in ends]
    parts, now = [section(), interface(), interface()], START * 1_000_000
    for _ in range(n):
        if talk and dice.random() < 0.4:
            frame = talk.pop(0)
        else:
            tuple_, side = dice.randrange(len(ends)), dice.randrange(2)
            if dice.random() < 0.1:
                places[tuple_][side] = dice.randrange(1 << 32)
            flags = dice.choice(_FLAGS)
            seq, ack = places[tuple_][side], places[tuple_][1 - side] + dice.choice((0, 1, 1, 1, 2, 3, 1000))
            payload = dice.randbytes(20) if dice.random() < 0.1 else b""
            options = syn_options(1460, dice.choice((None, 7))) if flags & SYN else b""
            seq += 0 if flags & SYN else dice.choice((0, 1, 1, 2))
            frame = ends[tuple_][side].frame(
                seq % (1 << 32), ack % (1 << 32) if flags & ACK else 0, flags, 1000, payload, options
            )
        parts.append(enhanced(frame, now, dice.choice((0, 0, 0, 1))))
        now += dice.choice((1, 1000, 1000, 2_500_000))
    return b"".join(parts), made.keys


def said(capture: Path, keys: list[Path], **options: Any) -> tuple[list[object], int]:
    """All that can be seen of a run; how many connections have a Flow at the end."""
    run = rxtls.replay(capture, keys, watch="frames", digest=True, **options)
    records, traces = [], []
    for batch in run.batches():
        records += [repr(record) for record in batch]
        traces.append(batch.trace)
    shown = joined(each for each in traces if each is not None)
    summary = run.summary()
    del summary["wall_seconds"]
    assert summary["balance"] == 0
    told = [shown.frames.tolist(), shown.segments.tolist(), [repr(each) for each in shown.events]]
    return [json.dumps(summary), records, told], len(run.path.flows.made)


@contextmanager
def flows_for_all(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every connection has a Flow from its first row on, and for ever."""
    with monkeypatch.context() as patch:
        patch.setattr(silent.Flows, "keep", lambda *_: False)
        patch.setattr(silent.Flows, "let_go", lambda *_: None)
        yield


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("call_size", [1, 63, 100_000])
def test_trial_c2_rows_say_what_flows_do(
    engine: str, call_size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture, keys = tmp_path / "c", tmp_path / "k"
    without = 0
    for seed in range(12):
        dice = Random(seed)
        data, log = strewn(dice, dice.choice((20, 60, 200)))
        capture.write_bytes(data)
        keys.write_bytes(log)
        settings = {"idle": dice.choice(("1", "2", "60")), "max_flows": dice.choice(("2", "3", "1000"))}
        options: dict[str, Any] = {"engine": engine, "settings": settings, "call_size": call_size}
        with flows_for_all(monkeypatch):
            wanted, all_made = said(capture, [keys], **options)
        found, made = said(capture, [keys], **options)
        assert found == wanted, seed
        without += all_made - made
    assert without > 100


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "seed",
    [
        pytest.param(1101, id="a_late_syn_told_who_the_client_is_before_it_came"),
        pytest.param(1244, id="a_connection_that_goes_on_began_with_a_syn"),
        pytest.param(1309, id="a_connection_that_goes_on_began_with_a_syn_again"),
    ],
)
def test_what_comes_of_reused_tuples_does_not_depend_on_call_sizes(engine: str, seed: int, tmp_path: Path) -> None:
    dice = Random(seed)
    data, log = strewn(dice, dice.choice((20, 60, 200)))
    (tmp_path / "c").write_bytes(data)
    (tmp_path / "k").write_bytes(log)
    settings = {"idle": dice.choice(("1", "2", "60")), "max_flows": dice.choice(("2", "3", "1000"))}
    each = [
        said(tmp_path / "c", [tmp_path / "k"], engine=engine, settings=settings, call_size=call_size)
        for call_size in (1, 63, 100_000)
    ]
    assert each[0] == each[1] == each[2]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("number", [1, 2])
def test_trial_c2_a_flood_says_what_its_flows_would(
    engine: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With any number of jobs; some of these SYNs are of tuples that had one before."""
    made = SHAPES["syn_flood"](Random(3), 600)
    (tmp_path / "c").write_bytes(made.captures[0] + made.captures[0][24:])

    def run() -> dict[str, Any]:
        done = jobs.replay(lambda: Replay([tmp_path / "c"], [], ReplayOptions(engine=engine)), number)
        return {name: value for name, value in done.summary.items() if name not in ("wall_seconds", "jobs")}

    with flows_for_all(monkeypatch):
        wanted = run()
    found = run()
    assert list(json.dumps(found)) == list(json.dumps(wanted))
    assert len(found["flows"]) == 600


@pytest.mark.parametrize("engine", ENGINES)
def test_trial_c2_a_syn_that_nothing_followed_is_a_row(engine: str, tmp_path: Path) -> None:
    """It took 15 KiB with its part of the summary."""

    def memory(syns: int) -> int:
        (tmp_path / "c").write_bytes(SHAPES["syn_flood"](Random(1), syns).captures[0])
        tracemalloc.start()
        try:
            run = rxtls.replay(tmp_path / "c", [], engine=engine)
            for _ in run.batches():
                pass
            summary = run.summary()
            assert len(summary["flows"]) == len(run.path.flows) > 0.9 * syns
            assert not run.path.flows.made
            return tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()

    assert (memory(2_500) - memory(500)) / 2_000 < 5_000


_ENDINGS = {
    "open": [],
    "answered": [DOWN.frame(900, 101, SYN | ACK, 1000, b"")],
    "reset": [DOWN.frame(0, 101, RST | ACK, 0, b"")],
    "closed": [
        DOWN.frame(900, 101, SYN | ACK, 1000, b""),
        UP.frame(101, 901, FIN | ACK, 1000, b""),
        DOWN.frame(901, 102, FIN | ACK, 1000, b""),
        UP.frame(102, 902, ACK, 1000, b""),
    ],
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("ending", _ENDINGS)
@pytest.mark.parametrize("over", [False, True])
def test_trial_c2_a_socket_finds_what_a_flow_would_have(
    engine: str, ending: str, over: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = [UP.frame(100, 0, SYN, 1000, b"", syn_options(1460, 7)), *_ENDINGS[ending]]

    def read() -> list[object]:
        path = ReceivePath(options=PathOptions(engine=engine))
        path.receive((n, LinkFrame(10**18 + n, frame)) for n, frame in enumerate(frames))
        if over:
            path.finish()
        found: list[object] = []
        for receiver in ("server", "client"):
            for _ in range(2):
                try:
                    found.append(path.socket(0, receiver).recvmsg(100))
                except SocketError as error:
                    found.append(error.name)
        path.receive([(9, LinkFrame(10**18 + 9, UP.frame(101, 901, ACK | PSH, 1000, b"hello")))])
        path.finish()
        assert path.ledger.balance() == 0
        return [*found, path.ledger.fates]

    with flows_for_all(monkeypatch):
        wanted = read()
    assert read() == wanted
