"""The contenders of `make bench` as processes: rxtls, one-shot AES, tshark, `openssl speed`. And the captures they get.

Each run of rxtls is compared with what was put into its capture.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench_cases import BULK, Made, Traffic
from bench_figures import Answer, wrong

CHILD = Path(__file__).with_name("bench_run.py")
SPARE = 1_000_000_000  # bytes that a disk keeps free
WARM = 2_000_000  # bytes of the capture that is walked before the clock runs
SHORT_BYTES = 10_000  # of a short connection, at most
OPENSSL_NAMES = {0x1301: "aes-128-gcm", 0xC030: "aes-256-gcm", 0x1303: "chacha20-poly1305"}


class BenchError(Exception):
    """What ends the benchmark, in one line."""


class Contenders:
    """Runs in processes of their own; captures in `folder`. `options` are fields of ReplayOptions that all replays have
    in common; `libcrypto` None: the one that is found."""

    def __init__(self, folder: Path, options: Answer, libcrypto: str | None = None) -> None:
        self.folder = folder
        self._options = options
        self._environment = {**os.environ, "PYTHONHASHSEED": "0"}
        self._environment.pop("PYTHONDONTWRITEBYTECODE", None)  # start-up is measured with all caches warm
        if libcrypto:
            self._environment["RXTLS_LIBCRYPTO"] = libcrypto
        self._warm: tuple[str, str] | None = None

    @contextmanager
    def capture(self, traffic: Traffic, amount: int) -> Iterator[Made]:
        """A capture that is there for a while: of about `amount` bytes, or so many short connections."""
        name = f"{len(list(self.folder.iterdir()))}-{traffic.suite:04x}-{amount}"
        capture, keys = self.folder / f"{name}.pcap", self.folder / f"{name}.keys"
        needed = amount * (SHORT_BYTES if traffic.answer else 1) + SPARE
        if (free := shutil.disk_usage(self.folder).free) < needed:
            raise BenchError(f"{self.folder} has {free / 1e9:.1f} GB free; {needed / 1e9:.1f} GB are needed (--folder)")
        try:
            answer = self._child("make", traffic=asdict(traffic), amount=amount, capture=str(capture), keys=str(keys))
            yield Made(**answer)
        finally:
            capture.unlink(missing_ok=True)
            keys.unlink(missing_ok=True)

    @contextmanager
    def warmed(self) -> Iterator[Answer]:
        """With a small capture that is walked before each clocked run; what its first replay says. That one also
        compiles what is compiled once per machine."""
        with self.capture(BULK, WARM) as made:
            answer = self.replay(made)
            self._warm = made.capture, made.keys
            yield answer

    def replay(self, made: Made, each: bool = False, cold: bool = False, **options: Any) -> Answer:
        """One replay, records taken by the batch or `each` for itself; `cold` without anything before it. Raises
        BenchError when it gives other than was put in."""
        warm = None if cold else self._warm
        return self._checked(made, "replay", options, each=each, warm=warm)

    def stages(self, made: Made, measured: str, **options: Any) -> Answer:
        """One replay with a stopwatch at the stages of engine `measured`."""
        return self._checked(made, "stages", options, measured=measured, warm=self._warm)

    def damaged(self, made: Made, holes: int = 0, late: bool = False, sessions: int = 0, **options: Any) -> Answer:
        """One replay of a capture that lacks `holes` frames, or its beginning; so many sessions more are in the log."""
        together = {**self._options, **options}
        return self._child(
            "damaged", capture=made.capture, keys=made.keys, options=together, holes=holes, late=late,
            sessions=sessions, warm=self._warm,
        )  # fmt: skip

    def first(self, made: Made) -> float:
        """Seconds from before the process exists to its first record."""
        started = time.monotonic()
        answer = self._child("first", capture=made.capture, keys=made.keys, options=self._options)
        return float(answer["moment"]) - started

    def look(self, made: Made) -> float:
        """Seconds to read a capture and check its packets. Raises BenchError when it did not see them all."""
        answer = self._child("look", capture=made.capture, keys=made.keys, options=self._options, warm=self._warm)
        if answer["frames"] != made.frames:
            raise BenchError(f"{Path(made.capture).name}: {answer['frames']:,} frames seen, not {made.frames:,}")
        return float(answer["wall"])

    def syns(self, count: int, engine: str) -> Answer:
        """A replay of so many SYNs that nothing follows: bench_syns.py."""
        return self._child("syns", count=count, options={**self._options, "engine": engine})

    def written(self, made: Made) -> Answer:
        """Processor seconds of a replay, and of the same with tables written: bench_see.py."""
        return self._child("written", capture=made.capture, keys=made.keys, options=self._options)

    def page(self, made: Made) -> Answer:
        """Make the report of a capture, in the folder: `html` is its name."""
        html = str(self.folder / "report.html")
        return {
            "html": html,
            **self._child("page", capture=made.capture, keys=made.keys, options=self._options, html=html),
        }

    def opened(self, html: str) -> float:
        """Seconds until Chromium has drawn a page."""
        return float(self._child("opened", html=html)["seconds"])

    @contextmanager
    def one_shot(self, traffic: Traffic, amount: int) -> Iterator[OneShot]:
        """The process that opens the records of such a capture."""
        command = self._command("one-shot", traffic=asdict(traffic), amount=amount)
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=self._environment) as process:
            try:
                yield OneShot(process)
            finally:
                process.kill()

    def _checked(self, made: Made, job: str, options: Answer, **more: Any) -> Answer:
        together = {**self._options, **options}
        answer = self._child(job, capture=made.capture, keys=made.keys, options=together, **more)
        if faults := wrong(answer, made):
            raise BenchError(f"{Path(made.capture).name}, {together}: replay says {'; '.join(faults)}")
        return answer

    def _child(self, job: str, **arguments: Any) -> Answer:
        done = subprocess.run(
            self._command(job, **arguments), stdout=subprocess.PIPE, text=True, env=self._environment, check=False
        )
        if done.returncode:
            raise BenchError(f"{job} ended with {done.returncode}: {json.dumps(arguments)}")
        answer: Answer = json.loads(done.stdout)
        return answer

    @staticmethod
    def _command(job: str, **arguments: Any) -> list[str]:
        return [sys.executable, str(CHILD), job, json.dumps(arguments)]


class OneShot:
    """The process that holds the records, and opens them all each time it is asked."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        told = self._read()
        self.sealed_bytes: int = told["sealed_bytes"]
        self.libcrypto: str = told["libcrypto"]

    def again(self) -> float:
        """Seconds of one more pass."""
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._read()["seconds"])

    def _read(self) -> Answer:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise BenchError("one-shot ended")
        answer: Answer = json.loads(line)
        return answer


def run_tshark(tshark: str, made: Made, impaired: bool) -> tuple[float, float]:
    """(wall, user) seconds of tshark in its fastest way: keys given, everything dissected, nothing shown."""
    command = [tshark, "-r", made.capture, "-o", f"tls.keylog_file:{made.keys}", "-Y", "frame.number == 0"]
    if impaired:
        command += ["-o", "tcp.reassemble_out_of_order:TRUE"]
    environment = {**os.environ, "HOME": str(Path(made.capture).parent)}  # nobody's preferences
    nowhere = subprocess.DEVNULL
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=nowhere, stderr=nowhere, env=environment) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise BenchError(f"tshark ended with {process.returncode}")
    return time.perf_counter() - started, usage.ru_utime


def openssl_speed(traffic: Traffic) -> float | None:
    """Bytes a second by the openssl command's own libcrypto, which need not be the one that is measured."""
    openssl = shutil.which("openssl")
    if not openssl:
        return None
    size = str(traffic.record)
    command = [openssl, "speed", "-evp", OPENSSL_NAMES[traffic.suite], "-bytes", size, "-seconds", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return speed_told(done.stdout) if done.returncode == 0 else None


def speed_told(output: str) -> float | None:
    """Bytes a second out of what `openssl speed -bytes N` prints: "AES-128-GCM  3434168.32k"."""
    for line in reversed(output.splitlines()):
        last = line.split()[-1:] or [""]
        if last[0].endswith("k"):
            return float(last[0][:-1]) * 1000
    return None


def chromium() -> str | None:
    """A Chromium to drive, if there is one."""
    named = os.environ.get("RXTLS_CHROMIUM")
    found = map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))
    return named or next(filter(None, found), None)


def machine(tshark: str | None) -> Answer:
    """What was measured on, as the tables name it."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "tshark": _first_line([tshark, "--version"]) if tshark else "",
        "openssl": _first_line(["openssl", "version"]) if shutil.which("openssl") else "",
    }


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
        return text.split("model name")[1].splitlines()[0].lstrip("\t: ")
    except (OSError, IndexError):
        return platform.processor() or platform.machine()


def _first_line(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.splitlines()[0].split(" (Git")[0].rstrip(".") if done.stdout else ""
