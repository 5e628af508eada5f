from __future__ import annotations

import ctypes
import gc
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from rxtls.crypto import libcrypto
from rxtls.crypto.compiled import evp
from rxtls.crypto.compiled.evp import Key
from rxtls.crypto.compiled.key_table import KeyTable
from rxtls.crypto.keys import Keys
from rxtls.crypto.records import Sealer
from rxtls.device.tracker import HeaderPattern
from rxtls.errors import RxtlsError
from sample_keys import ALL_SHAPES, STREAMED, made_up, sample_keys, shape_name


class Counting:
    """libcrypto, with a count of the contexts that were made and freed; `refuse` names functions that fail."""

    def __init__(self, library: ctypes.CDLL, refuse: tuple[str, ...] = ()) -> None:
        self._library, self._refuse = library, refuse
        self.made: list[int] = []
        self.freed: list[int] = []

    def __getattr__(self, name: str) -> Any:
        if name in self._refuse:
            return lambda *_: 0
        if name == "EVP_CIPHER_CTX_new":
            return self._new
        if name == "EVP_CIPHER_CTX_free":
            return self._free
        return getattr(self._library, name)

    def _new(self) -> int:
        self.made.append(self._library.EVP_CIPHER_CTX_new())
        return self.made[-1]

    def _free(self, context: int) -> None:
        self.freed.append(context)
        self._library.EVP_CIPHER_CTX_free(context)


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    return counted(monkeypatch)


def counted(monkeypatch: pytest.MonkeyPatch, *refuse: str) -> Counting:
    found = libcrypto.required()
    count = Counting(found.library, refuse)
    instead = replace(found, library=cast(ctypes.CDLL, count))
    monkeypatch.setattr(libcrypto, "required", lambda: instead)
    return count


def opens(table: KeyTable, slot: int, keys: Keys) -> bool:
    record = np.frombuffer(Sealer(keys).seal(4, 23, made_up(50, "p")), np.uint8).copy()
    values = (slot, 4, record.ctypes.data, len(record), record.ctypes.data + keys.header_length)
    return bool(evp.open_all(table.rows, *(np.array([value]) for value in values)))


@pytest.mark.parametrize("keys", STREAMED, ids=shape_name)
def test_a_row_says_what_its_keys_say(keys: Keys) -> None:
    table = KeyTable()
    slot = table.add(keys)
    row = table.rows[slot]
    assert row[Key.HEADER_LENGTH] == keys.header_length
    assert row[Key.EXPLICIT_LENGTH] == keys.explicit_length
    assert row[Key.AEAD_TAG_LENGTH] == keys.aead_tag_length
    pattern = HeaderPattern(keys)
    for total in (keys.min_total - 1, keys.min_total, keys.max_total, keys.max_total + 1):
        for kind in range(256):
            plausible = (
                row[Key.MIN_TOTAL] <= total <= row[Key.MAX_TOTAL] and row[Key.FIRST_TYPE] <= kind <= row[Key.LAST_TYPE]
            )
            assert bool(pattern.total(bytes([kind, 3, 3]) + (total - 5).to_bytes(2))) == plausible
    assert opens(table, slot, keys)
    table.close()


def test_slots_stay_when_rows_move() -> None:
    table = KeyTable()
    made = [sample_keys(keys.suite, keys.version, label=str(n)) for n in range(40) for keys in STREAMED]
    slots = []
    for keys in made:
        before = table.rows
        slots.append(table.add(keys))
        if table.rows is not before:
            assert not before.any()
    assert len(set(slots)) == len(table) == len(made) > 64
    assert all(opens(table, slot, keys) for slot, keys in zip(slots, made, strict=True))
    assert not opens(table, slots[0], made[-1])
    table.close()


def test_scratch_is_each_rows_own() -> None:
    table = KeyTable()
    for _ in range(100):
        table.add(STREAMED[0])
    scratch = np.sort(table.rows[:, Key.SCRATCH])
    assert (scratch > 0).all()
    assert np.diff(scratch).min() >= evp.SCRATCH_LENGTH
    table.close()


@pytest.mark.parametrize("keys", STREAMED, ids=shape_name)
def test_release_wipes_and_frees(counting: Counting, keys: Keys) -> None:
    table = KeyTable()
    kept, slot = table.add(keys), table.add(keys)
    assert opens(table, slot, keys)
    contexts = table.rows[slot, [Key.AEAD, Key.COUNTER]].tolist()
    address = int(table.rows[slot, Key.SCRATCH])
    assert any(ctypes.string_at(address, evp.SCRATCH_LENGTH))
    table.release(slot)
    assert sorted(counting.freed) == sorted(contexts)
    assert np.flatnonzero(table.rows[slot]).tolist() == [Key.SCRATCH]
    assert not any(ctypes.string_at(address, evp.SCRATCH_LENGTH))
    with pytest.raises(ValueError, match=f"slot {slot} .* is not in use"):
        table.release(slot)
    assert table.add(keys) == slot
    assert opens(table, slot, keys)
    assert opens(table, kept, keys)
    table.close()


def test_slots_that_never_were() -> None:
    table = KeyTable()
    for slot in (-1, 0, 5, 10**9):
        with pytest.raises(ValueError, match="is not in use"):
            table.release(slot)


def test_close_frees_all(counting: Counting) -> None:
    table = KeyTable()
    for keys in STREAMED:
        table.add(keys)
    table.release(0)
    rows, address = table.rows, int(table.rows[1, Key.SCRATCH])
    assert opens(table, 1, STREAMED[1])
    table.close()
    assert sorted(counting.freed) == sorted(counting.made)
    assert len(table) == 0
    assert not rows.any()
    assert not any(ctypes.string_at(address, evp.SCRATCH_LENGTH))
    table.close()
    assert len(counting.freed) == len(counting.made) == 2 * len(STREAMED)
    with pytest.raises(ValueError, match="closed"):
        table.add(STREAMED[0])
    with pytest.raises(ValueError, match="is not in use"):
        table.release(1)


def test_a_table_that_is_forgotten(counting: Counting) -> None:
    table = KeyTable()
    table.add(STREAMED[0])
    table.add(STREAMED[1])
    del table
    gc.collect()
    assert sorted(counting.freed) == sorted(counting.made) != []


def test_suites_that_no_device_takes() -> None:
    table = KeyTable()
    for keys in ALL_SHAPES:
        if not keys.stream:
            with pytest.raises(ValueError, match="cannot be decrypted piece by piece"):
                table.add(keys)
    assert len(table) == 0


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("EVP_DecryptInit_ex", r"OpenSSL .* does not take a key for AES-128-GCM"),
        ("EVP_EncryptInit_ex", r"OpenSSL .* does not take a key for AES-128-CTR"),
        ("EVP_CIPHER_CTX_new", "has no memory"),
    ],
)
def test_what_libcrypto_refuses(monkeypatch: pytest.MonkeyPatch, function: str, words: str) -> None:
    count = counted(monkeypatch, function)
    table = KeyTable()
    keys = next(keys for keys in STREAMED if "AES_128_GCM" in keys.suite.name)
    with pytest.raises(RxtlsError, match=words) as caught:
        table.add(keys)
    assert keys.key.hex() not in str(caught.value)
    assert sorted(count.freed) == sorted(count.made)
    assert len(table) == 0


def test_no_key_bytes_in_the_tables_own_memory() -> None:
    table = KeyTable()
    for keys in STREAMED:
        slot = table.add(keys)
        assert opens(table, slot, keys)
        memory = table.rows.tobytes() + b"".join(
            ctypes.string_at(int(address), evp.SCRATCH_LENGTH) for address in table.rows[:, Key.SCRATCH]
        )
        assert keys.key[:8] not in memory
        assert not any(isinstance(value, bytes | Keys) for value in vars(table).values())
    table.close()
