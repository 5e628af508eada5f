"""A sender that honours the window of a kTLS socket, read slowly or at once, through a bad link."""

from __future__ import annotations

import pytest

from rxtls.crypto.schedule import tls13_keys
from rxtls.crypto.suites import SUITES
from rxtls.device.profiles import profile
from rxtls.events import RecordClass
from rxtls.handshake.library import Preset
from rxtls.host.socket.enable import TlsEnable
from rxtls.host.socket.socket import IPPROTO_TCP, SO_RCVBUF, SOL_SOCKET, TCP_RXTLS_ENABLE
from rxtls.path.receive import PathOptions, ReceivePath
from rxtls.simulation.link import Connection, Impairment, Link, TlsSender
from rxtls.simulation.reader import SocketReader
from sample_keys import made_up

SUITE, SECRET = SUITES[0x1301], bytes(range(32))


def carried(
    buffer: int, sizes: list[int], loss: float = 0.0, pause_ns: int = 0, engine: str = "auto", nic: str = "connectx-6dx"
) -> tuple[SocketReader, ReceivePath, int, list[bytes]]:
    payloads = [made_up(size, f"{n}") for n, size in enumerate(sizes)]
    sender = TlsSender.tls13(SUITE, SECRET)
    for payload in payloads:
        sender.record(23, payload)
    path = ReceivePath(options=PathOptions(profile=profile(nic), engine=engine), library=lambda _: Preset(None))
    socket = path.socket(0, "client")
    socket.setsockopt(SOL_SOCKET, SO_RCVBUF, buffer)
    socket.setsockopt(IPPROTO_TCP, TCP_RXTLS_ENABLE, TlsEnable.of(tls13_keys(SUITE, SECRET)))
    reader = SocketReader(path, socket, pause_ns=pause_ns)
    run = Link(3, Impairment(loss=loss)).run(Connection(windows=(buffer, 65536)), None, sender, reader)
    path.finish()
    assert path.ledger.balance() == 0
    return reader, path, run.counts["probes"], payloads


@pytest.mark.parametrize("engine", ["plain", "compiled"])
@pytest.mark.parametrize("buffer", [4096, 20_000, 65_536])
@pytest.mark.parametrize("pause_ns", [0, 2_000_000])
def test_everything_arrives_whatever_the_buffer_and_the_reader(engine: str, buffer: int, pause_ns: int) -> None:
    reader, path, probes, payloads = carried(buffer, [16384, 1, 0, 5000, 16384, 100] * 3, 0.02, pause_ns, engine)
    assert [each.data for each in reader.received] == payloads
    assert reader.ended
    assert reader.errors == []
    assert path.flows[0].directions[1].sockbuf.ccc == 0
    if not pause_ns:
        assert probes == 0  # who reads at once never lets the window close, whatever the size of records


def test_the_window_is_kept_to() -> None:
    reader, path, _, payloads = carried(8192, [2000] * 60, pause_ns=1_000_000)
    assert len(reader.received) == len(payloads)
    assert path.ledger.fates["byte.out_of_window"] == 0
    assert path.flows[0].directions[1].reassembly.finished


def test_offload_is_the_same_on_a_small_buffer() -> None:
    reader, path, _, payloads = carried(30_000, [16384] * 20)
    assert [each.data for each in reader.received] == payloads
    tally = path.flows[0].directions[1].tally
    assert tally.records[RecordClass.DECRYPTED] == len(payloads)
