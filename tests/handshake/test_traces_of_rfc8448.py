"""RFC 8448's traces, every record: simple 1-RTT, resumed 0-RTT, HelloRetryRequest. That they open is the test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from players import play
from rxtls.handshake.observer import Observer
from rxtls.wire.keylog import KeyLog

TRACES = json.loads((Path(__file__).parents[1] / "data/rfc8448/traces.json").read_text())["traces"]
FIFTY = bytes(range(50))
# section: client's and server's application data, resumed, numbers of the library's records
EXPECTED = {
    3: (FIFTY, FIFTY, False, ([None, 0], [None, 0])),
    4: (b"ABCDEF" + FIFTY, FIFTY, True, ([None, 0, 1, 0], [None, 0])),
    5: (b"", b"", False, ([None, None, 0], [None, None, 0])),
}


@pytest.mark.parametrize("cut", [0, 1, 7])
@pytest.mark.parametrize("trace", TRACES, ids=[f"section {trace['section']}" for trace in TRACES])
def test_trace(trace: dict[str, object], cut: int) -> None:
    keys = KeyLog()
    keylog, records, section = trace["keylog"], trace["records"], trace["section"]
    assert isinstance(keylog, list)
    assert isinstance(records, list)
    assert isinstance(section, int)
    keys.add("\n".join(keylog).encode(), "RFC 8448")
    player = play(Observer(keys), [(int(side == "server"), bytes.fromhex(record)) for side, record in records], cut)
    up, down, resumed, numbers = EXPECTED[section]
    assert (player.application(0), player.application(1)) == (up, down)
    assert tuple([record.number for record in side] for side in player.library) == numbers
    assert player.refused == [None, None]
    assert player.failed == [0, 0]
    observer = player.observer
    assert (observer.client_side, observer.tls, observer.sni, observer.alpn) == (0, "1.3", "server", None)
    assert observer.suite is not None
    assert observer.suite.name == "TLS_AES_128_GCM_SHA256"
    assert observer.resumed is resumed
    assert not observer.handshaking
    assert [enabled.number for enabled in player.enabled if enabled] == [0, 0]
    assert any(record.early_data for record in player.library[0]) is (section == 4)
