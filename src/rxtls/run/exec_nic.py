"""A NIC in another process: the protocol of guests (device/guest.py) over a pipe (device/framing.py), both ends of it.

ExecNic runs a command and speaks to it. An answer that does not come in time, a process that ended, and what is none of
the language are errors of one line; the process is ended then, and when the run is over. `serve` is the other end.
"""

from __future__ import annotations

import os
import select
import shlex
import subprocess
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from typing import BinaryIO

from rxtls.device import framing
from rxtls.device.framing import FramingError, Released
from rxtls.device.guest import Device, Packet, Said
from rxtls.errors import GuestError, UsageError
from rxtls.offload.commands import Command, Install
from rxtls.system import ending

PATIENCE = 10.0  # seconds for one answer: an HDL simulator needs some, a person waits no longer
LEAVE = 1.0  # seconds in which a process whose input ended may end


class ExecNic:
    """A Device that is a command, run without a shell. Raises UsageError for one that cannot be run."""

    def __init__(self, command: str, patience: float = PATIENCE) -> None:
        self._who = f"nic exec:{command}"
        self._patience = patience
        self._left = b""
        try:
            words = shlex.split(command)
            if not words:
                raise ValueError("there is no command")
            with ending.held():
                self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                ending.PROCESSES.add(self._process)
        except (OSError, ValueError) as error:
            raise UsageError(f"{self._who}: {getattr(error, 'strerror', None) or error}") from None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input, self._output = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._input, False)
        self.close = weakref.finalize(self, _end, self._process)
        body, _ = self._exchange(framing.frame("H", framing.hello()), hello=True)
        if body != framing.hello():
            self._fail(f"it speaks version {body.hex() if body else 'none'}, not {framing.hello().hex()}")

    def install(self, flow: int, install: Install) -> Sequence[Said]:
        """As Device."""
        return self._exchange(framing.asked(flow, install))[1]

    def post(self, flow: int, command: Command) -> Sequence[Said]:
        """As Device."""
        return self._exchange(framing.asked(flow, command))[1]

    def receive(self, flow: int, packet: Packet) -> tuple[bytes | None, Sequence[Said]]:
        """As Device."""
        return self._exchange(framing.asked(flow, packet), packet=True)

    def release(self, flow: int, epoch: int) -> None:
        """As Device."""
        self._exchange(framing.asked(flow, Released(epoch)))

    def _exchange(self, message: bytes, packet: bool = False, hello: bool = False) -> tuple[bytes | None, list[Said]]:
        until = time.monotonic() + self._patience
        self._write(message, until)
        told: list[Said] = []
        while True:
            head = self._read(4, until)
            length = int.from_bytes(head)
            if not 0 < length <= framing.LONGEST:
                self._fail(f"a message of {length} bytes, not of 1 to {framing.LONGEST}")
            content = self._read(length, until)
            kind, body = content[:1].decode("latin-1"), content[1:]
            if kind == "W":
                return body if hello else None, told
            if kind == "D" and packet:
                return body, told
            try:
                told.append(framing.read_said(kind, body))
            except FramingError as error:
                self._fail(str(error))

    def _write(self, message: bytes, until: float) -> None:
        at = 0
        while at < len(message):
            _, ready, _ = select.select([], [self._input], [], max(0.0, until - time.monotonic()))
            if not ready:
                self._fail(f"it took no message for {self._patience:g} s")
            try:
                at += os.write(self._input, message[at:])
            except OSError:
                self._gone()

    def _read(self, length: int, until: float) -> bytes:
        while len(self._left) < length:
            ready, _, _ = select.select([self._output], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                self._fail(f"no answer for {self._patience:g} s")
            more = os.read(self._output, 1 << 16)
            if not more:
                self._gone()
            self._left += more
        found, self._left = self._left[:length], self._left[length:]
        return found

    def _gone(self) -> None:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(LEAVE)
        status = self._process.poll()
        how = "closed its output" if status is None else f"ended with status {status}"
        self._fail(f"the process {how}")

    def _fail(self, cause: str) -> None:
        self.close()
        raise GuestError(self._who, cause, "the hello")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Its input ends; then it does."""
    ending.PROCESSES.discard(process)
    with suppress(OSError):
        if process.stdin is not None:
            process.stdin.close()
    try:
        process.wait(LEAVE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def serve(device: Device, source: BinaryIO, sink: BinaryIO) -> None:
    """Be the NIC at the other end, until the input ends. Raises FramingError."""
    while head := source.read(4):
        content = source.read(int.from_bytes(head))
        kind, body = content[:1].decode("latin-1"), content[1:]
        if kind == "H":
            sink.write(framing.frame("W", framing.hello()))
        else:
            sink.write(_answer(device, kind, body))
        sink.flush()


def _answer(device: Device, kind: str, body: bytes) -> bytes:
    flow, what = framing.read_asked(kind, body)
    out: bytes | None = None
    said: Sequence[Said] = []
    match what:
        case Install():
            said = device.install(flow, what)
        case Packet():
            out, said = device.receive(flow, what)
        case Released(epoch):
            device.release(flow, epoch)
        case _:
            said = device.post(flow, what)
    return b"".join(map(framing.said, said)) + (framing.frame("W") if out is None else framing.frame("D", out))
