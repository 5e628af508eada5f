"""How a command ends before it is done: at one signal, within two seconds, and nothing of it is left.

    SIGINT, SIGTERM, SIGHUP ─► a byte in a pipe ─► a thread: children killed, unfinished files removed, exit

Unwinding would not do: it waits for pools and for compiled code, a second signal breaks it off in the middle, and the
libraries in between print what they think of it. (Errors unwind, and do not come here.) A thread does it since the main
one may be in compiled code for seconds, where no handler in Python runs. The exit status is 128 and the signal.

Whoever begins something that must not be left (a child, an unfinished file) does so in `held`, in which nothing ends.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol


class Killed(Protocol):
    """A process that can be killed (subprocess.Popen)."""

    def kill(self) -> None: ...


SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
LEAVES: set[str] = set()  # files and directories that go if it ends now
PROCESSES: set[Killed] = set()  # other programs that go if it ends now
_AT_MOST = 1.0  # seconds that an ending waits for what is being begun
_held = threading.RLock()
_watcher: threading.Thread | None = None
_over = threading.Event()
_asks: list[Callable[[], object]] = []  # what the next signal does instead
_asked = 0  # signals that were answered so, and of which the main thread may still hear


@contextmanager
def ending() -> Iterator[None]:
    """In this block signals end the process as above. Nothing changes for those that were ignored, nor in a thread."""
    global _watcher
    if _watcher is not None or threading.current_thread() is not threading.main_thread():
        yield
        return
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    before = {number: signal.getsignal(number) for number in SIGNALS}
    woken = signal.set_wakeup_fd(writes, warn_on_full_buffer=False)
    _watcher = threading.Thread(target=_watch, args=(reads,), name="rxtls ending", daemon=True)
    _watcher.start()
    for number, handler in before.items():
        if handler not in (signal.SIG_IGN, None):
            signal.signal(number, _wait)
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)
        signal.set_wakeup_fd(woken)
        os.write(writes, b"\0")
        _watcher.join()
        _watcher = None
        os.close(writes)
        os.close(reads)


@contextmanager
def asked(stop: Callable[[], object]) -> Iterator[None]:
    """In this block the first signal calls `stop`, from another thread, and ends nothing; the next one does."""
    _asks.append(stop)
    try:
        yield
    finally:
        _asks.clear()


@contextmanager
def held() -> Iterator[None]:
    """In this block nothing ends: what it begins is either not there yet, or known. A child that it starts never hears
    of a SIGINT, which goes to all processes of a terminal; it ends with its parent."""
    masks = hasattr(signal, "pthread_sigmask")
    with _held:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if masks else set()
        try:
            yield
        finally:
            if masks:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if _over.is_set():
        _wait()


def is_child() -> None:
    """This process was forked by one in which signals end: they are its own affair from now on."""
    for number in SIGNALS:
        if signal.getsignal(number) is _wait:
            signal.signal(number, signal.SIG_DFL)
            signal.set_wakeup_fd(-1)
    LEAVES.clear()
    PROCESSES.clear()


def other_threads() -> bool:
    """Whether threads run besides the main one and the one that watches for signals."""
    return threading.active_count() > 1 + (_watcher is not None)


def _wait(*_: object) -> None:
    """The main thread's part: begin nothing more."""
    global _asked
    if _asks or _asked:
        _asked -= bool(_asked)
        return
    _over.set()
    if not _held._is_owned():  # type: ignore[attr-defined]
        time.sleep(4 * _AT_MOST)


def _watch(reads: int) -> None:
    while byte := os.read(reads, 1):
        if byte == b"\0":
            return
        if byte[0] in SIGNALS:
            if _asks:
                _answer()
            else:
                _end(byte[0])


def _answer() -> None:
    global _asked
    _asked += 1
    _asks.pop()()


def _end(number: int) -> None:
    _over.set()
    _held.acquire(timeout=_AT_MOST)
    if "multiprocessing" in sys.modules:
        from multiprocessing import active_children

        children = active_children()
        for child in children:
            child.kill()
        for child in children:
            child.join(_AT_MOST)
    for process in list(PROCESSES):
        with suppress(OSError):
            process.kill()
    left = list(LEAVES)
    for path in left:
        with suppress(OSError):
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
    cursor = "\r\x1b[K\x1b[?25h" if os.isatty(2) else ""  # a progress bar hides it
    said = "; files that were not whole yet are removed" if left else ""
    with suppress(OSError):
        os.write(2, f"{cursor}rxtls: ended by {signal.Signals(number).name}{said}\n".encode())
    os._exit(128 + number)
