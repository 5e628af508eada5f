"""NICs of other people's: in Python, in another process; and what each fault of theirs says in one line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer.testing

from rxtls.cli.app import app
from rxtls.device import framing
from rxtls.device.built_in import BuiltIn
from rxtls.device.framing import FramingError, Released
from rxtls.device.guest import Event, Packet, Said
from rxtls.device.profiles import profile
from rxtls.driver.trace import SEGMENT_COLUMNS, VERDICT
from rxtls.errors import GuestError, UsageError
from rxtls.offload.commands import Auth, Confirm, Guess, Install, Progress, Query, SetPosition, Tracker
from rxtls.path.receive import PathOptions, ReceivePath
from rxtls.run.exec_nic import ExecNic
from rxtls.run.nics import nic
from rxtls.run.options import ReplayOptions
from rxtls.run.replay import Replay
from sample_keys import ALL_SHAPES
from tls_stream import GCM13

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted(path.with_suffix("") for path in (ROOT / "examples").glob("*.pcap"))
LOSSY = str(ROOT / "examples" / "loss-reorder-tls13-aes256gcm")
DOCUMENT = (ROOT / "docs" / "your-nic.md").read_text()
_, IN_ORDER, PIPE = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
SERVE = f"exec:{sys.executable} -m rxtls nic serve"

Verdicts = tuple[list[tuple[object, ...]], list[list[int]]]


def verdicts(name: str, nic_name: str | None, engine: str = "auto", nic_profile: str = "connectx-6dx") -> Verdicts:
    """Records, and what the NIC made of each segment."""
    options = ReplayOptions(nic=nic_name, engine=engine, watch="frames", profile=nic_profile)
    run = Replay(f"{name}.pcap", f"{name}.keys", options)
    records: list[tuple[object, ...]] = []
    segments: list[list[int]] = []
    for batch in run.batches():
        records += [(r.flow, r.receiver, r.number, r.by, r.composition, r.data, r.frame) for r in batch]
        assert batch.trace is not None
        segments += batch.trace.segments.tolist()
    assert run.path.ledger.balance() == 0
    return records, segments


@pytest.mark.parametrize("name", EXAMPLES, ids=lambda path: path.name)
def test_the_built_in_nic_over_a_pipe_gives_the_same_records_and_marks(name: Path) -> None:
    records, segments = verdicts(str(name), None)
    over, seen = verdicts(str(name), SERVE)
    assert over == records
    marks = [[*row[:VERDICT], *row[VERDICT + 1 :]] for row in segments]
    assert marks == [[*row[:VERDICT], *row[VERDICT + 1 :]] for row in seen]
    assert len(segments[0]) == SEGMENT_COLUMNS


@pytest.fixture
def in_order(tmp_path: Path) -> str:
    assert len(IN_ORDER.splitlines()) < 40
    (tmp_path / "in_order.py").write_text(IN_ORDER)
    return f"{tmp_path}/in_order.py:InOrder"


@pytest.fixture
def pipe(tmp_path: Path) -> str:
    assert len(PIPE.splitlines()) < 40
    assert "rxtls" not in PIPE
    (tmp_path / "pipe.py").write_text(PIPE)
    return f"exec:{sys.executable} {tmp_path}/pipe.py"


@pytest.mark.parametrize("example", ["clean-tls13-aes128gcm", "many-tls13-aes128gcm", "loss-reorder-tls13-aes256gcm"])
def test_the_documents_examples_decrypt_and_agree(example: str, in_order: str, pipe: str) -> None:
    name = str(ROOT / "examples" / example)
    built_in, mine, over = (verdicts(name, each)[0] for each in (None, in_order, pipe))
    assert mine == over
    assert [record[5] for record in mine] == [record[5] for record in built_in]
    if example.startswith("clean"):
        assert mine == built_in
    assert any(record[3] == "device" for record in mine)


def invoke(*arguments: str) -> tuple[int, str, str]:
    done = typer.testing.CliRunner().invoke(app, arguments, env={"COLUMNS": "200", "NO_COLOR": "1"})
    if isinstance(done.exception, UsageError | GuestError):
        return 2, done.output, str(done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output, ""


def test_compare_and_simulate_take_one(in_order: str) -> None:
    assert invoke("simulate", "--nic", in_order, "--records", "20", "--loss", "1")[0] == 0
    given = ("--nic", in_order, "--policy", "none", "--policy", "freebsd-table")
    _, out, _ = invoke("compare", f"{LOSSY}.pcap", "--keys", f"{LOSSY}.keys", *given)
    assert "Every policy brought out the same plaintext" in out


def test_a_path_of_ones_own_takes_an_object() -> None:
    ReceivePath(options=PathOptions(nic=BuiltIn(profile("ideal"))))
    with pytest.raises(UsageError, match="served by the plain engine"):
        ReceivePath(options=PathOptions(nic=BuiltIn(profile("ideal")), engine="compiled"))
    with pytest.raises(GuestError, match="mine: it has no install, no post, no receive, no release"):
        ReceivePath(options=PathOptions(nic=object(), nic_name="mine"))  # type: ignore[arg-type]


def test_jobs_are_one_with_a_nic(in_order: str) -> None:
    from rxtls.run.jobs import replay

    options = ReplayOptions(nic=in_order)
    done = replay(lambda: Replay(f"{LOSSY}.pcap", f"{LOSSY}.keys", options), jobs=2)
    assert done.note == "one job runs: a NIC of one's own is one"
    assert done.summary["nic"] == in_order


# Faults.

WRONG = """
from rxtls.device.guest import Event
from rxtls.offload.commands import Guess, Happening, Progress
class Base:
    def install(self, flow, install): return []
    def post(self, flow, command): return []
    def receive(self, flow, packet): return None, []
    def release(self, flow, epoch): pass
class Raises(Base):
    def receive(self, flow, packet): raise ValueError("burnt\\nout")
class Short(Base):
    def receive(self, flow, packet): return packet.payload[1:], []
class NoPair(Base):
    def receive(self, flow, packet): return packet.payload
class Text(Base):
    def receive(self, flow, packet): return "x" * len(packet.payload), []
class Babbles(Base):
    def receive(self, flow, packet): return None, ["hello"]
class TooLarge(Base):
    def receive(self, flow, packet): return None, [Guess(1, 1 << 32, 0, 0)]
class NoList(Base):
    def install(self, flow, install): return None
class Said(Base):
    def install(self, flow, install): return Guess(1, 2, 3, 4)
class Release(Base):
    def release(self, flow, epoch): raise RuntimeError("mine")
class Half(Base):
    release = None
class Cannot(Base):
    def __init__(self): raise RuntimeError("no power")
"""


@pytest.fixture
def wrong(tmp_path: Path) -> str:
    (tmp_path / "wrong.py").write_text(WRONG)
    return f"{tmp_path}/wrong.py"


AT = r"flow 0 side [01], \S+/loss-reorder-tls13-aes256gcm.pcap frame \d+: "


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("Raises", AT + r"ValueError: burnt out \(wrong.py line 10\); last told: a packet of \d+ bytes at \d+"),
        ("Short", AT + r"its payload has \d+ bytes, and the packet \d+; .*"),
        ("NoPair", AT + r"it gave back bytes, not \(payload or None, what it says\); .*"),
        ("Text", AT + "its payload is str, not bytes or None; .*"),
        ("Babbles", AT + "it says 'hello', which is none of Progress, Guess, Event; .*"),
        ("TooLarge", AT + r"it says 'Guess\(epoch=1, .*"),
        (
            "NoList",
            AT + r"what it says is NoneType, not a list; last told: install of epoch 1, .* record 0 at \d+",
        ),
        ("Said", AT + "what it says is Guess, not a list; .*"),
        ("Release", r"flow 0 side [01].*RuntimeError: mine \(wrong.py line \d+\); last told: release of epoch 1"),
        ("Half", "it has no release; last told: nothing yet"),
        ("Cannot", r"RuntimeError: no power \(wrong.py line \d+\); last told: nothing yet"),
        ("Nobody", "there is no such class"),
    ],
)
def test_what_a_nic_does_wrong_is_one_line(name: str, cause: str, wrong: str) -> None:
    status, _, error = invoke("replay", f"{LOSSY}.pcap", "--keys", f"{LOSSY}.keys", "--nic", f"{wrong}:{name}")
    assert status == 2
    assert re.fullmatch(rf"nic \S+wrong.py:{name}: {cause}", error), error


def test_names_that_are_no_nic() -> None:
    with pytest.raises(UsageError, match=r"no NIC 'mlx5': it is MODULE:CLASS, FILE.py:CLASS, exec:COMMAND, or a name"):
        nic("mlx5")
    assert "no package" in invoke("nic", "list")[1]


# Another process.


@pytest.fixture
def program(tmp_path: Path) -> Path:
    return tmp_path / "program.py"


def run_of(program: Path, text: str) -> str:
    program.write_text("import sys, time\nread, write = sys.stdin.buffer.read, sys.stdout.buffer.write\n" + text)
    return f"{sys.executable} {program}"


HELLO = "read(7)\nwrite(b'\\0\\0\\0\\3W\\0\\1')\nsys.stdout.flush()\n"


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("sys.exit(3)", "the process ended with status 3"),
        ("write(b'garbage!')", "a message of 1734439522 bytes, not of 1 to 1048576"),
        ("write(b'\\0\\0\\0\\0')", "a message of 0 bytes, not of 1 to 1048576"),
        ("write(b'\\0\\0\\0\\3W\\0\\2')", "it speaks version 0002, not 0001"),
        ("write(b'\\0\\0\\0\\1W')", "it speaks version none, not 0001"),
        (HELLO + "read(30)\nwrite(b'\\0\\0\\0\\1Z')", "a message of kind 'Z', which is none of A, G, E, W, D"),
        (HELLO + "read(30)\nwrite(b'\\0\\0\\0\\3Axy')", "a damaged message 'A' of 2 bytes"),
        (HELLO + "read(30)\nwrite(b'\\0\\0\\0\\6E\\x63\\0\\0\\0\\0')", "a damaged message 'E' of 5 bytes"),
        (HELLO + "read(30)\nwrite(b'\\0\\0\\0\\1D')", "a message of kind 'D', which is none of A, G, E, W, D"),
        (HELLO + "read(30)\nsys.exit(0)", "the process ended with status 0"),
    ],
)
def test_what_a_process_says_wrong_is_one_line(text: str, cause: str, program: Path) -> None:
    command = run_of(program, f"{text}\nsys.stdout.flush()\n")
    with pytest.raises(GuestError) as caught:
        ExecNic(command).install(0, Install(1, 0, GCM13, 0, 1_000))
    assert str(caught.value) == f"nic exec:{command}: {cause}; last told: the hello"


@pytest.mark.parametrize("text", ["", HELLO, HELLO + "write(b'\\0\\0')"])
def test_a_process_that_hangs_is_given_up_and_ended(text: str, program: Path) -> None:
    command = run_of(program, text + "\nsys.stdout.flush()\ntime.sleep(60)\n")
    begun = time.monotonic()
    with pytest.raises(GuestError, match=r"no answer for 1 s; last told: the hello"):
        ExecNic(command, patience=1.0).install(0, Install(1, 0, GCM13, 0, 1_000))
    assert time.monotonic() - begun < 30
    assert str(program) not in subprocess.run(["ps", "ax", "-o", "args"], capture_output=True, text=True).stdout


def test_a_process_that_takes_nothing_is_given_up(program: Path) -> None:
    device = ExecNic(run_of(program, HELLO + "time.sleep(60)"), patience=1.0)
    with pytest.raises(GuestError, match=r"it took no message for 1 s"):
        device.receive(0, Packet(0, bytes(1 << 19), 0, 0))


def test_a_fault_in_a_run_has_flow_and_frame(program: Path) -> None:
    command = run_of(program, HELLO + "sys.exit(9)")
    status, _, error = invoke("replay", f"{LOSSY}.pcap", "--keys", f"{LOSSY}.keys", "--nic", f"exec:{command}")
    assert status == 2
    assert re.fullmatch(rf"nic exec:.*: {AT}the process ended with status 9; last told: install of .*", error), error


def test_a_process_ends_with_the_run(program: Path) -> None:
    run = Replay(f"{LOSSY}.pcap", f"{LOSSY}.keys", ReplayOptions(nic=SERVE))
    assert isinstance(run._nic, ExecNic)
    process = run._nic._process
    assert sum(1 for _ in run) > 200
    assert process.poll() == 0


def test_commands_that_cannot_be_run() -> None:
    for command, cause in (("/no/such", "No such file"), ("", "there is no command"), ("'", "No closing quotation")):
        with pytest.raises(UsageError, match=f"nic exec:{command}: {cause}"):
            nic(f"exec:{command}")


def test_the_other_end_tells_garbage_in_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rxtls", "nic", "serve"], input=b"\0\0\0\2Zz", capture_output=True, env=os.environ
    )
    assert (done.returncode, done.stderr) == (2, b"rxtls: standard input: a message of kind 'Z'\n")


# The language.


def test_every_message_is_read_back() -> None:
    for keys in ALL_SHAPES:
        if keys.stream:
            install = Install(7, 0, keys, 1 << 63, 0xFFFF_FFFF)
            assert framing.read_asked("I", framing.asked(3, install)[5:]) == (3, install)
    for kind, what in (
        ("P", Packet(5, b"abc", 1 << 40, 1 << 60)), ("Q", Query(2)), ("C", Confirm(2, 9, 1 << 63)),
        ("S", SetPosition(2, 9, 1)), ("R", Released(4)),
    ):  # fmt: skip
        message = framing.asked(6, what)
        assert (message[4:5].decode(), int.from_bytes(message[:4])) == (kind, len(message) - 4)
        assert framing.read_asked(kind, message[5:]) == (6, what)
    told: list[Said] = [Progress(1, 2, 3, Tracker.SEARCHING, Auth.AUTHENTICATION, 4), Guess(1, 2, 3, 4)]
    told += [Event(each, 5) for each in framing.EVENTS]
    for each in told:
        message = framing.said(each)
        assert framing.read_said(message[4:5].decode(), message[5:]) == each


def test_damaged_messages_are_told() -> None:
    whole = framing.asked(1, Install(1, 0, GCM13, 0, 0))[5:]
    for kind, body in [("I", whole[:n]) for n in range(len(whole))] + [("P", b"x"), ("C", b""), ("Q", b"123456789")]:
        with pytest.raises(FramingError, match="damaged"):
            framing.read_asked(kind, body)


def test_the_document_has_the_framing() -> None:
    """Letters and sizes as the module's head says."""
    head = framing.__doc__ or ""
    letters = re.findall(r"^    ([A-Z])   ", head, re.MULTILINE)
    assert letters == re.findall(r"^\| `([A-Z])` ?", DOCUMENT, re.MULTILINE)
    codes = ", ".join(f"{n} {each}" for n, each in enumerate(framing.EVENTS))
    assert f"code 1 ({codes})" in DOCUMENT
