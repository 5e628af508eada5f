"""The key table: what compiled code opens records with, a row of int64 columns for each `Keys` in use.

The keys themselves are inside libcrypto's contexts, whose addresses are in the rows; columns are in evp.py.
"""

from __future__ import annotations

import ctypes
import weakref

import numpy as np
import numpy.typing as npt

from rxtls.crypto import libcrypto
from rxtls.crypto.compiled import evp
from rxtls.crypto.compiled.evp import Key
from rxtls.crypto.keys import Keys
from rxtls.crypto.libcrypto import Libcrypto
from rxtls.crypto.suites import Family, Version
from rxtls.errors import RxtlsError

_MORE = 64  # rows, when there are none

# The family's number in kernels, the AEAD cipher's name and that of its counter mode, by family and key length.
_CIPHERS = {
    (Family.AES_GCM, 16): (evp.AES_GCM, "AES-128-GCM", "AES-128-CTR"),
    (Family.AES_GCM, 32): (evp.AES_GCM, "AES-256-GCM", "AES-256-CTR"),
    (Family.CHACHA20_POLY1305, 32): (evp.CHACHA20_POLY1305, "ChaCha20-Poly1305", "ChaCha20"),
}

# Outer content types, as a device looks for them: TLS 1.3 protects everything as application_data, TLS 1.2 shows
# change_cipher_spec to heartbeat.
_TYPES = {Version.TLS13: (23, 23), Version.TLS12: (20, 24)}


class KeyTable:
    """Rows for kernels. `rows` is int64 (n, evp.COLUMNS); `add` may replace it by a longer one, in which slots mean the
    same, and wipes the old one: whoever calls a kernel takes `rows` anew."""

    def __init__(self) -> None:
        self.rows: npt.NDArray[np.int64] = np.zeros((0, Key.COLUMNS), np.int64)
        self._libcrypto = libcrypto.required()
        self._free: list[int] = []
        self._scratch: list[npt.NDArray[np.uint8]] = []  # slabs; they stay where they are when the table grows
        self._contexts: dict[int, tuple[int, int]] = {}  # by slot in use
        self._finalizer = weakref.finalize(self, _free_all, self._libcrypto, self._contexts, self._scratch)

    def add(self, keys: Keys, device: bool = False) -> int:
        """The slot of a new row for `keys`; for a `device`, one that never re-encrypts.

        Raises ValueError for a suite that no device takes or a table that is closed, RxtlsError where libcrypto refuses
        the cipher.
        """
        if not keys.stream:
            raise ValueError(f"{keys.suite.name} cannot be decrypted piece by piece")
        if not self._finalizer.alive:
            raise ValueError("the key table is closed")
        family, aead_name, counter_name = _CIPHERS[keys.suite.family, keys.suite.key_length]
        found = self._libcrypto
        aead = _context(found, "EVP_DecryptInit_ex", aead_name, keys.key)
        try:
            counter = 0 if device else _context(found, "EVP_EncryptInit_ex", counter_name, keys.key)
        except RxtlsError:
            found.library.EVP_CIPHER_CTX_free(aead)
            raise
        if not self._free:
            self._grow()
        slot = self._free.pop()
        self._contexts[slot] = (aead, counter)
        row = self.rows[slot]
        first, last = _TYPES[keys.version]
        scratch = int(row[Key.SCRATCH])
        row[:] = (
            aead, counter, family, keys.version is Version.TLS13, keys.header_length, keys.explicit_length,
            keys.aead_tag_length, keys.min_total, keys.max_total, first, last,
            int.from_bytes(keys.iv[:4]), int.from_bytes(keys.iv[4:], signed=True), scratch,
        )  # fmt: skip
        return slot

    def release(self, slot: int) -> None:
        """Free the row's contexts, and wipe the row and its scratch; the slot will be given out again. ValueError for a
        slot that is not in use."""
        contexts = self._contexts.pop(slot, None)
        if contexts is None:
            raise ValueError(f"slot {slot} of the key table is not in use")
        for context in contexts:
            self._libcrypto.library.EVP_CIPHER_CTX_free(context)  # of none (0) as well
        row = self.rows[slot]
        ctypes.memset(int(row[Key.SCRATCH]), 0, evp.SCRATCH_LENGTH)
        row[: Key.SCRATCH] = 0
        self._free.append(slot)

    def close(self) -> None:
        """Release every row. Nothing can be added any more; closing again does nothing."""
        self._finalizer()
        self.rows[:] = 0
        self._free.clear()

    def __len__(self) -> int:
        """Rows in use."""
        return len(self._contexts)

    def _grow(self) -> None:
        old = self.rows
        had = len(old)
        more = max(had, _MORE)
        slab = np.zeros((more, evp.SCRATCH_LENGTH), np.uint8)
        self._scratch.append(slab)
        rows = np.zeros((had + more, Key.COLUMNS), np.int64)
        rows[:had] = old
        rows[had:, Key.SCRATCH] = slab.ctypes.data + evp.SCRATCH_LENGTH * np.arange(more)
        self.rows = rows
        old[:] = 0
        self._free.extend(range(had + more - 1, had - 1, -1))


def _context(found: Libcrypto, init: str, name: str, key: bytes) -> int:
    cipher = found.cipher(name)
    context = found.library.EVP_CIPHER_CTX_new()
    if not context:
        raise RxtlsError(f"{found.version} has no memory for a cipher's context")
    if getattr(found.library, init)(context, cipher, None, key, None) != 1:
        found.library.EVP_CIPHER_CTX_free(context)
        raise RxtlsError(f"{found.version} ({found.path}) does not take a key for {name}")
    return int(context)


def _free_all(found: Libcrypto, contexts: dict[int, tuple[int, int]], scratch: list[npt.NDArray[np.uint8]]) -> None:
    while contexts:
        for context in contexts.popitem()[1]:
            found.library.EVP_CIPHER_CTX_free(context)
    for slab in scratch:
        slab[:] = 0
