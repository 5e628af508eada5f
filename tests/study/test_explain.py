"""explain: what is told of a connection is what was true of it, for a capture and for a saved run alike."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest
import typer.testing

import replays
import rxtls
from replays import GCM13, carry
from rxtls.cli.app import app
from rxtls.errors import UsageError
from rxtls.run.options import ReplayOptions
from rxtls.run.replay import Replay
from rxtls.simulation.link import Connection, Impairment
from rxtls.simulation.synth import Session
from rxtls.study.explain import explained
from rxtls.study.store import RunWriter
from rxtls.study.story import of_capture, of_run

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "loss-reorder-tls13-aes256gcm"


def told(tmp_path: Path, talked: replays.Talked, wanted: str = "0", **options: object) -> str:
    capture, keys = replays.pcap(tmp_path, talked.frames), replays.keys(tmp_path, talked)
    run = Replay([capture], [keys], ReplayOptions(watch="events", **options))  # type: ignore[arg-type]
    return "\n".join(explained(story) for story in of_capture(run, wanted))


def download(
    seed: int, loss: float = 0.0, session: Session = GCM13, interfaces: int = 1, records: int = 60
) -> replays.Talked:
    talk = replays.begin(seed, session)
    talk.request([b"please"], [bytes([n % 256]) * 4000 for n in range(records)])
    down = Impairment(loss=loss, move=0.02 if interfaces > 1 else 0.0)
    return carry(talk, Connection(interfaces=tuple(range(interfaces))), seed, down)


def test_a_clean_flow_has_nothing_to_explain(tmp_path: Path) -> None:
    text = told(tmp_path, download(1))
    assert "TLS 1.3, TLS_AES_128_GCM_SHA256. NIC connectx-6dx, policy freebsd-table." in text
    client = text.partition("What the client receives:")[2]
    assert "Every record was decrypted by the NIC: nothing to explain." in client
    assert "0 losses of sync" in client


def test_why_it_was_not_offloaded_is_the_first_thing_said(tmp_path: Path) -> None:
    text = told(tmp_path, download(1, session=replays.CHACHA13))
    assert "Not offloaded: The NIC profile does not take this suite or version; the host decrypts." in text
    without = download(1)
    capture = replays.pcap(tmp_path, without.frames)
    run = Replay([capture], [], ReplayOptions(watch="events"))
    assert "Not decrypted: No key log given holds this session's secrets." in explained(of_capture(run, "0")[0])


@pytest.mark.parametrize("engine", ["plain", "compiled"])
def test_every_loss_is_told_with_frames_and_numbers_that_are_true(tmp_path: Path, engine: str) -> None:
    talked = download(11, loss=0.02, records=500)
    capture, keys = replays.pcap(tmp_path, talked.frames), replays.keys(tmp_path, talked)
    run = Replay([capture], [keys], ReplayOptions(watch="events", engine=engine))
    story = of_capture(run, "0")[0]
    text = explained(story).partition("What the client receives:")[2]
    resync = story.flow["receive"]["client"]["resync"]
    assert resync["lost"] > 2
    assert text.count("out of sync.") == resync["lost"]
    assert (
        text.count("decrypting again") + text.count("lost its way anew") + text.count("never came back")
        == resync["lost"]
    )
    sequences = {record.tcp_seq: record for record in story.records if record.receiver == "client"}
    for number, sequence in re.findall(r"header of record (\d+) at sequence (\d+)", text):
        assert sequences[int(sequence)].number == int(number)
    for number, sequence in re.findall(r"decrypting again, from record (\d+), sequence (\d+)", text):
        assert sequences[int(sequence)].number == int(number)
    for frame in re.findall(r"[Ff]rame (\d+)", text):
        assert 1 <= int(frame) <= len(talked.frames)
    # The frame that lost sync holds bytes behind the header that was missed.
    for frame, sequence in re.findall(r"Frame (\d+): out of sync. The header of record \d+ at sequence (\d+)", text):
        first = int.from_bytes(talked.frames[int(frame) - 1].data[replays.TCP + 4 : replays.TCP + 8], "big")
        assert 0 < (first - int(sequence)) % 2**32 < 1 << 20


def test_new_receive_tags_are_told_with_their_reason(tmp_path: Path) -> None:
    talked = download(5, interfaces=2)
    capture = replays.pcapng(tmp_path, talked.frames, ["mlx0", "mlx1"])
    run = Replay([capture], [replays.keys(tmp_path, talked)], ReplayOptions(watch="events"))
    text = explained(of_capture(run, "0")[0])
    resets = run.path.flows[0].directions[1].tally.receive_tag_resets
    assert resets > 0
    assert text.count("a new receive tag, since packets came by another interface") == resets


TREE = """
[interfaces.mlx0]
capture = [0]
[interfaces.mlx1]
capture = [1]
rxtls4 = false
[[routes]]
to = "0.0.0.0/0"
interface = "mlx0"
"""


@pytest.mark.parametrize("engine", ["plain", "compiled"])
def test_trial_a12_a_path_change_is_told_with_interfaces_cause_and_result(tmp_path: Path, engine: str) -> None:
    """To a port without RXTLS and back again: in words, as events, in JSON and tables."""
    talked = download(5, records=60)
    frames = [frame._replace(interface=int(40 <= n < 80)) for n, frame in enumerate(talked.frames)]
    capture, keys = replays.pcapng(tmp_path, frames, ["p0", "p1"]), replays.keys(tmp_path, talked)
    (tmp_path / "host.toml").write_text(TREE)
    interfaces = str(tmp_path / "host.toml")
    options = ReplayOptions(watch="events", engine=engine, interfaces=interfaces, settings={"budget": "8"})
    story = of_capture(Replay([capture], [keys], options), "0")[0]
    text = explained(story).partition("What the client receives:")[2]
    assert "packets came by another interface than before (mlx0 before, mlx1 now)" in text
    assert "The interface has not RXTLS4 or RXTLS6, or it is disabled; the host decrypts" in text
    assert "(mlx1 before, mlx0 now)" in text
    whats = [each.what for each in story.events if each.receiver == "client"]
    assert (whats.count("reset_failed"), whats.count("reset")) == (1, 1)
    changes = story.flow["receive"]["client"]["path_changes"]
    assert changes["count"] == 2
    assert [(each["from"], each["to"], each["cause"], each["result"]) for each in changes["list"]] == [
        ("mlx0", "mlx1", "moved", "no_capability"), ("mlx1", "mlx0", "moved", "done"),
    ]  # fmt: skip
    assert all(frames[each["frame"] - 1].time_ns == each["time_ns"] for each in changes["list"])
    run = Replay([capture], [keys], options)
    writer = RunWriter(tmp_path / "run", run)
    for batch in run.batches():
        writer.take(batch)
    writer.close(run.summary())
    saved = rxtls.open(tmp_path / "run")
    rows = saved.resync.filter(pl.col("from").is_not_null()).filter(pl.col("receiver") == "client")
    assert rows.select("event", "from", "to", "cause", "result").rows() == [
        ("reset_failed", "mlx0", "mlx1", "moved", "no_capability"), ("reset", "mlx1", "mlx0", "moved", "done"),
    ]  # fmt: skip
    assert rows["frame"].to_list() == [each["frame"] for each in changes["list"]]
    assert explained(of_run(saved, "0")[0]) == explained(story)


def test_records_that_failed_on_the_nic_alone_are_told_with_the_reason() -> None:
    real = ROOT / "tests" / "data" / "real" / "key-update"
    run = Replay([f"{real}.pcap"], [f"{real}.keys"], ReplayOptions(watch="events"))
    text = explained(of_capture(run, "0")[0]).partition("What the client receives:")[0]
    assert "Frame 17: 3 records did not authenticate on the NIC, the first at sequence 3908077330: the peer had" in text
    assert "changed its keys, and the NIC had not been told yet. The host opened them." in text
    assert "Frame 24: after that many in a row the NIC gave the flow up." in text


def test_a_saved_run_is_told_as_its_capture(tmp_path: Path) -> None:
    options = ReplayOptions(watch="events")
    run = Replay([f"{EXAMPLE}.pcap"], [f"{EXAMPLE}.keys"], options)
    writer = RunWriter(tmp_path / "run", run)
    for batch in run.batches():
        writer.take(batch)
    writer.close(run.summary())
    saved = explained(of_run(rxtls.open(tmp_path / "run"), "0")[0])
    fresh = explained(of_capture(Replay([f"{EXAMPLE}.pcap"], [f"{EXAMPLE}.keys"], options), "10.78.0.1:59388")[0])
    assert saved == fresh


def test_a_flow_that_does_not_exist_is_told_with_those_that_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no flow '7': .* there are 0 \(192.0.2.1:40000\)"):
        told(tmp_path, download(1), "7")


def test_more_losses_than_anybody_reads_are_counted() -> None:
    run = Replay([f"{EXAMPLE}.pcap"], [f"{EXAMPLE}.keys"], ReplayOptions(watch="events"))
    story = of_capture(run, "0")[0]
    assert "... and 4 more losses like these (--all tells them)." in explained(story, 2)
    assert "more losses" not in explained(story)


def test_the_command(tmp_path: Path) -> None:
    runner = typer.testing.CliRunner()
    done = runner.invoke(app, ["explain", f"{EXAMPLE}.pcap", "0", "--keys", f"{EXAMPLE}.keys"])
    assert done.exit_code == 0
    assert "Frame 220: out of sync. The header of record 14" in done.output
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(Path(f"{EXAMPLE}.pcap").read_bytes()[:100_000])
    done = runner.invoke(app, ["explain", str(cut), "0", "--keys", f"{EXAMPLE}.keys"])
    assert done.exit_code == 2
    assert "What the server receives" in done.output


def test_no_plaintext_and_no_key_is_told(tmp_path: Path) -> None:
    talk = replays.begin(3)
    talk.request([b"correct horse"], [b"tell nobody" * 300])
    talked = replays.carry(talk)
    text = told(tmp_path, talked)
    assert "horse" not in text
    assert "nobody" not in text.lower().replace("nobody decrypts", "")
    for line in talked.keylog.splitlines():
        assert line.split()[2] not in text
