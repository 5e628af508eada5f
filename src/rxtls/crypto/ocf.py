"""Crypto operations as a kernel dispatches them: counted by upstream's names, and tried again while the driver is busy.

FreeBSD's kTLS hands each record to OCF, whose driver may say EAGAIN; that is tried again without limit, and counted
(kern.ipc.tls.stats.ocf.retries). `busy` is where a test injects it. Upstream's `inplace` and `separate_output` count
what is encrypted, so receiving moves neither.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from rxtls.crypto.keys import Buffer, Keys
from rxtls.crypto.records import Opened, Opener
from rxtls.crypto.suites import Family

_NAMES = {
    Family.AES_GCM: "gcm",
    Family.CHACHA20_POLY1305: "chacha20",
    Family.AES_CCM: "ccm",
    Family.AES_CCM8: "ccm",
}


class Ocf:
    """All crypto sessions of one kernel. `busy`: whether the driver takes no operation now."""

    def __init__(self, busy: Callable[[], bool] | None = None) -> None:
        self.busy = busy
        self.stats: Counter[str] = Counter()

    def session(self, keys: Keys) -> OcfSession:
        """A session under these keys, as crypto_newsession."""
        return OcfSession(self, keys)

    def dispatch(self, name: str) -> None:
        """One operation, once the driver takes it."""
        while self.busy is not None and self.busy():
            self.stats["retries"] += 1
        self.stats[name] += 1


class OcfSession:
    """An Opener whose operations are dispatched."""

    __slots__ = ("_name", "_ocf", "_opener")

    def __init__(self, ocf: Ocf, keys: Keys) -> None:
        self._ocf = ocf
        self._opener = Opener(keys)
        self._name = operation(keys)

    def open(self, number: int, record: Buffer) -> Opened:
        """As Opener.open: one decryption, whether it succeeds or not."""
        self._ocf.dispatch(f"{self._name}_decrypts")
        return self._opener.open(number, record)

    def trim(self, record: Buffer) -> Opened:
        """As Opener.trim: no operation."""
        return self._opener.trim(record)

    def recrypt(self) -> None:
        """A mixed record's decrypted part is re-encrypted: by a CTR session of its own."""
        self._ocf.dispatch(f"{self._name}_recrypts")


def operation(keys: Keys) -> str:
    """The first part of the counters' names: tls13_gcm, tls12_chacha20; CBC has one for TLS 1.1 and 1.2."""
    if keys.suite.family is Family.AES_CBC:
        return "tls11_cbc"
    return f"tls1{(keys.version & 0xFF) - 1}_{_NAMES[keys.suite.family]}"
