"""What is said of each frame, against the run itself."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

import replays
from reports import kept
from rxtls.driver.trace import VERDICTS, HostAction
from rxtls.events import RecordClass
from rxtls.offload.commands import Happening
from rxtls.simulation.link import Impairment
from rxtls.study import comments as saying
from rxtls.study.comments import comments
from rxtls.study.store import SEVERAL

LOSSY = Path(__file__).parents[2] / "examples" / "loss-reorder-tls13-aes256gcm"


def test_there_is_a_sentence_for_everything() -> None:
    assert saying._VERDICTS.keys() == {*VERDICTS, SEVERAL} - {"empty"}
    assert saying._CLASSES.keys() == {each.value for each in RecordClass}
    assert saying._EVENTS.keys() == {*Happening, *HostAction}


def test_every_frame_has_its_own(tmp_path: Path) -> None:
    run = kept(tmp_path, f"{LOSSY}.pcap", f"{LOSSY}.keys")
    told = list(comments(run))
    assert len(told) == run.frames.height
    complete = [int(n) for lines in told for line in lines for n in re.findall(r"record (\d+) is complete", line)]
    assert len(complete) == run.records.filter(run.records["number"].is_not_null()).height
    assert all(line.startswith("rxtls: ") and "None" not in line for lines in told for line in lines)
    for row, lines in zip(run.frames.iter_rows(named=True), told, strict=True):
        if row["verdict"] == "decrypted":
            assert lines[0].startswith(f"rxtls: flow 0 to the {row['receiver']}: decrypted by the NIC")
        if row["fate"] == "frame.ack":  # but the host may do something as the connection ends with it
            assert all(line.startswith("rxtls: host ") for line in lines)


@given(st.integers(0, 50), st.lists(st.integers(1, 9000), min_size=1, max_size=12))
@settings(max_examples=15)
def test_a_segment_names_the_records_that_it_carries(seed: int, sizes: list[int]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        talked = replays.download(seed, sizes, down=Impairment(loss=0.05, reorder=0.05))
        run = kept(folder / "out", replays.pcap(folder, talked.frames), replays.keys(folder, talked))
        spans = saying._spans(run.records, run.frames)
        for place, row in enumerate(run.frames.iter_rows(named=True)):
            if not row["length"]:
                continue
            own = run.records.filter(
                (run.records["flow"] == row["flow"]) & (run.records["receiver"].cast(str) == row["receiver"])
            )
            touched = []
            for record in own.iter_rows(named=True):
                ahead = (record["tcp_seq"] - row["tcp_seq"] + (1 << 31)) % (1 << 32) - (1 << 31)
                if ahead < row["length"] and ahead + record["wire_length"] > 0 and record["number"] is not None:
                    touched.append(record["number"])
            named = [int(n) for n in re.findall(r"\d+", spans.get(place, ""))]
            if "to" in spans.get(place, ""):
                named = list(range(named[0], named[1] + 1))
            assert named == list(dict.fromkeys(touched))


def test_what_went_nowhere_says_why(tmp_path: Path) -> None:
    talked = replays.download(2)
    frames = list(talked.frames)
    carrying = next(n for n, frame in enumerate(frames) if len(frame.data) > 500)
    data = bytearray(frames[carrying].data)
    data[-1] ^= 1
    frames[carrying] = frames[carrying]._replace(data=bytes(data))
    run = kept(tmp_path / "out", replays.pcap(tmp_path, frames), replays.keys(tmp_path, talked), checksum="verify")
    assert list(comments(run))[carrying] == [
        "rxtls: The TCP checksum is wrong and nothing excuses it: no NIC would pass it to its crypto."
    ]
