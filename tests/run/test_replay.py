"""Runs as a whole: what is modelled, how captures, checksums and aggregates are taken, how streams end, where keys come
from. Everything is a small capture of a simulated connection, and the truth is what its endpoints sent."""

from __future__ import annotations

import gzip
import io
import lzma
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import lz4.frame
import pytest
import zstandard

import replays
import rxtls
from replays import CHACHA13, GCM12, GCM13, Talked, download, from_server, one_after_another, payload, remade
from rxtls.crypto.suites import SUITES, Version
from rxtls.errors import KeyLogError, UsageError
from rxtls.events import Gap
from rxtls.simulation.link import Address, Impairment, LinkFrame
from rxtls.simulation.sender import ALERT, APPLICATION_DATA, HANDSHAKE, key_update
from rxtls.simulation.synth import Session

REAL = Path(__file__).parents[1] / "data" / "real"
LOSSY = Impairment(loss=0.04, reorder=0.02)
SECOND = 1_000_000_000


@pytest.fixture(scope="module")
def plain() -> Talked:
    return download(1)


@pytest.fixture(scope="module")
def lossy() -> Talked:
    return download(4, (16384,) * 25, down=LOSSY)


def run_of(folder: Path, talked: Talked, **options: Any) -> replays.Done:
    return replays.replay(replays.pcap(folder, talked.frames), replays.keys(folder, talked), **options)


def data_frames(frames: list[LinkFrame]) -> list[int]:
    """Indexes of the server's frames with payload, after its handshake."""
    found = [n for n, frame in enumerate(frames) if from_server(frame) and payload(frame)]
    return found[3:]


# What is modelled: --receiver


@pytest.mark.parametrize(
    ("receiver", "modelled"),
    [
        ("both", {"server", "client"}),
        ("server", {"server"}),
        ("client", {"client"}),
        ("192.0.2.0/24", {"client"}),
        ("192.0.2.77/24", {"client"}),  # bits of the host do not matter
        ("198.51.100.1", {"server"}),
        ("198.51.100.1/32", {"server"}),
        ("0.0.0.0/0", {"server", "client"}),
        ("::/0", set()),
        ("10.0.0.0/8", set()),
    ],
)
def test_receiver_says_which_directions_are_modelled(
    tmp_path: Path, plain: Talked, receiver: str, modelled: set[str]
) -> None:
    done = run_of(tmp_path, plain, receiver=receiver)
    receive = done.flow()["receive"]
    assert {host for host, received in receive.items() if received is not None} == modelled
    assert set(receive) == {"server", "client"}
    assert {record.receiver for record in done.records} == modelled
    for host in modelled:
        assert done.data(host) == plain.wanted(host)


@pytest.mark.parametrize(
    ("receiver", "modelled"),
    [
        ("2001:db8:1::/48", {"client"}),
        ("2001:db8:2::1", {"server"}),
        ("::/0", {"server", "client"}),
        ("0.0.0.0/0", set()),
    ],
)
def test_receiver_takes_ipv6_networks(tmp_path: Path, receiver: str, modelled: set[str]) -> None:
    talked = download(2, (500,), client=Address("2001:db8:1::9", 40000), server=Address("2001:db8:2::1", 443))
    done = run_of(tmp_path, talked, receiver=receiver)
    assert {host for host, received in done.flow()["receive"].items() if received is not None} == modelled
    assert done.flow()["client"] == "[2001:db8:1::9]:40000"


def test_what_is_not_modelled_is_still_read_and_balances(tmp_path: Path, plain: Talked) -> None:
    both, one = run_of(tmp_path, plain), run_of(tmp_path, plain, receiver="server")
    assert one.summary["fates"] == both.summary["fates"]
    assert one.received("server") == both.received("server")


# Exit statuses


def test_status_0_when_all_is_good(tmp_path: Path, plain: Talked) -> None:
    done = run_of(tmp_path, plain)
    assert done.status(strict=True) == 0
    assert done.received("client")["complete"] is done.received("server")["complete"] is True


def test_status_0_without_keys_unless_strict(tmp_path: Path, plain: Talked) -> None:
    done = replays.replay(replays.pcap(tmp_path, plain.frames))
    assert (done.status(), done.status(strict=True)) == (0, 1)
    assert done.received()["why"]["code"] == "no_keys"
    assert done.received()["complete"] is None
    assert done.received()["offload"] is None


def test_strict_asks_only_of_what_is_modelled(tmp_path: Path, plain: Talked) -> None:
    assert replays.replay(replays.pcap(tmp_path, plain.frames), receiver="10.0.0.0/8").status(strict=True) == 0


def test_strict_does_not_mind_what_is_no_tls(tmp_path: Path) -> None:
    assert replays.replay(REAL / "plain-http-443.pcap").status(strict=True) == 0


def test_strict_with_one_flow_of_two_unkeyed(tmp_path: Path, plain: Talked) -> None:
    other = download(9, client=replays.client_at(41000))
    capture = replays.pcap(tmp_path, [*plain.frames, *other.frames])
    done = replays.replay(capture, replays.keys(tmp_path, plain))
    assert (done.status(), done.status(strict=True)) == (0, 1)


def test_status_1_when_keys_were_given_and_nothing_was_decrypted(tmp_path: Path, plain: Talked) -> None:
    for keys in ("", "# nothing here\n", download(7).keylog, "not a line\n"):
        log = tmp_path / "other.keys"
        log.write_text(keys)
        assert replays.replay(replays.pcap(tmp_path, plain.frames), log).status() == 1
    assert replays.replay(replays.pcap(tmp_path, []), log).status() == 1


def test_nothing_decrypted_in_what_is_modelled_is_status_1(tmp_path: Path, plain: Talked) -> None:
    assert run_of(tmp_path, plain, receiver="10.0.0.0/8").status() == 1


def test_status_1_for_a_record_that_fails_in_a_modelled_direction(tmp_path: Path, plain: Talked) -> None:
    frames = list(plain.frames)
    n = data_frames(frames)[3]
    body = bytearray(payload(frames[n]))
    body[700] ^= 1
    frames[n] = remade(frames[n], body=bytes(body))
    capture, keys = replays.pcap(tmp_path, frames), replays.keys(tmp_path, plain)
    done = replays.replay(capture, keys)
    assert done.status() == 1
    received = done.received()
    assert received["records"]["failed"] == 1
    assert received["complete"] is False
    assert [record.data for record in done.records if record.by == "nobody"] == [b""]
    # The record alone is dropped, and the rest goes on.
    assert received["app_bytes"] == len(plain.wanted("client")) - 4000
    assert replays.replay(capture, keys, receiver="server").status() == 0


def test_status_2_goes_before_1(tmp_path: Path, plain: Talked) -> None:
    capture = Path(replays.pcap(tmp_path, plain.frames))
    capture.write_bytes(capture.read_bytes()[:-5])
    done = replays.replay(capture, replays.keys(tmp_path, download(7)))
    assert done.status(strict=True) == 2
    assert replays.replay([capture, tmp_path / "absent"]).status() == 2


def test_a_malformed_key_line_is_an_error_and_no_status(tmp_path: Path, plain: Talked) -> None:
    lines = plain.keylog.splitlines()
    lines.insert(2, "CLIENT_TRAFFIC_SECRET_0 00ff")
    log = tmp_path / "some.keys"
    log.write_text("\n".join(lines) + "\nNEW_LABEL 00 11\n")
    done = replays.replay(replays.pcap(tmp_path, plain.frames), log)
    assert done.status(strict=True) == 0
    assert [(error["file"], error["offset"]) for error in done.summary["errors"]] == [(str(log), 3)]
    assert done.summary["keys"]["unknown_labels"] == 1
    assert done.data() == plain.wanted("client")


# Key logs


def test_several_key_logs_add_up(tmp_path: Path, plain: Talked) -> None:
    lines = plain.keylog.splitlines(keepends=True)
    logs = []
    for n, line in enumerate(lines):
        (tmp_path / f"{n}.keys").write_text(line)
        logs.append(tmp_path / f"{n}.keys")
    done = replays.replay(replays.pcap(tmp_path, plain.frames), logs)
    assert done.data() == plain.wanted("client")
    assert done.summary["keys"]["sessions"] == 1


def test_the_logs_of_several_sessions_in_one(tmp_path: Path, plain: Talked) -> None:
    others = [download(seed) for seed in range(20, 24)]
    done = replays.replay(replays.pcap(tmp_path, plain.frames), replays.keys(tmp_path, *others, plain))
    assert done.status() == 0
    assert done.summary["keys"]["sessions"] == 5


@pytest.mark.parametrize("name", ["absent.keys", ".", "with\0nul"])
def test_a_key_log_that_cannot_be_opened_raises(tmp_path: Path, plain: Talked, name: str) -> None:
    with pytest.raises(KeyLogError) as caught:
        rxtls.replay(replays.pcap(tmp_path, plain.frames), tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_capture_given_as_key_log_does_no_harm(tmp_path: Path, plain: Talked) -> None:
    capture = replays.pcap(tmp_path, plain.frames)
    done = replays.replay(capture, [capture, replays.keys(tmp_path, plain)])
    assert done.data() == plain.wanted("client")
    assert done.summary["errors"]
    assert done.status() == 0


# Options that do not exist or fit


@pytest.mark.parametrize(
    "options",
    [
        {"profile": "connectx-9"},
        {"policy": "hope"},
        {"receiver": "proxy"},
        {"receiver": "10.0.0.0/33"},
        {"receiver": ""},
        {"vantage": "above"},
        {"checksum": "maybe"},
        {"resegment": "0"},
        {"resegment": "-1"},
        {"filter": "udp"},
        {"filter": "port ((("},
        {"engine": "fast"},
        {"call_size": 0},
        {"settings": {"nothing": "1"}},
        {"settings": {"budget": "0"}},
        {"settings": {"budget": "-1"}},
        {"settings": {"budget": "many"}},
        {"settings": {"start": "later"}},
        {"settings": {"install": "8,200"}},
        {"settings": {"poll": ",5us"}},
        {"settings": {"idle": "1e3"}},
        {"settings": {"name": "mine"}},
        {"settings": {"ciphers": "all"}},
    ],
    ids=str,
)
def test_options_that_do_not_exist_or_fit_are_usage_errors(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        rxtls.replay(replays.pcap(tmp_path, []), **options)
    assert str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_capture_and_standard_input_twice_are_usage_errors() -> None:
    with pytest.raises(UsageError):
        rxtls.replay([])
    with pytest.raises(UsageError):
        rxtls.replay(["-", "-"])


@pytest.mark.parametrize(
    ("name", "value", "printed"),
    [
        ("budget", "7", 7),
        ("start", "search", "search"),
        ("install", "8,200us", "8,200us"),
        ("poll", "3", "3"),
        ("confirm", "0,0us", "0,0us"),
        ("search_after", "16384", 16384),
        ("auth_failures", "9", 9),
        ("idle", "999999999999999", 999999999999999),
        ("max_flows", "3", 3),
        ("hold", "10000", 10000),
        ("keys_wait", "77", 77),
        ("handshake", "100000", 100000),
        ("max_receive_tags", "1", 1),
        ("context_cache", "0", 0),
    ],
)
def test_every_setting_is_taken_and_printed(
    tmp_path: Path, plain: Talked, name: str, value: str, printed: object
) -> None:
    done = run_of(tmp_path, plain, settings={name: value})
    assert done.summary["settings"][name] == printed
    if name in ("install", "poll", "confirm"):
        assert done.summary["latencies"][name] == printed
    assert done.data() == plain.wanted("client")


# Vantage and checksums


@pytest.mark.parametrize("vantage", ["receiver", "sender", "middle"])
def test_a_forced_vantage_holds_for_every_direction(tmp_path: Path, plain: Talked, vantage: str) -> None:
    done = run_of(tmp_path, plain, vantage=vantage)
    assert {received["vantage"] for received in done.flow()["receive"].values()} == {vantage}


@pytest.mark.parametrize("tap", ["client", "server"])
def test_who_captured_at_a_host_says_which(tmp_path: Path, plain: Talked, tap: str) -> None:
    done = run_of(tmp_path, plain, vantage=tap)
    assert {host: received["vantage"] for host, received in done.flow()["receive"].items()} == {
        host: "receiver" if host == tap else "sender" for host in ("client", "server")
    }


@pytest.mark.parametrize("engine", ["plain", "compiled"])
@pytest.mark.parametrize("tap", ["client", "server"])
def test_a_host_without_one_right_checksum_is_read_wherever_the_tap_is_said_to_be(
    tmp_path: Path, tap: str, engine: str
) -> None:
    talked = garbled(upload(3), lambda frame: not from_server(frame))
    whole = run_of(tmp_path, talked, vantage=tap, engine=engine)
    assert [whole.data(host) for host in ("server", "client")] == [talked.wanted("server"), talked.wanted("client")]
    refused = run_of(tmp_path, talked, vantage=tap, engine=engine, checksum="verify")
    assert refused.data("server") == b""
    assert refused.summary["fates"]["frame.bad_checksum"] == sum(not from_server(frame) for frame in talked.frames)


def garbled(talked: Talked, mine: Callable[[LinkFrame], bool]) -> Talked:
    """As captured where a NIC fills in checksums afterwards: anything stands in the fields of what this host sends."""
    frames = [remade(frame, checksum=0x1234 + n) if mine(frame) else frame for n, frame in enumerate(talked.frames)]
    return replace(talked, frames=frames)


def upload(seed: int) -> Talked:
    """Seen at the client, who sends most."""
    talk = replays.begin(seed)
    dice = Random(~seed)
    talk.request([dice.randbytes(4000) for _ in range(12)], [b"thanks"])
    talk.close()
    return replays.carry(talk)


def test_the_garbage_checksums_of_a_sender_are_recognised(tmp_path: Path) -> None:
    talked = upload(3)
    talked = garbled(talked, lambda frame: not from_server(frame))
    done = run_of(tmp_path, talked)
    assert done.data("server") == talked.wanted("server")
    assert (done.received("server")["vantage"], done.received("client")["vantage"]) == ("sender", "receiver")
    assert done.summary["fates"]["frame.bad_checksum"] == 1  # the second tells
    assert done.status() == 0
    verified = run_of(tmp_path, talked, checksum="verify")
    assert verified.data("server") == b""
    assert verified.summary["fates"]["frame.bad_checksum"] == sum(not from_server(frame) for frame in talked.frames)


@pytest.mark.parametrize("options", [{"vantage": "sender"}, {"checksum": "ignore"}], ids=str)
def test_garbage_checksums_are_taken_from_the_first_where_somebody_says_so(
    tmp_path: Path, options: dict[str, str]
) -> None:
    for talked in (garbled(upload(3), lambda frame: not from_server(frame)), download(3, tap="server")):
        done = run_of(tmp_path, talked, **options)
        assert [done.data(host) for host in ("server", "client")] == [talked.wanted("server"), talked.wanted("client")]
        assert "frame.bad_checksum" not in done.summary["fates"]


def test_a_receivers_corrupted_frames_are_left_out(tmp_path: Path) -> None:
    talked = download(5, (16384,) * 15, down=Impairment(corrupt=0.05))
    corrupted = [frame for frame in talked.frames if remade(frame).data[50:52] != frame.data[50:52]]
    assert corrupted
    for checksum in ("auto", "verify"):
        done = run_of(tmp_path, talked, checksum=checksum)
        assert done.summary["fates"]["frame.bad_checksum"] == len(corrupted)
        assert done.data() == talked.wanted("client")
        assert done.status() == 0
    ignoring = run_of(tmp_path, talked, checksum="ignore")
    assert "frame.bad_checksum" not in ignoring.summary["fates"]
    assert ignoring.received()["records"]["failed"] > 0
    assert ignoring.status() == 1


def test_checksums_left_to_the_nic_pass_unless_verified(tmp_path: Path, plain: Talked) -> None:
    def partial(frame: LinkFrame) -> LinkFrame:
        length = len(frame.data) - replays.TCP if payload(frame) else 20
        pseudo = frame.data[26:34] + b"\0\6" + length.to_bytes(2)
        return remade(frame, checksum=int.from_bytes(pseudo) % 0xFFFF)

    frames = [partial(frame) if from_server(frame) and payload(frame) else frame for frame in plain.frames]
    talked = replace(plain, frames=frames)
    assert run_of(tmp_path, talked).data() == plain.wanted("client")
    assert run_of(tmp_path, talked, checksum="verify").data() == b""


# Aggregated frames


def joined(frames: list[LinkFrame], most: int = 6) -> list[LinkFrame]:
    """As GRO hands them up: runs of the server's full segments as one frame, at the place of the last."""
    out: list[LinkFrame] = []
    parts: list[LinkFrame] = []

    def flush() -> None:
        if parts:
            out.append(remade(parts[0], body=b"".join(map(payload, parts)))._replace(time_ns=parts[-1].time_ns))
            parts.clear()

    for frame in frames:
        if from_server(frame) and payload(frame) and not replays.flags(frame) & (replays.SYN | replays.FIN):
            end = replays.sequence(parts[0]) + sum(len(payload(part)) for part in parts) if parts else -1
            if parts and (replays.sequence(frame) != end or len(parts) >= most):
                flush()
            parts.append(frame)
            if len(payload(frame)) < 1448:
                flush()
        else:
            if replays.flags(frame) & (replays.SYN | replays.FIN | replays.RST) or payload(frame):
                flush()
            out.append(frame)
    flush()
    return sorted(out, key=lambda frame: frame.time_ns)


LATENCIES_IN_PACKETS = {"poll": "8", "confirm": "8"}  # joining moves capture times


def test_aggregated_frames_give_the_verdicts_of_their_segments(tmp_path: Path, lossy: Talked) -> None:
    aggregated = replace(lossy, frames=joined(lossy.frames))
    assert len(aggregated.frames) < len(lossy.frames) * 0.8
    apart = run_of(tmp_path, lossy, settings=LATENCIES_IN_PACKETS)
    whole = run_of(tmp_path, aggregated, settings=LATENCIES_IN_PACKETS)
    assert whole.verdicts(times=False) == apart.verdicts(times=False)
    assert whole.received()["resync"] == apart.received()["resync"]
    assert apart.received()["resync"]["lost"] > 0
    assert whole.flow()["resegmented"] > 0
    assert apart.flow()["resegmented"] == 0
    assert whole.data() == lossy.wanted("client")


def test_resegment_takes_a_size_or_leaves_frames_alone(tmp_path: Path, lossy: Talked) -> None:
    aggregated = replace(lossy, frames=joined(lossy.frames))
    by_size = run_of(tmp_path, aggregated, resegment="1448", settings=LATENCIES_IN_PACKETS)
    by_mss = run_of(tmp_path, aggregated, settings=LATENCIES_IN_PACKETS)
    assert by_size.verdicts() == by_mss.verdicts()
    off = run_of(tmp_path, aggregated, resegment="off")
    small = run_of(tmp_path, aggregated, resegment="100")
    assert off.flow()["resegmented"] == 0
    assert small.flow()["resegmented"] > by_mss.flow()["resegmented"]
    assert off.data() == small.data() == lossy.wanted("client")


# The filter


def test_the_filter_acts_before_the_flow_table(tmp_path: Path, plain: Talked) -> None:
    other = download(9, client=replays.client_at(41000))
    frames = replays.one_after_another([*plain.frames, *other.frames])
    capture, keys = replays.pcap(tmp_path, frames), replays.keys(tmp_path, plain, other)
    done = replays.replay(capture, keys, filter="port 41000", settings={"max_flows": "1"})
    assert done.data() == other.wanted("client")
    assert done.flow()["end"] == "fin"
    assert done.flow()["id"] == 0
    assert done.flow()["start_frame"]["frame"] == len(plain.frames) + 1
    assert done.summary["fates"]["frame.filtered"] == len(plain.frames)
    assert done.summary["frames"] == len(frames)


def test_a_filter_that_hides_one_direction_changes_what_is_known(tmp_path: Path, plain: Talked) -> None:
    done = run_of(tmp_path, plain, filter="src port 443")
    assert done.data() == plain.wanted("client")
    assert done.flow()["sni"] is None
    assert run_of(tmp_path, plain, filter="host 203.0.113.1").summary["flows"] == []


def test_the_filter_matches_inside_vlans(tmp_path: Path) -> None:
    talked = download(6, vlans=(100, 7))
    assert run_of(tmp_path, talked, filter="vlan 7 and port 443").data() == talked.wanted("client")
    assert run_of(tmp_path, talked, filter="port 443").flow()["vlan"] == [100, 7]
    assert run_of(tmp_path, talked, filter="not vlan").summary["flows"] == []


# Captures: merged, compressed, cut


def parts_by_time(frames: list[LinkFrame]) -> list[list[LinkFrame]]:
    half = len(frames) // 2
    return [frames[:half], frames[half:]]


def parts_by_direction(frames: list[LinkFrame]) -> list[list[LinkFrame]]:
    return [[f for f in frames if from_server(f)], [f for f in frames if not from_server(f)]]


def parts_in_turn(frames: list[LinkFrame]) -> list[list[LinkFrame]]:
    return [frames[0::3], frames[1::3], frames[2::3]]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cut", [parts_by_time, parts_by_direction])
def test_a_capture_in_pieces_is_the_whole_capture(
    tmp_path: Path, lossy: Talked, cut: Callable[[list[LinkFrame]], list[list[LinkFrame]]], reverse: bool
) -> None:
    frames = replays.one_after_another(lossy.frames)
    keys = replays.keys(tmp_path, lossy)
    whole = replays.replay(replays.pcap(tmp_path, frames), keys, digest=True)
    pieces = cut(frames)
    if reverse:
        pieces.reverse()
    names = [replays.pcap(tmp_path, piece, f"{n}.pcap") for n, piece in enumerate(pieces)]
    merged = replays.replay(names, keys, digest=True)
    assert merged.verdicts() == whole.verdicts()
    assert merged.flow()["receive"] == whole.flow()["receive"]
    assert merged.summary["fates"] == whole.summary["fates"]
    assert merged.received()["resync"]["receive_tag_resets"] == 0
    for mine, theirs in zip(merged.records, whole.records, strict=True):
        frame = frames[theirs.frame]
        at = next((name, piece.index(frame) + 1) for name, piece in zip(names, pieces, strict=True) if frame in piece)
        place = merged.run.place(mine.frame)
        assert (place["file"], place["frame"]) == at
    first, last = merged.flow()["start_frame"], merged.flow()["end_frame"]
    assert (first["frame"], last["frame"]) == (1, len(pieces[names.index(last["file"])]))


def test_pieces_that_overlap_in_time_are_interfaces_between_which_the_path_changes(
    tmp_path: Path, lossy: Talked
) -> None:
    frames = replays.one_after_another(lossy.frames)
    keys = replays.keys(tmp_path, lossy)
    names = [replays.pcap(tmp_path, piece, f"{n}.pcap") for n, piece in enumerate(parts_in_turn(frames))]
    merged = replays.replay(names, keys, digest=True)
    assert merged.data("server") == lossy.wanted("server")
    assert merged.received()["resync"]["receive_tag_resets"] > 0


def test_frames_are_numbered_from_1_in_each_file(tmp_path: Path, plain: Talked) -> None:
    done = run_of(tmp_path, plain)
    assert done.flow()["start_frame"] == {"file": str(tmp_path / "made.pcap"), "frame": 1}
    assert done.flow()["end_frame"]["frame"] == len(plain.frames) == done.summary["frames"]


def test_a_capture_ring_keeps_the_receive_tag(tmp_path: Path, plain: Talked) -> None:
    frames = replays.one_after_another(plain.frames)
    names = [replays.pcap(tmp_path, frames[at : at + 15], f"ring{at:03}.pcap") for at in range(0, len(frames), 15)]
    assert len(names) > 3
    done = replays.replay(names, replays.keys(tmp_path, plain))
    assert done.received()["resync"]["receive_tag_resets"] == 0
    assert done.received()["records"]["encrypted"] == 0
    assert done.received()["records"]["decrypted"] > 10


def test_a_missing_piece_leaves_the_others(tmp_path: Path, plain: Talked) -> None:
    other = download(9, client=replays.client_at(41000))
    first, second = replays.pcap(tmp_path, plain.frames, "a.pcap"), replays.pcap(tmp_path, other.frames, "b.pcap")
    damaged = tmp_path / "damaged.pcap"
    damaged.write_bytes(Path(first).read_bytes()[:200])
    text = tmp_path / "text.pcap"
    text.write_text("this is no capture at all")
    empty = tmp_path / "empty.pcap"
    empty.touch()
    names: list[str | Path] = [tmp_path / "absent.pcap", damaged, first, text, tmp_path, second, empty]
    done = replays.replay(names, replays.keys(tmp_path, plain, other))
    assert done.status() == 2
    found = {record.flow for record in done.records}
    assert b"".join(done.data(flow=flow) for flow in sorted(found)) in (
        plain.wanted("client") + other.wanted("client"),
        other.wanted("client") + plain.wanted("client"),
    )
    assert {error["file"] for error in done.summary["errors"]} >= {str(names[0]), str(text), str(tmp_path)}
    assert all("\n" not in str(error) for error in done.run.errors)


@pytest.mark.parametrize("left", [0, 10, 24, 25, 40, 41, 1000, 20_000])
def test_a_capture_cut_anywhere_delivers_what_came_before(tmp_path: Path, plain: Talked, left: int) -> None:
    capture = Path(replays.pcap(tmp_path, plain.frames))
    capture.write_bytes(capture.read_bytes()[:left])
    done = replays.replay(capture, replays.keys(tmp_path, plain))
    assert plain.wanted("client").startswith(done.data()) or not done.records
    assert done.status() == (1 if left == 24 else 2)  # only a file header: an empty capture, and sound
    assert len(done.summary["errors"]) == (left != 24)
    if left == 20_000:
        assert len(done.data()) > 10_000
        assert done.flow()["end"] == "open"


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "lz4": lambda data: bytes(lz4.frame.compress(data)),
    "xz": lzma.compress,
}


@pytest.mark.parametrize("method", COMPRESSORS)
def test_compressed_captures_are_the_same(tmp_path: Path, plain: Talked, method: str) -> None:
    capture, keys = replays.pcap(tmp_path, plain.frames), replays.keys(tmp_path, plain)
    packed = tmp_path / "packed"
    packed.write_bytes(COMPRESSORS[method](Path(capture).read_bytes()))
    wanted = replays.replay(capture, keys)
    done = replays.replay(packed, keys)
    assert done.verdicts() == wanted.verdicts()
    assert done.summary["frames"] == wanted.summary["frames"]
    piped = replays.replay_pipe(io.BytesIO(packed.read_bytes()), [keys])
    assert piped.verdicts() == wanted.verdicts()
    assert piped.summary["captures"] == ["-"]
    packed.write_bytes(packed.read_bytes()[:-20])
    assert replays.replay(packed, keys).status() == 2


def test_captures_without_frames_and_of_other_things(tmp_path: Path) -> None:
    done = replays.replay(replays.pcap(tmp_path, []))
    assert done.status(strict=True) == 0
    assert (done.summary["frames"], done.summary["capture_seconds"], done.summary["flows"]) == (0, 0.0, [])
    arp = LinkFrame(5, bytes(12) + b"\x08\x06" + bytes(46))
    done = replays.replay(replays.pcap(tmp_path, [arp]))
    assert done.summary["fates"] == {"frame.not_ip": 1}
    assert done.summary["flows"] == []


def test_results_do_not_depend_on_the_call_size(tmp_path: Path, lossy: Talked) -> None:
    wanted = run_of(tmp_path, lossy)
    for size in (1, 63, 1000, 10**6):
        done = run_of(tmp_path, lossy, call_size=size)
        assert done.verdicts() == wanted.verdicts()
        assert done.flow() == wanted.flow()


# Interfaces


@pytest.fixture(scope="module")
def moving() -> Talked:
    return download(8, (16384,) * 20, down=Impairment(move=0.02), interfaces=(0, 1))


def test_packets_from_another_interface_make_the_receive_tag_anew(tmp_path: Path, moving: Talked) -> None:
    keys = replays.keys(tmp_path, moving)
    capture = replays.pcapng(tmp_path, moving.frames, ("eth0", "eth1"))
    done = replays.replay(capture, keys)
    assert done.data() == moving.wanted("client")
    assert done.received()["resync"]["receive_tag_resets"] > 0
    assert done.received()["offload"] == "ifnet"
    assert done.flow()["interfaces"] == [0, 1]
    assert done.status() == 0
    still = [frame._replace(interface=0) for frame in moving.frames]
    same = replays.replay(replays.pcapng(tmp_path, still, ("eth0", "eth1"), "still.pcapng"), keys)
    assert same.data() == done.data()
    assert same.received()["resync"]["receive_tag_resets"] == 0
    assert same.received()["records"]["decrypted"] > done.received()["records"]["decrypted"] > 0
    software = replays.replay(capture, keys, profile="none")
    assert [(r.receiver, r.type, r.number, r.data) for r in software.records] == [
        (r.receiver, r.type, r.number, r.data) for r in done.records
    ]


def test_two_interfaces_of_one_name_are_one_device(tmp_path: Path, moving: Talked) -> None:
    done = replays.replay(replays.pcapng(tmp_path, moving.frames, ("bond0", "bond0")), replays.keys(tmp_path, moving))
    assert done.received()["resync"]["receive_tag_resets"] == 0


# Keys from pipes


@pytest.mark.parametrize("place", ["before", "in the middle", "after"])
def test_flows_wait_for_secrets_that_a_pipe_brings_later(tmp_path: Path, place: str) -> None:
    talked = download(11, (3000,) * 20, end="open")
    at = {"before": 0, "in the middle": len(talked.frames) // 2, "after": len(talked.frames)}[place]
    done = replays.replay_pipe(replays.pipe(talked.frames, talked.keylog, at), call_size=7)
    assert done.data("client") == talked.wanted("client")
    assert done.data("server") == talked.wanted("server")
    assert done.status(strict=True) == 0
    assert done.summary["limits_met"]["keys_wait"] is False
    decrypted = done.received()["records"]["decrypted"]
    assert (decrypted == 20 + 1) is (place == "before")
    if place == "after":
        assert decrypted == 0
    assert done.summary["capture_seconds"] == (talked.frames[-1].time_ns - talked.frames[0].time_ns) / 1e9


def test_call_sizes_do_not_matter_to_when_secrets_come(tmp_path: Path) -> None:
    talked = download(11, (3000,) * 20, end="open")
    runs = [
        replays.replay_pipe(replays.pipe(talked.frames, talked.keylog, 30), call_size=size) for size in (1, 5, 1000)
    ]
    assert runs[0].verdicts() == runs[1].verdicts() == runs[2].verdicts()


def test_the_bound_on_waiting_is_met_and_said(tmp_path: Path) -> None:
    talked = download(11, (3000,) * 20, end="open")
    stream = replays.pipe(talked.frames, talked.keylog, len(talked.frames))
    done = replays.replay_pipe(stream, settings={"keys_wait": "20000"})
    assert done.summary["limits_met"]["keys_wait"] is True
    assert done.received()["why"]["code"] == "keys_wait"
    assert done.received()["offload"] is None
    assert done.summary["fates"]["byte.keys_wait"] > 60_000
    assert (done.status(), done.status(strict=True)) == (0, 1)  # the other direction has its keys
    assert done.data("client") == b""
    assert done.data("server") == talked.wanted("server")


def test_a_pipe_without_secrets_has_no_keys(tmp_path: Path) -> None:
    talked = download(11, end="open")
    done = replays.replay_pipe(replays.pipe(talked.frames, "", None))
    assert {received["why"]["code"] for received in done.flow()["receive"].values()} == {"no_keys"}
    assert (done.status(), done.status(strict=True)) == (0, 1)


def test_secrets_anywhere_in_a_file_apply_from_its_first_frame(tmp_path: Path) -> None:
    talked = download(11, (3000,) * 20)
    capture = tmp_path / "late.pcapng"
    capture.write_bytes(replays.pipe(talked.frames, talked.keylog, len(talked.frames)).getvalue())
    for packed in (False, True):
        if packed:
            capture.write_bytes(gzip.compress(capture.read_bytes()))
        done = replays.replay(capture)
        assert done.data() == talked.wanted("client")
        assert done.received()["records"]["encrypted"] == 0
        assert done.status(strict=True) == 0


def test_key_logs_by_name_serve_a_pipe_from_its_first_frame(tmp_path: Path, plain: Talked) -> None:
    done = replays.replay_pipe(replays.pipe(plain.frames, "", None), [replays.keys(tmp_path, plain)])
    assert done.data() == plain.wanted("client")
    assert done.received()["records"]["encrypted"] == 0


# Generations of a connection, and how they end


def test_a_reused_tuple_is_another_flow(tmp_path: Path) -> None:
    first = download(12, end="open")
    second = download(13, (100,) * 5, sequences=(7_000_000, 8_000_000), start_ns=first.frames[-1].time_ns + SECOND)
    capture = replays.pcap(tmp_path, [*first.frames, *second.frames])
    done = replays.replay(capture, replays.keys(tmp_path, first, second))
    flows = done.summary["flows"]
    assert [flow["end"] for flow in flows] == ["reused", "fin"]
    assert len({flow["client"] for flow in flows}) == 1
    assert [done.data(flow=n) for n in (0, 1)] == [first.wanted("client"), second.wanted("client")]
    assert flows[0]["end_frame"]["frame"] == len(first.frames)
    assert flows[1]["start_frame"]["frame"] == len(first.frames) + 1
    assert done.status() == 0


def paused(seconds: int) -> Talked:
    talk = replays.begin(14)
    talk.request([b"one"], [b"first" * 100])
    talk.request([b"two"], [b"second" * 100], pause_ns=seconds * SECOND)
    talk.close()
    return replays.carry(talk)


def test_silence_of_more_than_300_seconds_ends_a_connection(tmp_path: Path) -> None:
    talked = paused(301)
    done = run_of(tmp_path, talked)
    flows = done.summary["flows"]
    assert [flow["end"] for flow in flows] == ["idle", "fin"]
    assert done.data(flow=0) == b"first" * 100
    # What comes then has no handshake, and is read all the same.
    assert flows[1]["receive"]["client"]["late_start"] == {"first_record": 1, "skipped_bytes": 0}
    assert done.data(flow=1) == b"second" * 100
    assert flows[0]["receive"]["client"]["complete"] is False


@pytest.mark.parametrize(("seconds", "settings"), [(299, {}), (301, {"idle": "302"})])
def test_shorter_silence_does_not(tmp_path: Path, seconds: int, settings: dict[str, str]) -> None:
    talked = paused(seconds)
    done = run_of(tmp_path, talked, settings=settings)
    assert done.flow()["end"] == "fin"
    assert done.data() == talked.wanted("client")


def test_a_reset_at_the_next_number_ends_a_connection(tmp_path: Path) -> None:
    talked = download(15, end="rst", closed=False)
    done = run_of(tmp_path, talked)
    assert done.flow()["end"] == "rst"
    assert done.data() == talked.wanted("client")
    assert done.received()["complete"] is False


@pytest.mark.parametrize("off", [-1, 1, 20_000, -20_000, 2**31])
def test_a_reset_elsewhere_does_not(tmp_path: Path, off: int) -> None:
    talked = download(15, end="rst", closed=False)
    *frames, reset = talked.frames
    frames.append(remade(reset, seq=replays.sequence(reset) + off))
    done = run_of(tmp_path, replace(talked, frames=frames))
    assert done.flow()["end"] == "open"
    assert done.data() == talked.wanted("client")


def test_data_after_a_reset_is_after_the_end(tmp_path: Path, plain: Talked) -> None:
    frames = list(plain.frames)
    at = data_frames(frames)[8]
    template = next(frame for frame in reversed(frames[:at]) if not from_server(frame))
    reset = bytearray(template.data)
    reset[replays.TCP + 13] = replays.RST | 0x10
    frames.insert(at, remade(template._replace(data=bytes(reset), time_ns=frames[at].time_ns)))
    done = run_of(tmp_path, replace(plain, frames=frames))
    assert done.flow()["end"] == "rst"
    assert plain.wanted("client").startswith(done.data())
    assert 0 < len(done.data()) < len(plain.wanted("client"))
    assert done.summary["fates"]["byte.after_end"] > 1000
    assert done.received()["complete"] is False


def test_the_bound_on_flows_evicts_the_least_recently_used(tmp_path: Path) -> None:
    talked = [download(16 + n, client=replays.client_at(40000 + n), start_ns=(1 + n) * SECOND) for n in range(2)]
    frames = [*talked[0].frames[:40], *talked[1].frames, *talked[0].frames[40:]]
    done = replays.replay(replays.pcap(tmp_path, frames), replays.keys(tmp_path, *talked), settings={"max_flows": "1"})
    ends = [flow["end"] for flow in done.summary["flows"]]
    assert ends == ["evicted", "fin", "fin"]
    assert done.data(flow=1) == talked[1].wanted("client")
    assert talked[0].wanted("client").startswith(done.data(flow=0))
    late = done.summary["flows"][2]["receive"]["client"]
    assert late["late_start"]["first_record"] > 0
    assert talked[0].wanted("client").endswith(done.data(flow=2))


@pytest.mark.parametrize(("closed", "end"), [(True, "close_notify"), (False, "open")])
def test_a_capture_that_ends_before_tcp_does(tmp_path: Path, closed: bool, end: str) -> None:
    talked = download(17, closed=closed, end="open")
    done = run_of(tmp_path, talked)
    assert done.flow()["end"] == end
    assert done.received()["complete"] is closed
    assert done.data() == talked.wanted("client")
    assert done.status() == 0


# Holes


def without(talked: Talked, *lost: int) -> Talked:
    return replace(talked, frames=[frame for n, frame in enumerate(talked.frames) if n not in lost])


def test_what_comes_behind_a_gap_is_read_and_the_gap_is_status_1(tmp_path: Path, plain: Talked) -> None:
    lost = data_frames(plain.frames)[7]
    talked = without(plain, lost)
    done = run_of(tmp_path, talked)
    received = done.received()
    assert (received["gap"], received["complete"], done.status()) == (True, False, 1)
    whole = [record for record in run_of(tmp_path, plain).records if record.receiver == "client"]
    records = [record for record in done.records if record.receiver == "client"]
    (gap,) = [record for record in records if isinstance(record, Gap)]
    at = records.index(gap)
    assert [(r.number, r.data) for r in records[:at]] == [(r.number, r.data) for r in whole[:at]]
    behind = records[at + 1 :]
    assert [(r.number, r.data) for r in behind] == [(r.number, r.data) for r in whole[at + gap.records :]]
    missing = len(payload(plain.frames[lost]))
    cut = whole[at : at + gap.records]
    assert (gap.number, gap.tcp_seq, gap.missing) == (cut[0].number, cut[0].tcp_seq, missing)
    assert gap.wire_length == sum(record.wire_length for record in cut)
    assert gap.payload == sum(len(record.data) for record in cut)
    told = received["gaps"]
    assert (told["count"], told["missing_bytes"], told["lost_records"]) == (1, missing, gap.records)
    assert told["recovered_records"] == len(behind)
    (entry,) = told["list"]
    assert (entry["first_record"], entry["records"]) == (gap.number, gap.records)
    (hole,) = entry["holes"]
    assert (hole["tcp_seq"], hole["length"], hole["acknowledged"]) == (
        replays.sequence(plain.frames[lost]),
        missing,
        True,
    )
    assert done.summary["fates"]["record.unknown"] == received["records"]["unknown"] == gap.records
    assert received["bytes"]["unknown"] == gap.wire_length - missing
    assert received["offload"] == "ifnet"
    other = done.received("server")
    assert (other["gap"], other["complete"], other["gaps"]["count"]) == (False, True, 0)
    keys, capture = replays.keys(tmp_path, plain), replays.pcap(tmp_path, talked.frames)
    assert replays.replay(capture, keys, receiver="server").status() == 0
    assert replays.replay(capture).status() == 0  # a stream without keys may have gaps


def test_verdicts_behind_a_gap_are_unjudged_until_the_device_is_in_sync(tmp_path: Path) -> None:
    """The receiver's NIC may have seen what the capture lacks. Where there is no NIC, there is nothing to doubt."""
    talked = download(22, (4000,) * 400)
    lost = data_frames(talked.frames)[40:44]
    done = run_of(tmp_path, without(talked, *lost))
    classes = [str(record.record_class) for record in done.records if record.receiver == "client"]
    gap = classes.index("unknown")
    sync = next(n for n, each in enumerate(classes) if n > gap and each == "decrypted")
    assert set(classes[gap + 1 : sync]) == {"unjudged"}
    assert "unjudged" not in classes[sync:]
    unjudged = [record for record in done.records if record.record_class == "unjudged"]
    assert {(record.by, record.composition) for record in unjudged} == {("host", "?")}
    received = done.received()
    assert received["records"]["unjudged"] == len(unjudged)
    assert "?" not in received["compositions"]
    assert (received["resync"]["lost"], received["resync"]["lost_in_gaps"]) == (0, 1)
    software = run_of(tmp_path, without(talked, *lost), profile="none").received()["records"]
    assert (software["unjudged"], software["unknown"]) == (0, received["records"]["unknown"])
    assumed = run_of(tmp_path, without(talked, *lost), assume_received=True).received()["records"]
    assert (assumed["unjudged"], assumed["encrypted"], assumed["mixed"]) == (0, 0, 0)
    assert assumed["decrypted"] == received["records"]["decrypted"] + len(unjudged)


def test_a_hole_that_nobody_acknowledged_is_no_gap(tmp_path: Path, plain: Talked) -> None:
    lost = data_frames(plain.frames)[7]
    frames = plain.frames[:lost] + [frame for frame in plain.frames[lost + 1 :] if from_server(frame)]
    done = run_of(tmp_path, replace(plain, frames=frames))
    received = done.received()
    assert (received["gap"], received["complete"], done.status()) == (False, False, 0)
    assert received["gaps"]["recovered_bytes"] > 10_000
    assert [hole["acknowledged"] for gap in received["gaps"]["list"] for hole in gap["holes"]] == [False]
    assert "byte.after_gap" not in done.summary["fates"]


def test_the_bound_on_held_bytes_makes_a_hole_a_gap(tmp_path: Path) -> None:
    # Without SYNs nobody knows how far the advertised window reaches, and without the client's side nothing is
    # acknowledged: only the bound is left.
    talked = download(18, (16384,) * 10)
    lost = data_frames(talked.frames)[7]
    frames = [f for n, f in enumerate(talked.frames) if n >= 3 and n != lost and (n < lost or from_server(f))]
    done = run_of(tmp_path, replace(talked, frames=frames), settings={"hold": "50000", "budget": "1"})
    received = done.received()
    assert (received["gap"], received["complete"]) == (False, False)
    assert received["gaps"]["recovered_bytes"] > 100_000
    roomy = run_of(tmp_path, replace(talked, frames=frames), settings={"budget": "1"})
    assert roomy.data() == done.data()


def test_a_search_has_a_budget(tmp_path: Path) -> None:
    """What is behind the gap then has the fate that it had before anything was searched."""
    talked = download(23, [Random(n).randrange(1, 4000) for n in range(100)], CHACHA13)
    lost = data_frames(talked.frames)[8:20]
    assert run_of(tmp_path, without(talked, *lost)).received()["gaps"]["list"][0]["records"] > 2
    done = run_of(tmp_path, without(talked, *lost), settings={"search": "1"})
    received = done.received()
    assert received["gaps"]["list"][0]["records"] is None
    assert received["search"]["budget"] == 1
    assert received["search"]["spent"] >= 1
    assert done.summary["fates"]["byte.after_gap"] > 100_000
    assert talked.wanted("client").startswith(done.data())
    assert done.status() == 1


# Captures in pieces


@pytest.mark.parametrize("session", [GCM13, GCM12], ids=["1.3", "1.2"])
def test_pieces_of_a_ring_in_any_order_are_the_whole(tmp_path: Path, session: Session) -> None:
    """Connections go on from file to file, and a missing file is a gap."""
    talked = download(95, (3000,) * 60, session)
    frames = one_after_another(talked.frames)
    size = len(frames) // 6 + 1
    pieces = [frames[at : at + size] for at in range(0, len(frames), size)]
    for n, piece in enumerate(pieces):
        replays.pcap(tmp_path, piece, f"ring{n}.pcap")
    keys = replays.keys(tmp_path, talked)
    whole = replays.replay(replays.pcap(tmp_path, frames, "whole.pcap"), keys)
    names = [str(tmp_path / f"ring{n}.pcap") for n in range(len(pieces))]
    for order in ([str(tmp_path / "ring*.pcap")], names[::-1], names[3:] + names[:3]):
        done = replays.replay(order, keys)
        assert done.verdicts() == whole.verdicts()
        assert done.status() == 0
    lacking = replays.replay(names[:2] + names[3:], keys)
    assert lacking.received()["gaps"]["count"] == 1
    assert len(lacking.data()) >= len(whole.data()) - sum(len(payload(frame)) for frame in pieces[2]) - 2 * 3000
    assert lacking.status() == 1


@pytest.mark.parametrize("session", [GCM13, CHACHA13, GCM12], ids=["1.3", "chacha", "1.2"])
def test_taps_that_see_one_direction_each(tmp_path: Path, session: Session) -> None:
    talked = download(96, (3000,) * 30, session)
    frames = one_after_another(talked.frames)
    keys = replays.keys(tmp_path, talked)
    up = replays.pcap(tmp_path, [frame for frame in frames if not from_server(frame)], "up.pcap")
    down = replays.pcap(tmp_path, [frame for frame in frames if from_server(frame)], "down.pcap")
    done = replays.replay([down, up], keys)
    assert (done.data(), done.data("server")) == (talked.wanted("client"), talked.wanted("server"))
    # The server's direction alone has the ServerHello, whatever the version; the client's has it not.
    assert replays.replay(down, keys).data() == talked.wanted("client")
    alone = replays.replay(up, keys)
    assert alone.data("server") == (talked.wanted("server") if session.version is Version.TLS13 else b"")


# The record stream's own end


def test_what_follows_close_notify_is_not_read(tmp_path: Path) -> None:
    talk = replays.begin(19)
    talk.request([b"please"], [b"answer" * 10])
    talk.server.close_notify()
    before = len(talk.server.data)
    talk.server.record(APPLICATION_DATA, b"late" * 10)
    talk.server.record(ALERT, b"\x01\x00")
    after = len(talk.server.data) - before
    talked = replays.carry(talk)
    done = run_of(tmp_path, talked)
    assert done.data() == b"answer" * 10
    assert done.summary["fates"]["byte.after_close"] == after
    assert done.received()["complete"] is True
    assert done.status() == 0


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (b"\x17\x03\x01\x01\x00", "EINVAL"),
        (b"\x16\x03\x03\x01\x00", "EINVAL"),
        (b"\x17\x03\x03\x48\x00", "EMSGSIZE"),
    ],
)
@pytest.mark.parametrize("profile", ["connectx-6dx", "none"])
def test_a_header_that_cannot_be_right_ends_its_direction_alone(
    tmp_path: Path, header: bytes, why: str, profile: str
) -> None:
    talk = replays.begin(20)
    talk.request([b"please"], [b"answer" * 500])
    broken = header + bytes(300)
    talk.server.raw(broken)
    rest = len(talk.server.data)
    talk.request([b"more" * 100], [b"lost" * 100])
    rest = len(talk.server.data) - rest
    talked = replays.carry(talk)
    done = run_of(tmp_path, talked, profile=profile)
    received = done.received()
    assert done.data("client") == b"answer" * 500
    assert done.data("server") == b"please" + b"more" * 100
    assert received["why"]["code"] == "header_error"
    assert why in received["why"]["text"]
    assert received["complete"] is False
    assert done.summary["fates"]["byte.after_error"] == len(broken) + rest
    assert done.received("server")["complete"] is True
    assert done.received("server")["why"]["code"] != "header_error"
    # A keyed stream that could not be read to its end is not all good.
    assert done.status() == 1
    assert run_of(tmp_path, talked, receiver="server").status() == 0


# Receive tags, how they start, and KeyUpdate


def test_the_bound_on_receive_tags_leaves_the_host_to_decrypt(tmp_path: Path) -> None:
    talked = [download(21 + n, client=replays.client_at(40000 + n), start_ns=SECOND + n * 500) for n in range(2)]
    frames = sorted([*talked[0].frames, *talked[1].frames], key=lambda frame: frame.time_ns)
    done = replays.replay(
        replays.pcap(tmp_path, frames), replays.keys(tmp_path, *talked), settings={"max_receive_tags": "1"}
    )
    received = [flow["receive"][host] for flow in done.summary["flows"] for host in ("server", "client")]
    codes = sorted(each["why"]["code"] for each in received)
    assert codes == ["no_receive_tag"] * 2 + ["offloaded"] * 2  # two connections, one receive tag on each host
    assert {each["offload"] for each in received if each["why"]["code"] == "no_receive_tag"} == {"sw"}
    assert done.summary["limits_met"]["receive_tags"] == 2
    assert [done.data(flow=n) for n in (0, 1)] == [each.wanted("client") for each in talked]
    assert done.status(strict=True) == 0


@pytest.mark.parametrize("call_size", [1, 50, 1000])
def test_a_receive_tag_is_free_again_when_its_connection_has_ended(tmp_path: Path, call_size: int) -> None:
    talked = [download(23 + n, client=replays.client_at(40000 + n), start_ns=SECOND * (1 + n)) for n in range(3)]
    done = replays.replay(
        replays.pcap(tmp_path, [frame for each in talked for frame in each.frames]),
        replays.keys(tmp_path, *talked),
        settings={"max_receive_tags": "2"},
        call_size=call_size,
    )
    assert {received["offload"] for flow in done.summary["flows"] for received in flow["receive"].values()} == {"ifnet"}
    assert done.summary["limits_met"]["receive_tags"] == 0
    assert done.run.path.receive_tags == 0


@pytest.mark.parametrize(
    "settings",
    [
        {"start": "search"},
        {"install": "20,1000000us"},
        {"install": "5"},
        {"start": "search", "install": "8,200us", "budget": "3"},
    ],
    ids=str,
)
@pytest.mark.parametrize("session", [GCM13, GCM12], ids=["1.3", "1.2"])
def test_a_device_that_starts_late_reads_the_same(tmp_path: Path, settings: dict[str, str], session: Session) -> None:
    talked = download(26, (9000,) * 60, session)
    at_once = run_of(tmp_path, talked)
    late = run_of(tmp_path, talked, settings={"budget": "4", **settings})
    assert late.data() == at_once.data() == talked.wanted("client")
    classes = late.received()["records"]
    assert classes["encrypted"] > 0
    assert classes["decrypted"] > 0
    assert at_once.received()["records"]["encrypted"] == 0
    # Found once, it stays in sync: what the host has to open comes before what the device decrypts.
    order = [
        str(record.record_class) for record in late.records if record.receiver == "client" and record.by != "library"
    ]
    assert order.index("decrypted") > max(n for n, each in enumerate(order) if each == "encrypted")
    assert late.received()["resync"]["polls"] > 0
    assert late.received()["resync"]["confirmed"] > 0


@pytest.mark.parametrize("profile", ["connectx-6dx", "ideal", "none"])
@pytest.mark.parametrize("budget", ["2", "64"])
def test_key_updates_make_a_new_receive_tag_and_undo_the_old_ones_marks(
    tmp_path: Path, profile: str, budget: str
) -> None:
    talk = replays.begin(27, GCM13)
    dice = Random(5)
    talk.server.wait(talk.client)
    for n in range(60):
        if n in (20, 21, 40):
            talk.server.record(HANDSHAKE, key_update(n == 40))
        talk.server.record(APPLICATION_DATA, dice.randbytes(5000))
    talk.client.wait(talk.server)
    talk.client.record(HANDSHAKE, key_update(False))
    talk.client.record(APPLICATION_DATA, b"done")
    talk.close()
    talked = replays.carry(talk)
    done = run_of(tmp_path, talked, profile=profile, settings={"budget": budget})
    assert done.data() == talked.wanted("client")
    assert done.data("server") == b"done"
    assert done.status(strict=True) == 0
    numbers = [record.number for record in done.records if record.receiver == "client" and record.type == 23]
    assert numbers[:20] == list(range(20))
    assert numbers[20:22] == [0, 0]
    assert numbers[40] == 0
    if profile == "none":
        assert done.received()["bytes"]["recrypted"] == 0
        return
    # Two updates between two host points come to one new receive tag.
    assert done.run.path.flows[0].directions[1].epoch == (4 if budget == "2" else 3)
    received = done.received()
    assert received["bytes"]["recrypted"] > 0
    assert received["records"]["mixed"] > 0
    assert received["records"]["decrypted"] > 20
    assert received["resync"]["regained"] <= received["resync"]["lost"]


def test_suites_that_the_nic_does_not_take_are_the_hosts(tmp_path: Path) -> None:
    ccm = Session(SUITES[0x1304], Version.TLS13)
    for session, profile, code in (
        (CHACHA13, "connectx-6dx", "profile"),
        (CHACHA13, "ideal", "offloaded"),
        (ccm, "ideal", "profile"),
        (GCM13, "none", "profile"),
    ):
        talked = download(28, session=session)
        done = run_of(tmp_path, talked, profile=profile)
        assert done.received()["why"]["code"] == code
        assert done.data() == talked.wanted("client")
        assert done.received()["offload"] == ("ifnet" if code == "offloaded" else "sw")


# What iterating gives


def test_a_run_is_walked_once_and_says_how_far_it_is(tmp_path: Path, plain: Talked) -> None:
    run = rxtls.replay(replays.pcap(tmp_path, plain.frames), replays.keys(tmp_path, plain), call_size=10)
    seen: list[tuple[int, int]] = []
    records = list(run.walk(lambda now: seen.append((now.frames, now.source.bytes_read))))
    assert records
    assert list(run) == []
    assert seen == sorted(seen)
    assert seen[-1] == (len(plain.frames), run.source.total_bytes)
    assert run.captured_bytes == sum(len(frame.data) for frame in plain.frames)
    assert run.wall_seconds > 0


def test_a_run_may_be_left_in_the_middle(tmp_path: Path, plain: Talked) -> None:
    run = rxtls.replay(replays.pcap(tmp_path, plain.frames), replays.keys(tmp_path, plain), call_size=10)
    first = next(iter(run))
    assert first.number is None
    assert run.frames < len(plain.frames)
    assert run.summary()["frames"] == run.frames


def test_connections_vary_and_early_frames_may_miss(tmp_path: Path) -> None:
    talked = download(29, mss=536, timestamps=True, windows=(20_000, 20_000), flight=10)
    assert run_of(tmp_path, talked).data() == talked.wanted("client")
    without_syn = replace(talked, frames=talked.frames[3:])
    done = run_of(tmp_path, without_syn)
    assert done.data() == talked.wanted("client")
    assert done.flow()["client"].endswith(":40000")
    assert done.flow()["client_guessed"] is False


def test_a_connection_without_its_beginning_is_told_apart(tmp_path: Path, plain: Talked) -> None:
    """Of TLS 1.2 with another fate than of TLS 1.3 with somebody else's keys; both differ from no keys at all."""
    left = plain.frames[data_frames(plain.frames)[4] :]
    capture = replays.pcap(tmp_path, left)
    stranger = replays.keys(tmp_path, download(77), name="others.keys")
    done = replays.replay(capture, stranger)
    assert done.received()["why"]["code"] == "mid_connection"
    assert done.summary["fates"]["byte.mid_connection"] > 10_000
    assert done.received()["search"]["spent"] > 0
    assert done.flow()["client_guessed"] is True
    assert done.status() == 1
    old = download(78, session=GCM12)
    done = run_of(tmp_path, replace(old, frames=old.frames[data_frames(old.frames)[4] :]))
    assert done.received()["why"]["code"] == "mid_connection_tls12"
    assert done.summary["fates"]["byte.mid_connection_tls12"] > 10_000
    assert replays.replay(capture).received()["why"]["code"] == "mid_connection"


@pytest.mark.parametrize(
    "session", [GCM13, CHACHA13, Session(SUITES[0x1304], Version.TLS13)], ids=["gcm", "chacha", "ccm"]
)
def test_a_connection_without_its_beginning_is_read(tmp_path: Path, session: Session) -> None:
    """Its secrets are among those of others; the records before the capture are not counted as missing."""
    sizes = [Random(n).randrange(1, 4000) for n in range(120)]
    talked = download(79, sizes, session)
    others = [download(80 + n, (10,), session) for n in range(5)]
    start = data_frames(talked.frames)[30]
    left = replace(talked, frames=talked.frames[start:])
    keys = replays.keys(tmp_path, *others[:3], talked, *others[3:])
    done = replays.replay(replays.pcap(tmp_path, left.frames), keys, digest=True)
    received = done.received()
    assert talked.wanted("client").endswith(done.data())
    assert len(done.data()) > sum(sizes) - sum(sizes[:60])
    numbers = [record.number for record in done.records if record.receiver == "client"]
    first = numbers[0] or 0
    assert numbers == [first + n for n in range(len(numbers))]
    assert received["late_start"] == {
        "first_record": numbers[0], "skipped_bytes": done.summary["fates"]["byte.before_start"]
    }  # fmt: skip
    assert (received["gap"], received["complete"]) == (False, False)
    assert (done.flow()["tls"], done.flow()["suite"]) == ("1.3", session.suite.name)
    assert 0 < received["search"]["spent"] < received["search"]["budget"]
    poor = replays.replay(replays.pcap(tmp_path, left.frames), keys, settings={"search": "1"})
    assert poor.received()["why"]["code"] == "mid_connection"
    assert "--set search=N" in poor.received()["why"]["text"]


def test_key_updates_before_the_capture_are_found(tmp_path: Path) -> None:
    talk = replays.begin(90)
    talk.request([b"x"], [b"one" * 500] * 40)
    for _ in range(2):
        talk.server.record(HANDSHAKE, key_update(False))
    talk.request([b"y"], [b"two" * 500] * 40)
    talk.close()
    talked = replays.carry(talk)
    at = data_frames(talked.frames)[-30]
    done = run_of(tmp_path, replace(talked, frames=talked.frames[at:]))
    assert done.received()["late_start"]["first_record"] < 40
    assert talked.wanted("client").endswith(done.data())
    assert len(done.data()) > 20 * 1500


@pytest.mark.parametrize(
    "session",
    [GCM13, CHACHA13, GCM12, Session(SUITES[0xC027], Version.TLS12), Session(SUITES[0x1304], Version.TLS13)],
    ids=["gcm", "chacha", "gcm12", "cbc12", "ccm"],
)
def test_a_hole_in_the_handshake_is_stepped_over(tmp_path: Path, session: Session) -> None:
    """In TLS 1.3 the secrets are enough. Before, keys need the server's random; the client's is in the key log."""
    talked = download(91, (3000,) * 30, session)
    flights = [n for n, frame in enumerate(talked.frames[:12]) if payload(frame)][:4]
    stepped = 0
    for lost in flights:
        body = payload(talked.frames[lost])
        done = run_of(tmp_path, without(talked, lost))
        if session.version is Version.TLS12 and body[0] == 22 and body[5] == 2:
            assert done.received()["why"]["code"] != "offloaded"
            continue
        assert done.data() == talked.wanted("client"), lost
        stepped += done.received()["late_start"] is not None or done.received("server")["late_start"] is not None
    assert stepped >= 2


def test_a_stretch_before_a_hole_does_not_spend_the_whole_budget(tmp_path: Path) -> None:
    """Here ClientHello and then data are missing: what is between them holds a record of the handshake alone."""
    talk = replays.begin(97)
    talk.request([b"x" * 14000] * 4, [b"done"])
    talk.close()
    talked = replays.carry(talk)
    ours = [n for n, frame in enumerate(talked.frames) if not from_server(frame) and payload(frame)]
    hello, data = ours[0], ours[3]
    done = run_of(tmp_path, without(talked, hello, data))
    received = done.received("server")
    assert received["app_bytes"] == 3 * 14000
    assert received["search"]["spent"] < received["search"]["budget"] / 4


# Interfaces


@pytest.mark.parametrize("engine", ["plain", "compiled"])
def test_trial_a15_a_flows_interfaces_are_places_in_the_runs(tmp_path: Path, engine: str) -> None:
    """A section with two interfaces, another with one, by which the flow comes."""
    talked = download(3)
    empty = Path(replays.pcapng(tmp_path, [], ["a", "b"])).read_bytes()
    second = Path(replays.pcapng(tmp_path, talked.frames, ["c"])).read_bytes()
    capture = tmp_path / "sections.pcapng"
    capture.write_bytes(empty + second)
    done = replays.replay(str(capture), replays.keys(tmp_path, talked), engine=engine)
    assert done.summary["flows"][0]["interfaces"] == [2]
    assert [each["name"] for each in done.summary["interfaces"]] == ["a", "b", "c"]


@pytest.mark.parametrize("engine", ["plain", "compiled"])
def test_trial_a8_a_renegotiation_is_no_reason_to_say_that_the_suite_is_not_taken(tmp_path: Path, engine: str) -> None:
    """TLS 1.2, the same suite anew, and close_notify in the same host point: what stopped the device is the reason."""
    name = Path(__file__).parents[1] / "data" / "trials" / "reneg12"
    done = replays.replay(f"{name}.pcap", f"{name}.keys", engine=engine)
    received = done.summary["flows"][0]["receive"]["server"]
    assert (received["records"]["decrypted"], received["records"]["encrypted"]) == (2, 5)
    assert (received["offload"], received["why"]["code"]) == ("sw", "auth_failures")
