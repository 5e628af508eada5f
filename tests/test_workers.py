"""kTLS worker threads, and delivery without merging: nothing depends on either."""

from __future__ import annotations

import pytest

import runs
import traffic
from rxtls.device.profiles import profile
from rxtls.path.receive import PathOptions, ReceivePath
from rxtls.simulation.link import Impairment
from rxtls.wire.keylog import KeyLog

FLOWS = tuple(
    traffic.Flow(
        records=((6000, 0),) * 25,
        seed=seed,
        updates=frozenset({9} if seed % 2 else ()),
        impairment=Impairment(loss=0.03),
    )
    for seed in range(7)
)


def everything(engine: str, **options: int) -> list[object]:
    played = traffic.play(traffic.Scenario(FLOWS))
    keys = KeyLog()
    keys.add(played.keylog.encode(), "simulated")
    path = ReceivePath(keys, PathOptions(profile=profile("connectx-6dx"), engine=engine, **options))  # type: ignore[arg-type]
    out = path.receive(enumerate(played.frames)) + path.finish()
    assert path.ledger.balance() == 0
    assert path.receive_tags == 0
    return runs.Ran(path, {}, out).everything()


@pytest.mark.parametrize("engine", ["plain", "compiled"])
@pytest.mark.parametrize("workers", [2, 3, 16])
def test_several_workers_equal_one(engine: str, workers: int) -> None:
    assert everything(engine, workers=workers) == everything(engine)


@pytest.mark.parametrize("engine", ["plain", "compiled"])
def test_packets_handed_up_unmerged_are_the_same_stream(engine: str) -> None:
    assert everything(engine, lro_limit=1) == everything(engine)
