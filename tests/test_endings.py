"""One signal ends any command, within two seconds, and leaves neither children nor files nor a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CAPTURE, KEYS = (str(ROOT / "examples" / f"clean-tls13-aes128gcm.{kind}") for kind in ("pcap", "keys"))
STUDY = "[link]\nrecords = 4000\n[grid]\nloss = [1, 2, 3, 4, 5, 6, 7, 8]\n"
PATIENCE = 120.0  # seconds until a machine that is busy has begun


def _hears_signals() -> None:
    """A shell without job control ignores SIGINT in what it runs in the background, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def began(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Begin a command in a session of its own, whose processes are all killed afterwards; wait until `when` is so."""
    running: list[subprocess.Popen[bytes]] = []

    def begin(when: Callable[[int], object], *line: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "rxtls", *line], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, start_new_session=True, preexec_fn=_hears_signals,
        )  # fmt: skip
        running.append(process)
        until = time.monotonic() + PATIENCE
        while not when(process.pid):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until
            time.sleep(0.02)
        return process

    yield begin
    for process in running:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def others(session: int) -> list[int]:
    """Processes of a session, besides its first."""
    found = []
    for name in os.listdir("/proc"):
        with suppress(OSError, ValueError, IndexError):
            fields = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and int(name) != session and fields[0] != "Z":
                found.append(int(name))
    return found


def ended(process: subprocess.Popen[bytes], number: int) -> None:
    """It ends at once: with all its children, as the signal says, and with one line."""
    process.wait(timeout=PATIENCE)
    until = time.monotonic() + 5  # multiprocessing's own helper ends by itself
    while others(process.pid) and time.monotonic() < until:
        time.sleep(0.02)
    assert not others(process.pid)
    _, errors = process.communicate()
    assert process.returncode == 128 + number
    assert errors.count(b"\n") == 1, errors
    assert b"Traceback" not in errors


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def test_trial_d4_a_replay_with_jobs_and_streams_leaves_nothing(
    tmp_path: Path, began: Callable[..., subprocess.Popen[bytes]]
) -> None:
    def when(pid: int) -> bool:
        return bool(others(pid)) and any(tmp_path.glob("s/.rxtls-*/*"))

    line = ["replay", *[CAPTURE] * 60, "--keys", KEYS, "--jobs", "2", "--streams", "s", "--json", "j"]
    process = began(when, *line, "--engine", "plain", "--order", "file")
    process.terminate()
    process.wait(timeout=PATIENCE)
    assert files(tmp_path) == set()
    ended(process, signal.SIGTERM)


@pytest.mark.parametrize("times", [1, 3])
def test_trial_d4_control_c_ends_a_sweep(
    tmp_path: Path, began: Callable[..., subprocess.Popen[bytes]], times: int
) -> None:
    (tmp_path / "study.toml").write_text(STUDY)

    def when(pid: int) -> bool:
        return len(others(pid)) > 2  # two workers, and multiprocessing's helper

    process = began(when, "sweep", "study.toml", "--jobs", "2", "--out", "d")
    for _ in range(times):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
    ended(process, signal.SIGINT)
    assert files(tmp_path) == {"study.toml", "d/points.jsonl"}


@pytest.mark.parametrize("line", ["explore --jobs 2 --json j", "compare {0} --keys {1} --engine plain --json j"])
def test_trial_d4_one_signal_ends_what_takes_long(
    tmp_path: Path, began: Callable[..., subprocess.Popen[bytes]], line: str
) -> None:
    words = line.format(" ".join([CAPTURE] * 60), KEYS).split()
    process = began(lambda _: any(tmp_path.glob(".j.*.part")), *words)
    os.killpg(process.pid, signal.SIGINT)
    ended(process, signal.SIGINT)
    assert files(tmp_path) == set()


def test_trial_d2_a_broken_off_run_leaves_what_stood_there(
    tmp_path: Path, began: Callable[..., subprocess.Popen[bytes]]
) -> None:
    for name in ("p", "a"):
        (tmp_path / name).write_text("before")
    line = f"replay - --keys {KEYS} --plain p --report r --out d --streams s --json a".split()
    process = began(lambda _: any(tmp_path.glob("d/.frames*.part")), *line)
    assert process.stdin is not None
    process.stdin.write(Path(CAPTURE).read_bytes())
    process.stdin.flush()
    while not any(tmp_path.glob("s/.rxtls-*/*")):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    ended(process, signal.SIGINT)
    assert files(tmp_path) == {"p", "a"}
    assert (tmp_path / "p").read_text() == "before"


def test_trial_d8_a_script_without_a_main_guard_explores(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from rxtls.study.explore.runs import all_policies\n"
        "print(all_policies(['linux-sync'], 40, False, 0, 2).good)\n"
    )  # fmt: skip
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


def test_signals_are_as_before_when_the_command_is_over() -> None:
    from rxtls.system import ending

    before = [signal.getsignal(number) for number in ending.SIGNALS]
    with ending.ending():
        assert not ending.other_threads() or "xdist" in sys.modules
        with ending.ending(), ending.held():
            pass
    assert [signal.getsignal(number) for number in ending.SIGNALS] == before
