"""follow: both sides in order, nothing that a terminal would obey, and holes that are said."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
import typer.testing

import replays
from replays import GCM13, carry
from rxtls.cli.app import app
from rxtls.errors import UsageError
from rxtls.run.options import ReplayOptions
from rxtls.run.replay import Replay
from rxtls.simulation.link import Impairment
from rxtls.simulation.synth import converse
from rxtls.talk.follow import Conversation
from rxtls.talk.options import FollowOptions, since_ns
from rxtls.talk.safe import Text, dump, escaped, line

REAL = Path(__file__).parents[1] / "data" / "real"
NASTY = b"\x1b]0;owned\x07 \xe2\x80\xae \xff caf\xc3\xa9\r\n+0.000000 server > client, frame 1\r\nend\r"


def talk(tmp_path: Path, *turns: tuple[bytes, bytes], loss: float = 0.0, seed: int = 0) -> tuple[str, str]:
    """A capture of a conversation, and its key log."""
    said = converse(GCM13, Random(seed))
    for question, answer in turns:
        said.request([question], [answer[at : at + 4000] for at in range(0, len(answer), 4000)])
    talked = carry(said, seed=seed, down=Impairment(loss=loss))
    return replays.pcap(tmp_path, talked.frames), replays.keys(tmp_path, talked)


def shown(files: tuple[str, str], flow: str | None = None, **options: object) -> str:
    run = Replay([files[0]], [files[1]], ReplayOptions(profile="none"))
    return b"".join(Conversation(run, flow, FollowOptions(**options))).decode()  # type: ignore[arg-type]


def test_both_sides_speak_in_turn(tmp_path: Path) -> None:
    files = talk(tmp_path, (b"one\n", b"two\n"), (b"three", b"four"))
    lines = shown(files).splitlines()
    said = [each for each in lines if each.startswith("  ")]
    assert said == ["  one", "  two", "  three", "  four"]
    assert [each.split(" ", 1)[1].split(",")[0] for each in lines if each.startswith("+")] == [
        "client > server", "server > client", "client > server", "server > client"
    ]  # fmt: skip
    assert shown(files, side="server", form="raw") == "two\nfour"
    assert shown(files, form="raw") == "one\ntwo\nthreefour"
    assert shown(files, "0", form="raw", max=5) == "one\nt"
    assert "--max 5: what follows is not shown" in shown(files, max=5)
    assert shown(files, side="client", max=100, form="hex").splitlines()[2] == (
        "  00000000  " + "6f 6e 65 0a".ljust(48) + "  one."
    )


def test_text_is_safe_and_cannot_pose_as_a_line_of_ours(tmp_path: Path) -> None:
    text = shown(talk(tmp_path, (NASTY, b"\x00" * 3)))
    assert all(each.isprintable() or each == "\n" for each in text)
    assert "  \\x1b]0;owned\\x07 \\u202e \\xff café\n  +0.000000 server > client, frame 1\n  end\\r\n" in text
    assert len([each for each in text.splitlines() if each.startswith("+")]) == 2


def test_pieces_may_be_cut_anywhere() -> None:
    whole = Text().take(NASTY, last=True)
    for at in range(len(NASTY)):
        text = Text()
        assert text.take(NASTY[:at]) + text.take(NASTY[at:], last=True) == whole
    assert escaped("a\u200eb\u2028\x9b") == "a\\u200eb\\u2028\\x9b"
    assert line("a\nb\tc") == "a\\nb\\tc"
    assert dump(bytes(range(17)), 16).splitlines()[1].split() == ["00000020", "10", "."]


def test_json_has_every_record_and_is_whole(tmp_path: Path) -> None:
    files = talk(tmp_path, (b"one", NASTY), (b"x" * 10, b"y" * 9000))
    told = json.loads(shown(files, form="json"))
    assert [(each["sender"], len(each.get("text", "")) or len(each["base64"])) for each in told["pieces"]] == [
        ("client", 3), ("server", 88), ("client", 10), ("server", 4000), ("server", 4000), ("server", 1000)
    ]  # fmt: skip
    assert told["more"] is False
    assert json.loads(shown(files, form="json", max=4))["more"] is True


def test_since_is_an_offset_or_a_time(tmp_path: Path) -> None:
    assert since_ns("1.5", 10) == 1_500_000_010
    assert since_ns("1970-01-01T00:00:02", 10) == 2 * 10**9
    assert since_ns("1970-01-01T01:00:02+01:00", 10) == 2 * 10**9
    for wrong in ("soon", "nan", "inf", "2026-13-01"):
        with pytest.raises(UsageError, match="--since is a number of seconds"):
            FollowOptions(since=wrong)
    files = talk(tmp_path, (b"one", b"two"))
    assert "one" not in shown(files, since="0.000001")
    assert "two" in shown(files, since="0.000001")


@pytest.mark.parametrize("options", [{"form": "xml"}, {"side": "left"}, {"max": -1}])
def test_options_that_do_not_exist(options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        FollowOptions(**options)  # type: ignore[arg-type]


def command(*arguments: str) -> tuple[int, str]:
    done = typer.testing.CliRunner().invoke(app, ["follow", *arguments])
    return (2, str(done.exception)) if isinstance(done.exception, UsageError) else (done.exit_code, done.output)


def test_a_hole_is_shown_in_its_place() -> None:
    name = "without-data" if (REAL / "without-data.pcap").exists() else "only-down-tls13"
    status, text = command(str(REAL / f"{name}.pcap"), "--keys", str(REAL / f"{name}.keys"), "--as", "json")
    assert status in (0, 1)
    assert json.loads(text)["flow"]["id"] == 0


def test_lost_frames_are_holes(tmp_path: Path) -> None:
    said = converse(GCM13, Random(3))
    said.request([b"please"], [bytes([65 + n]) * 1200 for n in range(12)])
    talked = carry(said, seed=3)
    frames = [each for each in talked.frames if replays.from_server(each) and len(replays.payload(each)) > 1000]
    kept = [each for each in talked.frames if each not in frames[5:7]]
    run = Replay([replays.pcap(tmp_path, kept)], [replays.keys(tmp_path, talked)], ReplayOptions(profile="none"))
    lines = b"".join(Conversation(run, None, FollowOptions())).decode().splitlines()
    (at,) = [n for n, each in enumerate(lines) if "hole in what the server sent:" in each]
    assert "bytes are not in the capture" in lines[at]
    assert lines[at - 1].startswith("  ")
    assert lines[at + 2].startswith("  ")
    assert lines[at - 1][-1] < lines[at + 2][2]


def test_who_reads_nothing_hears_why() -> None:
    capture = str(REAL / "curl-nginx-tls13.pcap")
    status, text = command(capture, "127.0.0.1:44398")
    assert status == 1
    assert "nothing that reached the client was read: No key log given holds this session's secrets" in text
    keys = ["--keys", str(REAL / "curl-nginx-tls13.keys")]
    assert command(capture, "127.0.0.1:44398", *keys)[1].count("a small answer") == 1
    assert command(capture, "example.test", *keys) == (
        2, "2 flows are called 'example.test': give an id; there are 0 (127.0.0.1:44388), 1 (127.0.0.1:44398)"
    )  # fmt: skip
    assert command(capture, "9", *keys)[0] == 2


def test_a_reader_may_go_away() -> None:
    name = str(REAL / "curl-nginx-tls13")
    done = subprocess.run(
        f"{sys.executable} -m rxtls follow {name}.pcap 0 --keys {name}.keys --as hex --engine plain | head -1",
        shell=True, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.startswith("flow 0: 127.0.0.1:44388 > 127.0.0.1:443")
    assert done.stderr == ""
