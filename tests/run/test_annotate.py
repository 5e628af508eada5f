"""Annotated captures: the same packets, to the byte, with comments; and secrets only where they were asked for."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

import replays
import rxtls
from rxtls.capture.source import Source, SourceFrame
from rxtls.cli.app import app
from rxtls.errors import UsageError
from rxtls.run.annotate import write_annotated
from rxtls.simulation.demo import make_demo
from rxtls.simulation.link import Impairment
from wrapping import frames as wrapped_frames
from wrapping import pcapng, with_sum

TSHARK = shutil.which("tshark")
needs_tshark = pytest.mark.skipif(TSHARK is None, reason="tshark is not installed")


def tshark(capture: Path, *arguments: str) -> list[list[str]]:
    """Its output as fields; it must have nothing to complain about."""
    done = subprocess.run([str(TSHARK), "-r", str(capture), *arguments], capture_output=True, text=True, check=True)
    complaints = [line for line in done.stderr.splitlines() if line and "Running as user" not in line]
    assert complaints == []
    return [line.split("\t") for line in done.stdout.splitlines()]


def frames(*captures: str | Path) -> tuple[list[SourceFrame], Source]:
    source = Source([str(capture) for capture in captures])
    return [item for item in source if isinstance(item, SourceFrame)], source


def replay(*arguments: str | Path) -> None:
    result = CliRunner().invoke(app, ["replay", *map(str, arguments), "--quiet"])
    assert (result.exit_code, result.output) == (0, "")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_demo(tmp_path_factory.mktemp("demo"))


def bare(frame: SourceFrame) -> tuple[object, ...]:
    return frame.time_ns, frame.interface, frame.link_type, frame.wire_length, frame.data, frame.flags


def test_the_packets_are_the_same(demo: tuple[Path, Path], tmp_path: Path) -> None:
    capture, keys = demo
    replay(capture, "--keys", keys, "--annotate", tmp_path / "out.pcapng")
    (before, one), (after, other) = frames(capture), frames(tmp_path / "out.pcapng")
    assert list(map(bare, after)) == list(map(bare, before))
    assert [each.name for each in other.interfaces] == [each.name for each in one.interfaces] == ["eth0", "eth1"]
    assert (one.errors, other.errors, other.secrets) == ([], [], [])


def test_secrets_of_the_captures_are_not_handed_on(tmp_path: Path) -> None:
    """Neither those that stood in the capture, nor any of another session in the key log."""
    talked, stranger = replays.download(1), replays.download(2)
    capture = tmp_path / "in.pcapng"
    capture.write_bytes(replays.pipe(talked.frames, talked.keylog + stranger.keylog, 0).getvalue())
    assert len(frames(capture)[1].secrets) == 1
    replay(capture, "--annotate", tmp_path / "bare.pcapng")
    assert frames(tmp_path / "bare.pcapng")[1].secrets == []
    lines = {line.split()[2] for line in (talked.keylog + stranger.keylog).splitlines()}
    content = (tmp_path / "bare.pcapng").read_bytes()
    assert not any(secret.encode() in content or bytes.fromhex(secret) in content for secret in lines)
    replay(capture, "--annotate", tmp_path / "open.pcapng", "--embed-keys")
    embedded = frames(tmp_path / "open.pcapng")[1].secrets
    assert len(embedded) == 1
    wanted = {line for line in talked.keylog.splitlines() if not line.startswith("EXPORTER")}  # which opens no record
    assert set(embedded[0].decode().splitlines()) == wanted


def test_what_is_embedded_opens_the_capture(demo: tuple[Path, Path], tmp_path: Path) -> None:
    capture, keys = demo
    out = tmp_path / "out.pcapng"
    replay(capture, "--keys", keys, "--annotate", out, "--embed-keys")
    given, embedded = (rxtls.replay(name, log, digest=True) for name, log in ((capture, keys), (out, ())))
    told = [[record.data for record in run] for run in (given, embedded)]
    assert told[0] == told[1]
    assert sum(map(len, told[0])) > 5_000_000


@needs_tshark
def test_tshark_reads_it_and_shows_the_comments(demo: tuple[Path, Path], tmp_path: Path) -> None:
    capture, keys = demo
    out = tmp_path / "out.pcapng"
    replay(capture, "--keys", keys, "--annotate", out)
    run = rxtls.replay(capture, keys, watch="frames")
    for _ in run.batches():
        pass
    summary = run.summary()
    shown = tshark(out, "-Y", "frame.comment", "-T", "fields", "-e", "frame.number", "-e", "frame.comment")
    text = "\n".join(fields[1] for fields in shown)
    received = [each for flow in summary["flows"] for each in flow["receive"].values()]
    assert text.count("NIC lost sync") == sum(each["resync"]["lost"] for each in received) > 0
    assert text.count("host asks the NIC where it is") == sum(each["resync"]["polls"] for each in received)
    for line, name in (("decrypted by the NIC in full", "decrypted"), ("opened by the host", "encrypted")):
        assert text.count(line) == sum(each["records"][name] for each in received) > 0
    assert text.count("bytes re-encrypted by the host") == sum(each["records"]["mixed"] for each in received) > 0
    names = {fields[0] for fields in tshark(out, "-T", "fields", "-e", "frame.interface_name")}
    assert names == {"eth0", "eth1"}
    assert tshark(out, "-Y", "http.request") == []


@needs_tshark
def test_tshark_decrypts_with_embedded_keys(demo: tuple[Path, Path], tmp_path: Path) -> None:
    capture, keys = demo
    out = tmp_path / "out.pcapng"
    replay(capture, "--keys", keys, "--annotate", out, "--embed-keys")
    requests = tshark(out, "-Y", "http.request", "-T", "fields", "-e", "http.host", "-e", "http.request.uri")
    assert sorted(requests) == sorted(
        [f"{name}.example", f"/{part}"] for name in ("clean", "lossy", "rough") for part in range(3)
    )


@needs_tshark
def test_record_numbers_are_those_of_wireshark(tmp_path: Path) -> None:
    """In a clean capture a frame's comment says a record is complete where tshark shows a record of the same place."""
    talked = replays.download(6, (3000,) * 20)
    capture, keys = replays.pcap(tmp_path, talked.frames), replays.keys(tmp_path, talked)
    out = tmp_path / "out.pcapng"
    replay(capture, "--keys", keys, "--annotate", out)
    shown = tshark(
        out, "-Y", "tls.record.opaque_type == 23", "-T", "fields", "-e", "frame.number", "-e", "frame.comment",
        "-e", "tls.record.length",
    )  # fmt: skip
    assert len(shown) > 20
    for _, comment, lengths in shown:
        assert comment.count("is complete") >= len(lengths.split(",")) >= 1


def test_several_captures_say_where_a_frame_was(tmp_path: Path) -> None:
    talked = replays.download(7, (9000,) * 10, down=Impairment(loss=0.02))
    ordered = replays.one_after_another(talked.frames)
    names = [replays.pcap(tmp_path, ordered[half::2], f"{half}.pcap") for half in (0, 1)]
    keys = replays.keys(tmp_path, talked)
    replay(*names, "--keys", keys, "--annotate", tmp_path / "out.pcapng")
    after = frames(tmp_path / "out.pcapng")
    assert [frame.data for frame in after[0]] == [frame.data for frame in ordered]
    assert [each.name for each in after[1].interfaces] == ["0.pcap", "1.pcap"]
    content = (tmp_path / "out.pcapng").read_bytes()
    assert f"rxtls: frame 3 of {names[1]}".encode() in content


def test_a_capture_out_of_order_says_where_a_frame_was_and_replays_alike(tmp_path: Path) -> None:
    talked = replays.download(7, (9000,) * 10, down=Impairment(loss=0.02))
    ordered = replays.one_after_another(talked.frames)
    half = len(ordered) // 2
    capture, keys = replays.pcap(tmp_path, ordered[half:] + ordered[:half]), replays.keys(tmp_path, talked)
    copy = tmp_path / "out.pcapng"
    replay(capture, "--keys", keys, "--annotate", copy, "--embed-keys")
    assert f"rxtls: frame {len(ordered) - half + 3} of the capture, which".encode() in copy.read_bytes()
    one, other = replays.replay([capture], [keys]), replays.replay([str(copy)], order="file")
    assert one.verdicts() == other.verdicts()
    assert one.data() == other.data() != b""


@pytest.mark.parametrize("flags", [0x0200, 0x0400, 0x0001, 0x01000000])
def test_flags_of_packets_are_handed_on(tmp_path: Path, flags: int) -> None:
    """Checksum not ready, checksum valid, direction, link error: the copy is read as the capture was."""
    capture, copy = tmp_path / "in.pcapng", tmp_path / "out.pcapng"
    capture.write_bytes(pcapng([with_sum(each, lambda _: 0x0BAD) for each in wrapped_frames()], flags))
    replay(capture, "--annotate", copy)
    assert list(map(bare, frames(copy)[0])) == list(map(bare, frames(capture)[0]))
    one, other = replays.replay(capture), replays.replay(copy)
    assert one.verdicts() == other.verdicts()
    assert one.summary["fates"] == other.summary["fates"]


def test_every_link_type_and_cut_frames(tmp_path: Path) -> None:
    """What is odd about a capture is handed on as it is."""
    for capture in sorted((Path(__file__).parents[1] / "data" / "real").glob("*.pcap*")):
        out = tmp_path / "out.pcapng"
        with out.open("wb") as file:
            written = write_annotated([str(capture)], [], file, "test")
        before, after = frames(capture), frames(out)
        assert list(map(bare, after[0])) == list(map(bare, before[0]))
        assert written == len(before[0]) > 0
        assert after[1].errors == []


def test_a_damaged_capture_is_annotated_as_far_as_it_goes(demo: tuple[Path, Path], tmp_path: Path) -> None:
    capture, keys = demo
    broken = tmp_path / "broken.pcapng"
    broken.write_bytes(capture.read_bytes()[:500_003])
    out = tmp_path / "out.pcapng"
    result = CliRunner().invoke(app, ["replay", str(broken), "--keys", str(keys), "--annotate", str(out), "--quiet"])
    assert result.exit_code == 2
    assert list(map(bare, frames(out)[0])) == list(map(bare, frames(broken)[0]))


def test_pipes_and_other_misuse(demo: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a pipe can be read only once"):
        write_annotated(["-"], [], io.BytesIO(), "test")
    for arguments, cause in (
        (["--embed-keys"], "--embed-keys is about the capture that --annotate FILE writes"),
        (["--annotate", str(demo[0])], "would overwrite an input"),
        (["--plain", str(demo[1]), "--keys", str(demo[1])], "would overwrite an input"),
    ):
        result = CliRunner().invoke(app, ["replay", str(demo[0]), *arguments])
        assert cause in str(result.exception)
    result = CliRunner().invoke(app, ["replay", "-", "--annotate", str(tmp_path / "out.pcapng")], input=b"")
    assert "a pipe can be read only once" in str(result.exception)


def test_times_before_the_epoch_and_long_comments(tmp_path: Path) -> None:
    frame = replays.download(1).frames[0]
    name = replays.pcapng(tmp_path, [frame._replace(time_ns=5)], ["if0"])
    out = io.BytesIO()
    assert write_annotated([name], [["x" * 100_000, "short"]], out, "test") == 1
    (tmp_path / "out.pcapng").write_bytes(out.getvalue())
    after, source = frames(tmp_path / "out.pcapng")
    assert (after[0].time_ns, after[0].data, source.errors) == (5, frame.data, [])
