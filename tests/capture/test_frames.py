"""Feeds: the same frames for both engines, counted, bounded, and found again."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

import replays
from capture_blocks import enhanced, interface, option, secrets, section
from replays import download
from rxtls.capture.captures import SecretsFound, TickFound
from rxtls.capture.frames import CALL_BYTES, CompiledFeed, Feed, PlainFeed
from rxtls.capture.write import tick
from rxtls.path.engines import why_not_compiled

FEEDS = [
    PlainFeed,
    pytest.param(
        CompiledFeed, marks=pytest.mark.skipif(why_not_compiled() is not None, reason=f"{why_not_compiled()}")
    ),
]


def sizes(feed: Feed) -> list[int | str]:
    out: list[int | str] = []
    for call in feed:
        if isinstance(call, SecretsFound | TickFound):
            out.append("secrets")
        else:
            out.append(len(call) if isinstance(call, list) else len(call.table))
    return out


@pytest.mark.parametrize("make", FEEDS)
def test_frames_are_counted_and_cut_into_calls(tmp_path: Path, make: type[PlainFeed | CompiledFeed]) -> None:
    talked = download(1)
    feed = make([replays.pcap(tmp_path, talked.frames)], 7)
    calls = sizes(feed)
    assert sum(map(int, calls)) == feed.frames == len(talked.frames)
    assert set(calls[:-1]) == {7}
    assert feed.captured_bytes == sum(len(frame.data) for frame in talked.frames)
    times = [frame.time_ns for frame in talked.frames]
    assert (feed.first_ns, feed.last_ns) == (min(times), max(times))
    assert feed.places.find(10) == (0, 11)


@pytest.mark.parametrize("make", FEEDS)
def test_secrets_in_a_pipe_come_in_place(make: type[PlainFeed | CompiledFeed]) -> None:
    frame = enhanced(bytes(60), 1_000)
    capture = section() + interface() + frame + secrets(b"# a key log\n") + frame + frame
    assert sizes(make(["-"], 100, io.BytesIO(capture))) == [1, "secrets", 2]


@pytest.mark.parametrize("make", FEEDS)
def test_a_call_is_bounded_in_bytes_too(tmp_path: Path, make: type[PlainFeed | CompiledFeed]) -> None:
    large = enhanced(bytes(1 << 20), 1_000)
    path = tmp_path / "large.pcapng"
    path.write_bytes(section() + interface() + large * 20)
    calls = sizes(make([path], 1000))
    assert sum(map(int, calls)) == 20
    assert max(map(int, calls)) <= CALL_BYTES >> 20


@pytest.mark.parametrize("make", FEEDS)
def test_an_empty_input_has_no_calls_and_no_times(tmp_path: Path, make: type[PlainFeed | CompiledFeed]) -> None:
    path = tmp_path / "empty.pcapng"
    path.write_bytes(section() + interface())
    feed = make([path], 10)
    assert sizes(feed) == []
    assert (feed.frames, feed.captured_bytes, feed.first_ns, feed.last_ns) == (0, 0, None, None)


@pytest.mark.parametrize("make", FEEDS)
def test_ticks_come_in_their_place(tmp_path: Path, make: type[PlainFeed | CompiledFeed]) -> None:
    """Also where several captures go on at the same time."""
    for name, times in (("one", (10, 20, 40)), ("two", (15, 30))):
        body = b"".join(enhanced(bytes(60), ns) + (tick(0, ns + 1) if ns == 20 else b"") for ns in times)
        (tmp_path / name).write_bytes(section() + interface(options=option(9, b"\x09")) + body)
    found: list[int] = []
    for item in make([tmp_path / "one", tmp_path / "two"], 100):
        if isinstance(item, TickFound):
            found.append(-item.time_ns)
        elif not isinstance(item, SecretsFound):
            found += [frame.time_ns for _, frame in item] if isinstance(item, list) else item.table[:, 1].tolist()
    assert found == [10, 15, 20, -21, 30, 40]
