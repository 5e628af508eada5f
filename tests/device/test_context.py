from __future__ import annotations

import pytest

from rxtls.device.context import OFFSET_MASK
from rxtls.device.tracker import BOUND, IDLE, OFFLOADING, SEARCHING, TRACKING, State, TrackerEvent
from rxtls.offload.commands import Auth, Progress, Tracker
from tls_stream import GCM13, Bench, context_for, stream_of


@pytest.mark.parametrize(
    ("state", "bound"), [(IDLE, False), (SEARCHING, False), (TRACKING, False), (BOUND, True), (OFFLOADING, True)]
)
def test_bound_means_that_numbers_are_known(state: State, bound: bool) -> None:
    context = context_for(GCM13)
    context.state = state
    assert context.bound is bound


def test_a_new_context_offloads_nothing_and_says_so() -> None:
    context = context_for(GCM13)
    assert context.progress() == Progress(1, 0, 0, Tracker.START, Auth.NO_OFFLOAD, 0)
    context.fire(TrackerEvent.SCAN)
    assert context.progress() == Progress(1, 0, 0, Tracker.SEARCHING, Auth.NO_OFFLOAD, 0)


def test_the_snapshot_follows_the_walk() -> None:
    stream = stream_of(GCM13, [100, 200, 300, 400], number=77)
    bench = Bench(stream, start=None)
    bench.packet(stream.starts[1], stream.starts[3] + 2)
    assert bench.context.progress() == Progress(
        1, stream.seq(stream.starts[3]), stream.seq(stream.starts[1]), Tracker.TRACKING, Auth.NO_OFFLOAD, 2
    )


def test_the_snapshot_of_a_bound_context_counts_no_records() -> None:
    stream = stream_of(GCM13, [100, 200], number=77)
    bench = Bench(stream)
    assert bench.context.progress() == Progress(1, stream.seq(0), 0, Tracker.TRACKING, Auth.AUTHENTICATION, 0)
    bench.packet(0, stream.starts[1] + 10)
    assert bench.context.progress() == Progress(1, stream.seq(len(stream.wire)), 0, Tracker.TRACKING, Auth.OFFLOAD, 0)


def test_the_snapshot_has_24_bits_for_records() -> None:
    context = context_for(GCM13)
    context.state = TRACKING
    context.number = (1 << 24) + 5
    assert context.progress().hw_offset_record_number == 5
    assert OFFSET_MASK == (1 << 24) - 1


def test_forgetting_a_record_leaves_nothing_of_it() -> None:
    stream = stream_of(GCM13, [100])
    bench = Bench(stream)
    bench.packet(0, len(stream.wire) - 3)
    assert bench.context.opener is not None
    assert bench.context.aead_tag
    bench.context.forget_record()
    assert not bench.context.opener
    assert bench.context.left == 0
    assert (bytes(bench.context.header), bytes(bench.context.aead_tag)) == (b"", b"")


def test_secrets_stay_out_of_the_context_s_repr() -> None:
    context = context_for(GCM13)
    assert repr(GCM13.key)[2:-1] not in repr(context)
    assert GCM13.key.hex() not in repr(context)
